//! Reading the log when the spool is opened: every segment from its beginning, oldest first.
//!
//! What is damaged costs the records that it touches and no other. A hole that was once known to be durable is
//! damage: its octets are set aside and it is reported. Any other hole is what a crash left of writes that
//! nobody was promised; it is counted as a torn tail. Good records behind a hole count: a message may well be
//! there although its sender was not told so before the crash.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use postroad_store::StoreError;
use postroad_store::queue::{Outcome, QueueTable};
use postroad_store::spool::{Order, SpoolReport};
use postroad_types::QueueId;

use super::codec::{self, BodyPlace, Extent};
use super::disk::{Disk, DiskFile};
use super::frame::{self, BadHeader, Found, Kind, RecordHeader, SEGMENT_HEADER_OCTETS, SegmentHeader};
use super::state::{Segment, SegmentUse, State, Stored, damaged_name, file_name, number_of};
use super::stock::SPARE;

/// A damaged place is kept up to so many octets.
const SET_ASIDE_OCTETS_MAX: usize = 64 * 1024 * 1024;

/// What was read.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) state: State,
    /// The number of the first segment of this run.
    pub(super) run: u32,
}

/// A segment that was read through.
#[derive(Debug)]
struct Read {
    header: SegmentHeader,
    file: Arc<dyn DiskFile>,
    /// Behind the last good record.
    end: u32,
    sealed: bool,
    /// The highest offset that was ever known to be durable.
    durable: u32,
    holes: Vec<(u32, u32)>,
}

/// A message that points to a body which is not there.
#[derive(Debug)]
struct Bodiless {
    id: QueueId,
    missing: Extent,
}

#[derive(Debug)]
struct Replay {
    table: QueueTable<Stored>,
    /// Where good records with octets of bodies begin.
    bodies: HashSet<(u32, u32)>,
    bodiless: Vec<Bodiless>,
    /// Good sums, but not what this program can read.
    malformed: Vec<(u32, u32, u32)>,
}

/// Reads the spool and makes it ready to go on: torn tails are cut off, unfinished segments removed, and what
/// was found is durable. With `repair` off nothing is changed.
pub(super) fn recover(disk: &Arc<dyn Disk>, repair: bool) -> Result<Recovered, StoreError> {
    let mut found = SpoolReport::default();
    let numbers = segment_numbers(&**disk)?;
    let run = numbers.last().map_or(1, |last| last.saturating_add(1));
    let mut replay = Replay {
        table: QueueTable::new(u64::from(run) << 32),
        bodies: HashSet::new(),
        bodiless: Vec::new(),
        malformed: Vec::new(),
    };
    let mut segments: BTreeMap<u32, Read> = BTreeMap::new();
    for number in numbers {
        let name = file_name(number);
        let doing =
            |error: io::Error| StoreError::io(format_args!("reading segment {name} of the spool"), &error);
        let file = disk.open(&name).map_err(doing)?;
        let octets = read_whole(&*file).map_err(doing)?;
        match SegmentHeader::decode(&octets) {
            Ok(header) if header.number == number => {
                // An empty one too: it goes when its turn comes.
                segments.insert(number, replay.segment(header, file, &octets));
                continue;
            }
            Err(BadHeader::Version(version)) => {
                return Err(StoreError::Invalid(format!(
                    "segment {name} of the spool has format {version}; this program reads up to {}: use a newer one",
                    frame::VERSION
                )));
            }
            // A file that was being made ready, from nothing or from an old one, when the end came.
            Ok(_) => {}
            Err(BadHeader::Unreadable) if octets.iter().all(|octet| *octet == 0) => {}
            Err(BadHeader::Unreadable) => {
                let place = set_aside(&**disk, repair, &format!("{name}.damaged"), &octets);
                found
                    .damaged
                    .push(format!("segment {name}: both copies of its header are damaged; it is in {place}"));
            }
        }
        if repair {
            disk.remove(&name).map_err(doing)?;
        }
    }
    judge(&**disk, repair, &segments, &replay, &mut found)?;
    if repair {
        make_ready(&**disk, &segments)?;
    }
    Ok(Recovered { state: into_state(replay.table, segments, found), run })
}

fn segment_numbers(disk: &dyn Disk) -> Result<Vec<u32>, StoreError> {
    let names = disk.list().map_err(|error| StoreError::io("listing the spool", &error))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn read_whole(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
    let count = file.read_at(0, &mut octets)?;
    octets.truncate(count);
    Ok(octets)
}

impl Replay {
    fn segment(&mut self, header: SegmentHeader, file: Arc<dyn DiskFile>, octets: &[u8]) -> Read {
        let mut read = Read {
            header,
            file,
            end: SEGMENT_HEADER_OCTETS as u32,
            sealed: false,
            durable: SEGMENT_HEADER_OCTETS as u32,
            holes: Vec::new(),
        };
        frame::scan(octets, &header, |found| match found {
            Found::Record { at, header: record, payload } => {
                read.durable = read.durable.max(record.durable);
                read.sealed |= record.kind == Kind::Seal;
                if self.record(&header, at, &record, payload).is_err() {
                    self.malformed.push((header.number, at, record.length));
                }
            }
            Found::Hole { from, to } => read.holes.push((from, to)),
            Found::End { at, torn } => {
                read.end = at;
                if torn {
                    read.holes.push((at, u32::MAX));
                }
            }
        });
        read
    }

    fn record(
        &mut self,
        header: &SegmentHeader,
        at: u32,
        record: &RecordHeader,
        payload: &[u8],
    ) -> Result<(), codec::Malformed> {
        let (segment, format) = (header.number, header.version);
        match record.kind {
            Kind::Chunk => {
                self.bodies.insert((segment, at));
            }
            Kind::Message => self.message(header, at, record, payload)?,
            Kind::Changes => {
                let (id, version, changes) = codec::decode_changes(payload, format)?;
                if self.follows(&id, version) {
                    let outcome = self.table.apply_changes(&id, changes);
                    self.changed(&id, outcome);
                }
            }
            Kind::Order => {
                let (id, version, order, now) = codec::decode_order(payload, format)?;
                // What an operator removed stays away, whatever was lost before.
                if order == Order::Remove || self.follows(&id, version) {
                    let outcome = self.table.apply_order(&id, &order, now);
                    self.changed(&id, outcome);
                }
            }
            Kind::Seal => {}
        }
        Ok(())
    }

    fn message(
        &mut self,
        header: &SegmentHeader,
        at: u32,
        record: &RecordHeader,
        payload: &[u8],
    ) -> Result<(), codec::Malformed> {
        let segment = header.number;
        let (message, version, place, skip) = codec::decode_message(payload, header.version)?;
        let extents: Box<[Extent]> = match place {
            BodyPlace::Inline => {
                self.bodies.insert((segment, at));
                let length = record.length.checked_sub(skip).ok_or(codec::Malformed)?;
                Box::from([Extent { segment, record_at: at, skip, length }])
            }
            BodyPlace::Extents(extents) => extents.into(),
        };
        let octets: u64 = extents.iter().map(|extent| u64::from(extent.length)).sum();
        if octets != message.size_octets {
            return Err(codec::Malformed);
        }
        let missing = |extent: &&Extent| !self.bodies.contains(&(extent.segment, extent.record_at));
        if let Some(missing) = extents.iter().find(missing) {
            // An earlier record of this message, if there is one, still holds.
            self.bodiless.push(Bodiless { id: message.id, missing: *missing });
            return Ok(());
        }
        if self.table.get(&message.id).is_none_or(|(_, known)| known.version <= version) {
            self.table.insert(message, Stored { version, segment, extents, cached: None });
        }
        Ok(())
    }

    fn follows(&self, id: &QueueId, version: u32) -> bool {
        self.table.get(id).is_some_and(|(_, stored)| stored.version.wrapping_add(1) == version)
    }

    fn changed(&mut self, id: &QueueId, outcome: Option<Outcome<Stored>>) {
        if matches!(outcome, Some(Outcome::Changed))
            && let Some(stored) = self.table.stored_mut(id)
        {
            stored.version += 1;
        }
    }
}

/// Tells damage from what a crash leaves behind, and keeps what is damaged.
fn judge(
    disk: &dyn Disk,
    repair: bool,
    segments: &BTreeMap<u32, Read>,
    replay: &Replay,
    found: &mut SpoolReport,
) -> Result<(), StoreError> {
    // The last segment of each run in which something was known to be durable: all before it in that run were
    // whole by then, for segments are flushed in their order.
    let mut proven: HashMap<u32, u32> = HashMap::new();
    for (number, read) in segments {
        if read.durable > SEGMENT_HEADER_OCTETS as u32 {
            proven.insert(read.header.run, *number);
        }
    }
    // An empty one proves nothing: it may be a file that was made ready in vain.
    let written = |read: &Read| read.end > SEGMENT_HEADER_OCTETS as u32 || !read.holes.is_empty();
    let oldest = segments.iter().find(|(_, read)| written(read)).map_or(u32::MAX, |(number, _)| *number);
    let was_durable = |number: u32, at: u32| match segments.get(&number) {
        Some(read) => {
            at < read.durable || proven.get(&read.header.run).is_some_and(|proven| number < *proven)
        }
        // Segments are given back in their order: before the oldest, what it held was not needed any more.
        None => number >= oldest,
    };
    for (number, read) in segments {
        for (from, to) in &read.holes {
            if was_durable(*number, *from) {
                let place = keep(disk, repair, *number, &*read.file, *from, *to);
                found.damaged.push(format!(
                    "segment {} at octet {from}: a record is damaged; what is left of it is in {place}",
                    file_name(*number)
                ));
            } else {
                found.torn_tails += 1;
            }
        }
    }
    for (number, at, length) in &replay.malformed {
        if let Some(read) = segments.get(number) {
            let to = at.saturating_add(*length).saturating_add(frame::RECORD_HEADER_OCTETS as u32);
            let place = keep(disk, repair, *number, &*read.file, *at, to);
            found.damaged.push(format!(
                "segment {} at octet {at}: a record can't be read; it is in {place}",
                file_name(*number)
            ));
        }
    }
    for Bodiless { id, missing } in &replay.bodiless {
        let known = replay.table.get(id).is_some();
        if !known && was_durable(missing.segment, missing.record_at) {
            found.damaged.push(format!(
                "message {id}: its body was in a damaged record of segment {} at octet {}",
                file_name(missing.segment),
                missing.record_at
            ));
        }
    }
    for what in &found.damaged {
        tracing::error!(what, "a part of the spool is damaged and was set aside");
    }
    Ok(())
}

fn keep(disk: &dyn Disk, repair: bool, number: u32, file: &dyn DiskFile, from: u32, to: u32) -> String {
    let end = file.length().unwrap_or_default().min(u64::from(to));
    let length = end.saturating_sub(u64::from(from)) as usize;
    let mut octets = vec![0; length.min(SET_ASIDE_OCTETS_MAX)];
    let count = file.read_at(u64::from(from), &mut octets).unwrap_or_default();
    octets.truncate(count);
    set_aside(disk, repair, &damaged_name(number, from), &octets)
}

fn set_aside(disk: &dyn Disk, repair: bool, name: &str, octets: &[u8]) -> String {
    if !repair {
        return "its place".into();
    }
    // That it is damaged is worth a report even when it can't be kept.
    disk.set_aside(name, octets).unwrap_or_else(|error| format!("{name} (not kept: {error})"))
}

/// Cuts off what follows the last good record, and makes durable what will be built upon.
fn make_ready(disk: &dyn Disk, segments: &BTreeMap<u32, Read>) -> Result<(), StoreError> {
    for (number, read) in segments.iter().filter(|(_, read)| !read.sealed) {
        let doing = |error: io::Error| {
            StoreError::io(
                format_args!("cutting the tail of segment {} of the spool", file_name(*number)),
                &error,
            )
        };
        if read.file.length().map_err(doing)? > u64::from(read.end) {
            read.file.truncate(u64::from(read.end)).map_err(doing)?;
        }
        read.file.sync().map_err(doing)?;
    }
    let names = disk.list().map_err(|error| StoreError::io("listing the spool", &error))?;
    if names.iter().any(|name| name == SPARE) {
        disk.remove(SPARE).map_err(|error| StoreError::io("removing the spool's spare segment", &error))?;
    }
    disk.sync_directory().map_err(|error| StoreError::io("flushing the spool's directory", &error))
}

fn into_state(table: QueueTable<Stored>, segments: BTreeMap<u32, Read>, found: SpoolReport) -> State {
    let mut users: HashMap<u32, u64> = HashMap::new();
    for (_, stored) in table.iter() {
        stored.segments().into_iter().for_each(|number| *users.entry(number).or_default() += 1);
    }
    let mut state = State::new(table, found);
    for (number, read) in segments {
        let segment = Arc::new(Segment::new(read.header, read.file));
        let users = users.get(&number).copied().unwrap_or_default();
        state.segments.insert(number, SegmentUse { segment, users, octets: u64::from(read.end) });
    }
    state
}
