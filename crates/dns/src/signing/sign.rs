//! The signed version of a zone (RFC 4035 section 2), from the zone below it and the version that was served before: what
//! has not changed keeps its signatures until they are due.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use postroad_types::limits::{DNS_SIGNATURE_INCEPTION_S, DNS_SIGNATURES_TOGETHER_S_MAX};

use super::content::{By, Item, content};
use super::workers;
use crate::dnssec::{Algorithm, PrivateKeyError, Rrsig, signed_data};
use crate::keys::{Key, Policy};
use crate::wire::{Name, Record, RrSet, RrSetBuilder, Rtype};
use crate::zone::serial::is_newer;
use crate::zone::{Zone, ZoneErrors, zone_from_records};

/// Why a zone was not signed. What was served is served on.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("it has no SOA")]
    NoSoa,
    #[error("{0}")]
    Key(#[from] PrivateKeyError),
    #[error("a signature would not fit: {0}")]
    TooLong(Name),
    #[error("the records of {0} have no canonical form")]
    NoForm(Name),
    #[error("the signed version is no zone:\n{0}")]
    Zone(#[from] ZoneErrors),
}

/// What a signed version is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The zone as it stands in its file, or came.
    pub unsigned: &'a Zone,
    /// The version that was served before.
    pub before: Option<&'a Zone>,
    pub keys: &'a [Key],
    pub policy: &'a Policy,
    /// The last serial that was served.
    pub serial: Option<u32>,
    /// Seconds since 1970.
    pub now: u64,
}

/// What came of signing.
#[derive(Debug)]
pub struct Signed {
    /// The new version; `None` when that of before is still right.
    pub zone: Option<Zone>,
    /// When the first signature is due to be made anew.
    pub due: u64,
    /// When the first signature ends.
    pub ends: u64,
    /// The tags of the keys whose signatures are over the zone's records.
    pub signed_by: BTreeSet<u16>,
    /// Signatures that were made now.
    pub made: usize,
}

/// A signature to be made.
struct Job<'a> {
    item: usize,
    key: &'a Key,
}

/// Makes the signed version. Takes the processor for as long as the signatures take, on all cores.
pub fn sign(inputs: Inputs<'_>) -> Result<Signed, SignError> {
    let Inputs { unsigned, before, keys, policy, now, .. } = inputs;
    let soa = unsigned.soa().ok_or(SignError::NoSoa)?;
    // The SOA gets its serial when it is known whether there is a new version.
    let kept_serial = before.map_or(unsigned.serial(), Zone::serial);
    let soa = with_serial(soa, kept_serial).ok_or(SignError::NoSoa)?;
    let too_long = || SignError::TooLong(unsigned.apex().clone());
    let mut items = content(unsigned, soa, keys, policy).ok_or_else(too_long)?;
    let signing = Signing { inputs, trusted: Trusted::of(keys) };

    let mut kept: Vec<Vec<&[u8]>> = Vec::with_capacity(items.len());
    let mut jobs = Vec::new();
    let mut same = before.is_some_and(|before| before.serial() == inputs.serial.unwrap_or(before.serial()))
        && !is_newer(unsigned.serial(), kept_serial);
    for (index, item) in items.iter().enumerate() {
        let (still, missing) = signing.compare(item, &mut same);
        kept.push(still);
        jobs.extend(missing.into_iter().map(|key| Job { item: index, key }));
    }
    let records: usize = items.iter().map(|item| usize::from(item.set.count())).sum();
    let signatures = kept.iter().map(Vec::len).sum::<usize>() + jobs.len();
    same &= jobs.is_empty() && before.is_some_and(|before| before.records() == (records + signatures) as u64);

    let mut signed =
        Signed { zone: None, due: u64::MAX, ends: u64::MAX, signed_by: BTreeSet::new(), made: jobs.len() };
    if same {
        for (item, kept) in items.iter().zip(&kept) {
            kept.iter().for_each(|rdata| signed.note(item, rdata, policy, now));
        }
        return Ok(signed);
    }

    let serial = next_serial(unsigned.serial(), inputs.serial.or(before.map(Zone::serial)));
    for (index, item) in items.iter_mut().enumerate().filter(|(_, item)| item.set.rtype == Rtype::SOA) {
        item.set = Cow::Owned(with_serial(&item.set, serial).ok_or(SignError::NoSoa)?);
        kept.get_mut(index).into_iter().for_each(Vec::clear);
        jobs.retain(|job| job.item != index);
        jobs.extend(signing.trusted.signers(item.by).map(|key| Job { item: index, key }));
    }
    signed.made = jobs.len();
    let made = workers::all(&jobs, |job| match items.get(job.item) {
        Some(item) => signing.make(item, job.key),
        None => Ok(Vec::new()),
    })?;
    let mut made_for: HashMap<usize, Vec<Vec<u8>>> = HashMap::with_capacity(jobs.len());
    for (job, rdata) in jobs.iter().zip(made) {
        made_for.entry(job.item).or_default().push(rdata);
    }
    drop(jobs);
    let records = items.iter().zip(kept).enumerate().flat_map(|(index, (item, kept))| {
        let mut rrsigs = made_for.remove(&index).unwrap_or_default();
        rrsigs.extend(kept.into_iter().map(<[u8]>::to_vec));
        rrsigs.iter().for_each(|rdata| signed.note(item, rdata, policy, now));
        records_of(item, rrsigs)
    });
    let zone = zone_from_records(unsigned.apex(), unsigned.file(), records, "the signed zone")?;
    signed.zone = Some(zone);
    Ok(signed)
}

/// The keys by what they may sign.
struct Trusted<'a> {
    keys: &'a [Key],
    /// The algorithms of the keys that sign the zone.
    algorithms: BTreeSet<Algorithm>,
}

impl<'a> Trusted<'a> {
    fn of(keys: &'a [Key]) -> Self {
        let signing = keys.iter().filter(|key| key.state.signs_zone());
        Self { keys, algorithms: signing.map(|key| key.state.algorithm).collect() }
    }

    /// The keys that must have signed such a set, one for each algorithm for the zone's records.
    fn signers(&self, by: By) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| {
            let for_keys = matches!(by, By::Keys | By::All) && key.state.signs_keys();
            for_keys || (matches!(by, By::Zone | By::All) && key.state.signs_zone())
        })
    }

    /// Whether a signature of `tag` over such a set stays until it is due.
    fn stays(&self, by: By, tag: u16) -> bool {
        let key = self.keys.iter().map(|key| &key.state).find(|key| key.tag == tag);
        key.is_some_and(|key| match by {
            By::Nobody => false,
            By::Zone => key.is_trusted() && self.algorithms.contains(&key.algorithm),
            By::Keys => key.signs_keys(),
            By::All => key.signs_keys() || key.signs_zone(),
        })
    }
}

struct Signing<'a> {
    inputs: Inputs<'a>,
    trusted: Trusted<'a>,
}

impl<'a> Signing<'a> {
    /// The signatures of before that stay, and the keys that must sign anew. `same` becomes false where the version of
    /// before holds something else.
    fn compare(&self, item: &Item<'_>, same: &mut bool) -> (Vec<&'a [u8]>, Vec<&'a Key>) {
        let before = self.inputs.before.and_then(|before| before.node(&item.owner, item.set.rtype));
        let old =
            before.and_then(|node| node.rrset(item.set.rtype)).filter(|old| is_same_set(old, &item.set));
        *same &= old.is_some();
        if item.by == By::Nobody {
            return (Vec::new(), Vec::new());
        }
        let rrsigs = before.filter(|_| old.is_some()).and_then(|node| node.signatures(item.set.rtype));
        let mut kept = Vec::new();
        let mut kept_by: Vec<(u16, Algorithm)> = Vec::new();
        for rdata in rrsigs.into_iter().flat_map(RrSet::iter) {
            let Some(rrsig) = Rrsig::read(rdata) else { continue };
            let known = kept_by.iter().any(|(tag, algorithm)| match item.by {
                By::Zone => *algorithm == rrsig.algorithm,
                _ => *tag == rrsig.key_tag,
            });
            if !known && self.stays(item, &rrsig) {
                kept_by.push((rrsig.key_tag, rrsig.algorithm));
                kept.push(rdata);
            }
        }
        let missing = self.trusted.signers(item.by).filter(|key| {
            !kept_by.iter().any(|(tag, algorithm)| match item.by {
                By::Zone => *algorithm == key.state.algorithm,
                _ => *tag == key.state.tag,
            })
        });
        let missing = missing.collect();
        (kept, missing)
    }

    fn stays(&self, item: &Item<'_>, rrsig: &Rrsig<'_>) -> bool {
        let Inputs { unsigned, policy, now, .. } = self.inputs;
        // Those that would be due soon are made anew together.
        let together = (policy.refresh / 16).min(DNS_SIGNATURES_TOGETHER_S_MAX);
        let end = now + policy.refresh + together;
        rrsig.signer == *unsigned.apex()
            && rrsig.original_ttl == item.set.ttl
            && rrsig.is_in_time(now as u32)
            && !rrsig.is_expired(end as u32)
            && self.trusted.stays(item.by, rrsig.key_tag)
    }

    /// The data of a new RRSIG record.
    fn make(&self, item: &Item<'_>, key: &Key) -> Result<Vec<u8>, SignError> {
        let Inputs { unsigned, policy, now, .. } = self.inputs;
        let labels = item.owner.label_count() - usize::from(item.owner.is_wildcard());
        let validity = policy.validity.saturating_sub(self.jitter(item));
        let rrsig = Rrsig {
            type_covered: item.set.rtype,
            algorithm: key.state.algorithm,
            labels: labels as u8,
            original_ttl: item.set.ttl,
            expiration: (now + validity) as u32,
            inception: now.saturating_sub(DNS_SIGNATURE_INCEPTION_S) as u32,
            key_tag: key.state.tag,
            signer: unsigned.apex().clone(),
            signature: &[],
        };
        let no_form = || SignError::NoForm(item.owner.clone().into_owned());
        let data = signed_data(&rrsig, &item.owner, &item.set).ok_or_else(no_form)?;
        let mut rdata = rrsig.head();
        rdata.extend_from_slice(&key.private.sign(&data)?);
        Ok(rdata)
    }

    /// Seconds that a signature ends earlier than it might: other ones for each set and each time, so that what was made
    /// together does not stay together. That of the keys and the SOA last longest, as everything hangs on them.
    fn jitter(&self, item: &Item<'_>) -> u64 {
        let Inputs { policy, now, .. } = self.inputs;
        if item.by != By::Zone || item.set.rtype == Rtype::SOA {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (item.owner.as_wire(), item.set.rtype, now).hash(&mut hasher);
        hasher.finish() % (policy.jitter + 1)
    }
}

impl Signed {
    /// Takes down when a signature is due, and whose it is.
    fn note(&mut self, item: &Item<'_>, rdata: &[u8], policy: &Policy, now: u64) {
        let Some(rrsig) = Rrsig::read(rdata) else { return };
        let left = u64::from(rrsig.expiration.wrapping_sub(now as u32));
        self.ends = self.ends.min(now + left);
        self.due = self.due.min((now + left).saturating_sub(policy.refresh));
        if item.by == By::Zone {
            self.signed_by.insert(rrsig.key_tag);
        }
    }
}

/// The next serial: never below that of the zone below, nor one that was served before (RFC 1982).
fn next_serial(unsigned: u32, served: Option<u32>) -> u32 {
    match served {
        Some(served) if !is_newer(unsigned, served) => served.wrapping_add(1),
        _ => unsigned,
    }
}

fn with_serial(soa: &RrSet, serial: u32) -> Option<RrSet> {
    let mut rdata = soa.first().to_vec();
    let at = rdata.len().checked_sub(20)?;
    rdata.get_mut(at..at + 4)?.copy_from_slice(&serial.to_be_bytes());
    let mut set = RrSetBuilder::new(Rtype::SOA, soa.ttl);
    set.push(&rdata);
    set.build()
}

/// The same records with the same TTL, in whatever order.
fn is_same_set(left: &RrSet, right: &RrSet) -> bool {
    if left.ttl != right.ttl || left.count() != right.count() {
        return false;
    }
    left.iter().eq(right.iter()) || {
        let known: BTreeSet<&[u8]> = left.iter().collect();
        right.iter().all(|rdata| known.contains(rdata))
    }
}

fn records_of(item: &Item<'_>, rrsigs: Vec<Vec<u8>>) -> Vec<Record> {
    let ttl = item.set.ttl;
    let record = |rtype: Rtype, rdata: Vec<u8>| Record {
        owner: item.owner.clone().into_owned(),
        rtype,
        class: 1,
        ttl,
        rdata,
    };
    let records = item.set.iter().map(|rdata| record(item.set.rtype, rdata.to_vec()));
    records.chain(rrsigs.into_iter().map(|rdata| record(Rtype::RRSIG, rdata))).collect()
}

#[cfg(test)]
mod tests;
