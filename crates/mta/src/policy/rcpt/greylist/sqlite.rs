//! The greylist in one SQLite file. It is bounded, and losing it costs some mail a delay: a file that is damaged is
//! set aside and begun anew, and writes are not synced one by one.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use postroad_types::limits::GREYLIST_ENTRIES_MAX;
use rusqlite::{Connection, OptionalExtension, params};

use super::store::{Fault, GreylistStore, Seconds, Seen, Tuple};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS tuple (
        client TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL,
        first_s INTEGER NOT NULL, last_s INTEGER NOT NULL, known INTEGER NOT NULL,
        PRIMARY KEY (client, sender, recipient)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS tuple_last ON tuple (last_s);
";

/// The greylist in a file.
#[derive(Clone, Debug)]
pub struct SqliteGreylist {
    connection: Arc<Mutex<Connection>>,
}

impl SqliteGreylist {
    /// Opens or makes the file. Blocks.
    pub fn open(file: &Path) -> Result<Self, Fault> {
        let connection = match opened(file) {
            Ok(connection) => connection,
            Err(error) if is_damage(&error) => {
                let aside = file.with_extension("sqlite.damaged");
                tracing::error!(%error, file = %file.display(), aside = %aside.display(),
                    "the greylist is damaged; it was set aside and begins anew");
                std::fs::rename(file, &aside)
                    .map_err(|error| Fault(format!("{}: {error}", file.display())))?;
                opened(file).map_err(|error| Fault(format!("{}: {error}", file.display())))?
            }
            Err(error) => return Err(Fault(format!("{}: {error}", file.display()))),
        };
        Ok(SqliteGreylist { connection: Arc::new(Mutex::new(connection)) })
    }

    async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let connection = self.connection.clone();
        let work = move || {
            let connection = connection.lock().map_err(|_| Fault("a thread that used it died".to_owned()))?;
            f(&connection).map_err(|error| Fault(error.to_string()))
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| Fault(error.to_string()))?
    }
}

fn opened(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

#[async_trait]
impl GreylistStore for SqliteGreylist {
    async fn get(&self, tuple: &Tuple) -> Result<Option<Seen>, Fault> {
        let tuple = tuple.clone();
        self.with(move |connection| {
            let sql =
                "SELECT first_s, last_s, known FROM tuple WHERE client = ? AND sender = ? AND recipient = ?";
            let mut query = connection.prepare_cached(sql)?;
            query
                .query_row(params![tuple.client, tuple.sender, tuple.recipient], |row| {
                    Ok(Seen { first: row.get(0)?, last: row.get(1)?, known: row.get(2)? })
                })
                .optional()
        })
        .await
    }

    async fn put(&self, tuple: &Tuple, seen: Seen) -> Result<(), Fault> {
        let tuple = tuple.clone();
        self.with(move |connection| {
            let sql = "INSERT OR REPLACE INTO tuple VALUES (?, ?, ?, ?, ?, ?)";
            let values =
                params![tuple.client, tuple.sender, tuple.recipient, seen.first, seen.last, seen.known];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        })
        .await
    }

    async fn known(&self, client: &str, since: Seconds) -> Result<u64, Fault> {
        let client = client.to_owned();
        self.with(move |connection| {
            // More than a hundred are as good as a hundred.
            let sql = "SELECT count(*) FROM (SELECT 1 FROM tuple WHERE client = ? AND known AND last_s >= ? LIMIT 100)";
            let count: i64 =
                connection.prepare_cached(sql)?.query_row(params![client, since], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    async fn touch(&self, client: &str, now: Seconds) -> Result<(), Fault> {
        let client = client.to_owned();
        self.with(move |connection| {
            // Once an hour is enough, and spares the disk.
            let sql = "UPDATE tuple SET last_s = ?2 WHERE client = ?1 AND known AND last_s < ?2 - 3600";
            connection.prepare_cached(sql)?.execute(params![client, now]).map(drop)
        })
        .await
    }

    async fn expire(&self, waiting: Seconds, known: Seconds) -> Result<(), Fault> {
        self.with(move |connection| {
            let sql = "DELETE FROM tuple WHERE CASE WHEN known THEN last_s < ?2 ELSE first_s < ?1 END";
            connection.execute(sql, params![waiting, known])?;
            let sql = "DELETE FROM tuple WHERE (client, sender, recipient) IN (
                SELECT client, sender, recipient FROM tuple ORDER BY last_s DESC LIMIT -1 OFFSET ?)";
            connection.execute(sql, params![i64::try_from(GREYLIST_ENTRIES_MAX).unwrap_or(i64::MAX)])?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_lasts_over_a_restart_expires_and_survives_damage() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("greylist.sqlite");
        let tuple = |client: &str| Tuple { client: client.into(), sender: "s".into(), recipient: "r".into() };
        let known = Seen { first: 10, last: 20, known: true };
        {
            let store = SqliteGreylist::open(&file).unwrap();
            store.put(&tuple("a"), known).await.unwrap();
            store.put(&tuple("b"), Seen { first: 10, last: 10, known: false }).await.unwrap();
        }
        let store = SqliteGreylist::open(&file).unwrap();
        assert_eq!(store.get(&tuple("a")).await.unwrap(), Some(known));
        assert_eq!((store.known("a", 20).await.unwrap(), store.known("b", 0).await.unwrap()), (1, 0));
        store.expire(11, 20).await.unwrap();
        assert_eq!(store.get(&tuple("b")).await.unwrap(), None);
        assert!(store.get(&tuple("a")).await.unwrap().is_some());
        store.expire(11, 21).await.unwrap();
        assert_eq!(store.get(&tuple("a")).await.unwrap(), None);
        drop(store);
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.path().join(format!("greylist.sqlite{end}")));
        }
        std::fs::write(&file, b"this is no database, and long enough to be looked at as one".repeat(20))
            .unwrap();
        let store = SqliteGreylist::open(&file).unwrap();
        store.put(&tuple("a"), known).await.unwrap();
        assert!(dir.path().join("greylist.sqlite.damaged").exists());
    }
}
