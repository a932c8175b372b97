//! Makes a zone of records and refuses what no zone may hold: one SOA at the apex and NS beside it, nothing outside
//! the zone, nothing beside a CNAME (RFC 1034 section 3.6.2), nothing below a DNAME (RFC 6672 section 2.4).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use postroad_types::limits::{DNS_ZONE_ERRORS_MAX, DNS_ZONE_FILE_OCTETS_MAX, DNS_ZONE_RRSET_RECORDS_MAX};

use super::draft::{Draft, DraftSet, SetKey};
use super::hashed::{Denial, Hashed};
use super::index::Index;
use super::parser::{ParsedRecord, ZoneError, ZoneErrors, parse};
use super::{History, Node, Zone};
use crate::wire::{Name, RrSetBuilder, Rtype, SoaTemplate};

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
pub(super) struct Drafts {
    origin: Name,
    apex_octets: usize,
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

impl Drafts {
    pub(super) fn new(origin: &Name) -> Self {
        let apex_octets = origin.key().as_bytes().len();
        Self { origin: origin.clone(), apex_octets, names: BTreeMap::new(), errors: Vec::new() }
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
        let draft = self.names.entry(key).or_insert_with(|| Draft::new(record.owner.clone()));
        add(draft, record, &self.origin, &mut self.errors);
    }

    /// Takes a record out. False when it is not there.
    pub(super) fn remove(&mut self, owner: &Name, rtype: Rtype, rdata: &[u8]) -> bool {
        let Some(key) = self.key(owner) else { return false };
        let Some(draft) = self.names.get_mut(&key) else { return false };
        let key_of_set = SetKey::of(rtype, rdata);
        let Some(found) = draft.sets.get_mut(key_of_set) else { return false };
        let removed = found.set.remove(rdata);
        if found.set.is_empty() {
            draft.sets.retain(|other| other.key != key_of_set);
            if draft.sets.is_empty() {
                self.names.remove(&key);
            }
        }
        removed
    }

    fn sets(&self, owner: &Name, rtype: Rtype) -> impl Iterator<Item = &RrSetBuilder> {
        let draft = self.key(owner).and_then(|key| self.names.get(&key));
        draft.into_iter().flat_map(move |draft| draft.sets.of_type(rtype)).map(|found| &found.set)
    }

    /// The types that a name has.
    pub(super) fn types(&self, owner: &Name) -> Vec<Rtype> {
        let draft = self.key(owner).and_then(|key| self.names.get(&key));
        let mut types: Vec<Rtype> =
            draft.into_iter().flat_map(|draft| draft.sets.iter()).map(|set| set.key.rtype).collect();
        types.dedup();
        types
    }

    /// The number of records of a set.
    pub(super) fn count(&self, owner: &Name, rtype: Rtype) -> usize {
        self.sets(owner, rtype).map(RrSetBuilder::len).sum()
    }

    /// Whether a record is there, with this TTL.
    pub(super) fn holds(&self, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) -> bool {
        self.sets(owner, rtype).any(|set| set.ttl() == ttl && set.iter().any(|record| record == rdata))
    }

    /// Gives a set another TTL, if it is there.
    pub(super) fn set_ttl(&mut self, owner: &Name, rtype: Rtype, ttl: u32) {
        let draft = self.key(owner).and_then(|key| self.names.get_mut(&key));
        let sets = draft.into_iter().flat_map(|draft| draft.sets.iter_mut());
        sets.filter(|found| found.key.rtype == rtype).for_each(|found| found.set.set_ttl(ttl));
    }

    /// Takes a whole set out. False when it is not there.
    pub(super) fn remove_set(&mut self, owner: &Name, rtype: Rtype) -> bool {
        let Some(key) = self.key(owner) else { return false };
        let Some(draft) = self.names.get_mut(&key) else { return false };
        let before = draft.sets.len();
        draft.sets.retain(|other| other.key.rtype != rtype);
        let removed = draft.sets.len() < before;
        if draft.sets.is_empty() {
            self.names.remove(&key);
        }
        removed
    }

    /// True when enough is wrong: more errors would follow from the same cause.
    pub(super) fn is_hopeless(&self) -> bool {
        self.errors.len() >= DNS_ZONE_ERRORS_MAX
    }

    /// The zone, if it is one.
    pub(super) fn finish(mut self, file: &Path) -> Result<Zone, ZoneErrors> {
        let (origin, mut drafts) = (&self.origin, self.names);
        let hashed: Vec<Draft> = drafts.values_mut().filter_map(|draft| draft.take_hashed(origin)).collect();
        drafts.retain(|_, draft| !draft.sets.is_empty());
        check_apex(&drafts, origin, file, &mut self.errors);
        check_aliases(&drafts, &mut self.errors);
        self.errors.truncate(DNS_ZONE_ERRORS_MAX);
        if !self.errors.is_empty() {
            return Err(ZoneErrors(self.errors));
        }
        let warnings = warnings(&drafts, origin, self.apex_octets);
        let names = drafts.len() as u64;
        let all = drafts.values().chain(&hashed).flat_map(|draft| draft.sets.iter());
        let records = all.map(|found| found.set.len() as u64).sum();
        let nodes = nodes(drafts, origin);
        let soa = nodes.get(&[][..]).and_then(|apex| apex.rrset(Rtype::SOA));
        let number = |from_end: usize| {
            let rdata = soa.map(super::RrSet::first).unwrap_or_default();
            let octets = rdata.len().checked_sub(from_end).and_then(|at| rdata.get(at..)?.first_chunk::<4>());
            octets.map_or(0, |octets| u32::from_be_bytes(*octets))
        };
        let (serial, minimum) = (number(20), number(4));
        let negative_ttl = soa.map_or(0, |soa| soa.ttl.min(minimum));
        let negative_soa = soa.and_then(|soa| SoaTemplate::new(origin, soa, negative_ttl));
        let nodes: BTreeMap<_, _> = nodes.into_iter().map(|(key, node)| (key, Arc::new(node))).collect();
        let hashed = Hashed::of(hashed.into_iter().map(Draft::into_node), origin);
        let denial = Denial::of(nodes.get(&[][..]), &hashed);
        Ok(Zone {
            apex: origin.clone(),
            apex_key: origin.key().as_bytes().into(),
            index: Index::of(&nodes),
            has_wildcards: nodes.values().any(|node| node.owner.is_wildcard()),
            negative_soa,
            nodes,
            hashed,
            denial,
            records,
            names,
            negative_ttl,
            serial,
            file: file.to_owned(),
            loaded_at: SystemTime::now(),
            warnings,
            history: History::default(),
            file_time: None,
            available: true,
        })
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

fn check_apex(drafts: &BTreeMap<Box<[u8]>, Draft>, origin: &Name, file: &Path, errors: &mut Vec<ZoneError>) {
    let apex = drafts.get(&[][..]);
    for rtype in [Rtype::SOA, Rtype::NS] {
        if !apex.is_some_and(|apex| apex.has(rtype)) {
            errors.push(ZoneError {
                file: file.to_owned(),
                line: 0,
                column: 0,
                message: format!("the zone {origin} has no {rtype} record at its own name; expected one"),
            });
        }
    }
}

fn check_aliases(drafts: &BTreeMap<Box<[u8]>, Draft>, errors: &mut Vec<ZoneError>) {
    let mut dname: Option<(&[u8], &Name)> = None;
    for (key, draft) in drafts {
        // A name's descendants follow it in this order, so the last DNAME is the only one that can be above.
        if let Some((above, owner)) = dname
            && key.starts_with(above)
            && let Some(found) = draft.sets.iter().next()
        {
            errors.push(found.place.error(format!(
                "{} is below {owner}, which has a DNAME; expected nothing there",
                draft.owner
            )));
            continue;
        }
        if draft.has(Rtype::DNAME) {
            dname = Some((key, &draft.owner));
        }
        // RFC 4035 section 2.5.
        let may_stand = |rtype| matches!(rtype, Rtype::CNAME | Rtype::RRSIG | Rtype::NSEC);
        if draft.has(Rtype::CNAME)
            && let Some(other) = draft.sets.iter().find(|found| !may_stand(found.key.rtype))
        {
            let (rtype, owner) = (other.key.rtype, &draft.owner);
            let message = format!("{rtype} and CNAME at {owner}; expected nothing beside a CNAME");
            errors.push(other.place.error(message));
        }
    }
}

/// Name servers and mail hosts inside the zone that have no address or are aliases (RFC 2181 section 10.3).
fn warnings(drafts: &BTreeMap<Box<[u8]>, Draft>, origin: &Name, apex_octets: usize) -> Vec<ZoneError> {
    let mut warnings = Vec::new();
    for draft in drafts.values() {
        for DraftSet { key: SetKey { rtype, .. }, set, place } in draft.sets.iter() {
            let skip = match *rtype {
                Rtype::NS => 0,
                Rtype::MX => 2,
                _ => continue,
            };
            for rdata in set.iter() {
                let target = rdata.get(skip..).and_then(|wire| Name::from_wire(wire).ok());
                let Some(target) = target.filter(|target| target.is_at_or_below(origin)) else { continue };
                let key = target.key();
                let node = key.as_bytes().get(apex_octets..).and_then(|key| drafts.get(key));
                let has = |rtype| node.is_some_and(|node| node.has(rtype));
                if has(Rtype::CNAME) {
                    warnings.push(
                        place.error(format!("{rtype} target {target} is an alias (CNAME); expected a host")),
                    );
                } else if !has(Rtype::A)
                    && !has(Rtype::AAAA)
                    && !below_other_cut(drafts, &target, origin, apex_octets)
                {
                    warnings.push(place.error(format!("{rtype} target {target} has no address in the zone")));
                }
            }
        }
    }
    warnings.truncate(DNS_ZONE_ERRORS_MAX);
    warnings
}

/// True when the address of `target` may stand elsewhere: a zone cut or a wildcard is above it.
fn below_other_cut(
    drafts: &BTreeMap<Box<[u8]>, Draft>,
    target: &Name,
    origin: &Name,
    apex_octets: usize,
) -> bool {
    let mut ancestor = target.parent();
    while let Some(name) = ancestor.filter(|name| name.is_at_or_below(origin)) {
        let holds = |name: &Name, rtype: Option<Rtype>| {
            let key = name.key();
            let node = key.as_bytes().get(apex_octets..).and_then(|key| drafts.get(key));
            node.is_some_and(|node| rtype.is_none_or(|rtype| node.has(rtype)))
        };
        let wildcard = name.with_label(b"*").is_ok_and(|wildcard| holds(&wildcard, None));
        if wildcard || (name != *origin && holds(&name, Some(Rtype::NS))) {
            return true;
        }
        ancestor = name.parent();
    }
    false
}

/// Freezes the drafts, adds the empty non-terminals and marks what is at or below cuts and DNAMEs.
fn nodes(drafts: BTreeMap<Box<[u8]>, Draft>, origin: &Name) -> BTreeMap<Box<[u8]>, Node> {
    let mut nodes: BTreeMap<Box<[u8]>, Node> = BTreeMap::new();
    for (key, draft) in drafts {
        // Ancestors come before their descendants, so an empty non-terminal never replaces a node with records.
        let mut ancestor = draft.owner.parent();
        while let Some(name) = ancestor.filter(|name| name.is_below(origin)) {
            let whole = name.key();
            let relative = whole.as_bytes().get(origin.key().as_bytes().len()..).unwrap_or_default();
            if nodes.contains_key(relative) {
                break;
            }
            ancestor = name.parent();
            nodes.insert(relative.into(), Draft::new(name).into_node());
        }
        nodes.insert(key, draft.into_node());
    }
    let mut cut: Option<Box<[u8]>> = None;
    let mut dname: Option<Box<[u8]>> = None;
    for (key, node) in &mut nodes {
        if cut.as_ref().is_none_or(|cut| !key.starts_with(cut)) {
            cut = (!key.is_empty() && node.rrset(Rtype::NS).is_some()).then(|| key.clone());
        }
        if dname.as_ref().is_none_or(|dname| !key.starts_with(dname)) {
            dname = node.rrset(Rtype::DNAME).is_some().then(|| key.clone());
        }
        node.cut = cut.as_ref().map_or(0, |cut| cut.len() as u16);
        node.dname = dname.as_ref().map_or(0, |dname| dname.len() as u16 + 1);
    }
    nodes
}
