//! A [`MailboxClient`] over the mailboxes in memory of `postroad_store`, which pass the stores' contract suite:
//! what mda does between the two, without gRPC.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use postroad_store::StoreError;
use postroad_store::contract::mailbox::Octets;
use postroad_store::mailbox::{self as store, FolderName, MailboxStore};
use postroad_store::memory::MemoryMailboxes;
use postroad_types::{AccountId, TraceId};

use crate::mailbox::{
    AppendMessage, Appended, Body, Change, Changes, Copied, Expunged, FetchItem, FetchRequest, FetchStream,
    FlagChange, FlagMode, FlagsStored, Folder, FolderNumbers, Found, MailboxClient, MailboxError,
    MessageInfo, OpenFolder, Part, Quota, SearchKey, UidRange, WatchStream,
};

type Result<T> = std::result::Result<T, MailboxError>;

/// Messages go out in chunks of this size: small, so that tests meet every border.
const CHUNK_OCTETS: usize = 7;

pub(crate) struct FakeMailbox {
    pub(crate) store: MemoryMailboxes,
    /// Every call fails.
    pub(crate) is_down: AtomicBool,
    /// Deletions and flag changes fail.
    pub(crate) is_read_only: AtomicBool,
    /// Fetches of these uids break off after one chunk.
    pub(crate) breaking: Mutex<Vec<u32>>,
    /// Fetches of these uids say that the message is damaged.
    pub(crate) damaged: Mutex<Vec<u32>>,
    /// What [`MailboxClient::quota`] says.
    pub(crate) quota_octets: u64,
}

impl FakeMailbox {
    pub(crate) fn new() -> Self {
        FakeMailbox {
            store: MemoryMailboxes::new(),
            is_down: AtomicBool::new(false),
            is_read_only: AtomicBool::new(false),
            breaking: Mutex::default(),
            damaged: Mutex::default(),
            quota_octets: 0,
        }
    }

    /// Delivers a message; returns its uid.
    pub(crate) async fn deliver(&self, account: AccountId, folder: &str, text: &str) -> u32 {
        self.deliver_traced(account, folder, text, None).await
    }

    pub(crate) async fn deliver_traced(
        &self,
        account: AccountId,
        folder: &str,
        text: &str,
        trace_id: Option<TraceId>,
    ) -> u32 {
        let mail = store::NewMail {
            folder: name(folder).unwrap(),
            flags: store::Flags::default(),
            internal_date: 1_790_000_000_000_000,
            trace_id,
            key: None,
            quota_octets: 0,
            prefix: Bytes::new(),
        };
        let body = Octets(Bytes::copy_from_slice(text.as_bytes()));
        self.store.store(account, mail, &body).await.unwrap().uid
    }

    fn up(&self) -> Result<&MemoryMailboxes> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(MailboxError::Unavailable("the test has stopped the mailbox".to_owned()));
        }
        Ok(&self.store)
    }

    fn writable(&self) -> Result<&MemoryMailboxes> {
        if self.is_read_only.load(Ordering::Relaxed) {
            return Err(MailboxError::Unavailable("the test lets nothing be written".to_owned()));
        }
        self.up()
    }

    async fn items(&self, account: AccountId, request: &FetchRequest) -> Result<Vec<Result<FetchItem>>> {
        let store = self.up()?;
        let folder = name(&request.folder)?;
        let infos = store.infos(account, &folder, request.uid_validity, &ranges(&request.uids)).await;
        let mut items = Vec::new();
        for message in infos.map_err(error)? {
            let uid = message.uid;
            items.push(Ok(FetchItem::Message(info(message))));
            if self.damaged.lock().unwrap().contains(&uid) {
                items.push(Ok(FetchItem::Damaged("the test says so".to_owned())));
                continue;
            }
            let octets = match request.part {
                Part::Info => Bytes::new(),
                Part::Header => store.header(account, &folder, uid).await.map_err(error)?,
                Part::Full => store.read(account, &folder, uid, 0, usize::MAX).await.map_err(error)?,
            };
            let from = usize::try_from(request.offset).unwrap().min(octets.len());
            let length =
                if request.length == 0 { octets.len() } else { usize::try_from(request.length).unwrap() };
            let to = from.saturating_add(length).min(octets.len());
            let chunks: Vec<_> = octets[from..to].chunks(CHUNK_OCTETS).map(Bytes::copy_from_slice).collect();
            if self.breaking.lock().unwrap().contains(&uid) {
                items.extend(chunks.into_iter().take(1).map(|chunk| Ok(FetchItem::Chunk(chunk))));
                items.push(Err(MailboxError::Unavailable("the test breaks it off".to_owned())));
                return Ok(items);
            }
            items.extend(chunks.into_iter().map(|chunk| Ok(FetchItem::Chunk(chunk))));
            items.push(Ok(FetchItem::End));
        }
        Ok(items)
    }

    async fn matches(
        &self,
        account: AccountId,
        folder: &FolderName,
        message: &MessageInfo,
        key: &SearchKey,
    ) -> bool {
        let has_flag = |flag: &String| message.flags.iter().any(|f| f.eq_ignore_ascii_case(flag));
        let octets = self.store.read(account, folder, message.uid, 0, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&octets).to_lowercase();
        let (header, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        match key {
            SearchKey::All => true,
            SearchKey::Uids(uids) => uids.iter().any(|range| range.contains(message.uid)),
            SearchKey::Flag(flag) => has_flag(flag),
            SearchKey::NoFlag(flag) => !has_flag(flag),
            SearchKey::Larger(octets) => message.size > *octets,
            SearchKey::Smaller(octets) => message.size < *octets,
            SearchKey::Header { name, text } => header.lines().any(|line| {
                let value = line.strip_prefix(&format!("{}:", name.to_lowercase()));
                value.is_some_and(|value| value.contains(&text.to_lowercase()))
            }),
            SearchKey::Body(words) => body.contains(&words.to_lowercase()),
            SearchKey::Text(words) => text.contains(&words.to_lowercase()),
            SearchKey::Not(key) => !Box::pin(self.matches(account, folder, message, key)).await,
            SearchKey::Or(keys) => self.all_match(account, folder, message, keys).await.contains(&true),
            SearchKey::And(keys) => !self.all_match(account, folder, message, keys).await.contains(&false),
            SearchKey::ModSeq(mod_seq) => message.mod_seq >= *mod_seq,
            SearchKey::Before(_)
            | SearchKey::On(_)
            | SearchKey::Since(_)
            | SearchKey::SentBefore(_)
            | SearchKey::SentOn(_)
            | SearchKey::SentSince(_) => unreachable!("days are searched for in mda's own tests"),
        }
    }

    async fn all_match(
        &self,
        account: AccountId,
        folder: &FolderName,
        message: &MessageInfo,
        keys: &[SearchKey],
    ) -> Vec<bool> {
        let mut answers = Vec::new();
        for key in keys {
            answers.push(Box::pin(self.matches(account, folder, message, key)).await);
        }
        answers
    }
}

#[async_trait]
impl MailboxClient for FakeMailbox {
    async fn list_folders(&self, account: AccountId) -> Result<Vec<Folder>> {
        let folders = self.up()?.folders(account).await.map_err(error)?;
        let has_children = |name: &FolderName| folders.iter().any(|other| other.name.is_below(name));
        let known = |folder: &store::Folder| Folder {
            name: folder.name.to_string(),
            subscribed: folder.subscribed,
            special_use: folder.special_use.clone(),
            no_select: folder.no_select,
            has_children: has_children(&folder.name),
        };
        Ok(folders.iter().map(known).collect())
    }

    async fn create_folder(
        &self,
        account: AccountId,
        folder: &str,
        special_use: Option<&str>,
    ) -> Result<u32> {
        self.writable()?.create_folder(account, &name(folder)?, special_use).await.map_err(error)
    }

    async fn delete_folder(&self, account: AccountId, folder: &str) -> Result<()> {
        self.writable()?.delete_folder(account, &name(folder)?).await.map_err(error)
    }

    async fn rename_folder(&self, account: AccountId, from: &str, to: &str) -> Result<()> {
        self.writable()?.rename_folder(account, &name(from)?, &name(to)?).await.map_err(error)
    }

    async fn subscribe_folder(&self, account: AccountId, folder: &str, subscribed: bool) -> Result<()> {
        self.writable()?.subscribe(account, &name(folder)?, subscribed).await.map_err(error)
    }

    async fn folder_status(&self, account: AccountId, folder: &str) -> Result<FolderNumbers> {
        self.up()?.numbers(account, &name(folder)?).await.map(numbers).map_err(error)
    }

    async fn open_folder(&self, account: AccountId, folder: &str, read_write: bool) -> Result<OpenFolder> {
        let opened = self.up()?.open(account, &name(folder)?, read_write).await;
        let (folder, messages) = opened.map_err(error)?;
        Ok(OpenFolder { numbers: numbers(folder), messages: messages.into_iter().map(info).collect() })
    }

    async fn changes(
        &self,
        account: AccountId,
        folder: &str,
        uid_validity: u32,
        since_mod_seq: u64,
    ) -> Result<Changes> {
        let changes =
            self.up()?.changes(account, &name(folder)?, uid_validity, since_mod_seq).await.map_err(error)?;
        Ok(Changes {
            numbers: numbers(changes.numbers),
            changed: changes.changed.into_iter().map(info).collect(),
            expunged: UidRange::from_rising(changes.expunged),
        })
    }

    async fn fetch(&self, account: AccountId, request: FetchRequest) -> Result<FetchStream> {
        Ok(stream::iter(self.items(account, &request).await?).boxed())
    }

    async fn append(&self, account: AccountId, message: AppendMessage, body: Body) -> Result<Appended> {
        let octets = body.fold(BytesMut::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            all
        });
        let octets = octets.await.freeze();
        if octets.len() as u64 != message.size {
            return Err(MailboxError::Invalid("the octets are not as many as announced".to_owned()));
        }
        let mail = store::NewMail {
            folder: name(&message.folder)?,
            flags: flags(&message.flags),
            internal_date: message.internal_date_us.unwrap_or(1_790_000_000_000_000),
            trace_id: None,
            key: None,
            quota_octets: self.quota_octets,
            prefix: Bytes::new(),
        };
        let stored = self.writable()?.store(account, mail, &Octets(octets)).await.map_err(error)?;
        Ok(Appended { uid_validity: stored.uid_validity, uid: stored.uid })
    }

    async fn store_flags(&self, account: AccountId, change: FlagChange) -> Result<FlagsStored> {
        let order = store::FlagOrder {
            change: match change.mode {
                FlagMode::Set => store::FlagChange::Set,
                FlagMode::Add => store::FlagChange::Add,
                FlagMode::Remove => store::FlagChange::Remove,
            },
            flags: flags(&change.flags),
            unchanged_since: change.unchanged_since.unwrap_or_default(),
        };
        let folder = name(&change.folder)?;
        let uids = ranges(&change.uids);
        let stored = self.writable()?.store_flags(account, &folder, change.uid_validity, &uids, &order).await;
        let (changed, modified) = stored.map_err(error)?;
        Ok(FlagsStored {
            changed: changed.into_iter().map(info).collect(),
            modified: UidRange::from_rising(modified),
        })
    }

    async fn copy(
        &self,
        account: AccountId,
        from: &str,
        uid_validity: u32,
        uids: Vec<UidRange>,
        to: &str,
    ) -> Result<Copied> {
        let store = self.writable()?;
        let quota = self.quota_octets;
        let copied = store.copy(account, &name(from)?, uid_validity, &ranges(&uids), &name(to)?, quota).await;
        copied.map(copies).map_err(error)
    }

    async fn move_messages(
        &self,
        account: AccountId,
        from: &str,
        uid_validity: u32,
        uids: Vec<UidRange>,
        to: &str,
    ) -> Result<Copied> {
        let store = self.writable()?;
        let moved = store.move_to(account, &name(from)?, uid_validity, &ranges(&uids), &name(to)?).await;
        moved.map(copies).map_err(error)
    }

    async fn expunge(
        &self,
        account: AccountId,
        folder: &str,
        uid_validity: u32,
        uids: Option<Vec<UidRange>>,
    ) -> Result<Expunged> {
        let uids = uids.map(|uids| ranges(&uids));
        let expunged = self.writable()?.expunge(account, &name(folder)?, uid_validity, uids.as_deref()).await;
        let (uids, highest_mod_seq) = expunged.map_err(error)?;
        Ok(Expunged { uids, highest_mod_seq })
    }

    async fn search(&self, account: AccountId, folder: &str, _: u32, key: SearchKey) -> Result<Found> {
        let opened = self.open_folder(account, folder, false).await?;
        let folder = name(folder)?;
        let mut uids = Vec::new();
        for message in &opened.messages {
            if self.matches(account, &folder, message, &key).await {
                uids.push(message.uid);
            }
        }
        Ok(Found { uids, highest_mod_seq: opened.numbers.highest_mod_seq })
    }

    async fn quota(&self, account: AccountId) -> Result<Quota> {
        let usage = self.up()?.usage(account).await.map_err(error)?;
        Ok(Quota { used_octets: usage.octets, limit_octets: self.quota_octets, messages: usage.messages })
    }

    async fn watch(&self, account: AccountId) -> Result<WatchStream> {
        let news = self.up()?.watch(account).map(|event| {
            Ok(match event {
                store::MailboxEvent::Folder { name, mod_seq } => {
                    Change::Folder { name: name.to_string(), mod_seq }
                }
                store::MailboxEvent::Folders => Change::Folders,
                store::MailboxEvent::Lost => Change::Unknown,
            })
        });
        Ok(stream::iter([Ok(Change::Unknown)]).chain(news).boxed())
    }
}

fn name(folder: &str) -> Result<FolderName> {
    folder.parse().map_err(error)
}

fn error(error: StoreError) -> MailboxError {
    match error {
        StoreError::NotFound(_) => MailboxError::NotFound,
        StoreError::Exists(_) => MailboxError::AlreadyExists,
        StoreError::Invalid(why) => MailboxError::Invalid(why),
        StoreError::Stale(_) => MailboxError::UidValidityChanged,
        StoreError::OverQuota { .. } => MailboxError::OverQuota,
        StoreError::Unavailable(why) | StoreError::Damaged(why) => MailboxError::Unavailable(why),
    }
}

fn ranges(ranges: &[UidRange]) -> Vec<store::UidRange> {
    ranges.iter().map(|range| store::UidRange { first: range.first, last: range.last }).collect()
}

fn numbers(numbers: store::FolderNumbers) -> FolderNumbers {
    FolderNumbers {
        uid_validity: numbers.uid_validity,
        uid_next: numbers.uid_next,
        highest_mod_seq: numbers.highest_mod_seq,
        messages: numbers.messages,
        unseen: numbers.unseen,
        first_recent_uid: numbers.first_recent_uid,
        octets: numbers.octets,
    }
}

const SYSTEM_FLAGS: [&str; 5] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

fn info(message: store::MessageInfo) -> MessageInfo {
    let flags = message.flags;
    let bits = [flags.answered, flags.flagged, flags.deleted, flags.seen, flags.draft];
    let system =
        SYSTEM_FLAGS.iter().zip(bits).filter(|(_, is_set)| *is_set).map(|(flag, _)| (*flag).to_owned());
    MessageInfo {
        uid: message.uid,
        flags: system.chain(flags.keywords).collect(),
        size: message.size_octets,
        internal_date_us: message.internal_date,
        mod_seq: message.mod_seq,
        trace: message.trace_id,
    }
}

fn flags(flags: &[String]) -> store::Flags {
    let has = |flag: &str| flags.iter().any(|f| f.eq_ignore_ascii_case(flag));
    store::Flags {
        answered: has("\\Answered"),
        flagged: has("\\Flagged"),
        deleted: has("\\Deleted"),
        seen: has("\\Seen"),
        draft: has("\\Draft"),
        keywords: flags.iter().filter(|flag| !flag.starts_with('\\')).cloned().collect(),
    }
}

fn copies(copied: store::Copied) -> Copied {
    Copied { to_uid_validity: copied.to_uid_validity, uids: copied.uids }
}
