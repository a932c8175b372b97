//! The index of one account: what Maildir can't answer at once.
//!
//! # Durability
//! SQLite in WAL mode with `synchronous = NORMAL`: commits survive the death of the process, and after a power
//! cut the index is as it was after some commit, the last ones missing. For most changes that is enough,
//! because they can be read again from the Maildir, which is flushed before the commit: UIDs, sizes, dates,
//! delivery keys and flags stand in the files' names, and deliveries in the journal until then. What stands
//! nowhere else (expunges, keywords without a letter, folders) is committed with [`Index::commit_durably`].
//!
//! What was lost may have been told to a client. So after anything but an orderly close, UIDNEXT and MODSEQ go
//! on behind the blocks of [`crate::maildir::sheet`], and what is found again gets a MODSEQ there.
//!
//! # Damage
//! A file that SQLite can't read is renamed to `…damaged-<time>`, and the index is made again from the Maildir.

pub mod messages;
mod schema;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use postroad_store::StoreError;
use postroad_store::mailbox::{FolderName, FolderNumbers, Usage};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::maildir::listing::{self, ChangeTimes};
use crate::sqlite::{self, Durability, OpenError, is_damage, store_error};
use schema::MIGRATIONS;

const FILE: &str = "postroad-index.sqlite";

/// A folder as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderRow {
    pub id: i64,
    pub name: FolderName,
    pub dir: String,
    pub uid_validity: u32,
    pub uid_next: u32,
    pub mod_seq: u64,
    pub first_recent_uid: u32,
    pub special_use: Option<String>,
    pub messages: u32,
    pub unseen: u32,
    pub octets: u64,
    pub expunged_floor: u64,
    pub cur_ns: i64,
    pub new_ns: i64,
}

impl FolderRow {
    pub fn numbers(&self) -> FolderNumbers {
        FolderNumbers {
            uid_validity: self.uid_validity,
            uid_next: self.uid_next,
            highest_mod_seq: self.mod_seq,
            messages: self.messages,
            unseen: self.unseen,
            first_recent_uid: self.first_recent_uid,
            octets: self.octets,
        }
    }

    pub fn change_times(&self) -> ChangeTimes {
        ChangeTimes { cur_ns: self.cur_ns, new_ns: self.new_ns }
    }

    pub fn set_change_times(&mut self, times: ChangeTimes) {
        (self.cur_ns, self.new_ns) = (times.cur_ns, times.new_ns);
    }

    /// [`StoreError::Stale`] unless it is the folder's, or 0.
    pub fn check_validity(&self, uid_validity: u32) -> Result<(), StoreError> {
        if uid_validity == 0 || uid_validity == self.uid_validity {
            return Ok(());
        }
        Err(StoreError::Stale(format!("UIDVALIDITY of {} is {}", self.name, self.uid_validity)))
    }
}

pub(crate) fn failed(error: rusqlite::Error) -> StoreError {
    store_error("asking the mailbox index", &error)
}

/// The writer's connection.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    /// That of the next commit, unless it is changed.
    durability: Durability,
    /// Whether the file says that it was not closed in order.
    marked_open: bool,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    pub index: Index,
    /// Closed in order last time: no commit can be missing.
    pub clean: bool,
}

pub fn path(home: &Path) -> PathBuf {
    home.join(FILE)
}

impl Index {
    /// Opens an account's index, or makes an empty one where there is none or none that can be read.
    pub fn open(home: &Path) -> Result<Opened, StoreError> {
        let path = path(home);
        let connection = match open_sound(&path) {
            Ok(connection) => connection,
            Err(OpenError::Sqlite(error)) if is_damage(&error) => {
                set_aside(&path, &error)?;
                open_sound(&path).map_err(|e| e.into_store_error(opening(&path)))?
            }
            Err(error) => return Err(error.into_store_error(opening(&path))),
        };
        let clean: bool =
            connection.query_row("SELECT clean FROM state", [], |row| row.get(0)).map_err(failed)?;
        Ok(Opened {
            index: Index { connection, durability: Durability::InOrder, marked_open: !clean },
            clean,
        })
    }

    pub fn db(&self) -> &Connection {
        &self.connection
    }

    /// Applies a change whole or not at all. See the module for when it is durable.
    pub fn commit<T>(
        &mut self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if !self.marked_open {
            // Before anything can be lost, the file says that something could be.
            self.commit_as(Durability::Full, |db| set_clean(db, false))?;
            self.marked_open = true;
        }
        self.commit_as(Durability::InOrder, change)
    }

    /// Like [`Index::commit`], and durable when it returns, with everything committed before.
    pub fn commit_durably<T>(
        &mut self,
        change: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.marked_open = true;
        self.commit_as(Durability::Full, |db| {
            set_clean(db, false)?;
            change(db)
        })
    }

    fn commit_as<T>(
        &mut self,
        durability: Durability,
        change: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.durability != durability {
            sqlite::set_durability(&self.connection, durability).map_err(failed)?;
            self.durability = durability;
        }
        let behavior = rusqlite::TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior).map_err(failed)?;
        let value = change(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }

    /// Looks through the whole index of an account and sets a damaged one aside. Returns whether it was sound.
    pub fn make_sound(home: &Path) -> Result<bool, StoreError> {
        let path = path(home);
        let verdict = sqlite::open(&path, Durability::InOrder, MIGRATIONS).and_then(|db| Ok(check(&db)?));
        match verdict {
            Ok(()) => Ok(true),
            Err(OpenError::Sqlite(error)) if is_damage(&error) => set_aside(&path, &error).map(|()| false),
            Err(error) => Err(error.into_store_error(opening(&path))),
        }
    }

    /// Says that nothing is missing, durably. To be called when no change will follow.
    pub fn close(mut self) -> Result<(), StoreError> {
        if self.marked_open {
            self.commit_as(Durability::Full, |db| set_clean(db, true))?;
        }
        Ok(())
    }
}

fn opening(path: &Path) -> String {
    format!("opening the mailbox index {}", path.display())
}

/// A database that was not closed in order is looked through: that is when damage happens.
fn open_sound(path: &Path) -> Result<Connection, OpenError> {
    let unclean = with_suffix(path, "-wal").exists();
    let connection = sqlite::open(path, Durability::InOrder, MIGRATIONS)?;
    if unclean {
        check(&connection)?;
    }
    Ok(connection)
}

fn check(connection: &Connection) -> Result<(), rusqlite::Error> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(verdict)));
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Keeps what can't be read under another name, for whoever wants to look at it.
fn set_aside(path: &Path, why: &dyn std::fmt::Display) -> Result<(), StoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = path.with_file_name(format!("{FILE}.damaged-{now}"));
    tracing::warn!(
        index = %path.display(), aside = %aside.display(), why = %why,
        "the mailbox index is damaged: it is set aside and made again from the Maildir"
    );
    let moved = std::fs::rename(path, &aside);
    for suffix in ["-wal", "-shm"] {
        listing::remove(&with_suffix(path, suffix))?;
    }
    moved.map_err(|e| StoreError::io(format_args!("setting {} aside", path.display()), &e))
}

/// A UIDVALIDITY greater than all that were given in this account.
pub fn next_uid_validity(db: &Connection, now_s: u32) -> Result<u32, StoreError> {
    let sql = "SELECT max(last_uid_validity, (SELECT coalesce(max(uid_validity), 0) FROM folder)) FROM state";
    let last: u32 = db.query_row(sql, [], |row| row.get(0)).map_err(failed)?;
    let next = now_s.max(last.saturating_add(1));
    db.execute("UPDATE state SET last_uid_validity = ?", [next]).map_err(failed)?;
    Ok(next)
}

fn set_clean(db: &Connection, clean: bool) -> Result<(), StoreError> {
    db.execute("UPDATE state SET clean = ?", [clean]).map(|_| ()).map_err(failed)
}

// Folders.

const FOLDER: &str = "SELECT id, name, dir, uid_validity, uid_next, mod_seq, first_recent_uid, special_use,
    messages, unseen, octets, expunged_floor, cur_ns, new_ns FROM folder";

fn folder_of(row: &Row<'_>) -> Result<FolderRow, rusqlite::Error> {
    let name = row.get_ref(1)?.as_str()?;
    let name =
        name.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(e)))?;
    Ok(FolderRow {
        id: row.get(0)?,
        name,
        dir: row.get(2)?,
        uid_validity: row.get(3)?,
        uid_next: row.get(4)?,
        mod_seq: row.get::<_, i64>(5)?.unsigned_abs(),
        first_recent_uid: row.get(6)?,
        special_use: row.get(7)?,
        messages: row.get(8)?,
        unseen: row.get(9)?,
        octets: row.get::<_, i64>(10)?.unsigned_abs(),
        expunged_floor: row.get::<_, i64>(11)?.unsigned_abs(),
        cur_ns: row.get(12)?,
        new_ns: row.get(13)?,
    })
}

pub fn folders(db: &Connection) -> Result<Vec<FolderRow>, StoreError> {
    let mut statement = db.prepare_cached(&format!("{FOLDER} ORDER BY name")).map_err(failed)?;
    let rows = statement.query_map([], folder_of).map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

pub fn folder_if_there(db: &Connection, name: &FolderName) -> Result<Option<FolderRow>, StoreError> {
    let mut statement = db.prepare_cached(&format!("{FOLDER} WHERE name = ?")).map_err(failed)?;
    statement.query_row([name.as_str()], folder_of).optional().map_err(failed)
}

pub fn folder(db: &Connection, name: &FolderName) -> Result<FolderRow, StoreError> {
    folder_if_there(db, name)?.ok_or_else(|| StoreError::NotFound(format!("folder {name}")))
}

/// Inserts the folder (with `id` 0) or updates it, and returns it with its id.
pub fn put_folder(db: &Connection, row: &FolderRow) -> Result<FolderRow, StoreError> {
    let sql =
        "INSERT INTO folder (id, name, dir, uid_validity, uid_next, mod_seq, first_recent_uid, special_use,
            messages, unseen, octets, expunged_floor, cur_ns, new_ns)
        VALUES (nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, dir = excluded.dir, uid_next = excluded.uid_next,
            mod_seq = excluded.mod_seq, first_recent_uid = excluded.first_recent_uid,
            special_use = excluded.special_use, messages = excluded.messages, unseen = excluded.unseen,
            octets = excluded.octets, expunged_floor = excluded.expunged_floor, cur_ns = excluded.cur_ns,
            new_ns = excluded.new_ns
        RETURNING id";
    let values = params![
        row.id,
        row.name.as_str(),
        row.dir,
        row.uid_validity,
        row.uid_next,
        row.mod_seq.cast_signed(),
        row.first_recent_uid,
        row.special_use,
        row.messages,
        row.unseen,
        row.octets.cast_signed(),
        row.expunged_floor.cast_signed(),
        row.cur_ns,
        row.new_ns,
    ];
    let mut statement = db.prepare_cached(sql).map_err(failed)?;
    let id = statement.query_row(values, |row| row.get(0)).map_err(failed)?;
    Ok(FolderRow { id, ..row.clone() })
}

/// Gives folders other names, which may be those that others of them had.
pub fn move_folders(db: &Connection, rows: &[FolderRow]) -> Result<(), StoreError> {
    for row in rows {
        // No folder can have a name that begins like this.
        db.execute("UPDATE folder SET name = '/' || id, dir = '/' || id WHERE id = ?", [row.id])
            .map_err(failed)?;
    }
    rows.iter().try_for_each(|row| put_folder(db, row).map(|_| ()))
}

/// Forgets the folder and its messages.
pub fn remove_folder(db: &Connection, id: i64) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM message WHERE folder = ?",
        "DELETE FROM expunged WHERE folder = ?",
        "DELETE FROM folder WHERE id = ?",
    ] {
        db.execute(sql, [id]).map_err(failed)?;
    }
    Ok(())
}

pub fn usage(db: &Connection) -> Result<Usage, StoreError> {
    let sql = "SELECT coalesce(sum(octets), 0), coalesce(sum(messages), 0) FROM folder";
    let mut statement = db.prepare_cached(sql).map_err(failed)?;
    let sums = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let (octets, messages) = statement.query_row([], sums).map_err(failed)?;
    Ok(Usage { octets: octets.unsigned_abs(), messages: messages.unsigned_abs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, uid_validity: u32) -> FolderRow {
        FolderRow {
            id: 0,
            name: name.parse().unwrap(),
            dir: format!(".{name}"),
            uid_validity,
            uid_next: 1,
            mod_seq: 1,
            first_recent_uid: 1,
            special_use: None,
            messages: 0,
            unseen: 0,
            octets: 0,
            expunged_floor: 0,
            cur_ns: 0,
            new_ns: 0,
        }
    }

    #[test]
    fn only_an_orderly_close_counts_as_clean() {
        let home = tempfile::tempdir().unwrap();
        let Opened { index, clean } = Index::open(home.path()).unwrap();
        assert!(!clean, "a new index knows nothing");
        index.close().unwrap();
        let Opened { mut index, clean } = Index::open(home.path()).unwrap();
        assert!(clean);
        index.commit(|db| put_folder(db, &row("A", 7))).unwrap();
        drop(index);
        let Opened { index, clean } = Index::open(home.path()).unwrap();
        assert!(!clean);
        assert_eq!(folder(index.db(), &"A".parse().unwrap()).unwrap().uid_validity, 7);
    }

    #[test]
    fn a_failed_change_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut index = Index::open(home.path()).unwrap().index;
        let refused = index.commit(|db| {
            put_folder(db, &row("A", 7))?;
            Err::<(), _>(StoreError::Invalid("no".into()))
        });
        assert!(refused.is_err());
        assert_eq!(folders(index.db()).unwrap(), []);
    }

    #[test]
    fn a_damaged_index_is_set_aside() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(path(home.path()), vec![b'x'; 5000]).unwrap();
        let Opened { index, clean } = Index::open(home.path()).unwrap();
        assert!(!clean && folders(index.db()).unwrap().is_empty());
        let names: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().any(|n| n.to_string_lossy().starts_with("postroad-index.sqlite.damaged-")));
    }
}
