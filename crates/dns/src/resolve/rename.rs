//! DNAME records in the cache (RFC 6672): they rename all names below their owner, also names that were never asked for.
//!
//! The CNAME that a server makes of a DNAME is not kept; it is made again for each name, so that it never outlives the
//! DNAME and the DNAME is never missing from an answer.

use std::sync::Arc;
use std::time::Duration;

use super::cache::{Cache, Entry, Hit};
use super::reply::Owned;
use super::steps::Held;
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype};

/// What a DNAME makes of a name.
#[derive(Debug)]
pub struct Renamed {
    /// The DNAME's owner.
    pub owner: Name,
    pub dname: Hit,
    /// The CNAME of the name.
    pub alias: Arc<RrSet>,
    pub target: Name,
}

impl Renamed {
    /// The DNAME, and the CNAME that it gives `name`, which is as true.
    pub fn held(&self, name: &Name) -> impl Iterator<Item = Held> {
        let dname = match &self.dname.entry {
            Entry::Positive(rrset) => Some(Held::cached((self.owner.clone(), rrset.clone()), &self.dname)),
            _ => None,
        };
        let alias = Held::cached((name.clone(), self.alias.clone()), &self.dname);
        dname.into_iter().chain([Held { evidence: None, ..alias }])
    }
}

/// The DNAME above `name` that the cache holds; with `stale` also one whose time is over (RFC 8767).
pub fn renamed(cache: &Cache, name: &Name, now: Duration, stale: bool) -> Option<Renamed> {
    // The root cannot be renamed: its own label ends the ancestry.
    for wire in name.ancestry().skip(1).filter(|wire| wire.len() > 1) {
        if let Some(dname) = cache.dname(wire, now, stale)
            && let Entry::Positive(rrset) = &dname.entry
        {
            let owner = Name::from_wire(wire).ok()?;
            let target = name.replace_suffix(&owner, &Name::from_wire(rrset.first()).ok()?)?.ok()?;
            let mut alias = RrSetBuilder::new(Rtype::CNAME, rrset.ttl);
            alias.push(target.as_wire());
            return Some(Renamed { owner, alias: Arc::new(alias.build()?), target, dname });
        }
    }
    None
}

/// Whether the record set after `before` in a chain of aliases was made of it.
pub fn is_made(before: Option<&Owned>, (owner, rrset): &Owned) -> bool {
    let dname = before.filter(|(_, dname)| dname.rtype == Rtype::DNAME);
    rrset.rtype == Rtype::CNAME && dname.is_some_and(|(above, _)| owner.is_below(above))
}
