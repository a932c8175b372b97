//! The octets of a TSIG record (RFC 8945 section 4.2), and what of them is signed (section 4.3).

use super::Algorithm;
use crate::wire::{Malformed, Name, Reader, Rtype};

const CLASS_ANY: u16 = 255;
/// The position of the additional records' count in a message.
const ADDITIONAL_AT: usize = 10;
const HEADER_OCTETS: usize = 12;

/// A record as it stands at the end of a message.
#[derive(Debug)]
pub(super) struct Tsig {
    pub key: Name,
    pub algorithm: Name,
    /// Seconds since 1970, 48 bits.
    pub time: u64,
    pub fudge: u16,
    pub mac: Vec<u8>,
    pub original_id: u16,
    pub error: u16,
    pub other: Vec<u8>,
}

impl Tsig {
    /// Reads the record that begins at `at` and ends with the message.
    pub(super) fn read(message: &[u8], at: usize) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message)?.at(at);
        let record = reader.record()?;
        if record.rtype != Rtype::TSIG || record.class != CLASS_ANY || record.ttl != 0 || !reader.is_at_end()
        {
            return Err(Malformed);
        }
        Self::data(record.owner, &record.rdata).ok_or(Malformed)
    }

    fn data(key: Name, rdata: &[u8]) -> Option<Self> {
        let (algorithm, rest) = Name::from_wire_prefix(rdata).ok()?;
        let (time, rest) = rest.split_first_chunk::<6>()?;
        let (fudge, rest) = u16_first(rest)?;
        let (mac_octets, rest) = u16_first(rest)?;
        let (mac, rest) = rest.split_at_checked(usize::from(mac_octets))?;
        let (original_id, rest) = u16_first(rest)?;
        let (error, rest) = u16_first(rest)?;
        let (other_octets, other) = u16_first(rest)?;
        if other.len() != usize::from(other_octets) {
            return None;
        }
        let time = time.iter().fold(0, |time, octet| time << 8 | u64::from(*octet));
        Some(Self {
            key,
            algorithm,
            time,
            fudge,
            mac: mac.to_vec(),
            original_id,
            error,
            other: other.to_vec(),
        })
    }

    /// Appends the record to a message and counts it.
    pub(super) fn append(&self, message: &mut Vec<u8>) {
        message.extend_from_slice(self.key.as_wire());
        message.extend_from_slice(&Rtype::TSIG.0.to_be_bytes());
        message.extend_from_slice(&CLASS_ANY.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        let octets = self.algorithm.as_wire().len() + 16 + self.mac.len() + self.other.len();
        message.extend_from_slice(&(octets as u16).to_be_bytes());
        message.extend_from_slice(self.algorithm.as_wire());
        message.extend_from_slice(&six(self.time));
        message.extend_from_slice(&self.fudge.to_be_bytes());
        message.extend_from_slice(&(self.mac.len() as u16).to_be_bytes());
        message.extend_from_slice(&self.mac);
        message.extend_from_slice(&self.original_id.to_be_bytes());
        message.extend_from_slice(&self.error.to_be_bytes());
        message.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        message.extend_from_slice(&self.other);
        add_to_count(message, 1);
    }

    /// What is signed beside the message, in full (RFC 8945 section 4.3.3).
    pub(super) fn variables(&self) -> Vec<u8> {
        let mut octets = self.key.to_lowercase().as_wire().to_vec();
        octets.extend_from_slice(&CLASS_ANY.to_be_bytes());
        octets.extend_from_slice(&[0; 4]);
        octets.extend_from_slice(self.algorithm.to_lowercase().as_wire());
        octets.extend_from_slice(&self.timers());
        octets.extend_from_slice(&self.error.to_be_bytes());
        octets.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        octets.extend_from_slice(&self.other);
        octets
    }

    /// What is signed beside each message of a response but its first (RFC 8945 section 5.3.1).
    pub(super) fn timers(&self) -> [u8; 8] {
        let mut octets = [0; 8];
        octets[..6].copy_from_slice(&six(self.time));
        octets[6..].copy_from_slice(&self.fudge.to_be_bytes());
        octets
    }

    /// The header and the rest of a signed message as they were before the record at `at` was put there.
    pub(super) fn unsigned<'m>(
        &self,
        message: &'m [u8],
        at: usize,
    ) -> Result<([u8; HEADER_OCTETS], &'m [u8]), Malformed> {
        let mut header = *message.first_chunk::<HEADER_OCTETS>().ok_or(Malformed)?;
        header[..2].copy_from_slice(&self.original_id.to_be_bytes());
        add_to_count(&mut header, u16::MAX);
        Ok((header, message.get(HEADER_OCTETS..at).ok_or(Malformed)?))
    }
}

/// Octets of the record for a key of this name, with a time in "other data".
pub(super) fn octets(key: &Name, algorithm: Algorithm) -> usize {
    key.as_wire().len() + 10 + algorithm.wire().len() + 16 + algorithm.octets() + 6
}

/// The last six octets: seconds in 48 bits.
pub(super) fn six(time: u64) -> [u8; 6] {
    let [_, _, octets @ ..] = time.to_be_bytes();
    octets
}

fn u16_first(octets: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = octets.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*number), rest))
}

/// Adds to the number of additional records, modulo 2^16.
fn add_to_count(message: &mut [u8], by: u16) {
    if let Some(count) = message.get_mut(ADDITIONAL_AT..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *count = u16::from_be_bytes(*count).wrapping_add(by).to_be_bytes();
    }
}
