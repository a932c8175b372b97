//! The deliveries that may not be on the disk yet under their own names.
//!
//! # Contract
//! - When [`Journal::append`] returns, what was appended is on stable storage. Callers that wait at the same
//!   time share one write and one flush, whatever accounts they write to.
//! - A [`Ticket`] says that the appended mail is not in its Maildir yet. Once all tickets of a segment are
//!   gone, its files are in the page cache; one `syncfs` makes them and the indexes durable, and the segment
//!   is used again. So a message costs a share of one flush when it is delivered, and nobody waits for the
//!   several that a Maildir of its own would take (file, folder, index).
//! - After a crash [`Journal::open`] gives back every record that was appended and not released, in order.
//!   Applying one again must do no harm.
//!
//! # Format
//! A segment is a file of records: magic, segment number, length, CRC-32 of all this and the payload. A
//! released segment is overwritten by a later one, which changes no metadata of the file and so makes the
//! flush cheap; the segment number tells its records from what is left of older ones.
//!
//! # Failure modes
//! - A write or flush fails: the callers that wait for it hear [`StoreError::Unavailable`], and the segment is
//!   not written to again, since after a failed flush nobody knows what it holds.
//! - Mailboxes can't be made durable (the disk is gone): segments pile up to a bound; then appending fails.
//! - A record is damaged: it is passed over, a copy of the segment is kept as `damaged-…`, and the later
//!   records count. A tail that ends in the middle was never promised to anybody and is dropped.
//!
//! Roads not taken: flushing the Maildir's files in many threads at a time (each still costs a journal commit
//! of the file system), one `syncfs` per batch (waits for everything that others wrote to the disk).

mod checkpoint;
pub mod record;
mod segment;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postroad_store::StoreError;

pub use record::Record;
use segment::Segment;

/// Segments that wait for their release before appending waits too.
const SEALED_MAX: usize = 8;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment that is longer is not written to again.
    pub segment_octets: u64,
    /// After so long a segment is released also when it is not full.
    pub release_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { segment_octets: 32 << 20, release_after: Duration::from_secs(30) }
    }
}

#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    checkpointer: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Anything on the file system that holds journal and mailboxes.
    on_file_system: File,
    options: Options,
    state: Mutex<State>,
    /// A turn has ended, or there is room for a segment.
    turned: Condvar,
    /// There may be a segment to release.
    sealed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Waiting for the next turn.
    pending: Vec<Vec<u8>>,
    waiters: usize,
    /// The turn that `pending` will be written in.
    turn: u64,
    /// Somebody is writing.
    busy: bool,
    done: HashMap<u64, Turn>,
    active: Option<Active>,
    /// Oldest first.
    released_later: Vec<Arc<Segment>>,
    free: Vec<PathBuf>,
    /// Why the last release failed, until one succeeds.
    failing: Option<StoreError>,
    last_number: u64,
    stopping: bool,
    abandoned: bool,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    offset: u64,
    since: Instant,
}

/// What became of a turn, for those who waited for it.
#[derive(Debug)]
struct Turn {
    result: Result<Arc<Segment>, StoreError>,
    waiters: usize,
}

/// Holds the segment until the mail is in its Maildir.
#[derive(Debug)]
pub struct Ticket {
    segment: Arc<Segment>,
    shared: Arc<Shared>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.segment.let_go() {
            self.shared.sealed.notify_one();
        }
    }
}

impl Journal {
    /// Opens the journal in `dir`, whose file system holds the mailboxes. `apply` gets every record that may
    /// not be in its Maildir; when all went well, they are released.
    pub fn open(
        dir: &Path,
        options: Options,
        mut apply: impl FnMut(Vec<Record>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let failed = |e| StoreError::io(format_args!("opening the journal in {}", dir.display()), &e);
        let found = segment::Found::list(dir)?;
        let mut records = Vec::new();
        for (number, path) in &found.segments {
            segment::read(*number, path, &mut records)?;
        }
        if !records.is_empty() {
            tracing::info!(records = records.len(), "looking after mail that was delivered before a crash");
            apply(records)?;
        }
        let on_file_system = File::open(dir).map_err(failed)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            on_file_system,
            options,
            state: Mutex::new(State { last_number: found.last_number(), ..State::default() }),
            turned: Condvar::new(),
            sealed: Condvar::new(),
        });
        shared.release_files(found.segments.into_iter().map(|(_, path)| path).chain(found.free).collect())?;
        let of_thread = shared.clone();
        let checkpointer = std::thread::Builder::new()
            .name("journal-release".into())
            .spawn(move || of_thread.run())
            .map_err(failed)?;
        Ok(Journal { shared, checkpointer: Some(checkpointer) })
    }

    /// Makes records durable. Blocks for a flush.
    pub fn append(&self, records: Vec<Vec<u8>>) -> Result<Ticket, StoreError> {
        let shared = &self.shared;
        let mut state = shared.state();
        let turn = state.turn;
        state.pending.extend(records);
        state.waiters += 1;
        loop {
            if let Some(done) = state.done.get_mut(&turn) {
                done.waiters -= 1;
                let result = done.result.clone();
                if done.waiters == 0 {
                    state.done.remove(&turn);
                }
                return result.map(|segment| Ticket { segment, shared: shared.clone() });
            }
            let may_begin = state.has_room() || state.failing.is_some();
            state = if !state.busy && state.turn == turn && may_begin {
                shared.take_turn(state)
            } else {
                shared.turned.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Stops as a crash would: nothing more is released, and what is not on the disk is for the next start.
    #[cfg(test)]
    pub fn abandon(&self) {
        self.shared.state().abandoned = true;
    }
}

impl Drop for Journal {
    /// Releases what is written, so that the next start has nothing to do.
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.sealed.notify_one();
        if let Some(thread) = self.checkpointer.take() {
            // It reports its own errors; one that ended in a panic has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.released_later.len() < SEALED_MAX
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, state: &mut State, active: Active) {
        active.segment.seal();
        state.released_later.push(active.segment);
    }

    /// Writes and flushes what is pending, for all who wait for it.
    fn take_turn<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let payloads = std::mem::take(&mut state.pending);
        let waiters = std::mem::take(&mut state.waiters);
        let turn = state.turn;
        state.turn += 1;
        state.busy = true;
        if let Some(why) = state.failing.clone().filter(|_| !state.has_room()) {
            // Nothing gets out of the journal: nothing more may come in.
            state.done.insert(turn, Turn { result: Err(why), waiters });
            state.busy = false;
            self.turned.notify_all();
            return state;
        }
        let active = state.active.take();
        let reusable = if active.is_none() { state.free.pop() } else { None };
        let number = state.last_number + 1;
        drop(state);

        let mut active = match active {
            Some(active) => Ok(active),
            None => Segment::begin(&self.dir, number, reusable).map(|segment| Active {
                segment: Arc::new(segment),
                offset: 0,
                since: Instant::now(),
            }),
        };
        let result = active.as_mut().map_err(|e| e.clone()).and_then(|active| {
            active.offset += active.segment.append(active.offset, &payloads)?;
            active.segment.hold(waiters);
            Ok(active.segment.clone())
        });

        let mut state = self.state();
        state.busy = false;
        if let Ok(active) = active {
            state.last_number = state.last_number.max(active.segment.number());
            if result.is_err() || active.offset >= self.options.segment_octets {
                self.seal(&mut state, active);
                self.sealed.notify_one();
            } else {
                state.active = Some(active);
            }
        }
        state.done.insert(turn, Turn { result, waiters });
        self.turned.notify_all();
        state
    }
}

#[cfg(test)]
mod tests;
