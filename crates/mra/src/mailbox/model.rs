//! The words of the Mailbox service (`proto/postroad/v1/mailbox.proto`), without its wire types.

use bytes::Bytes;
use postroad_types::TraceId;

/// Why the mailbox did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailboxError {
    #[error("no such folder or message")]
    NotFound,
    #[error("a folder of this name exists")]
    AlreadyExists,
    /// The request itself can't be: a folder name that is no name, a size that does not hold.
    #[error("{0}")]
    Invalid(String),
    #[error("the mailbox is over its quota")]
    OverQuota,
    /// The folder was made anew since it was opened: its uids are other messages now.
    #[error("the folder was made anew, open it again")]
    UidValidityChanged,
    /// Nothing is wrong with the request: the same may work later.
    #[error("the mailbox does not answer: {0}")]
    Unavailable(String),
    /// A fault of the service or of the contract between the services: the operator must look.
    #[error("the mailbox service is at fault: {0}")]
    Internal(String),
}

/// Uids from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UidRange {
    pub first: u32,
    pub last: u32,
}

impl UidRange {
    /// As `last`: whichever uid is the highest (`*` of RFC 3501).
    pub const HIGHEST: u32 = u32::MAX;
    pub const ALL: UidRange = UidRange { first: 1, last: UidRange::HIGHEST };

    pub const fn one(uid: u32) -> Self {
        UidRange { first: uid, last: uid }
    }

    /// The fewest ranges that hold exactly these uids, which must rise.
    pub fn from_rising(uids: impl IntoIterator<Item = u32>) -> Vec<UidRange> {
        let mut ranges: Vec<UidRange> = Vec::new();
        for uid in uids {
            match ranges.last_mut() {
                Some(range) if range.last.checked_add(1) == Some(uid) => range.last = uid,
                _ => ranges.push(UidRange::one(uid)),
            }
        }
        ranges
    }

    pub fn contains(self, uid: u32) -> bool {
        (self.first..=self.last).contains(&uid)
    }
}

/// What is known of a message without looking into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    pub uid: u32,
    /// System flags with their backslash, keywords as they are; never `\Recent`.
    pub flags: Vec<String>,
    /// In octets, as the message goes over the wire.
    pub size: u64,
    /// Microseconds since 1970.
    pub internal_date_us: i64,
    pub mod_seq: u64,
    /// Of the message's way here; appended messages have none.
    pub trace: Option<TraceId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderNumbers {
    pub uid_validity: u32,
    pub uid_next: u32,
    pub highest_mod_seq: u64,
    pub messages: u32,
    pub unseen: u32,
    /// Messages at and above this uid were seen by no read-write session yet (`\Recent`).
    pub first_recent_uid: u32,
    pub octets: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// UTF-8 with `/` between levels.
    pub name: String,
    pub subscribed: bool,
    /// `\Sent`, `\Drafts` … (RFC 6154).
    pub special_use: Option<String>,
    /// A name only, that holds others.
    pub no_select: bool,
    pub has_children: bool,
}

/// What changed in a folder after a mod-sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub numbers: FolderNumbers,
    /// New messages, and messages with new flags, in uid order.
    pub changed: Vec<MessageInfo>,
    pub expunged: Vec<UidRange>,
}

/// How much of a message is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Info,
    /// The header with its empty line.
    Header,
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    pub folder: String,
    pub uid_validity: u32,
    pub uids: Vec<UidRange>,
    pub part: Part,
    /// First octet of the part.
    pub offset: u64,
    /// At most so many octets; 0 for all.
    pub length: u64,
}

/// For each message in uid order: `Message`, chunks, and `End` or `Damaged`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    Message(MessageInfo),
    Chunk(Bytes),
    End,
    /// The octets can't be read; says why. The next message follows.
    Damaged(String),
}

/// What is known of a message before its octets come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessage {
    pub folder: String,
    pub flags: Vec<String>,
    /// Microseconds since 1970; `None` for now.
    pub internal_date_us: Option<i64>,
    /// Exactly so many octets must follow.
    pub size: u64,
}

/// APPENDUID (RFC 4315).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub uid_validity: u32,
    pub uid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagMode {
    Set,
    Add,
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagChange {
    pub folder: String,
    pub uid_validity: u32,
    pub uids: Vec<UidRange>,
    pub mode: FlagMode,
    pub flags: Vec<String>,
    /// Messages changed after this are left as they are (RFC 7162).
    pub unchanged_since: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagsStored {
    pub changed: Vec<MessageInfo>,
    /// Left as they are because of `unchanged_since`.
    pub modified: Vec<UidRange>,
}

/// COPYUID (RFC 4315): the n-th source became the n-th target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub to_uid_validity: u32,
    pub uids: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expunged {
    /// Rising.
    pub uids: Vec<u32>,
    pub highest_mod_seq: u64,
}

/// A search key of RFC 3501 §6.4.4, with sequence numbers already turned into uids.
/// Days are `YYYY-MM-DD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    All,
    Uids(Vec<UidRange>),
    Flag(String),
    NoFlag(String),
    Larger(u64),
    Smaller(u64),
    Before(String),
    On(String),
    Since(String),
    SentBefore(String),
    SentOn(String),
    SentSince(String),
    Header { name: String, text: String },
    Body(String),
    Text(String),
    Not(Box<SearchKey>),
    Or(Vec<SearchKey>),
    And(Vec<SearchKey>),
    ModSeq(u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Rising.
    pub uids: Vec<u32>,
    pub highest_mod_seq: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub used_octets: u64,
    /// 0: no limit.
    pub limit_octets: u64,
    pub messages: u64,
}

/// News from a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The watch stands, or news was lost: look at everything again.
    Unknown,
    Folder {
        name: String,
        mod_seq: u64,
    },
    /// Folders came, went or have other names.
    Folders,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rising_uids_become_the_fewest_ranges() {
        let range = |first, last| UidRange { first, last };
        assert_eq!(UidRange::from_rising([]), []);
        assert_eq!(UidRange::from_rising([1, 2, 3, 7, 9, 10]), [range(1, 3), range(7, 7), range(9, 10)]);
        assert_eq!(UidRange::from_rising([u32::MAX - 1, u32::MAX]), [range(u32::MAX - 1, u32::MAX)]);
    }
}
