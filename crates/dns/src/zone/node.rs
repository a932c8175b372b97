//! A name of a zone with its record sets. Versions of a zone share what of it has not changed, and so do a zone and its
//! signed version.

use std::ops::Deref;
use std::sync::Arc;

use crate::wire::{Name, RrSet, Rtype};

/// The name of a node, and its place among others.
#[derive(Debug)]
pub struct Owner {
    name: Name,
    key: Box<[u8]>,
}

impl Owner {
    pub(crate) fn new(name: Name, key: Box<[u8]>) -> Self {
        Self { name, key }
    }
}

impl Deref for Owner {
    type Target = Name;

    fn deref(&self) -> &Name {
        &self.name
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.name.fmt(f)
    }
}

/// A name of a zone with its record sets; none at an empty non-terminal.
#[derive(Debug, Clone)]
pub struct Node {
    pub owner: Arc<Owner>,
    /// Without what signing makes.
    rrsets: Arc<[RrSet]>,
    made: Option<Box<Made>>,
    /// Length of the key of the topmost delegation at or above this name; 0: none.
    pub(super) cut: u16,
    /// Length of the key of the topmost DNAME at or above this name, plus one; 0: none.
    pub(super) dname: u16,
}

/// What signing makes of a name.
#[derive(Debug, Clone)]
struct Made {
    /// NSEC or NSEC3.
    denial: Option<RrSet>,
    /// By the type that they cover.
    signatures: Box<[(Rtype, RrSet)]>,
}

impl Node {
    pub(crate) fn new(
        owner: Arc<Owner>,
        rrsets: Arc<[RrSet]>,
        denial: Option<RrSet>,
        signatures: Vec<(Rtype, RrSet)>,
    ) -> Self {
        let made = Made { denial, signatures: signatures.into() };
        let made = Some(made).filter(|made| made.denial.is_some() || !made.signatures.is_empty());
        Self { owner, rrsets, made: made.map(Box::new), cut: 0, dname: 0 }
    }

    /// An empty non-terminal.
    pub(crate) fn empty(owner: Arc<Owner>) -> Self {
        Self { owner, rrsets: Arc::default(), made: None, cut: 0, dname: 0 }
    }

    /// What it is at or below: lengths of keys of the topmost zone cut and DNAME.
    pub(crate) fn marks(&self) -> (u16, u16) {
        (self.cut, self.dname)
    }

    /// This node, at or below the same zone cut and DNAME as `other`.
    pub(crate) fn placed_as(self, other: &Node) -> Self {
        Self { cut: other.cut, dname: other.dname, ..self }
    }

    /// The place among the nodes of its kind: of a name the part of its key below the apex, of a hash its octets.
    pub(crate) fn key(&self) -> &[u8] {
        &self.owner.key
    }

    /// The record set of a type.
    pub fn rrset(&self, rtype: Rtype) -> Option<&RrSet> {
        self.rrsets().find(|rrset| rrset.rtype == rtype)
    }

    /// All record sets but signatures: by type, NSEC or NSEC3 last.
    pub fn rrsets(&self) -> impl Iterator<Item = &RrSet> {
        self.rrsets.iter().chain(self.denial())
    }

    /// The sets that signing did not make.
    pub(crate) fn own_sets(&self) -> &Arc<[RrSet]> {
        &self.rrsets
    }

    /// The NSEC or NSEC3 set.
    pub(crate) fn denial(&self) -> Option<&RrSet> {
        self.made.as_ref()?.denial.as_ref()
    }

    /// The signatures of the set of a type.
    pub fn signatures(&self, covered: Rtype) -> Option<&RrSet> {
        self.all_signatures().find(|(rtype, _)| *rtype == covered).map(|(_, set)| set)
    }

    /// All signatures with the type that they cover.
    pub(crate) fn all_signatures(&self) -> impl Iterator<Item = (Rtype, &RrSet)> {
        let made = self.made.iter().flat_map(|made| made.signatures.iter());
        made.map(|(covered, set)| (*covered, set))
    }

    /// All record sets: those that are signed, and behind them their signatures with the type that they cover.
    pub fn all_sets(&self) -> impl Iterator<Item = (Rtype, &RrSet)> {
        self.rrsets().map(|set| (Rtype(0), set)).chain(self.all_signatures())
    }

    /// It is the same in all that is kept of it, order and case too.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let shown = |(covered, set): (Rtype, &RrSet)| (covered, set.rtype, set.ttl);
        let same = |left: (Rtype, &RrSet), right: (Rtype, &RrSet)| {
            shown(left) == shown(right) && left.1.packed() == right.1.packed()
        };
        self.marks() == other.marks()
            && self.owner.as_wire() == other.owner.as_wire()
            && self.all_sets().count() == other.all_sets().count()
            && self.all_sets().zip(other.all_sets()).all(|(left, right)| same(left, right))
    }

    /// It has no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.rrsets.is_empty() && self.made.is_none()
    }

    /// Number of records.
    pub(super) fn records(&self) -> u64 {
        self.all_sets().map(|(_, set)| u64::from(set.count())).sum()
    }

    /// It is a zone cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut > 0 && usize::from(self.cut) == self.key().len()
    }

    /// It is below a zone cut: not the zone's own, which is said of nothing but the names of the tree.
    pub(crate) fn is_occluded(&self) -> bool {
        self.cut > 0 && usize::from(self.cut) < self.key().len()
    }

    /// It holds what signing makes, or says how it is made and is not the apex.
    pub(crate) fn is_made_by_signing(&self) -> bool {
        self.made.is_some() || (!self.key().is_empty() && self.rrset(Rtype::NSEC3PARAM).is_some())
    }
}
