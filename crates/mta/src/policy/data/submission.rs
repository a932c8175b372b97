//! What a submission server does to a message before it goes out (RFC 6409 §8): Date, Message-ID and From are
//! added where they are missing, Bcc is taken out (RFC 5322 §3.6.3). Nothing else is touched, not even the
//! order or the folding of the fields that stay.

use postroad_store::spool::Micros;
use postroad_types::{QueueId, ReversePath};

use crate::message::{date, header};

/// Makes a submitted message's header section whole: what is to be added comes first in the answer.
/// `head` is the fields without the empty line; it is given back unchanged if nothing is to be done.
pub fn complete(head: &[u8], sender: &ReversePath, host: &str, id: &QueueId, now: Micros) -> Vec<u8> {
    let (mut has_date, mut has_id, mut has_from) = (false, false, false);
    let mut hidden: Vec<(usize, usize)> = Vec::new();
    for field in header::fields(head) {
        has_date |= field.is("Date");
        has_id |= field.is("Message-ID");
        has_from |= field.is("From");
        if field.is("Bcc") || field.is("Resent-Bcc") {
            hidden.push((field.offset, field.offset + field.whole.len()));
        }
    }
    let mut out = Vec::with_capacity(head.len() + 160);
    if !has_date {
        out.extend_from_slice(format!("Date: {}\r\n", date::rfc5322(now)).as_bytes());
    }
    if !has_id {
        out.extend_from_slice(format!("Message-ID: <{id}@{host}>\r\n").as_bytes());
    }
    if !has_from && let ReversePath::Address(sender) = sender {
        out.extend_from_slice(format!("From: <{sender}>\r\n").as_bytes());
    }
    let mut at = 0;
    for (from, to) in hidden {
        out.extend_from_slice(head.get(at..from).unwrap_or_default());
        at = to;
    }
    out.extend_from_slice(head.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(head: &str) -> String {
        let sender = "alice@alpha.test".parse().unwrap();
        let out = complete(head.as_bytes(), &sender, "mx.alpha.test", &QueueId::new(0, 0), 0);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_whole_stays_as_it_is() {
        let head = "date: x\r\nMESSAGE-ID: <1@a>\r\nFrom: a\r\n\tb\r\nX-Odd:y\r\n";
        assert_eq!(done(head), head);
    }

    #[test]
    fn what_is_missing_is_added_and_bcc_goes_with_its_folding() {
        let out = done("From: a@b\r\nBcc: x@y,\r\n z@y\r\nTo: c@d\r\nbcc:\r\n");
        assert_eq!(
            out,
            "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <0000000000000000@mx.alpha.test>\r\nFrom: a@b\r\nTo: c@d\r\n"
        );
        assert!(done("Date: x\r\nMessage-ID: y\r\n").starts_with("From: <alice@alpha.test>\r\n"));
    }
}
