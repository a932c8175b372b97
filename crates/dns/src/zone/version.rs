//! Versions of a zone: made of all their nodes, or of those of the version before and what is to differ.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::hashed::{Denial, Hashed};
use super::index::Index;
use super::ordered::{NodeChanges, Ordered};
use super::{History, Node, RrSet, Summary, Zone};
use crate::wire::{Name, Rtype, SoaTemplate};

/// Numbers of records, and of names that have some.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    records: u64,
    names: u64,
}

impl Zone {
    /// The zone of nodes in the order of their keys, empty non-terminals among them and the apex first, and of those whose
    /// names are hashes.
    pub(crate) fn of_nodes(
        apex: &Name,
        file: &Path,
        nodes: impl IntoIterator<Item = Arc<Node>>,
        hashed: impl IntoIterator<Item = Arc<Node>>,
    ) -> Self {
        let (nodes, hashed) = (Ordered::of(nodes), Ordered::of(hashed));
        let mut counts = Counts::default();
        for node in nodes.iter() {
            counts.records += node.records();
            counts.names += u64::from(!node.is_empty());
        }
        counts.records += hashed.iter().map(|node| node.records()).sum::<u64>();
        let has_wildcards = nodes.iter().any(|node| node.owner.is_wildcard());
        let index = Index::of(&nodes);
        Self::of_parts(apex, file, nodes, hashed, index, counts, has_wildcards)
    }

    /// This zone with other nodes in place of some. It has no history, and nobody has warned of it.
    pub(crate) fn with_nodes(&self, nodes: &NodeChanges, hashed: &NodeChanges) -> Self {
        let mut counts = Counts { records: self.records, names: self.names };
        let mut has_wildcards = self.has_wildcards;
        for (changes, present, are_names) in
            [(nodes, &self.nodes, true), (hashed, self.hashed.nodes(), false)]
        {
            for (key, node) in changes {
                let old = present.get(key);
                let has_records = |node: &Arc<Node>| u64::from(are_names && !node.is_empty());
                counts.records += node.as_ref().map_or(0, |node| node.records());
                counts.records -= old.map_or(0, |node| node.records());
                counts.names += node.as_ref().map_or(0, has_records);
                counts.names -= old.map_or(0, has_records);
                has_wildcards |= node.as_ref().is_some_and(|node| node.owner.is_wildcard());
            }
        }
        let names = self.nodes.with(nodes);
        let index = self.index.with(nodes, &names);
        let hashed = self.hashed.nodes().with(hashed);
        Self::of_parts(&self.apex, &self.file, names, hashed, index, counts, has_wildcards)
    }

    fn of_parts(
        apex: &Name,
        file: &Path,
        nodes: Ordered,
        hashed: Ordered,
        index: Index,
        counts: Counts,
        has_wildcards: bool,
    ) -> Self {
        let apex_node = index.exact(&[]).map(|node| &**node);
        let soa = apex_node.and_then(|apex| apex.rrset(Rtype::SOA));
        let number = |from_end: usize| {
            let rdata = soa.map(RrSet::first).unwrap_or_default();
            let octets = rdata.len().checked_sub(from_end).and_then(|at| rdata.get(at..)?.first_chunk::<4>());
            octets.map_or(0, |octets| u32::from_be_bytes(*octets))
        };
        let (serial, minimum) = (number(20), number(4));
        let negative_ttl = soa.map_or(0, |soa| soa.ttl.min(minimum));
        let hashed = Hashed(hashed);
        Self {
            apex: apex.clone(),
            apex_key: apex.key().as_bytes().into(),
            has_wildcards,
            negative_soa: soa.and_then(|soa| SoaTemplate::new(apex, soa, negative_ttl)),
            denial: Denial::of(apex_node, &hashed),
            nodes,
            index,
            hashed,
            records: counts.records,
            names: counts.names,
            negative_ttl,
            serial,
            file: file.to_owned(),
            loaded_at: SystemTime::now(),
            warnings: Vec::new(),
            history: History::default(),
            file_time: None,
            available: true,
        }
    }

    /// This zone with the nodes of another version where they are the same, so that what both hold takes memory once. One
    /// that was made of the other shares already.
    pub(crate) fn sharing(self, other: &Self) -> Self {
        if self.nodes.shares_with(&other.nodes) {
            return self;
        }
        let share = |mine: &Ordered, others: &Ordered| {
            let node = |node: &Arc<Node>| {
                let known = others.get(node.key()).filter(|known| known.is_same(node));
                Arc::clone(known.unwrap_or(node))
            };
            Ordered::of(mine.iter().map(node))
        };
        let nodes = share(&self.nodes, &other.nodes);
        let hashed = Hashed(share(self.hashed.nodes(), other.hashed.nodes()));
        Self { index: Index::of(&nodes), nodes, hashed, ..self }
    }

    /// This zone as that of a file.
    pub(crate) fn in_file(self, file: &Path) -> Self {
        Self { file: file.to_owned(), ..self }
    }

    /// The node at a relative key.
    pub(crate) fn at(&self, key: &[u8]) -> Option<&Arc<Node>> {
        self.index.exact(key)
    }

    /// All names in canonical order, empty non-terminals among them.
    pub(crate) fn tree(&self) -> &Ordered {
        &self.nodes
    }

    /// The nodes whose names are hashes, by these.
    pub(crate) fn hashes(&self) -> &Ordered {
        self.hashed.nodes()
    }

    /// What all names and hashes together are.
    pub(crate) fn summary(&self) -> Summary {
        let mut all = self.nodes.summary();
        all.add(&self.hashed.nodes().summary());
        all
    }
}
