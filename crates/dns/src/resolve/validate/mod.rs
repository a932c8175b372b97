//! Validation of other servers' answers (RFC 4033 to 4035, 5155, 6840), as a machine without sockets or clock.
//!
//! A [`Validator`] belongs to one question of a client. [`Validator::judge`] looks at one reply and says what it is worth:
//! secure, insecure, indeterminate, or that it is bogus and why; or which DS or DNSKEY records it must know for that. Who
//! drives it has them found, judged by the same validator, and asks again.
//!
//! The chain of trust is followed from the top as the iteration comes down: a referral brings the DS records of the zone
//! below, or the proof that there are none; each zone is asked for its DNSKEY records once. DS records are asked for only
//! where no referral has shown them: behind a delegation from the cache, or where a server answers for a zone and for one
//! below it.
//!
//! | module | what |
//! | --- | --- |
//! | [`anchors`] | where trust begins, and where not |
//! | [`trust`] | what is known of the chain |
//! | [`keys`] | from DS records to keys |
//! | [`signature`] | one set, its signatures, the keys |
//! | [`denial`] | what is not there: by [`nsec`] or [`nsec3`] |

pub mod anchors;
mod denial;
mod keys;
mod nsec;
mod nsec3;
mod signature;
mod trust;

use std::sync::Arc;

pub use anchors::Anchors;
pub use trust::Trust;

use super::Delegation;
use super::evidence::{Evidence, Proven, Sections};
use super::iterate::Context;
use super::rename::is_made;
use super::reply::{Owned, Reply};
use super::security::{Failure, Security, Unsigned};
use crate::wire::options::extended;
use crate::wire::{Name, RrSet, Rtype};
use denial::{Denials, Denied};
use signature::{Budget, Signature, bogus, check};
use trust::{Chain, Keys, Said};

/// Records that must be known first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub name: Name,
    /// DS or DNSKEY.
    pub rtype: Rtype,
}

/// Why there is no verdict.
#[derive(Debug)]
pub enum Stop {
    Need(Need),
    /// The reply is bogus.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a reply is worth.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Of each record set of the reply, in their order.
    pub sets: Vec<Proven>,
    /// Of what is not there.
    pub missing: Option<Proven>,
    /// What the reply says of a zone below, and for how many seconds.
    pub trust: Option<(Name, Trust, u32)>,
    /// In words: what was found of whose records.
    pub findings: Vec<(Name, Rtype, String)>,
}

/// A reply and what it answers.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub name: &'a Name,
    pub rtype: Rtype,
    /// The zone whose server was asked.
    pub zone: &'a Name,
    pub reply: &'a Reply,
    pub sections: &'a Sections,
}

/// Validates what is found for one question of a client.
#[derive(Debug)]
pub struct Validator {
    chain: Chain,
    budget: Budget,
}

impl Validator {
    /// With `cached`, what the cache knows of the chain of trust counts.
    pub fn new(anchors: Arc<Anchors>, cached: bool) -> Self {
        Self { chain: Chain::new(anchors, cached), budget: Budget::default() }
    }

    /// Says what a reply is worth.
    pub fn judge(&mut self, question: Question<'_>, context: Context<'_>) -> Result<Verdict, Stop> {
        let mut verdict = Verdict::default();
        match question.reply {
            Reply::Answer(chain) | Reply::Alias(chain, _) => {
                self.sets(chain, question, context, &mut verdict)?;
            }
            Reply::NoData(chain, soa) => {
                self.sets(chain, question, context, &mut verdict)?;
                self.missing(chain, soa.as_ref(), false, question, context, &mut verdict)?;
            }
            Reply::NxDomain(chain, soa) => {
                self.sets(chain, question, context, &mut verdict)?;
                self.missing(chain, soa.as_ref(), true, question, context, &mut verdict)?;
            }
            Reply::Referral(delegation) => self.referral(delegation, question, context, &mut verdict)?,
            Reply::Truncated | Reply::NotUnderstood(_) | Reply::Refused(_) | Reply::Lame(_) => {}
        }
        if let Some((name, trust, ttl)) = &verdict.trust {
            self.chain.learn(name.clone(), trust.clone(), *ttl);
        }
        Ok(verdict)
    }

    fn sets(
        &mut self,
        chain: &[Owned],
        question: Question<'_>,
        context: Context<'_>,
        verdict: &mut Verdict,
    ) -> Result<(), Stop> {
        for (index, owned) in chain.iter().enumerate() {
            let (owner, rrset) = owned;
            let before = index.checked_sub(1).and_then(|before| chain.get(before));
            // The alias behind a DNAME was made here, and is as true as the DNAME.
            if is_made(before, owned)
                && let Some(dname) = verdict.sets.last()
            {
                let proven = Proven { evidence: None, ..dname.clone() };
                verdict.trust = trust_of(owned, &proven, question).or(verdict.trust.take());
                verdict.sets.push(proven);
                continue;
            }
            let (proven, finding) = self.set(owned, question, context)?;
            verdict.findings.push((owner.clone(), rrset.rtype, finding));
            verdict.trust = trust_of(owned, &proven, question).or(verdict.trust.take());
            verdict.sets.push(proven);
        }
        Ok(())
    }

    /// One record set of an answer.
    fn set(
        &mut self,
        owned: &Owned,
        question: Question<'_>,
        context: Context<'_>,
    ) -> Result<(Proven, String), Stop> {
        let (owner, rrset) = owned;
        let rtype = rrset.rtype;
        let signatures = question.sections.signatures(owner, rtype);
        let kept = |security: Security| {
            let said = security.to_string();
            Ok((Proven::new(security, Evidence::new(signatures, Vec::new()), u32::MAX), said))
        };
        if rtype == Rtype::RRSIG {
            // Signatures are not signed.
            return kept(Security::Indeterminate);
        }
        if rtype == Rtype::DNSKEY {
            return self.zone_keys(owner, rrset, signatures, context);
        }
        let zone = self.highest(question.zone, owner, rtype, context);
        let Some(signer) = signer(question.sections.signers(owner, rtype), owner, rtype, &zone) else {
            return match self.unsigned(&zone, owner, rtype, context)? {
                Some(security) => kept(security),
                None => {
                    let reason = format!("{owner} {rtype}: there is no signature of its zone");
                    Err(Failure::new(extended::RRSIGS_MISSING, reason).into())
                }
            };
        };
        let (zone_keys, signatures) = match (self.chain.keys(&signer, context)?, signatures) {
            (Keys::Signed(keys), Some(signatures)) => (keys, signatures),
            (Keys::Not(security), _) => return kept(security),
            (Keys::Signed(_), None) => return kept(Security::Bogus),
        };
        let now = context.wall;
        let signed = check((owner, rrset), signatures, (&signer, &zone_keys), now, &mut self.budget)?;
        let said = format!("signed by {signer} with key {}", signed.key_tag);
        let Some(labels) = signed.expanded_from else {
            let evidence = Evidence::new(Some(signatures), Vec::new());
            return Ok((Proven::new(Security::Secure, evidence, signed.lifetime), format!("secure, {said}")));
        };
        // Made of a wildcard: nothing nearer may exist (RFC 4035 section 5.3.4).
        let (verified, lifetime) = self.denials(&signer, &zone_keys, question.sections, now)?;
        let denials = Denials::new(&signer, &verified);
        let denied = denials.no_closer(owner, usize::from(labels), &mut self.budget)?;
        let Some(denied) = denied else {
            let reason =
                format!("{owner} {rtype}: made of a wildcard without proof that the name does not exist");
            return Err(missing_proof(&denials, reason).into());
        };
        let evidence = Evidence::new(Some(signatures), question.sections.witnesses());
        let security = denied.unsigned.map_or(Security::Secure, Security::Insecure);
        let proven = Proven::new(security, evidence, signed.lifetime.min(lifetime));
        Ok((proven, format!("{security}, a wildcard {said}")))
    }

    /// The keys of a zone, which what is said above vouches for.
    fn zone_keys(
        &mut self,
        zone: &Name,
        rrset: &Arc<RrSet>,
        signatures: Option<&RrSet>,
        context: Context<'_>,
    ) -> Result<(Proven, String), Stop> {
        let evidence = || Evidence::new(signatures, Vec::new());
        let not = |security: Security| {
            (Proven::new(security, evidence(), u32::MAX), format!("{} keys, {security}", rrset.count()))
        };
        let (ds, lifetime) = match self.chain.said(zone, context)? {
            Said::Trust(Trust::Ds(ds), lifetime) => (ds, lifetime),
            Said::Trust(Trust::Insecure(why), _) => return Ok(not(Security::Insecure(why))),
            Said::Nothing => return Ok(not(Security::Indeterminate)),
            Said::Trust(Trust::NoCut, _) => {
                return Err(
                    bogus(format!("{zone} has keys, but the zone above knows of no such zone")).into()
                );
            }
        };
        let by = keys::check_keys(zone, &ds, rrset, signatures, context.wall, &mut self.budget)?;
        self.chain.learn_keys(zone.clone(), rrset.clone());
        let vouching = match zone.parent() {
            Some(_) if lifetime != u32::MAX => format!("DS {} of the zone above", by.key_tag),
            _ => format!("trust anchor {}", by.key_tag),
        };
        let said = format!("{} keys, secure by {vouching}", rrset.count());
        Ok((Proven::new(Security::Secure, evidence(), by.lifetime.min(lifetime)), said))
    }

    /// The highest zone that may speak for a name when a server of `zone` was asked. Above a trust anchor nobody may, however
    /// the answer was come by: a zone above it that is not signed would make what is below as good as unsigned.
    fn highest(&self, zone: &Name, owner: &Name, rtype: Rtype, context: Context<'_>) -> Name {
        let from = if rtype == Rtype::DS { owner.parent() } else { None };
        match self.chain.anchors.above(from.as_ref().unwrap_or(owner), context.zones) {
            anchors::Above::Anchor(anchor, _) if anchor.is_below(zone) => anchor.clone(),
            _ => zone.clone(),
        }
    }

    /// Why a name's records in `zone` need not be signed; `None`: they must be.
    fn unsigned(
        &self,
        zone: &Name,
        owner: &Name,
        rtype: Rtype,
        context: Context<'_>,
    ) -> Result<Option<Security>, Stop> {
        let mut way = vec![zone.clone()];
        let mut name = if rtype == Rtype::DS { owner.parent() } else { Some(owner.clone()) };
        let at = way.len();
        while let Some(below) = name.filter(|name| name.is_below(zone)) {
            name = below.parent();
            way.insert(at, below);
        }
        for name in way {
            match self.chain.said(&name, context)? {
                Said::Nothing => return Ok(Some(Security::Indeterminate)),
                Said::Trust(Trust::Insecure(why), _) => return Ok(Some(Security::Insecure(why))),
                Said::Trust(Trust::Ds(_) | Trust::NoCut, _) => {}
            }
        }
        Ok(None)
    }

    /// The NSEC and NSEC3 records that `zone` signed, and for how many seconds they hold.
    fn denials<'s>(
        &mut self,
        zone: &Name,
        keys: &RrSet,
        sections: &'s Sections,
        now: u32,
    ) -> Result<(Vec<&'s Owned>, u32), Failure> {
        let (mut verified, mut lifetime) = (Vec::new(), u32::MAX);
        let mut failure = None;
        for owned in sections.denials() {
            let (owner, rrset) = owned;
            let Some(signatures) = sections.signatures(owner, rrset.rtype) else { continue };
            match check((owner, rrset), signatures, (zone, keys), now, &mut self.budget) {
                // A name's proof is never made of a wildcard.
                Ok(Signature { expanded_from: None, lifetime: left, .. }) => {
                    lifetime = lifetime.min(left);
                    verified.push(owned);
                }
                Ok(_) => {}
                Err(other) => failure = Some(other),
            }
        }
        match failure {
            Some(failure) if verified.is_empty() => Err(failure),
            _ => Ok((verified, lifetime)),
        }
    }

    /// That a name, or its records of a type, are not there.
    fn missing(
        &mut self,
        chain: &[Owned],
        soa: Option<&Owned>,
        no_name: bool,
        question: Question<'_>,
        context: Context<'_>,
        verdict: &mut Verdict,
    ) -> Result<(), Stop> {
        let target = chain.last().and_then(|(_, alias)| Name::from_wire(alias.first()).ok());
        let name = target.unwrap_or_else(|| question.name.clone());
        let (rtype, sections) = (question.rtype, question.sections);
        let signatures = soa.and_then(|(owner, set)| sections.signatures(owner, set.rtype));
        let mut conclude = |security: Security, lifetime: u32, said: String, delegation: Option<bool>| {
            let trust = match (security, delegation) {
                (Security::Insecure(why), _) => Some(Trust::Insecure(why)),
                (Security::Secure, Some(true)) => Some(Trust::Insecure(Unsigned::NoDs)),
                (Security::Secure, Some(false)) => Some(Trust::NoCut),
                _ => None,
            };
            if rtype == Rtype::DS && chain.is_empty() {
                verdict.trust = trust.map(|trust| (name.clone(), trust, lifetime));
            }
            let evidence = Evidence::new(signatures, sections.witnesses());
            verdict.missing = Some(Proven::new(security, evidence, lifetime));
            verdict.findings.push((name.clone(), rtype, said));
        };
        let mut signers: Vec<Name> =
            sections.denials().iter().flat_map(|(owner, set)| sections.signers(owner, set.rtype)).collect();
        if let Some((owner, _)) = soa {
            signers.extend(sections.signers(owner, Rtype::SOA));
        }
        let ttl = soa.map_or(0, |(_, set)| set.ttl);
        let zone = self.highest(question.zone, &name, rtype, context);
        let Some(signer) = signer(signers, &name, rtype, &zone) else {
            return match self.unsigned(&zone, &name, rtype, context)? {
                Some(security) => {
                    conclude(security, ttl, security.to_string(), None);
                    Ok(())
                }
                None => {
                    let reason = format!("{name} {rtype}: it is not proven that there is no such thing");
                    Err(Failure::new(extended::NSEC_MISSING, reason).into())
                }
            };
        };
        let zone_keys = match self.chain.keys(&signer, context)? {
            Keys::Signed(keys) => keys,
            Keys::Not(security) => {
                conclude(security, ttl, security.to_string(), None);
                return Ok(());
            }
        };
        let now = context.wall;
        let mut lifetime = u32::MAX;
        if let Some((owner, set)) = soa {
            let signatures = signatures.filter(|_| *owner == signer).ok_or_else(|| {
                let reason = format!("{owner} SOA: there is no signature, though {signer} is a signed zone");
                Failure::new(extended::RRSIGS_MISSING, reason)
            })?;
            let signed = check((owner, set), signatures, (&signer, &zone_keys), now, &mut self.budget)?;
            lifetime = signed.lifetime;
        }
        let (verified, left) = self.denials(&signer, &zone_keys, sections, now)?;
        let denials = Denials::new(&signer, &verified);
        let denied = if no_name {
            denials.no_name(&name, &mut self.budget)?
        } else {
            denials.no_data(&name, rtype, &mut self.budget)?
        };
        let Some(Denied { delegation, unsigned }) = denied else {
            let what = if no_name { "does not exist".to_owned() } else { format!("has no {rtype} records") };
            return Err(missing_proof(&denials, format!("{name}: it is not proven that it {what}")).into());
        };
        let security = unsigned.map_or(Security::Secure, Security::Insecure);
        let said = format!("{security}, denied by {signer}");
        conclude(security, lifetime.min(left), said, Some(delegation));
        Ok(())
    }

    /// What a referral says of the zone below.
    fn referral(
        &mut self,
        delegation: &Delegation,
        question: Question<'_>,
        context: Context<'_>,
        verdict: &mut Verdict,
    ) -> Result<(), Stop> {
        let (cut, sections) = (&delegation.zone, question.sections);
        // Where an anchor or a setting says it, nobody else need.
        let anchors = Arc::clone(&self.chain.anchors);
        match anchors.above(cut, context.zones) {
            anchors::Above::Anchor(anchor, _) if anchor != cut => {}
            _ => return Ok(()),
        }
        let ds = sections.ds(cut);
        let signers = match ds {
            Some(_) => sections.signers(cut, Rtype::DS),
            None => sections
                .denials()
                .iter()
                .flat_map(|(owner, set)| sections.signers(owner, set.rtype))
                .collect(),
        };
        let Some(signer) = signer(signers, cut, Rtype::DS, question.zone) else {
            // Nothing signed is said of it: it is asked for when it is needed, if the zone is a signed one at all.
            return Ok(());
        };
        let Keys::Signed(zone_keys) = self.chain.keys(&signer, context)? else { return Ok(()) };
        let now = context.wall;
        let (trust, lifetime) = match (ds, sections.signatures(cut, Rtype::DS)) {
            (Some((_, set)), Some(signatures)) => {
                let signed = check((cut, set), signatures, (&signer, &zone_keys), now, &mut self.budget)?;
                let trust =
                    keys::can_be_checked(set).map_or_else(Trust::Insecure, |()| Trust::Ds(set.clone()));
                (trust, signed.lifetime)
            }
            _ => {
                let (verified, lifetime) = self.denials(&signer, &zone_keys, sections, now)?;
                let denials = Denials::new(&signer, &verified);
                match denials.no_data(cut, Rtype::DS, &mut self.budget)? {
                    Some(Denied { delegation: true, unsigned }) => {
                        (Trust::Insecure(unsigned.unwrap_or(Unsigned::NoDs)), lifetime)
                    }
                    _ => {
                        let reason = format!("{cut}: it is not proven that the zone is not signed");
                        return Err(missing_proof(&denials, reason).into());
                    }
                }
            }
        };
        let said = match &trust {
            Trust::Ds(ds) => format!("{} DS, secure, signed by {signer}", ds.count()),
            Trust::Insecure(why) => format!("{}, by {signer}", Security::Insecure(*why)),
            Trust::NoCut => String::new(),
        };
        verdict.findings.push((cut.clone(), Rtype::DS, said));
        verdict.trust = Some((cut.clone(), trust, lifetime));
        Ok(())
    }
}

/// What a set that answers a question for DS says of the zone.
fn trust_of(owned: &Owned, proven: &Proven, question: Question<'_>) -> Option<(Name, Trust, u32)> {
    let (owner, rrset) = owned;
    if question.rtype != Rtype::DS || *owner != *question.name {
        return None;
    }
    let trust = match proven.security {
        Security::Insecure(why) => Trust::Insecure(why),
        Security::Indeterminate | Security::Unchecked | Security::Bogus => return None,
        // An alias begins no zone.
        _ if rrset.rtype != Rtype::DS => Trust::NoCut,
        _ => keys::can_be_checked(rrset).map_or_else(Trust::Insecure, |()| Trust::Ds(rrset.clone())),
    };
    Some((owner.clone(), trust, proven.lifetime.min(rrset.ttl)))
}

/// The zone that counts as the signer of a set of `owner`, of those that are said to be: at or below the zone that was
/// asked, at or above the owner, the deepest; above it where the upper side of a cut has to speak.
fn signer(signers: Vec<Name>, owner: &Name, rtype: Rtype, zone: &Name) -> Option<Name> {
    let upper = rtype == Rtype::DS && !owner.is_root();
    let fitting = signers.into_iter().filter(|signer| {
        signer.is_at_or_below(zone) && owner.is_at_or_below(signer) && !(upper && signer == owner)
    });
    fitting.max_by_key(Name::label_count)
}

fn missing_proof(denials: &Denials<'_>, reason: String) -> Failure {
    let code = if denials.is_empty() { extended::NSEC_MISSING } else { extended::BOGUS };
    Failure::new(code, reason)
}
