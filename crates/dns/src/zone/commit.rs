//! Changes that are pushed to a zone as a whole: records to go and to come, based on a version that the sender has seen.
//!
//! Other than a dynamic update ([`super::update`]) nothing is passed over in silence: a record to go must be there, one
//! to come must be able to stand, and the zone must be at the serial that the sender knows, if it says one.

use std::io;
use std::path::Path;

use postroad_types::limits::DNS_COMMIT_RECORDS_MAX;

use super::parser::{ZoneErrors, parse};
use super::update::Work;
use super::{Delta, Zone, zone_from_text};
use crate::wire::{Name, Record, Rtype};

const CLASS_IN: u16 = 1;

/// Why a zone is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    #[error("{0} records; expected {DNS_COMMIT_RECORDS_MAX} at most, or load the zone as a whole")]
    TooMany(usize),
    #[error("{record:?}: {why}")]
    Record { record: String, why: String },
    #[error("the zone {zone} is at serial {present} and not {expected}; read it again and begin anew")]
    Stale { zone: Name, present: u32, expected: u32 },
    #[error("there is no {rtype} record of {owner} with this data; expected one that is there")]
    NotThere { owner: Name, rtype: Rtype },
    #[error("the {rtype} record of {owner} cannot stand beside what is there, or its serial is not newer")]
    Clash { owner: Name, rtype: Rtype },
    #[error("the serial {given} is not newer than {present}, and the zone differs; raise it")]
    NotNewer { given: u32, present: u32 },
    #[error("no zone would come of it: {0}")]
    NoZone(ZoneErrors),
}

/// Records that go and come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The serial that the zone must have.
    pub expected: Option<u32>,
    pub remove: Vec<Record>,
    pub add: Vec<Record>,
}

impl Commit {
    /// Reads records in presentation format (RFC 1035 section 5.1), names relative to `origin`. One that comes needs a
    /// TTL; of one that goes it does not matter.
    pub fn read(
        origin: &Name,
        expected: Option<u32>,
        remove: &[String],
        add: &[String],
    ) -> Result<Self, CommitError> {
        let count = remove.len() + add.len();
        if count > DNS_COMMIT_RECORDS_MAX {
            return Err(CommitError::TooMany(count));
        }
        let goes = remove.iter().map(|text| record(origin, text, "$TTL 0\n")).collect::<Result<_, _>>()?;
        let comes = add.iter().map(|text| record(origin, text, "")).collect::<Result<_, _>>()?;
        Ok(Self { expected, remove: goes, add: comes })
    }

    /// All names that are concerned.
    pub fn owners(&self) -> impl Iterator<Item = &Name> {
        self.remove.iter().chain(&self.add).map(|record| &record.owner)
    }

    /// The zone with the changes made, its serial raised by one unless a newer SOA is among them; `None` if nothing
    /// changes.
    pub fn apply(&self, zone: &Zone) -> Result<Option<Zone>, CommitError> {
        check_serial(zone, self.expected)?;
        let mut work = Work::new(zone);
        let mut changed = false;
        for record in &self.remove {
            let Record { owner, rtype, rdata, .. } = record;
            // Differences name the old SOA; it goes when another comes.
            let is_soa = *rtype == Rtype::SOA && zone.soa().is_some_and(|soa| soa.first() == rdata);
            if !is_soa && (*rtype == Rtype::SOA || !work.take_out(record)) {
                return Err(CommitError::NotThere { owner: owner.clone(), rtype: *rtype });
            }
            changed |= !is_soa;
        }
        for record in &self.add {
            let Record { owner, rtype, ttl, rdata, .. } = record;
            if work.holds(owner, *rtype, *ttl, rdata) {
                continue;
            }
            if !work.put_in(record) {
                return Err(CommitError::Clash { owner: owner.clone(), rtype: *rtype });
            }
            changed = true;
        }
        if !changed {
            return Ok(None);
        }
        work.into_zone().map(Some).map_err(CommitError::NoZone)
    }
}

/// One record of a text.
fn record(origin: &Name, text: &str, before: &str) -> Result<Record, CommitError> {
    let wrong = |why: &str| CommitError::Record { record: text.to_owned(), why: why.to_owned() };
    if text.trim_start().starts_with('$') || text.starts_with([' ', '\t']) {
        return Err(wrong("expected a record that begins with its owner"));
    }
    let refuse = |_: &Path| Err(io::ErrorKind::Unsupported.into());
    let whole = format!("{before}{text}\n");
    let (mut found, mut records) = (Vec::new(), 0);
    let errors = parse(whole.as_bytes(), Path::new(""), origin, &refuse, &mut |record| {
        records += 1;
        found.push(record);
        found.truncate(1);
    });
    if let Some(error) = errors.first() {
        return Err(wrong(&error.message));
    }
    let Some(record) = found.pop().filter(|_| records == 1) else {
        return Err(wrong("expected exactly one record"));
    };
    if !record.owner.is_at_or_below(origin) {
        return Err(wrong(&format!("outside the zone {origin}; expected a name in it")));
    }
    if record.rtype.is_meta() {
        return Err(wrong("no zone holds such a record"));
    }
    let (owner, rtype, ttl, rdata) = (record.owner, record.rtype, record.ttl, record.rdata);
    Ok(Record { owner, rtype, class: CLASS_IN, ttl, rdata })
}

fn check_serial(zone: &Zone, expected: Option<u32>) -> Result<(), CommitError> {
    match expected.filter(|expected| *expected != zone.serial) {
        Some(expected) => Err(CommitError::Stale { zone: zone.apex.clone(), present: zone.serial, expected }),
        None => Ok(()),
    }
}

/// The version of `zone` that a whole text is; `None` if it is the present one. Its serial must be newer, and the
/// present one the one expected, if one is.
pub fn zone_replaced(zone: &Zone, text: &str, expected: Option<u32>) -> Result<Option<Zone>, CommitError> {
    check_serial(zone, expected)?;
    let mut new = zone_from_text(&zone.apex, text).map_err(CommitError::NoZone)?;
    if super::delta::is_same(zone, &new) {
        return Ok(None);
    }
    if zone.available && !super::serial::is_newer(new.serial, zone.serial) {
        return Err(CommitError::NotNewer { given: new.serial, present: zone.serial });
    }
    new.file.clone_from(&zone.file);
    Ok(Some(new))
}

/// What leads from one version to another; `None` if that would take more than `octets` of memory.
pub fn difference(old: &Zone, new: &Zone, octets: usize) -> Option<Delta> {
    Delta::between(old, new, octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::display_rdata;

    const TEXT: &str = "$TTL 60\n@ SOA ns h 7 1 1 1 1\n@ NS ns\nns A 192.0.2.1\na A 192.0.2.2\nc CNAME a\n";

    fn zone() -> Zone {
        zone_from_text(&"example".parse().unwrap(), TEXT).unwrap()
    }

    fn run(expected: Option<u32>, remove: &[&str], add: &[&str]) -> Result<Option<Vec<String>>, String> {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let zone = zone();
        let commit = Commit::read(zone.apex(), expected, &strings(remove), &strings(add));
        let new = commit.and_then(|commit| commit.apply(&zone)).map_err(|error| error.to_string())?;
        let shown = |new: Zone| {
            let delta = difference(&zone, &new, 1 << 20).unwrap();
            let show = |sign: &str, list: &[super::super::Change]| {
                let line = |c: &super::super::Change| {
                    format!("{sign}{} {} {} {}", c.owner, c.ttl, c.rtype, display_rdata(c.rtype, &c.rdata))
                };
                list.iter().skip(1).map(line).collect::<Vec<_>>()
            };
            assert!(new.serial() > 7);
            [show("-", &delta.removed), show("+", &delta.added)].concat()
        };
        Ok(new.map(shown))
    }

    #[test]
    fn records_go_and_come_at_once_or_not_at_all() {
        let changed =
            run(Some(7), &["a A 192.0.2.2"], &["a 30 A 192.0.2.3", "_x.b.example. 5 IN TXT \"a b\" c"]);
        let expected = [
            "-a.example. 60 A 192.0.2.2",
            "+a.example. 30 A 192.0.2.3",
            "+_x.b.example. 5 TXT \"a b\" \"c\"",
        ];
        assert_eq!(changed.unwrap().unwrap(), expected);
        let server = run(None, &["@ NS ns", "c CNAME a"], &["@ 60 NS a", "c 60 A 192.0.2.5"]).unwrap();
        assert_eq!(server.unwrap().len(), 4);
        assert_eq!(run(None, &[], &["a 60 A 192.0.2.2"]), Ok(None), "it is there");
        let other_ttl = run(None, &[], &["a 61 A 192.0.2.2"]).unwrap().unwrap();
        assert_eq!(other_ttl, ["-a.example. 60 A 192.0.2.2", "+a.example. 61 A 192.0.2.2"]);
        let soa = run(None, &["@ SOA ns h 7 1 1 1 1"], &["@ 60 SOA ns h 20 1 1 1 1"]).unwrap();
        assert_eq!(soa, Some(vec![]));
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (expected, remove, add, message) in [
            (Some(6), &[][..], &["x 1 A 192.0.2.1"][..], "is at serial 7 and not 6"),
            (None, &["a A 192.0.2.9"], &[], "there is no A record of a.example."),
            (None, &["@ NS ns2"], &[], "there is no NS record"),
            (None, &["@ NS ns"], &[], "has no NS record at its own name"),
            (None, &["@ SOA ns h 6 1 1 1 1"], &[], "there is no SOA record"),
            (None, &[], &["@ 60 SOA ns h 6 1 1 1 1"], "serial is not newer"),
            (None, &[], &["c 1 A 192.0.2.1"], "cannot stand beside"),
            (None, &[], &["a 1 CNAME c"], "cannot stand beside"),
            (None, &[], &["x A 192.0.2.1"], "TTL"),
            (None, &[], &["x 1 A 192.0.2.256"], "\"x 1 A 192.0.2.256\": "),
            (None, &[], &["x.test. 1 A 192.0.2.1"], "outside the zone"),
            (None, &[], &["x 1 A 192.0.2.1\ny 1 A 192.0.2.1"], "exactly one"),
            (None, &[], &["; nothing"], "exactly one"),
            (None, &[], &["$INCLUDE /etc/passwd"], "begins with its owner"),
            (None, &[], &[" 1 A 192.0.2.1"], "begins with its owner"),
            (None, &[], &["@ 1 DNAME x."], "below"),
        ] {
            let error = run(expected, remove, add).unwrap_err();
            assert!(error.contains(message), "{add:?} {remove:?}: {error}");
        }
        let many = vec!["x 1 A 192.0.2.1".to_owned(); DNS_COMMIT_RECORDS_MAX + 1];
        let error = Commit::read(zone().apex(), None, &[], &many).unwrap_err();
        assert_eq!(error, CommitError::TooMany(DNS_COMMIT_RECORDS_MAX + 1));
    }

    #[test]
    fn a_whole_text_is_the_next_version_if_its_serial_is_newer() {
        let zone = zone();
        assert!(zone_replaced(&zone, TEXT, Some(7)).unwrap().is_none());
        let longer = format!("{TEXT}d A 192.0.2.4\n");
        assert_eq!(
            zone_replaced(&zone, &longer, None).unwrap_err(),
            CommitError::NotNewer { given: 7, present: 7 }
        );
        let newer = longer.replace(" 7 1", " 8 1");
        assert_eq!(zone_replaced(&zone, &newer, None).unwrap().unwrap().records(), 6);
        assert!(matches!(zone_replaced(&zone, &newer, Some(8)), Err(CommitError::Stale { .. })));
        assert!(matches!(zone_replaced(&zone, "x", None), Err(CommitError::NoZone(_))));
    }
}
