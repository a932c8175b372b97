//! What our own zones say about a name, for questions that go on elsewhere from there, with the signatures and proofs that
//! clients want who check themselves.

use std::sync::Arc;

use super::Delegation;
use super::delegation::address;
use super::evidence::{Evidence, Proven, Witness};
use super::reply::{Owned, Reply};
use super::security::Security;
use super::validate::Verdict;
use crate::wire::{KeyBuf, Name, RrSet, RrSetBuilder, Rtype};
use crate::zone::{Lookup, Node, Proof, Zone, Zones};

/// The zones' answer for a name, whose `key` it is, and what shows that it is true; `None` when none of them holds the name.
/// Nothing is validated here: what is ours is neither secure nor not.
pub fn look_up(zones: &Zones, name: &Name, key: &KeyBuf, rtype: Rtype) -> Option<(Reply, Verdict)> {
    // A zone of ours that is not available may be had from others.
    let zone = zones.find(key, rtype).filter(|zone| zone.is_available())?;
    let one = |owner: &Name, rrset: &RrSet| vec![(owner.clone(), Arc::new(rrset.clone()))];
    let found = zone.lookup(key, rtype);
    let mut proof = Proof::default();
    let mut shown: Vec<Option<&RrSet>> = Vec::new();
    let reply = match found {
        Lookup::Delegated(cut) => Reply::Referral(delegation(zone, cut)),
        Lookup::Missing => {
            zone.prove_missing(name.as_wire(), &mut proof);
            Reply::NxDomain(Vec::new(), soa(zone))
        }
        Lookup::Dname(node) => {
            let dname = node.rrset(Rtype::DNAME)?;
            let target = Name::from_wire(dname.first()).ok()?;
            let target = name.replace_suffix(&node.owner, &target)?.ok()?;
            let mut chain = one(&node.owner, dname);
            let mut alias = RrSetBuilder::new(Rtype::CNAME, dname.ttl);
            alias.push(target.as_wire());
            chain.push((name.clone(), Arc::new(alias.build()?)));
            shown.extend([node.signatures(Rtype::DNAME), None]);
            if rtype == Rtype::CNAME { Reply::Answer(chain) } else { Reply::Alias(chain, target) }
        }
        Lookup::Found(node) | Lookup::Wildcard(node) => {
            let set = node.rrset(rtype).or_else(|| node.rrset(Rtype::CNAME));
            shown.extend(set.map(|set| node.signatures(set.rtype)));
            match set {
                Some(_) if matches!(found, Lookup::Wildcard(_)) => {
                    zone.prove_expansion(name.as_wire(), &mut proof)
                }
                Some(_) => {}
                None => zone.prove_no_data(node, name.as_wire(), &mut proof),
            }
            match set {
                Some(set) if set.rtype == rtype => Reply::Answer(one(name, set)),
                Some(alias) => Reply::Alias(one(name, alias), Name::from_wire(alias.first()).ok()?),
                None => Reply::NoData(Vec::new(), soa(zone)),
            }
        }
    };
    let mut witnesses = witnesses(&proof);
    let proven =
        |signatures, proof| Proven::new(Security::Indeterminate, Evidence::new(signatures, proof), u32::MAX);
    let sets =
        shown.into_iter().map(|signatures| proven(signatures, std::mem::take(&mut witnesses))).collect();
    let missing = matches!(reply, Reply::NoData(..) | Reply::NxDomain(..)).then(|| {
        proven(zone.apex_node().and_then(|apex| apex.signatures(Rtype::SOA)), std::mem::take(&mut witnesses))
    });
    Some((reply, Verdict { sets, missing, ..Verdict::default() }))
}

fn witnesses(proof: &Proof<'_>) -> Vec<Witness> {
    let witness = |node: &Node| {
        let set = node.rrset(Rtype::NSEC3).or_else(|| node.rrset(Rtype::NSEC))?;
        let signatures = node.signatures(set.rtype).cloned();
        Some(Witness { owner: Name::clone(&node.owner), rrset: Arc::new(set.clone()), signatures })
    };
    proof.iter().filter_map(witness).collect()
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
