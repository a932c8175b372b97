//! What a signed zone holds besides signatures: its authoritative sets, the keys, and the chain of NSEC or NSEC3 records.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::dnssec::hashed::hashed_owner;
use crate::dnssec::{Ds, Nsec3, Nsec3Hash, ds_rdata, nsec3_hash, type_bitmap};
use crate::keys::state::asked_of_parent;
use crate::keys::{Denial, Key, KeyState, Policy};
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype};
use crate::zone::Zone;

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

/// A set of the signed zone.
#[derive(Debug)]
pub struct Item<'z> {
    pub owner: Cow<'z, Name>,
    pub set: Cow<'z, RrSet>,
    pub by: By,
}

/// A name that is the zone's own, with the types that are said of it.
struct Own<'z> {
    owner: &'z Name,
    types: Vec<Rtype>,
    /// It has signatures of its own besides that of its NSEC record.
    signed: bool,
}

/// Types that signing makes, and the digest of a zone (RFC 8976) that it makes wrong: they are not taken over.
fn is_left_out(rtype: Rtype, is_apex: bool) -> bool {
    let made = matches!(rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM);
    made || (is_apex && rtype == Rtype::ZONEMD)
}

/// The longest TTL in a zone, that of negative answers too: so long a cache may know what was there.
pub fn longest_ttl(zone: &Zone) -> u32 {
    let sets = zone.nodes().flat_map(|node| node.rrsets().iter().map(|set| set.ttl));
    sets.max().unwrap_or(0).max(zone.negative_ttl())
}

/// All sets of the signed zone but signatures, with `soa` in the place of the zone's. `None`: with hashes for names, the zone
/// would have names that are too long.
pub fn content<'z>(unsigned: &'z Zone, soa: RrSet, keys: &[Key], policy: &Policy) -> Option<Vec<Item<'z>>> {
    let mut items = Vec::with_capacity(2 * usize::try_from(unsigned.records()).unwrap_or_default());
    let mut own = Vec::with_capacity(usize::try_from(unsigned.names()).unwrap_or_default());
    let mut cut: Option<&Name> = None;
    let mut soa = Some(soa);
    for node in unsigned.nodes() {
        let owner = &node.owner;
        let is_apex = owner == unsigned.apex();
        let occluded = cut.is_some_and(|cut| owner.is_below(cut));
        let is_cut = !occluded && !is_apex && node.rrset(Rtype::NS).is_some();
        if is_cut {
            cut = Some(owner);
        }
        let mut name = Own { owner, types: Vec::new(), signed: false };
        let mut push = |set: Cow<'z, RrSet>, by: By| {
            if by != By::Nobody || (is_cut && set.rtype == Rtype::NS) {
                name.types.push(set.rtype);
                name.signed |= by != By::Nobody;
            }
            items.push(Item { owner: Cow::Borrowed(owner), set, by });
        };
        let foreign = node.rrset(Rtype::DNSKEY);
        let mut added = if is_apex { of_apex(owner, foreign, keys, policy) } else { Vec::new() };
        for set in node.rrsets().iter().filter(|set| !is_left_out(set.rtype, is_apex)) {
            let by = match set.rtype {
                _ if occluded => By::Nobody,
                rtype if is_cut && rtype != Rtype::DS => By::Nobody,
                Rtype::DNSKEY if is_apex => continue,
                // An operator who writes these into the zone means it: so a zone goes insecure (RFC 8078 section 4).
                Rtype::CDS | Rtype::CDNSKEY if is_apex => {
                    added.retain(|(made, _)| made.rtype != set.rtype);
                    By::All
                }
                _ => By::Zone,
            };
            match soa.take_if(|_| is_apex && set.rtype == Rtype::SOA) {
                Some(soa) => push(Cow::Owned(soa), by),
                None => push(Cow::Borrowed(set), by),
            }
        }
        for (set, by) in added {
            push(Cow::Owned(set), by);
        }
        if !occluded && !name.types.is_empty() {
            own.push(name);
        }
    }
    match policy.denial {
        Denial::Nsec => names_chain(&own, unsigned.negative_ttl(), &mut items),
        Denial::Nsec3 => hashes_chain(&own, unsigned, &mut items)?,
    }
    Some(items)
}

/// What the apex has besides what stands in the zone. Keys that stand there are those of other signers (RFC 8901).
fn of_apex(apex: &Name, foreign: Option<&RrSet>, keys: &[Key], policy: &Policy) -> Vec<(RrSet, By)> {
    let states: Vec<KeyState> = keys.iter().map(|key| key.state.clone()).collect();
    let asked: Vec<u16> = asked_of_parent(&states).map(|key| key.tag).collect();
    let asked = keys.iter().filter(|key| asked.contains(&key.state.tag)).map(Key::dnskey);
    let published = keys.iter().filter(|key| key.state.is_published()).map(Key::dnskey);
    let foreign = foreign.into_iter().flat_map(RrSet::iter).map(<[u8]>::to_vec);
    let ttl = policy.dnskey_ttl;
    // RFC 8624 section 3.3: SHA-256 and nothing else.
    let cds = asked.clone().filter_map(|dnskey| ds_rdata(apex, &dnskey, Ds::SHA256));
    let mut sets = vec![
        (set(Rtype::DNSKEY, ttl, published.chain(foreign)), By::Keys),
        (set(Rtype::CDS, ttl, cds), By::All),
        (set(Rtype::CDNSKEY, ttl, asked), By::All),
    ];
    if policy.denial == Denial::Nsec3 {
        // Only the servers of the zone need it, and who transfers it asks no cache.
        sets.push((set(Rtype::NSEC3PARAM, 0, [NSEC3_PARAMETERS.to_vec()]), By::Zone));
    }
    sets.into_iter().filter_map(|(set, by)| Some((set?, by))).collect()
}

fn set(rtype: Rtype, ttl: u32, records: impl IntoIterator<Item = Vec<u8>>) -> Option<RrSet> {
    let mut set = RrSetBuilder::new(rtype, ttl);
    for record in records {
        set.push(&record);
    }
    set.build()
}

/// One NSEC record for each name, which leads to the next (RFC 4034 section 4).
fn names_chain<'z>(own: &[Own<'z>], ttl: u32, items: &mut Vec<Item<'z>>) {
    let nexts = own.iter().cycle().skip(1);
    for (name, next) in own.iter().zip(nexts) {
        let types = name.types.iter().copied().chain([Rtype::RRSIG, Rtype::NSEC]);
        let rdata = [next.owner.as_wire(), &type_bitmap(types)].concat();
        if let Some(set) = set(Rtype::NSEC, ttl, [rdata]) {
            items.push(Item { owner: Cow::Borrowed(name.owner), set: Cow::Owned(set), by: By::Zone });
        }
    }
}

/// SHA-1, no flags, no further iterations, no salt (RFC 9276 section 3.1).
const NSEC3_PARAMETERS: [u8; 5] = [Nsec3::SHA1, 0, 0, 0, 0];

/// One NSEC3 record for each name and each empty non-terminal, which leads to the next hash (RFC 5155 section 7.1).
fn hashes_chain<'z>(own: &[Own<'z>], zone: &Zone, items: &mut Vec<Item<'z>>) -> Option<()> {
    let apex = zone.apex();
    let mut hashes: BTreeMap<Nsec3Hash, Vec<u8>> = BTreeMap::new();
    for name in own {
        let signed = name.signed.then_some(Rtype::RRSIG);
        let types = type_bitmap(name.types.iter().copied().chain(signed));
        hashes.insert(nsec3_hash(name.owner, &[], 0), types);
        let mut above = name.owner.parent();
        while let Some(encloser) = above.filter(|encloser| encloser.is_below(apex)) {
            // What has records comes by itself; what was met before has been followed upwards already.
            if zone.glue(&encloser.key()).is_some_and(|node| !node.rrsets().is_empty()) {
                break;
            }
            let met = hashes.insert(nsec3_hash(&encloser, &[], 0), Vec::new());
            if met.is_some() {
                break;
            }
            above = encloser.parent();
        }
    }
    let nexts = hashes.keys().cycle().skip(1);
    for ((hash, types), next) in hashes.iter().zip(nexts) {
        let mut rdata = NSEC3_PARAMETERS.to_vec();
        rdata.push(next.len() as u8);
        rdata.extend_from_slice(next);
        rdata.extend_from_slice(types);
        let owner = hashed_owner(hash, apex)?;
        if let Some(set) = set(Rtype::NSEC3, zone.negative_ttl(), [rdata]) {
            items.push(Item { owner: Cow::Owned(owner), set: Cow::Owned(set), by: By::Zone });
        }
    }
    Some(())
}
