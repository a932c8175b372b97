//! The accounts that are open.
//!
//! An account is opened by its first use and closed when there are too many others and nobody uses it. At most
//! one [`Account`] stands for an account at a time. All work on disk runs on blocking threads.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::Flock;
use postroad_store::StoreError;
use postroad_store::directory::DirectoryStore;
use postroad_store::mailbox::{FolderName, Usage};
use postroad_types::AccountId;
use rusqlite::Connection;
use tokio::sync::OnceCell;

use super::account::{Account, Fresh, Writer};
use super::events::Events;
use super::read::MessageFile;
use super::{Options, folders};
use crate::index::{self, FolderRow};
use crate::journal::{Journal, Record};
use crate::maildir::home;

pub struct Accounts {
    root: PathBuf,
    directory: Arc<dyn DirectoryStore>,
    journal: Arc<Journal>,
    events: Events,
    options: Options,
    open: Mutex<HashMap<AccountId, Slot>>,
    clock: AtomicU64,
    lock: Arc<Flock<File>>,
}

#[derive(Debug, Default)]
struct Slot {
    account: Arc<OnceCell<Arc<Account>>>,
    used_at: u64,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Accounts({})", self.root.display())
    }
}

impl Accounts {
    pub fn new(
        root: &Path,
        directory: Arc<dyn DirectoryStore>,
        journal: Journal,
        options: Options,
        lock: Flock<File>,
    ) -> Self {
        Accounts {
            root: root.to_owned(),
            directory,
            journal: Arc::new(journal),
            events: Events::default(),
            options,
            open: Mutex::default(),
            clock: AtomicU64::new(0),
            lock: Arc::new(lock),
        }
    }

    pub fn events(&self) -> &Events {
        &self.events
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    fn open(&self) -> MutexGuard<'_, HashMap<AccountId, Slot>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account, opened if need be.
    pub async fn get(&self, id: AccountId) -> Result<Arc<Account>, StoreError> {
        let cell = {
            let mut open = self.open();
            let idle = self.too_many(&mut open);
            let slot = open.entry(id).or_default();
            if slot.account.get().is_some_and(|account| account.is_damaged()) {
                slot.account = Arc::default();
            }
            slot.used_at = self.clock.fetch_add(1, Ordering::Relaxed);
            if !idle.is_empty() {
                // Closing flushes.
                tokio::task::spawn_blocking(move || drop(idle));
            }
            slot.account.clone()
        };
        let open = async || {
            let address = self.directory.account(id).await?.address;
            let name = home::relative_path(&address)?;
            let (root, events, lock) = (self.root.clone(), self.events.clone(), self.lock.clone());
            blocking(move || Account::open(&root, &name, id, events, lock).map(Arc::new)).await
        };
        cell.get_or_try_init(open).await.cloned()
    }

    /// Takes out those used longest ago and by nobody now.
    fn too_many(&self, open: &mut HashMap<AccountId, Slot>) -> Vec<Slot> {
        if open.len() < self.options.accounts_open_max {
            return Vec::new();
        }
        let idle = |slot: &Slot| {
            // Nobody else can take a reference while the table is locked.
            Arc::strong_count(&slot.account) == 1
                && slot.account.get().is_none_or(|account| Arc::strong_count(account) == 1)
        };
        let mut by_age: Vec<(u64, AccountId)> =
            open.iter().filter(|(_, slot)| idle(slot)).map(|(id, slot)| (slot.used_at, *id)).collect();
        by_age.sort_unstable();
        let many = open.len() / 4 + 1;
        by_age.into_iter().take(many).filter_map(|(_, id)| open.remove(&id)).collect()
    }

    /// Changes an account, alone.
    pub async fn write<T, F>(&self, id: AccountId, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    {
        let account = self.get(id).await?;
        let mut writer = account.writer().await;
        let this = account.clone();
        let result = blocking(move || {
            this.set_changed(None);
            let result = change(&mut writer);
            this.set_changed(None);
            // Only now may the next one look whether the index is sound.
            drop(writer);
            result
        });
        account.look_at(result.await).await
    }

    /// Asks about a folder, as it is on the disk now.
    pub async fn read<T, F>(&self, id: AccountId, name: &FolderName, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &FolderRow) -> Result<T, StoreError> + Send + 'static,
    {
        let account = self.get(id).await?;
        let (this, name) = (account.clone(), name.clone());
        let first = blocking(move || this.ask(&name, question)).await;
        let (name, question) = match account.look_at(first).await? {
            Fresh::Answer(answer) => return Ok(answer),
            Fresh::Changed(name, question) => (name, question),
        };
        let mut writer = account.writer().await;
        let this = account.clone();
        let result = blocking(move || {
            this.set_changed(None);
            let row = writer.fresh_folder(&name);
            this.set_changed(None);
            question(writer.db()?, &row?)
        });
        account.look_at(result.await).await
    }

    /// What the account holds.
    pub async fn usage(&self, id: AccountId) -> Result<Usage, StoreError> {
        let account = self.get(id).await?;
        let changes = match account.usage() {
            Ok(usage) => return Ok(usage),
            Err(changes) => changes,
        };
        let usage = self.read(id, &FolderName::inbox(), |db, _| index::usage(db)).await?;
        account.keep_usage(changes, usage);
        Ok(usage)
    }

    /// Reads octets of a message.
    pub async fn read_message<T, F>(
        &self,
        id: AccountId,
        name: &FolderName,
        uid: u32,
        question: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut MessageFile) -> Result<T, StoreError> + Send + 'static,
    {
        let account = self.get(id).await?;
        let (this, name) = (account.clone(), name.clone());
        let result = blocking(move || question(&mut this.message(&name, uid)?)).await;
        account.look_at(result).await
    }

    pub async fn purge(&self, id: AccountId) -> Result<(), StoreError> {
        let account = self.get(id).await?;
        // The writer is taken and never given back: who waits for it opens the account anew.
        let writer = account.writer().await;
        account.set_damaged();
        self.open().remove(&id);
        let (own, journal) = (self.root.join(".postroad"), self.journal.clone());
        blocking(move || {
            journal.append(vec![Record::encode_purge(id.0)?])?;
            folders::purge(writer, &own)
        })
        .await
    }

    pub async fn close_all(&self) {
        let slots = std::mem::take(&mut *self.open());
        // A thread that ended in a panic has said so itself.
        let _ = tokio::task::spawn_blocking(move || drop(slots)).await;
    }

    /// What a crash leaves: nothing is closed in order.
    #[cfg(test)]
    pub fn abandon(&self) {
        self.journal.abandon();
        for slot in self.open().values() {
            if let Some(account) = slot.account.get() {
                account.abandon();
            }
        }
    }
}

/// Runs work that waits for the disk on a thread that may.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|e| StoreError::Unavailable(format!("working on a mailbox: {e}")))?
}
