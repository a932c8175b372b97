//! Takes a message apart: header, questions, records, with names decompressed (RFC 1035 section 4.1).
//!
//! For messages of which every octet counts and is kept as it came: transfers, notifications, signatures. hickory's
//! decoder would refuse a whole message for one record whose data it does not like; here record data is octets, and
//! only names in it are looked at, for the types whose data may hold compressed ones (RFC 3597 section 4).
//!
//! Compression pointers lead backwards only and are counted, and a name ends after 255 octets: no message is read for
//! ever, or for long.

use postroad_types::limits::{DNS_NAME_OCTETS_MAX, DNS_POINTERS_PER_NAME_MAX};

use super::fields::{Field, fields, take_field};
use super::query::{HEADER_OCTETS, skip_name, u16_at};
use super::{Name, Rtype};

/// The first octets of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub id: u16,
    pub flags: u16,
    /// Questions, answers, authorities, additionals.
    pub counts: [u16; 4],
}

impl Header {
    pub fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub fn opcode(&self) -> u8 {
        (self.flags >> 11 & 0xf) as u8
    }

    pub fn authoritative(&self) -> bool {
        self.flags & 0x0400 != 0
    }

    pub fn truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// The lower four bits of the response code.
    pub fn rcode(&self) -> u16 {
        self.flags & 0xf
    }
}

/// A record of a message, its data uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub owner: Name,
    pub rtype: Rtype,
    pub class: u16,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

/// The octets are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed")]
pub struct Malformed;

/// Reads a message from front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    header: Header,
}

impl<'a> Reader<'a> {
    pub fn new(message: &'a [u8]) -> Result<Self, Malformed> {
        let word = |at| u16_at(message, at).ok_or(Malformed);
        let header =
            Header { id: word(0)?, flags: word(2)?, counts: [word(4)?, word(6)?, word(8)?, word(10)?] };
        Ok(Self { message, at: HEADER_OCTETS, header })
    }

    pub fn header(&self) -> Header {
        self.header
    }

    /// The position of what is read next, in octets from the start of the message.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes on at another position.
    pub(crate) fn at(mut self, position: usize) -> Self {
        self.at = position;
        self
    }

    /// Passes over the next record; its type.
    pub fn skip_record(&mut self) -> Result<Rtype, Malformed> {
        let at = skip_name(self.message, self.at).ok_or(Malformed)?;
        let rtype = u16_at(self.message, at).map(Rtype).ok_or(Malformed)?;
        let end = at + 10 + usize::from(u16_at(self.message, at + 8).ok_or(Malformed)?);
        if end > self.message.len() {
            return Err(Malformed);
        }
        self.at = end;
        Ok(rtype)
    }

    /// True when everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.message.len()
    }

    /// The next question: name, type, class.
    pub fn question(&mut self) -> Result<(Name, Rtype, u16), Malformed> {
        let (name, at) = name_at(self.message, self.at).ok_or(Malformed)?;
        let rtype = Rtype(u16_at(self.message, at).ok_or(Malformed)?);
        let class = u16_at(self.message, at + 2).ok_or(Malformed)?;
        self.at = at + 4;
        Ok((name, rtype, class))
    }

    /// The next record.
    pub fn record(&mut self) -> Result<Record, Malformed> {
        self.try_record().ok_or(Malformed)
    }

    fn try_record(&mut self) -> Option<Record> {
        let (owner, at) = name_at(self.message, self.at)?;
        let rtype = Rtype(u16_at(self.message, at)?);
        let class = u16_at(self.message, at + 2)?;
        let ttl = self.message.get(at + 4..)?.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets))?;
        let start = at + 10;
        let end = start + usize::from(u16_at(self.message, at + 8)?);
        // Records of other classes (TSIG) have data of other forms, and some of an update have none.
        let rdata = if matches!(class, CLASS_IN | CLASS_NONE) && end > start && has_names(rtype) {
            decompressed(self.message, start, end, rtype)?
        } else {
            self.message.get(start..end)?.to_vec()
        };
        self.at = end;
        Some(Record { owner, rtype, class, ttl, rdata })
    }
}

const CLASS_IN: u16 = 1;
/// In updates: the record is to go (RFC 2136 section 2.5.4).
const CLASS_NONE: u16 = 254;

fn has_names(rtype: Rtype) -> bool {
    fields(rtype).is_some_and(|fields| fields.contains(&Field::Name))
}

/// Record data with all names written out.
fn decompressed(message: &[u8], start: usize, end: usize, rtype: Rtype) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(end.checked_sub(start)? + 32);
    let mut at = start;
    for &field in fields(rtype)? {
        if field == Field::Name {
            let (name, after) = name_at(message, at)?;
            out.extend_from_slice(name.as_wire());
            at = after;
        } else {
            let rest = message.get(at..end)?;
            let (octets, _) = take_field(field, rest)?;
            out.extend_from_slice(octets);
            at += octets.len();
        }
        if at > end {
            return None;
        }
    }
    (at == end).then_some(out)
}

/// The name at `at`, decompressed, and the position after it.
pub(super) fn name_at(message: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut wire = [0u8; DNS_NAME_OCTETS_MAX];
    let mut length = 0;
    let mut here = at;
    let mut after = None;
    let mut pointers = 0;
    loop {
        let octet = *message.get(here)?;
        match octet {
            0 => {
                // The array is zero there already, and the label before left room for it.
                length += 1;
                let name = Name::from_wire(wire.get(..length)?).ok()?;
                return Some((name, after.unwrap_or(here + 1)));
            }
            1..=63 => {
                let octets = 1 + usize::from(octet);
                wire.get_mut(length..length + octets)?.copy_from_slice(message.get(here..here + octets)?);
                length += octets;
                here += octets;
            }
            0xc0.. => {
                let target = usize::from(u16_at(message, here)? & 0x3fff);
                after = after.or(Some(here + 2));
                pointers += 1;
                // A target before the pointer may itself be labels that run into this pointer: only the start of what
                // is followed may shrink.
                if target >= here || pointers > DNS_POINTERS_PER_NAME_MAX {
                    return None;
                }
                here = target;
            }
            _ => return None,
        }
        if length >= DNS_NAME_OCTETS_MAX {
            return None;
        }
    }
}

/// Whether each name of a message, in its data too, leads over no more pointers than [`Reader`] follows. For decoders that
/// do not count.
pub fn pointers_are_few(message: &[u8]) -> bool {
    let look = || {
        let counts = Reader::new(message).ok()?.header().counts.map(usize::from);
        let [questions, records @ ..] = counts;
        let mut at = HEADER_OCTETS;
        for _ in 0..questions {
            at = counted(message, at)? + 4;
        }
        for _ in 0..records.iter().sum() {
            at = counted(message, at)?;
            let rtype = Rtype(u16_at(message, at)?);
            let (mut data, end) = (at + 10, at + 10 + usize::from(u16_at(message, at + 8)?));
            // The data of a type that is opaque here may begin with a name for others.
            for &field in fields(rtype).unwrap_or(&[Field::Name]) {
                if field == Field::Name {
                    data = counted(message, data)?;
                } else if let Some((octets, _)) =
                    message.get(data..end).and_then(|rest| take_field(field, rest))
                {
                    data += octets.len();
                } else {
                    break;
                }
            }
            at = end;
        }
        Some(())
    };
    look().is_some()
}

/// The position after the name at `at`; `None` when it leads over too many pointers. What is no name ends where it stops
/// being one: that is for the decoder to say.
fn counted(message: &[u8], at: usize) -> Option<usize> {
    let (mut here, mut after, mut pointers, mut octets) = (at, None, 0, 0);
    loop {
        match message.get(here) {
            Some(&label @ 1..=63) if octets < DNS_NAME_OCTETS_MAX => {
                octets += 1 + usize::from(label);
                here += 1 + usize::from(label);
            }
            Some(0xc0..) => {
                let target = u16_at(message, here).map(|pointer| usize::from(pointer & 0x3fff));
                after = after.or(Some(here + 2));
                pointers += 1;
                if pointers > DNS_POINTERS_PER_NAME_MAX {
                    return None;
                }
                match target.filter(|target| *target < here) {
                    Some(target) => here = target,
                    None => return after,
                }
            }
            _ => return Some(after.unwrap_or(here + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compressed_names_come_out_whole_in_owner_and_data() {
        let mut message = vec![0, 7, 0x84, 0, 0, 1, 0, 2, 0, 0, 0, 0];
        message.extend_from_slice(b"\x05alpha\x04test\x00\x00\x0f\x00\x01");
        message.extend_from_slice(b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x07\x00\x0a\x02mx\xc0\x0c");
        message.extend_from_slice(b"\x01x\xc0\x12\x00\x10\x00\x01\x00\x00\x00\x05\x00\x02\x01a");
        let mut reader = Reader::new(&message).unwrap();
        assert_eq!((reader.header().is_response(), reader.header().counts), (true, [1, 2, 0, 0]));
        assert_eq!(reader.question(), Ok(("alpha.test".parse().unwrap(), Rtype::MX, 1)));
        let mx = reader.record().unwrap();
        assert_eq!((mx.owner.to_string().as_str(), mx.ttl), ("alpha.test.", 60));
        assert_eq!(mx.rdata, b"\x00\x0a\x02mx\x05alpha\x04test\x00");
        assert_eq!(reader.record().unwrap().owner.to_string(), "x.test.");
        assert!(reader.is_at_end());
    }

    #[test]
    fn pointers_that_lead_nowhere_or_round_and_round_are_refused() {
        for name in [&b"\xc0\x0c"[..], b"\xc0\x0e\xc0\x0c", b"\xc0\xff", b"\x01a\xc0\x0c", b"\x80", b"\x40a"]
        {
            let mut message = vec![0; HEADER_OCTETS];
            message.extend_from_slice(name);
            message.extend_from_slice(&[0; 4]);
            assert!(Reader::new(&message).unwrap().question().is_err(), "{}", name.escape_ascii());
        }
    }

    /// A message of `records` records, each a name that leads over `pointers` pointers, in its owner or its data.
    fn bomb(pointers: u16, records: u16, in_data: bool) -> Vec<u8> {
        let mut message = vec![0, 7, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // Pointers that lead backwards one by one, in data that nobody looks at.
        message.extend_from_slice(b"\x00\x00\x10\x00\x01\x00\x00\x00\x05");
        message.extend_from_slice(&(2 * pointers).to_be_bytes());
        for index in 0..pointers {
            let before = if index == 0 { 12 } else { 21 + 2 * index };
            message.extend_from_slice(&(0xc000 | before).to_be_bytes());
        }
        let last = (0xc000 | (21 + 2 * pointers)).to_be_bytes();
        for _ in 0..records {
            let owner = if in_data { [0xc0, 12] } else { last };
            let data = if in_data { last } else { [0xc0, 12] };
            message.extend_from_slice(&owner);
            message.extend_from_slice(b"\x00\x02\x00\x01\x00\x00\x00\x05\x00\x02");
            message.extend_from_slice(&data);
        }
        message[6..8].copy_from_slice(&(records + 1).to_be_bytes());
        message
    }

    #[test]
    fn names_that_lead_over_too_many_pointers_are_refused() {
        for in_data in [false, true] {
            // The last pointer leads to the one before, and so on: one more than there are in the data.
            for (pointers, is_read) in [(1, true), (126, true), (127, false), (8000, false)] {
                let message = bomb(pointers, 1, in_data);
                let mut reader = Reader::new(&message).unwrap();
                assert!(reader.record().is_ok());
                assert_eq!(reader.record().is_ok(), is_read, "{pointers} {in_data}");
                assert_eq!(pointers_are_few(&message), is_read, "{pointers} {in_data}");
            }
        }
        assert!(bomb(8000, 3500, true).len() < 65_536);
        assert!(!pointers_are_few(&[0; 4]));
    }

    proptest! {
        #[test]
        fn what_is_read_has_few_pointers(octets in proptest::collection::vec(prop_oneof![Just(0xc0u8), 0u8..16, any::<u8>()], 12..200)) {
            let mut octets = octets;
            octets[4..12].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
            if Reader::new(&octets).unwrap().record().is_ok() {
                prop_assert!(pointers_are_few(&octets));
            }
        }

        #[test]
        fn chance_octets_end(octets in proptest::collection::vec(prop_oneof![Just(0xc0u8), 0u8..16, any::<u8>()], 12..200)) {
            let mut reader = Reader::new(&octets).unwrap();
            while reader.record().is_ok() {
                prop_assert!(reader.position() <= octets.len());
            }
        }
    }
}
