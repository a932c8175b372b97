//! How every SQLite database of ours is opened, and how its schema comes up to date.

use std::path::Path;

use postroad_store::StoreError;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Each commit is flushed before it returns.
    Full,
    /// A commit is in order behind the earlier ones, but only a later flush makes it durable.
    InOrder,
}

impl Durability {
    fn pragma(self) -> &'static str {
        match self {
            Durability::Full => "FULL",
            Durability::InOrder => "NORMAL",
        }
    }
}

/// Why a database can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(
        "it was written by a newer program: its schema has version {found}, this program knows up to {known}"
    )]
    Newer { found: usize, known: usize },
}

impl OpenError {
    pub fn into_store_error(self, doing: impl std::fmt::Display) -> StoreError {
        match self {
            OpenError::Sqlite(error) => store_error(doing, &error),
            newer => StoreError::Unavailable(format!("{doing}: {newer}")),
        }
    }
}

/// Opens (and makes, where it is missing) a database in WAL mode and brings its schema up to date.
pub fn open(path: &Path, durability: Durability, migrations: &[&str]) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    set_up(&connection)?;
    set_durability(&connection, durability)?;
    migrate(&mut connection, migrations)?;
    Ok(connection)
}

/// Opens a database that exists, for reading only.
pub fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    set_up(&connection)?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

pub fn set_durability(connection: &Connection, durability: Durability) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "synchronous", durability.pragma())
}

/// Applies the migrations that the database has not seen, each with its version number in one transaction.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let (found, known) = (version as usize, migrations.len());
    if found == known {
        return Ok(());
    }
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for migration in migrations.iter().skip(found) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known as i64)?;
    Ok(transaction.commit()?)
}

/// What the caller of a store hears: damage of the file is told apart from a disk that is full or gone.
pub fn store_error(doing: impl std::fmt::Display, error: &rusqlite::Error) -> StoreError {
    let text = format!("{doing}: {error}");
    if is_damage(error) { StoreError::Damaged(text) } else { StoreError::Unavailable(text) }
}

/// Whether the file itself is no sound database.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_applied_once_and_newer_schemas_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sqlite");
        let first = ["CREATE TABLE a (x)"];
        let both = ["CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO b VALUES (1)"];
        drop(open(&path, Durability::Full, &first).unwrap());
        for _ in 0..2 {
            let connection = open(&path, Durability::Full, &both).unwrap();
            let rows: i64 = connection.query_row("SELECT count(*) FROM b", [], |row| row.get(0)).unwrap();
            assert_eq!(rows, 1);
        }
        let newer = open(&path, Durability::Full, &first).unwrap_err();
        assert!(newer.to_string().contains("version 2"), "{newer}");
    }

    #[test]
    fn a_damaged_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sqlite");
        std::fs::write(&path, "this is no database, and long enough to be looked at as one").unwrap();
        let error = open(&path, Durability::Full, &[]).unwrap_err();
        assert!(matches!(&error, OpenError::Sqlite(error) if is_damage(error)), "{error}");
    }
}
