//! Notices to senders: bounces and delayed-mail warnings as RFC 3464 delivery status notifications
//! (multipart/report, RFC 6522), built by lettre.
//!
//! ```text
//!   multipart/report; report-type=delivery-status
//!     text/plain                 for people
//!     message/delivery-status    for programs          (message/global-delivery-status with SMTPUTF8, RFC 6533)
//!     text/rfc822-headers        of the original       (message/global-headers)
//!       or message/rfc822        the original, for RET=FULL   (message/global)
//! ```
//!
//! Pure: octets out of facts. Queueing it, with the null sender so that it can never be bounced itself, is the
//! queue's business.

mod status;
#[cfg(test)]
mod tests;
mod text;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lettre::message::header::{
    ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0,
};
use lettre::message::{Body, Mailbox, Message, MultiPart, SinglePart};
use postroad_store::spool::{Attempt, Micros, QueuedMessage, QueuedRecipient};
use postroad_types::{Address, BodyKind, Domain, QueueId, Ret, limits};

use crate::message::header;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// These recipients were given up.
    Failed,
    /// These recipients are still tried.
    Delayed,
    /// These recipients have it, as far as we can tell, and the sender asked to hear of it.
    Done,
}

/// What became of a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    /// It lies in the mailbox.
    Delivered,
    /// It went to a host that sends no reports.
    Relayed,
    /// It goes on to those whom the address stands for.
    Expanded,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }
}

/// A recipient that the notice is about.
#[derive(Clone, Copy, Debug)]
pub struct Concerned<'a> {
    pub recipient: &'a QueuedRecipient,
    pub attempt: &'a Attempt,
    pub action: Action,
}

/// Whether the sender is given its whole message back: it asked for that (RFC 3461 §4.3), and not for
/// secrecy (RFC 8689 §5), it is not too large, and it can go back as it is.
pub fn gives_back_whole(notice: Notice, message: &QueuedMessage) -> bool {
    notice == Notice::Failed
        && message.options.ret == Some(Ret::Full)
        && !message.options.require_tls
        && message.body != BodyKind::BinaryMime
        && message.size_octets <= limits::BOUNCE_WHOLE_OCTETS_MAX as u64
}

/// All that a notice is made of.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    pub notice: Notice,
    pub message: &'a QueuedMessage,
    /// Not empty.
    pub recipients: &'a [Concerned<'a>],
    /// The beginning of the message, with its header section or so much of it as was asked for.
    pub head: &'a [u8],
    /// That is all of it, and is given back.
    pub whole: bool,
    pub sender: &'a Address,
    pub hostname: &'a Domain,
    pub postmaster: &'a Address,
    /// Of the notice.
    pub id: &'a QueueId,
    pub now: Micros,
}

impl Original<'_> {
    /// Whether the UTF-8 forms of RFC 6533 are needed: only where the message itself asked for UTF-8.
    fn is_global(&self) -> bool {
        self.message.smtputf8
            && (self.sender.is_internationalised()
                || !self.header().is_ascii()
                || self.recipients.iter().any(|c| c.recipient.address.is_internationalised()))
    }

    /// The original's header section, cut behind a whole line where it is too long.
    fn header(&self) -> &[u8] {
        match header::end(self.head, 0) {
            Some(end) => self.head.get(..end.fields).unwrap_or_default(),
            None => {
                let whole = memchr::memmem::rfind(self.head, b"\r\n").map_or(0, |at| at + 2);
                self.head.get(..whole).unwrap_or_default()
            }
        }
    }
}

/// The whole message, with CRLF line ends.
pub fn build(original: &Original<'_>) -> Result<Vec<u8>, String> {
    let global = original.is_global();
    let host = original.hostname.ascii();
    let from = format!("MAILER-DAEMON@{host}");
    let from = from.parse().map_err(|error| format!("{from} can not stand in a From header: {error}"))?;
    let subject = match original.notice {
        Notice::Failed => "Undelivered mail returned to sender",
        Notice::Delayed => "Delayed mail (still being retried)",
        Notice::Done => "Report of your mail's delivery",
    };
    let status_type = match global {
        true => "message/global-delivery-status; charset=utf-8",
        false => "message/delivery-status",
    };
    let part = |kind: &str, octets: Vec<u8>| -> Result<SinglePart, String> {
        Ok(SinglePart::builder().content_type(content_type(kind)?).body(body(octets)))
    };
    let report = MultiPart::builder()
        .header(content_type(&format!(
            "multipart/report; report-type=delivery-status; boundary=\"{}/{host}\"",
            original.id
        ))?)
        .singlepart(part("text/plain; charset=utf-8", text::write(original).into_bytes())?)
        .singlepart(part(status_type, status::write(original, global).into_bytes())?)
        .singlepart(returned(original, global)?);

    let date = UNIX_EPOCH + Duration::from_micros(u64::try_from(original.now).unwrap_or(0));
    let mut message = Message::builder()
        .date(SystemTime::max(date, UNIX_EPOCH))
        .from(Mailbox::new(Some("Mail Delivery System".to_owned()), from))
        .raw_header(raw("To", &format!("<{}>", original.sender)))
        .subject(subject)
        .message_id(Some(format!("<{}@{host}>", original.id)))
        // RFC 3834: nobody's vacation program answers this.
        .raw_header(raw("Auto-Submitted", "auto-replied"))
        .header(MIME_VERSION_1_0);
    if let Some(id) = original_id(original.header()) {
        message = message.raw_header(raw("References", &id));
    }
    // The envelope is the queue's; lettre wants to see one, and cannot express every address that we carry.
    let envelope =
        lettre::address::Envelope::new(None, vec![mailer(host)?]).map_err(|error| error.to_string())?;
    let message = message.envelope(envelope).multipart(report).map_err(|error| error.to_string())?;
    Ok(message.formatted())
}

/// What comes back of the message.
fn returned(original: &Original<'_>, global: bool) -> Result<SinglePart, String> {
    let kind = match (original.whole, global) {
        (true, false) => "message/rfc822",
        (true, true) => "message/global",
        (false, false) => "text/rfc822-headers",
        (false, true) => "message/global-headers; charset=utf-8",
    };
    let body = match original.whole {
        // RFC 2046 §5.2.1: a message in a message is not encoded again.
        true if original.head.is_ascii() => {
            Body::dangerous_pre_encoded(original.head.to_vec(), ContentTransferEncoding::SevenBit)
        }
        true => Body::dangerous_pre_encoded(original.head.to_vec(), ContentTransferEncoding::EightBit),
        false => body(original.header().to_vec()),
    };
    Ok(SinglePart::builder().content_type(content_type(kind)?).body(body))
}

fn mailer(host: &str) -> Result<lettre::Address, String> {
    lettre::Address::new("MAILER-DAEMON", host).map_err(|error| error.to_string())
}

fn content_type(text: &str) -> Result<ContentType, String> {
    ContentType::parse(text).map_err(|error| format!("{text}: {error}"))
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
}

/// ASCII as it is; anything else as lettre finds best, so that the notice passes through every host.
fn body(octets: Vec<u8>) -> Body {
    let long = octets.split(|b| *b == b'\n').any(|line| line.len() > 998);
    if octets.is_ascii() && !long {
        Body::dangerous_pre_encoded(octets, ContentTransferEncoding::SevenBit)
    } else {
        match String::from_utf8(octets) {
            Ok(text) => Body::new(text),
            Err(not_utf8) => Body::new(not_utf8.into_bytes()),
        }
    }
}

/// The original's Message-ID, where it looks like one.
fn original_id(head: &[u8]) -> Option<String> {
    let field = header::fields(head).find(|field| field.is("Message-ID"))?;
    let id = std::str::from_utf8(field.value.trim_ascii()).ok()?;
    let fine = id.starts_with('<')
        && id.ends_with('>')
        && id.len() < 250
        && id.bytes().all(|b| (33..=126).contains(&b));
    fine.then(|| id.to_owned())
}
