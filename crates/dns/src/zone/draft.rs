//! A name and its record sets while a zone is built. Small: there are as many at once as the zone has names.

use std::sync::Arc;

use super::parser::Place;
use super::received::place;
use super::{Node, Owner};
use crate::dnssec::Rrsig;
use crate::wire::{Name, RrSet, RrSetBuilder, Rtype};

/// What makes a set: the type, and for signatures the type that they cover (RFC 4035 section 2.2), else 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SetKey {
    pub rtype: Rtype,
    covered: Rtype,
}

impl SetKey {
    pub(super) fn of(rtype: Rtype, rdata: &[u8]) -> Self {
        let covered = if rtype == Rtype::RRSIG { Rrsig::covered(rdata) } else { None };
        Self { rtype, covered: covered.unwrap_or(Rtype(0)) }
    }
}

/// A set, and where the first of its records stands.
#[derive(Debug)]
pub(super) struct DraftSet {
    pub key: SetKey,
    pub set: RrSetBuilder,
    pub place: Place,
}

/// The sets of a name in the order of their keys. Most names have one or two.
#[derive(Debug, Default)]
pub(super) struct Sets(Vec<DraftSet>);

impl Sets {
    fn place(&self, key: SetKey) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |found| found.key)
    }

    pub(super) fn get_mut(&mut self, key: SetKey) -> Option<&mut DraftSet> {
        let at = self.place(key).ok()?;
        self.0.get_mut(at)
    }

    /// The set of a key, made by `new` if there is none.
    pub(super) fn entry(
        &mut self,
        key: SetKey,
        new: impl FnOnce() -> (RrSetBuilder, Place),
    ) -> &mut DraftSet {
        let at = self.place(key).unwrap_or_else(|at| {
            let (set, place) = new();
            self.0.reserve_exact(1);
            self.0.insert(at, DraftSet { key, set, place });
            at
        });
        &mut self.0[at]
    }

    /// All sets of a type: several only of signatures.
    pub(super) fn of_type(&self, rtype: Rtype) -> impl Iterator<Item = &DraftSet> {
        self.0.iter().filter(move |found| found.key.rtype == rtype)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &DraftSet> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut DraftSet> {
        self.0.iter_mut()
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&DraftSet) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Draft {
    pub owner: Name,
    pub sets: Sets,
}

impl Draft {
    pub(super) fn new(owner: Name) -> Self {
        Self { owner, sets: Sets::default() }
    }

    pub(super) fn has(&self, rtype: Rtype) -> bool {
        self.sets.of_type(rtype).next().is_some()
    }

    /// Takes out what is a link of the chain of hashed names (RFC 5155), where the owner can be a hash: it is a name only by
    /// what is left.
    pub(super) fn take_hashed(&mut self) -> Option<Draft> {
        if !self.has(Rtype::NSEC3) {
            return None;
        }
        let links =
            |found: &mut DraftSet| found.key.rtype == Rtype::NSEC3 || found.key.covered == Rtype::NSEC3;
        let sets = Sets(self.sets.0.extract_if(.., links).collect());
        Some(Draft { owner: self.owner.clone(), sets })
    }

    /// Puts a set in that a zone holds; of signatures with the type that they cover.
    pub(super) fn put(&mut self, covered: Rtype, set: &RrSet) {
        let key = SetKey { rtype: set.rtype, covered };
        self.sets.entry(key, || (RrSetBuilder::of(set), place("zone")));
    }

    pub(super) fn into_node(self, key: Box<[u8]>) -> Node {
        let (mut rrsets, mut denial, mut signatures) = (Vec::new(), None, Vec::new());
        for DraftSet { key, set, .. } in self.sets.0 {
            let Some(set) = set.build() else { continue };
            match key.rtype {
                Rtype::RRSIG => signatures.push((key.covered, set)),
                Rtype::NSEC | Rtype::NSEC3 if denial.is_none() => denial = Some(set),
                _ => rrsets.push(set),
            }
        }
        Node::new(Arc::new(Owner::new(self.owner, key)), rrsets.into(), denial, signatures)
    }
}
