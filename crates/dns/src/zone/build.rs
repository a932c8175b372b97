//! Makes a zone of records and refuses what no zone may hold: one SOA at the apex and NS beside it, nothing outside
//! the zone, nothing beside a CNAME (RFC 1034 section 3.6.2), nothing below a DNAME (RFC 6672 section 2.4).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use postroad_types::limits::{DNS_ZONE_ERRORS_MAX, DNS_ZONE_FILE_OCTETS_MAX, DNS_ZONE_RRSET_RECORDS_MAX};

use super::Zone;
use super::check::Draftings;
use super::draft::{Draft, SetKey};
use super::grow::{changes, nodes};
use super::ordered::NodeChanges;
use super::parser::{ParsedRecord, ZoneError, ZoneErrors, parse};
use crate::dnssec::hashed::hash_of_owner;
use crate::wire::{Name, RrSetBuilder, Rtype};

/// Reads a zone from its file.
pub fn load_zone_file(origin: &Name, file: &Path) -> Result<Zone, ZoneErrors> {
    // Before it is read: who writes it meanwhile is noticed later.
    let time = file.metadata().and_then(|file| file.modified()).ok();
    let text = read_file(file).map_err(|error| {
        ZoneErrors(vec![ZoneError {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: format!("cannot read the file of zone {origin}: {error}"),
        }])
    })?;
    let mut zone = build(origin, &text, file, &read_file)?;
    zone.file_time = time;
    Ok(zone)
}

/// Makes a zone of a text that stands in no file; `$INCLUDE` is refused.
pub fn zone_from_text(origin: &Name, text: &str) -> Result<Zone, ZoneErrors> {
    let refuse = |_: &Path| Err(io::Error::new(io::ErrorKind::Unsupported, "$INCLUDE needs a zone file"));
    build(origin, text.as_bytes(), Path::new(""), &refuse)
}

/// Number of records of a zone text, or what is wrong with it.
pub fn check_zone_text(origin: &Name, text: &str) -> Result<u64, ZoneErrors> {
    zone_from_text(origin, text).map(|zone| zone.records())
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(DNS_ZONE_FILE_OCTETS_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > DNS_ZONE_FILE_OCTETS_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than a zone file may be"));
    }
    Ok(text)
}

/// The records of a zone while it is put together.
pub(super) struct Drafts<'z> {
    origin: Name,
    apex_octets: usize,
    /// What is not among the names is as in this zone.
    base: Option<&'z Zone>,
    /// Without sets: those that went.
    names: BTreeMap<Box<[u8]>, Draft>,
    errors: Vec<ZoneError>,
}

fn build(
    origin: &Name,
    text: &[u8],
    file: &Path,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Zone, ZoneErrors> {
    let mut drafts = Drafts::new(origin);
    let mut errors = parse(text, file, origin, read_file, &mut |record| drafts.add(record));
    errors.append(&mut drafts.errors);
    drafts.errors = errors;
    drafts.finish(file)
}

impl<'z> Drafts<'z> {
    pub(super) fn new(origin: &Name) -> Self {
        let apex_octets = origin.key().as_bytes().len();
        Self { origin: origin.clone(), apex_octets, base: None, names: BTreeMap::new(), errors: Vec::new() }
    }

    /// The records of a zone, to be changed.
    pub(super) fn on(base: &'z Zone) -> Self {
        Self { base: Some(base), ..Self::new(base.apex()) }
    }

    /// The key below the apex; `None` for a name outside the zone.
    fn key(&self, owner: &Name) -> Option<Box<[u8]>> {
        let key = owner.key();
        owner.is_at_or_below(&self.origin).then(|| key.as_bytes().get(self.apex_octets..).map(Into::into))?
    }

    /// Adds a record; one that is there already counts once.
    pub(super) fn add(&mut self, record: ParsedRecord) {
        let Some(key) = self.key(&record.owner) else {
            let message = format!(
                "{} is outside the zone {}; expected a name in it (is a final dot wrong?)",
                record.owner, self.origin
            );
            self.errors.push(record.place.error(message));
            return;
        };
        if self.base.is_some() {
            self.draft(&record.owner);
        }
        let draft = self.names.entry(key).or_insert_with(|| Draft::new(record.owner.clone()));
        add(draft, record, &self.origin, &mut self.errors);
    }

    /// What a name is so far, if it is anything.
    fn draft(&mut self, owner: &Name) -> Option<&mut Draft> {
        let key = self.key(owner)?;
        if let Some(base) = self.base
            && !self.names.contains_key(&key)
        {
            let node = base.tree().get(&key).filter(|node| !node.is_empty());
            let link = hash_of_owner(owner, &self.origin).and_then(|hash| base.hashes().get(&hash));
            if node.is_some() || link.is_some() {
                let sets = node.into_iter().chain(link).flat_map(|node| node.all_sets());
                let mut draft = Draft::new(node.or(link).map_or(owner, |node| &node.owner).clone());
                sets.for_each(|(covered, set)| draft.put(covered, set));
                self.names.insert(key.clone(), draft);
            }
        }
        self.names.get_mut(&key)
    }

    /// Takes a record out. False when it is not there.
    pub(super) fn remove(&mut self, owner: &Name, rtype: Rtype, rdata: &[u8]) -> bool {
        let Some(draft) = self.draft(owner) else { return false };
        let key = SetKey::of(rtype, rdata);
        let Some(found) = draft.sets.get_mut(key) else { return false };
        let removed = found.set.remove(rdata);
        if found.set.is_empty() {
            draft.sets.retain(|other| other.key != key);
        }
        removed
    }

    fn sets(&mut self, owner: &Name, rtype: Rtype) -> impl Iterator<Item = &RrSetBuilder> {
        let draft = self.draft(owner);
        draft.into_iter().flat_map(move |draft| draft.sets.of_type(rtype)).map(|found| &found.set)
    }

    /// The types that a name has.
    pub(super) fn types(&mut self, owner: &Name) -> Vec<Rtype> {
        let draft = self.draft(owner);
        let mut types: Vec<Rtype> =
            draft.into_iter().flat_map(|draft| draft.sets.iter()).map(|set| set.key.rtype).collect();
        types.dedup();
        types
    }

    /// The number of records of a set.
    pub(super) fn count(&mut self, owner: &Name, rtype: Rtype) -> usize {
        self.sets(owner, rtype).map(RrSetBuilder::len).sum()
    }

    /// Whether a record is there, with this TTL.
    pub(super) fn holds(&mut self, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) -> bool {
        self.sets(owner, rtype).any(|set| set.ttl() == ttl && set.iter().any(|record| record == rdata))
    }

    /// Gives a set another TTL, if it is there.
    pub(super) fn set_ttl(&mut self, owner: &Name, rtype: Rtype, ttl: u32) {
        let draft = self.draft(owner);
        let sets = draft.into_iter().flat_map(|draft| draft.sets.iter_mut());
        sets.filter(|found| found.key.rtype == rtype).for_each(|found| found.set.set_ttl(ttl));
    }

    /// Takes a whole set out. False when it is not there.
    pub(super) fn remove_set(&mut self, owner: &Name, rtype: Rtype) -> bool {
        let Some(draft) = self.draft(owner) else { return false };
        let before = draft.sets.len();
        draft.sets.retain(|other| other.key.rtype != rtype);
        draft.sets.len() < before
    }

    /// True when enough is wrong: more errors would follow from the same cause.
    pub(super) fn is_hopeless(&self) -> bool {
        self.errors.len() >= DNS_ZONE_ERRORS_MAX
    }

    /// The zone, if it is one.
    pub(super) fn finish(self, file: &Path) -> Result<Zone, ZoneErrors> {
        let Self { origin, apex_octets, base, names: mut drafts, mut errors } = self;
        let mut hashed = NodeChanges::new();
        for draft in drafts.values_mut() {
            let Some(hash) = hash_of_owner(&draft.owner, &origin) else { continue };
            let link = draft.take_hashed().map(|link| Arc::new(link.into_node(hash.into())));
            if link.is_some() || base.is_some_and(|base| base.hashes().get(&hash).is_some()) {
                hashed.insert(hash.into(), link);
            }
        }
        let whole = Draftings { origin: &origin, apex_octets, drafts: &drafts, base };
        whole.check(file, &mut errors);
        if !errors.is_empty() {
            return Err(ZoneErrors(errors));
        }
        let warnings = whole.warnings();
        let zone = match base {
            Some(base) => base.with_nodes(&changes(drafts, base), &hashed),
            None => {
                drafts.retain(|_, draft| !draft.sets.is_empty());
                Zone::of_nodes(&origin, file, nodes(drafts), hashed.into_values().flatten())
            }
        };
        Ok(Zone { warnings, file: file.to_owned(), ..zone })
    }
}

/// Adds a record to its name, unless the name holds it already or it is refused.
fn add(draft: &mut Draft, record: ParsedRecord, origin: &Name, errors: &mut Vec<ZoneError>) {
    let ParsedRecord { owner, rtype, ttl, rdata, place } = record;
    if rtype == Rtype::SOA && owner != *origin {
        errors
            .push(place.error(format!("a SOA at {owner}; expected it at the zone's own name {origin} only")));
        return;
    }
    let single = matches!(rtype, Rtype::SOA | Rtype::CNAME | Rtype::DNAME);
    let key = SetKey::of(rtype, &rdata);
    let set = &mut draft.sets.entry(key, || (RrSetBuilder::new(rtype, ttl), place.clone())).set;
    if single && !set.is_empty() {
        errors.push(place.error(format!("a second {rtype} at {owner}; expected one at most")));
        return;
    }
    if set.len() >= DNS_ZONE_RRSET_RECORDS_MAX {
        let message =
            format!("more than {DNS_ZONE_RRSET_RECORDS_MAX} {rtype} records at {owner}; expected fewer");
        errors.push(place.error(message));
        return;
    }
    set.lower_ttl(ttl);
    set.push(&rdata);
}
