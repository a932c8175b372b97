//! One thread that writes, and connections for those who read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use postroad_store::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::memory::Memory;
use super::schema::MIGRATIONS;
use crate::sqlite::{self, Durability, store_error};

/// Read connections that are kept when idle.
const READERS_KEPT: usize = 8;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

#[derive(Debug)]
pub struct Worker {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    readers: Arc<Mutex<Vec<Connection>>>,
    memory: Arc<Memory>,
}

impl Worker {
    pub fn start(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|e| StoreError::io(format_args!("making {}", folder.display()), &e))?;
        }
        let doing = format!("opening the directory {}", path.display());
        let mut connection =
            sqlite::open(path, Durability::Full, MIGRATIONS).map_err(|e| e.into_store_error(doing))?;
        restrict(path)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let write = move || {
            for job in queue {
                job(&mut connection);
            }
        };
        std::thread::Builder::new()
            .name("directory-writer".into())
            .spawn(write)
            .map_err(|e| StoreError::io("starting the directory's writer", &e))?;
        Ok(Worker { path: path.to_owned(), jobs, readers: Arc::default(), memory: Arc::default() })
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Runs a change in one transaction, which is rolled back when it fails.
    pub async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let memory = self.memory.clone();
        let job: Job = Box::new(move |connection| {
            let result = in_transaction(connection, change);
            // Also where it failed: better asked once too often.
            memory.forget();
            // Nobody waits any more when the caller was dropped; the change is made all the same.
            let _ = answer.send(result);
        });
        let gone = || StoreError::Unavailable("the directory's writer has ended".into());
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Runs a question on a connection of its own; it sees every change that returned before.
    pub async fn read<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (readers, path) = (self.readers.clone(), self.path.clone());
        let work = move || {
            let kept = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match kept {
                Some(connection) => connection,
                None => sqlite::open_reader(&path).map_err(|e| store_error("opening the directory", &e))?,
            };
            let answer = question(&connection);
            let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS_KEPT {
                readers.push(connection);
            }
            answer
        };
        let joined = tokio::task::spawn_blocking(work).await;
        joined.map_err(|e| StoreError::Unavailable(format!("reading the directory: {e}")))?
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    change: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let failed = |e: rusqlite::Error| store_error("changing the directory", &e);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let value = change(&transaction)?;
    transaction.commit().map_err(failed)?;
    Ok(value)
}

/// The file holds password hashes: for its owner only. SQLite gives its -wal and -shm the same mode.
fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| StoreError::io(format_args!("setting the mode of {}", path.display()), &e))
}
