//! COPY and MOVE: a copy is a hard link under a name of its own, since a message's octets never change; a
//! move is a rename.

use std::fs;
use std::path::{Path, PathBuf};

use postroad_store::StoreError;
use postroad_store::mailbox::{Copied, FolderName, UidRange};

use super::account::Writer;
use super::change::{Flush, OwnChange, path_now};
use crate::index::messages::MessageRow;
use crate::index::{self, FolderRow, messages};
use crate::maildir::file_name::{self, Tags};
use crate::maildir::listing;
use crate::maildir::place::{path_of, sync_file};

/// More files than this are flushed by flushing all of the file system.
const FLUSHED_ONE_BY_ONE: usize = 16;

/// One message on its way.
struct Way {
    source: MessageRow,
    target: MessageRow,
    from: PathBuf,
    to: PathBuf,
}

pub fn copy(
    w: &mut Writer,
    from: &FolderName,
    uid_validity: u32,
    uids: &[UidRange],
    to: &FolderName,
    quota_octets: u64,
) -> Result<Copied, StoreError> {
    let source = w.fresh_folder(from)?;
    source.check_validity(uid_validity)?;
    let mut target = w.fresh_folder(to)?;
    let chosen = messages::chosen(w.db()?, source.id, uids)?;
    let more: u64 = chosen.iter().map(|message| message.info.size_octets).sum();
    let used_octets = index::usage(w.db()?)?.octets;
    if quota_octets != 0 && used_octets.saturating_add(more) > quota_octets {
        return Err(StoreError::OverQuota { used_octets, limit_octets: quota_octets });
    }
    let own = OwnChange::begin(w, &target)?;
    let ways = plan(w, &source, chosen, &mut target, false)?;
    make_durable(w, &ways)?;
    carry_out(&ways, |from, to| fs::hard_link(from, to), |_, to| listing::remove(to))?;
    own.end(w, &mut target)?;
    let target = w.index()?.commit(|db| {
        for way in &ways {
            messages::add(db, &mut target, &way.target)?;
        }
        index::put_folder(db, &target)
    })?;
    if !ways.is_empty() {
        w.tell_folder(&target);
    }
    Ok(copied(&target, &ways))
}

pub fn move_to(
    w: &mut Writer,
    from: &FolderName,
    uid_validity: u32,
    uids: &[UidRange],
    to: &FolderName,
) -> Result<Copied, StoreError> {
    let mut source = w.fresh_folder(from)?;
    source.check_validity(uid_validity)?;
    let mut target = w.fresh_folder(to)?;
    let within = source.id == target.id;
    let chosen = messages::chosen(w.db()?, source.id, uids)?;
    let own = (OwnChange::begin(w, &source)?, OwnChange::begin(w, &target)?);
    let ways = plan(w, &source, chosen, &mut target, true)?;
    if ways.is_empty() {
        return Ok(copied(&target, &ways));
    }
    make_durable(w, &ways)?;
    carry_out(
        &ways,
        |from, to| fs::rename(from, to),
        |from, to| {
            fs::rename(to, from).map_err(|e| StoreError::io(format_args!("moving {} back", to.display()), &e))
        },
    )?;
    own.0.end(w, &mut source)?;
    own.1.end(w, &mut target)?;
    source.mod_seq += 1;
    w.reserve(&source, source.uid_next, source.mod_seq)?;
    // Durably: the journal may still hold the mail, and would bring it back without the tombstone.
    let (source, target) = w.index()?.commit_durably(|db| {
        let (mut source, mut target) = (source.clone(), target.clone());
        let leaving = if within { &mut target } else { &mut source };
        let mod_seq = leaving.mod_seq;
        for way in &ways {
            messages::expunge(db, leaving, &way.source, mod_seq)?;
        }
        messages::prune_expunged(db, leaving)?;
        for way in &ways {
            messages::add(db, &mut target, &way.target)?;
        }
        if !within {
            source = index::put_folder(db, &source)?;
        }
        Ok((source, index::put_folder(db, &target)?))
    })?;
    w.tell_folder(&target);
    if !within {
        w.tell_folder(&source);
    }
    Ok(copied(&target, &ways))
}

fn copied(target: &FolderRow, ways: &[Way]) -> Copied {
    let uids = ways.iter().map(|way| (way.source.info.uid, way.target.info.uid)).collect();
    Copied { to_uid_validity: target.uid_validity, uids }
}

/// Gives numbers and names in the target folder, reserved but not used yet.
fn plan(
    w: &mut Writer,
    source: &FolderRow,
    chosen: Vec<MessageRow>,
    target: &mut FolderRow,
    keep_key: bool,
) -> Result<Vec<Way>, StoreError> {
    let folder = w.folder_path(target);
    let mut ways = Vec::new();
    for message in chosen {
        let Some(from) = path_now(w, source, &message)? else { continue };
        let uid = target.uid_next;
        target.uid_next = uid
            .checked_add(1)
            .ok_or_else(|| StoreError::Unavailable(format!("folder {} has no UIDs left", target.name)))?;
        target.mod_seq += 1;
        let old = Tags::parse(&message.base);
        let tags = Tags {
            size_octets: message.info.size_octets,
            uid: Some((target.uid_validity, uid)),
            key: old.key.filter(|_| keep_key),
            trace_id: message.info.trace_id,
        };
        let mut new = MessageRow { base: tags.base(&file_name::unique()), ..message.clone() };
        (new.info.uid, new.info.mod_seq) = (uid, target.mod_seq);
        let keywords = w.keywords(target)?;
        keywords.learn(&folder, &new.info.flags)?;
        let letters = keywords.letters(&new.info.flags);
        // In new/ there is no room for flags.
        new.in_new &= letters.is_empty();
        let to = path_of(&folder, &new.base, new.in_new, &letters);
        ways.push(Way { source: message, target: new, from, to });
    }
    w.reserve(target, target.uid_next, target.mod_seq)?;
    Ok(ways)
}

/// The journal knows a mail under its old name only; under the new one its octets must be durable first.
fn make_durable(w: &Writer, ways: &[Way]) -> Result<(), StoreError> {
    if ways.len() <= FLUSHED_ONE_BY_ONE {
        return ways.iter().try_for_each(|way| sync_file(&way.from));
    }
    let flushed = fs::File::open(&w.home).map_err(|e| StoreError::io("opening the mailbox", &e))?;
    nix::unistd::syncfs(&flushed).map_err(|e| StoreError::io("flushing the mailbox", &e.into()))
}

/// All or none, unless undoing fails too.
fn carry_out(
    ways: &[Way],
    act: impl Fn(&Path, &Path) -> std::io::Result<()>,
    undo: impl Fn(&Path, &Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut flush = Flush::default();
    let mut result = Ok(());
    let mut done = 0;
    for way in ways {
        if let Err(e) = act(&way.from, &way.to) {
            let doing = format!("taking {} to {}", way.from.display(), way.to.display());
            result = Err(StoreError::io(doing, &e));
            break;
        }
        done += 1;
        flush.parent_of(&way.to);
        flush.parent_of(&way.from);
    }
    if let Err(error) = result.and_then(|()| flush.carry_out()) {
        for way in ways.iter().take(done) {
            if let Err(error) = undo(&way.from, &way.to) {
                // The next listing finds the file where it is.
                tracing::warn!(%error, "a copy or move was not undone");
            }
        }
        return Err(error);
    }
    Ok(())
}
