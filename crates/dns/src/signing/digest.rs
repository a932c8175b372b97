//! The digest of a zone (RFC 8976), where the zone below asks for one by a ZONEMD record at its apex: scheme SIMPLE with
//! SHA-384, and SHA-512 beside it if a record of the zone below has that. It is over all records, so each version costs a
//! look at the whole zone.

use std::collections::BTreeMap;
use std::iter;

use aws_lc_rs::digest;

use super::content::set;
use crate::dnssec::canonical::{canonical_rdata, push_record};
use crate::wire::{Name, RrSet, Rtype};
use crate::zone::{Node, Zone};

const SIMPLE: u8 = 1;
const SHA384: u8 = 1;
const SHA512: u8 = 2;

/// Serial, scheme and algorithm, which stand before the digest.
const FIXED_OCTETS: usize = 6;

/// Scheme, algorithm and digest of a ZONEMD record.
fn read(rdata: &[u8]) -> Option<(u8, u8, &[u8])> {
    let (fixed, digest) = rdata.split_first_chunk::<FIXED_OCTETS>()?;
    let [_, _, _, _, scheme, algorithm] = *fixed;
    Some((scheme, algorithm, digest))
}

fn algorithm_of(number: u8) -> Option<&'static digest::Algorithm> {
    match number {
        SHA384 => Some(&digest::SHA384),
        SHA512 => Some(&digest::SHA512),
        _ => None,
    }
}

/// The digests that the version of before has, if they are those that the zone below asks for; else as many without value,
/// for the place of those to come. `None`: it asks for none.
pub(super) fn digests_before(apex: &Node, before: Option<&Zone>) -> Option<RrSet> {
    let asked = apex.rrset(Rtype::ZONEMD)?;
    let is_512 = |rdata: &[u8]| matches!(read(rdata), Some((SIMPLE, SHA512, _)));
    let wanted: Vec<u8> = iter::once(SHA384).chain(asked.iter().any(is_512).then_some(SHA512)).collect();
    let old = before.and_then(Zone::apex_node).and_then(|apex| apex.rrset(Rtype::ZONEMD));
    let algorithms = |set: &RrSet| set.iter().map(|rdata| read(rdata).map(|(_, number, _)| number)).collect();
    let fits = |old: &&RrSet| {
        let has: Option<Vec<u8>> = algorithms(old);
        old.ttl == asked.ttl && has.is_some_and(|has| has == wanted)
    };
    old.filter(fits).cloned().or_else(|| {
        let octets = |number: u8| algorithm_of(number).map_or(0, digest::Algorithm::output_len);
        let empty = |number: &u8| record(0, *number, &vec![0; octets(*number)]);
        set(Rtype::ZONEMD, asked.ttl, wanted.iter().map(empty))
    })
}

fn record(serial: u32, algorithm: u8, digest: &[u8]) -> Vec<u8> {
    [&serial.to_be_bytes()[..], &[SIMPLE, algorithm], digest].concat()
}

/// The digests of a zone in the place of those that it has. `None`: it has none.
pub(super) fn digests_of(zone: &Zone) -> Option<RrSet> {
    let present = zone.apex_node()?.rrset(Rtype::ZONEMD)?;
    let numbers: Vec<u8> =
        present.iter().filter_map(|rdata| read(rdata).map(|(_, number, _)| number)).collect();
    let digests = digests(zone, &numbers);
    let records = numbers.iter().zip(digests).map(|(number, digest)| record(zone.serial(), *number, &digest));
    set(Rtype::ZONEMD, present.ttl, records)
}

/// The digests of these algorithms over all records in canonical order but the digests themselves and their signatures
/// (RFC 8976 section 3.3).
fn digests(zone: &Zone, numbers: &[u8]) -> Vec<Vec<u8>> {
    let mut contexts: Vec<digest::Context> =
        numbers.iter().filter_map(|number| algorithm_of(*number)).map(digest::Context::new).collect();
    let mut octets = Vec::new();
    let mut nodes = |own: Option<&Node>, link: Option<&Node>| {
        let Some(owner) = own.or(link).map(|node| node.owner.to_lowercase()) else { return };
        octets.clear();
        records(zone, &owner, own.into_iter().chain(link), &mut octets);
        contexts.iter_mut().for_each(|context| context.update(&octets));
    };
    // Names that are hashes have their places among the others by their names, as they have none below them: in the order
    // of the hashes (RFC 5155 section 1.3).
    let apex_octets = zone.apex().key().as_bytes().len();
    let mut links = zone.hashes().iter().map(|node| (node.owner.key(), node)).peekable();
    for node in zone.tree().iter() {
        while let Some((_, link)) =
            links.next_if(|(key, _)| key.as_bytes().get(apex_octets..) < Some(node.key()))
        {
            nodes(None, Some(link));
        }
        let same = links.next_if(|(key, _)| key.as_bytes().get(apex_octets..) == Some(node.key()));
        nodes(Some(node), same.map(|(_, link)| &**link));
    }
    links.for_each(|(_, link)| nodes(None, Some(link)));
    contexts.into_iter().map(|context| context.finish().as_ref().to_vec()).collect()
}

/// The records of one name in canonical order (RFC 4034 section 6): sets by type, and within a set by data.
fn records<'z>(zone: &Zone, owner: &Name, nodes: impl Iterator<Item = &'z Node>, to: &mut Vec<u8>) {
    let mut sets: BTreeMap<Rtype, Vec<(u32, Vec<u8>)>> = BTreeMap::new();
    for (covered, set) in nodes.flat_map(Node::all_sets) {
        if *owner == *zone.apex() && (set.rtype == Rtype::ZONEMD || covered == Rtype::ZONEMD) {
            continue;
        }
        let data = set.iter().map(|rdata| (set.ttl, canonical_rdata(set.rtype, rdata)));
        sets.entry(set.rtype).or_default().extend(data);
    }
    for (rtype, mut records) in sets {
        records.sort_unstable_by(|(_, left), (_, right)| left.cmp(right));
        records.dedup();
        for (ttl, rdata) in records {
            push_record(to, owner, rtype, ttl, &rdata);
        }
    }
}
