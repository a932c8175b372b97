//! The signed version of a whole zone: every name is looked at, and what the version before has of it stays.

use std::iter;
use std::sync::Arc;

use super::content::{is_own, nsec, nsec3, nsec3_types};
use super::sign::SignError;
use super::signatures::{Done, Signing};
use super::workers;
use crate::dnssec::hashed::hashed_owner;
use crate::dnssec::{Nsec3Hash, nsec3_hash};
use crate::keys::Denial;
use crate::wire::{Name, RrSet};
use crate::zone::{Node, Owner, Zone};

/// What a signed version is made of, and how.
pub(super) struct Making<'a> {
    pub unsigned: &'a Zone,
    pub before: Option<&'a Zone>,
    pub signing: Signing<'a>,
    pub denial: Denial,
    /// With the SOA and all else that the signed zone has there.
    pub apex_sets: Arc<[RrSet]>,
}

/// The nodes of a version.
pub(super) struct Whole {
    pub names: Vec<Done>,
    pub hashes: Vec<Done>,
}

impl<'a> Making<'a> {
    pub(super) fn sets<'n>(&'n self, node: &'n Node) -> &'n Arc<[RrSet]> {
        if node.key().is_empty() { &self.apex_sets } else { node.own_sets() }
    }

    /// The NSEC record of a node before `next`, if it has one.
    pub(super) fn nsec(&self, node: &Node, next: Option<&Name>) -> Option<RrSet> {
        nsec(node, self.sets(node), next?, self.unsigned.negative_ttl())
    }

    /// A name, given the next one of the chain if it has an NSEC record.
    pub(super) fn name(&self, node: &Arc<Node>, next: Option<&Name>) -> Result<Done, SignError> {
        let before = self.before.and_then(|before| before.at(node.key()));
        self.signing.node(node, self.sets(node), self.nsec(node, next), before)
    }

    /// The link of the chain from a hash to the next, with the types of its name.
    pub(super) fn link(&self, hash: &Nsec3Hash, next: &Nsec3Hash, types: &[u8]) -> Result<Done, SignError> {
        let before = self.before.and_then(|before| before.hashes().get(hash));
        let apex = self.unsigned.apex();
        let owner = match before {
            Some(before) => Arc::clone(&before.owner),
            None => {
                let name = hashed_owner(hash, apex).ok_or_else(|| SignError::TooLong(apex.clone()))?;
                Arc::new(Owner::new(name, hash[..].into()))
            }
        };
        let node = Arc::new(Node::empty(owner));
        self.signing.node(&node, node.own_sets(), nsec3(types, next, self.unsigned.negative_ttl()), before)
    }

    /// All names and all links. The apex is made when it is known whether there is a new version, and has its place here.
    pub(super) fn whole(&self, apex: &Arc<Node>) -> Result<Whole, SignError> {
        let mut jobs: Vec<(&Arc<Node>, Option<&Name>)> = Vec::with_capacity(self.unsigned.tree().len());
        let mut next = self.unsigned.apex();
        for node in self.unsigned.tree().iter().rev() {
            let has_nsec = self.denial == Denial::Nsec && is_own(node);
            jobs.push((node, has_nsec.then_some(next)));
            if has_nsec {
                next = &node.owner;
            }
        }
        jobs.reverse();
        let names = workers::all(&jobs, |(node, next)| {
            if node.key().is_empty() {
                return Ok(Done { node: Arc::clone(apex), made: 0 });
            }
            self.name(node, *next)
        })?;
        drop(jobs);
        let hashes = if self.denial == Denial::Nsec3 { self.links()? } else { Vec::new() };
        Ok(Whole { names, hashes })
    }

    fn links(&self) -> Result<Vec<Done>, SignError> {
        let members: Vec<&Node> =
            self.unsigned.tree().iter().map(|node| &**node).filter(|node| !node.is_occluded()).collect();
        let mut hashes: Vec<(Nsec3Hash, &Node)> =
            workers::all(&members, |node| Ok::<_, SignError>((nsec3_hash(&node.owner, &[], 0), *node)))?;
        drop(members);
        hashes.sort_unstable_by_key(|(hash, _)| *hash);
        hashes.dedup_by_key(|(hash, _)| *hash);
        let nexts = hashes.iter().cycle().skip(1);
        let jobs: Vec<_> = iter::zip(&hashes, nexts).collect();
        workers::all(&jobs, |((hash, node), (next, _))| {
            self.link(hash, next, &nsec3_types(node, self.sets(node)))
        })
    }
}

impl Whole {
    /// Whether a version has exactly these nodes.
    pub(super) fn is(&self, before: &Zone) -> bool {
        let same = |done: &[Done], mut nodes: Box<dyn Iterator<Item = &Arc<Node>> + '_>| {
            done.iter().all(|done| nodes.next().is_some_and(|node| Arc::ptr_eq(node, &done.node)))
                && nodes.next().is_none()
        };
        same(&self.names, Box::new(before.tree().iter()))
            && same(&self.hashes, Box::new(before.hashes().iter()))
    }

    /// Signatures that were made.
    pub(super) fn made(&self) -> usize {
        self.names.iter().chain(&self.hashes).map(|done| done.made).sum()
    }

    pub(super) fn into_zone(self, unsigned: &Zone) -> Zone {
        let nodes = |done: Vec<Done>| done.into_iter().map(|done| done.node);
        Zone::of_nodes(unsigned.apex(), unsigned.file(), nodes(self.names), nodes(self.hashes))
    }
}
