//! Mailboxes in memory: the whole contract but that of surviving the process. For tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use postroad_types::{AccountId, limits};
use tokio::sync::broadcast;

use crate::error::StoreError;
use crate::mailbox::{
    BodySource, Changes, Copied, FlagChange, FlagOrder, Flags, Folder, FolderName, FolderNumbers,
    MailboxEvent, MailboxStore, MessageInfo, NewMail, Stored, UidRange, Usage, events, folder_list,
    header_length,
};

/// Events that a slow watcher may be behind.
const EVENTS_MAX: usize = 1024;

/// Accounts in memory, made as they are first named. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryMailboxes {
    accounts: Arc<Mutex<HashMap<AccountId, Account>>>,
}

#[derive(Debug)]
struct Account {
    folders: BTreeMap<FolderName, MemoryFolder>,
    subscriptions: BTreeSet<FolderName>,
    /// Deliveries by their keys.
    delivered: HashMap<String, Stored>,
    last_uid_validity: u32,
    watchers: broadcast::Sender<MailboxEvent>,
}

#[derive(Debug)]
struct MemoryFolder {
    uid_validity: u32,
    uid_next: u32,
    mod_seq: u64,
    first_recent_uid: u32,
    special_use: Option<String>,
    messages: BTreeMap<u32, Message>,
    /// UID and the MODSEQ of its expunge.
    expunged: Vec<(u32, u64)>,
}

#[derive(Clone, Debug)]
struct Message {
    info: MessageInfo,
    body: Bytes,
}

impl MemoryMailboxes {
    pub fn new() -> Self {
        Self::default()
    }

    fn account<T>(
        &self,
        id: AccountId,
        work: impl FnOnce(&mut Account) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        work(self.accounts().entry(id).or_insert_with(Account::new))
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<AccountId, Account>> {
        // No step panics half-way; and it is memory for tests only.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn new() -> Self {
        let mut account = Account {
            folders: BTreeMap::new(),
            subscriptions: BTreeSet::from([FolderName::inbox()]),
            delivered: HashMap::new(),
            last_uid_validity: 1,
            watchers: broadcast::channel(EVENTS_MAX).0,
        };
        account.make(&FolderName::inbox(), None);
        account
    }

    fn make(&mut self, name: &FolderName, special_use: Option<&str>) -> u32 {
        self.last_uid_validity += 1;
        let folder = MemoryFolder {
            uid_validity: self.last_uid_validity,
            uid_next: 1,
            mod_seq: 1,
            first_recent_uid: 1,
            special_use: special_use.map(str::to_owned),
            messages: BTreeMap::new(),
            expunged: Vec::new(),
        };
        self.folders.insert(name.clone(), folder);
        self.last_uid_validity
    }

    fn folder(&mut self, name: &FolderName, uid_validity: u32) -> Result<&mut MemoryFolder, StoreError> {
        let folder =
            self.folders.get_mut(name).ok_or_else(|| StoreError::NotFound(format!("folder {name}")))?;
        if uid_validity != 0 && folder.uid_validity != uid_validity {
            return Err(StoreError::Stale(format!("UIDVALIDITY of {name} is {}", folder.uid_validity)));
        }
        Ok(folder)
    }

    fn usage(&self) -> Usage {
        let all = self.folders.values().flat_map(|f| f.messages.values());
        all.fold(Usage::default(), |u, m| Usage {
            octets: u.octets + m.info.size_octets,
            messages: u.messages + 1,
        })
    }

    fn check_quota(&self, limit_octets: u64, more: u64) -> Result<(), StoreError> {
        let used_octets = self.usage().octets;
        if limit_octets != 0 && used_octets.saturating_add(more) > limit_octets {
            return Err(StoreError::OverQuota { used_octets, limit_octets });
        }
        Ok(())
    }

    fn tell(&self, event: MailboxEvent) {
        // Nobody listening is no error.
        let _ = self.watchers.send(event);
    }

    fn tell_folder(&self, name: &FolderName) {
        if let Some(folder) = self.folders.get(name) {
            self.tell(MailboxEvent::Folder { name: name.clone(), mod_seq: folder.mod_seq });
        }
    }

    fn transfer(
        &mut self,
        from: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        to: &FolderName,
        take_away: bool,
    ) -> Result<Copied, StoreError> {
        self.folder(to, 0)?;
        let source = self.folder(from, uid_validity)?;
        let chosen = source.chosen(uids);
        let messages: Vec<Message> =
            chosen.iter().filter_map(|uid| source.messages.get(uid)).cloned().collect();
        if take_away && from != to {
            source.remove(&chosen);
        }
        let target = self.folder(to, 0)?;
        let mut copied = Copied { to_uid_validity: target.uid_validity, uids: Vec::new() };
        for (uid, message) in chosen.into_iter().zip(messages) {
            copied.uids.push((uid, target.add(message.info, message.body)));
        }
        if take_away && from == to {
            let olds: Vec<u32> = copied.uids.iter().map(|(old, _)| *old).collect();
            target.remove(&olds);
        }
        self.tell_folder(to);
        if take_away && from != to {
            self.tell_folder(from);
        }
        Ok(copied)
    }
}

impl MemoryFolder {
    fn highest(&self) -> u32 {
        self.messages.last_key_value().map_or(0, |(uid, _)| *uid)
    }

    fn chosen(&self, ranges: &[UidRange]) -> Vec<u32> {
        let highest = self.highest();
        let inside = |uid: &u32| ranges.iter().any(|range| range.holds(*uid, highest));
        self.messages.keys().copied().filter(inside).collect()
    }

    fn add(&mut self, mut info: MessageInfo, body: Bytes) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.mod_seq += 1;
        (info.uid, info.mod_seq) = (uid, self.mod_seq);
        self.messages.insert(uid, Message { info, body });
        uid
    }

    fn remove(&mut self, uids: &[u32]) {
        if uids.is_empty() {
            return;
        }
        self.mod_seq += 1;
        for uid in uids {
            if self.messages.remove(uid).is_some() {
                self.expunged.push((*uid, self.mod_seq));
            }
        }
    }

    fn numbers(&self) -> FolderNumbers {
        let infos = || self.messages.values().map(|m| &m.info);
        FolderNumbers {
            uid_validity: self.uid_validity,
            uid_next: self.uid_next,
            highest_mod_seq: self.mod_seq,
            messages: self.messages.len() as u32,
            unseen: infos().filter(|i| !i.flags.seen).count() as u32,
            first_recent_uid: self.first_recent_uid,
            octets: infos().map(|i| i.size_octets).sum(),
        }
    }

    fn message(&self, name: &FolderName, uid: u32) -> Result<&Message, StoreError> {
        self.messages.get(&uid).ok_or_else(|| StoreError::NotFound(format!("message {uid} in {name}")))
    }
}

#[async_trait]
impl MailboxStore for MemoryMailboxes {
    async fn store(
        &self,
        account: AccountId,
        mail: NewMail,
        body: &dyn BodySource,
    ) -> Result<Stored, StoreError> {
        let mut octets = BytesMut::from(&mail.prefix[..]);
        let mut offset = 0;
        while offset < body.size_octets() {
            let chunk = body.read(offset, limits::BODY_CHUNK_OCTETS).await?;
            if chunk.is_empty() {
                return Err(StoreError::Invalid("the body ends before its size".into()));
            }
            offset += chunk.len() as u64;
            octets.extend_from_slice(&chunk);
        }
        self.account(account, |account| {
            if let Some(stored) = mail.key.as_ref().and_then(|key| account.delivered.get(key)) {
                return Ok(Stored { duplicate: true, ..*stored });
            }
            account.folder(&mail.folder, 0)?;
            account.check_quota(mail.quota_octets, octets.len() as u64)?;
            let folder = account.folder(&mail.folder, 0)?;
            let info = MessageInfo {
                uid: 0,
                flags: Flags::default().changed(FlagChange::Set, &mail.flags),
                size_octets: octets.len() as u64,
                internal_date: mail.internal_date,
                mod_seq: 0,
                trace_id: mail.trace_id,
            };
            let uid = folder.add(info, octets.freeze());
            let stored = Stored { uid, uid_validity: folder.uid_validity, duplicate: false };
            if let Some(key) = mail.key {
                account.delivered.insert(key, stored);
            }
            account.tell_folder(&mail.folder);
            Ok(stored)
        })
    }

    async fn folders(&self, account: AccountId) -> Result<Vec<Folder>, StoreError> {
        self.account(account, |account| {
            let real = account.folders.iter().map(|(name, f)| (name.clone(), f.special_use.clone()));
            Ok(folder_list(real, |name| account.subscriptions.contains(name)))
        })
    }

    async fn create_folder(
        &self,
        account: AccountId,
        name: &FolderName,
        special_use: Option<&str>,
    ) -> Result<u32, StoreError> {
        self.account(account, |account| {
            if account.folders.contains_key(name) {
                return Err(StoreError::Exists(format!("folder {name}")));
            }
            for parent in name.parents() {
                if !account.folders.contains_key(&parent) {
                    account.make(&parent, None);
                }
            }
            let uid_validity = account.make(name, special_use);
            account.tell(MailboxEvent::Folders);
            Ok(uid_validity)
        })
    }

    async fn delete_folder(&self, account: AccountId, name: &FolderName) -> Result<(), StoreError> {
        if name.is_inbox() {
            return Err(StoreError::Invalid("INBOX can't be removed".into()));
        }
        self.account(account, |account| {
            account.folder(name, 0)?;
            account.folders.remove(name);
            account.tell(MailboxEvent::Folders);
            Ok(())
        })
    }

    async fn rename_folder(
        &self,
        account: AccountId,
        from: &FolderName,
        to: &FolderName,
    ) -> Result<(), StoreError> {
        self.account(account, |account| {
            if account.folders.contains_key(to) {
                return Err(StoreError::Exists(format!("folder {to}")));
            }
            if to.is_below(from) && !from.is_inbox() {
                return Err(StoreError::Invalid(format!("{to} lies below {from}")));
            }
            let moved: Vec<FolderName> =
                account.folders.keys().filter(|name| *name == from || name.is_below(from)).cloned().collect();
            if moved.is_empty() {
                return Err(StoreError::NotFound(format!("folder {from}")));
            }
            for parent in to.parents() {
                if !account.folders.contains_key(&parent) {
                    account.make(&parent, None);
                }
            }
            if from.is_inbox() {
                account.make(to, None);
                let all = [UidRange { first: 1, last: u32::MAX }];
                account.transfer(from, 0, &all, to, true)?;
            } else {
                for name in moved {
                    let new_name = name.moved(from, to)?;
                    if let Some(folder) = account.folders.remove(&name) {
                        account.folders.insert(new_name, folder);
                    }
                }
            }
            account.tell(MailboxEvent::Folders);
            Ok(())
        })
    }

    async fn subscribe(
        &self,
        account: AccountId,
        name: &FolderName,
        subscribed: bool,
    ) -> Result<(), StoreError> {
        self.account(account, |account| {
            if subscribed {
                account.subscriptions.insert(name.clone());
            } else {
                account.subscriptions.remove(name);
            }
            account.tell(MailboxEvent::Folders);
            Ok(())
        })
    }

    async fn numbers(&self, account: AccountId, name: &FolderName) -> Result<FolderNumbers, StoreError> {
        self.account(account, |account| Ok(account.folder(name, 0)?.numbers()))
    }

    async fn open(
        &self,
        account: AccountId,
        name: &FolderName,
        take_recent: bool,
    ) -> Result<(FolderNumbers, Vec<MessageInfo>), StoreError> {
        self.account(account, |account| {
            let folder = account.folder(name, 0)?;
            let numbers = folder.numbers();
            if take_recent {
                folder.first_recent_uid = folder.uid_next;
            }
            Ok((numbers, folder.messages.values().map(|m| m.info.clone()).collect()))
        })
    }

    async fn changes(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        since_mod_seq: u64,
    ) -> Result<Changes, StoreError> {
        self.account(account, |account| {
            let folder = account.folder(name, uid_validity)?;
            let mut expunged: Vec<u32> =
                folder.expunged.iter().filter(|(_, at)| *at > since_mod_seq).map(|(uid, _)| *uid).collect();
            expunged.sort_unstable();
            let infos = folder.messages.values().map(|m| &m.info);
            let changed = infos.filter(|i| i.mod_seq > since_mod_seq).cloned().collect();
            Ok(Changes { numbers: folder.numbers(), changed, expunged })
        })
    }

    async fn infos(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
    ) -> Result<Vec<MessageInfo>, StoreError> {
        self.account(account, |account| {
            let folder = account.folder(name, uid_validity)?;
            let chosen = folder.chosen(uids);
            Ok(chosen.iter().filter_map(|uid| folder.messages.get(uid)).map(|m| m.info.clone()).collect())
        })
    }

    async fn read(
        &self,
        account: AccountId,
        name: &FolderName,
        uid: u32,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, StoreError> {
        self.account(account, |account| {
            let body = &account.folder(name, 0)?.message(name, uid)?.body;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
            let end = start.saturating_add(length).min(body.len());
            Ok(body.slice(start..end))
        })
    }

    async fn header(&self, account: AccountId, name: &FolderName, uid: u32) -> Result<Bytes, StoreError> {
        self.account(account, |account| {
            let body = &account.folder(name, 0)?.message(name, uid)?.body;
            Ok(body.slice(..header_length(body).unwrap_or(body.len())))
        })
    }

    async fn store_flags(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        order: &FlagOrder,
    ) -> Result<(Vec<MessageInfo>, Vec<u32>), StoreError> {
        self.account(account, |account| {
            let folder = account.folder(name, uid_validity)?;
            let (mut changed, mut left) = (Vec::new(), Vec::new());
            let mod_seq = folder.mod_seq + 1;
            for uid in folder.chosen(uids) {
                let Some(message) = folder.messages.get_mut(&uid) else { continue };
                if order.unchanged_since != 0 && message.info.mod_seq > order.unchanged_since {
                    left.push(uid);
                    continue;
                }
                let new = message.info.flags.changed(order.change, &order.flags);
                if new != message.info.flags {
                    message.info.flags = new;
                    message.info.mod_seq = mod_seq;
                    folder.mod_seq = mod_seq;
                    changed.push(message.info.clone());
                }
            }
            if !changed.is_empty() {
                account.tell_folder(name);
            }
            Ok((changed, left))
        })
    }

    async fn copy(
        &self,
        account: AccountId,
        from: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        to: &FolderName,
        quota_octets: u64,
    ) -> Result<Copied, StoreError> {
        self.account(account, |account| {
            let source = account.folder(from, uid_validity)?;
            let chosen = source.chosen(uids);
            let more = chosen.iter().filter_map(|uid| source.messages.get(uid));
            let more = more.map(|m| m.info.size_octets).sum();
            account.check_quota(quota_octets, more)?;
            account.transfer(from, uid_validity, uids, to, false)
        })
    }

    async fn move_to(
        &self,
        account: AccountId,
        from: &FolderName,
        uid_validity: u32,
        uids: &[UidRange],
        to: &FolderName,
    ) -> Result<Copied, StoreError> {
        self.account(account, |account| account.transfer(from, uid_validity, uids, to, true))
    }

    async fn expunge(
        &self,
        account: AccountId,
        name: &FolderName,
        uid_validity: u32,
        uids: Option<&[UidRange]>,
    ) -> Result<(Vec<u32>, u64), StoreError> {
        self.account(account, |account| {
            let folder = account.folder(name, uid_validity)?;
            let all = [UidRange { first: 1, last: u32::MAX }];
            let mut chosen = folder.chosen(uids.unwrap_or(&all));
            chosen.retain(|uid| folder.messages.get(uid).is_some_and(|m| m.info.flags.deleted));
            folder.remove(&chosen);
            let mod_seq = folder.mod_seq;
            if !chosen.is_empty() {
                account.tell_folder(name);
            }
            Ok((chosen, mod_seq))
        })
    }

    async fn usage(&self, account: AccountId) -> Result<Usage, StoreError> {
        self.account(account, |account| Ok(account.usage()))
    }

    async fn purge(&self, account: AccountId) -> Result<(), StoreError> {
        self.accounts().remove(&account);
        Ok(())
    }

    fn watch(&self, account: AccountId) -> BoxStream<'static, MailboxEvent> {
        events(self.accounts().entry(account).or_insert_with(Account::new).watchers.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::mailbox::Stage;

    async fn stage() -> Stage {
        let store = Arc::new(MemoryMailboxes::new());
        Stage { store, alice: AccountId(1), bob: AccountId(2), keep: Box::new(()) }
    }

    crate::mailbox_contract!(stage());
}
