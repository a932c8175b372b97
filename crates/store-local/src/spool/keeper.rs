//! The one thread that keeps house: it makes the next segment ready, gives back segments that nobody needs,
//! and moves what is left in the oldest one when too little of the spool's files is still needed.
//!
//! Segments go in their order only, the oldest first. A record that ends a message lies in the same segment as
//! the message's own record or in a later one, so it is never forgotten before what it ends.
//!
//! The work is bounded: the oldest segment is moved only while the files hold more than twice what is needed
//! and two segments, so at most about one octet is moved for each octet that came in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postroad_store::StoreError;
use postroad_types::QueueId;
use tokio::sync::oneshot;

use super::INLINE_OCTETS_MAX;
use super::codec::Extent;
use super::mailslot::Mailslot;
use super::state::{Segment, Shared, file_name};
use super::stock::Stock;
use super::writer::{Answer, Command, NewPlace};

/// After a failure it tries again so much later.
const PAUSE: Duration = Duration::from_secs(1);
/// Messages that are moved before their flush is waited for.
const MOVES_AT_ONCE: usize = 64;

#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) nudges: Arc<Mailslot<()>>,
    pub(super) writer: Arc<Mailslot<Command>>,
    pub(super) stock: Arc<Stock>,
    pub(super) stopping: Arc<AtomicBool>,
}

/// Why the keeper stopped before all was done.
enum Halt {
    Failed(StoreError),
    Stopping,
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Halt::Failed(error)
    }
}

impl Keeper {
    pub(super) fn run(self) {
        let mut nudges = Vec::new();
        let mut again = None;
        while self.nudges.take(&mut nudges, again) {
            nudges.clear();
            again = match self.tend() {
                Ok(()) => None,
                Err(Halt::Stopping) => None,
                Err(Halt::Failed(error)) => {
                    tracing::warn!(%error, "the spool could not be tidied up; trying again");
                    // Also when it is nudged meanwhile: what just failed would fail again.
                    self.sleep();
                    Some(Instant::now() + PAUSE)
                }
            };
        }
    }

    /// A pause that ends when the spool is closed.
    fn sleep(&self) {
        let until = Instant::now() + PAUSE / 10;
        while Instant::now() < until && !self.stopping.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn tend(&self) -> Result<(), Halt> {
        let prepared = self.prepare();
        self.give_back()?;
        while let Some(oldest) = self.wasteful_head() {
            self.empty(&oldest)?;
            self.give_back()?;
            if self.shared.state().segments.contains_key(&oldest.number) {
                // A body on its way in, or a damaged one, still keeps it.
                break;
            }
        }
        // Room that was given back may do for the next segment.
        if prepared.is_err() { self.prepare() } else { Ok(()) }.map_err(Halt::Failed)
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let prepared = self.stock.prepare();
        let short = prepared.is_err();
        if self.shared.short_of_room.swap(short, Ordering::AcqRel) && !short {
            tracing::info!("the spool has room again and takes mail");
        }
        prepared.map_err(|error| {
            StoreError::io("making the next segment of the spool; new mail is refused", &error)
        })
    }

    /// Gives back the oldest segments, as long as nobody needs them.
    fn give_back(&self) -> Result<(), Halt> {
        while let Some(head) = self.shared.idle_head() {
            // Who needs it is known only when all that was written to it is durable and taken in: a message
            // may be on its way. And the records by which its messages left become durable before they go.
            self.ask(Command::Flush)?;
            if self.shared.idle_head().is_none_or(|still| still.number != head.number) {
                continue;
            }
            // It counts until it is gone for good; were a later one to go before it, what is dead would return.
            self.stock.retire(&head).map_err(|error| {
                StoreError::io(format_args!("giving back segment {}", file_name(head.number)), &error)
            })?;
            self.shared.state().segments.remove(&head.number);
        }
        Ok(())
    }

    /// The oldest segment, if the files hold too much that is not needed.
    fn wasteful_head(&self) -> Option<Arc<Segment>> {
        let state = self.shared.state();
        let held: u64 = state.segments.values().map(|used| used.octets).sum();
        let allowed = 2 * state.needed_octets() + 2 * self.shared.settings.segment_octets;
        if held <= allowed || state.segments.len() < 2 {
            return None;
        }
        state.segments.first_key_value().map(|(_, used)| used.segment.clone())
    }

    /// Writes anew every message that needs this segment.
    fn empty(&self, segment: &Segment) -> Result<(), Halt> {
        let mut after: Option<QueueId> = None;
        loop {
            let mut found: Vec<(QueueId, Box<[Extent]>)> = Vec::new();
            after = self.shared.state().table.walk(after.as_ref(), |message, stored| {
                if stored.segments().contains(&segment.number) {
                    found.push((message.id.clone(), stored.extents.clone()));
                }
            });
            for group in found.chunks(MOVES_AT_ONCE) {
                let mut moves = Vec::new();
                for (id, seen) in group {
                    if self.stopping.load(Ordering::Acquire) {
                        return Err(Halt::Stopping);
                    }
                    match self.new_place(id, seen, segment.number) {
                        Ok(to) => {
                            let (answer, moved) = oneshot::channel();
                            let (id, seen) = (id.clone(), seen.clone());
                            self.send(Command::Move { id, seen, to, answer })?;
                            moves.push(moved);
                        }
                        // It left meanwhile, or the damage was reported: its sender will hear of it.
                        Err(Halt::Failed(StoreError::NotFound(_) | StoreError::Damaged(_))) => {}
                        Err(halt) => return Err(halt),
                    }
                }
                for moved in moves {
                    moved.blocking_recv().map_err(|_| Halt::Stopping)??;
                }
            }
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Copies what lies in the segment, into memory when it is small, else into the open segment.
    fn new_place(&self, id: &QueueId, seen: &[Extent], segment: u32) -> Result<NewPlace, Halt> {
        let octets: u64 = seen.iter().map(|extent| u64::from(extent.length)).sum();
        if octets <= INLINE_OCTETS_MAX as u64 {
            let mut body = BytesMut::with_capacity(octets as usize);
            for extent in seen {
                body.extend_from_slice(&self.shared.read_extent(id, *extent)?);
            }
            return Ok(NewPlace::Inline(body.freeze()));
        }
        let (mut extents, mut pins) = (Vec::with_capacity(seen.len()), Vec::new());
        for extent in seen {
            if extent.segment == segment {
                let octets = self.shared.read_extent(id, *extent)?;
                let pinned = self.ask(|answer| Command::Chunk { id: id.clone(), octets, answer })?;
                extents.push(pinned.extent);
                pins.push(pinned);
            } else {
                extents.push(*extent);
            }
        }
        Ok(NewPlace::Extents(extents, pins))
    }

    fn send(&self, command: Command) -> Result<(), Halt> {
        self.writer.put(command).map_err(|_| Halt::Stopping)
    }

    fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Halt> {
        let (answer, answered) = oneshot::channel();
        self.send(command(answer))?;
        Ok(answered.blocking_recv().map_err(|_| Halt::Stopping)??)
    }
}
