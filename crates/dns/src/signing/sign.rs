//! The signed version of a zone (RFC 4035 section 2), from the zone below it and the version that was served before: what
//! has not changed keeps its signatures until they are due. Where it is known what the version before was made of, only
//! what differs is looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use postroad_types::limits::DNS_SIGNATURES_TOGETHER_S_MAX;

use super::content::apex_sets;
use super::digest::{digests_before, digests_of};
use super::signatures::Signing;
use super::whole::Making;
use crate::dnssec::PrivateKeyError;
use crate::keys::{Key, Policy};
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype};
use crate::zone::serial::is_newer;
use crate::zone::{Node, NodeChanges, Zone, ZoneErrors};

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
    #[error("without what signing makes it is no zone:\n{0}")]
    Zone(#[from] ZoneErrors),
}

/// What a signed version is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The zone as it stands in its file, or came.
    pub unsigned: &'a Zone,
    /// The version that was served before.
    pub before: Option<&'a Zone>,
    /// What that was made of, if all else that it was made of, keys and policy, is still the same.
    pub below: Option<&'a Zone>,
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

/// Makes the signed version. Takes the processor for as long as the signatures take, on all cores.
pub fn sign(inputs: Inputs<'_>) -> Result<Signed, SignError> {
    if inputs.unsigned.summary().made_by_signing > 0 {
        let bare = inputs.unsigned.without_signing()?;
        return sign(Inputs { unsigned: &bare, below: None, ..inputs });
    }
    let Inputs { unsigned, before, keys, policy, now, .. } = inputs;
    let below = inputs.below.filter(|below| {
        below.negative_ttl() == unsigned.negative_ttl() && below.summary().made_by_signing == 0
    });
    let (apex, soa) = unsigned.at(&[]).zip(unsigned.soa()).ok_or(SignError::NoSoa)?;
    // The SOA gets its serial when it is known whether there is a new version, and so does the digest.
    let kept_serial = before.map_or(unsigned.serial(), Zone::serial);
    let sets = |serial: u32, digests: Option<RrSet>| {
        let soa = with_serial(soa, serial).ok_or(SignError::NoSoa)?;
        Ok::<_, SignError>(apex_sets(apex, soa, digests, keys, policy))
    };
    let digests = digests_before(apex, before);
    let mut making = Making {
        unsigned,
        before,
        signing: Signing::new(unsigned.apex(), keys, policy, now, until(before, policy, now)),
        denial: policy.denial,
        apex_sets: sets(kept_serial, digests.clone())?,
    };
    let serial_stays = before
        .is_some_and(|before| before.serial() == inputs.serial.unwrap_or(before.serial()))
        && !is_newer(unsigned.serial(), kept_serial);
    let old_apex = before.and_then(|before| before.at(&[])).filter(|old| {
        let nsec = making.nsec(apex, making.next_of(apex));
        making.signing.is_same(apex, &making.apex_sets, nsec.as_ref(), old)
    });
    let same = |before: &Zone| Ok(Signed::of(before, policy, now));

    let stays = serial_stays && old_apex.is_some();
    let (rest, mut made) = match before.zip(below) {
        Some((before, below)) => {
            let step = making.step(below, before)?;
            if stays && step.names.is_empty() && step.hashes.is_empty() {
                return same(before);
            }
            (before.with_nodes(&step.names, &step.hashes), step.made)
        }
        None => {
            let whole = making.whole(old_apex.unwrap_or(apex))?;
            if let Some(before) = before.filter(|before| stays && whole.is(before)) {
                return same(before);
            }
            let made = whole.made();
            (whole.into_zone(unsigned), made)
        }
    };
    making.apex_sets =
        sets(next_serial(unsigned.serial(), inputs.serial.or(before.map(Zone::serial))), digests)?;
    let done = making.name(apex, making.next_of(apex))?;
    made += done.made;
    let with_apex = |rest: &Zone, node: &Arc<Node>| {
        rest.with_nodes(&NodeChanges::from([(Box::default(), Some(Arc::clone(node)))]), &NodeChanges::new())
    };
    let mut zone = with_apex(&rest, &done.node);
    if let Some(digests) = digests_of(&zone) {
        making.apex_sets = sets(zone.serial(), Some(digests))?;
        let nsec = making.nsec(apex, making.next_of(apex));
        // The other signatures stay.
        let node = making.signing.node(apex, &making.apex_sets, nsec, Some(&done.node))?.node;
        zone = with_apex(&zone, &node);
    }
    let zone = zone.in_file(unsigned.file());
    Ok(Signed { made, ..Signed::of(&zone, policy, now) }.with(zone))
}

/// Signatures that end by then are made anew: those that are due, and with them those that would be soon.
fn until(before: Option<&Zone>, policy: &Policy, now: u64) -> u32 {
    let due = now + policy.refresh;
    let first = before.and_then(|before| before.summary().first_end);
    let together = (policy.refresh / 16).min(DNS_SIGNATURES_TOGETHER_S_MAX);
    // So what a restart or an update finds due is nothing, where the clock has found nothing.
    let is_due = first.is_some_and(|end| ends_by(end, due as u32));
    (if is_due { due + together } else { due }) as u32
}

/// Whether `end` is not behind `until`, in the arithmetic of serial numbers (RFC 4034 section 3.1.5).
pub(super) fn ends_by(end: u32, until: u32) -> bool {
    until.wrapping_sub(end) < 1 << 31
}

impl Signed {
    /// Of a version that is still right.
    fn of(zone: &Zone, policy: &Policy, now: u64) -> Self {
        let summary = zone.summary();
        let ends = summary.first_end.map_or(u64::MAX, |end| now + u64::from(end.wrapping_sub(now as u32)));
        Self {
            zone: None,
            due: ends.saturating_sub(policy.refresh),
            ends,
            signed_by: summary.signed_by.into_iter().collect(),
            made: 0,
        }
    }

    fn with(self, zone: Zone) -> Self {
        Self { zone: Some(zone), ..self }
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

#[cfg(test)]
pub(in crate::signing) mod tests;
