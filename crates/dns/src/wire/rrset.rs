//! Record sets (RFC 2181 section 5): all records of one owner and type, with one TTL.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Field, Rtype, fields};

/// The data of a record set as uncompressed wire octets in one piece of memory.
#[derive(Debug)]
pub struct RrSet {
    pub rtype: Rtype,
    /// Seconds.
    pub ttl: u32,
    count: u16,
    /// For each record: its length in two octets, then its data.
    data: Box<[u8]>,
    /// Where the next answer starts when answers rotate.
    cursor: AtomicU32,
}

impl RrSet {
    /// Number of records, at least one.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The data of each record.
    pub fn iter(&self) -> RdataIter<'_> {
        RdataIter(&self.data)
    }

    /// The data of the first record.
    pub fn first(&self) -> &[u8] {
        self.iter().next().unwrap_or_default()
    }

    /// All data in one piece: for each record its length in two octets, then its data.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.data
    }

    /// The set of such a piece; `None` where it is none, or holds no record.
    pub(crate) fn from_packed(rtype: Rtype, ttl: u32, packed: &[u8]) -> Option<Self> {
        let (mut count, mut octets) = (0u16, 0);
        for rdata in RdataIter(packed) {
            count = count.checked_add(1)?;
            octets += 2 + rdata.len();
        }
        let whole = count > 0 && octets == packed.len();
        whole.then(|| Self { rtype, ttl, count, data: packed.into(), cursor: AtomicU32::new(0) })
    }

    /// Takes the next turn of a cyclic rotation.
    pub fn next_turn(&self) -> u32 {
        self.cursor.fetch_add(1, Ordering::Relaxed)
    }

    /// Memory in octets, with the part that every set has.
    pub fn octets(&self) -> usize {
        size_of::<Self>() + self.data.len()
    }
}

impl Clone for RrSet {
    fn clone(&self) -> Self {
        Self {
            rtype: self.rtype,
            ttl: self.ttl,
            count: self.count,
            data: self.data.clone(),
            cursor: AtomicU32::new(self.cursor.load(Ordering::Relaxed)),
        }
    }
}

/// Data of the records of a set in stored order.
#[derive(Debug, Clone)]
pub struct RdataIter<'a>(&'a [u8]);

impl<'a> Iterator for RdataIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let (rdata, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.0 = rest;
        Some(rdata)
    }
}

/// Collects the records of a set. Equal records count once (RFC 2181 section 5).
#[derive(Debug)]
pub struct RrSetBuilder {
    rtype: Rtype,
    ttl: u32,
    records: Vec<Vec<u8>>,
}

impl RrSetBuilder {
    pub fn new(rtype: Rtype, ttl: u32) -> Self {
        Self { rtype, ttl, records: Vec::new() }
    }

    /// Begins with the records of a set.
    pub fn of(set: &RrSet) -> Self {
        Self { rtype: set.rtype, ttl: set.ttl, records: set.iter().map(<[u8]>::to_vec).collect() }
    }

    pub fn rtype(&self) -> Rtype {
        self.rtype
    }

    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// A set has one TTL: the least of those given (RFC 2181 section 5.2).
    pub fn lower_ttl(&mut self, ttl: u32) {
        self.ttl = self.ttl.min(ttl);
    }

    /// Gives the whole set another TTL.
    pub fn set_ttl(&mut self, ttl: u32) {
        self.ttl = ttl;
    }

    /// Adds a record's data in uncompressed wire form. False when the set holds it already.
    pub fn push(&mut self, rdata: &[u8]) -> bool {
        if self.records.iter().any(|record| record == rdata) {
            return false;
        }
        if self.records.is_empty() {
            // Most sets have one record, and a zone under way as many sets as names.
            self.records.reserve_exact(1);
        }
        self.records.push(rdata.to_vec());
        true
    }

    /// Takes a record out: the one with this data, else one that differs in the case of letters alone, which names
    /// in the data may. False when there is none.
    pub fn remove(&mut self, rdata: &[u8]) -> bool {
        let exact = self.records.iter().position(|record| record == rdata);
        let found = exact.or_else(|| {
            let with_names = fields(self.rtype).is_some_and(|fields| fields.contains(&Field::Name));
            let mut records = self.records.iter().filter(|_| with_names);
            records.position(|record| record.eq_ignore_ascii_case(rdata))
        });
        found.map(|at| self.records.remove(at)).is_some()
    }

    /// The data of the records so far.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(Vec::as_slice)
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The set; `None` when it is empty or its records are too long or too many for one.
    pub fn build(self) -> Option<RrSet> {
        let count = u16::try_from(self.records.len()).ok().filter(|count| *count > 0)?;
        let mut data = Vec::with_capacity(self.records.iter().map(|record| record.len() + 2).sum());
        for record in &self.records {
            data.extend_from_slice(&u16::try_from(record.len()).ok()?.to_be_bytes());
            data.extend_from_slice(record);
        }
        Some(RrSet { rtype: self.rtype, ttl: self.ttl, count, data: data.into(), cursor: AtomicU32::new(0) })
    }
}
