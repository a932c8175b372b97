//! Responses (RFC 3501 §7): each writes itself, line end included, into a buffer.

mod body_structure;
mod envelope;
mod fetch;
mod list;
mod search;
mod status;
pub(crate) mod write;

pub use fetch::FetchWriter;
pub use list::{ListItem, MailboxStatus};
pub use search::{Extended, SearchResult};
pub use status::{Code, Condition, Status};

use crate::flag::Flags;
use write::string;

/// An untagged response that is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untagged {
    Exists(u32),
    Recent(u32),
    Expunge(u32),
    /// FLAGS: those that are in use in the mailbox.
    Flags(Flags),
    /// A message's flags, by its number.
    Fetch {
        number: u32,
        uid: Option<u32>,
        flags: Flags,
        recent: bool,
        mod_seq: Option<u64>,
    },
    List(ListItem),
    Lsub(ListItem),
    Status(MailboxStatus),
    Search(SearchResult),
    /// QUOTA: the storage of the one quota root, in units of 1024 octets (RFC 9208 §5.1).
    Quota {
        used_kib: u64,
        limit_kib: u64,
    },
    /// No limit is set: an empty QUOTA list.
    NoQuota,
    QuotaRoot(String),
    /// `* OK`, `* NO`, `* BAD`, `* BYE` with code and text.
    Condition(Status),
}

/// The name of the one quota root, which holds all folders of the account.
pub const QUOTA_ROOT: &str = "";

impl Untagged {
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Untagged::Exists(count) => line(out, format_args!("* {count} EXISTS")),
            Untagged::Recent(count) => line(out, format_args!("* {count} RECENT")),
            Untagged::Expunge(number) => line(out, format_args!("* {number} EXPUNGE")),
            Untagged::Flags(flags) => {
                out.extend_from_slice(b"* FLAGS ");
                write::flags(out, flags, false);
                out.extend_from_slice(b"\r\n");
            }
            Untagged::Fetch { number, uid, flags, recent, mod_seq } => {
                let mut fetch = FetchWriter::new(std::mem::take(out), *number);
                if let Some(uid) = uid {
                    fetch.uid(*uid);
                }
                fetch.flags(flags, *recent);
                if let Some(mod_seq) = mod_seq {
                    fetch.mod_seq(*mod_seq);
                }
                *out = fetch.finish();
            }
            Untagged::List(item) => item.write_to(out, "LIST"),
            Untagged::Lsub(item) => item.write_to(out, "LSUB"),
            Untagged::Status(status) => status.write_to(out),
            Untagged::Search(result) => result.write_to(out),
            Untagged::Quota { used_kib, limit_kib } => {
                out.extend_from_slice(b"* QUOTA ");
                string(out, QUOTA_ROOT.as_bytes());
                line(out, format_args!(" (STORAGE {used_kib} {limit_kib})"));
            }
            Untagged::NoQuota => {
                out.extend_from_slice(b"* QUOTA ");
                string(out, QUOTA_ROOT.as_bytes());
                out.extend_from_slice(b" ()\r\n");
            }
            Untagged::QuotaRoot(mailbox) => {
                out.extend_from_slice(b"* QUOTAROOT ");
                write::mailbox(out, mailbox);
                out.push(b' ');
                string(out, QUOTA_ROOT.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Untagged::Condition(status) => status.write_to(out, b"*"),
        }
    }
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    write::text(out, text);
    out.extend_from_slice(b"\r\n");
}
