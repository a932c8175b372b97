//! How records lie in a segment.
//!
//! ```text
//! segment   header (4096 octets), then records one after the other
//! header    at 0 and again at 2048 (two sectors: one may be lost), little-endian:
//!           magic "PRspool\0" · version u32 · number u32 · run u32 · recycled u32 · salt u64 · crc u32
//! record    magic D7 'P' 'R' 'q' · kind u8 · 0 0 0 · length u32 · durable u32 · payload crc u32 ·
//!           header crc u32 · payload (length octets)
//! ```
//! - `salt` is chosen by chance for each segment and goes into every header checksum, with the record's
//!   offset. So what an earlier use of a recycled file left behind, and what a sender put into a mail to look
//!   like a record, is not taken for one.
//! - `durable` says up to which offset this segment was known to be durable when the record was written. A
//!   hole before that offset is damage; a hole behind it is what a crash leaves of writes that nobody was
//!   promised.
//! - `run` is the number of the first segment of a row, written by one process, none of which was abandoned
//!   after a failed write or flush. Segments are flushed in their order; so what is durable in one proves the
//!   earlier ones of its row whole.
//!
//! Checksums are CRC-32 (IEEE). Two are kept, so that a good header finds the next record behind a damaged
//! payload, and a payload's sum can be made before its place is known.

use crc32fast::Hasher;

/// Version of the format that is written, and the newest that is read; all older ones are.
///
/// | version | since then |
/// | --- | --- |
/// | 1 | |
/// | 2 | messages have options, recipients NOTIFY and a route; orders may have a text |
pub(crate) const VERSION: u32 = 2;
/// Where records begin.
pub(crate) const SEGMENT_HEADER_OCTETS: usize = 4096;
const SECOND_COPY: usize = 2048;
const SEGMENT_MAGIC: &[u8; 8] = b"PRspool\0";
const SEGMENT_FIELDS: usize = 32;

/// Octets before a record's payload.
pub(crate) const RECORD_HEADER_OCTETS: usize = 24;
const RECORD_MAGIC: [u8; 4] = [0xd7, b'P', b'R', b'q'];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Octets of a body that is too large to lie in its message's record.
    Chunk = 1,
    /// A message as it stands: accepted, or written anew by compaction.
    Message = 2,
    /// What the holder of a lease changed.
    Changes = 3,
    /// What an operator ordered, for one message.
    Order = 4,
    /// Nothing follows in this segment.
    Seal = 5,
}

impl Kind {
    fn of(octet: u8) -> Option<Self> {
        [Kind::Chunk, Kind::Message, Kind::Changes, Kind::Order, Kind::Seal]
            .into_iter()
            .find(|kind| *kind as u8 == octet)
    }
}

/// What stands at a segment's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Of its records.
    pub(crate) version: u32,
    pub(crate) number: u32,
    pub(crate) run: u32,
    /// The file held other records before, and its tail still may.
    pub(crate) recycled: bool,
    pub(crate) salt: u64,
}

/// A segment's head can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Both copies are damaged, or it was never written.
    Unreadable,
    /// A later Postroad wrote it.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(SEGMENT_FIELDS + 4);
        copy.extend_from_slice(SEGMENT_MAGIC);
        for field in [self.version, self.number, self.run, u32::from(self.recycled)] {
            copy.extend_from_slice(&field.to_le_bytes());
        }
        copy.extend_from_slice(&self.salt.to_le_bytes());
        copy.extend_from_slice(&crc32fast::hash(&copy).to_le_bytes());
        let mut octets = copy.clone();
        octets.resize(SECOND_COPY, 0);
        octets.extend_from_slice(&copy);
        octets.resize(SEGMENT_HEADER_OCTETS, 0);
        octets
    }

    pub(crate) fn decode(segment: &[u8]) -> Result<Self, BadHeader> {
        let copies = [0, SECOND_COPY].map(|at| Self::decode_copy(segment.get(at..).unwrap_or_default()));
        match copies {
            [Ok(header), _] | [_, Ok(header)] => Ok(header),
            [Err(error @ BadHeader::Version(_)), _] | [_, Err(error)] => Err(error),
        }
    }

    fn decode_copy(octets: &[u8]) -> Result<Self, BadHeader> {
        let fields = octets.get(..SEGMENT_FIELDS).ok_or(BadHeader::Unreadable)?;
        let word = |at: usize| u32_at(octets, at).ok_or(BadHeader::Unreadable);
        if !fields.starts_with(SEGMENT_MAGIC) || word(SEGMENT_FIELDS)? != crc32fast::hash(fields) {
            return Err(BadHeader::Unreadable);
        }
        let version = word(8)?;
        if !(1..=VERSION).contains(&version) {
            return Err(BadHeader::Version(version));
        }
        let salt = u64::from(word(24)?) | u64::from(word(28)?) << 32;
        Ok(SegmentHeader { version, number: word(12)?, run: word(16)?, recycled: word(20)? != 0, salt })
    }
}

/// The checksum of a payload that lies in several pieces.
pub(crate) fn payload_crc(pieces: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    pieces.iter().for_each(|piece| hasher.update(piece));
    hasher.finalize()
}

/// A record's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    pub(crate) length: u32,
    pub(crate) durable: u32,
    pub(crate) payload_crc: u32,
}

impl RecordHeader {
    /// Appends the head of a record that begins at offset `at` of a segment with this salt.
    pub(crate) fn put(&self, to: &mut Vec<u8>, salt: u64, at: u32) {
        let begin = to.len();
        to.extend_from_slice(&RECORD_MAGIC);
        to.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        for field in [self.length, self.durable, self.payload_crc] {
            to.extend_from_slice(&field.to_le_bytes());
        }
        let crc = header_crc(to.get(begin..).unwrap_or_default(), salt, at);
        to.extend_from_slice(&crc.to_le_bytes());
    }

    /// The head at the beginning of `octets`, which lie at offset `at`; `None` when there is none.
    pub(crate) fn read(octets: &[u8], salt: u64, at: u32) -> Option<Self> {
        let fields = octets.get(..RECORD_HEADER_OCTETS - 4)?;
        if !fields.starts_with(&RECORD_MAGIC)
            || u32_at(octets, RECORD_HEADER_OCTETS - 4)? != header_crc(fields, salt, at)
        {
            return None;
        }
        Some(RecordHeader {
            kind: Kind::of(*octets.get(4)?)?,
            length: u32_at(octets, 8)?,
            durable: u32_at(octets, 12)?,
            payload_crc: u32_at(octets, 16)?,
        })
    }
}

fn header_crc(fields: &[u8], salt: u64, at: u32) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(fields);
    hasher.finalize()
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(octets.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// What was found at a place of a segment.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Record {
        at: u32,
        header: RecordHeader,
        payload: &'a [u8],
    },
    /// No record, or a damaged one, in front of at least one good one.
    Hole {
        from: u32,
        to: u32,
    },
    /// Nothing good follows. `torn`: something was begun here.
    End {
        at: u32,
        torn: bool,
    },
}

/// Goes through a whole segment's octets, over damage to what is good behind it.
pub(crate) fn scan<'a>(segment: &'a [u8], header: &SegmentHeader, mut see: impl FnMut(Found<'a>)) {
    let read = |at: usize| -> Option<RecordHeader> {
        RecordHeader::read(segment.get(at..)?, header.salt, u32::try_from(at).ok()?)
    };
    // Nothing begins in the reserved room; but a payload may end with zeros of its own.
    let written = without_zeros(segment);
    // Begin of the hole that is being crossed.
    let mut hole: Option<usize> = None;
    let mut begun = false;
    let mut at = SEGMENT_HEADER_OCTETS;
    loop {
        let Some(record) = read(at) else {
            hole.get_or_insert(at);
            match next_magic(written, at + 1) {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        let body = at + RECORD_HEADER_OCTETS;
        let end = body + record.length as usize;
        let payload = segment.get(body..end).filter(|payload| payload_crc(&[payload]) == record.payload_crc);
        let Some(payload) = payload else {
            hole.get_or_insert(at);
            begun = true;
            // A good head of a bad payload: the next record is behind it, unless the file ends before.
            at = if end < segment.len() { end } else { at + 1 };
            continue;
        };
        if let Some(from) = hole.take() {
            see(Found::Hole { from: from as u32, to: at as u32 });
        }
        begun = false;
        see(Found::Record { at: at as u32, header: record, payload });
        at = end;
        if record.kind == Kind::Seal {
            see(Found::End { at: end as u32, torn: false });
            return;
        }
    }
    let end = hole.unwrap_or(at);
    let rest = written.get(end..).unwrap_or_default();
    // The tail of a recycled file holds what it held before: only a good head says that something was begun.
    let torn = begun || (!header.recycled && rest.iter().any(|octet| *octet != 0));
    see(Found::End { at: end as u32, torn });
}

/// Without the room at the end that was reserved and not yet written, up to a block.
fn without_zeros(segment: &[u8]) -> &[u8] {
    const BLOCK: usize = 4096;
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let mut kept = segment;
    while let Some((before, last)) = kept.split_last_chunk::<BLOCK>() {
        if *last != ZEROS {
            break;
        }
        kept = before;
    }
    kept
}

fn next_magic(segment: &[u8], from: usize) -> Option<usize> {
    let rest = segment.get(from..)?;
    let [first, ..] = RECORD_MAGIC;
    let mut at = 0;
    loop {
        at += rest.get(at..)?.iter().position(|octet| *octet == first)?;
        if rest.get(at..)?.starts_with(&RECORD_MAGIC) {
            return Some(from + at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: SegmentHeader =
        SegmentHeader { version: VERSION, number: 3, run: 2, recycled: false, salt: 0x1234_5678_9abc };

    fn put(segment: &mut Vec<u8>, header: &SegmentHeader, kind: Kind, payload: &[u8]) {
        let at = segment.len() as u32;
        let record = RecordHeader {
            kind,
            length: payload.len() as u32,
            durable: 0,
            payload_crc: payload_crc(&[payload]),
        };
        record.put(segment, header.salt, at);
        segment.extend_from_slice(payload);
    }

    /// Payloads, holes, and the end with whether it is torn.
    type All = (Vec<Vec<u8>>, Vec<(u32, u32)>, (u32, bool));

    fn found(segment: &[u8], header: &SegmentHeader) -> All {
        let (mut records, mut holes, mut end) = (vec![], vec![], (0, false));
        scan(segment, header, |found| match found {
            Found::Record { payload, .. } => records.push(payload.to_vec()),
            Found::Hole { from, to } => holes.push((from, to)),
            Found::End { at, torn } => end = (at, torn),
        });
        (records, holes, end)
    }

    #[test]
    fn either_copy_of_the_segment_header_will_do() {
        let good = HEADER.encode();
        for damaged in [0, 30, SECOND_COPY + 5] {
            let mut octets = good.clone();
            octets[damaged] ^= 1;
            assert_eq!(SegmentHeader::decode(&octets), Ok(HEADER));
        }
        let mut octets = good.clone();
        (octets[0], octets[SECOND_COPY]) = (0, 0);
        assert_eq!(SegmentHeader::decode(&octets), Err(BadHeader::Unreadable));
        assert_eq!(SegmentHeader::decode(&[]), Err(BadHeader::Unreadable));
    }

    #[test]
    fn a_later_version_is_not_mistaken_for_damage() {
        let mut octets = HEADER.encode();
        for copy in [0, SECOND_COPY] {
            octets[copy + 8] = 9;
            let crc = crc32fast::hash(&octets[copy..copy + SEGMENT_FIELDS]);
            octets[copy + SEGMENT_FIELDS..copy + SEGMENT_FIELDS + 4].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(SegmentHeader::decode(&octets), Err(BadHeader::Version(9)));
    }

    #[test]
    fn what_a_mail_holds_is_not_taken_for_a_record() {
        let mut forged = vec![0; 5000];
        put(&mut forged, &SegmentHeader { salt: 7, ..HEADER }, Kind::Message, b"forged");
        let mut segment = HEADER.encode();
        put(&mut segment, &HEADER, Kind::Chunk, &forged[5000..]);
        let last = segment.len() - 1;
        segment[last] ^= 1;
        put(&mut segment, &HEADER, Kind::Chunk, b"next");
        let (records, holes, _) = found(&segment, &HEADER);
        assert_eq!(records, [b"next".to_vec()]);
        assert_eq!(holes, [(4096, last as u32 + 1)]);
    }

    #[test]
    fn a_recycled_tail_is_no_torn_one() {
        let old = SegmentHeader { salt: 1, ..HEADER };
        let mut segment = HEADER.encode();
        put(&mut segment, &old, Kind::Chunk, b"what was here before");
        assert!(found(&segment, &HEADER).2.1);
        assert!(!found(&segment, &SegmentHeader { recycled: true, ..HEADER }).2.1);
    }

    proptest! {
        #[test]
        fn damage_costs_the_records_it_touches_and_no_other(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
            spot in any::<prop::sample::Index>(),
            length in 1usize..400,
        ) {
            let mut segment = HEADER.encode();
            let mut ends = vec![];
            for payload in &payloads {
                let from = segment.len();
                put(&mut segment, &HEADER, Kind::Chunk, payload);
                ends.push((from, segment.len()));
            }
            let from = SEGMENT_HEADER_OCTETS + spot.index(segment.len() - SEGMENT_HEADER_OCTETS);
            let to = (from + length).min(segment.len());
            segment[from..to].iter_mut().for_each(|octet| *octet ^= 0x55);
            let untouched: Vec<_> = payloads.iter().zip(&ends)
                .filter(|(_, (a, b))| *b <= from || *a >= to).map(|(payload, _)| payload.clone()).collect();
            prop_assert_eq!(found(&segment, &HEADER).0, untouched);
        }

        #[test]
        fn a_cut_segment_gives_all_that_is_whole(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut segment = HEADER.encode();
            let mut ends = vec![];
            for payload in &payloads {
                put(&mut segment, &HEADER, Kind::Chunk, payload);
                ends.push(segment.len());
            }
            segment.truncate(SEGMENT_HEADER_OCTETS + cut.index(segment.len() + 1 - SEGMENT_HEADER_OCTETS));
            let whole = ends.iter().filter(|end| **end <= segment.len()).count();
            let (records, holes, (end, torn)) = found(&segment, &HEADER);
            prop_assert_eq!(&records[..], &payloads[..whole]);
            prop_assert!(holes.is_empty());
            prop_assert_eq!(end as usize, if whole == 0 { SEGMENT_HEADER_OCTETS } else { ends[whole - 1] });
            prop_assert_eq!(torn, segment.len() != end as usize);
        }
    }
}
