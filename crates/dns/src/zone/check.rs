//! What no zone may hold, and what is allowed but probably not meant: of a whole zone, or of what changes in one.

use std::collections::BTreeMap;
use std::path::Path;

use postroad_types::limits::DNS_ZONE_ERRORS_MAX;

use super::draft::{Draft, DraftSet, SetKey};
use super::parser::ZoneError;
use super::{Node, Zone};
use crate::wire::{Name, Rtype};

/// A zone as it would be.
#[derive(Clone, Copy)]
pub(super) struct Draftings<'a> {
    pub origin: &'a Name,
    /// Octets of the origin's key.
    pub apex_octets: usize,
    /// The names that were made or changed, without those of hashes; without sets those that went.
    pub drafts: &'a BTreeMap<Box<[u8]>, Draft>,
    /// What the others are as they were in.
    pub base: Option<&'a Zone>,
}

impl<'a> Draftings<'a> {
    /// Whether the name of a relative key has a type, or any.
    fn has(&self, key: &[u8], rtype: Option<Rtype>) -> bool {
        if let Some(draft) = self.drafts.get(key) {
            return rtype.map_or(!draft.sets.is_empty(), |rtype| draft.has(rtype));
        }
        let node = self.base.and_then(|base| base.tree().get(key));
        node.is_some_and(|node| rtype.map_or(!node.is_empty(), |rtype| node.rrset(rtype).is_some()))
    }

    fn name_has(&self, name: &Name, rtype: Option<Rtype>) -> bool {
        name.key().as_bytes().get(self.apex_octets..).is_some_and(|key| self.has(key, rtype))
    }

    /// The names with sets that were made or changed.
    fn changed(&self) -> impl Iterator<Item = (&'a [u8], &'a Draft)> {
        self.drafts.iter().filter(|(_, draft)| !draft.sets.is_empty()).map(|(key, draft)| (&**key, draft))
    }

    /// The names below a key that are as they were.
    fn unchanged_below(&self, key: &'a [u8]) -> impl Iterator<Item = &'a Node> {
        let nodes = self.base.into_iter().flat_map(move |base| base.tree().below(key));
        let drafts = self.drafts;
        nodes.map(|node| &**node).filter(move |node| !node.is_empty() && !drafts.contains_key(node.key()))
    }

    pub(super) fn check(&self, file: &Path, errors: &mut Vec<ZoneError>) {
        self.check_apex(file, errors);
        self.check_aliases(errors);
        errors.truncate(DNS_ZONE_ERRORS_MAX);
    }

    fn check_apex(&self, file: &Path, errors: &mut Vec<ZoneError>) {
        for rtype in [Rtype::SOA, Rtype::NS] {
            if !self.has(&[], Some(rtype)) {
                errors.push(ZoneError {
                    file: file.to_owned(),
                    line: 0,
                    column: 0,
                    message: format!(
                        "the zone {} has no {rtype} record at its own name; expected one",
                        self.origin
                    ),
                });
            }
        }
    }

    fn check_aliases(&self, errors: &mut Vec<ZoneError>) {
        let below = |name: &Name, above: &Name| {
            format!("{name} is below {above}, which has a DNAME; expected nothing there")
        };
        let mut dname: Option<(&[u8], &Name)> = None;
        for (key, draft) in self.changed() {
            // A name's descendants follow it in this order, so the last DNAME is the only one that can be above.
            if let Some((above, owner)) = dname
                && key.starts_with(above)
                && let Some(found) = draft.sets.iter().next()
            {
                errors.push(found.place.error(below(&draft.owner, owner)));
                continue;
            }
            if let Some(above) = self.unchanged_dname_above(key)
                && let Some(found) = draft.sets.iter().next()
            {
                errors.push(found.place.error(below(&draft.owner, &above.owner)));
                continue;
            }
            if let Some(found) = draft.sets.of_type(Rtype::DNAME).next() {
                dname = Some((key, &draft.owner));
                if let Some(node) = self.unchanged_below(key).next() {
                    errors.push(found.place.error(below(&node.owner, &draft.owner)));
                }
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

    /// The name above a key that has a DNAME and is as it was.
    fn unchanged_dname_above(&self, key: &[u8]) -> Option<&'a Node> {
        let base = self.base?;
        let above = ancestors(key).filter(|above| !self.drafts.contains_key(*above));
        let mut nodes = above.filter_map(|above| base.tree().get(above));
        nodes.find(|node| node.rrset(Rtype::DNAME).is_some()).map(|node| &**node)
    }

    /// Name servers and mail hosts inside the zone that have no address or are aliases (RFC 2181 section 10.3), of the
    /// names that were made or changed.
    pub(super) fn warnings(&self) -> Vec<ZoneError> {
        let mut warnings = Vec::new();
        for (_, draft) in self.changed() {
            for DraftSet { key: SetKey { rtype, .. }, set, place } in draft.sets.iter() {
                let skip = match *rtype {
                    Rtype::NS => 0,
                    Rtype::MX => 2,
                    _ => continue,
                };
                for rdata in set.iter() {
                    let target = rdata.get(skip..).and_then(|wire| Name::from_wire(wire).ok());
                    let Some(target) = target.filter(|target| target.is_at_or_below(self.origin)) else {
                        continue;
                    };
                    let has = |rtype| self.name_has(&target, Some(rtype));
                    if has(Rtype::CNAME) {
                        warnings.push(
                            place.error(format!(
                                "{rtype} target {target} is an alias (CNAME); expected a host"
                            )),
                        );
                    } else if !has(Rtype::A) && !has(Rtype::AAAA) && !self.is_below_other(&target) {
                        warnings
                            .push(place.error(format!("{rtype} target {target} has no address in the zone")));
                    }
                }
            }
            if warnings.len() >= DNS_ZONE_ERRORS_MAX {
                break;
            }
        }
        warnings.truncate(DNS_ZONE_ERRORS_MAX);
        warnings
    }

    /// True when the address of `target` may stand elsewhere: a zone cut or a wildcard is above it.
    fn is_below_other(&self, target: &Name) -> bool {
        let mut ancestor = target.parent();
        while let Some(name) = ancestor.filter(|name| name.is_at_or_below(self.origin)) {
            let wildcard = name.with_label(b"*").is_ok_and(|wildcard| self.name_has(&wildcard, None));
            if wildcard || (name != *self.origin && self.name_has(&name, Some(Rtype::NS))) {
                return true;
            }
            ancestor = name.parent();
        }
        false
    }
}

/// The relative keys above a key, that of the apex first.
pub(super) fn ancestors(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = key.iter().enumerate().filter(|(_, octet)| **octet == 0).map(|(at, _)| at + 1);
    let ends = ends.filter(|end| *end < key.len());
    let apex = (!key.is_empty()).then_some(0);
    apex.into_iter().chain(ends).filter_map(|end| key.get(..end))
}
