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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::{Algorithm, Nsec3, rdata};
    use crate::keys::{Denial, Role};
    use crate::signing::sign::tests::{inputs, key, policy};
    use crate::signing::{Inputs, sign};
    use crate::zone::zone_from_text;

    const HEAD: &str = "example. 86400 SOA ns1 admin 2018031900 1800 900 604800 86400\n\
                        example. 86400 NS ns1\nexample. 86400 NS ns2\n";

    fn zone(records: &str) -> Zone {
        zone_from_text(&"example".parse().unwrap(), &format!("{HEAD}{records}")).unwrap()
    }

    fn digest(number: u8, hex: &str) -> Vec<u8> {
        rdata(Rtype::ZONEMD, &format!("2018031900 1 {number} {hex}"))
    }

    /// RFC 8976 appendices A.1 to A.3, without the record of A.2 that is outside the zone: no zone holds it here.
    #[test]
    fn the_examples_of_rfc_8976() {
        let a1 =
            "example. 86400 ZONEMD 2018031900 1 1 00\nns1 3600 A 203.0.113.63\nns2 3600 AAAA 2001:db8::63\n";
        let a2 = format!(
            "example. 86400 ZONEMD 2018031900 1 1 00\nns1 3600 A 203.0.113.63\nNS2 3600 AAAA 2001:db8::63\n\
             occluded.sub 7200 TXT \"I'm occluded but must be digested\"\nsub 7200 NS ns1\n\
             duplicate 300 TXT \"I must be digested just once\"\nduplicate 300 TXT \"I must be digested just once\"\n\
             UPPERCASE 3600 TXT \"canonicalize uppercase owner names\"\n* 777 PTR dont-forget-about-wildcards\n\
             mail 3600 MX 20 MAIL1\nmail 3600 MX 10 Mail2.Example.\n{}\
             non-apex 900 ZONEMD 2018031900 1 1 616c6c6f776564206275742069676e6f7265642e20616c6c6f77656420\
             6275742069676e6f7265642e20616c6c6f7765\n",
            ["5:61", "3:62", "4:63", "1:65", "2:64"]
                .map(|end| format!("sortme 3600 AAAA 2001:db8::{end}\n"))
                .concat()
        );
        let a3 = "ns1 3600 A 203.0.113.63\nns2 86400 TXT \"This example has multiple digests\"\n\
                  NS2.EXAMPLE. 3600 AAAA 2001:db8::63\n";
        let first = "62e6cf51b02e54b9b5f967d547ce43136792901f9f88e637493daaf401c92c279dd10f0edb1c56f8080211f8480ee306";
        let second = "08cfa1115c7b948c4163a901270395ea226a930cd2cbcf2fa9a5e6eb85f37c8a4e114d884e66f176eab121cb02db7d65\
                      2e0cc4827e7a3204f166b47e5613fd27";
        let both = format!(
            "example. 86400 ZONEMD 2018031900 1 1 {first}\nexample. 86400 ZONEMD 2018031900 1 2 {second}\n"
        );
        for (records, expected) in [
            (
                a1,
                vec![digest(
                    1,
                    "c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c",
                )],
            ),
            (
                &a2,
                vec![digest(
                    1,
                    "a3b69bad980a3504e1cffcb0fd6397f93848071c93151f552ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe",
                )],
            ),
            (&format!("{both}{a3}"), vec![digest(1, first), digest(2, second)]),
        ] {
            let made = digests_of(&zone(records)).unwrap();
            assert_eq!(made.iter().collect::<Vec<_>>(), expected);
        }
        assert!(digests_of(&zone(a3)).is_none());
    }

    #[test]
    fn a_signed_version_has_the_digests_that_are_asked_for() {
        let empty = |number: u8| {
            format!("@ 60 ZONEMD 1 1 {number} {}\n", "00".repeat(if number == 1 { 48 } else { 64 }))
        };
        let keys = [key(Algorithm::ECDSAP256, Role::Csk)];
        for (denial, asked, numbers) in [
            (Denial::Nsec, empty(1), vec![1]),
            (Denial::Nsec3, empty(1) + &empty(2), vec![1, 2]),
            (Denial::Nsec3, empty(2), vec![1, 2]),
            (Denial::Nsec, "@ 60 ZONEMD 1 240 1 000000000000000000000000\n".to_owned(), vec![1]),
        ] {
            let policy = policy(denial);
            let below =
                zone(&format!("{asked}ns1 60 A 192.0.2.1\na.b 60 TXT x\nc 60 NS d.c\nd.c 60 A 192.0.2.2\n"));
            let first = sign(inputs(&below, None, &keys, &policy)).unwrap().zone.unwrap();
            let check = |zone: &Zone| {
                let apex = zone.apex_node().unwrap();
                let set = apex.rrset(Rtype::ZONEMD).unwrap();
                assert_eq!(set.iter().map(|rdata| rdata[5]).collect::<Vec<_>>(), numbers);
                assert!(set.iter().all(|rdata| rdata[..4] == zone.serial().to_be_bytes()));
                assert!(apex.signatures(Rtype::ZONEMD).is_some());
                assert!(set.iter().eq(digests_of(zone).unwrap().iter()));
                // A digest of nothing else: what stands in the order of hashes is in the order of names.
                let hashes = zone
                    .hashes()
                    .iter()
                    .filter(|node| node.denial().is_some_and(|set| Nsec3::read(set.first()).is_some()));
                assert_eq!(hashes.count() > 0, denial == Denial::Nsec3);
            };
            check(&first);
            let inputs = Inputs { below: Some(&below), ..inputs(&below, Some(&first), &keys, &policy) };
            assert!(sign(inputs).unwrap().zone.is_none());
            let changed = zone(&format!("{asked}ns1 60 A 192.0.2.9\na.b 60 TXT x\n"));
            for below in [None, Some(&below)] {
                let next = sign(Inputs { unsigned: &changed, below, ..inputs }).unwrap().zone.unwrap();
                check(&next);
                assert!(
                    !next.apex_node().unwrap().rrset(Rtype::ZONEMD).unwrap().iter().eq(first
                        .apex_node()
                        .unwrap()
                        .rrset(Rtype::ZONEMD)
                        .unwrap()
                        .iter())
                );
            }
        }
    }
}
