//! One open account: its writer, its readers' connections, its waiting deliveries.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::fcntl::Flock;
use postroad_store::StoreError;
use postroad_store::mailbox::{DELIVERY_KEYS_DAYS, FolderName, MailboxEvent, Usage};
use postroad_store::spool::Micros;
use postroad_types::AccountId;
use rusqlite::Connection;
use tokio::sync::OwnedMutexGuard;

use super::deliver::Queue;
use super::events::Events;
use super::read::MessageFile;
use super::sync;
use crate::index::{self, FolderRow, Index, Opened, messages};
use crate::maildir::home;
use crate::maildir::keywords::Keywords;
use crate::maildir::listing::ChangeTimes;
use crate::maildir::sheet::Sheet;
use crate::sqlite;

/// Reading connections that an account keeps.
const READERS_KEPT: usize = 2;
/// A folder that was changed here is listed again after so long, in case another program changed it within
/// the same tick of the file system's clock.
const LISTED_AGAIN: Duration = Duration::from_secs(60);

/// What an account holds is asked of the index again after so long: another program may have made room.
const LOOKED_AGAIN: Duration = Duration::from_secs(5);
const PRUNED_EVERY: Duration = Duration::from_secs(24 * 3600);

pub struct Account {
    home: PathBuf,
    /// Before the writer, so that its connection is closed last and takes the log into the database.
    readers: Mutex<Vec<Connection>>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    queue: Mutex<Queue>,
    usage: Mutex<LastUsage>,
    /// The index can't be used any more; the account is to be opened anew.
    damaged: AtomicBool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.home.display())
    }
}

/// What an account holds, as long as nothing has changed: it is asked for each recipient.
#[derive(Debug, Default)]
struct LastUsage {
    /// Changes so far, each counted at its beginning and at its end.
    changes: u64,
    known: Option<Usage>,
    /// When the index was last asked.
    looked_at: Option<Instant>,
}

/// An answer; or the question back, because the folder is not as the index knows it.
pub enum Fresh<T, F> {
    Answer(T),
    Changed(FolderName, F),
}

impl Account {
    /// `lock` keeps other processes away as long as anything is at work here.
    pub fn open(
        root: &Path,
        name: &Path,
        id: AccountId,
        events: Events,
        lock: Arc<Flock<File>>,
    ) -> Result<Self, StoreError> {
        let mut writer = Writer::open(root, name, id)?;
        // Nobody is told what opening found: whoever watches has yet to look.
        writer.events = events;
        writer.lock = Some(lock);
        Ok(Account {
            home: writer.home.clone(),
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            readers: Mutex::default(),
            queue: Mutex::default(),
            usage: Mutex::default(),
            damaged: AtomicBool::new(false),
        })
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub async fn writer(&self) -> OwnedMutexGuard<Writer> {
        self.writer.clone().lock_owned().await
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the account holds; or how many changes there were, for [`Account::keep_usage`].
    pub fn usage(&self) -> Result<Usage, u64> {
        let last = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = last.looked_at.is_some_and(|at| at.elapsed() < LOOKED_AGAIN);
        last.known.filter(|_| recent).ok_or(last.changes)
    }

    /// Keeps an answer, if nothing has changed since it was asked for.
    pub fn keep_usage(&self, changes: u64, usage: Usage) {
        let mut last = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if last.changes == changes {
            last.known = Some(usage);
            last.looked_at = Some(Instant::now());
        }
    }

    /// A change begins or has ended; `known` is what the account holds then, if that is known.
    pub fn set_changed(&self, known: Option<Usage>) {
        let mut last = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        last.changes += 1;
        last.known = known;
    }

    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    pub fn set_damaged(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    /// Where something is reported as damaged, finds out whether it is the index, which is then made anew by
    /// the next who uses the account.
    pub async fn look_at<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if !matches!(result, Err(StoreError::Damaged(_))) {
            return result;
        }
        let mut writer = self.writer().await;
        let sound = super::accounts::blocking(move || Ok(writer.set_aside_if_damaged())).await?;
        if !sound {
            self.set_damaged();
            return result.map_err(|e| StoreError::Unavailable(format!("{e}; it is made anew, try again")));
        }
        result
    }

    fn with_reader<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => sqlite::open_reader(&index::path(&self.home)).map_err(index::failed)?,
        };
        let result = work(&connection);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        result
    }

    /// Answers a question, if the folder on disk is what the index knows.
    pub fn ask<T, F>(&self, name: &FolderName, question: F) -> Result<Fresh<T, F>, StoreError>
    where
        F: FnOnce(&Connection, &FolderRow) -> Result<T, StoreError>,
    {
        self.with_reader(|db| {
            let Some(row) = index::folder_if_there(db, name)? else {
                return Ok(Fresh::Changed(name.clone(), question));
            };
            // One transaction, so that all of the answer is of one moment.
            let moment = db.unchecked_transaction().map_err(index::failed)?;
            let row = index::folder_if_there(&moment, name)?.unwrap_or(row);
            match ChangeTimes::read(&self.home.join(&row.dir)) {
                Ok(times) if times == row.change_times() => Ok(Fresh::Answer(question(&moment, &row)?)),
                _ => Ok(Fresh::Changed(name.clone(), question)),
            }
        })
    }

    pub fn message(&self, name: &FolderName, uid: u32) -> Result<MessageFile, StoreError> {
        self.with_reader(|db| {
            let row = index::folder(db, name)?;
            let message = messages::message(db, row.id, uid)?
                .ok_or_else(|| StoreError::NotFound(format!("message {uid} in {name}")))?;
            MessageFile::open(&self.home.join(&row.dir), name, &message)
        })
    }

    #[cfg(test)]
    pub fn abandon(&self) {
        if let Ok(mut writer) = self.writer.try_lock() {
            writer.abandoned = true;
        }
    }
}

/// The right to change an account, and what is needed for it.
#[derive(Debug)]
pub struct Writer {
    pub home: PathBuf,
    /// The home's path within the mailbox directory.
    pub home_name: PathBuf,
    pub account: AccountId,
    events: Events,
    /// Of all mailboxes.
    lock: Option<Arc<Flock<File>>>,
    /// Of this one.
    _entered: Flock<File>,
    /// Taken out only by the drop.
    index: Option<Index>,
    sheets: HashMap<i64, Sheet>,
    keywords: HashMap<i64, Keywords>,
    listed: HashMap<i64, Instant>,
    pub folders_seen_at: Option<SystemTime>,
    /// All folders were listed since the last crash, so that the index knows every delivery key.
    keys_complete: bool,
    pruned_at: Option<Instant>,
    #[cfg(test)]
    pub abandoned: bool,
    /// Where a test lets the process die.
    #[cfg(test)]
    pub dies_at: Option<super::crash_tests::Step>,
}

impl Writer {
    /// An index that turns out to be damaged is made again.
    pub fn open(root: &Path, name: &Path, account: AccountId) -> Result<Self, StoreError> {
        let opened = Writer::open_once(root, name, account);
        if matches!(opened, Err(StoreError::Damaged(_))) && !Index::make_sound(&root.join(name))? {
            return Writer::open_once(root, name, account);
        }
        opened
    }

    fn open_once(root: &Path, name: &Path, account: AccountId) -> Result<Self, StoreError> {
        let home = root.join(name);
        let entered = home::enter(root, &home, account)?;
        let Opened { index, clean } = Index::open(&home)?;
        let mut writer = Writer {
            home,
            home_name: name.to_owned(),
            account,
            events: Events::default(),
            lock: None,
            _entered: entered,
            index: Some(index),
            sheets: HashMap::new(),
            keywords: HashMap::new(),
            listed: HashMap::new(),
            folders_seen_at: None,
            keys_complete: false,
            pruned_at: None,
            #[cfg(test)]
            abandoned: false,
            #[cfg(test)]
            dies_at: None,
        };
        if !clean {
            sync::after_crash(&mut writer)?;
        }
        sync::folders(&mut writer)?;
        super::folders::remove_leftovers(&writer.home.join("tmp"))?;
        writer.prune_keys()?;
        Ok(writer)
    }

    /// Forgets delivery keys that nobody will repeat any more, once a day.
    pub fn prune_keys(&mut self) -> Result<(), StoreError> {
        if self.pruned_at.is_some_and(|at| at.elapsed() < PRUNED_EVERY) {
            return Ok(());
        }
        self.pruned_at = Some(Instant::now());
        let before = now() - Micros::from(DELIVERY_KEYS_DAYS) * 86_400_000_000;
        if messages::has_delivered_before(self.db()?, before)? {
            self.index()?.commit(|db| messages::prune_delivered(db, before))?;
        }
        Ok(())
    }

    /// To be called before a delivery key counts as unknown: a large mail's file may have come into its place
    /// right before a crash, and its key stands in its name alone.
    pub fn complete_keys(&mut self) -> Result<(), StoreError> {
        if self.keys_complete {
            return Ok(());
        }
        for row in index::folders(self.db()?)? {
            let unlisted = row.change_times() == ChangeTimes::default();
            if unlisted && self.folder_path(&row).join("cur").is_dir() {
                sync::messages(self, row)?;
            }
        }
        self.keys_complete = true;
        Ok(())
    }

    pub fn index(&mut self) -> Result<&mut Index, StoreError> {
        self.index.as_mut().ok_or_else(closed)
    }

    pub fn db(&self) -> Result<&Connection, StoreError> {
        self.index.as_ref().map(Index::db).ok_or_else(closed)
    }

    pub fn folder_path(&self, row: &FolderRow) -> PathBuf {
        self.home.join(&row.dir)
    }

    /// The folder's row after whatever other programs did to it has been taken over.
    pub fn fresh_folder(&mut self, name: &FolderName) -> Result<FolderRow, StoreError> {
        let mut row = match index::folder_if_there(self.db()?, name)? {
            Some(row) => row,
            None => {
                sync::folders(self)?;
                index::folder(self.db()?, name)?
            }
        };
        if !self.folder_path(&row).join("cur").is_dir() {
            sync::folders(self)?;
            row = index::folder(self.db()?, name)?;
        }
        let times = ChangeTimes::read(&self.folder_path(&row))?;
        let long_ago = self.listed.get(&row.id).is_some_and(|at| at.elapsed() >= LISTED_AGAIN);
        if times != row.change_times() || long_ago {
            row = sync::messages(self, row)?;
        }
        Ok(row)
    }

    /// The folder was listed: its row says what is there.
    pub fn set_listed(&mut self, folder: i64) {
        self.listed.remove(&folder);
    }

    /// The folder's files were changed here, see [`LISTED_AGAIN`].
    pub fn set_changed(&mut self, folder: i64) {
        self.listed.entry(folder).or_insert_with(Instant::now);
    }

    pub fn sheet(&mut self, row: &FolderRow) -> Result<&mut Sheet, StoreError> {
        match self.sheets.entry(row.id) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let path = self.home.join(&row.dir);
                // The index knows what the sheet must hold when it is gone.
                let sheet = match Sheet::read(&path)?.filter(|sheet| sheet.uid_validity == row.uid_validity) {
                    Some(sheet) => sheet,
                    None => {
                        let mut sheet = Sheet::new(row.uid_validity, row.special_use.as_deref());
                        sheet.reserve(&path, row.uid_next.max(2), row.mod_seq)?;
                        sheet
                    }
                };
                Ok(entry.insert(sheet))
            }
        }
    }

    /// To be called before numbers are used that the row does not have yet.
    pub fn reserve(&mut self, row: &FolderRow, uid_next: u32, mod_seq: u64) -> Result<(), StoreError> {
        let path = self.folder_path(row);
        self.sheet(row)?.reserve(&path, uid_next, mod_seq)
    }

    pub fn keywords(&mut self, row: &FolderRow) -> Result<&mut Keywords, StoreError> {
        let path = self.home.join(&row.dir);
        match self.keywords.entry(row.id) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => Ok(entry.insert(Keywords::read(&path)?)),
        }
    }

    pub fn forget_keywords(&mut self, folder: i64) {
        self.keywords.remove(&folder);
    }

    /// What is known of a folder beside the index is read again when next needed.
    pub fn forget(&mut self, folder: i64) {
        self.sheets.remove(&folder);
        self.keywords.remove(&folder);
        self.listed.remove(&folder);
    }

    pub fn tell_folder(&self, row: &FolderRow) {
        self.tell(MailboxEvent::Folder { name: row.name.clone(), mod_seq: row.mod_seq });
    }

    pub fn tell(&self, event: MailboxEvent) {
        self.events.tell(self.account, event);
    }

    /// Looks through the index; a damaged one is set aside. Returns whether it is sound.
    fn set_aside_if_damaged(&mut self) -> bool {
        if self.index.take().is_none() {
            return false;
        }
        match Index::make_sound(&self.home) {
            Ok(true) => {
                self.index = Index::open(&self.home).ok().map(|opened| opened.index);
                self.index.is_some()
            }
            Ok(false) => false,
            Err(error) => {
                tracing::error!(%error, "the damaged mailbox index can't be set aside");
                false
            }
        }
    }

    /// Gives the index up without closing it in order.
    pub fn give_up_index(&mut self) {
        self.index = None;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        #[cfg(test)]
        if self.abandoned {
            return;
        }
        if let Some(index) = self.index.take()
            && let Err(error) = index.close()
        {
            // The next opening looks for what is missing, as after a crash.
            tracing::warn!(home = %self.home.display(), %error, "closing the mailbox index failed");
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the mailbox was closed in the meantime: try again".into())
}

/// Microseconds since 1970.
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}
