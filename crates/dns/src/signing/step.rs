//! The signed version that comes next, where only little of the zone below has changed: the names that have, their neighbours
//! in the chain, and what is due.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::content::{is_own, nsec3_types};
use super::sign::{SignError, ends_by};
use super::whole::Making;
use super::workers;
use crate::dnssec::{Nsec3, Nsec3Hash, Rrsig, nsec3_hash};
use crate::keys::Denial;
use crate::wire::{Name, Rtype};
use crate::zone::{Node, NodeChanges, Summary, Zone};

/// What differs from the version before.
#[derive(Default)]
pub(super) struct Step {
    pub names: NodeChanges,
    pub hashes: NodeChanges,
    /// Signatures that were made.
    pub made: usize,
}

/// Signatures that end by then, in seconds since 1970, are made anew.
#[derive(Clone, Copy)]
struct Due(u32);

impl Due {
    fn is_in(self, summary: &Summary) -> bool {
        summary.first_end.is_some_and(|end| ends_by(end, self.0))
    }

    fn concerns(self, node: &Node) -> bool {
        let rdata = node.all_signatures().flat_map(|(_, set)| set.iter());
        rdata.filter_map(Rrsig::tag_and_end).any(|(_, end)| ends_by(end, self.0))
    }
}

impl Making<'_> {
    /// All but the apex, which depends on whether anything has changed at all. `below` is what `before` was made of.
    pub(super) fn step(&self, below: &Zone, before: &Zone) -> Result<Step, SignError> {
        let (due, mut step) = (Due(self.signing.until), Step::default());
        self.names(below, before, due, &mut step)?;
        if self.denial == Denial::Nsec3 {
            self.hashes(below, before, due, &mut step)?;
        }
        Ok(step)
    }

    /// The name whose NSEC record follows that of `key`.
    fn next_own<'n>(&'n self, key: &'n [u8]) -> &'n Name {
        let next = self.unsigned.tree().after(key).find(|node| is_own(node));
        next.map_or(self.unsigned.apex(), |node| &node.owner)
    }

    /// The same, if the node has such a record at all.
    pub(super) fn next_of<'n>(&'n self, node: &'n Node) -> Option<&'n Name> {
        (self.denial == Denial::Nsec && is_own(node)).then(|| self.next_own(node.key()))
    }

    fn names(&self, below: &Zone, before: &Zone, due: Due, step: &mut Step) -> Result<(), SignError> {
        let mut concerned: BTreeSet<&[u8]> = BTreeSet::new();
        for (old, new) in below.tree().differences(self.unsigned.tree()) {
            let Some(key) = old.or(new).map(|node| node.key()) else { continue };
            if new.is_some() {
                concerned.insert(key);
            } else {
                step.names.insert(key.into(), None);
            }
            let had_own = old.is_some_and(|node| is_own(node));
            if self.denial == Denial::Nsec && had_own != new.is_some_and(|node| is_own(node)) {
                let previous = self.unsigned.tree().before(key).find(|node| is_own(node));
                concerned.extend(previous.map(|node| node.key()));
            }
        }
        let nodes = before.tree().where_chunks(|summary| due.is_in(summary));
        concerned.extend(nodes.filter(|node| due.concerns(node)).map(|node| node.key()));
        concerned.remove(&[][..]);
        let tree = self.unsigned.tree();
        let jobs: Vec<&Arc<Node>> = concerned.into_iter().filter_map(|key| tree.get(key)).collect();
        let done = workers::all(&jobs, |node| self.name(node, self.next_of(node)))?;
        for done in done {
            step.made += done.made;
            if !before.at(done.node.key()).is_some_and(|before| Arc::ptr_eq(before, &done.node)) {
                step.names.insert(done.node.key().into(), Some(done.node));
            }
        }
        Ok(())
    }

    fn hashes(&self, below: &Zone, before: &Zone, due: Due, step: &mut Step) -> Result<(), SignError> {
        let mut chain = Chain { before, here: BTreeMap::new(), gone: BTreeSet::new() };
        let apex = self.unsigned.at(&[]).into_iter().map(|apex| (Some(apex), Some(apex)));
        // What the apex has depends on more than the zone below.
        for (old, new) in below.tree().differences(self.unsigned.tree()).chain(apex) {
            let member = |node: Option<&Arc<Node>>| node.filter(|node| !node.is_occluded()).cloned();
            match (member(old), member(new)) {
                (_, Some(new)) => {
                    let types = nsec3_types(&new, self.sets(&new));
                    chain.here.insert(nsec3_hash(&new.owner, &[], 0), types);
                }
                (Some(old), None) => _ = chain.gone.insert(nsec3_hash(&old.owner, &[], 0)),
                (None, None) => {}
            }
        }
        let mut concerned: BTreeSet<Nsec3Hash> = chain.here.keys().copied().collect();
        let come = chain.here.keys().filter(|hash| before.hashes().get(&hash[..]).is_none());
        concerned.extend(come.chain(&chain.gone).filter_map(|hash| chain.previous(hash)));
        let nodes = before.hashes().where_chunks(|summary| due.is_in(summary));
        concerned.extend(nodes.filter(|node| due.concerns(node)).filter_map(|node| chain.stays(node)));
        let jobs: Vec<Nsec3Hash> = concerned.into_iter().collect();
        let done = workers::all(&jobs, |hash| {
            let next = chain.next(hash).unwrap_or(*hash);
            self.link(hash, &next, chain.types(hash))
        })?;
        for done in done {
            step.made += done.made;
            let key = done.node.key();
            if !before.hashes().get(key).is_some_and(|before| Arc::ptr_eq(before, &done.node)) {
                step.hashes.insert(key.into(), Some(done.node));
            }
        }
        step.hashes.extend(chain.gone.iter().map(|hash| (Box::from(&hash[..]), None)));
        Ok(())
    }
}

/// The chain of hashes as it will be: as before, but for some that come or change and some that go.
struct Chain<'a> {
    before: &'a Zone,
    /// Those that come or change, with the types of their names.
    here: BTreeMap<Nsec3Hash, Vec<u8>>,
    gone: BTreeSet<Nsec3Hash>,
}

impl Chain<'_> {
    fn stays(&self, node: &Arc<Node>) -> Option<Nsec3Hash> {
        let hash: Nsec3Hash = node.key().try_into().ok()?;
        (!self.gone.contains(&hash)).then_some(hash)
    }

    /// The hash before this one, around the beginning.
    fn previous(&self, hash: &Nsec3Hash) -> Option<Nsec3Hash> {
        let old = self.before.hashes().before(hash).find_map(|node| self.stays(node));
        let new = self.here.range(..*hash).next_back().map(|(hash, _)| *hash);
        old.max(new).or_else(|| {
            let old = self.before.hashes().iter().rev().find_map(|node| self.stays(node));
            old.max(self.here.keys().next_back().copied())
        })
    }

    /// The hash behind this one, around the end.
    fn next(&self, hash: &Nsec3Hash) -> Option<Nsec3Hash> {
        let least = |old: Option<Nsec3Hash>, new: Option<Nsec3Hash>| old.into_iter().chain(new).min();
        let old = self.before.hashes().after(hash).find_map(|node| self.stays(node));
        let behind = (Bound::Excluded(*hash), Bound::Unbounded);
        let new = self.here.range(behind).next().map(|(hash, _)| *hash);
        least(old, new).or_else(|| {
            let old = self.before.hashes().iter().find_map(|node| self.stays(node));
            least(old, self.here.keys().next().copied())
        })
    }

    fn types(&self, hash: &Nsec3Hash) -> &[u8] {
        let old = || {
            let node = self.before.hashes().get(hash)?;
            Some(Nsec3::read(node.rrset(Rtype::NSEC3)?.first())?.types.0)
        };
        self.here.get(hash).map(Vec::as_slice).or_else(old).unwrap_or_default()
    }
}
