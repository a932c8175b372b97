//! Nodes in the order of their keys, in chunks that versions of a zone share: another version costs the chunks that differ
//! and a copy of the list of all, and what differs between two versions is found without a look at what they share.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use super::Node;
use super::summary::Summary;

/// Nodes of a chunk when it is made, and the most that it grows to.
const CHUNK_NODES: usize = 128;
const CHUNK_NODES_MAX: usize = 256;

/// What is to stand at keys of another version: a node, or none.
pub(crate) type NodeChanges = BTreeMap<Box<[u8]>, Option<Arc<Node>>>;

/// Nodes by their keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ordered {
    /// None is empty.
    chunks: Vec<Arc<Chunk>>,
    nodes: usize,
}

#[derive(Debug)]
struct Chunk {
    /// Octets that all keys begin with.
    common: usize,
    /// With the eight octets of the key behind those, which tell most keys apart without a look at them.
    nodes: Box<[(u64, Arc<Node>)]>,
    summary: Summary,
}

impl Chunk {
    fn new(nodes: Vec<Arc<Node>>) -> Self {
        let common = match (nodes.first(), nodes.last()) {
            (Some(first), Some(last)) => {
                iter::zip(first.key(), last.key()).take_while(|(left, right)| left == right).count()
            }
            _ => 0,
        };
        let summary = Summary::of(&nodes);
        let nodes = nodes.into_iter().map(|node| (telling(node.key(), common), node)).collect();
        Self { common, nodes, summary }
    }

    fn first_key(&self) -> &[u8] {
        self.nodes.first().map_or(&[], |(_, node)| node.key())
    }

    /// The place of the first node whose key is not before `key`.
    fn place(&self, key: &[u8]) -> usize {
        let first = self.first_key().get(..self.common).unwrap_or_default();
        match key.get(..self.common).unwrap_or(key).cmp(first) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.nodes.len(),
            Ordering::Equal => {}
        }
        let wanted = telling(key, self.common);
        self.nodes.partition_point(|(told, node)| match told.cmp(&wanted) {
            Ordering::Equal => node.key() < key,
            order => order.is_lt(),
        })
    }
}

/// Eight octets of a key as a number in their order.
fn telling(key: &[u8], from: usize) -> u64 {
    let mut octets = [0; 8];
    let rest = key.get(from..).unwrap_or_default();
    octets.iter_mut().zip(rest).for_each(|(place, octet)| *place = *octet);
    u64::from_be_bytes(octets)
}

impl Ordered {
    /// Of nodes in the order of their keys, each of another.
    pub(crate) fn of(nodes: impl IntoIterator<Item = Arc<Node>>) -> Self {
        let mut made = Self::default();
        let mut nodes = nodes.into_iter();
        loop {
            let next: Vec<_> = nodes.by_ref().take(CHUNK_NODES).collect();
            if next.is_empty() {
                return made;
            }
            made.push(next);
        }
    }

    /// Puts nodes behind all others, in as many chunks as they need.
    fn push(&mut self, nodes: Vec<Arc<Node>>) {
        self.nodes += nodes.len();
        let parts = nodes.len().div_ceil(CHUNK_NODES_MAX);
        let (each, mut rest) = (nodes.len().div_ceil(parts.max(1)), nodes);
        while !rest.is_empty() {
            let after = rest.split_off(each.min(rest.len()));
            self.chunks.push(Arc::new(Chunk::new(rest)));
            rest = after;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes == 0
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Node>> {
        self.chunks.iter().flat_map(|chunk| chunk.nodes.iter().map(|(_, node)| node))
    }

    /// The chunk in which `key` is, if it is anywhere.
    fn chunk_of(&self, key: &[u8]) -> usize {
        self.chunks.partition_point(|chunk| chunk.first_key() <= key).saturating_sub(1)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<Node>> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        chunk.nodes.get(chunk.place(key)).map(|(_, node)| node).filter(|node| node.key() == key)
    }

    /// The nodes from `key` on, that at `key` included.
    pub(crate) fn from(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Node>> {
        let at = self.chunk_of(key);
        let place = self.chunks.get(at).map_or(0, |chunk| chunk.place(key));
        let (first, rest) = self
            .chunks
            .get(at..)
            .and_then(<[_]>::split_first)
            .map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
        let first = first.into_iter().flat_map(move |chunk| chunk.nodes.iter().skip(place));
        first.chain(rest.iter().flat_map(|chunk| chunk.nodes.iter())).map(|(_, node)| node)
    }

    /// The nodes before `key`, the nearest first.
    pub(crate) fn before(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Node>> {
        let at = self.chunk_of(key);
        let last = self.chunks.get(at);
        let place = last.map_or(0, |chunk| chunk.place(key));
        let last = last.into_iter().flat_map(move |chunk| chunk.nodes.iter().take(place).rev());
        let rest = self.chunks.get(..at).unwrap_or_default();
        last.chain(rest.iter().rev().flat_map(|chunk| chunk.nodes.iter().rev())).map(|(_, node)| node)
    }

    /// The node at `key` or the nearest before it, and so on backwards.
    pub(crate) fn at_or_before(&self, key: &[u8]) -> impl Iterator<Item = &Arc<Node>> {
        self.get(key).into_iter().chain(self.before(key))
    }

    /// The nodes below `key`.
    pub(crate) fn below<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Arc<Node>> {
        self.after(key).take_while(move |node| node.key().starts_with(key))
    }

    /// The nodes behind `key`.
    pub(crate) fn after<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Arc<Node>> {
        self.from(key).skip_while(move |node| node.key() == key)
    }

    /// These nodes with others in their places.
    pub(crate) fn with(&self, changes: &NodeChanges) -> Self {
        let mut next = Self { chunks: Vec::with_capacity(self.chunks.len() + 1), nodes: 0 };
        let mut changes = changes.iter().map(|(key, node)| (&**key, node.as_ref())).peekable();
        let first_keys = self.chunks.iter().skip(1).map(|chunk| Some(chunk.first_key()));
        let ends = first_keys.chain([None]);
        if self.chunks.is_empty() {
            next.push(changes.filter_map(|(_, node)| node.cloned()).collect());
            return next;
        }
        for (chunk, end) in self.chunks.iter().zip(ends) {
            let mut here = Vec::new();
            while let Some(change) = changes.next_if(|(key, _)| end.is_none_or(|end| *key < end)) {
                here.push(change);
            }
            if here.is_empty() {
                next.nodes += chunk.nodes.len();
                next.chunks.push(Arc::clone(chunk));
                continue;
            }
            let mut nodes = merged(chunk, &here);
            // What has become small goes together with its neighbour.
            if nodes.len() < CHUNK_NODES / 4
                && let Some(last) = next.chunks.pop_if(|last| last.nodes.len() <= CHUNK_NODES)
            {
                next.nodes -= last.nodes.len();
                nodes = last.nodes.iter().map(|(_, node)| Arc::clone(node)).chain(nodes).collect();
            }
            next.push(nodes);
        }
        next
    }

    /// Pairs of nodes of two versions that are not the very same, in the order of their keys; each of another key.
    pub(crate) fn differences<'a>(
        &'a self,
        new: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Arc<Node>>, Option<&'a Arc<Node>>)> {
        let (mut olds, mut news) = (Cursor::new(self), Cursor::new(new));
        iter::from_fn(move || {
            loop {
                if let (Some(old), Some(new)) = (olds.whole_chunk(), news.whole_chunk())
                    && Arc::ptr_eq(old, new)
                {
                    olds.skip_chunk();
                    news.skip_chunk();
                    continue;
                }
                let order = match (olds.node(), news.node()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {
                        olds.step();
                        news.step();
                        continue;
                    }
                    (Some(old), Some(new)) => old.key().cmp(new.key()),
                };
                let old = if order.is_le() { olds.take() } else { None };
                let new = if order.is_ge() { news.take() } else { None };
                return Some((old, new));
            }
        })
    }

    /// Whether two versions have a part in common.
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        self.chunks.iter().any(|chunk| {
            let at = other.chunk_of(chunk.first_key());
            other.chunks.get(at).is_some_and(|known| Arc::ptr_eq(known, chunk))
        })
    }

    /// What all nodes together are.
    pub(crate) fn summary(&self) -> Summary {
        let mut all = Summary::default();
        self.chunks.iter().for_each(|chunk| all.add(&chunk.summary));
        all
    }

    /// The nodes of chunks of which that is said.
    pub(crate) fn where_chunks(&self, wanted: impl Fn(&Summary) -> bool) -> impl Iterator<Item = &Arc<Node>> {
        let chunks = self.chunks.iter().filter(move |chunk| wanted(&chunk.summary));
        chunks.flat_map(|chunk| chunk.nodes.iter().map(|(_, node)| node))
    }
}

/// A key, and what is to stand there.
type Change<'a> = (&'a [u8], Option<&'a Arc<Node>>);

/// The nodes of a chunk with changes in their places.
fn merged(chunk: &Chunk, changes: &[Change<'_>]) -> Vec<Arc<Node>> {
    let mut nodes = Vec::with_capacity(chunk.nodes.len() + changes.len());
    let mut old = chunk.nodes.iter().map(|(_, node)| node).peekable();
    for (key, node) in changes {
        while let Some(before) = old.next_if(|node| node.key() < *key) {
            nodes.push(Arc::clone(before));
        }
        old.next_if(|node| node.key() == *key);
        nodes.extend(node.cloned());
    }
    nodes.extend(old.cloned());
    nodes
}

/// A place in a list of chunks.
struct Cursor<'a> {
    chunks: &'a [Arc<Chunk>],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(nodes: &'a Ordered) -> Self {
        Self { chunks: &nodes.chunks, at: 0 }
    }

    /// The chunk here, if none of it is behind.
    fn whole_chunk(&self) -> Option<&'a Arc<Chunk>> {
        self.chunks.first().filter(|_| self.at == 0)
    }

    fn skip_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        self.at = 0;
    }

    fn node(&self) -> Option<&'a Arc<Node>> {
        self.chunks.first()?.nodes.get(self.at).map(|(_, node)| node)
    }

    fn step(&mut self) {
        self.at += 1;
        if self.chunks.first().is_some_and(|chunk| self.at >= chunk.nodes.len()) {
            self.skip_chunk();
        }
    }

    fn take(&mut self) -> Option<&'a Arc<Node>> {
        let node = self.node();
        self.step();
        node
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Name;
    use crate::zone::Owner;

    fn node(number: u16) -> Arc<Node> {
        let name: Name = format!("n{number:05}").parse().unwrap();
        let key = name.key().as_bytes().into();
        Arc::new(Node::empty(Arc::new(Owner::new(name, key))))
    }

    fn keys(nodes: &Ordered) -> Vec<&[u8]> {
        nodes.iter().map(|node| node.key()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Versions are what an ordinary map would be, and their differences are what was changed.
        #[test]
        fn versions_hold_what_a_map_holds(
            start in proptest::collection::btree_set(0u16..2000, 0..1200),
            rounds in proptest::collection::vec(
                proptest::collection::btree_map(0u16..2000, any::<bool>(), 0..300), 1..4),
        ) {
            let mut plain: BTreeMap<Box<[u8]>, Arc<Node>> =
                start.iter().map(|number| node(*number)).map(|node| (node.key().into(), node)).collect();
            let mut nodes = Ordered::of(plain.values().cloned());
            for round in rounds {
                let mut changes = NodeChanges::new();
                for (number, stays) in round {
                    let node = node(number);
                    changes.insert(node.key().into(), stays.then_some(node));
                }
                let next = nodes.with(&changes);
                let mut differing = Vec::new();
                for (key, change) in &changes {
                    let before = plain.remove(key);
                    plain.extend(change.iter().map(|node| (key.clone(), Arc::clone(node))));
                    if before.is_some() || change.is_some() {
                        differing.push(key.clone());
                    }
                }
                prop_assert_eq!(next.len(), plain.len());
                prop_assert_eq!(keys(&next), plain.keys().map(|key| &**key).collect::<Vec<_>>());
                let found: Vec<Box<[u8]>> =
                    nodes.differences(&next).map(|(old, new)| old.or(new).unwrap().key().into()).collect();
                prop_assert_eq!(found, differing);
                for number in (0..2000).step_by(37) {
                    let key = node(number).key().to_vec();
                    prop_assert_eq!(next.get(&key).is_some(), plain.contains_key(&key[..]));
                    let after = plain.keys().map(|key| &**key).find(|other| *other >= &key[..]);
                    prop_assert_eq!(next.from(&key).next().map(|node| node.key()), after);
                    let before = plain.keys().map(|key| &**key).rev().find(|other| *other < &key[..]);
                    prop_assert_eq!(next.before(&key).next().map(|node| node.key()), before);
                }
                prop_assert!(next.chunks.iter().all(|chunk| (1..=CHUNK_NODES_MAX).contains(&chunk.nodes.len())));
                nodes = next;
            }
        }
    }
}
