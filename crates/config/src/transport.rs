//! `[[mta.transport]]`: mail that does not go by its domain's MX records. The first rule that fits decides.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use postroad_types::{Address, Domain};
use serde::{Deserialize, Serialize};

use crate::mta::TlsOutbound;
use crate::units::{HostPort, duration, shown};

/// A rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transport {
    /// Which recipients: an address, a domain, `.domain` for its subdomains, or `*` for all that are not ours.
    #[serde(with = "shown", default)]
    pub recipient: Pattern,
    /// Which senders, in the same words; `<>` for notices.
    #[serde(with = "shown", default)]
    pub sender: Pattern,
    /// Where to.
    #[serde(with = "shown")]
    pub via: Via,
    /// TLS on the way; without it as `tls_outbound` says, and `require` where a password is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsOutbound>,
    /// For AUTH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its first line is the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Connections at a time; without it as `destination_connections_max` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<usize>,
    /// Time between the beginnings of two attempts: `"1s"` for at most sixty in a minute.
    #[serde(with = "duration", default)]
    pub pace: Duration,
}

/// Which addresses a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// `*`
    #[default]
    Any,
    /// `<>`: the null reverse-path.
    Null,
    /// `list@beta.test`
    Address(Address),
    /// `beta.test`
    Domain(Domain),
    /// `.beta.test`: what is below it, not itself.
    Below(Domain),
}

impl Pattern {
    /// Whether it is about this address; `None` is the null reverse-path.
    pub fn fits(&self, address: Option<&Address>) -> bool {
        let domain = address.and_then(Address::domain);
        match (self, address) {
            (Pattern::Any, _) => true,
            (Pattern::Null, address) => address.is_none(),
            (Pattern::Address(wanted), Some(address)) => wanted == address,
            (Pattern::Domain(wanted), _) => domain == Some(wanted),
            (Pattern::Below(wanted), _) => domain.is_some_and(|domain| {
                domain.ascii().strip_suffix(wanted.ascii()).is_some_and(|rest| rest.ends_with('.'))
            }),
            (Pattern::Address(_), None) => false,
        }
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected an address, a domain, \".domain\", \"*\", or \"<>\" for a sender";
        Ok(match text {
            "*" => Pattern::Any,
            "<>" => Pattern::Null,
            text if text.contains('@') => Pattern::Address(text.parse().map_err(|_| expected)?),
            text => match text.strip_prefix('.') {
                Some(domain) => Pattern::Below(domain.parse().map_err(|_| expected)?),
                None => Pattern::Domain(text.parse().map_err(|_| expected)?),
            },
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Any => f.write_str("*"),
            Pattern::Null => f.write_str("<>"),
            Pattern::Address(address) => write!(f, "{address}"),
            Pattern::Domain(domain) => write!(f, "{domain}"),
            Pattern::Below(domain) => write!(f, ".{domain}"),
        }
    }
}

/// How a host is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Smtp,
    /// TLS from the first octet (RFC 8314).
    Smtps,
    /// RFC 2033.
    Lmtp,
}

impl Protocol {
    const ALL: [(&'static str, Protocol, u16); 3] =
        [("smtp", Protocol::Smtp, 25), ("smtps", Protocol::Smtps, 465), ("lmtp", Protocol::Lmtp, 24)];
}

/// Where mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// `mx`: by the MX records of the recipient's domain; `mx:beta.test`: by those of that domain.
    Mx(Option<Domain>),
    /// `smtp://relay.example.net:587`: to that host, whatever its MX records say.
    Host(Protocol, HostPort),
    /// `mailboxes`: to mda.
    Mailboxes,
}

impl FromStr for Via {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected \"mx\", \"mx:domain\", \"mailboxes\", or smtp://, smtps:// or lmtp:// with a host, \
                        such as \"smtp://relay.example.net:587\"";
        match text {
            "mx" => return Ok(Via::Mx(None)),
            "mailboxes" => return Ok(Via::Mailboxes),
            _ => {}
        }
        if let Some(domain) = text.strip_prefix("mx:") {
            return domain.parse().map(|domain| Via::Mx(Some(domain))).map_err(|_| expected);
        }
        let (scheme, host) = text.split_once("://").ok_or(expected)?;
        let (_, protocol, port) = *Protocol::ALL.iter().find(|(name, ..)| *name == scheme).ok_or(expected)?;
        let host = host.strip_suffix('/').unwrap_or(host);
        let with_port = || format!("{host}:{port}").parse::<HostPort>();
        let host = host.parse::<HostPort>().or_else(|()| with_port()).map_err(|()| expected)?;
        if host.port == 0 { Err(expected) } else { Ok(Via::Host(protocol, host)) }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Via::Mx(None) => f.write_str("mx"),
            Via::Mx(Some(domain)) => write!(f, "mx:{domain}"),
            Via::Mailboxes => f.write_str("mailboxes"),
            Via::Host(protocol, host) => {
                let name = Protocol::ALL.iter().find(|(_, p, _)| p == protocol).map_or("smtp", |(n, ..)| n);
                write!(f, "{name}://{host}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let cases = [
            ("*", "a@beta.test", true),
            ("a@beta.test", "a@beta.test", true),
            ("a@beta.test", "b@beta.test", false),
            ("beta.test", "b@BETA.test", true),
            ("beta.test", "b@sub.beta.test", false),
            (".beta.test", "b@sub.beta.test", true),
            (".beta.test", "b@beta.test", false),
            (".beta.test", "b@notbeta.test", false),
            ("<>", "b@beta.test", false),
        ];
        for (pattern, to, fits) in cases {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.fits(Some(&address(to))), fits, "{pattern} {to}");
        }
        assert!("<>".parse::<Pattern>().unwrap().fits(None) && Pattern::Any.fits(None));
        assert!(!"beta.test".parse::<Pattern>().unwrap().fits(None));
        assert!("a b".parse::<Pattern>().is_err());
    }

    #[test]
    fn ways_are_read_and_shown() {
        for (text, shown) in [
            ("mx", "mx"),
            ("mx:beta.test", "mx:beta.test"),
            ("mailboxes", "mailboxes"),
            ("smtp://relay.test", "smtp://relay.test:25"),
            ("smtps://relay.test/", "smtps://relay.test:465"),
            ("lmtp://127.0.0.1:2400", "lmtp://127.0.0.1:2400"),
            ("smtp://[::1]", "smtp://[::1]:25"),
        ] {
            assert_eq!(text.parse::<Via>().map(|via| via.to_string()).as_deref(), Ok(shown));
        }
        for text in ["", "relay.test", "http://x", "smtp://", "smtp://a b", "smtp://a:0", "mx:"] {
            assert!(text.parse::<Via>().is_err(), "{text:?}");
        }
    }
}
