//! What our own zones say about a name, for questions that go on elsewhere from there.

use std::sync::Arc;

use super::Delegation;
use super::delegation::address;
use super::reply::{Owned, Reply};
use crate::wire::{KeyBuf, Name, RrSet, RrSetBuilder, Rtype};
use crate::zone::{Lookup, Node, Zone, Zones};

/// The zones' answer for a name, whose `key` it is; `None` when none of them holds the name.
pub fn look_up(zones: &Zones, name: &Name, key: &KeyBuf, rtype: Rtype) -> Option<Reply> {
    // A zone of ours that is not available may be had from others.
    let zone = zones.find(key, rtype).filter(|zone| zone.is_available())?;
    let one = |owner: &Name, rrset: &RrSet| vec![(owner.clone(), Arc::new(rrset.clone()))];
    Some(match zone.lookup(key, rtype) {
        Lookup::Delegated(cut) => Reply::Referral(delegation(zone, cut)),
        Lookup::Missing => Reply::NxDomain(Vec::new(), soa(zone)),
        Lookup::Dname(node) => {
            let dname = node.rrset(Rtype::DNAME)?;
            let target = Name::from_wire(dname.first()).ok()?;
            let target = name.replace_suffix(&node.owner, &target)?.ok()?;
            let mut chain = one(&node.owner, dname);
            let mut alias = RrSetBuilder::new(Rtype::CNAME, dname.ttl);
            alias.push(target.as_wire());
            chain.push((name.clone(), Arc::new(alias.build()?)));
            if rtype == Rtype::CNAME { Reply::Answer(chain) } else { Reply::Alias(chain, target) }
        }
        Lookup::Found(node) | Lookup::Wildcard(node) => {
            if let Some(rrset) = node.rrset(rtype) {
                Reply::Answer(one(name, rrset))
            } else if let Some(alias) = node.rrset(Rtype::CNAME) {
                Reply::Alias(one(name, alias), Name::from_wire(alias.first()).ok()?)
            } else {
                Reply::NoData(Vec::new(), soa(zone))
            }
        }
    })
}

fn soa(zone: &Zone) -> Option<Owned> {
    let soa = zone.apex_node()?.rrset(Rtype::SOA)?;
    Some((zone.apex().clone(), Arc::new(soa.clone())))
}

fn delegation(zone: &Zone, cut: &Node) -> Delegation {
    let servers = cut.rrset(Rtype::NS);
    let names: Vec<Name> =
        servers.into_iter().flat_map(RrSet::iter).filter_map(|rdata| Name::from_wire(rdata).ok()).collect();
    let glue = names.iter().flat_map(|name| {
        let node = zone.glue(&name.key());
        let sets = [Rtype::A, Rtype::AAAA].into_iter().filter_map(move |rtype| node?.rrset(rtype));
        sets.flat_map(RrSet::iter).filter_map(|rdata| Some((name.clone(), address(rdata)?)))
    });
    Delegation::new(Name::clone(&cut.owner), servers.map_or(0, |set| set.ttl), names.iter().cloned(), glue)
}
