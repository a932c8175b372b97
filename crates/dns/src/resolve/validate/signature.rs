//! One record set, its signatures and the keys of its zone (RFC 4035 section 5.3).

use postroad_types::limits::{
    DNS_KEYS_PER_TAG_MAX, DNS_NSEC3_HASHES_PER_QUESTION_MAX, DNS_SIGNATURES_PER_SET_MAX,
    DNS_VERIFICATIONS_FAILED_MAX, DNS_VERIFICATIONS_PER_QUESTION_MAX,
};

use crate::dnssec::canonical::signed_owner;
use crate::dnssec::{Dnskey, Rrsig, verify};
use crate::resolve::security::Failure;
use crate::wire::options::extended;
use crate::wire::{Name, RrSet};

/// Work that one question of a client may still cost, however often its validation begins again.
#[derive(Debug)]
pub struct Budget {
    verifications: usize,
    failures: usize,
    hashes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            verifications: DNS_VERIFICATIONS_PER_QUESTION_MAX,
            failures: DNS_VERIFICATIONS_FAILED_MAX,
            hashes: DNS_NSEC3_HASHES_PER_QUESTION_MAX,
        }
    }
}

impl Budget {
    /// Accounts for a signature or digest that is to be computed.
    pub fn verify(&mut self) -> Result<(), Failure> {
        let spent = self.failures == 0;
        let left = self.verifications.checked_sub(1).filter(|_| !spent);
        self.verifications =
            left.ok_or_else(|| bogus("too many signatures would have to be checked".to_owned()))?;
        Ok(())
    }

    /// Accounts for one that was wrong.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_sub(1);
    }

    /// Accounts for a name that is to be hashed.
    pub fn hash(&mut self) -> Result<(), Failure> {
        let left = self.hashes.checked_sub(1);
        self.hashes = left.ok_or_else(|| bogus("too many names would have to be hashed".to_owned()))?;
        Ok(())
    }

    /// What was computed so far: signatures and digests, hashes.
    #[cfg(test)]
    pub fn spent(&self) -> (usize, usize) {
        let hashes = DNS_NSEC3_HASHES_PER_QUESTION_MAX - self.hashes;
        (DNS_VERIFICATIONS_PER_QUESTION_MAX - self.verifications, hashes)
    }
}

pub(super) fn bogus(reason: String) -> Failure {
    Failure::new(extended::BOGUS, reason)
}

/// A signature that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    pub key_tag: u16,
    /// The set was made of a wildcard below the name with so many labels.
    pub expanded_from: Option<u8>,
    /// Seconds that the set may be kept: its TTL, the one that was signed, the rest of the signature's time (RFC 4035
    /// section 5.3.3).
    pub lifetime: u32,
}

/// How telling a failure is, if there are several: the more, the nearer the signature came to hold.
fn rank(failure: &Failure) -> u8 {
    match failure.extended_error {
        extended::SIGNATURE_EXPIRED | extended::SIGNATURE_EARLY => 4,
        extended::BOGUS => 3,
        extended::NO_ZONE_KEY => 2,
        extended::DNSKEY_MISSING => 1,
        _ => 0,
    }
}

/// Finds a signature that a key of `zone` made over the set at `now`, in seconds since 1970.
pub fn check(
    (owner, rrset): (&Name, &RrSet),
    signatures: &RrSet,
    (zone, keys): (&Name, &RrSet),
    now: u32,
    budget: &mut Budget,
) -> Result<Signature, Failure> {
    let rtype = rrset.rtype;
    let mut found =
        Failure::new(extended::RRSIGS_MISSING, format!("{owner} {rtype}: {zone} did not sign it"));
    let mut note = |failure: Failure| {
        if rank(&failure) > rank(&found) {
            found = failure;
        }
    };
    for rdata in signatures.iter().take(DNS_SIGNATURES_PER_SET_MAX) {
        let Some(rrsig) = Rrsig::read(rdata) else { continue };
        // The asterisk of a wildcard is not among the labels that are counted (RFC 4034 section 3.1.3).
        let labels = owner.label_count() - usize::from(owner.is_wildcard());
        if rrsig.type_covered != rtype || rrsig.signer != *zone || usize::from(rrsig.labels) > labels {
            continue;
        }
        let tag = rrsig.key_tag;
        if !rrsig.algorithm.is_supported() {
            note(Failure::new(
                extended::DNSKEY_MISSING,
                format!("{owner} {rtype}: algorithm {} is not known here", rrsig.algorithm),
            ));
            continue;
        }
        if rrsig.is_early(now) {
            let reason = format!("{owner} {rtype}: the signature of key {tag} is not valid yet");
            note(Failure::new(extended::SIGNATURE_EARLY, reason));
            continue;
        }
        if rrsig.is_expired(now) {
            let reason = format!("{owner} {rtype}: the signature of key {tag} has expired");
            note(Failure::new(extended::SIGNATURE_EXPIRED, reason));
            continue;
        }
        let named = keys.iter().filter_map(Dnskey::read).filter(|key| key.key_tag() == tag);
        let mut tried = 0;
        for key in named.filter(|key| key.algorithm == rrsig.algorithm).take(DNS_KEYS_PER_TAG_MAX) {
            if !may_sign(&key) {
                let reason = format!("{owner} {rtype}: key {tag} is no key for the zone {zone}");
                note(Failure::new(extended::NO_ZONE_KEY, reason));
                continue;
            }
            budget.verify()?;
            tried += 1;
            if verify(&key, &rrsig, owner, rrset) {
                let expanded = signed_owner(owner, rrsig.labels).is_some_and(|signed| signed != *owner);
                let left = rrsig.expiration.wrapping_sub(now);
                return Ok(Signature {
                    key_tag: tag,
                    expanded_from: expanded.then_some(rrsig.labels),
                    lifetime: rrset.ttl.min(rrsig.original_ttl).min(left),
                });
            }
            budget.failed();
        }
        note(if tried > 0 {
            bogus(format!("{owner} {rtype}: the signature of key {tag} does not hold"))
        } else {
            let reason = format!("{owner} {rtype}: {zone} has no key {tag}, with which it is signed");
            Failure::new(extended::DNSKEY_MISSING, reason)
        });
    }
    Err(found)
}

/// Whether signatures of this key count: RFC 4035 section 5.3.1, RFC 4034 section 2.1, RFC 5011 section 2.1.
pub fn may_sign(key: &Dnskey<'_>) -> bool {
    /// The only protocol there is.
    const PROTOCOL: u8 = 3;
    key.is_zone_key() && !key.is_revoked() && key.protocol == PROTOCOL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::key_tag;
    use crate::wire::{RrSetBuilder, Rtype};

    fn set(rtype: Rtype, records: impl IntoIterator<Item = Vec<u8>>) -> RrSet {
        let mut set = RrSetBuilder::new(rtype, 300);
        for record in records {
            set.push(&record);
        }
        set.build().unwrap()
    }

    /// Keys with one tag: pairs of octets may change their places without changing the sum.
    fn keys_of_one_tag(count: usize) -> RrSet {
        let key = |place: usize| {
            let mut rdata = vec![1, 1, 3, 13];
            rdata.extend((0..32u8).flat_map(|word| [word, 7]));
            rdata[4 + 2 * place..][..2].copy_from_slice(&[0, 7]);
            rdata[4..6].copy_from_slice(&[place as u8, 7]);
            rdata
        };
        let keys: Vec<Vec<u8>> = (0..count).map(key).collect();
        assert!(keys.iter().all(|key| key_tag(key) == key_tag(&keys[0])));
        set(Rtype::DNSKEY, keys)
    }

    fn rrsig(tag: u16, octet: u8) -> Vec<u8> {
        let mut rdata = vec![0, 1, 13, 2, 0, 0, 1, 44, 0, 0, 2, 0, 0, 0, 1, 0];
        rdata.extend_from_slice(&tag.to_be_bytes());
        rdata.extend_from_slice(b"\x04test\x00");
        rdata.extend_from_slice(&[octet; 64]);
        rdata
    }

    #[test]
    fn many_keys_of_one_tag_and_many_signatures_cost_a_bounded_number() {
        let (owner, zone): (Name, Name) = ("a.test".parse().unwrap(), "test".parse().unwrap());
        let keys = keys_of_one_tag(32);
        let tag = key_tag(keys.first());
        let signatures = set(Rtype::RRSIG, (0..100).map(|octet| rrsig(tag, octet)));
        let a = set(Rtype::A, [vec![192, 0, 2, 1]]);
        let mut budget = Budget::default();
        for _ in 0..20 {
            let failure = check((&owner, &a), &signatures, (&zone, &keys), 0x180, &mut budget).unwrap_err();
            assert_eq!(failure.extended_error, extended::BOGUS);
        }
        assert_eq!(budget.spent().0, DNS_VERIFICATIONS_FAILED_MAX, "for all that is asked of one question");
    }

    #[test]
    fn one_set_cannot_use_up_what_all_may_cost() {
        let (owner, zone): (Name, Name) = ("a.test".parse().unwrap(), "test".parse().unwrap());
        let keys = keys_of_one_tag(32);
        let a = set(Rtype::A, [vec![192, 0, 2, 1]]);
        let one = set(Rtype::RRSIG, [rrsig(key_tag(keys.first()), 1)]);
        let mut budget = Budget::default();
        assert!(check((&owner, &a), &one, (&zone, &keys), 0x180, &mut budget).is_err());
        assert_eq!(budget.spent().0, DNS_KEYS_PER_TAG_MAX);
    }

    #[test]
    fn times_and_tags_are_looked_at_before_anything_is_computed() {
        let (owner, zone): (Name, Name) = ("a.test".parse().unwrap(), "test".parse().unwrap());
        let keys = keys_of_one_tag(2);
        let a = set(Rtype::A, [vec![192, 0, 2, 1]]);
        let tag = key_tag(keys.first());
        let mut budget = Budget::default();
        for (tag, now, expected) in [
            (tag, 0x201, extended::SIGNATURE_EXPIRED),
            (tag, 0xff, extended::SIGNATURE_EARLY),
            (tag ^ 1, 0x180, extended::DNSKEY_MISSING),
        ] {
            let one = set(Rtype::RRSIG, [rrsig(tag, 1)]);
            let failure = check((&owner, &a), &one, (&zone, &keys), now, &mut budget).unwrap_err();
            assert_eq!(failure.extended_error, expected);
        }
        assert_eq!(budget.spent().0, 0);
    }
}
