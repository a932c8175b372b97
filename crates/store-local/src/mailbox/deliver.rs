//! Storing messages, many at a time. See [`super`] for what is durable when.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::mailbox::{
    BodySource, FlagChange, Flags, FolderName, MessageInfo, NewMail, Stored, Usage,
};
use tokio::sync::oneshot;

use super::account::{Account, Writer, now};
use super::accounts::{Accounts, blocking};
use crate::index::messages::MessageRow;
use crate::index::{self, FolderRow, messages};
use crate::journal::{Journal, Record, record};
use crate::maildir::file_name::{self, Tags};
use crate::maildir::listing::{self, ChangeTimes};
use crate::maildir::place::{Draft, path_of};
use crate::maildir::sync_dir;

/// Larger mails are flushed on their own instead of being written twice.
pub const JOURNAL_OCTETS_MAX: u64 = 256 * 1024;
/// Mails that are stored together at most.
const BATCH_MAX: usize = 256;
/// Read at once from the caller's body.
const READ_OCTETS: usize = 1 << 20;

/// Mails that wait for their account's writer.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Item>,
    /// Somebody is at work on this queue.
    running: bool,
}

#[derive(Debug)]
struct Item {
    mail: NewMail,
    key: Option<[u8; 16]>,
    content: Content,
    answer: oneshot::Sender<Result<Stored, StoreError>>,
}

#[derive(Debug)]
enum Content {
    /// The body; the prefix is the mail's.
    Octets(Bytes),
    /// Prefix and body, flushed.
    Draft(Draft),
}

pub async fn store(
    accounts: &Arc<Accounts>,
    id: postroad_types::AccountId,
    mail: NewMail,
    body: &dyn BodySource,
) -> Result<Stored, StoreError> {
    let account = accounts.get(id).await?;
    let size_octets = mail.prefix.len() as u64 + body.size_octets();
    let content = if size_octets <= JOURNAL_OCTETS_MAX {
        Content::Octets(collect(body).await?)
    } else {
        Content::Draft(draft(&account, &mail.prefix, body).await?)
    };
    let (answer, answered) = oneshot::channel();
    let item = Item { key: mail.key.as_deref().map(digest_of), mail, content, answer };
    let begin = {
        let mut queue = account.queue();
        queue.waiting.push_back(item);
        !std::mem::replace(&mut queue.running, true)
    };
    if begin {
        tokio::spawn(work_off(accounts.journal().clone(), account.clone()));
    }
    let result = answered.await.map_err(|_| StoreError::Unavailable("the mailbox was closed".into()));
    account.look_at(result.and_then(|result| result)).await
}

fn digest_of(key: &str) -> [u8; 16] {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

fn ended_early() -> StoreError {
    StoreError::Invalid("the body ends before its size".into())
}

async fn collect(body: &dyn BodySource) -> Result<Bytes, StoreError> {
    let size = body.size_octets() as usize;
    let first = body.read(0, size).await?;
    if first.len() == size {
        return Ok(first);
    }
    let mut octets = Vec::with_capacity(size);
    octets.extend_from_slice(&first);
    while octets.len() < size {
        let chunk = body.read(octets.len() as u64, size - octets.len()).await?;
        if chunk.is_empty() {
            return Err(ended_early());
        }
        octets.extend_from_slice(&chunk);
    }
    Ok(octets.into())
}

async fn draft(account: &Account, prefix: &Bytes, body: &dyn BodySource) -> Result<Draft, StoreError> {
    let (home, first) = (account.home().to_owned(), prefix.clone());
    let mut draft = blocking(move || {
        let mut draft = Draft::begin(&home)?;
        draft.write(&first)?;
        Ok(draft)
    })
    .await?;
    let mut offset = 0;
    while offset < body.size_octets() {
        let chunk = body.read(offset, READ_OCTETS).await?;
        if chunk.is_empty() {
            return Err(ended_early());
        }
        offset += chunk.len() as u64;
        draft = blocking(move || {
            draft.write(&chunk)?;
            Ok(draft)
        })
        .await?;
    }
    blocking(move || {
        draft.sync()?;
        Ok(draft)
    })
    .await
}

/// Until the queue is empty. What arrives while a batch is flushed is the next batch.
async fn work_off(journal: Arc<Journal>, account: Arc<Account>) {
    loop {
        let mut writer = account.writer().await;
        let items: Vec<Item> = {
            let mut queue = account.queue();
            let count = queue.waiting.len().min(BATCH_MAX);
            queue.running = count > 0;
            queue.waiting.drain(..count).collect()
        };
        if items.is_empty() {
            return;
        }
        let (journal, this) = (journal.clone(), account.clone());
        let stored = blocking(move || {
            let before = this.usage().ok();
            this.set_changed(None);
            let batch = Batch { used_before: before, ..Batch::default() };
            batch.store(&mut writer, &journal, items, |usage| this.set_changed(usage));
            Ok(())
        });
        if let Err(error) = stored.await {
            // Its callers hear that there is no answer.
            tracing::error!(%error, "storing mail ended in the middle");
        }
    }
}

/// Mails on their way into one account.
#[derive(Default)]
struct Batch {
    folders: HashMap<FolderName, Touched>,
    planned: Vec<Planned>,
    /// Repeats of what is planned: index into `planned`.
    repeats: Vec<(usize, oneshot::Sender<Result<Stored, StoreError>>)>,
    keys: HashMap<[u8; 16], usize>,
    /// Of this batch.
    octets: u64,
    /// What the account held before it.
    used_before: Option<Usage>,
}

struct Touched {
    row: FolderRow,
    /// Nobody else had changed the folder.
    known: bool,
}

struct Planned {
    folder: FolderName,
    message: MessageRow,
    letters: String,
    prefix: Bytes,
    content: Option<Content>,
    key: Option<[u8; 16]>,
    stored: Stored,
    failure: Option<StoreError>,
    answer: oneshot::Sender<Result<Stored, StoreError>>,
}

/// Nobody waits any more when the caller was dropped; the mail is stored all the same.
fn tell(answer: oneshot::Sender<Result<Stored, StoreError>>, result: Result<Stored, StoreError>) {
    let _ = answer.send(result);
}

impl Batch {
    /// Answers all items, after `done` was told what the account holds now, if that is known.
    fn store(
        mut self,
        w: &mut Writer,
        journal: &Journal,
        items: Vec<Item>,
        done: impl FnOnce(Option<Usage>),
    ) {
        for item in items {
            self.plan(w, item);
        }
        if let Err(error) = w.prune_keys().and_then(|()| self.carry_out(w, journal)) {
            for planned in &mut self.planned {
                planned.failure.get_or_insert_with(|| error.clone());
            }
        }
        done(self.usage_after());
        let results: Vec<Result<Stored, StoreError>> =
            self.planned.iter().map(|p| p.failure.clone().map_or(Ok(p.stored), Err)).collect();
        for (of, answer) in self.repeats {
            let result = results.get(of).cloned().unwrap_or_else(|| Err(ended_early()));
            tell(answer, result.map(|stored| Stored { duplicate: true, ..stored }));
        }
        for (planned, result) in self.planned.into_iter().zip(results) {
            tell(planned.answer, result);
        }
    }

    fn usage_after(&self) -> Option<Usage> {
        let stored = self.planned.iter().filter(|planned| planned.failure.is_none());
        let sizes = stored.map(|planned| planned.message.info.size_octets);
        self.used_before.map(|before| {
            sizes.fold(before, |usage, octets| Usage {
                octets: usage.octets + octets,
                messages: usage.messages + 1,
            })
        })
    }

    /// Checks one mail and gives it its numbers, or answers it at once.
    fn plan(&mut self, w: &mut Writer, item: Item) {
        if let Some(of) = item.key.as_ref().and_then(|key| self.keys.get(key)) {
            return self.repeats.push((*of, item.answer));
        }
        match self.numbered(w, &item) {
            Err(error) => tell(item.answer, Err(error)),
            Ok(Numbered::Duplicate(stored)) => {
                // Whoever hears the answer finds nothing in tmp/.
                drop(item.content);
                tell(item.answer, Ok(stored));
            }
            Ok(Numbered::New { message, letters, stored }) => {
                if let Some(key) = item.key {
                    self.keys.insert(key, self.planned.len());
                }
                self.planned.push(Planned {
                    folder: item.mail.folder,
                    message,
                    letters,
                    prefix: item.mail.prefix,
                    content: Some(item.content),
                    key: item.key,
                    stored,
                    failure: None,
                    answer: item.answer,
                });
            }
        }
    }

    fn numbered(&mut self, w: &mut Writer, item: &Item) -> Result<Numbered, StoreError> {
        if let Some(key) = &item.key {
            w.complete_keys()?;
            if let Some((uid_validity, uid)) = messages::delivered(w.db()?, key)? {
                return Ok(Numbered::Duplicate(Stored { uid, uid_validity, duplicate: true }));
            }
        }
        let size_octets = match &item.content {
            Content::Octets(body) => (item.mail.prefix.len() + body.len()) as u64,
            Content::Draft(draft) => draft.size_octets(),
        };
        if item.mail.quota_octets != 0 {
            let before = match self.used_before {
                Some(usage) => usage,
                None => *self.used_before.insert(index::usage(w.db()?)?),
            };
            let used_octets = before.octets + self.octets;
            if used_octets.saturating_add(size_octets) > item.mail.quota_octets {
                return Err(StoreError::OverQuota { used_octets, limit_octets: item.mail.quota_octets });
            }
        }
        let flags = Flags::default().changed(FlagChange::Set, &item.mail.flags);
        let row = self.folder(w, &item.mail.folder)?.clone();
        let path = w.folder_path(&row);
        let keywords = w.keywords(&row)?;
        keywords.learn(&path, &flags)?;
        let letters = keywords.letters(&flags);
        let in_new = flags == Flags::default();

        let row = self.folder(w, &item.mail.folder)?;
        let uid = row.uid_next;
        if uid == u32::MAX {
            return Err(StoreError::Unavailable(format!("folder {} has no UIDs left", row.name)));
        }
        row.uid_next += 1;
        row.mod_seq += 1;
        self.octets += size_octets;
        let row = self.folder(w, &item.mail.folder)?;
        let tags = Tags {
            size_octets,
            uid: Some((row.uid_validity, uid)),
            key: item.key,
            trace_id: item.mail.trace_id,
        };
        let info = MessageInfo {
            uid,
            flags,
            size_octets,
            internal_date: item.mail.internal_date,
            mod_seq: row.mod_seq,
            trace_id: item.mail.trace_id,
        };
        Ok(Numbered::New {
            message: MessageRow { info, base: tags.base(&file_name::unique()), in_new },
            letters,
            stored: Stored { uid, uid_validity: row.uid_validity, duplicate: false },
        })
    }

    fn folder(&mut self, w: &mut Writer, name: &FolderName) -> Result<&mut FolderRow, StoreError> {
        if !self.folders.contains_key(name) {
            let row = match index::folder_if_there(w.db()?, name)? {
                Some(row) => row,
                None => w.fresh_folder(name)?,
            };
            let known = ChangeTimes::read(&w.folder_path(&row))? == row.change_times();
            self.folders.insert(name.clone(), Touched { row, known });
        }
        let touched = self.folders.get_mut(name);
        touched.map(|t| &mut t.row).ok_or_else(|| StoreError::NotFound(format!("folder {name}")))
    }

    /// Journal, files, index. An error concerns all mails; what concerns one stands in it.
    fn carry_out(&mut self, w: &mut Writer, journal: &Journal) -> Result<(), StoreError> {
        if self.planned.is_empty() {
            return Ok(());
        }
        for touched in self.folders.values() {
            w.reserve(&touched.row, touched.row.uid_next, touched.row.mod_seq)?;
        }
        let records = self.records(w)?;
        let ticket = if records.is_empty() { None } else { Some(journal.append(records)?) };
        #[cfg(test)]
        w.crash_at(super::crash_tests::Step::Journalled)?;
        let mut result = self.write_files(w);
        #[cfg(test)]
        w.crash_at(super::crash_tests::Step::Written)?;
        if result.is_ok() {
            result = self.commit(w);
        }
        #[cfg(test)]
        w.crash_at(super::crash_tests::Step::Committed)?;
        self.take_back_failed(w, journal, result.is_err());
        // The files are where they belong, or taken back: the journal need not hold them any longer.
        drop(ticket);
        result?;
        for touched in self.folders.values() {
            w.tell_folder(&touched.row);
        }
        Ok(())
    }

    fn records(&self, w: &Writer) -> Result<Vec<Vec<u8>>, StoreError> {
        let at = now();
        let of_planned = |planned: &Planned| {
            let Some(Content::Octets(body)) = &planned.content else { return None };
            let info = &planned.message.info;
            let mail = record::Mail {
                home: w.home_name.clone(),
                account: w.account.0,
                uid_validity: planned.stored.uid_validity,
                uid: info.uid,
                base: planned.message.base.clone(),
                in_new: planned.message.in_new,
                flags: (&info.flags).into(),
                internal_date: info.internal_date,
                at,
            };
            Some(Record::encode_mail(&mail, &planned.prefix, body))
        };
        self.planned.iter().filter_map(of_planned).collect()
    }

    fn write_files(&mut self, w: &Writer) -> Result<(), StoreError> {
        let mut flush = Vec::new();
        for planned in &mut self.planned {
            let Some(touched) = self.folders.get(&planned.folder) else { continue };
            let folder = w.folder_path(&touched.row);
            let message = &planned.message;
            let target = path_of(&folder, &message.base, message.in_new, &planned.letters);
            let placed = match planned.content.take() {
                Some(Content::Octets(body)) => Draft::begin(&w.home).and_then(|mut draft| {
                    draft.write(&planned.prefix)?;
                    draft.write(&body)?;
                    draft.place(&target, message.info.internal_date)
                }),
                Some(Content::Draft(draft)) => {
                    let dir = folder.join(if message.in_new { "new" } else { "cur" });
                    if !flush.contains(&dir) {
                        flush.push(dir);
                    }
                    draft.place(&target, message.info.internal_date)
                }
                None => Ok(()),
            };
            planned.failure = placed.err();
        }
        flush.iter().try_for_each(|dir| sync_dir(dir))
    }

    fn commit(&mut self, w: &mut Writer) -> Result<(), StoreError> {
        let at = now();
        for touched in self.folders.values_mut() {
            if touched.known {
                let times = ChangeTimes::read(&w.folder_path(&touched.row))?;
                touched.row.set_change_times(times);
            }
            w.set_changed(touched.row.id);
        }
        let (planned, folders) = (&self.planned, &mut self.folders);
        w.index()?.commit(|db| {
            for planned in planned.iter().filter(|planned| planned.failure.is_none()) {
                let Some(touched) = folders.get_mut(&planned.folder) else { continue };
                messages::add(db, &mut touched.row, &planned.message)?;
                if let Some(key) = &planned.key {
                    let Stored { uid, uid_validity, .. } = planned.stored;
                    messages::set_delivered(db, key, uid_validity, uid, at)?;
                }
            }
            folders.values().try_for_each(|touched| index::put_folder(db, &touched.row).map(|_| ()))
        })
    }

    /// What was not stored must not come back after a crash.
    fn take_back_failed(&mut self, w: &Writer, journal: &Journal, all: bool) {
        let mut records = Vec::new();
        for planned in self.planned.iter().filter(|planned| all || planned.failure.is_some()) {
            let Stored { uid, uid_validity, .. } = planned.stored;
            records.extend(Record::encode_cancel(w.account.0, uid_validity, uid));
            if let Some(touched) = self.folders.get(&planned.folder) {
                let message = &planned.message;
                let folder = w.folder_path(&touched.row);
                let path = path_of(&folder, &message.base, message.in_new, &planned.letters);
                if let Err(error) = listing::remove(&path) {
                    tracing::warn!(%error, "a message that was not stored is still there and will show up");
                }
            }
        }
        if !records.is_empty()
            && let Err(error) = journal.append(records)
        {
            tracing::warn!(%error, "messages that were refused may show up after a crash");
        }
    }
}

enum Numbered {
    Duplicate(Stored),
    New { message: MessageRow, letters: String, stored: Stored },
}

impl Writer {
    /// The process dies here, if the test says so.
    #[cfg(test)]
    pub fn crash_at(&mut self, step: super::crash_tests::Step) -> Result<(), StoreError> {
        if self.abandoned || self.dies_at == Some(step) {
            self.abandoned = true;
            return Err(StoreError::Unavailable(format!("crashed at {step:?}")));
        }
        Ok(())
    }
}
