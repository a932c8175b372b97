//! A SOA record as it stands in the authority section of a zone's negative answers, made once: names in it that end in
//! the zone's name point to that name in the question.

use super::{Name, RrSet};

/// The record's octets, in which the pointers are still to be put in.
#[derive(Debug, Clone)]
pub struct SoaTemplate {
    pub(super) octets: Box<[u8]>,
    /// Where pointers to the zone's name stand.
    pub(super) pointers: Vec<u8>,
    /// The zone's name as its file writes it.
    pub(super) apex: Box<[u8]>,
}

/// Owner (a pointer), type, class, TTL and length.
const FIXED_OCTETS: usize = 12;

impl SoaTemplate {
    /// `None` when the names are so long that the record does not fit such a template.
    pub fn new(apex: &Name, soa: &RrSet, ttl: u32) -> Option<Self> {
        let rdata = soa.first();
        let (mname, after) = Name::from_wire_prefix(rdata).ok()?;
        let (rname, numbers) = Name::from_wire_prefix(after).ok()?;
        let mut octets = vec![0xc0, 0];
        octets.extend_from_slice(&soa.rtype.0.to_be_bytes());
        octets.extend_from_slice(&[0, 1]);
        octets.extend_from_slice(&ttl.to_be_bytes());
        octets.extend_from_slice(&[0, 0]);
        let mut pointers = vec![0];
        for name in [mname, rname] {
            match name.as_wire().strip_suffix(apex.as_wire()).filter(|_| name.is_at_or_below(apex)) {
                Some(labels) => {
                    octets.extend_from_slice(labels);
                    pointers.push(u8::try_from(octets.len()).ok()?);
                    octets.extend_from_slice(&[0xc0, 0]);
                }
                None => octets.extend_from_slice(name.as_wire()),
            }
        }
        octets.extend_from_slice(numbers);
        let length = u16::try_from(octets.len() - FIXED_OCTETS).ok()?;
        octets.get_mut(FIXED_OCTETS - 2..FIXED_OCTETS)?.copy_from_slice(&length.to_be_bytes());
        Some(SoaTemplate { octets: octets.into(), pointers, apex: apex.as_wire().into() })
    }
}
