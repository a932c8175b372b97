//! The trace header that every mta puts in front (RFC 5321 §4.4), and the trace id in it.
//!
//! A message keeps one trace id on its whole way: mta writes it as a comment behind the queue id,
//! `id 01jd…  (postroad trace 4bf9…)`, and an mta that takes the message over from another takes up the id of
//! the newest Received, so that `postroad trace` shows both domains' steps as one timeline. Anyone can write
//! such a comment. All it can do is to give unrelated messages the same id in logs; nothing is decided by it,
//! and `adopt_trace = false` turns it off where even that is unwanted.

use std::fmt::Write;
use std::net::IpAddr;

use memchr::memmem;
use postroad_store::spool::Micros;
use postroad_types::{Address, Host, QueueId, TraceId};

use super::{date, header};

const TRACE_OPENS: &str = "(postroad trace ";
const TRACE_DIGITS: usize = 32;

/// Where a message came from, as its Received header tells.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's address.
    pub peer: IpAddr,
    /// A name of it that leads back to it, where that was looked up.
    pub name: Option<String>,
    /// An account that does not want told where it is: no address, no name, no HELO.
    pub hidden: bool,
    /// EHLO's or HELO's argument as written: printable ASCII.
    pub hello: String,
    /// What it means, where it is a domain or an address literal.
    pub hello_host: Option<Host>,
    /// The WITH protocol: `ESMTPSA` (RFC 3848, RFC 6531 §4.3).
    pub protocol: &'static str,
    /// `TLSv1.3 with cipher TLS_AES_256_GCM_SHA384`; absent in clear.
    pub tls: Option<String>,
    pub smtputf8: bool,
}

/// The header field with its CRLFs. `only_recipient` is given when there is no other: FOR must not tell one
/// recipient of another (RFC 5321 §7.2).
pub fn write(
    origin: &Origin,
    by: &str,
    id: &QueueId,
    trace: TraceId,
    only_recipient: Option<&Address>,
    at: Micros,
) -> String {
    let peer = Host::Literal(origin.peer);
    let mut out = String::with_capacity(320);
    // The writes below go into a String, which cannot fail.
    let _ = match (&origin.hello_host, &origin.name) {
        // A name that belongs to nobody (RFC 2606 §2): the syntax wants one.
        _ if origin.hidden => write!(out, "Received: from authenticated.invalid"),
        (Some(host), None) => write!(out, "Received: from {host} ({peer})"),
        (Some(host), Some(name)) => write!(out, "Received: from {host} ({name} {peer})"),
        (None, _) => write!(out, "Received: from {peer} (helo {})", as_comment(&origin.hello)),
    };
    if let Some(tls) = &origin.tls {
        let _ = write!(out, "\r\n\t(using {tls})");
    }
    let _ =
        write!(out, "\r\n\tby {by} (Postroad) with {} id {id}\r\n\t{TRACE_OPENS}{trace})", origin.protocol);
    if let Some(recipient) = only_recipient
        && (origin.smtputf8 || !recipient.is_internationalised())
    {
        let _ = write!(out, "\r\n\tfor <{recipient}>");
    }
    let _ = write!(out, "; {}\r\n", date::rfc5322(at));
    out
}

/// The trace id in the newest Received of a header section, if a Postroad wrote it.
pub fn trace_of(head: &[u8]) -> Option<TraceId> {
    let newest = header::fields(head).find(|field| field.is("Received"))?;
    let at = memmem::find(newest.value, TRACE_OPENS.as_bytes())? + TRACE_OPENS.len();
    let digits = newest.value.get(at..at + TRACE_DIGITS)?;
    if newest.value.get(at + TRACE_DIGITS) != Some(&b')') {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A client's text inside a comment: what could end or nest the comment is replaced.
fn as_comment(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_:[]+@=".contains(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            peer: "192.0.2.7".parse().unwrap(),
            name: None,
            hidden: false,
            hello: "client.example".into(),
            hello_host: "client.example".parse().ok(),
            protocol: "ESMTPSA",
            tls: Some("TLSv1.3 with cipher X".into()),
            smtputf8: false,
        }
    }

    fn ids() -> (QueueId, TraceId) {
        (QueueId::new(1, 2), TraceId::new([0xab; 16]))
    }

    #[test]
    fn it_tells_from_by_with_id_and_for() {
        let (id, trace) = ids();
        let to: Address = "bob@beta.test".parse().unwrap();
        let text = write(&origin(), "mx.alpha.test", &id, trace, Some(&to), 0);
        let expected = format!(
            "Received: from client.example ([192.0.2.7])\r\n\t(using TLSv1.3 with cipher X)\r\n\tby mx.alpha.test (Postroad) \
             with ESMTPSA id {id}\r\n\t(postroad trace {})\r\n\tfor <bob@beta.test>; Thu, 1 Jan 1970 00:00:00 +0000\r\n",
            "ab".repeat(16)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_confirmed_name_stands_before_the_address_and_who_hides_tells_neither() {
        let (id, trace) = ids();
        let named = Origin { name: Some("mail.example".into()), tls: None, ..origin() };
        let text = write(&named, "mx", &id, trace, None, 0);
        assert!(
            text.starts_with("Received: from client.example (mail.example [192.0.2.7])\r\n\tby mx"),
            "{text}"
        );
        let text = write(&Origin { hidden: true, ..named }, "mx", &id, trace, None, 0);
        assert!(text.starts_with("Received: from authenticated.invalid\r\n\tby mx"), "{text}");
        assert!(!text.contains("192.0.2.7") && !text.contains("example"), "{text}");
    }

    #[test]
    fn a_strange_helo_cannot_break_out_of_its_comment() {
        let (id, trace) = ids();
        let odd = Origin { hello: "a)b(c\\\"".into(), hello_host: None, tls: None, ..origin() };
        let text = write(&odd, "mx", &id, trace, None, 0);
        assert!(text.starts_with("Received: from [192.0.2.7] (helo a?b?c??)\r\n\tby mx"), "{text}");
    }

    #[test]
    fn the_newest_received_gives_the_trace_id() {
        let (id, trace) = ids();
        let mut head = write(&origin(), "mx", &id, trace, None, 0);
        assert_eq!(trace_of(head.as_bytes()), Some(trace));
        head.insert_str(0, "Received: from elsewhere by there; now\r\n");
        assert_eq!(trace_of(head.as_bytes()), None, "an older one does not count");
        let torn = b"Received: x (postroad trace abc)\r\n";
        assert_eq!(trace_of(torn), None);
    }

    #[test]
    fn utf8_recipients_appear_only_where_utf8_was_agreed_on() {
        let (id, trace) = ids();
        let to: Address = "δοκιμή@beta.test".parse().unwrap();
        assert!(!write(&origin(), "mx", &id, trace, Some(&to), 0).contains("for <"));
        let utf8 = Origin { smtputf8: true, protocol: "UTF8SMTPSA", ..origin() };
        let text = write(&utf8, "mx", &id, trace, Some(&to), 0);
        assert!(text.contains("with UTF8SMTPSA") && text.contains("for <δοκιμή@beta.test>"));
    }
}
