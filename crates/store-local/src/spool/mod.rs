//! The embedded spool: a log in segment files, with the queue in memory.
//!
//! # Shape
//! ```text
//! sessions ──commands──> writer ──written groups──> flusher ──answers──> sessions
//!                          │  one write per group      │  one flush for all that was written
//!                          └──────── keeper: next segment, oldest segment, compaction
//! ```
//! - Everything that changes goes to the log ([`frame`], [`codec`]: the format) before it is seen in memory
//!   (`postroad_store::queue`). Only the writer appends, so the log's order is the order of events.
//! - A commit is one record with envelope and small body, and costs a share of one flush. A recipient's result
//!   is one short record that is written at once and flushed a little later.
//! - Opening reads the log ([`recovery`]). A torn tail costs what nobody was promised; a damaged record costs
//!   its own message and is set aside in `damaged/`.
//! - Files of a directory: `NNNNNNNN.seg` (segments), `spare` (one to be used again), `lock`, `damaged/`.
//!
//! Blocking calls are made by three threads of its own and by tokio's blocking pool, never by a session.
//!
//! Roads not taken: io_uring (one flush for many commits leaves few calls to save); a memory map (a failed
//! read is a signal, not an error); an index on disk (the queue of a mail host is small beside its bodies).

mod codec;
pub mod crash_disk;
mod disk;
mod flusher;
mod frame;
mod keeper;
mod mailslot;
mod recovery;
mod settings;
mod state;
mod stock;
#[cfg(test)]
mod tests;
mod upload;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::queue::DestinationTally;
use postroad_store::spool::{
    Change, DestinationCount, Filter, Lease, Micros, NewMessage, Order, QueuedMessage, Spool, SpoolEvent,
    SpoolReport,
};
use postroad_types::QueueId;
use postroad_types::limits::BODY_CHUNK_OCTETS;
use tokio::sync::{broadcast, oneshot};

pub use disk::{Disk, DiskFile, RealDisk};
pub use settings::{CACHE_OCTETS, SEGMENT_OCTETS, SPOOL_OCTETS_MAX, SPOOL_RECIPIENTS_MAX, SpoolSettings};

use codec::Extent;
use disk::ReadOnlyDisk;
use flusher::Flusher;
use keeper::Keeper;
use mailslot::{Mailslot, Taker};
use state::Shared;
use stock::Stock;
use upload::Upload;
use writer::{Answer, Command, Writer};

/// A body up to this size lies in its message's record.
const INLINE_OCTETS_MAX: usize = BODY_CHUNK_OCTETS;
/// Larger bodies are written in pieces of this size.
const CHUNK_OCTETS: usize = BODY_CHUNK_OCTETS;

/// The open spool. When it is dropped, everything recorded is made durable first.
#[derive(Debug)]
pub struct LogSpool {
    shared: Arc<Shared>,
    writer: Arc<Mailslot<Command>>,
    keeper: Arc<Mailslot<()>>,
    stock: Arc<Stock>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl LogSpool {
    /// Opens the spool in `directory`, or begins one there. Reads all of it: blocks for a second per gigabyte
    /// or so.
    ///
    /// [`StoreError::Unavailable`] when another process has it open or it can't be read;
    /// [`StoreError::Invalid`] when a later program wrote it.
    pub fn open(directory: impl AsRef<Path>, settings: SpoolSettings) -> Result<Arc<Self>, StoreError> {
        let directory = directory.as_ref();
        let disk = RealDisk::open(directory).map_err(|error| {
            let place = directory.display();
            if error.kind() == std::io::ErrorKind::WouldBlock {
                StoreError::Unavailable(format!(
                    "the spool in {place} is in use by another process; stop that one"
                ))
            } else {
                StoreError::io(format_args!("opening the spool in {place}"), &error)
            }
        })?;
        Self::open_on(Arc::new(disk), settings)
    }

    /// As [`LogSpool::open`], on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, settings: SpoolSettings) -> Result<Arc<Self>, StoreError> {
        let settings = settings.bounded();
        let recovered = recovery::recover(&disk, true)?;
        let (counts, found) = (recovered.state.table.counts(), &recovered.state.found);
        let (torn_tails, damaged) = (found.torn_tails, found.damaged.len());
        tracing::info!(
            messages = counts.messages,
            octets = counts.octets,
            torn_tails,
            damaged,
            "the spool was read"
        );
        let stock = Arc::new(Stock::new(disk.clone(), settings.segment_octets, recovered.run));
        let shared = Arc::new(Shared::new(disk, settings, recovered.state));
        // A full disk is no reason not to open: what is queued must be delivered to make room.
        if let Err(error) = stock.prepare() {
            tracing::error!(%error, "no room for the spool's next segment; new mail is refused until there is");
            shared.short_of_room.store(true, Ordering::Release);
        }
        let writer = Arc::new(Mailslot::new());
        let written = Arc::new(Mailslot::new());
        let nudges = Arc::new(Mailslot::new());
        let stopping = Arc::new(AtomicBool::new(false));
        let appending =
            Writer::new(shared.clone(), writer.clone(), written.clone(), stock.clone(), nudges.clone());
        let flushing = Flusher {
            shared: shared.clone(),
            written: written.clone(),
            writer: writer.clone(),
            keeper: nudges.clone(),
            owed: 0,
            broken_run: 0,
        };
        let keeping = Keeper {
            shared: shared.clone(),
            nudges: nudges.clone(),
            writer: writer.clone(),
            stock: stock.clone(),
            stopping: stopping.clone(),
        };
        let mut spool =
            LogSpool { shared, writer, keeper: nudges, stock, stopping, threads: Vec::with_capacity(3) };
        // Should one panic, those who wait for it hear that the spool is closed.
        let (commands, flushes) = (spool.writer.clone(), written.clone());
        let appending = move || {
            let _commands = Taker(commands);
            appending.run();
        };
        let commands = spool.writer.clone();
        let flushing = move || {
            let _both = (Taker(flushes), Taker(commands));
            flushing.run();
        };
        // Should one not start, dropping `spool` ends the others.
        spool.start("spool-write", appending)?;
        spool.start("spool-flush", flushing)?;
        spool.start("spool-keep", move || keeping.run())?;
        let _ = spool.keeper.put(());
        Ok(Arc::new(spool))
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let started = thread::Builder::new().name(name.into()).spawn(run);
        let thread =
            started.map_err(|error| StoreError::io(format_args!("starting thread {name}"), &error))?;
        self.threads.push(thread);
        Ok(())
    }

    async fn page(&self, filter: &Filter, after: Option<&QueueId>, limit: usize) -> Vec<QueuedMessage> {
        let mut after = after.cloned();
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.shared.state().table.page(filter, after.as_ref(), limit - found.len());
            found.extend(page.found);
            match page.rest {
                Some(rest) => after = Some(rest),
                None => break,
            }
            // A long list is made between other work, not instead of it.
            tokio::task::yield_now().await;
        }
        found
    }
}

impl Drop for LogSpool {
    /// Ends the threads when all is durable: as long as a flush takes.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.keeper.close();
        self.writer.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the spool panicked; the log is read again at the next start");
            }
        }
        self.stock.close();
    }
}

/// Puts a command to the writer and waits for its answer.
async fn ask<T>(
    writer: &Mailslot<Command>,
    command: impl FnOnce(Answer<T>) -> Command,
) -> Result<T, StoreError> {
    let closed = || StoreError::Unavailable("the spool is closed".into());
    let (answer, answered) = oneshot::channel();
    writer.put(command(answer)).map_err(|_| closed())?;
    answered.await.map_err(|_| closed())?
}

fn not_found(id: &QueueId) -> StoreError {
    StoreError::NotFound(format!("message {id} is not in the spool"))
}

/// Where to find octets of a body.
enum Source {
    Memory(Bytes),
    Disk(Extent, usize),
    End,
}

#[async_trait]
impl Spool for LogSpool {
    async fn create(&self, size_hint: u64) -> Result<Box<dyn NewMessage>, StoreError> {
        self.shared.admit(size_hint)?;
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let id = QueueId::new(micros, rand::random());
        Ok(Box::new(Upload::new(id, self.shared.clone(), self.writer.clone(), size_hint)))
    }

    async fn read(&self, id: &QueueId, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let source = {
            let state = self.shared.state();
            let (_, stored) = state.table.get(id).ok_or_else(|| not_found(id))?;
            let mut begin = offset;
            let mut source = Source::End;
            for extent in &stored.extents {
                if begin < u64::from(extent.length) {
                    source = match &stored.cached {
                        Some(body) => Source::Memory(body.slice(begin as usize..)),
                        None => Source::Disk(*extent, begin as usize),
                    };
                    break;
                }
                begin -= u64::from(extent.length);
            }
            source
        };
        let mut octets = match source {
            Source::End => return Ok(Bytes::new()),
            Source::Memory(octets) => octets,
            Source::Disk(extent, begin) => {
                let (shared, name) = (self.shared.clone(), id.clone());
                let reading = tokio::task::spawn_blocking(move || shared.read_extent(&name, extent));
                let failed = |_| StoreError::Unavailable(format!("reading message {id} was broken off"));
                match reading.await.map_err(failed)? {
                    Ok(mut octets) => octets.split_off(begin),
                    // It may have left, and its segment with it, or have been moved while we read.
                    Err(error) => {
                        let moved = {
                            let state = self.shared.state();
                            let (_, stored) = state.table.get(id).ok_or_else(|| not_found(id))?;
                            !stored.extents.contains(&extent)
                        };
                        return if moved { self.read(id, offset, length).await } else { Err(error) };
                    }
                }
            }
        };
        octets.truncate(length);
        Ok(octets)
    }

    async fn get(&self, id: &QueueId) -> Result<QueuedMessage, StoreError> {
        self.shared.state().table.get(id).map(|(message, _)| message.clone()).ok_or_else(|| not_found(id))
    }

    async fn lease(&self, now: Micros, limit: usize, until: Micros) -> Result<Vec<Lease>, StoreError> {
        Ok(self.shared.state().table.lease(now, limit, until))
    }

    async fn next_due(&self) -> Result<Option<Micros>, StoreError> {
        Ok(self.shared.state().table.next_due())
    }

    async fn record(&self, id: &QueueId, token: u64, changes: Vec<Change>) -> Result<(), StoreError> {
        let id = id.clone();
        ask(&self.writer, |answer| Command::Changes { id, token, changes, answer }).await
    }

    async fn release(&self, id: &QueueId, token: u64) -> Result<(), StoreError> {
        self.shared.state().table.release(id, token)
    }

    async fn list(
        &self,
        filter: &Filter,
        after: Option<&QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        Ok(self.page(filter, after, limit).await)
    }

    async fn destinations(&self, now: Micros) -> Result<Vec<DestinationCount>, StoreError> {
        let mut tally = DestinationTally::new(now);
        let mut after = None;
        loop {
            after = self.shared.state().table.tally(&mut tally, after.as_ref());
            if after.is_none() {
                return Ok(tally.finish());
            }
            tokio::task::yield_now().await;
        }
    }

    async fn order(&self, filter: &Filter, order: Order, now: Micros) -> Result<Vec<QueueId>, StoreError> {
        let filter = filter.clone();
        ask(&self.writer, |answer| Command::Order { filter, order, now, answer }).await
    }

    fn watch(&self) -> broadcast::Receiver<SpoolEvent> {
        self.shared.subscribe()
    }

    async fn report(&self) -> Result<SpoolReport, StoreError> {
        let state = self.shared.state();
        let counts = state.table.counts();
        Ok(SpoolReport {
            messages: counts.messages,
            recipients: counts.recipients,
            octets: counts.octets,
            torn_tails: state.found.torn_tails,
            damaged: state.found.damaged.clone(),
        })
    }

    async fn flush(&self) -> Result<(), StoreError> {
        ask(&self.writer, Command::Flush).await
    }
}

/// Reads the spool in `directory` without changing it, and tells what is in it and what is damaged.
/// Best done while no process has it open: what is being written looks like a torn tail.
pub fn check(directory: impl AsRef<Path>) -> Result<SpoolReport, StoreError> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk(directory.as_ref().to_owned()));
    let state = recovery::recover(&disk, false)?.state;
    let counts = state.table.counts();
    Ok(SpoolReport {
        messages: counts.messages,
        recipients: counts.recipients,
        octets: counts.octets,
        ..state.found
    })
}

/// A message and its body, read from the spool in `directory` without changing it.
pub fn export(directory: impl AsRef<Path>, id: &QueueId) -> Result<(QueuedMessage, Vec<u8>), StoreError> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk(directory.as_ref().to_owned()));
    let state = recovery::recover(&disk, false)?.state;
    let shared = Shared::new(disk, SpoolSettings::default(), state);
    let (message, extents) = {
        let state = shared.state();
        let (message, stored) = state.table.get(id).ok_or_else(|| not_found(id))?;
        (message.clone(), stored.extents.clone())
    };
    let mut body = Vec::new();
    for extent in &extents {
        body.extend_from_slice(&shared.read_extent(id, *extent)?);
    }
    Ok((message, body))
}
