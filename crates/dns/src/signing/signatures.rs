//! The signatures of one name: those of before that stay, and those that are made; and the node that comes of it.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use postroad_types::limits::DNS_SIGNATURE_INCEPTION_S;

use super::content::By;
use super::sign::{SignError, ends_by};
use crate::dnssec::{Algorithm, Rrsig, signed_data};
use crate::keys::{Key, Policy};
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype};
use crate::zone::Node;

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

/// A set, and who signs it.
#[derive(Clone, Copy)]
struct Item<'a> {
    owner: &'a Name,
    set: &'a RrSet,
    by: By,
}

/// The signatures of a set.
struct Signatures<'a> {
    item: Item<'a>,
    /// Those of before that stay.
    kept: Vec<&'a [u8]>,
    /// Who must sign anew.
    missing: Vec<&'a Key>,
}

/// A node of the signed zone.
pub(super) struct Done {
    pub node: Arc<Node>,
    /// Signatures that were made for it.
    pub made: usize,
}

/// Who signs, how and when.
pub(super) struct Signing<'a> {
    apex: &'a Name,
    trusted: Trusted<'a>,
    policy: &'a Policy,
    /// In seconds since 1970.
    now: u64,
    /// Signatures that end by then are made anew.
    pub until: u32,
}

impl<'a> Signing<'a> {
    pub(super) fn new(apex: &'a Name, keys: &'a [Key], policy: &'a Policy, now: u64, until: u32) -> Self {
        Self { apex, trusted: Trusted::of(keys), policy, now, until }
    }

    /// A node of the signed zone: `node` with these sets and this denial, given what it was before.
    pub(super) fn node(
        &self,
        node: &Arc<Node>,
        sets: &Arc<[RrSet]>,
        denial: Option<RrSet>,
        before: Option<&Arc<Node>>,
    ) -> Result<Done, SignError> {
        let mut signatures = Vec::new();
        let mut made = 0;
        let mut is_same = before.is_some_and(|before| {
            before.marks() == node.marks()
                && before.own_sets().len() == sets.len()
                && before.denial().is_some() == denial.is_some()
        });
        for set in sets.iter().chain(&denial) {
            let item = Item { owner: &node.owner, set, by: By::of(node, set.rtype) };
            let found = self.compare(item, before.map(|before| &**before), &mut is_same);
            if found.item.by == By::Nobody {
                continue;
            }
            made += found.missing.len();
            signatures.push(found);
        }
        let known = before.map_or(0, |before| before.all_signatures().count());
        is_same &= made == 0 && known == signatures.len();
        if let Some(before) = before.filter(|_| is_same) {
            return Ok(Done { node: Arc::clone(before), made: 0 });
        }
        let made_sets =
            signatures.into_iter().map(|found| self.sign(found)).collect::<Result<Vec<_>, _>>()?;
        let made_sets = made_sets.into_iter().flatten().collect();
        // Nothing is made of it: it is the same in the zone below.
        let is_plain = denial.is_none() && Vec::is_empty(&made_sets) && Arc::ptr_eq(sets, node.own_sets());
        let signed = if is_plain {
            Arc::clone(node)
        } else {
            let owner = Arc::clone(&node.owner);
            Arc::new(Node::new(owner, Arc::clone(sets), denial, made_sets).placed_as(node))
        };
        Ok(Done { node: signed, made })
    }

    /// Whether [`Signing::node`] would give `before`.
    pub(super) fn is_same(
        &self,
        node: &Arc<Node>,
        sets: &Arc<[RrSet]>,
        denial: Option<&RrSet>,
        before: &Arc<Node>,
    ) -> bool {
        let mut is_same =
            before.own_sets().len() == sets.len() && before.denial().is_some() == denial.is_some();
        let mut signed = 0;
        for set in sets.iter().chain(denial) {
            let item = Item { owner: &node.owner, set, by: By::of(node, set.rtype) };
            let found = self.compare(item, Some(before), &mut is_same);
            is_same &= found.missing.is_empty();
            signed += usize::from(item.by != By::Nobody);
        }
        is_same && before.all_signatures().count() == signed
    }

    /// The signatures of before that stay, and the keys that must sign anew. `is_same` becomes false where the name of
    /// before holds something else.
    fn compare<'s>(&'s self, item: Item<'s>, before: Option<&'s Node>, is_same: &mut bool) -> Signatures<'s> {
        let old = before.and_then(|node| node.rrset(item.set.rtype)).filter(|old| is_same_set(old, item.set));
        *is_same &= old.is_some();
        let mut found = Signatures { item, kept: Vec::new(), missing: Vec::new() };
        if item.by == By::Nobody {
            return found;
        }
        let rrsigs = before.filter(|_| old.is_some()).and_then(|node| node.signatures(item.set.rtype));
        let mut kept_by: Vec<(u16, Algorithm)> = Vec::new();
        for rdata in rrsigs.into_iter().flat_map(RrSet::iter) {
            let Some(rrsig) = Rrsig::read(rdata) else { continue };
            let known = kept_by.iter().any(|(tag, algorithm)| match item.by {
                By::Zone => *algorithm == rrsig.algorithm,
                _ => *tag == rrsig.key_tag,
            });
            if !known && self.stays(item, &rrsig) {
                kept_by.push((rrsig.key_tag, rrsig.algorithm));
                found.kept.push(rdata);
            }
        }
        *is_same &= rrsigs.is_some_and(|rrsigs| usize::from(rrsigs.count()) == found.kept.len());
        let missing = self.trusted.signers(item.by).filter(|key| {
            !kept_by.iter().any(|(tag, algorithm)| match item.by {
                By::Zone => *algorithm == key.state.algorithm,
                _ => *tag == key.state.tag,
            })
        });
        found.missing = missing.collect();
        found
    }

    fn stays(&self, item: Item<'_>, rrsig: &Rrsig<'_>) -> bool {
        rrsig.signer == *self.apex
            && rrsig.original_ttl == item.set.ttl
            && rrsig.is_in_time(self.now as u32)
            && !ends_by(rrsig.expiration, self.until)
            && self.trusted.stays(item.by, rrsig.key_tag)
    }

    fn sign(&self, found: Signatures<'_>) -> Result<Option<(Rtype, RrSet)>, SignError> {
        let Signatures { item, kept, missing } = found;
        let mut rrsigs = RrSetBuilder::new(Rtype::RRSIG, item.set.ttl);
        for key in missing {
            rrsigs.push(&self.make(item, key)?);
        }
        kept.into_iter().for_each(|rdata| _ = rrsigs.push(rdata));
        Ok(rrsigs.build().map(|rrsigs| (item.set.rtype, rrsigs)))
    }

    /// The data of a new RRSIG record.
    fn make(&self, item: Item<'_>, key: &Key) -> Result<Vec<u8>, SignError> {
        let labels = item.owner.label_count() - usize::from(item.owner.is_wildcard());
        let validity = self.policy.validity.saturating_sub(self.jitter(item));
        let rrsig = Rrsig {
            type_covered: item.set.rtype,
            algorithm: key.state.algorithm,
            labels: labels as u8,
            original_ttl: item.set.ttl,
            expiration: (self.now + validity) as u32,
            inception: self.now.saturating_sub(DNS_SIGNATURE_INCEPTION_S) as u32,
            key_tag: key.state.tag,
            signer: self.apex.clone(),
            signature: &[],
        };
        let no_form = || SignError::NoForm(item.owner.clone());
        let data = signed_data(&rrsig, item.owner, item.set).ok_or_else(no_form)?;
        let mut rdata = rrsig.head();
        rdata.extend_from_slice(&key.private.sign(&data)?);
        Ok(rdata)
    }

    /// Seconds that a signature ends earlier than it might: other ones for each set and each time, so that what was made
    /// together does not stay together. That of the keys and the SOA last longest, as everything hangs on them.
    fn jitter(&self, item: Item<'_>) -> u64 {
        if item.by != By::Zone || item.set.rtype == Rtype::SOA {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (item.owner.as_wire(), item.set.rtype, self.now).hash(&mut hasher);
        hasher.finish() % (self.policy.jitter + 1)
    }
}

/// The same records with the same TTL, in whatever order.
pub(super) fn is_same_set(left: &RrSet, right: &RrSet) -> bool {
    if left.ttl != right.ttl || left.count() != right.count() {
        return false;
    }
    left.iter().eq(right.iter()) || {
        let known: BTreeSet<&[u8]> = left.iter().collect();
        right.iter().all(|rdata| known.contains(rdata))
    }
}
