//! Mailboxes: accounts' folders and messages.
//!
//! # Contract
//! - A message is durable, byte for byte, before [`MailboxStore::store`] returns, and never changes.
//! - `store` is idempotent by its key: a second call with the same key for the same account returns the
//!   first one's numbers with `duplicate`, for at least [`DELIVERY_KEYS_DAYS`] days, wherever the message
//!   went since.
//! - UIDVALIDITY of a folder is stable; a folder made anew under an old name gets a greater one. UIDs rise and
//!   are never given again, MODSEQ only grows; both hold across restarts, crashes, and the loss of an index
//!   that can be rebuilt. UID, flags, MODSEQ and UIDNEXT of a change become visible at once, in UID order.
//! - A caller reads its own writes.
//! - A message that can't be read any more is reported for itself ([`StoreError::Damaged`]) and stops no other.
//! - Where a call takes a UIDVALIDITY and it is not the folder's (0: not checked), it fails with [`StoreError::Stale`].
//! - Folder names are UTF-8 with "/" between levels, checked by [`FolderName`]; INBOX is always there.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use postroad_types::{AccountId, TraceId, limits};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::error::StoreError;
use crate::spool::Micros;

/// How long a delivery is known by its key: longer than a message lives in a queue.
pub const DELIVERY_KEYS_DAYS: u32 = 10;

/// The name of a folder: levels joined by "/", none of them empty, "." or "..", no control characters,
/// not longer than [`limits::FOLDER_NAME_OCTETS_MAX`]. INBOX is written so whatever its letter case was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderName(Box<str>);

impl FolderName {
    pub fn inbox() -> Self {
        FolderName("INBOX".into())
    }

    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels from the top down.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The names of the levels above, from the top down.
    pub fn parents(&self) -> impl Iterator<Item = FolderName> {
        self.0.match_indices('/').filter_map(|(at, _)| self.0.get(..at).map(|name| FolderName(name.into())))
    }

    /// The name that a folder at or below `from` has once `from` is called `to`.
    pub fn moved(&self, from: &FolderName, to: &FolderName) -> Result<FolderName, StoreError> {
        let rest = self.0.strip_prefix(&*from.0).unwrap_or_default();
        format!("{}{rest}", to.0).parse()
    }

    /// Whether `self` lies somewhere below `other`.
    pub fn is_below(&self, other: &FolderName) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl std::str::FromStr for FolderName {
    type Err = StoreError;

    fn from_str(s: &str) -> Result<Self, StoreError> {
        let no = |why: &str| Err(StoreError::Invalid(format!("folder name {s:?}: {why}")));
        if s.len() > limits::FOLDER_NAME_OCTETS_MAX {
            return no("too long");
        }
        if s.chars().any(char::is_control) {
            return no("has a control character");
        }
        if s.split('/').any(|level| matches!(level, "" | "." | "..")) {
            return no("a level is empty, \".\" or \"..\"");
        }
        match s.split_once('/') {
            None if s.eq_ignore_ascii_case("INBOX") => Ok(Self::inbox()),
            Some((top, rest)) if top.eq_ignore_ascii_case("INBOX") => {
                Ok(FolderName(format!("INBOX/{rest}").into()))
            }
            _ => Ok(FolderName(s.into())),
        }
    }
}

impl std::fmt::Display for FolderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Flags of a message: system flags as bits, keywords by name. `\Recent` belongs to sessions and is not here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub answered: bool,
    pub flagged: bool,
    pub deleted: bool,
    pub seen: bool,
    pub draft: bool,
    /// In order, without doubles; compared without letter case.
    pub keywords: Vec<String>,
}

/// What [`MailboxStore::store_flags`] does to each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagOrder {
    pub change: FlagChange,
    pub flags: Flags,
    /// Messages changed after this MODSEQ are left as they are (RFC 7162); 0: no condition.
    pub unchanged_since: u64,
}

impl Flags {
    /// These flags after a change; keywords stay in order and without doubles.
    pub fn changed(&self, change: FlagChange, by: &Flags) -> Flags {
        let bit = |mine: bool, theirs: bool| match change {
            FlagChange::Set => theirs,
            FlagChange::Add => mine || theirs,
            FlagChange::Remove => mine && !theirs,
        };
        let among = |k: &String, list: &[String]| list.iter().any(|other| other.eq_ignore_ascii_case(k));
        let mut keywords = match change {
            FlagChange::Set => Vec::new(),
            FlagChange::Add => self.keywords.clone(),
            FlagChange::Remove => self.keywords.iter().filter(|k| !among(k, &by.keywords)).cloned().collect(),
        };
        if change != FlagChange::Remove {
            for keyword in &by.keywords {
                if !among(keyword, &keywords) {
                    keywords.push(keyword.clone());
                }
            }
        }
        keywords.sort_unstable_by_key(|k| k.to_ascii_lowercase());
        Flags {
            answered: bit(self.answered, by.answered),
            flagged: bit(self.flagged, by.flagged),
            deleted: bit(self.deleted, by.deleted),
            seen: bit(self.seen, by.seen),
            draft: bit(self.draft, by.draft),
            keywords,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagChange {
    Set,
    Add,
    Remove,
}

/// A range of UIDs, both ends included; `u32::MAX` as last means the highest there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidRange {
    pub first: u32,
    pub last: u32,
}

impl UidRange {
    /// First and last UID that are meant in a folder whose highest UID is `highest`. The ends come in any
    /// order, and `559:*` holds the highest also where that is below 559 (RFC 3501 section 6.4.8).
    pub fn bounds(self, highest: u32) -> (u32, u32) {
        let end = |uid: u32| if uid == u32::MAX { highest } else { uid };
        let (a, b) = (end(self.first), end(self.last));
        (a.min(b), a.max(b))
    }

    pub fn holds(self, uid: u32, highest: u32) -> bool {
        let (first, last) = self.bounds(highest);
        (first..=last).contains(&uid)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    pub name: FolderName,
    pub subscribed: bool,
    /// "\\Sent" and so on (RFC 6154).
    pub special_use: Option<String>,
    /// Only a name that holds others.
    pub no_select: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderNumbers {
    pub uid_validity: u32,
    pub uid_next: u32,
    pub highest_mod_seq: u64,
    pub messages: u32,
    pub unseen: u32,
    /// Messages from this UID on were seen by no read-write session yet.
    pub first_recent_uid: u32,
    pub octets: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    pub uid: u32,
    pub flags: Flags,
    pub size_octets: u64,
    pub internal_date: Micros,
    pub mod_seq: u64,
    pub trace_id: Option<TraceId>,
}

/// A delivery or an APPEND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMail {
    pub folder: FolderName,
    pub flags: Flags,
    pub internal_date: Micros,
    pub trace_id: Option<TraceId>,
    /// (queue id, recipient) of a delivery; `None` for APPEND.
    pub key: Option<String>,
    /// Fails with [`StoreError::OverQuota`] when the account would hold more; 0: no limit.
    pub quota_octets: u64,
    /// Header lines in front of the body (`Return-Path`, `Delivered-To`), each with CRLF.
    pub prefix: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub uid: u32,
    pub uid_validity: u32,
    pub duplicate: bool,
}

/// A body that several mailboxes take: written once by the caller, read as often as needed.
#[async_trait]
pub trait BodySource: Send + Sync {
    fn size_octets(&self) -> u64;
    /// Octets from `offset` on, at most `length`; empty at the end.
    async fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError>;
}

/// What [`MailboxStore::changes`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub numbers: FolderNumbers,
    /// New, or with other flags, in UID order.
    pub changed: Vec<MessageInfo>,
    pub expunged: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub to_uid_validity: u32,
    /// (source, target), in the order of the sources.
    pub uids: Vec<(u32, u32)>,
}

/// Told by [`MailboxStore::watch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailboxEvent {
    Folder {
        name: FolderName,
        mod_seq: u64,
    },
    /// Folders were made, renamed or removed.
    Folders,
    /// The watcher was too slow: look at everything again.
    Lost,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub octets: u64,
    pub messages: u64,
}

/// The length of a message's header with its empty line, when that is within `octets`. Lines end with CRLF, or
/// with a bare LF in what other tools wrote.
pub fn header_length(octets: &[u8]) -> Option<usize> {
    if octets.starts_with(b"\r\n") {
        return Some(2);
    }
    if octets.starts_with(b"\n") {
        return Some(1);
    }
    let mut at = 0;
    while let Some(found) = octets.get(at..)?.iter().position(|b| *b == b'\n') {
        at += found + 1;
        match octets.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// What [`MailboxStore::folders`] answers out of the folders that hold messages: these, and the levels above
/// them that are only names; in the order of their names, INBOX first.
pub fn folder_list(
    real: impl IntoIterator<Item = (FolderName, Option<String>)>,
    subscribed: impl Fn(&FolderName) -> bool,
) -> Vec<Folder> {
    let mut found: BTreeMap<FolderName, Folder> = BTreeMap::new();
    for (name, special_use) in real {
        for name in name.parents() {
            let subscribed = subscribed(&name);
            let folder = Folder { name: name.clone(), subscribed, special_use: None, no_select: true };
            found.entry(name).or_insert(folder);
        }
        let folder =
            Folder { name: name.clone(), subscribed: subscribed(&name), special_use, no_select: false };
        found.insert(name, folder);
    }
    let mut folders: Vec<Folder> = found.into_values().collect();
    folders.sort_by_key(|folder| !folder.name.is_inbox());
    folders
}

/// A watcher's stream out of the channel that a store tells its changes on.
pub fn events(receiver: broadcast::Receiver<MailboxEvent>) -> BoxStream<'static, MailboxEvent> {
    // Lagging is told in the stream and does not end it.
    let stream = BroadcastStream::new(receiver).map(|event| event.unwrap_or(MailboxEvent::Lost));
    Box::pin(stream)
}

#[async_trait]
pub trait MailboxStore: Send + Sync + 'static {
    /// Stores a message: for mail that arrives (with a key) and for APPEND (without).
    /// [`StoreError::NotFound`] when the folder is not there.
    async fn store(
        &self,
        account: AccountId,
        mail: NewMail,
        body: &dyn BodySource,
    ) -> Result<Stored, StoreError>;

    async fn folders(&self, account: AccountId) -> Result<Vec<Folder>, StoreError>;
    /// Makes the folder and the levels above it; returns its UIDVALIDITY.
    async fn create_folder(
        &self,
        account: AccountId,
        name: &FolderName,
        special_use: Option<&str>,
    ) -> Result<u32, StoreError>;
    /// Removes a folder with its messages. One with others below it stays as a name that can't be opened.
    async fn delete_folder(&self, account: AccountId, name: &FolderName) -> Result<(), StoreError>;
    /// Renames a folder with all below it, keeping its numbers. INBOX stays, and its messages (not what is
    /// below it) move into the new folder (RFC 3501 section 6.3.5).
    async fn rename_folder(
        &self,
        account: AccountId,
        from: &FolderName,
        to: &FolderName,
    ) -> Result<(), StoreError>;
    /// A subscription is remembered by name: it outlives the removal of its folder.
    async fn subscribe(
        &self,
        account: AccountId,
        name: &FolderName,
        subscribed: bool,
    ) -> Result<(), StoreError>;

    async fn numbers(&self, account: AccountId, name: &FolderName) -> Result<FolderNumbers, StoreError>;
    /// Numbers and all messages in UID order, of one moment. With `take_recent`, `first_recent_uid` is told as
    /// it was and then set to `uid_next`.
    async fn open(
        &self,
        account: AccountId,
        name: &FolderName,
        take_recent: bool,
    ) -> Result<(FolderNumbers, Vec<MessageInfo>), StoreError>;
    /// What changed after `since_mod_seq`. Expunged UIDs may be told that the asker never saw.
    async fn changes(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        since_mod_seq: u64,
    ) -> Result<Changes, StoreError>;

    /// The messages of the ranges that are there, in UID order.
    async fn infos(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
    ) -> Result<Vec<MessageInfo>, StoreError>;
    /// Octets of one message.
    async fn read(
        &self,
        account: AccountId,
        name: &FolderName,
        uid: u32,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, StoreError>;
    /// Octets of the header with its empty line.
    async fn header(&self, account: AccountId, name: &FolderName, uid: u32) -> Result<Bytes, StoreError>;

    /// Returns what changed, and second the messages that were left because of `unchanged_since`.
    async fn store_flags(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        order: &FlagOrder,
    ) -> Result<(Vec<MessageInfo>, Vec<u32>), StoreError>;
    async fn copy(
        &self,
        account: AccountId,
        from: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        to: &FolderName,
        quota_octets: u64,
    ) -> Result<Copied, StoreError>;
    async fn move_to(
        &self,
        account: AccountId,
        from: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        to: &FolderName,
    ) -> Result<Copied, StoreError>;
    /// Removes the messages with `\Deleted`, of the ranges only where given; returns their UIDs and the new MODSEQ.
    async fn expunge(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: Option<&[UidRange]>,
    ) -> Result<(Vec<u32>, u64), StoreError>;

    async fn usage(&self, account: AccountId) -> Result<Usage, StoreError>;
    /// Removes everything of an account.
    async fn purge(&self, account: AccountId) -> Result<(), StoreError>;
    /// Changes of the account from now on.
    fn watch(&self, account: AccountId) -> BoxStream<'static, MailboxEvent>;
}
