//! What a server says it can do, in its reply to EHLO (RFC 5321 §4.1.1.1).

use postroad_types::Reply;

/// Extensions that matter to a client; unknown keywords are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// EHLO was understood; all else is off after HELO.
    pub extended: bool,
    pub pipelining: bool,
    pub eight_bit_mime: bool,
    pub smtputf8: bool,
    pub chunking: bool,
    pub starttls: bool,
    pub enhanced_status_codes: bool,
    pub dsn: bool,
    /// BINARYMIME, which needs CHUNKING.
    pub binary_mime: bool,
    pub require_tls: bool,
    pub priority: bool,
    pub deliver_by: bool,
    /// RCPTMAX of LIMITS (RFC 9422).
    pub recipients_max: Option<usize>,
    /// MAILMAX of LIMITS.
    pub messages_max: Option<u32>,
    /// SIZE is known; the largest message in octets, where the server names one (RFC 1870 §3).
    pub size: Option<Option<u64>>,
    /// Mechanisms of AUTH, in upper case.
    pub auth: Vec<String>,
}

impl Capabilities {
    /// From the lines behind the first one, which is the server's name.
    pub(super) fn of_ehlo(reply: &Reply) -> Self {
        let mut found = Capabilities { extended: true, ..Capabilities::default() };
        for line in reply.text.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => found.pipelining = true,
                "8BITMIME" => found.eight_bit_mime = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "CHUNKING" => found.chunking = true,
                "STARTTLS" => found.starttls = true,
                "ENHANCEDSTATUSCODES" => found.enhanced_status_codes = true,
                "DSN" => found.dsn = true,
                "BINARYMIME" => found.binary_mime = true,
                "REQUIRETLS" => found.require_tls = true,
                "MT-PRIORITY" => found.priority = true,
                "DELIVERBY" => found.deliver_by = true,
                "LIMITS" => words.for_each(|word| found.limit(word)),
                "SIZE" => {
                    let most = words.next().and_then(|word| word.parse().ok());
                    found.size = Some(most.filter(|&octets| octets > 0));
                }
                "AUTH" => found.add_mechanisms(words),
                // The form of servers that were built before RFC 2554.
                word => {
                    if let Some(first) = word.strip_prefix("AUTH=") {
                        found.add_mechanisms([first].into_iter().chain(words));
                    }
                }
            }
        }
        found
    }

    /// RFC 9422 §4: `name=value`; a limit of nothing would be nonsense and is passed over.
    fn limit(&mut self, word: &str) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match (name.to_ascii_uppercase().as_str(), value.parse::<u32>()) {
            ("RCPTMAX", Ok(most)) if most > 0 => self.recipients_max = usize::try_from(most).ok(),
            ("MAILMAX", Ok(most)) if most > 0 => self.messages_max = Some(most),
            _ => {}
        }
    }

    fn add_mechanisms<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words.map(str::to_ascii_uppercase) {
            if !self.auth.contains(&word) {
                self.auth.push(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_found_in_any_case() {
        let text = "mx.test pipelining\nPipelining\nSIZE 1000\nAUTH PLAIN login\nAUTH=LOGIN NTLM\nX-OTHER";
        let found = Capabilities::of_ehlo(&Reply::plain(250, text));
        assert!(found.pipelining && !found.starttls);
        assert_eq!(found.size, Some(Some(1000)));
        assert_eq!(found.auth, ["PLAIN", "LOGIN", "NTLM"]);
        let limits =
            Capabilities::of_ehlo(&Reply::plain(250, "mx\nLIMITS MAILMAX=20 rcptmax=100 RCPTMAX=0 X=1"));
        assert_eq!((limits.recipients_max, limits.messages_max), (Some(100), Some(20)));
        let none = Capabilities::of_ehlo(&Reply::plain(250, "PIPELINING\nSIZE 0"));
        assert!(!none.pipelining);
        assert_eq!(none.size, Some(None));
    }
}
