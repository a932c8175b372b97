//! The one thread that appends. It takes everything that waits, writes it with one call, and hands what must
//! be durable to the flusher; so while one flush runs, the next group gathers.
//!
//! It is also the one place where durable state changes: each change is checked, written, and only then made
//! in memory. A write that fails has changed nothing.
//!
//! # After a failed write or flush
//! The segment is left behind, for what it holds from there on is not known. The messages concerned are
//! written anew into the next segment as they stand in memory (those that were refused: as removed), before
//! anything else is. So what the bad segment may still hold of refused changes does not count when the log is
//! read again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::spool::{Change, Filter, Micros, Order, QueuedMessage};
use postroad_types::QueueId;
use tokio::sync::oneshot;

use super::codec::{self, BodyPlace, Extent};
use super::flusher::{Accepted, Durable, Written};
use super::frame::{self, Kind, RECORD_HEADER_OCTETS, RecordHeader, SEGMENT_HEADER_OCTETS};
use super::mailslot::Mailslot;
use super::state::{Segment, SegmentUse, Shared, Stored, file_name};
use super::stock::Stock;

/// A group of records is written when it has become so large.
const GROUP_OCTETS_MAX: usize = 1024 * 1024;

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Keeps a segment from being given back while a body that lies in it has no message yet.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) extent: Extent,
    shared: Arc<Shared>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.shared.state().use_segment(self.extent.segment, false);
    }
}

#[derive(Debug)]
pub(super) enum Command {
    /// Part of a large body.
    Chunk {
        id: QueueId,
        octets: Bytes,
        answer: Answer<Pinned>,
    },
    Commit(Box<Commit>),
    Changes {
        id: QueueId,
        token: u64,
        changes: Vec<Change>,
        answer: Answer<()>,
    },
    Order {
        filter: Filter,
        order: Order,
        now: Micros,
        answer: Answer<Vec<QueueId>>,
    },
    /// Compaction moves a message whose body lay at `seen`.
    Move {
        id: QueueId,
        seen: Box<[Extent]>,
        to: NewPlace,
        answer: Answer<()>,
    },
    /// A flush failed; what these messages are must be written again.
    Restate(Vec<QueueId>),
    Flush(Answer<()>),
}

/// Where compaction puts a body.
#[derive(Debug)]
pub(super) enum NewPlace {
    Inline(Bytes),
    /// All its extents; those that are not pinned stay where they are.
    Extents(Vec<Extent>, Vec<Pinned>),
}

/// A message that was received whole, encoded and summed by its receiver.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) message: QueuedMessage,
    pub(super) head: Vec<u8>,
    /// Empty when it lies in `chunks`.
    pub(super) body: Bytes,
    pub(super) payload_crc: u32,
    pub(super) chunks: Vec<Pinned>,
    pub(super) answer: Answer<()>,
}

/// What is made in memory once the group is written.
#[derive(Debug)]
enum Step {
    Changes { id: QueueId, changes: Vec<Change>, answer: Answer<()> },
    Order { id: QueueId, order: Order, now: Micros },
    Chunk { extent: Extent, answer: Answer<Pinned> },
}

#[derive(Debug)]
struct Open {
    segment: Arc<Segment>,
    position: u32,
}

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    commands: Arc<Mailslot<Command>>,
    flusher: Arc<Mailslot<Written>>,
    stock: Arc<Stock>,
    keeper: Arc<Mailslot<()>>,
    open: Option<Open>,
    /// Records that wait to be written at the open segment's position.
    group: Vec<u8>,
    steps: Vec<Step>,
    accepted: Vec<Accepted>,
    /// Messages that the group is about.
    concerned: Vec<QueueId>,
    /// Messages that must be written anew before anything else is.
    restate: Vec<QueueId>,
    /// Groups that could not be written.
    refused_groups: u64,
    /// Commands to write messages anew that were carried out, or wait in `restate`.
    restated: u64,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: Arc<Mailslot<Command>>,
        flusher: Arc<Mailslot<Written>>,
        stock: Arc<Stock>,
        keeper: Arc<Mailslot<()>>,
    ) -> Self {
        Writer {
            shared,
            commands,
            flusher,
            stock,
            keeper,
            open: None,
            group: Vec::new(),
            steps: Vec::new(),
            accepted: Vec::new(),
            concerned: Vec::new(),
            restate: Vec::new(),
            refused_groups: 0,
            restated: 0,
        }
    }

    /// Until the command slot is closed and empty.
    pub(super) fn run(mut self) {
        let commands = self.commands.clone();
        let mut waiting = Vec::new();
        while commands.take(&mut waiting, None) {
            for command in waiting.drain(..) {
                self.carry_out(command);
                if self.group.len() > GROUP_OCTETS_MAX {
                    self.write_group();
                }
            }
            self.write_group();
        }
        self.close();
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Chunk { id, octets, answer } => self.chunk(&id, &octets, answer),
            Command::Commit(commit) => self.commit(*commit),
            Command::Changes { id, token, changes, answer } => self.changes(id, token, changes, answer),
            Command::Order { filter, order, now, answer } => {
                let obeyed = self.order(&filter, order, now);
                let _ = answer.send(obeyed);
            }
            Command::Move { id, seen, to, answer } => self.relocate(&id, &seen, to, answer),
            Command::Restate(ids) => {
                self.write_group();
                self.restate.extend(ids);
                self.restated += 1;
                self.stock.begin_run();
                // A suspect segment is left; when no other is to be had, the next one begins with these.
                if let Err(error) = self.make_room(0).and_then(|()| self.write_anew()) {
                    tracing::error!(%error, "queued messages wait to be written anew after a failed flush");
                }
            }
            Command::Flush(answer) => {
                self.write_group();
                let whole = if self.restate.is_empty() { Ok(()) } else { self.make_room(0) };
                match whole {
                    Ok(()) => self.hand_over(Some(answer)),
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
        }
    }

    fn chunk(&mut self, id: &QueueId, octets: &Bytes, answer: Answer<Pinned>) {
        let pieces: [&[u8]; 2] = [id.as_str().as_bytes(), octets];
        match self.append(Kind::Chunk, &pieces, frame::payload_crc(&pieces)) {
            Ok((segment, record_at)) => {
                let (skip, length) = (codec::ID_OCTETS as u32, octets.len() as u32);
                let extent = Extent { segment, record_at, skip, length };
                self.steps.push(Step::Chunk { extent, answer });
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn commit(&mut self, commit: Commit) {
        let Commit { message, head, body, payload_crc, chunks, answer } = commit;
        match self.append(Kind::Message, &[&head, &body], payload_crc) {
            Ok((segment, record_at)) => {
                let (skip, length) = (head.len() as u32, body.len() as u32);
                let extents = if chunks.is_empty() {
                    Box::from([Extent { segment, record_at, skip, length }])
                } else {
                    chunks.iter().map(|chunk| chunk.extent).collect()
                };
                let cached = (!body.is_empty() && self.shared.settings.cache_octets > 0).then_some(body);
                let stored = Stored { version: 0, segment, extents, cached };
                self.concerned.push(message.id.clone());
                self.accepted.push(Accepted {
                    durable: Durable::New(Box::new((message, stored))),
                    chunks,
                    answer,
                });
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn changes(&mut self, id: QueueId, token: u64, changes: Vec<Change>, answer: Answer<()>) {
        if let Err(error) = self.finish_group_about(&id) {
            let _ = answer.send(Err(error));
            return;
        }
        let version = {
            let mut state = self.shared.state();
            if let Err(error) = state.table.check_changes(&id, token, &changes) {
                drop(state);
                let _ = answer.send(Err(error));
                return;
            }
            state.table.reserve(&id, true);
            state.table.get(&id).map_or(0, |(_, stored)| stored.version)
        };
        let payload = codec::encode_changes(&id, version + 1, &changes);
        match self.append(Kind::Changes, &[&payload], frame::payload_crc(&[&payload])) {
            Ok(_) => {
                self.concerned.push(id.clone());
                self.steps.push(Step::Changes { id, changes, answer });
            }
            Err(error) => {
                self.shared.state().table.reserve(&id, false);
                let _ = answer.send(Err(error));
            }
        }
    }

    fn order(&mut self, filter: &Filter, order: Order, now: Micros) -> Result<Vec<QueueId>, StoreError> {
        self.write_group();
        let mut obeyed = Vec::new();
        let mut after = None;
        let refused_before = self.refused_groups;
        loop {
            self.make_room(0)?;
            let (found, rest) = {
                let state = self.shared.state();
                let page = state.table.page_of_ids(filter, after.as_ref());
                let versioned = |id: QueueId| {
                    let version = state.table.get(&id).map_or(0, |(_, stored)| stored.version);
                    (id, version)
                };
                (page.found.into_iter().map(versioned).collect::<Vec<_>>(), page.rest)
            };
            for (id, version) in &found {
                let payload = codec::encode_order(id, version + 1, &order, now);
                self.append(Kind::Order, &[&payload], frame::payload_crc(&[&payload]))?;
                self.concerned.push(id.clone());
                self.steps.push(Step::Order { id: id.clone(), order: order.clone(), now });
            }
            self.write_group();
            if self.refused_groups != refused_before {
                return Err(StoreError::Unavailable("the order could not be written to the spool".into()));
            }
            obeyed.extend(found.into_iter().map(|(id, _)| id));
            after = rest;
            if after.is_none() {
                return Ok(obeyed);
            }
        }
    }

    fn relocate(&mut self, id: &QueueId, seen: &[Extent], to: NewPlace, answer: Answer<()>) {
        if let Err(error) = self.finish_group_about(id) {
            let _ = answer.send(Err(error));
            return;
        }
        let (place, body, chunks) = match to {
            NewPlace::Inline(body) => (BodyPlace::Inline, body, Vec::new()),
            NewPlace::Extents(extents, chunks) => (BodyPlace::Extents(extents), Bytes::new(), chunks),
        };
        let head = {
            let state = self.shared.state();
            // It may have left, or have been moved, since compaction looked.
            let found = state.table.get(id).filter(|(_, stored)| *stored.extents == *seen);
            found.map(|(message, stored)| codec::encode_message(message, stored.version, &place))
        };
        let Some(head) = head else {
            let _ = answer.send(Ok(()));
            return;
        };
        match self.append(Kind::Message, &[&head, &body], frame::payload_crc(&[&head, &body])) {
            Ok((segment, record_at)) => {
                let (skip, length) = (head.len() as u32, body.len() as u32);
                let extents = match place {
                    BodyPlace::Inline => Box::from([Extent { segment, record_at, skip, length }]),
                    BodyPlace::Extents(extents) => extents.into(),
                };
                let durable = Durable::Moved { id: id.clone(), segment, extents };
                self.accepted.push(Accepted { durable, chunks, answer });
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    /// Puts a record into the group; gives where it will lie.
    fn append(&mut self, kind: Kind, pieces: &[&[u8]], payload_crc: u32) -> Result<(u32, u32), StoreError> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.make_room(length)?;
        self.put(kind, pieces, length as u32, payload_crc)
    }

    fn put(
        &mut self,
        kind: Kind,
        pieces: &[&[u8]],
        length: u32,
        payload_crc: u32,
    ) -> Result<(u32, u32), StoreError> {
        let Some(open) = &self.open else {
            return Err(StoreError::Unavailable("the spool has no segment to write to".into()));
        };
        let at = open.position + self.group.len() as u32;
        let durable = open.segment.durable.load(Ordering::Acquire);
        RecordHeader { kind, length, durable, payload_crc }.put(
            &mut self.group,
            open.segment.header.salt,
            at,
        );
        pieces.iter().for_each(|piece| self.group.extend_from_slice(piece));
        Ok((open.segment.number, at))
    }

    /// Sees to it that a payload of `length` octets fits into the open segment, or into a new one.
    fn make_room(&mut self, length: usize) -> Result<(), StoreError> {
        if let Some(open) = &self.open {
            let at = open.position as usize + self.group.len();
            let end = at + RECORD_HEADER_OCTETS + length + RECORD_HEADER_OCTETS;
            let fits = end as u64 <= self.shared.settings.segment_octets;
            // A record that is larger than a segment gets one of its own, which grows.
            if (fits || at == SEGMENT_HEADER_OCTETS) && !open.segment.is_suspect() {
                return Ok(());
            }
            if open.segment.is_suspect() {
                if self.write_group() {
                    self.leave_segment();
                }
            } else {
                self.put(Kind::Seal, &[], 0, frame::payload_crc(&[]))?;
                if self.write_group() {
                    self.open = None;
                }
            }
        }
        self.begin_segment()
    }

    fn leave_segment(&mut self) {
        self.open = None;
        // Not a good end: what follows says nothing of this segment.
        self.stock.begin_run();
    }

    fn begin_segment(&mut self) -> Result<(), StoreError> {
        let segment = self.stock.take().map_err(|error| {
            let _ = self.keeper.put(());
            StoreError::io("making a new segment of the spool", &error)
        })?;
        let position = SEGMENT_HEADER_OCTETS as u32;
        let used = SegmentUse { segment: segment.clone(), users: 0, octets: u64::from(position) };
        self.shared.state().segments.insert(segment.number, used);
        self.open = Some(Open { segment, position });
        // The one after it is made ready meanwhile.
        let _ = self.keeper.put(());
        self.write_anew()
    }

    /// First of all in a new segment: what an abandoned one may have got wrong. The group is empty.
    fn write_anew(&mut self) -> Result<(), StoreError> {
        while let Some(id) = self.restate.pop() {
            let stands = {
                let mut state = self.shared.state();
                if let Some(stored) = state.table.stored_mut(&id) {
                    // Above any version that a refused change was written with.
                    stored.version += 1;
                }
                state.table.get(&id).map(|(message, stored)| {
                    let place = BodyPlace::Extents(stored.extents.to_vec());
                    (codec::encode_message(message, stored.version, &place), stored.extents.clone())
                })
            };
            let (kind, payload) = match &stands {
                Some((payload, _)) => (Kind::Message, payload.clone()),
                None => (Kind::Order, codec::encode_order(&id, 0, &Order::Remove, 0)),
            };
            let (segment, _) =
                self.put(kind, &[&payload], payload.len() as u32, frame::payload_crc(&[&payload]))?;
            if let Some((_, extents)) = stands {
                let durable = Durable::Moved { id: id.clone(), segment, extents };
                let (answer, _) = oneshot::channel();
                self.accepted.push(Accepted { durable, chunks: Vec::new(), answer });
            }
            self.concerned.push(id);
        }
        if self.write_group() {
            Ok(())
        } else {
            Err(StoreError::Unavailable("the spool's disk takes no writes".into()))
        }
    }

    /// The next record about this message may be made: the one before it is written and seen, and so is what
    /// an abandoned segment makes necessary.
    fn finish_group_about(&mut self, id: &QueueId) -> Result<(), StoreError> {
        if self.concerned.contains(id) {
            self.write_group();
        }
        self.make_room(0)
    }

    /// Writes the group; what it holds is then done, or refused. `false` when it was refused.
    fn write_group(&mut self) -> bool {
        if self.group.is_empty() {
            return true;
        }
        let written = match &self.open {
            Some(open) => open.segment.file.write_at(u64::from(open.position), &self.group),
            None => Err(io::Error::other("no segment is open")),
        };
        let octets = self.group.len();
        self.group.clear();
        self.group.shrink_to(2 * GROUP_OCTETS_MAX);
        match written {
            Ok(()) => {
                if let Some(open) = &mut self.open {
                    open.position += octets as u32;
                }
                self.take_steps(octets as u64);
                self.hand_over(None);
                true
            }
            Err(error) => {
                self.refuse_group(&error);
                false
            }
        }
    }

    /// The group is written: its changes are made in memory, in their order.
    fn take_steps(&mut self, octets: u64) {
        let mut answers = Vec::new();
        let mut pins = Vec::new();
        {
            let mut state = self.shared.state();
            for step in self.steps.drain(..) {
                match step {
                    Step::Changes { id, changes, answer } => {
                        state.table.reserve(&id, false);
                        let outcome = state.table.apply_changes(&id, changes);
                        self.shared.settle(&mut state, &id, outcome);
                        answers.push(answer);
                    }
                    Step::Order { id, order, now } => {
                        let outcome = state.table.apply_order(&id, &order, now);
                        self.shared.settle(&mut state, &id, outcome);
                    }
                    Step::Chunk { extent, answer } => {
                        state.use_segment(extent.segment, true);
                        pins.push((answer, Pinned { extent, shared: self.shared.clone() }));
                    }
                }
            }
            if let Some(open) = &self.open
                && let Some(used) = state.segments.get_mut(&open.segment.number)
            {
                used.octets += octets;
            }
        }
        // Whoever gave up waiting needs no answer.
        answers.into_iter().for_each(|answer| drop(answer.send(Ok(()))));
        pins.into_iter().for_each(|(answer, pinned)| drop(answer.send(Ok(pinned))));
    }

    fn refuse_group(&mut self, error: &io::Error) {
        let name = self.open.as_ref().map_or_else(String::new, |open| file_name(open.segment.number));
        tracing::error!(segment = name, %error, "the spool could not be written; going on with another segment");
        let refused = StoreError::io(format_args!("writing to segment {name} of the spool"), error);
        for step in self.steps.drain(..) {
            match step {
                Step::Changes { id, answer, .. } => {
                    self.shared.state().table.reserve(&id, false);
                    let _ = answer.send(Err(refused.clone()));
                }
                Step::Order { .. } => {}
                Step::Chunk { answer, .. } => drop(answer.send(Err(refused.clone()))),
            }
        }
        for accepted in self.accepted.drain(..) {
            let _ = accepted.answer.send(Err(refused.clone()));
        }
        self.restate.append(&mut self.concerned);
        self.refused_groups += 1;
        self.leave_segment();
    }

    /// What was written up to here must be flushed.
    fn hand_over(&mut self, flushed: Option<Answer<()>>) {
        let place = self.open.as_ref().map(|open| (open.segment.clone(), open.position));
        let accepted = std::mem::take(&mut self.accepted);
        let concerned = std::mem::take(&mut self.concerned);
        // The flusher's slot is closed by nobody but this thread, at its end.
        let _ = self.flusher.put(Written { place, accepted, concerned, flushed, restated: self.restated });
    }

    /// A graceful end: all is durable, and the segment says so.
    fn close(mut self) {
        self.write_group();
        if self.open.is_some() {
            let (answer, flushed) = oneshot::channel();
            self.hand_over(Some(answer));
            if matches!(flushed.blocking_recv(), Ok(Ok(()))) && self.make_room(0).is_ok() {
                let sealed = self.put(Kind::Seal, &[], 0, frame::payload_crc(&[]));
                if sealed.is_ok() {
                    self.write_group();
                }
            }
        }
        self.flusher.close();
    }
}
