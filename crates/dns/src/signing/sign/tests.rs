//! Signed zones, read back as a validator would: every signature is checked, every chain is walked.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::dnssec::hashed::{covers, hash_of_owner};
use crate::dnssec::{Algorithm, Dnskey, Ds, Nsec, Nsec3, Rrsig, nsec3_hash, verify};
use crate::keys::{Denial, KeyState, Role};
use crate::wire::Record;
use crate::zone::{Changes, Node, RecordPlace, zone_from_text, zone_with_changes};

const NOW: u64 = 1_800_000_000;

const ZONE: &str = "$TTL 300
@ 3600 SOA ns hostmaster 5 1h 15m 1w 600
@ NS ns
@ MX 10 mail
ns A 192.0.2.1
mail A 192.0.2.2
mail AAAA 2001:db8::2
* TXT wildcard
a.b.c TXT deep
alias CNAME mail
dn DNAME other.test.
secure NS ns.secure
secure DS 7 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.secure A 192.0.2.3
insecure NS ns.insecure
insecure A 192.0.2.4
ns.insecure A 192.0.2.5
x.y.insecure TXT occluded
far.away NS ns.other.test.
UPPER TXT case
";

fn zone(text: &str) -> Zone {
    zone_from_text(&"example".parse().unwrap(), text).unwrap()
}

pub(in crate::signing) fn key(algorithm: Algorithm, role: Role) -> Key {
    let (private, _) = crate::dnssec::PrivateKey::generate(algorithm).unwrap();
    let mut key = Key { state: KeyState::new(0, algorithm, role, 0), private: Arc::new(private) };
    key.state.tag = crate::dnssec::key_tag(&key.dnskey());
    (key.state.published, key.state.ds_asked) = (Some(1), Some(1));
    key.state.signing = Some(1).filter(|_| role.signs_zone());
    key
}

pub(in crate::signing) fn policy(denial: Denial) -> Policy {
    Policy { denial, ..Policy::default() }
}

pub(in crate::signing) fn inputs<'a>(
    unsigned: &'a Zone,
    before: Option<&'a Zone>,
    keys: &'a [Key],
    policy: &'a Policy,
) -> Inputs<'a> {
    Inputs { unsigned, before, below: None, keys, policy, serial: before.map(Zone::serial), now: NOW }
}

fn signed(unsigned: &Zone, keys: &[Key], policy: &Policy) -> Zone {
    sign(inputs(unsigned, None, keys, policy)).unwrap().zone.unwrap()
}

/// Checks every signature in the zone, and that every set that must have one has one for each algorithm.
fn check_signatures(zone: &Zone) -> usize {
    let apex = zone.apex_node().unwrap();
    let dnskeys: Vec<Vec<u8>> = apex.rrset(Rtype::DNSKEY).unwrap().iter().map(<[u8]>::to_vec).collect();
    let keys: Vec<Dnskey<'_>> = dnskeys.iter().map(|rdata| Dnskey::read(rdata).unwrap()).collect();
    let algorithms: BTreeSet<Algorithm> = keys.iter().map(|key| key.algorithm).collect();
    let mut count = 0;
    let cuts: Vec<&Name> = zone
        .nodes()
        .filter(|node| !node.key().is_empty() && node.rrset(Rtype::NS).is_some())
        .map(|node| &**node.owner)
        .collect();
    for node in zone.nodes() {
        let occluded = cuts.iter().any(|cut| node.owner.is_below(cut));
        let is_cut = cuts.contains(&&**node.owner);
        for set in node.rrsets() {
            let ours = !occluded && (!is_cut || matches!(set.rtype, Rtype::DS | Rtype::NSEC));
            let rrsigs = node.signatures(set.rtype);
            assert_eq!(rrsigs.is_some(), ours, "{} {}", node.owner, set.rtype);
            let mut by = BTreeSet::new();
            for rdata in rrsigs.into_iter().flat_map(RrSet::iter) {
                let rrsig = Rrsig::read(rdata).unwrap();
                let right = keys.iter().any(|key| verify(key, &rrsig, &node.owner, set));
                assert!(right && rrsig.is_in_time(NOW as u32), "{} {} {rrsig:?}", node.owner, set.rtype);
                assert_eq!(rrsigs.unwrap().ttl, set.ttl);
                by.insert(rrsig.algorithm);
                count += 1;
            }
            assert!(!ours || by == algorithms, "{} {}", node.owner, set.rtype);
        }
    }
    count
}

fn types_of(node: &Node) -> Vec<Rtype> {
    node.rrsets().map(|set| set.rtype).collect()
}

/// The names in an NSEC chain, each with its types, as the chain leads from one to the next.
fn nsec_chain(zone: &Zone) -> Vec<(String, Vec<Rtype>)> {
    let mut chain = Vec::new();
    let mut name = zone.apex().clone();
    loop {
        let node = zone.node(&name, Rtype::NSEC).unwrap();
        let set = node.rrset(Rtype::NSEC).unwrap();
        assert_eq!((set.count(), set.ttl), (1, zone.negative_ttl()));
        let nsec = Nsec::read(set.first()).unwrap();
        chain.push((name.to_string(), nsec.types.types()));
        name = nsec.next;
        if name == *zone.apex() {
            return chain;
        }
    }
}

#[test]
fn names_lead_from_one_to_the_next() {
    let keys = [key(Algorithm::ECDSAP256, Role::Csk)];
    let zone = signed(&zone(ZONE), &keys, &policy(Denial::Nsec));
    let chain = nsec_chain(&zone);
    let names: Vec<&str> = chain.iter().map(|(name, _)| name.trim_end_matches(".example.")).collect();
    assert_eq!(
        names,
        ["example.", "*", "alias", "far.away", "a.b.c", "dn", "insecure", "mail", "ns", "secure", "UPPER"]
    );
    let types = |name: &str| {
        let (_, types) = chain.iter().find(|(owner, _)| owner.trim_end_matches(".example.") == name).unwrap();
        types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(types("example."), "NS SOA MX RRSIG NSEC DNSKEY CDS CDNSKEY");
    assert_eq!(types("secure"), "NS DS RRSIG NSEC");
    assert_eq!(types("insecure"), "NS RRSIG NSEC");
    assert_eq!(types("alias"), "CNAME RRSIG NSEC");
    assert!(check_signatures(&zone) > 20);
    assert!(zone.is_signed() && zone.serial() == 5);
}

#[test]
fn hashes_lead_from_one_to_the_next() {
    let keys = [key(Algorithm::ED25519, Role::Csk)];
    let zone = signed(&zone(ZONE), &keys, &policy(Denial::Nsec3));
    let apex = zone.apex_node().unwrap();
    assert_eq!(apex.rrset(Rtype::NSEC3PARAM).unwrap().first(), [1, 0, 0, 0, 0]);
    assert!(zone.nodes().all(|node| node.rrset(Rtype::NSEC).is_none()));
    let mut found = BTreeMap::new();
    for node in zone.nodes().filter(|node| node.rrset(Rtype::NSEC3).is_some()) {
        let nsec3 = Nsec3::read(node.rrset(Rtype::NSEC3).unwrap().first()).unwrap();
        assert!((nsec3.iterations, nsec3.flags, nsec3.salt.len()) == (0, 0, 0));
        found.insert(
            hash_of_owner(&node.owner, zone.apex()).unwrap(),
            (nsec3.next_hash.to_vec(), nsec3.types.types()),
        );
    }
    let mut expected = BTreeMap::new();
    for (name, types) in [
        ("example.", "NS SOA MX RRSIG DNSKEY NSEC3PARAM CDS CDNSKEY"),
        ("*", "TXT RRSIG"),
        ("alias", "CNAME RRSIG"),
        ("away", ""),
        ("far.away", "NS"),
        ("c", ""),
        ("b.c", ""),
        ("a.b.c", "TXT RRSIG"),
        ("dn", "DNAME RRSIG"),
        ("insecure", "NS"),
        ("mail", "A AAAA RRSIG"),
        ("ns", "A RRSIG"),
        ("secure", "NS DS RRSIG"),
        ("upper", "TXT RRSIG"),
    ] {
        let name = if name == "example." { name.to_owned() } else { format!("{name}.example.") };
        expected.insert(nsec3_hash(&name.parse().unwrap(), &[], 0), types.to_owned());
    }
    let shown: BTreeMap<_, _> = found
        .iter()
        .map(|(hash, (_, types))| {
            (*hash, types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        })
        .collect();
    assert_eq!(shown, expected);
    let nexts = found.keys().cycle().skip(1);
    assert!(found.values().zip(nexts).all(|((to, _), next)| to == next));
    let gap = nsec3_hash(&"missing.example.".parse().unwrap(), &[], 0);
    assert_eq!(found.iter().filter(|(own, (next, _))| covers(&own[..], next, &gap)).count(), 1);
    check_signatures(&zone);
}

#[test]
fn two_roles_and_two_algorithms_sign_what_is_theirs() {
    let (ksk, zsk) = (key(Algorithm::ECDSAP256, Role::Ksk), key(Algorithm::ECDSAP256, Role::Zsk));
    let keys = [ksk.clone(), zsk.clone()];
    let zone_below = zone(ZONE);
    let first = signed(&zone_below, &keys, &policy(Denial::Nsec));
    check_signatures(&first);
    let by = |zone: &Zone, rtype: Rtype| -> Vec<u16> {
        let rrsigs = zone.apex_node().unwrap().signatures(rtype).unwrap();
        rrsigs.iter().map(|rdata| Rrsig::read(rdata).unwrap().key_tag).collect()
    };
    assert_eq!(
        (by(&first, Rtype::DNSKEY), by(&first, Rtype::SOA)),
        (vec![ksk.state.tag], vec![zsk.state.tag])
    );
    assert_eq!(by(&first, Rtype::CDS).len(), 2);
    let cds = first.apex_node().unwrap().rrset(Rtype::CDS).unwrap();
    assert!(Ds::read(cds.first()).unwrap().matches(first.apex(), &Dnskey::read(&ksk.dnskey()).unwrap()));
    // Another algorithm, which signs and is not published yet.
    let mut other = key(Algorithm::ED25519, Role::Csk);
    (other.state.published, other.state.ds_asked) = (None, None);
    let keys = [ksk, zsk, other.clone()];
    let policy = policy(Denial::Nsec);
    let next = sign(inputs(&zone_below, Some(&first), &keys, &policy)).unwrap();
    let zone = next.zone.unwrap();
    assert_eq!(by(&zone, Rtype::SOA).len(), 2);
    assert!(
        by(&zone, Rtype::MX).contains(&other.state.tag)
            && !by(&zone, Rtype::DNSKEY).contains(&other.state.tag)
    );
    assert_eq!(next.signed_by.len(), 2);
}

#[test]
fn what_has_not_changed_keeps_its_signatures_until_they_are_due() {
    let keys = [key(Algorithm::ECDSAP256, Role::Csk)];
    let policy = policy(Denial::Nsec);
    let below = zone(ZONE);
    let all = sign(inputs(&below, None, &keys, &policy)).unwrap();
    let first = all.zone.unwrap();
    let again = sign(inputs(&below, Some(&first), &keys, &policy)).unwrap();
    assert!(again.zone.is_none() && again.made == 0);
    assert_eq!((again.due, again.ends, &again.signed_by), (all.due, all.ends, &all.signed_by));
    assert!(all.due >= NOW + policy.validity - policy.jitter - policy.refresh && all.ends > all.due);
    // One record more: its set, two links of the chain, the SOA.
    let changed = zone(&format!("{ZONE}new A 192.0.2.9\n"));
    let next = sign(inputs(&changed, Some(&first), &keys, &policy)).unwrap();
    let second = next.zone.unwrap();
    assert_eq!((next.made, second.serial()), (4, 6));
    check_signatures(&second);
    // One less again; the serial goes on.
    let third = sign(inputs(&below, Some(&second), &keys, &policy)).unwrap();
    assert_eq!((third.made, third.zone.unwrap().serial()), (2, 7));
    // Glue is not signed, and is another version all the same.
    let glue = zone(&ZONE.replace("192.0.2.5", "192.0.2.6"));
    let next = sign(inputs(&glue, Some(&first), &keys, &policy)).unwrap();
    assert_eq!((next.made, next.zone.unwrap().serial()), (1, 6));
    // When they are due.
    let late = Inputs { now: all.due, ..inputs(&below, Some(&first), &keys, &policy) };
    let next = sign(late).unwrap();
    assert!(next.made >= 2 && next.zone.unwrap().serial() == 6 && next.due > all.due);
    let expired = Inputs { now: NOW + 20 * 86_400, ..late };
    assert_eq!(sign(expired).unwrap().made, all.made);
}

#[test]
fn serials_never_go_back_nor_fall_below_the_files() {
    let keys = [key(Algorithm::ED25519, Role::Csk)];
    let policy = policy(Denial::Nsec);
    let serial = |file: u32, served: Option<u32>| {
        let below = zone(&ZONE.replace("hostmaster 5", &format!("hostmaster {file}")));
        let inputs = Inputs { serial: served, ..inputs(&below, None, &keys, &policy) };
        sign(inputs).unwrap().zone.unwrap().serial()
    };
    assert_eq!(
        (serial(5, None), serial(5, Some(5)), serial(5, Some(9)), serial(20, Some(9))),
        (5, 6, 10, 20)
    );
    assert_eq!((serial(3, Some(u32::MAX)), serial(u32::MAX, Some(u32::MAX))), (3, 0));
    // A file with a higher serial and nothing else.
    let first = signed(&zone(ZONE), &keys, &policy);
    let below = zone(&ZONE.replace("hostmaster 5", "hostmaster 50"));
    let next = sign(inputs(&below, Some(&first), &keys, &policy)).unwrap();
    assert_eq!((next.made, next.zone.unwrap().serial()), (1, 50));
    // A lower one.
    let below = zone(&ZONE.replace("hostmaster 5", "hostmaster 4"));
    assert!(sign(inputs(&below, Some(&first), &keys, &policy)).unwrap().zone.is_none());
    // A version that was kept before the last that was served.
    let below = zone(ZONE);
    let lost = Inputs { serial: Some(8), ..inputs(&below, Some(&first), &keys, &policy) };
    assert_eq!(sign(lost).unwrap().zone.unwrap().serial(), 9);
}

#[test]
fn a_zones_own_delegation_records_count_more_than_ours() {
    let keys = [key(Algorithm::ED25519, Role::Csk)];
    let text = format!(
        "{ZONE}@ CDS 0 0 0 00\n@ CDNSKEY 0 3 0 AA==\n@ NSEC3PARAM 1 0 10 ab\n@ ZONEMD 5 1 1 {}\n",
        "00".repeat(48)
    );
    let zone = signed(&zone(&text), &keys, &policy(Denial::Nsec));
    let apex = zone.apex_node().unwrap();
    assert_eq!(apex.rrset(Rtype::CDS).unwrap().first(), [0; 5]);
    assert!(!types_of(apex).contains(&Rtype::NSEC3PARAM));
    check_signatures(&zone);
}

#[test]
fn a_zone_below_which_no_hash_has_room_is_not_signed_with_hashes() {
    let apex: Name = vec!["a".repeat(60); 4].join(".").parse().unwrap();
    let below = zone_from_text(&apex, "$TTL 60\n@ SOA ns.other. h 1 1 1 1 1\n@ NS ns.other.\n").unwrap();
    let keys = [key(Algorithm::ED25519, Role::Csk)];
    check_signatures(&signed(&below, &keys, &policy(Denial::Nsec)));
    let hashed = policy(Denial::Nsec3);
    let error = sign(inputs(&below, None, &keys, &hashed)).unwrap_err();
    assert!(matches!(error, SignError::TooLong(name) if name == apex));
}

/// All that a signed zone holds but signatures and the serial.
fn content(zone: &Zone) -> Vec<String> {
    let shown = |node: &Node, set: &RrSet| {
        let mut data: Vec<&[u8]> = set.iter().collect();
        data.sort_unstable();
        let data = if set.rtype == Rtype::SOA { Vec::new() } else { data };
        format!("{} {} {} {data:?}", node.owner, set.ttl, set.rtype)
    };
    zone.nodes().flat_map(|node| node.rrsets().map(move |set| shown(node, set))).collect()
}

const TYPES: [&str; 7] = [
    "A 192.0.2.1",
    "TXT x",
    "NS ns.other.",
    "DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000",
    "A 192.0.2.2",
    "MX 1 a",
    "TYPE65280 \\# 1 00",
];

fn below_of(records: &BTreeSet<(String, usize)>) -> Zone {
    let text: String = records.iter().map(|(owner, rtype)| format!("{owner} {}\n", TYPES[*rtype])).collect();
    zone(&format!("$TTL 60\n@ SOA ns.other. h 1 1 1 1 1\n@ NS ns.other.\n{text}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is changed, what comes of signing step by step is what comes of signing at once: where every name is looked
    /// at, and where only what has changed is; with empty non-terminals, cuts, what is below them, and wildcards.
    #[test]
    fn steps_lead_where_one_step_does(
        versions in proptest::collection::vec(
            proptest::collection::btree_set(("[a-c*](\\.[a-c]){0,2}", 0usize..TYPES.len()), 0..9), 1..5),
        denial in prop_oneof![Just(Denial::Nsec), Just(Denial::Nsec3)],
        knows_below in any::<bool>(),
    ) {
        let keys = [key(Algorithm::ED25519, Role::Csk)];
        let policy = policy(denial);
        let mut before: Option<(Zone, Zone)> = None;
        for records in versions {
            let new = below_of(&records);
            // As an update leads there: from the version before.
            let below = before.as_ref().map_or_else(|| zone_with(&new, &new), |(below, _)| zone_with(below, &new));
            let old = before.as_ref();
            let mut inputs = inputs(&below, old.map(|(_, signed)| signed), &keys, &policy);
            inputs.below = old.map(|(below, _)| below).filter(|_| knows_below);
            let next = sign(inputs).unwrap();
            let whole = signed(&new, &keys, &policy);
            prop_assert_eq!(next.zone.is_none(), old.is_some_and(|(_, signed)| content(signed) == content(&whole)));
            let zone = next.zone.or(before.take().map(|(_, signed)| signed)).unwrap();
            check_signatures(&zone);
            prop_assert_eq!(content(&zone), content(&whole));
            prop_assert_eq!((zone.records(), zone.names()), (whole.records(), whole.names()));
            before = Some((below, zone));
        }
    }
}

/// The version of a zone with the records of another, made as changes make it.
fn zone_with(old: &Zone, new: &Zone) -> Zone {
    let records = |zone: &Zone| {
        let mut records = Vec::new();
        zone.walk(&RecordPlace::default(), |node, set, rdata| {
            let (owner, rdata) = (Name::clone(&node.owner), rdata.to_vec());
            records.push(Record { owner, rtype: set.rtype, class: 1, ttl: set.ttl, rdata });
            true
        });
        records
    };
    let (old_records, new_records) = (records(old), records(new));
    let only = |left: &[Record], right: &[Record]| {
        left.iter().filter(|record| !right.contains(record)).cloned().collect::<Vec<_>>()
    };
    let changes =
        Changes { removed: only(&old_records, &new_records), added: only(&new_records, &old_records) };
    zone_with_changes(old, [changes], "x").unwrap()
}
