//! What a signed zone holds besides signatures: its authoritative sets, the keys, and the links of the chain of NSEC or NSEC3
//! records.

use std::sync::Arc;

use crate::dnssec::{Ds, Nsec3, Nsec3Hash, ds_rdata, type_bitmap};
use crate::keys::state::asked_of_parent;
use crate::keys::{Denial, Key, KeyState, Policy};
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype};
use crate::zone::{Node, Zone};

/// Who signs a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Nobody: it is not the zone's own (RFC 4035 section 2.2).
    Nobody,
    Zone,
    /// The keys that the parent knows.
    Keys,
    /// Both: the parent wants its own (RFC 7344 section 4.1).
    All,
}

impl By {
    /// Who signs the set of a type at a node.
    pub fn of(node: &Node, rtype: Rtype) -> Self {
        let at_apex = node.key().is_empty();
        match rtype {
            _ if node.is_occluded() => Self::Nobody,
            rtype if node.is_cut() && !matches!(rtype, Rtype::DS | Rtype::NSEC) => Self::Nobody,
            Rtype::DNSKEY if at_apex => Self::Keys,
            Rtype::CDS | Rtype::CDNSKEY if at_apex => Self::All,
            _ => Self::Zone,
        }
    }
}

/// The longest TTL in a zone, that of negative answers too: so long a cache may know what was there.
pub fn longest_ttl(zone: &Zone) -> u32 {
    zone.summary().longest_ttl.max(zone.negative_ttl())
}

/// A name that is the zone's own and has records: it has an NSEC record.
pub fn is_own(node: &Node) -> bool {
    !node.is_occluded() && !node.own_sets().is_empty()
}

/// The NSEC record of a node with these sets, which leads to the next name (RFC 4034 section 4).
pub fn nsec(node: &Node, sets: &[RrSet], next: &Name, ttl: u32) -> Option<RrSet> {
    let types = types(node, sets).chain([Rtype::RRSIG, Rtype::NSEC]);
    set(Rtype::NSEC, ttl, [[next.as_wire(), &type_bitmap(types)].concat()])
}

/// The types that an NSEC3 record says of a node with these sets (RFC 5155 section 7.1); an empty non-terminal has none.
pub fn nsec3_types(node: &Node, sets: &[RrSet]) -> Vec<u8> {
    let is_signed = sets.iter().any(|set| By::of(node, set.rtype) != By::Nobody);
    type_bitmap(types(node, sets).chain(is_signed.then_some(Rtype::RRSIG)))
}

fn types<'a>(node: &'a Node, sets: &'a [RrSet]) -> impl Iterator<Item = Rtype> + 'a {
    let said = |rtype: &Rtype| !node.is_cut() || matches!(*rtype, Rtype::NS | Rtype::DS);
    sets.iter().map(|set| set.rtype).filter(said)
}

/// SHA-1, no flags, no further iterations, no salt (RFC 9276 section 3.1).
const NSEC3_PARAMETERS: [u8; 5] = [Nsec3::SHA1, 0, 0, 0, 0];

/// The NSEC3 record of a hash with the types of its name, which leads to the next hash (RFC 5155 section 7.1).
pub fn nsec3(types: &[u8], next: &Nsec3Hash, ttl: u32) -> Option<RrSet> {
    let mut rdata = NSEC3_PARAMETERS.to_vec();
    rdata.push(next.len() as u8);
    rdata.extend_from_slice(next);
    rdata.extend_from_slice(types);
    set(Rtype::NSEC3, ttl, [rdata])
}

/// The sets of the apex, `soa` and `digests` in the places of the zone's own. Keys that stand there are those of other
/// signers (RFC 8901).
pub fn apex_sets(
    apex: &Node,
    soa: RrSet,
    digests: Option<RrSet>,
    keys: &[Key],
    policy: &Policy,
) -> Arc<[RrSet]> {
    let mut sets = made_for_apex(apex, keys, policy);
    sets.push(soa);
    sets.extend(digests);
    for own in apex.own_sets().iter() {
        match own.rtype {
            Rtype::SOA | Rtype::DNSKEY | Rtype::NSEC3PARAM | Rtype::ZONEMD => continue,
            // An operator who writes these into the zone means it: so a zone goes insecure (RFC 8078 section 4).
            Rtype::CDS | Rtype::CDNSKEY => sets.retain(|made| made.rtype != own.rtype),
            _ => {}
        }
        sets.push(own.clone());
    }
    sets.sort_by_key(|set| set.rtype);
    sets.into()
}

fn made_for_apex(apex: &Node, keys: &[Key], policy: &Policy) -> Vec<RrSet> {
    let states: Vec<KeyState> = keys.iter().map(|key| key.state.clone()).collect();
    let asked: Vec<u16> = asked_of_parent(&states).map(|key| key.tag).collect();
    let asked = keys.iter().filter(|key| asked.contains(&key.state.tag)).map(Key::dnskey);
    let published = keys.iter().filter(|key| key.state.is_published()).map(Key::dnskey);
    let foreign = apex.rrset(Rtype::DNSKEY).into_iter().flat_map(RrSet::iter).map(<[u8]>::to_vec);
    let ttl = policy.dnskey_ttl;
    // RFC 8624 section 3.3: SHA-256 and nothing else.
    let cds = asked.clone().filter_map(|dnskey| ds_rdata(&apex.owner, &dnskey, Ds::SHA256));
    let mut sets = vec![
        set(Rtype::DNSKEY, ttl, published.chain(foreign)),
        set(Rtype::CDS, ttl, cds),
        set(Rtype::CDNSKEY, ttl, asked),
    ];
    if policy.denial == Denial::Nsec3 {
        // Only the servers of the zone need it, and who transfers it asks no cache.
        sets.push(set(Rtype::NSEC3PARAM, 0, [NSEC3_PARAMETERS.to_vec()]));
    }
    sets.into_iter().flatten().collect()
}

/// A set of these records; `None` without any.
pub fn set(rtype: Rtype, ttl: u32, records: impl IntoIterator<Item = Vec<u8>>) -> Option<RrSet> {
    let mut set = RrSetBuilder::new(rtype, ttl);
    for record in records {
        set.push(&record);
    }
    set.build()
}
