//! Changes that others ask for (dynamic update, RFC 2136): what must hold, what is to be done, and the zone that comes of
//! it. Nothing is done unless all of it can be.
//!
//! A response code says why not, as RFC 2136 section 2.2 has them. The serial rises by one if the update does not set a
//! higher one itself. What comes of it is checked as a whole zone is, so an update cannot make a zone that a file could
//! not hold.

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;

use super::build::Drafts;
use super::parser::ParsedRecord;
use super::received::place;
use super::serial::is_newer;
use super::{Zone, ZoneErrors};
use crate::serve::rcode;
use crate::wire::{Name, OPCODE_UPDATE, Reader, Record, Rtype, validate_rdata};

const CLASS_IN: u16 = 1;
const CLASS_NONE: u16 = 254;
const CLASS_ANY: u16 = 255;

/// An update as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub zone: Name,
    prerequisites: Vec<Record>,
    changes: Vec<Record>,
}

impl Update {
    /// Reads a request. The error is a response code.
    pub fn parse(request: &[u8]) -> Result<Self, u16> {
        Self::read(request).ok_or(rcode::FORMERR)
    }

    fn read(request: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(request).ok()?;
        let [zones, prerequisites, changes, _] = reader.header().counts;
        let (zone, rtype, _) = reader.question().ok()?;
        if zones != 1 || rtype != Rtype::SOA || reader.header().opcode() != OPCODE_UPDATE {
            return None;
        }
        let mut records = |count: u16| (0..count).map(|_| reader.record().ok()).collect::<Option<Vec<_>>>();
        Some(Self { zone, prerequisites: records(prerequisites)?, changes: records(changes)? })
    }

    /// The zone with the update done; `None` if it changes nothing. The error is a response code.
    pub fn apply(&self, zone: &Zone) -> Result<Option<Zone>, u16> {
        self.check_prerequisites(zone)?;
        self.check_changes(zone)?;
        let mut work = Work::new(zone);
        for record in &self.changes {
            work.change(record);
        }
        if !work.changed {
            return Ok(None);
        }
        if !work.soa_set {
            work.raise_serial(zone).ok_or(rcode::SERVFAIL)?;
        }
        work.drafts.finish(&zone.file).map(Some).map_err(|errors| {
            info!(zone = %zone.apex, "an update was refused, it would make no zone: {errors}");
            rcode::REFUSED
        })
    }

    /// RFC 2136 section 3.2.
    fn check_prerequisites(&self, zone: &Zone) -> Result<(), u16> {
        let mut wanted: BTreeMap<(&Name, Rtype), BTreeSet<Vec<u8>>> = BTreeMap::new();
        for record in &self.prerequisites {
            if record.ttl != 0 {
                return Err(rcode::FORMERR);
            }
            if !record.owner.is_at_or_below(&zone.apex) {
                return Err(rcode::NOTZONE);
            }
            let node = zone.glue(&record.owner.key()).filter(|node| !node.is_empty());
            let holds = match record.rtype {
                Rtype::ANY => node.is_some(),
                rtype => node.is_some_and(|node| node.rrset(rtype).is_some()),
            };
            let whole_name = record.rtype == Rtype::ANY;
            match (record.class, record.rdata.is_empty()) {
                (CLASS_ANY, true) if holds => {}
                (CLASS_ANY, true) => return Err(if whole_name { rcode::NXDOMAIN } else { rcode::NXRRSET }),
                (CLASS_NONE, true) if !holds => {}
                (CLASS_NONE, true) => return Err(if whole_name { rcode::YXDOMAIN } else { rcode::YXRRSET }),
                (CLASS_IN, _) if !record.rtype.is_meta() && validate_rdata(record.rtype, &record.rdata) => {
                    wanted.entry((&record.owner, record.rtype)).or_default().insert(folded(&record.rdata));
                }
                _ => return Err(rcode::FORMERR),
            }
        }
        for ((owner, rtype), records) in wanted {
            let set = zone.glue(&owner.key()).and_then(|node| node.rrset(rtype));
            let present: BTreeSet<Vec<u8>> = set.into_iter().flat_map(|set| set.iter().map(folded)).collect();
            if present != records {
                return Err(rcode::NXRRSET);
            }
        }
        Ok(())
    }

    /// RFC 2136 section 3.4.1: before anything is changed.
    fn check_changes(&self, zone: &Zone) -> Result<(), u16> {
        for record in &self.changes {
            if !record.owner.is_at_or_below(&zone.apex) {
                return Err(rcode::NOTZONE);
            }
            let data = !record.rtype.is_meta() && record.rtype.0 != 0;
            let valid = data && validate_rdata(record.rtype, &record.rdata);
            let right = match record.class {
                CLASS_IN => valid,
                CLASS_NONE => valid && record.ttl == 0,
                CLASS_ANY => {
                    (data || record.rtype == Rtype::ANY) && record.ttl == 0 && record.rdata.is_empty()
                }
                _ => false,
            };
            if !right {
                return Err(rcode::FORMERR);
            }
        }
        Ok(())
    }
}

/// Data for comparison: names in it may differ in case. That two texts might, too, does no harm in a prerequisite.
fn folded(rdata: &[u8]) -> Vec<u8> {
    rdata.to_ascii_lowercase()
}

/// The zone while it is changed (RFC 2136 section 3.4.2).
pub(super) struct Work<'z> {
    zone: &'z Zone,
    drafts: Drafts<'z>,
    changed: bool,
    soa_set: bool,
}

impl<'z> Work<'z> {
    pub(super) fn new(zone: &'z Zone) -> Self {
        Self { zone, drafts: Drafts::on(zone), changed: false, soa_set: false }
    }

    /// Whether a record is there, with this TTL.
    pub(super) fn holds(&mut self, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) -> bool {
        self.drafts.holds(owner, rtype, ttl, rdata)
    }

    /// Takes a record out, whichever it is; false if it is not there.
    pub(super) fn take_out(&mut self, record: &Record) -> bool {
        self.drafts.remove(&record.owner, record.rtype, &record.rdata)
    }

    /// Puts a record in; false if it is passed over.
    pub(super) fn put_in(&mut self, record: &Record) -> bool {
        self.changed = false;
        self.add(record, record.owner == self.zone.apex);
        self.changed
    }

    /// The zone that comes of it, with a newer serial.
    pub(super) fn into_zone(mut self) -> Result<Zone, ZoneErrors> {
        if !self.soa_set && self.raise_serial(self.zone).is_none() {
            return Err(ZoneErrors(vec![place("zone").error("it has no SOA")]));
        }
        self.drafts.finish(&self.zone.file)
    }

    fn change(&mut self, record: &Record) {
        let (owner, rtype) = (&record.owner, record.rtype);
        let at_apex = *owner == self.zone.apex;
        let kept = |rtype: Rtype| at_apex && matches!(rtype, Rtype::SOA | Rtype::NS);
        match record.class {
            CLASS_ANY if rtype == Rtype::ANY => {
                for rtype in self.drafts.types(owner) {
                    if !kept(rtype) {
                        self.changed |= self.drafts.remove_set(owner, rtype);
                    }
                }
            }
            CLASS_ANY if !kept(rtype) => self.changed |= self.drafts.remove_set(owner, rtype),
            CLASS_NONE => {
                let last_server = at_apex && rtype == Rtype::NS && self.drafts.count(owner, rtype) <= 1;
                if rtype != Rtype::SOA && !last_server {
                    self.changed |= self.drafts.remove(owner, rtype, &record.rdata);
                }
            }
            CLASS_IN => self.add(record, at_apex),
            _ => {}
        }
    }

    fn add(&mut self, record: &Record, at_apex: bool) {
        let (owner, rtype) = (&record.owner, record.rtype);
        let types = self.drafts.types(owner);
        let others = types.iter().any(|other| *other != Rtype::CNAME);
        match rtype {
            Rtype::SOA => {
                let present = self.zone.serial;
                let serial = record.rdata.last_chunk::<20>().and_then(|numbers| numbers.first_chunk::<4>());
                let serial = serial.map_or(present, |serial| u32::from_be_bytes(*serial));
                if !at_apex || !is_newer(serial, present) {
                    return;
                }
                self.soa_set = true;
                self.drafts.remove_set(owner, rtype);
            }
            // Nothing stands beside an alias, and an alias beside nothing: such an addition is passed over.
            Rtype::CNAME if others => return,
            Rtype::CNAME | Rtype::DNAME => {
                if self.drafts.holds(owner, rtype, record.ttl, &record.rdata) {
                    return;
                }
                self.drafts.remove_set(owner, rtype);
            }
            _ if types.contains(&Rtype::CNAME) => return,
            _ => {
                if self.drafts.holds(owner, rtype, record.ttl, &record.rdata) {
                    return;
                }
                self.drafts.set_ttl(owner, rtype, record.ttl);
            }
        }
        self.put(owner.clone(), rtype, record.ttl, record.rdata.clone());
        self.changed = true;
    }

    fn put(&mut self, owner: Name, rtype: Rtype, ttl: u32, rdata: Vec<u8>) {
        let ttl = if ttl > postroad_types::limits::DNS_TTL_S_MAX { 0 } else { ttl };
        self.drafts.add(ParsedRecord { owner, rtype, ttl, rdata, place: place("update") });
    }

    fn raise_serial(&mut self, zone: &Zone) -> Option<()> {
        let soa = zone.soa()?;
        let mut rdata = soa.first().to_vec();
        let at = rdata.len().checked_sub(20)?;
        let place = rdata.get_mut(at..)?.first_chunk_mut::<4>()?;
        // 0 means "not set" to some servers.
        let next = zone.serial.wrapping_add(1).max(1);
        *place = next.to_be_bytes();
        self.drafts.remove_set(&zone.apex, Rtype::SOA);
        self.put(zone.apex.clone(), Rtype::SOA, soa.ttl, rdata);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{display_rdata, question_only};
    use crate::zone::{RecordPlace, zone_from_text};

    const ZONE: &str = "$TTL 60\n@ SOA ns h 7 1 1 1 1\n@ NS ns\n@ TXT apex\nns A 192.0.2.1\na A 192.0.2.2\na A 192.0.2.3\na MX 1 Mail\nc CNAME a\n";

    fn zone() -> Zone {
        zone_from_text(&"example".parse().unwrap(), ZONE).unwrap()
    }

    fn record(owner: &str, class: u16, rtype: Rtype, ttl: u32, rdata: &[u8]) -> Record {
        Record { owner: owner.parse().unwrap(), rtype, class, ttl, rdata: rdata.to_vec() }
    }

    fn run(prerequisites: &[Record], changes: &[Record]) -> Result<Option<Vec<String>>, u16> {
        let update = Update {
            zone: "example".parse().unwrap(),
            prerequisites: prerequisites.to_vec(),
            changes: changes.to_vec(),
        };
        let zone = update.apply(&zone())?;
        Ok(zone.map(|zone| {
            let mut lines = vec![format!("serial {}", zone.serial())];
            zone.walk(&RecordPlace::default(), |node, rrset, rdata| {
                let data = display_rdata(rrset.rtype, rdata);
                lines.push(format!("{} {} {} {data}", node.owner, rrset.ttl, rrset.rtype));
                true
            });
            lines
        }))
    }

    fn has(lines: &Result<Option<Vec<String>>, u16>, line: &str) -> bool {
        lines.as_ref().unwrap().as_ref().unwrap().iter().any(|other| other == line)
    }

    #[test]
    fn prerequisites_decide_and_say_by_their_code_what_is_not_so() {
        let code = |class, rtype, owner: &str, rdata: &[u8]| {
            run(&[record(owner, class, rtype, 0, rdata)], &[]).map(|zone| assert!(zone.is_none()))
        };
        assert_eq!(code(CLASS_ANY, Rtype::ANY, "a.example", b""), Ok(()));
        assert_eq!(code(CLASS_ANY, Rtype::ANY, "x.example", b""), Err(rcode::NXDOMAIN));
        assert_eq!(code(CLASS_ANY, Rtype::AAAA, "a.example", b""), Err(rcode::NXRRSET));
        assert_eq!(code(CLASS_NONE, Rtype::ANY, "a.example", b""), Err(rcode::YXDOMAIN));
        assert_eq!(code(CLASS_NONE, Rtype::A, "a.example", b""), Err(rcode::YXRRSET));
        assert_eq!(code(CLASS_NONE, Rtype::AAAA, "a.example", b""), Ok(()));
        assert_eq!(code(CLASS_IN, Rtype::A, "a.example", &[192, 0, 2, 2]), Err(rcode::NXRRSET));
        assert_eq!(code(CLASS_IN, Rtype::MX, "A.example", b"\x00\x01\x04mail\x07example\x00"), Ok(()));
        assert_eq!(code(CLASS_IN, Rtype::A, "a.other", &[1; 4]), Err(rcode::NOTZONE));
        assert_eq!(code(3, Rtype::A, "a.example", &[1; 4]), Err(rcode::FORMERR));
        assert_eq!(code(CLASS_ANY, Rtype::A, "a.example", &[1; 4]), Err(rcode::FORMERR));
    }

    #[test]
    fn records_come_and_go_and_the_serial_rises() {
        let added = run(&[], &[record("new.example", CLASS_IN, Rtype::A, 30, &[192, 0, 2, 9])]);
        assert!(has(&added, "new.example. 30 A 192.0.2.9") && has(&added, "serial 8"));
        let other_ttl = run(&[], &[record("a.example", CLASS_IN, Rtype::A, 600, &[192, 0, 2, 2])]);
        assert!(
            has(&other_ttl, "a.example. 600 A 192.0.2.2") && has(&other_ttl, "a.example. 600 A 192.0.2.3")
        );
        let one = run(&[], &[record("a.example", CLASS_NONE, Rtype::A, 0, &[192, 0, 2, 2])]);
        assert!(!has(&one, "a.example. 60 A 192.0.2.2") && has(&one, "a.example. 60 A 192.0.2.3"));
        let name = run(&[], &[record("a.example", CLASS_ANY, Rtype::ANY, 0, b"")]);
        assert!(!has(&name, "a.example. 60 A 192.0.2.3") && !has(&name, "a.example. 60 MX 1 Mail.example."));
        let apex = run(&[], &[record("example", CLASS_ANY, Rtype::ANY, 0, b"")]);
        assert!(has(&apex, "example. 60 NS ns.example.") && !has(&apex, "example. 60 TXT \"apex\""));
        let mut soa = zone().soa().unwrap().first().to_vec();
        let at = soa.len() - 17;
        soa[at] = 99;
        let higher = run(&[], &[record("example", CLASS_IN, Rtype::SOA, 60, &soa)]);
        assert!(has(&higher, "serial 99"));
    }

    #[test]
    fn what_changes_nothing_or_may_not_be_is_passed_over() {
        for change in [
            record("a.example", CLASS_IN, Rtype::A, 60, &[192, 0, 2, 2]),
            record("a.example", CLASS_IN, Rtype::CNAME, 60, b"\x01x\x00"),
            record("c.example", CLASS_IN, Rtype::A, 60, &[1; 4]),
            record("example", CLASS_NONE, Rtype::NS, 0, b"\x02ns\x07example\x00"),
            record("example", CLASS_ANY, Rtype::NS, 0, b""),
            record("example", CLASS_NONE, Rtype::SOA, 0, zone().soa().unwrap().first()),
            record("example", CLASS_IN, Rtype::SOA, 60, zone().soa().unwrap().first()),
            record("x.example", CLASS_ANY, Rtype::A, 0, b""),
        ] {
            assert_eq!(run(&[], std::slice::from_ref(&change)), Ok(None), "{change:?}");
        }
    }

    #[test]
    fn all_or_nothing() {
        let good = record("new.example", CLASS_IN, Rtype::A, 30, &[192, 0, 2, 9]);
        for (wrong, code) in [
            (record("new.other", CLASS_IN, Rtype::A, 30, &[1; 4]), rcode::NOTZONE),
            (record("new.example", CLASS_IN, Rtype::A, 30, &[1; 3]), rcode::FORMERR),
            (record("new.example", CLASS_IN, Rtype::ANY, 30, b""), rcode::FORMERR),
            (record("new.example", CLASS_ANY, Rtype::A, 30, b""), rcode::FORMERR),
            (record("new.example", 3, Rtype::A, 30, &[1; 4]), rcode::FORMERR),
            (record("example", CLASS_IN, Rtype::DNAME, 30, b"\x01x\x00"), rcode::REFUSED),
        ] {
            assert_eq!(run(&[], &[good.clone(), wrong.clone()]), Err(code), "{wrong:?}");
        }
    }

    #[test]
    fn a_request_is_read_and_rubbish_is_not() {
        let origin: Name = "example".parse().unwrap();
        let mut message = question_only(7, OPCODE_UPDATE, &origin, Rtype::SOA);
        message[9] = 1;
        message
            .extend_from_slice(b"\x01n\xc0\x0c\x00\x0f\x00\xfe\x00\x00\x00\x00\x00\x06\x00\x0a\x01m\xc0\x0c");
        let update = Update::parse(&message).unwrap();
        assert_eq!(
            update.changes,
            [record("n.example", CLASS_NONE, Rtype::MX, 0, b"\x00\x0a\x01m\x07example\x00")]
        );
        for length in 12..message.len() {
            assert_eq!(Update::parse(&message[..length]), Err(rcode::FORMERR), "{length}");
        }
        message[9] = 2;
        assert_eq!(Update::parse(&message), Err(rcode::FORMERR));
    }
}
