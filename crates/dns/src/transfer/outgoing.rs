//! A zone, or what has changed in it, as a stream of records that fill one message after the other.
//!
//! - Whole (RFC 5936 section 2.2): the SOA, all other records, the SOA again.
//! - Differences (RFC 1995 section 4): the new SOA; for each version the old SOA with what went, the next SOA with what
//!   came; the new SOA again.
//! - Nothing new (RFC 1995 section 2): the SOA alone.
//!
//! Nothing is copied: the records are read from the zone, or from its history, as messages have room.

use std::sync::Arc;

use crate::wire::{Rtype, Writer};
use crate::zone::serial::is_newer;
use crate::zone::{Delta, RecordPlace, Zone};

/// The records of one transfer that are still to be sent.
#[derive(Debug)]
pub struct Outgoing {
    zone: Arc<Zone>,
    deltas: Vec<Arc<Delta>>,
    next: Next,
    kind: Kind,
}

/// What a transfer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Whole,
    Differences,
    SoaAlone,
}

#[derive(Debug)]
enum Next {
    FirstSoa,
    Record(RecordPlace),
    /// The change with this number of this delta, what went and what came counted through.
    Change(usize, usize),
    LastSoa,
    Nothing,
}

/// Where a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// The next record has no room in it.
    Full,
    /// It holds the last record.
    Done,
}

impl Outgoing {
    /// The whole zone.
    pub fn whole(zone: Arc<Zone>) -> Self {
        Self { zone, deltas: Vec::new(), next: Next::FirstSoa, kind: Kind::Whole }
    }

    /// The SOA alone.
    pub fn soa_alone(zone: Arc<Zone>) -> Self {
        Self { zone, deltas: Vec::new(), next: Next::LastSoa, kind: Kind::SoaAlone }
    }

    /// What someone with the version `serial` needs: the differences if they are kept and no more than the zone itself,
    /// else the whole zone; the SOA alone if nothing is newer here.
    pub fn since(zone: Arc<Zone>, serial: u32) -> Self {
        if !is_newer(zone.serial(), serial) {
            return Self::soa_alone(zone);
        }
        let changes = |deltas: &[Arc<Delta>]| -> u64 {
            deltas.iter().map(|delta| (delta.removed.len() + delta.added.len()) as u64).sum()
        };
        let kept = zone.history().since(serial).filter(|deltas| changes(deltas) <= zone.records());
        match kept.map(<[_]>::to_vec) {
            Some(deltas) => Self { zone, deltas, next: Next::FirstSoa, kind: Kind::Differences },
            None => Self::whole(zone),
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }

    /// Writes as many records as fit.
    pub fn fill(&mut self, writer: &mut Writer<'_>) -> Filled {
        loop {
            match &mut self.next {
                Next::FirstSoa => {
                    if !soa(&self.zone, writer) {
                        return Filled::Full;
                    }
                    self.next = match self.kind {
                        Kind::Differences => Next::Change(0, 0),
                        _ => Next::Record(RecordPlace::default()),
                    };
                }
                Next::Record(place) => {
                    let stopped = self.zone.walk(place, |node, rrset, rdata| {
                        rrset.rtype == Rtype::SOA
                            || writer.transferred(node.owner.as_wire(), rrset.rtype, rrset.ttl, rdata)
                    });
                    if let Some(stopped) = stopped {
                        *place = stopped;
                        return Filled::Full;
                    }
                    self.next = Next::LastSoa;
                }
                Next::Change(delta, change) => {
                    let Some(changes) = self.deltas.get(*delta) else {
                        self.next = Next::LastSoa;
                        continue;
                    };
                    for record in changes.removed.iter().chain(&changes.added).skip(*change) {
                        let owner = record.owner.as_wire();
                        if !writer.transferred(owner, record.rtype, record.ttl, &record.rdata) {
                            return Filled::Full;
                        }
                        *change += 1;
                    }
                    self.next = Next::Change(*delta + 1, 0);
                }
                Next::LastSoa => {
                    if !soa(&self.zone, writer) {
                        return Filled::Full;
                    }
                    self.next = Next::Nothing;
                }
                Next::Nothing => return Filled::Done,
            }
        }
    }
}

fn soa(zone: &Zone, writer: &mut Writer<'_>) -> bool {
    let Some(soa) = zone.soa() else { return true };
    writer.transferred(zone.apex().as_wire(), Rtype::SOA, soa.ttl, soa.first())
}
