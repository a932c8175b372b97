//! `APPEND mailbox [(flags)] [date-time] literal` (RFC 3501 §6.3.11).
//!
//! The message is not part of the command as it is read here: the head ends where its literal begins, and the
//! octets are streamed.

use time::OffsetDateTime;

use crate::flag::Flag;
use crate::reader::{Parsed, Reader, expected};

/// An APPEND up to its message.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    pub mailbox: String,
    pub flags: Vec<Flag>,
    /// INTERNALDATE; `None` for now.
    pub date: Option<OffsetDateTime>,
    /// Octets of the message.
    pub size: u64,
}

/// What the command is so far, when a literal of `size` octets is about to begin.
pub(crate) enum Head {
    /// The literal is the mailbox's name: read on.
    Mailbox,
    /// The literal is the message.
    Message(Append),
}

/// `head` begins behind `APPEND` and ends behind the marker of the literal at hand.
pub(crate) fn parse_head(head: &[u8], size: u64) -> Parsed<Head> {
    let mut reader = Reader::new(head);
    reader.space()?;
    if is_marker(reader.rest()) {
        return Ok(Head::Mailbox);
    }
    let mailbox = reader.mailbox()?;
    reader.space()?;
    let mut flags = Vec::new();
    if reader.peek() == Some(b'(') {
        flags = reader.flags()?;
        reader.space()?;
    }
    let mut date = None;
    if reader.peek() == Some(b'"') {
        date = Some(reader.date_time()?);
        reader.space()?;
    }
    match is_marker(reader.rest()) {
        true => Ok(Head::Message(Append { mailbox, flags, date, size })),
        false => expected("expected the message as a literal"),
    }
}

/// A literal's marker and nothing behind it.
fn is_marker(rest: &[u8]) -> bool {
    rest.starts_with(b"{") && rest.iter().position(|b| *b == b'\n') == Some(rest.len() - 1)
}
