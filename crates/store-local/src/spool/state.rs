//! What is known in memory: the queue, where each message lies, which segments there are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::queue::{Outcome, QueueTable};
use postroad_store::spool::{QueuedMessage, SpoolEvent, SpoolReport};
use postroad_types::QueueId;
use tokio::sync::broadcast;

use super::codec::Extent;
use super::disk::{Disk, DiskFile};
use super::frame::{self, RECORD_HEADER_OCTETS, RecordHeader, SEGMENT_HEADER_OCTETS, SegmentHeader};
use super::settings::SpoolSettings;

/// Events that a slow watcher may be behind.
const EVENTS_MAX: usize = 4096;
/// Bodies that are kept in memory at most, however small they are.
const CACHED_BODIES_MAX: usize = 16_384;
/// What a message costs on disk besides its octets, as far as compaction needs to know.
const MESSAGE_OVERHEAD_OCTETS: u64 = 512;

/// A segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn DiskFile>,
    /// Up to here it is known to be durable.
    pub(super) durable: AtomicU32,
    /// A flush failed: nothing is known of what was written since the last good one.
    pub(super) suspect: AtomicBool,
}

impl Segment {
    /// An empty one.
    pub(super) fn new(header: SegmentHeader, file: Arc<dyn DiskFile>) -> Self {
        let durable = AtomicU32::new(SEGMENT_HEADER_OCTETS as u32);
        Segment { number: header.number, header, file, durable, suspect: AtomicBool::new(false) }
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }
}

/// Name of a segment's file.
pub(super) fn file_name(number: u32) -> String {
    format!("{number:08x}.seg")
}

/// The number in a segment's file name.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let hex = name.strip_suffix(".seg").filter(|hex| hex.len() == 8)?;
    u32::from_str_radix(hex, 16).ok()
}

/// Where a message lies.
#[derive(Debug)]
pub(super) struct Stored {
    /// Count of its changes.
    pub(super) version: u32,
    /// The segment of its message record.
    pub(super) segment: u32,
    pub(super) extents: Box<[Extent]>,
    /// The body, while it is likely to be read soon.
    pub(super) cached: Option<Bytes>,
}

impl Stored {
    /// Every segment that is needed for this message, once.
    pub(super) fn segments(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.extents.iter().map(|extent| extent.segment).collect();
        all.push(self.segment);
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Which segments there are, and how many messages need each.
#[derive(Debug)]
pub(super) struct SegmentUse {
    pub(super) segment: Arc<Segment>,
    /// Messages that need it, and bodies on their way in.
    pub(super) users: u64,
    /// Octets written.
    pub(super) octets: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: QueueTable<Stored>,
    pub(super) segments: BTreeMap<u32, SegmentUse>,
    /// Bodies in memory, the oldest first; some may have left.
    cached: VecDeque<(QueueId, usize)>,
    cached_octets: usize,
    pub(super) found: SpoolReport,
}

impl State {
    pub(super) fn new(table: QueueTable<Stored>, found: SpoolReport) -> Self {
        State { table, segments: BTreeMap::new(), cached: VecDeque::new(), cached_octets: 0, found }
    }

    pub(super) fn use_segments(&mut self, stored: &Stored) {
        stored.segments().into_iter().for_each(|number| self.use_segment(number, true));
    }

    /// One more user of a segment, or one less.
    pub(super) fn use_segment(&mut self, number: u32, more: bool) {
        if let Some(used) = self.segments.get_mut(&number) {
            used.users = if more { used.users + 1 } else { used.users.saturating_sub(1) };
        }
    }

    /// Takes in a durable message, whose body may be read soon.
    pub(super) fn insert(&mut self, message: QueuedMessage, stored: Stored, cache_octets: usize) {
        self.use_segments(&stored);
        if let Some(body) = &stored.cached {
            self.cached_octets += body.len();
            self.cached.push_back((message.id.clone(), body.len()));
        }
        self.table.insert(message, stored);
        while let Some((id, octets)) = self.cached.front() {
            let stored = self.table.stored_mut(id);
            let left = stored.as_ref().is_none_or(|stored| stored.cached.is_none());
            if !left && self.cached_octets <= cache_octets && self.cached.len() <= CACHED_BODIES_MAX {
                break;
            }
            // What left the queue was taken off the sum when it left.
            if let Some(stored) = stored.filter(|_| !left) {
                stored.cached = None;
                self.cached_octets = self.cached_octets.saturating_sub(*octets);
            }
            self.cached.pop_front();
        }
    }

    /// A message left: nothing is needed for it any more.
    pub(super) fn forget(&mut self, stored: &Stored) {
        stored.segments().into_iter().for_each(|number| self.use_segment(number, false));
        self.cached_octets = self.cached_octets.saturating_sub(stored.cached.as_ref().map_or(0, Bytes::len));
    }

    /// A message was written anew elsewhere.
    pub(super) fn relocate(&mut self, id: &QueueId, segment: u32, extents: Box<[Extent]>) {
        let Some(stored) = self.table.stored_mut(id) else { return };
        let before = stored.segments();
        (stored.segment, stored.extents) = (segment, extents);
        let after = stored.segments();
        after.into_iter().for_each(|number| self.use_segment(number, true));
        before.into_iter().for_each(|number| self.use_segment(number, false));
    }

    /// Octets that must stay.
    pub(super) fn needed_octets(&self) -> u64 {
        let counts = self.table.counts();
        counts.octets + counts.messages * MESSAGE_OVERHEAD_OCTETS
    }
}

/// What all parts of an open spool share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) settings: SpoolSettings,
    state: Mutex<State>,
    events: broadcast::Sender<SpoolEvent>,
    /// No room for another segment: what is left is for records of the messages that are here.
    pub(super) short_of_room: AtomicBool,
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, settings: SpoolSettings, state: State) -> Self {
        Shared {
            disk,
            settings,
            state: Mutex::new(state),
            events: broadcast::channel(EVENTS_MAX).0,
            short_of_room: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No step in here panics half-way; and a queue that goes on is worth more than one that stops.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<SpoolEvent> {
        self.events.subscribe()
    }

    pub(super) fn tell(&self, event: SpoolEvent) {
        if self.events.receiver_count() > 0 {
            // Nobody listening any more is no error.
            let _ = self.events.send(event);
        }
    }

    /// After a change: the event, and what the message needed is free if it left.
    pub(super) fn settle(&self, state: &mut State, id: &QueueId, outcome: Option<Outcome<Stored>>) {
        match outcome {
            Some(Outcome::Changed) => {
                if let Some(stored) = state.table.stored_mut(id) {
                    stored.version += 1;
                }
                self.tell(SpoolEvent::Changed(id.clone()));
            }
            Some(Outcome::Gone(stored)) => {
                state.forget(&stored);
                self.tell(SpoolEvent::Gone(id.clone()));
            }
            None => {}
        }
    }

    /// The oldest segment, if no message that was taken in needs it and it is not the one being written.
    pub(super) fn idle_head(&self) -> Option<Arc<Segment>> {
        let state = self.state();
        let written = state.segments.len() > 1;
        let (_, used) = state.segments.first_key_value().filter(|(_, used)| written && used.users == 0)?;
        Some(used.segment.clone())
    }

    /// Whether new mail of so many octets may come in.
    pub(super) fn admit(&self, octets: u64) -> Result<(), StoreError> {
        if self.short_of_room.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("the spool's file system is full; free some room".into()));
        }
        let counts = self.state().table.counts();
        let (held, recipients) = (counts.octets, counts.recipients);
        if held.saturating_add(octets) > self.settings.max_octets {
            let limit = self.settings.max_octets;
            return Err(StoreError::Unavailable(format!(
                "the queue holds {held} octets of the {limit} that it may; deliver or remove mail, or allow more"
            )));
        }
        if recipients >= self.settings.max_recipients {
            return Err(StoreError::Unavailable(format!(
                "the queue holds {recipients} recipients, as many as it may; deliver or remove mail"
            )));
        }
        Ok(())
    }

    /// Octets of a body at one place, checked against their sum. Blocks.
    pub(super) fn read_extent(&self, id: &QueueId, extent: Extent) -> Result<Bytes, StoreError> {
        let segment = self.state().segments.get(&extent.segment).map(|used| used.segment.clone());
        let segment = segment.ok_or_else(|| {
            StoreError::Damaged(format!("message {id}: segment {} is missing", file_name(extent.segment)))
        })?;
        let name = file_name(extent.segment);
        let mut octets = vec![0; RECORD_HEADER_OCTETS + extent.skip as usize + extent.length as usize];
        let count = segment
            .file
            .read_at(u64::from(extent.record_at), &mut octets)
            .map_err(|error| StoreError::io(format!("reading message {id} from {name}"), &error))?;
        octets.truncate(count);
        let header = RecordHeader::read(&octets, segment.header.salt, extent.record_at);
        let payload = octets.get(RECORD_HEADER_OCTETS..).unwrap_or_default();
        if !header.is_some_and(|header| {
            header.length as usize == payload.len() && header.payload_crc == frame::payload_crc(&[payload])
        }) {
            return Err(self.set_aside_extent(id, extent, &octets));
        }
        let begin = RECORD_HEADER_OCTETS + extent.skip as usize;
        Ok(Bytes::from(octets).split_off(begin))
    }

    /// Keeps what is left of a damaged record and reports it, once.
    fn set_aside_extent(&self, id: &QueueId, extent: Extent, octets: &[u8]) -> StoreError {
        let name = damaged_name(extent.segment, extent.record_at);
        let place =
            self.disk.set_aside(&name, octets).unwrap_or_else(|error| format!("{name} (not kept: {error})"));
        let what = format!("message {id}: its body is damaged; what is left of it is in {place}");
        let mut state = self.state();
        if !state.found.damaged.contains(&what) {
            tracing::error!(%id, place, "the body of a queued message is damaged on disk");
            state.found.damaged.push(what.clone());
        }
        StoreError::Damaged(what)
    }
}

/// Name under which a damaged record is set aside.
pub(super) fn damaged_name(segment: u32, at: u32) -> String {
    format!("{segment:08x}-{at:08x}.rec")
}
