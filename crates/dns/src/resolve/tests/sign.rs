//! Signs zones for the tests of validation: as they should be, or with something wrong at the place a test names.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::*;
use crate::dnssec::hashed::hashed_owner;
use crate::dnssec::{Algorithm, Ds, Rrsig, ds_rdata, nsec3_hash, signed_data, type_bitmap};
use crate::wire::{RrSet, display_rdata};
use crate::zone::parse_records;

/// A record of a zone.
pub struct Made {
    pub owner: Name,
    pub rtype: Rtype,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

/// How a zone denies what is not there.
#[derive(Clone, Copy)]
pub enum Denial {
    Nsec,
    /// Flags and iterations.
    Nsec3(u8, u16),
}

/// A zone's only key, and how it signs.
pub struct Signer {
    pub zone: Name,
    pair: EcdsaKeyPair,
    pub flags: u16,
    pub algorithm: u8,
    pub denial: Denial,
    /// Seconds since 1970.
    pub times: (u32, u32),
    pub records: Vec<Made>,
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl Signer {
    pub fn new(zone: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self {
            zone: name(zone),
            pair,
            flags: 257,
            algorithm: 13,
            denial: Denial::Nsec,
            times: (BEGINNING - 3600, BEGINNING + 7 * 86_400),
            records: Vec::new(),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn dnskey(&self) -> Vec<u8> {
        let mut rdata = self.flags.to_be_bytes().to_vec();
        rdata.extend_from_slice(&[3, self.algorithm]);
        rdata.extend_from_slice(&self.pair.public_key().as_ref()[1..]);
        rdata
    }

    /// The zone's DS record as a line of the zone above.
    pub fn ds(&self) -> String {
        let rdata = ds_rdata(&self.zone, &self.dnskey(), Ds::SHA256).unwrap();
        format!("{} DS {}\n", self.zone, display_rdata(Rtype::DS, &rdata))
    }

    pub fn anchors(&self) -> Anchors {
        let mut anchors = Anchors::default();
        anchors.add(self.ds().as_bytes(), std::path::Path::new("anchors")).unwrap();
        anchors
    }

    /// The signature over a set as record data.
    pub fn rrsig(&self, owner: &Name, rrset: &RrSet) -> Vec<u8> {
        let mut rrsig = Rrsig {
            type_covered: rrset.rtype,
            algorithm: Algorithm(self.algorithm),
            labels: (owner.label_count() - usize::from(owner.is_wildcard())) as u8,
            original_ttl: rrset.ttl,
            expiration: self.times.1,
            inception: self.times.0,
            key_tag: crate::dnssec::key_tag(&self.dnskey()),
            signer: self.zone.clone(),
            signature: &[],
        };
        let data = signed_data(&rrsig, owner, rrset).unwrap();
        let signature = self.pair.sign(&SystemRandom::new(), &data).unwrap();
        rrsig.signature = signature.as_ref();
        [rrsig.head().as_slice(), rrsig.signature].concat()
    }

    /// Takes the zone's text, but for the SOA, and makes and signs its records.
    pub fn sign(mut self, text: &str) -> Self {
        let text = format!("$TTL 300\n@ SOA ns h 1 1h 15m 1w 60\n{text}");
        let none = |_: &std::path::Path| Err(std::io::Error::other("no files"));
        let plain = parse_records(text.as_bytes(), std::path::Path::new("zone"), &self.zone, &none).unwrap();
        let mut sets: BTreeMap<(Name, Rtype), RrSetBuilder> = BTreeMap::new();
        for (owner, rtype, rdata) in plain {
            let set = sets.entry((owner, rtype)).or_insert_with(|| RrSetBuilder::new(rtype, 300));
            set.push(&rdata);
        }
        let mut keys = RrSetBuilder::new(Rtype::DNSKEY, 300);
        keys.push(&self.dnskey());
        sets.insert((self.zone.clone(), Rtype::DNSKEY), keys);
        if let Denial::Nsec3(_, iterations) = self.denial {
            let [high, low] = iterations.to_be_bytes();
            let mut parameters = RrSetBuilder::new(Rtype::NSEC3PARAM, 0);
            parameters.push(&[1, 0, high, low, 1, 7]);
            sets.insert((self.zone.clone(), Rtype::NSEC3PARAM), parameters);
        }
        let zone = self.zone.clone();
        let cuts: Vec<Name> = sets
            .keys()
            .filter(|(owner, rtype)| *rtype == Rtype::NS && *owner != zone)
            .map(|(owner, _)| owner.clone())
            .collect();
        let ours = |owner: &Name| !cuts.iter().any(|cut| owner.is_below(cut));
        let signed = |owner: &Name, rtype| !cuts.contains(owner) || rtype == Rtype::DS;
        let mut types: BTreeMap<Name, BTreeSet<Rtype>> = BTreeMap::new();
        for (owner, rtype) in sets.keys().filter(|(owner, _)| ours(owner)) {
            let of = types.entry(owner.clone()).or_default();
            of.insert(*rtype);
            if signed(owner, *rtype) {
                of.insert(Rtype::RRSIG);
            }
        }
        for (owner, rtype, rdata) in self.denials(types) {
            let mut set = RrSetBuilder::new(rtype, 60);
            set.push(&rdata);
            sets.insert((owner, rtype), set);
        }
        for ((owner, rtype), set) in sets {
            let set = set.build().unwrap();
            let record = |rtype, rdata: &[u8]| Made {
                owner: owner.clone(),
                rtype,
                ttl: set.ttl,
                rdata: rdata.to_vec(),
            };
            self.records.extend(set.iter().map(|rdata| record(rtype, rdata)));
            let denial = matches!(rtype, Rtype::NSEC | Rtype::NSEC3);
            if ours(&owner) && (signed(&owner, rtype) || denial) {
                self.records.push(record(Rtype::RRSIG, &self.rrsig(&owner, &set)));
            }
        }
        self
    }

    fn denials(&self, mut types: BTreeMap<Name, BTreeSet<Rtype>>) -> Vec<(Name, Rtype, Vec<u8>)> {
        let Denial::Nsec3(flags, iterations) = self.denial else {
            let owners: Vec<Name> = types.keys().cloned().collect();
            let next = owners.iter().cycle().skip(1);
            let made = types.iter().zip(next).map(|((owner, types), next)| {
                let mut rdata = next.as_wire().to_vec();
                rdata.extend(type_bitmap(types.iter().copied().chain([Rtype::NSEC, Rtype::RRSIG])));
                (owner.clone(), Rtype::NSEC, rdata)
            });
            return made.collect();
        };
        for owner in types.keys().cloned().collect::<Vec<_>>() {
            let mut above = owner.parent();
            while let Some(name) = above.filter(|name| name.is_below(&self.zone)) {
                types.entry(name.clone()).or_default();
                above = name.parent();
            }
        }
        if flags & 1 != 0 {
            types.retain(|_, types| !types.iter().eq([&Rtype::NS]));
        }
        let hashes: BTreeMap<_, _> =
            types.iter().map(|(owner, types)| (nsec3_hash(owner, &[7], iterations), types)).collect();
        let next = hashes.keys().cycle().skip(1);
        let made = hashes.iter().zip(next).map(|((own, types), next)| {
            let mut rdata = vec![1, flags];
            rdata.extend_from_slice(&iterations.to_be_bytes());
            rdata.extend_from_slice(&[1, 7, 20]);
            rdata.extend_from_slice(next);
            rdata.extend(type_bitmap(types.iter().copied()));
            (hashed_owner(own, &self.zone).unwrap(), Rtype::NSEC3, rdata)
        });
        made.collect()
    }

    /// Whether a record is the signature over a set.
    pub fn signs(record: &Made, owner: &str, covered: Rtype) -> bool {
        record.rtype == Rtype::RRSIG
            && record.owner == name(owner)
            && Rrsig::covered(&record.rdata) == Some(covered)
    }

    /// Takes the signature over a set away.
    pub fn unsign(&mut self, owner: &str, covered: Rtype) {
        let before = self.records.len();
        self.records.retain(|record| !Self::signs(record, owner, covered));
        assert!(self.records.len() < before, "{owner} {covered}");
    }

    /// Changes a signature.
    pub fn resign(&mut self, owner: &str, covered: Rtype, change: impl Fn(&mut Vec<u8>)) {
        let mut found = self.records.iter_mut().filter(|record| Self::signs(record, owner, covered));
        change(&mut found.next().unwrap().rdata);
    }

    /// The zone as it is served.
    pub fn zone(&self) -> Arc<crate::zone::Zone> {
        let mut text = String::new();
        for Made { owner, rtype, ttl, rdata } in &self.records {
            text.push_str(&format!("{owner} {ttl} {rtype} {}\n", display_rdata(*rtype, rdata)));
        }
        Arc::new(zone_from_text(&self.zone, &text).unwrap())
    }

    pub fn host(&self) -> Host {
        Host::Serves(Zones::new([self.zone()]))
    }
}
