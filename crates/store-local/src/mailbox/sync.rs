//! What other programs did to a Maildir, and what a crash left of it, taken over into the index.
//!
//! A folder is listed when the times of its cur/ and new/ are not those that the index knows. Own changes
//! bring the known times along, if nobody else had changed the folder before them.
//!
//! - A file that the index does not know is a new message. If its name has a UID of this folder that no other
//!   message has or had, it keeps it: the index has lost the row. Otherwise it gets the next UID, and the name
//!   is changed to hold it.
//! - A message without a file was expunged. A listing that fails expunges nothing.
//! - Other flags in a file's name are the message's flags now.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use postroad_store::StoreError;
use postroad_store::mailbox::{Flags, FolderName, MailboxEvent, MessageInfo};
use postroad_store::spool::Micros;

use super::account::{Writer, now};
use crate::index::messages::MessageRow;
use crate::index::{self, FolderRow, messages};
use crate::maildir::file_name::{self, Tags};
use crate::maildir::listing::{self, ChangeTimes, Found};
use crate::maildir::sheet::Sheet;
use crate::maildir::{folder_dir, place, sync_dir};

/// Two changes within this time may leave the same time on a folder.
const CLOCK_TICK_NS: i64 = 20_000_000;

/// The index may lack its last commits: numbers go on where none was given yet, and every folder is listed.
pub fn after_crash(w: &mut Writer) -> Result<(), StoreError> {
    let mut rows = index::folders(w.db()?)?;
    rows.retain(|row| w.folder_path(row).join("cur").is_dir());
    for row in &mut rows {
        let sheet = w.sheet(row)?;
        row.uid_next = row.uid_next.max(sheet.uid_reserved);
        row.mod_seq = row.mod_seq.max(sheet.mod_seq_reserved);
        row.set_change_times(ChangeTimes::default());
    }
    w.index()?.commit(|db| rows.iter().try_for_each(|row| index::put_folder(db, row).map(|_| ())))
}

/// Compares the folders' directories with the index.
pub fn folders(w: &mut Writer) -> Result<(), StoreError> {
    w.folders_seen_at = fs::metadata(&w.home).and_then(|m| m.modified()).ok();
    let mut dirs = vec![String::new()];
    dirs.extend(listing::folder_dirs(&w.home)?);
    let rows = index::folders(w.db()?)?;
    let mut gone: Vec<FolderRow> = rows.iter().filter(|row| !dirs.contains(&row.dir)).cloned().collect();
    dirs.retain(|dir| rows.iter().all(|row| row.dir != *dir));
    let mut used: HashSet<u32> = rows.iter().map(|row| row.uid_validity).collect();
    let (mut renamed, mut new) = (Vec::new(), Vec::new());
    for dir in dirs {
        let name = if dir.is_empty() { Some(FolderName::inbox()) } else { folder_dir::decode(&dir) };
        let Some(name) = name else {
            tracing::warn!(dir = %w.home.join(&dir).display(), "no folder can have this directory's name: left out");
            continue;
        };
        let sheet = Sheet::read(&w.home.join(&dir))?;
        let validity = sheet.as_ref().map(|sheet| sheet.uid_validity);
        if let Some(at) = gone.iter().position(|row| Some(row.uid_validity) == validity) {
            renamed.push(FolderRow { name, dir, ..gone.swap_remove(at) });
        } else {
            new.push(found_folder(w, name, dir, sheet, &mut used)?);
        }
    }
    if gone.is_empty() && renamed.is_empty() && new.is_empty() {
        return Ok(());
    }
    let new = w.index()?.commit_durably(|db| {
        for row in &gone {
            index::remove_folder(db, row.id)?;
        }
        index::move_folders(db, &renamed)?;
        new.iter_mut().map(|row| add_folder(db, row)).collect::<Result<Vec<FolderRow>, _>>()
    })?;
    for row in gone.iter().chain(&renamed) {
        w.forget(row.id);
    }
    for row in new {
        w.sheet(&row)?;
        // Usage counts all folders, so none waits for its first reader.
        messages(w, row)?;
    }
    w.tell(MailboxEvent::Folders);
    Ok(())
}

/// The row of a directory that the index does not know; UIDVALIDITY 0 asks for a new one.
fn found_folder(
    w: &Writer,
    name: FolderName,
    dir: String,
    sheet: Option<Sheet>,
    used: &mut HashSet<u32>,
) -> Result<FolderRow, StoreError> {
    let sheet = match sheet {
        Some(sheet) => Some(sheet),
        None => sheet_from_names(&w.home.join(&dir))?,
    };
    // A directory that was copied with its sheet is another folder.
    let sheet = sheet.filter(|sheet| used.insert(sheet.uid_validity));
    let uid_next = sheet.as_ref().map_or(1, |sheet| sheet.uid_reserved);
    Ok(FolderRow {
        id: 0,
        name,
        dir,
        uid_validity: sheet.as_ref().map_or(0, |sheet| sheet.uid_validity),
        uid_next,
        mod_seq: sheet.as_ref().map_or(1, |sheet| sheet.mod_seq_reserved),
        first_recent_uid: uid_next,
        special_use: sheet.and_then(|sheet| sheet.special_use),
        messages: 0,
        unseen: 0,
        octets: 0,
        expunged_floor: 0,
        cur_ns: 0,
        new_ns: 0,
    })
}

/// A folder that lost its sheet: the names of its messages say which UIDs were given.
fn sheet_from_names(path: &Path) -> Result<Option<Sheet>, StoreError> {
    let mut counts: HashMap<u32, (usize, u32)> = HashMap::new();
    for found in listing::messages(path)? {
        if let Some((validity, uid)) = Tags::parse(found.base()).uid {
            let (count, highest) = counts.entry(validity).or_default();
            *count += 1;
            *highest = uid.max(*highest);
        }
    }
    let most = counts.into_iter().max_by_key(|(validity, (count, _))| (*count, *validity));
    let Some((validity, (_, highest))) = most else { return Ok(None) };
    let mut sheet = Sheet::new(validity, None);
    // Whatever was expunged behind the highest UID: a block more than could be known.
    sheet.reserve(path, highest.saturating_add(1), 1)?;
    Ok(Some(sheet))
}

fn add_folder(db: &rusqlite::Connection, row: &mut FolderRow) -> Result<FolderRow, StoreError> {
    if row.uid_validity == 0 {
        row.uid_validity = index::next_uid_validity(db, seconds_now())?;
    }
    index::put_folder(db, row)
}

pub fn seconds_now() -> u32 {
    u32::try_from(now() / 1_000_000).unwrap_or(u32::MAX)
}

/// Compares a folder's files with the index, and returns its row as it is then.
pub fn messages(w: &mut Writer, mut row: FolderRow) -> Result<FolderRow, StoreError> {
    let path = w.folder_path(&row);
    let times = ChangeTimes::read(&path)?;
    let mut found = by_base(listing::messages(&path)?);
    let known = messages::all(w.db()?, row.id)?;
    if known.iter().any(|message| !found.contains_key(&message.base)) {
        // A file that is renamed while its folder is listed may be missed: look twice before it counts as gone.
        found.extend(by_base(listing::messages(&path)?));
    }
    w.forget_keywords(row.id);
    let mod_seq = row.mod_seq + 1;
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    for message in known {
        match found.remove(&message.base) {
            None => gone.push(message),
            Some(file) => {
                let keywords = w.keywords(&row)?;
                let letters = keywords.letters(&message.info.flags);
                if file.in_new == message.in_new && file.letters() == letters {
                    continue;
                }
                let flags = keywords.flags(file.letters(), &message.info.flags);
                let mut new = MessageRow { in_new: file.in_new, ..message.clone() };
                if flags != message.info.flags {
                    new.info.flags = flags;
                    new.info.mod_seq = mod_seq;
                }
                changed.push((message, new));
            }
        }
    }
    let added = adopt(w, &mut row, found, mod_seq)?;

    let nothing = changed.is_empty() && gone.is_empty() && added.is_empty();
    let told = !gone.is_empty() || !added.is_empty() || changed.iter().any(|(old, new)| old.info != new.info);
    if told {
        row.mod_seq = mod_seq;
    }
    w.reserve(&row, row.uid_next, row.mod_seq)?;
    row.set_change_times(times);
    let durably = !gone.is_empty();
    let mut apply = |db: &rusqlite::Connection| {
        for (old, new) in &changed {
            messages::change(db, &mut row, old, new)?;
        }
        for message in &gone {
            messages::expunge(db, &mut row, message, mod_seq)?;
        }
        for message in &added {
            messages::add(db, &mut row, message)?;
            if let Some(key) = Tags::parse(&message.base).key {
                messages::set_delivered(db, &key, row.uid_validity, message.info.uid, now())?;
            }
        }
        messages::prune_expunged(db, &mut row)?;
        index::put_folder(db, &row)
    };
    let row = if durably { w.index()?.commit_durably(apply)? } else { w.index()?.commit(&mut apply)? };
    w.set_listed(row.id);
    let newest = times.cur_ns.max(times.new_ns);
    if now().saturating_mul(1000).saturating_sub(newest) < CLOCK_TICK_NS {
        w.set_changed(row.id);
    }
    if !nothing {
        tracing::debug!(
            folder = %path.display(), added = added.len(), changed = changed.len(), gone = gone.len(),
            "took over what was found in the Maildir"
        );
    }
    if told {
        w.tell_folder(&row);
    }
    Ok(row)
}

fn by_base(found: Vec<Found>) -> HashMap<String, Found> {
    found.into_iter().map(|file| (file.base().to_owned(), file)).collect()
}

/// Rows for files that have none. Those that keep their UIDs come first, the others in the order of their
/// names, which begin with the time.
fn adopt(
    w: &mut Writer,
    row: &mut FolderRow,
    found: HashMap<String, Found>,
    mod_seq: u64,
) -> Result<Vec<MessageRow>, StoreError> {
    let path = w.folder_path(row);
    let mut files: Vec<Found> = found.into_values().collect();
    files.sort_unstable_by(|a, b| a.file_name.cmp(&b.file_name));
    let (mut kept, mut others, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
    for file in files {
        match own_uid(w, row, &Tags::parse(file.base()))? {
            Some(uid) if taken.insert(uid) => kept.push((uid, file)),
            _ => others.push(file),
        }
    }
    kept.sort_unstable_by_key(|(uid, _)| *uid);
    if let Some((highest, _)) = kept.last() {
        row.uid_next = row.uid_next.max(highest.saturating_add(1));
    }
    let mut added = Vec::new();
    for (uid, file) in kept {
        added.extend(row_of(w, row, &path, file, uid, mod_seq)?);
    }
    if others.is_empty() {
        return Ok(added);
    }
    let first = row.uid_next;
    row.uid_next = first.saturating_add(u32::try_from(others.len()).unwrap_or(u32::MAX));
    w.reserve(row, row.uid_next, mod_seq)?;
    for (uid, file) in (first..).zip(others) {
        added.extend(renamed_to_hold(w, row, &path, file, uid, mod_seq)?);
    }
    sync_dir(&path.join("new"))?;
    sync_dir(&path.join("cur"))?;
    Ok(added)
}

/// The UID in a file's name, if it can be this message's.
fn own_uid(w: &Writer, row: &FolderRow, tags: &Tags) -> Result<Option<u32>, StoreError> {
    let Some((validity, uid)) = tags.uid else { return Ok(None) };
    let free = validity == row.uid_validity
        && messages::message(w.db()?, row.id, uid)?.is_none()
        && !messages::is_expunged(w.db()?, row.id, uid)?;
    Ok(free.then_some(uid))
}

fn row_of(
    w: &mut Writer,
    row: &FolderRow,
    path: &Path,
    file: Found,
    uid: u32,
    mod_seq: u64,
) -> Result<Option<MessageRow>, StoreError> {
    let Some((size_octets, internal_date)) = size_and_date(&file.path(path))? else { return Ok(None) };
    let flags = w.keywords(row)?.flags(file.letters(), &Flags::default());
    let trace_id = Tags::parse(file.base()).trace_id;
    let info = MessageInfo { uid, flags, size_octets, internal_date, mod_seq, trace_id };
    Ok(Some(MessageRow { info, base: file.base().to_owned(), in_new: file.in_new }))
}

/// A file that went away since it was listed is none.
fn size_and_date(path: &Path) -> Result<Option<(u64, Micros)>, StoreError> {
    match place::size_and_date(path) {
        Ok(found) => Ok(Some(found)),
        Err(_) if !path.exists() => Ok(None),
        Err(error) => Err(error),
    }
}

fn renamed_to_hold(
    w: &mut Writer,
    row: &FolderRow,
    path: &Path,
    file: Found,
    uid: u32,
    mod_seq: u64,
) -> Result<Option<MessageRow>, StoreError> {
    let old = file.path(path);
    let Some((size_octets, _)) = size_and_date(&old)? else { return Ok(None) };
    // Not the key: it is that of the message that this may be a copy of.
    let tags = Tags {
        size_octets,
        uid: Some((row.uid_validity, uid)),
        key: None,
        trace_id: Tags::parse(file.base()).trace_id,
    };
    let base = tags.base(file_name::unique_part(file.base()));
    let file_name =
        if file.in_new && file.letters().is_empty() { base } else { file_name::join(&base, file.letters()) };
    let renamed = Found { file_name, in_new: file.in_new };
    match fs::rename(&old, renamed.path(path)) {
        Ok(()) => row_of(w, row, path, renamed, uid, mod_seq),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io(format_args!("renaming {}", old.display()), &e)),
    }
}
