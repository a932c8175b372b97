//! `STATUS mailbox (items)` (RFC 3501 §6.3.10, RFC 7162 §3.1.7, RFC 8438).

use crate::reader::{Parsed, Reader, expected};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub mailbox: String,
    pub items: Vec<StatusItem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    HighestModSeq,
    /// Octets of all messages.
    Size,
}

impl StatusItem {
    pub(crate) const ALL: [(&'static str, StatusItem); 7] = [
        ("MESSAGES", StatusItem::Messages),
        ("RECENT", StatusItem::Recent),
        ("UIDNEXT", StatusItem::UidNext),
        ("UIDVALIDITY", StatusItem::UidValidity),
        ("UNSEEN", StatusItem::Unseen),
        ("HIGHESTMODSEQ", StatusItem::HighestModSeq),
        ("SIZE", StatusItem::Size),
    ];
}

pub(super) fn parse(reader: &mut Reader<'_>) -> Parsed<Status> {
    let mailbox = reader.mailbox()?;
    reader.space()?;
    Ok(Status { mailbox, items: parse_items(reader)? })
}

/// `(MESSAGES UNSEEN …)`; an item that is named twice counts once.
pub(super) fn parse_items(reader: &mut Reader<'_>) -> Parsed<Vec<StatusItem>> {
    reader.expect(b'(', "expected a list of status items in parentheses")?;
    let mut items = Vec::new();
    loop {
        let Some((_, item)) = StatusItem::ALL.iter().find(|(name, _)| reader.eat_word(name)) else {
            return expected(
                "expected MESSAGES, RECENT, UIDNEXT, UIDVALIDITY, UNSEEN, HIGHESTMODSEQ or SIZE",
            );
        };
        if !items.contains(item) {
            items.push(*item);
        }
        if !reader.eat(b' ') {
            break;
        }
    }
    reader.expect(b')', "expected ) behind the status items")?;
    Ok(items)
}
