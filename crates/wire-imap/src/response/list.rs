//! LIST, LSUB and STATUS responses (RFC 3501 §7.2).

use super::write::{mailbox, text};
use crate::command::StatusItem;

/// A folder in a LIST or LSUB response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListItem {
    pub name: String,
    /// `\Noselect`, `\HasChildren`, `\Sent` …
    pub attributes: Vec<String>,
    /// CHILDINFO (RFC 5258 §4): below it are subscribed ones that the pattern does not match.
    pub subscribed_below: bool,
}

/// The hierarchy separator of folder names.
pub const SEPARATOR: char = '/';

impl ListItem {
    pub(super) fn write_to(&self, out: &mut Vec<u8>, word: &str) {
        text(out, format_args!("* {word} ({}) \"{SEPARATOR}\" ", self.attributes.join(" ")));
        mailbox(out, &self.name);
        if self.subscribed_below {
            out.extend_from_slice(b" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// `* STATUS mailbox (…)`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxStatus {
    pub name: String,
    pub items: Vec<(StatusItem, u64)>,
}

impl MailboxStatus {
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"* STATUS ");
        mailbox(out, &self.name);
        out.extend_from_slice(b" (");
        let mut space = "";
        for (item, value) in &self.items {
            let name = StatusItem::ALL.iter().find(|(_, known)| known == item).map_or("", |(name, _)| name);
            text(out, format_args!("{space}{name} {value}"));
            space = " ";
        }
        out.extend_from_slice(b")\r\n");
    }
}
