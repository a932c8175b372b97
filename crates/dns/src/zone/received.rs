//! Zones that came from another server: whole, or as changes to a version that is here.
//!
//! What is checked is what is checked of a zone file, and besides that the data of each record has the form of its
//! type: what another server sends is no better than what stands in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postroad_types::limits::DNS_TTL_S_MAX;

use super::build::Drafts;
use super::parser::{ParsedRecord, Place, ZoneErrors};
use super::{RecordPlace, Zone};
use crate::wire::{Name, Record, Rtype, validate_rdata};

/// What leads from one version to the next (RFC 1995 section 4), each part with its SOA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub removed: Vec<Record>,
    pub added: Vec<Record>,
}

/// Puts records together to a zone whose copy is `file`. `whence` names their origin in errors.
pub fn zone_from_records(
    origin: &Name,
    file: &Path,
    records: impl IntoIterator<Item = Record>,
    whence: &str,
) -> Result<Zone, ZoneErrors> {
    let place = place(whence);
    let mut drafts = Drafts::new(origin);
    for record in records {
        drafts.add(checked(record, &place)?);
        if drafts.is_hopeless() {
            break;
        }
    }
    drafts.finish(file)
}

/// The version that changes make of a zone. What is to go must be there.
pub fn zone_with_changes(
    old: &Zone,
    all_changes: impl IntoIterator<Item = Changes>,
    whence: &str,
) -> Result<Zone, ZoneErrors> {
    let place = place(whence);
    let mut drafts = Drafts::on(old);
    for changes in all_changes {
        for record in changes.removed {
            if !drafts.remove(&record.owner, record.rtype, &record.rdata) {
                let message = format!(
                    "the {} record of {} that is to go is not in the version {} here",
                    record.rtype, record.owner, old.serial
                );
                return Err(ZoneErrors(vec![place.error(message)]));
            }
        }
        for record in changes.added {
            drafts.add(checked(record, &place)?);
            if drafts.is_hopeless() {
                break;
            }
        }
    }
    drafts.finish(&old.file)
}

impl Zone {
    /// This zone without what signing makes.
    pub(crate) fn without_signing(&self) -> Result<Self, ZoneErrors> {
        let mut drafts = Drafts::new(&self.apex);
        let place = place("zone");
        self.walk(&RecordPlace::default(), |node, rrset, rdata| {
            if !matches!(rrset.rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM) {
                let (owner, rdata) = (Name::clone(&node.owner), rdata.to_vec());
                let (rtype, ttl, place) = (rrset.rtype, rrset.ttl, place.clone());
                drafts.add(ParsedRecord { owner, rtype, ttl, rdata, place });
            }
            true
        });
        drafts.finish(&self.file)
    }
}

pub(super) fn place(whence: &str) -> Place {
    Place { file: Arc::new(PathBuf::from(whence)), line: 0, column: 0 }
}

fn checked(record: Record, place: &Place) -> Result<ParsedRecord, ZoneErrors> {
    let Record { owner, rtype, class, ttl, rdata } = record;
    let wrong = |message: String| ZoneErrors(vec![place.error(message)]);
    if class != 1 || rtype.is_meta() || rtype.0 == 0 {
        return Err(wrong(format!(
            "a record of type {rtype} and class {class} at {owner}; no zone holds it"
        )));
    }
    if !validate_rdata(rtype, &rdata) {
        return Err(wrong(format!("the data of the {rtype} record at {owner} is malformed")));
    }
    // RFC 2181 section 8.
    let ttl = if ttl > DNS_TTL_S_MAX { 0 } else { ttl };
    Ok(ParsedRecord { owner, rtype, ttl, rdata, place: place.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::zone_from_text;

    fn records(zone: &Zone) -> Vec<Record> {
        let mut records = Vec::new();
        zone.walk(&RecordPlace::default(), |node, rrset, rdata| {
            let (owner, rdata) = (Name::clone(&node.owner), rdata.to_vec());
            records.push(Record { owner, rtype: rrset.rtype, class: 1, ttl: rrset.ttl, rdata });
            true
        });
        records
    }

    fn zone(text: &str) -> Zone {
        zone_from_text(&"example".parse().unwrap(), &format!("$TTL 60\n{text}")).unwrap()
    }

    const OLD: &str = "@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\na TXT x\nb.c A 192.0.2.2\n";
    const NEW: &str = "@ SOA ns h 2 1 1 1 1\n@ NS ns\nns A 192.0.2.1\na TXT y\nd A 192.0.2.3\n";

    #[test]
    fn a_zone_comes_out_as_it_went_in() {
        let zone = zone(OLD);
        let again = zone_from_records(zone.apex(), Path::new("copy"), records(&zone), "x").unwrap();
        assert_eq!(records(&again), records(&zone));
        assert_eq!((again.serial(), again.records(), again.file()), (1, 5, Path::new("copy")));
    }

    #[test]
    fn changes_lead_to_the_next_version_or_are_refused() {
        let (old, new) = (zone(OLD), zone(NEW));
        let only = |left: &Zone, right: &Zone| {
            let right = records(right);
            records(left).into_iter().filter(|record| !right.contains(record)).collect::<Vec<_>>()
        };
        let mut changes = Changes { removed: only(&old, &new), added: only(&new, &old) };
        let next = zone_with_changes(&old, [changes.clone()], "x").unwrap();
        assert_eq!(records(&next), records(&new));
        // Names in data may come in another case than they are stored in.
        changes.removed[0].rdata.make_ascii_uppercase();
        assert_eq!(changes.removed[0].rtype, Rtype::SOA);
        assert!(zone_with_changes(&old, [changes.clone()], "x").is_ok());
        let twice = zone_with_changes(&old, [changes.clone(), changes], "x").unwrap_err().to_string();
        assert!(twice.starts_with("x: the SOA record of example. that is to go is not in"), "{twice}");
    }

    #[test]
    fn what_no_zone_may_hold_is_refused_from_servers_too() {
        let zone = zone(OLD);
        let with = |owner: &str, rtype: Rtype, class: u16, rdata: &[u8]| {
            let owner = owner.parse().unwrap();
            let extra = Record { owner, rtype, class, ttl: 1, rdata: rdata.to_vec() };
            let records = records(&zone).into_iter().chain([extra]);
            zone_from_records(zone.apex(), Path::new(""), records, "x").unwrap_err().to_string()
        };
        assert!(with("other", Rtype::A, 1, &[1; 4]).contains("outside the zone"));
        assert!(with("a.example", Rtype::A, 1, &[1; 3]).contains("malformed"));
        assert!(with("a.example", Rtype::A, 3, &[1; 4]).contains("class 3"));
        assert!(with("a.example", Rtype::TSIG, 1, &[1; 4]).contains("TSIG"));
        assert!(with("a.example", Rtype::CNAME, 1, b"\x01x\x00").contains("beside a CNAME"));
        assert!(zone_from_records(zone.apex(), Path::new(""), [], "x").is_err());
    }
}
