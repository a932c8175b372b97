//! From what the zone above says of a zone's keys to the keys that count (RFC 4035 section 5.2).

use postroad_types::limits::DNS_KEYS_PER_TAG_MAX;

use super::signature::{Budget, Signature, check, may_sign};
use crate::dnssec::{Dnskey, Ds};
use crate::resolve::security::{Failure, Unsigned};
use crate::wire::options::extended;
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype};

/// Whether a key that this DS names can be checked here.
pub fn is_usable(ds: &Ds<'_>) -> bool {
    ds.algorithm.is_supported() && ds.is_supported()
}

/// Whether a zone with these DS records can be validated: one of known algorithm and digest is enough. Else why not; the
/// zone then is as if it were not signed.
pub fn can_be_checked(ds: &RrSet) -> Result<(), Unsigned> {
    let all = || ds.iter().filter_map(Ds::read);
    if all().any(|ds| is_usable(&ds)) {
        return Ok(());
    }
    Err(if all().any(|ds| ds.algorithm.is_supported()) { Unsigned::Digest } else { Unsigned::Algorithm })
}

/// Checks the keys of `zone` by what is said of them above: a key that a DS names must have signed them all. SHA-1 does
/// not count where there is something stronger (RFC 4509 section 3).
pub fn check_keys(
    zone: &Name,
    ds_set: &RrSet,
    keys: &RrSet,
    signatures: Option<&RrSet>,
    now: u32,
    budget: &mut Budget,
) -> Result<Signature, Failure> {
    let usable = || ds_set.iter().filter_map(Ds::read).filter(is_usable);
    let stronger = usable().any(|ds| ds.digest_type != Ds::SHA1);
    let mut named = RrSetBuilder::new(Rtype::DNSKEY, keys.ttl);
    for ds in usable().filter(|ds| !stronger || ds.digest_type != Ds::SHA1) {
        let of_tag = |key: &Dnskey<'_>| key.key_tag() == ds.key_tag && key.algorithm == ds.algorithm;
        let tried = keys.iter().filter_map(Dnskey::read).filter(of_tag).take(DNS_KEYS_PER_TAG_MAX);
        for key in tried {
            budget.verify()?;
            if ds.matches(zone, &key) {
                named.push(key.rdata());
            } else {
                budget.failed();
            }
        }
    }
    let Some(named) = named.build() else {
        let tags: Vec<String> = usable().map(|ds| ds.key_tag.to_string()).collect();
        let reason =
            format!("{zone} DNSKEY: none is the key {} that the zone above names", tags.join(" or "));
        return Err(Failure::new(extended::DNSKEY_MISSING, reason));
    };
    if !named.iter().filter_map(Dnskey::read).any(|key| may_sign(&key)) {
        let reason =
            format!("{zone} DNSKEY: the key that the zone above names is revoked or no key for a zone");
        return Err(Failure::new(extended::NO_ZONE_KEY, reason));
    }
    let Some(signatures) = signatures else {
        let reason = format!("{zone} DNSKEY: there is no signature");
        return Err(Failure::new(extended::RRSIGS_MISSING, reason));
    };
    check((zone, keys), signatures, (zone, &named), now, budget)
}
