//! The data of IMAP's ENVELOPE (RFC 3501 §7.4.2).

use crate::address::{EnvelopeAddress, parse_list};
use crate::header::Fields;

/// A message's header in the ten words of IMAP; texts are unfolded and else as they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    pub date: Option<Vec<u8>>,
    pub subject: Option<Vec<u8>>,
    pub from: Vec<EnvelopeAddress>,
    /// `from` where the message has none, as RFC 3501 asks of the server.
    pub sender: Vec<EnvelopeAddress>,
    /// `from` where the message has none.
    pub reply_to: Vec<EnvelopeAddress>,
    pub to: Vec<EnvelopeAddress>,
    pub cc: Vec<EnvelopeAddress>,
    pub bcc: Vec<EnvelopeAddress>,
    pub in_reply_to: Option<Vec<u8>>,
    pub message_id: Option<Vec<u8>>,
}

impl Envelope {
    /// Of a repeated text field the first counts; repeated address fields are joined, so that no
    /// recipient is hidden.
    pub fn parse(header: &[u8]) -> Self {
        let mut envelope = Envelope::default();
        for field in Fields::new(header) {
            let text = |slot: &mut Option<Vec<u8>>| {
                if slot.is_none() {
                    *slot = Some(field.unfolded().into_owned());
                }
            };
            let addresses = |slot: &mut Vec<EnvelopeAddress>| slot.append(&mut parse_list(field.value));
            match field.name.to_ascii_lowercase().as_slice() {
                b"date" => text(&mut envelope.date),
                b"subject" => text(&mut envelope.subject),
                b"from" => addresses(&mut envelope.from),
                b"sender" => addresses(&mut envelope.sender),
                b"reply-to" => addresses(&mut envelope.reply_to),
                b"to" => addresses(&mut envelope.to),
                b"cc" => addresses(&mut envelope.cc),
                b"bcc" => addresses(&mut envelope.bcc),
                b"in-reply-to" => text(&mut envelope.in_reply_to),
                b"message-id" => text(&mut envelope.message_id),
                _ => {}
            }
        }
        if envelope.sender.is_empty() {
            envelope.sender.clone_from(&envelope.from);
        }
        if envelope.reply_to.is_empty() {
            envelope.reply_to.clone_from(&envelope.from);
        }
        envelope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_and_reply_to_come_from_from() {
        let header = b"From: A <a@x.test>\r\nTo: b@x.test\r\nTo: c@x.test\r\nSubject: one\r\n two\r\n\r\n";
        let envelope = Envelope::parse(header);
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.reply_to, envelope.from);
        assert_eq!(envelope.to.len(), 2);
        assert_eq!(envelope.subject.as_deref(), Some(&b"one two"[..]));
        assert_eq!(envelope.date, None);
    }
}
