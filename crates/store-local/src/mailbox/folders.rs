//! Folders and subscriptions.
//!
//! Directories first, flushed, then the index: what is between the two when the process dies is found by the
//! next look at the directories, where a sheet with a known UIDVALIDITY under another name is a rename.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postroad_store::StoreError;
use postroad_store::mailbox::{Folder, FolderName, MailboxEvent, folder_list};
use tokio::sync::OwnedMutexGuard;

use super::account::Writer;
use super::change::ALL;
use super::{sync, transfer};
use crate::index::{self, FolderRow};
use crate::maildir::sheet::Sheet;
use crate::maildir::{folder_dir, place, read_if_there, replace_file, sync_dir};

const SUBSCRIPTIONS: &str = "postroad-subscriptions";
/// Begins the names of directories that are about to be removed.
const REMOVED: &str = "removed-";

pub fn list(w: &mut Writer) -> Result<Vec<Folder>, StoreError> {
    let changed = fs::metadata(&w.home).and_then(|m| m.modified()).ok();
    if changed.is_none() || changed != w.folders_seen_at {
        sync::folders(w)?;
    }
    let subscribed = subscriptions(w)?;
    let rows = index::folders(w.db()?)?;
    Ok(folder_list(rows.into_iter().map(|row| (row.name, row.special_use)), |name| subscribed.contains(name)))
}

pub fn create(w: &mut Writer, name: &FolderName, special_use: Option<&str>) -> Result<u32, StoreError> {
    if index::folder_if_there(w.db()?, name)?.is_some() {
        return Err(StoreError::Exists(format!("folder {name}")));
    }
    for parent in name.parents() {
        if index::folder_if_there(w.db()?, &parent)?.is_none() {
            make(w, &parent, None)?;
        }
    }
    let row = make(w, name, special_use)?;
    w.tell(MailboxEvent::Folders);
    Ok(row.uid_validity)
}

fn make(w: &mut Writer, name: &FolderName, special_use: Option<&str>) -> Result<FolderRow, StoreError> {
    let dir = folder_dir::encode(name)?;
    let path = w.home.join(&dir);
    if path.join("cur").is_dir() {
        // Another program made it; it is taken over with what it holds.
        sync::folders(w)?;
        return index::folder(w.db()?, name);
    }
    let uid_validity = w.index()?.commit_durably(|db| index::next_uid_validity(db, sync::seconds_now()))?;
    place::make_folder(&path)?;
    // Courier tells folders from other things by this file.
    fs::write(path.join("maildirfolder"), "")
        .map_err(|e| StoreError::io(format_args!("making the folder {}", path.display()), &e))?;
    Sheet::new(uid_validity, special_use).write(&path)?;
    let row = FolderRow {
        id: 0,
        name: name.clone(),
        dir,
        uid_validity,
        uid_next: 1,
        mod_seq: 1,
        first_recent_uid: 1,
        special_use: special_use.map(str::to_owned),
        messages: 0,
        unseen: 0,
        octets: 0,
        expunged_floor: 0,
        cur_ns: 0,
        new_ns: 0,
    };
    w.index()?.commit_durably(|db| index::put_folder(db, &row))
}

pub fn delete(w: &mut Writer, name: &FolderName) -> Result<(), StoreError> {
    if name.is_inbox() {
        return Err(StoreError::Invalid("INBOX can't be removed".into()));
    }
    let row = w.fresh_folder(name)?;
    // Out of the way in one step; another program may be reading it until then.
    let removed = w.home.join("tmp").join(format!("{REMOVED}{}", row.uid_validity));
    move_dir(&w.folder_path(&row), &removed)?;
    sync_dir(&w.home)?;
    w.index()?.commit_durably(|db| index::remove_folder(db, row.id))?;
    w.forget(row.id);
    remove_tree(&removed);
    w.tell(MailboxEvent::Folders);
    Ok(())
}

pub fn rename(w: &mut Writer, from: &FolderName, to: &FolderName) -> Result<(), StoreError> {
    if index::folder_if_there(w.db()?, to)?.is_some() {
        return Err(StoreError::Exists(format!("folder {to}")));
    }
    if to.is_below(from) && !from.is_inbox() {
        return Err(StoreError::Invalid(format!("{to} lies below {from}")));
    }
    let mut rows = index::folders(w.db()?)?;
    rows.retain(|row| row.name == *from || row.name.is_below(from));
    if rows.is_empty() {
        return Err(StoreError::NotFound(format!("folder {from}")));
    }
    for parent in to.parents() {
        if index::folder_if_there(w.db()?, &parent)?.is_none() {
            make(w, &parent, None)?;
        }
    }
    if from.is_inbox() {
        make(w, to, None)?;
        transfer::move_to(w, from, 0, &[ALL], to)?;
    } else {
        rename_all(w, rows, from, to)?;
    }
    w.tell(MailboxEvent::Folders);
    Ok(())
}

fn rename_all(
    w: &mut Writer,
    rows: Vec<FolderRow>,
    from: &FolderName,
    to: &FolderName,
) -> Result<(), StoreError> {
    let mut renamed = Vec::new();
    for row in &rows {
        let name = row.name.moved(from, to)?;
        let dir = folder_dir::encode(&name)?;
        renamed.push(FolderRow { name, dir, ..row.clone() });
    }
    for (old, new) in rows.iter().zip(&renamed) {
        move_dir(&w.folder_path(old), &w.folder_path(new))?;
    }
    sync_dir(&w.home)?;
    w.index()?.commit_durably(|db| index::move_folders(db, &renamed))
}

pub fn subscribe(w: &mut Writer, name: &FolderName, subscribed: bool) -> Result<(), StoreError> {
    let mut names = subscriptions(w)?;
    let changed = if subscribed { names.insert(name.clone()) } else { names.remove(name) };
    if changed {
        let text: String = names.iter().map(|name| format!("{name}\n")).collect();
        replace_file(&w.home.join(SUBSCRIPTIONS), text.as_bytes())?;
        w.tell(MailboxEvent::Folders);
    }
    Ok(())
}

/// Without the file, INBOX alone is subscribed to.
fn subscriptions(w: &Writer) -> Result<BTreeSet<FolderName>, StoreError> {
    let Some(octets) = read_if_there(&w.home.join(SUBSCRIPTIONS))? else {
        return Ok(BTreeSet::from([FolderName::inbox()]));
    };
    Ok(String::from_utf8_lossy(&octets).lines().filter_map(|line| line.parse().ok()).collect())
}

/// Takes an account's directory away. `own` is a directory on the same file system.
pub fn purge(mut writer: OwnedMutexGuard<Writer>, own: &Path) -> Result<(), StoreError> {
    writer.give_up_index();
    let removed = own.join(format!("{REMOVED}{}-{}", writer.account, super::account::now()));
    move_dir(&writer.home, &removed)?;
    sync_dir(writer.home.parent().unwrap_or(own))?;
    remove_tree(&removed);
    Ok(())
}

/// Removes what a crash kept from being removed.
pub fn remove_leftovers(dir: &Path) -> Result<(), StoreError> {
    let failed = |e| StoreError::io(format_args!("listing {}", dir.display()), &e);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(REMOVED) {
            remove_tree(&entry.path());
        }
    }
    Ok(())
}

/// What can't be removed now is tried again later.
fn remove_tree(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), %error, "what was deleted is still on the disk");
    }
}

fn move_dir(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to)
        .map_err(|e| StoreError::io(format_args!("moving {} to {}", from.display(), to.display()), &e))
}
