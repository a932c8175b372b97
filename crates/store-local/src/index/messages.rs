//! The index's messages, expunges and delivery keys.

use postroad_store::StoreError;
use postroad_store::mailbox::{Flags, MessageInfo, UidRange};
use postroad_store::spool::Micros;
use postroad_types::TraceId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{FolderRow, failed};

/// Tombstones that a folder keeps; older expunges are told as gaps between the UIDs.
const EXPUNGED_KEPT: i64 = 100_000;

/// A message as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    pub info: MessageInfo,
    /// The file's name up to the flags.
    pub base: String,
    pub in_new: bool,
}

const MESSAGE: &str =
    "SELECT uid, base, in_new, flags, keywords, size_octets, internal_date, mod_seq, trace_id
    FROM message WHERE folder = ?";

fn message_of(row: &Row<'_>) -> Result<MessageRow, rusqlite::Error> {
    let trace_id: Option<[u8; 16]> = row.get(8)?;
    let info = MessageInfo {
        uid: row.get(0)?,
        flags: flags_of(row.get(3)?, row.get_ref(4)?.as_str()?),
        size_octets: row.get::<_, i64>(5)?.unsigned_abs(),
        internal_date: row.get(6)?,
        mod_seq: row.get::<_, i64>(7)?.unsigned_abs(),
        trace_id: trace_id.map(TraceId::new),
    };
    Ok(MessageRow { info, base: row.get(1)?, in_new: row.get(2)? })
}

fn flags_of(bits: u8, keywords: &str) -> Flags {
    Flags {
        answered: bits & 1 != 0,
        flagged: bits & 2 != 0,
        deleted: bits & 4 != 0,
        seen: bits & 8 != 0,
        draft: bits & 16 != 0,
        keywords: keywords.split_ascii_whitespace().map(str::to_owned).collect(),
    }
}

fn bits_of(flags: &Flags) -> u8 {
    u8::from(flags.answered)
        | u8::from(flags.flagged) << 1
        | u8::from(flags.deleted) << 2
        | u8::from(flags.seen) << 3
        | u8::from(flags.draft) << 4
}

/// A single message.
pub fn message(db: &Connection, folder: i64, uid: u32) -> Result<Option<MessageRow>, StoreError> {
    let mut statement = db.prepare_cached(&format!("{MESSAGE} AND uid = ?")).map_err(failed)?;
    statement.query_row(params![folder, uid], message_of).optional().map_err(failed)
}

/// All messages in UID order.
pub fn all(db: &Connection, folder: i64) -> Result<Vec<MessageRow>, StoreError> {
    let mut statement = db.prepare_cached(&format!("{MESSAGE} ORDER BY uid")).map_err(failed)?;
    statement.query_map([folder], message_of).and_then(Iterator::collect).map_err(failed)
}

/// The messages of some ranges, each once, in UID order.
pub fn chosen(db: &Connection, folder: i64, ranges: &[UidRange]) -> Result<Vec<MessageRow>, StoreError> {
    let highest = highest_uid(db, folder)?;
    let mut bounds: Vec<(u32, u32)> = ranges.iter().map(|range| range.bounds(highest)).collect();
    bounds.sort_unstable();
    let sql = format!("{MESSAGE} AND uid BETWEEN ? AND ? ORDER BY uid");
    let mut statement = db.prepare_cached(&sql).map_err(failed)?;
    let mut found = Vec::new();
    let mut done = 0;
    for (first, last) in bounds {
        let first = first.max(done + 1);
        if first > last || done == u32::MAX {
            continue;
        }
        let rows = statement.query_map(params![folder, first, last], message_of).map_err(failed)?;
        for row in rows {
            found.push(row.map_err(failed)?);
        }
        done = last;
    }
    Ok(found)
}

/// Messages whose MODSEQ is above, in UID order.
pub fn changed_since(db: &Connection, folder: i64, mod_seq: u64) -> Result<Vec<MessageRow>, StoreError> {
    let sql = format!("{MESSAGE} AND mod_seq > ? ORDER BY uid");
    let mut statement = db.prepare_cached(&sql).map_err(failed)?;
    let values = params![folder, mod_seq.cast_signed()];
    statement.query_map(values, message_of).and_then(Iterator::collect).map_err(failed)
}

fn highest_uid(db: &Connection, folder: i64) -> Result<u32, StoreError> {
    let sql = "SELECT coalesce(max(uid), 0) FROM message WHERE folder = ?";
    db.prepare_cached(sql).and_then(|mut s| s.query_row([folder], |row| row.get(0))).map_err(failed)
}

/// Adds a message and counts it in its folder.
pub fn add(db: &Connection, folder: &mut FolderRow, row: &MessageRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO message (folder, uid, base, in_new, flags, keywords, size_octets, internal_date,
        mod_seq, trace_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let info = &row.info;
    let values = params![
        folder.id,
        info.uid,
        row.base,
        row.in_new,
        bits_of(&info.flags),
        info.flags.keywords.join(" "),
        info.size_octets.cast_signed(),
        info.internal_date,
        info.mod_seq.cast_signed(),
        info.trace_id.map(octets),
    ];
    db.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(failed)?;
    folder.messages += 1;
    folder.unseen += u32::from(!info.flags.seen);
    folder.octets += info.size_octets;
    Ok(())
}

fn octets(id: TraceId) -> [u8; 16] {
    // A trace id shows itself as 32 hex digits only.
    u128::from_str_radix(&id.to_string(), 16).unwrap_or_default().to_be_bytes()
}

/// Replaces flags, MODSEQ and place of a message.
pub fn change(
    db: &Connection,
    folder: &mut FolderRow,
    old: &MessageRow,
    new: &MessageRow,
) -> Result<(), StoreError> {
    let sql = "UPDATE message SET base = ?3, in_new = ?4, flags = ?5, keywords = ?6, mod_seq = ?7
        WHERE folder = ?1 AND uid = ?2";
    let values = params![
        folder.id,
        new.info.uid,
        new.base,
        new.in_new,
        bits_of(&new.info.flags),
        new.info.flags.keywords.join(" "),
        new.info.mod_seq.cast_signed(),
    ];
    db.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(failed)?;
    folder.unseen = folder.unseen + u32::from(!new.info.flags.seen) - u32::from(!old.info.flags.seen);
    Ok(())
}

/// Takes a message away and leaves a tombstone.
pub fn expunge(
    db: &Connection,
    folder: &mut FolderRow,
    row: &MessageRow,
    mod_seq: u64,
) -> Result<(), StoreError> {
    let uid = row.info.uid;
    db.prepare_cached("DELETE FROM message WHERE folder = ? AND uid = ?")
        .and_then(|mut s| s.execute(params![folder.id, uid]))
        .map_err(failed)?;
    db.prepare_cached("INSERT OR REPLACE INTO expunged (folder, uid, mod_seq) VALUES (?, ?, ?)")
        .and_then(|mut s| s.execute(params![folder.id, uid, mod_seq.cast_signed()]))
        .map_err(failed)?;
    folder.messages = folder.messages.saturating_sub(1);
    folder.unseen = folder.unseen.saturating_sub(u32::from(!row.info.flags.seen));
    folder.octets = folder.octets.saturating_sub(row.info.size_octets);
    Ok(())
}

pub fn is_expunged(db: &Connection, folder: i64, uid: u32) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM expunged WHERE folder = ? AND uid = ?";
    db.prepare_cached(sql).and_then(|mut s| s.exists(params![folder, uid])).map_err(failed)
}

/// UIDs expunged after a MODSEQ, rising. Where the tombstones do not reach back so far, all gaps.
pub fn expunged_since(db: &Connection, folder: &FolderRow, mod_seq: u64) -> Result<Vec<u32>, StoreError> {
    if mod_seq >= folder.expunged_floor {
        let sql = "SELECT uid FROM expunged WHERE folder = ? AND mod_seq > ? ORDER BY uid";
        let mut statement = db.prepare_cached(sql).map_err(failed)?;
        let values = params![folder.id, mod_seq.cast_signed()];
        return statement.query_map(values, |row| row.get(0)).and_then(Iterator::collect).map_err(failed);
    }
    let mut gaps = Vec::new();
    let mut next = 1;
    for row in all(db, folder.id)? {
        gaps.extend(next..row.info.uid);
        next = row.info.uid + 1;
    }
    gaps.extend(next..folder.uid_next);
    Ok(gaps)
}

/// Forgets the oldest tombstones where there are too many.
pub fn prune_expunged(db: &Connection, folder: &mut FolderRow) -> Result<(), StoreError> {
    let sql = "SELECT mod_seq FROM expunged WHERE folder = ? ORDER BY mod_seq DESC LIMIT 1 OFFSET ?";
    let floor: Option<i64> = db
        .prepare_cached(sql)
        .and_then(|mut s| s.query_row(params![folder.id, EXPUNGED_KEPT], |row| row.get(0)).optional())
        .map_err(failed)?;
    if let Some(floor) = floor {
        db.execute("DELETE FROM expunged WHERE folder = ? AND mod_seq <= ?", params![folder.id, floor])
            .map_err(failed)?;
        folder.expunged_floor = folder.expunged_floor.max(floor.unsigned_abs());
    }
    Ok(())
}

// Delivery keys.

/// UIDVALIDITY and UID that a delivery got.
pub fn delivered(db: &Connection, key: &[u8; 16]) -> Result<Option<(u32, u32)>, StoreError> {
    let sql = "SELECT uid_validity, uid FROM delivered WHERE key = ?";
    db.prepare_cached(sql)
        .and_then(|mut s| s.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(failed)
}

pub fn set_delivered(
    db: &Connection,
    key: &[u8; 16],
    uid_validity: u32,
    uid: u32,
    at: Micros,
) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO delivered (key, uid_validity, uid, at_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
    db.prepare_cached(sql)
        .and_then(|mut s| s.execute(params![key, uid_validity, uid, at]))
        .map_err(failed)?;
    Ok(())
}

/// Forgets keys that nobody will repeat any more.
pub fn prune_delivered(db: &Connection, before: Micros) -> Result<(), StoreError> {
    db.execute("DELETE FROM delivered WHERE at_us < ?", [before]).map(|_| ()).map_err(failed)
}

pub fn has_delivered_before(db: &Connection, before: Micros) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM delivered WHERE at_us < ? LIMIT 1";
    db.prepare_cached(sql).and_then(|mut s| s.exists([before])).map_err(failed)
}
