//! Signatures and proofs as they come with an answer, and as they are kept with it, for clients that check themselves.

use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, Record};
use postroad_types::limits::{DNS_PROOF_SETS_MAX, DNS_SIGNATURES_PER_SET_MAX, DNS_TTL_S_MAX};

use super::reply::Owned;
use super::security::Security;
use crate::dnssec::Rrsig;
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype, rdata_to_wire, validate_rdata};

/// A record set that is part of a proof.
#[derive(Debug, Clone)]
pub struct Witness {
    pub owner: Name,
    pub rrset: Arc<RrSet>,
    pub signatures: Option<RrSet>,
}

/// What shows that an answer is true.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The RRSIG records of the set, or of the SOA where there is no set.
    pub signatures: Option<RrSet>,
    /// NSEC or NSEC3 records that show that there is no such name, type or closer name.
    pub proof: Box<[Witness]>,
}

impl Evidence {
    /// `None` where there is nothing to keep.
    pub fn new(signatures: Option<&RrSet>, proof: Vec<Witness>) -> Option<Arc<Self>> {
        let something = signatures.is_some() || !proof.is_empty();
        something.then(|| Arc::new(Self { signatures: signatures.cloned(), proof: proof.into() }))
    }

    /// Memory in octets.
    pub fn octets(&self) -> usize {
        let witness = |witness: &Witness| {
            size_of::<Witness>()
                + witness.owner.as_wire().len()
                + witness.rrset.octets()
                + witness.signatures.as_ref().map_or(0, RrSet::octets)
        };
        size_of::<Self>()
            + self.signatures.as_ref().map_or(0, RrSet::octets)
            + self.proof.iter().map(witness).sum::<usize>()
    }
}

/// What is known of a record set, or of there being none.
#[derive(Debug, Clone)]
pub struct Proven {
    pub security: Security,
    pub evidence: Option<Arc<Evidence>>,
    /// Seconds for which it may be taken as true, whatever its TTL says.
    pub lifetime: u32,
}

impl Proven {
    pub fn new(security: Security, evidence: Option<Arc<Evidence>>, lifetime: u32) -> Self {
        Self { security, evidence, lifetime }
    }

    /// Not looked at.
    pub fn not(security: Security) -> Self {
        Self::new(security, None, u32::MAX)
    }
}

/// The records of a message that prove others.
#[derive(Debug, Default)]
pub struct Sections {
    /// RRSIG records by owner and covered type.
    signatures: Vec<(Name, Rtype, RrSet)>,
    /// NSEC and NSEC3 records.
    denials: Vec<Owned>,
    ds: Vec<Owned>,
}

impl Sections {
    /// Takes what is at or below `zone`, within the bounds of what is looked at.
    pub fn read(message: &Message, zone: &Name) -> Self {
        let mut signatures: Vec<(Name, Rtype, RrSetBuilder)> = Vec::new();
        let mut sets: Vec<(Name, RrSetBuilder)> = Vec::new();
        for (record, in_authority) in message
            .answers
            .iter()
            .map(|record| (record, false))
            .chain(message.authorities.iter().map(|record| (record, true)))
        {
            let rtype = Rtype::from(record.record_type());
            let wanted = match rtype {
                Rtype::RRSIG => true,
                Rtype::NSEC | Rtype::NSEC3 | Rtype::DS => in_authority,
                _ => false,
            };
            let Some((owner, rdata)) = wanted.then(|| data(record, rtype, zone)).flatten() else { continue };
            let ttl = if record.ttl > DNS_TTL_S_MAX { 0 } else { record.ttl };
            if rtype != Rtype::RRSIG {
                let known = sets.iter().position(|(name, set)| *name == owner && set.rtype() == rtype);
                let at = known.unwrap_or(sets.len());
                if at < DNS_PROOF_SETS_MAX {
                    if known.is_none() {
                        sets.push((owner, RrSetBuilder::new(rtype, ttl)));
                    }
                    sets.get_mut(at).into_iter().for_each(|(_, set)| add(set, ttl, &rdata));
                }
                continue;
            }
            let Some(covered) = Rrsig::covered(&rdata) else { continue };
            let known = signatures.iter().position(|(name, rtype, _)| *name == owner && *rtype == covered);
            let at = known.unwrap_or(signatures.len());
            if at < 2 * DNS_PROOF_SETS_MAX {
                if known.is_none() {
                    signatures.push((owner, covered, RrSetBuilder::new(rtype, ttl)));
                }
                let set = signatures.get_mut(at).map(|(.., set)| set);
                if let Some(set) = set.filter(|set| set.len() < DNS_SIGNATURES_PER_SET_MAX) {
                    add(set, ttl, &rdata);
                }
            }
        }
        let mut sections = Self::default();
        let built = |(owner, covered, set): (_, _, RrSetBuilder)| Some((owner, covered, set.build()?));
        sections.signatures = signatures.into_iter().filter_map(built).collect();
        for (owner, set) in sets {
            let Some(set) = set.build().map(Arc::new) else { continue };
            let list = if set.rtype == Rtype::DS { &mut sections.ds } else { &mut sections.denials };
            list.push((owner, set));
        }
        sections
    }

    /// The signatures over a set.
    pub fn signatures(&self, owner: &Name, rtype: Rtype) -> Option<&RrSet> {
        let of = |(name, covered, _): &&(Name, Rtype, RrSet)| *covered == rtype && name == owner;
        self.signatures.iter().find(of).map(|(.., set)| set)
    }

    /// Whether there is any signature.
    pub fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// The zones that signed a set, each once.
    pub fn signers(&self, owner: &Name, rtype: Rtype) -> Vec<Name> {
        let mut signers: Vec<Name> = Vec::new();
        for rrsig in self.signatures(owner, rtype).into_iter().flat_map(RrSet::iter).filter_map(Rrsig::read) {
            if !signers.contains(&rrsig.signer) {
                signers.push(rrsig.signer);
            }
        }
        signers
    }

    /// NSEC and NSEC3 records.
    pub fn denials(&self) -> &[Owned] {
        &self.denials
    }

    /// The DS records of a delegation in authority.
    pub fn ds(&self, cut: &Name) -> Option<&Owned> {
        self.ds.iter().find(|(owner, _)| owner == cut)
    }

    /// The NSEC and NSEC3 records with their signatures, to be kept.
    pub fn witnesses(&self) -> Vec<Witness> {
        let witness = |(owner, rrset): &Owned| Witness {
            owner: owner.clone(),
            rrset: rrset.clone(),
            signatures: self.signatures(owner, rrset.rtype).cloned(),
        };
        self.denials.iter().map(witness).collect()
    }
}

fn add(set: &mut RrSetBuilder, ttl: u32, rdata: &[u8]) {
    set.lower_ttl(ttl);
    set.push(rdata);
}

fn data(record: &Record, rtype: Rtype, zone: &Name) -> Option<(Name, Vec<u8>)> {
    let owner = Name::from_hickory(&record.name).ok().filter(|owner| owner.is_at_or_below(zone))?;
    let rdata = rdata_to_wire(&record.data).filter(|rdata| validate_rdata(rtype, rdata))?;
    (record.dns_class == DNSClass::IN).then_some((owner, rdata))
}
