//! Flags and expunges.
//!
//! Files first, flushed, then the index: what is between the two when the process dies is found in the files'
//! names by the next listing, as if another program had done it.

use std::fs;
use std::path::{Path, PathBuf};

use postroad_store::StoreError;
use postroad_store::mailbox::{FlagOrder, FolderName, MessageInfo, UidRange};

use super::account::Writer;
use crate::index::messages::MessageRow;
use crate::index::{self, FolderRow, messages};
use crate::maildir::listing::{self, ChangeTimes};
use crate::maildir::place::path_of;
use crate::maildir::sync_dir;

pub const ALL: UidRange = UidRange { first: 1, last: u32::MAX };

/// Folders whose names change, to be flushed once.
#[derive(Debug, Default)]
pub struct Flush {
    dirs: Vec<PathBuf>,
}

impl Flush {
    pub fn parent_of(&mut self, path: &Path) {
        if let Some(dir) = path.parent().filter(|dir| !self.dirs.iter().any(|known| known == dir)) {
            self.dirs.push(dir.to_owned());
        }
    }

    pub fn carry_out(&self) -> Result<(), StoreError> {
        self.dirs.iter().try_for_each(|dir| sync_dir(dir))
    }
}

/// Brings the known change times along over a change of ours, unless another program came before it.
#[derive(Clone, Copy, Debug)]
pub struct OwnChange {
    known: bool,
}

impl OwnChange {
    pub fn begin(w: &Writer, row: &FolderRow) -> Result<Self, StoreError> {
        Ok(OwnChange { known: ChangeTimes::read(&w.folder_path(row))? == row.change_times() })
    }

    pub fn end(self, w: &mut Writer, row: &mut FolderRow) -> Result<(), StoreError> {
        if self.known {
            let times = ChangeTimes::read(&w.folder_path(row))?;
            row.set_change_times(times);
        }
        w.set_changed(row.id);
        Ok(())
    }
}

/// Where a message's file is, `None` when another program has taken it away.
pub fn path_now(
    w: &mut Writer,
    row: &FolderRow,
    message: &MessageRow,
) -> Result<Option<PathBuf>, StoreError> {
    let folder = w.folder_path(row);
    let letters = w.keywords(row)?.letters(&message.info.flags);
    let path = path_of(&folder, &message.base, message.in_new, &letters);
    if path.exists() { Ok(Some(path)) } else { listing::find(&folder, &message.base) }
}

pub fn store_flags(
    w: &mut Writer,
    name: &FolderName,
    uid_validity: u32,
    uids: &[UidRange],
    order: &FlagOrder,
) -> Result<(Vec<MessageInfo>, Vec<u32>), StoreError> {
    let mut row = w.fresh_folder(name)?;
    row.check_validity(uid_validity)?;
    let own = OwnChange::begin(w, &row)?;
    let folder = w.folder_path(&row);
    let mod_seq = row.mod_seq + 1;
    let (mut changed, mut left, mut flush) = (Vec::new(), Vec::new(), Flush::default());
    let mut in_names = true;
    for message in messages::chosen(w.db()?, row.id, uids)? {
        if order.unchanged_since != 0 && message.info.mod_seq > order.unchanged_since {
            left.push(message.info.uid);
            continue;
        }
        let flags = message.info.flags.changed(order.change, &order.flags);
        if flags == message.info.flags {
            continue;
        }
        let Some(old) = path_now(w, &row, &message)? else { continue };
        let keywords = w.keywords(&row)?;
        keywords.learn(&folder, &flags)?;
        in_names &= keywords.cover(&flags) && keywords.cover(&message.info.flags);
        let mut new = MessageRow { in_new: false, ..message.clone() };
        (new.info.flags, new.info.mod_seq) = (flags, mod_seq);
        let target = path_of(&folder, &message.base, false, &keywords.letters(&new.info.flags));
        if old != target {
            fs::rename(&old, &target)
                .map_err(|e| StoreError::io(format_args!("renaming {}", old.display()), &e))?;
            flush.parent_of(&old);
            flush.parent_of(&target);
        }
        changed.push((message, new));
    }
    if changed.is_empty() {
        return Ok((Vec::new(), left));
    }
    flush.carry_out()?;
    #[cfg(test)]
    w.crash_at(super::crash_tests::Step::Renamed)?;
    row.mod_seq = mod_seq;
    w.reserve(&row, row.uid_next, mod_seq)?;
    own.end(w, &mut row)?;
    let mut apply = |db: &rusqlite::Connection| {
        for (old, new) in &changed {
            messages::change(db, &mut row, old, new)?;
        }
        index::put_folder(db, &row)
    };
    // A keyword without a letter stands in the index alone.
    let row =
        if in_names { w.index()?.commit(&mut apply)? } else { w.index()?.commit_durably(&mut apply)? };
    w.tell_folder(&row);
    Ok((changed.into_iter().map(|(_, new)| new.info).collect(), left))
}

pub fn expunge(
    w: &mut Writer,
    name: &FolderName,
    uid_validity: u32,
    uids: Option<&[UidRange]>,
) -> Result<(Vec<u32>, u64), StoreError> {
    let mut row = w.fresh_folder(name)?;
    row.check_validity(uid_validity)?;
    let mut gone = messages::chosen(w.db()?, row.id, uids.unwrap_or(&[ALL]))?;
    gone.retain(|message| message.info.flags.deleted);
    if gone.is_empty() {
        return Ok((Vec::new(), row.mod_seq));
    }
    let own = OwnChange::begin(w, &row)?;
    let mut flush = Flush::default();
    for message in &gone {
        if let Some(path) = path_now(w, &row, message)? {
            listing::remove(&path)?;
            flush.parent_of(&path);
        }
    }
    // Or an expunged message could be back after a power cut, and look like a new one.
    flush.carry_out()?;
    #[cfg(test)]
    w.crash_at(super::crash_tests::Step::Removed)?;
    row.mod_seq += 1;
    w.reserve(&row, row.uid_next, row.mod_seq)?;
    own.end(w, &mut row)?;
    // Durably: the journal may still hold the mail, and would bring it back without the tombstone.
    let row = w.index()?.commit_durably(|db| {
        let mod_seq = row.mod_seq;
        for message in &gone {
            messages::expunge(db, &mut row, message, mod_seq)?;
        }
        messages::prune_expunged(db, &mut row)?;
        index::put_folder(db, &row)
    })?;
    w.tell_folder(&row);
    Ok((gone.into_iter().map(|message| message.info.uid).collect(), row.mod_seq))
}
