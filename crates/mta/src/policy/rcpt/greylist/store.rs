//! What greylisting keeps, behind a trait: in a file, or in memory for tests.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;

/// Seconds since 1970-01-01 UTC.
pub type Seconds = i64;

/// Who sends to whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    pub client: String,
    pub sender: String,
    pub recipient: String,
}

/// What is known of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub first: Seconds,
    pub last: Seconds,
    /// It has come again in time.
    pub known: bool,
}

/// It can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the greylist can not be used: {0}")]
pub struct Fault(pub String);

/// A memory of tuples. Between `get` and `put` of one tuple another session may do the same; the last one wins,
/// which does no harm.
#[async_trait]
pub trait GreylistStore: Send + Sync + 'static {
    async fn get(&self, tuple: &Tuple) -> Result<Option<Seen>, Fault>;
    async fn put(&self, tuple: &Tuple, seen: Seen) -> Result<(), Fault>;
    /// Known tuples of a client that were last seen at `since` or later.
    async fn known(&self, client: &str, since: Seconds) -> Result<u64, Fault>;
    /// The client's known tuples were seen now.
    async fn touch(&self, client: &str, now: Seconds) -> Result<(), Fault>;
    /// Removes unknown tuples first seen before `waiting`, and known ones last seen before `known`.
    async fn expire(&self, waiting: Seconds, known: Seconds) -> Result<(), Fault>;
}

/// Forgets everything with the process.
#[derive(Debug, Default)]
pub struct MemoryGreylist {
    tuples: Mutex<HashMap<Tuple, Seen>>,
}

impl MemoryGreylist {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<Tuple, Seen>) -> T) -> Result<T, Fault> {
        let mut tuples = self.tuples.lock().map_err(|_| Fault("a thread that used it died".to_owned()))?;
        Ok(f(&mut tuples))
    }
}

#[async_trait]
impl GreylistStore for MemoryGreylist {
    async fn get(&self, tuple: &Tuple) -> Result<Option<Seen>, Fault> {
        self.with(|tuples| tuples.get(tuple).copied())
    }

    async fn put(&self, tuple: &Tuple, seen: Seen) -> Result<(), Fault> {
        self.with(|tuples| {
            tuples.insert(tuple.clone(), seen);
        })
    }

    async fn known(&self, client: &str, since: Seconds) -> Result<u64, Fault> {
        self.with(|tuples| {
            let fits =
                |(tuple, seen): &(&Tuple, &Seen)| tuple.client == client && seen.known && seen.last >= since;
            tuples.iter().filter(fits).count() as u64
        })
    }

    async fn touch(&self, client: &str, now: Seconds) -> Result<(), Fault> {
        self.with(|tuples| {
            for (_, seen) in tuples.iter_mut().filter(|(tuple, seen)| tuple.client == client && seen.known) {
                seen.last = now;
            }
        })
    }

    async fn expire(&self, waiting: Seconds, known: Seconds) -> Result<(), Fault> {
        self.with(|tuples| {
            tuples.retain(|_, seen| if seen.known { seen.last >= known } else { seen.first >= waiting });
        })
    }
}
