//! Finds the nodes of a zone by their hash: a name's closest encloser is reached from the apex downwards, one probe a
//! label, and the first label that is missing ends the search. So a name that does not exist costs as many probes as
//! the zone is deep there, however many labels it has.
//!
//! Beside the nodes in their order, which knows neighbours: with 100,000 names a search there takes as long as all the rest
//! of an answer. In parts that versions of a zone share.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::Node;
use super::ordered::{NodeChanges, Ordered};

type ByHash = HashMap<u64, Arc<Node>, BuildHasherDefault<AsItIs>>;

/// Nodes of a part when the index is made; it is made anew when there are so many times more or fewer.
const PART_NODES: usize = 512;
const PART_GROWTH_MAX: usize = 4;

/// Nodes by the hash of their keys. No two have the same.
#[derive(Debug)]
pub(super) struct Index {
    seed: u64,
    /// By bits of the hash; a power of two.
    parts: Box<[Arc<ByHash>]>,
}

impl Index {
    pub(super) fn of(nodes: &Ordered) -> Self {
        let parts = nodes.len().div_ceil(PART_NODES).next_power_of_two();
        // Parts are filled by chance: this is what one more than most have.
        let each = nodes.len() / parts + nodes.len() / parts / 8;
        loop {
            let mut index = Filling {
                seed: rand::random(),
                parts: (0..parts)
                    .map(|_| HashMap::with_capacity_and_hasher(each, Default::default()))
                    .collect(),
            };
            // Two of a million names have the same 64 bits once in 40 million zones.
            if nodes.iter().all(|node| index.put(node)) {
                return Index { seed: index.seed, parts: index.parts.into_iter().map(Arc::new).collect() };
            }
        }
    }

    /// The index of `nodes`, which are those of this one with `changes`.
    pub(super) fn with(&self, changes: &NodeChanges, nodes: &Ordered) -> Self {
        let wanted = nodes.len().div_ceil(PART_NODES).next_power_of_two();
        let fits =
            wanted <= self.parts.len() * PART_GROWTH_MAX && self.parts.len() <= wanted * PART_GROWTH_MAX;
        let mut next = Self { seed: self.seed, parts: self.parts.clone() };
        let all_differ = fits
            && changes.iter().all(|(key, node)| {
                let hash = Prefix::new(self.seed).with(key).hash();
                let at = part(hash, next.parts.len());
                let Some(part) = next.parts.get_mut(at) else { return false };
                match node {
                    Some(node) => {
                        let other = Arc::make_mut(part).insert(hash, Arc::clone(node));
                        other.is_none_or(|other| *other.key() == **key)
                    }
                    None => {
                        Arc::make_mut(part).remove(&hash);
                        true
                    }
                }
            });
        if all_differ { next } else { Self::of(nodes) }
    }

    /// The deepest node at or above the name of a relative key, and the length of its key.
    pub(super) fn closest(&self, key: &[u8]) -> Option<(usize, &Node)> {
        let mut prefix = Prefix::new(self.seed);
        let mut found: (usize, &Node) = (0, self.get(prefix.hash(), &[])?);
        let mut start = 0;
        while start < key.len() {
            let label = key.get(start..)?.iter().position(|octet| *octet == 0)? + 1;
            prefix = prefix.with(key.get(start..start + label)?);
            start += label;
            match self.get(prefix.hash(), key.get(..start)?) {
                Some(node) => found = (start, node),
                None => break,
            }
        }
        Some(found)
    }

    /// The node of exactly this relative key.
    pub(super) fn exact(&self, key: &[u8]) -> Option<&Arc<Node>> {
        self.get(Prefix::new(self.seed).with(key).hash(), key)
    }

    fn get(&self, hash: u64, key: &[u8]) -> Option<&Arc<Node>> {
        let part = self.parts.get(part(hash, self.parts.len()))?;
        part.get(&hash).filter(|node| node.key() == key)
    }
}

/// Which of so many parts a hash is in. The tables take the ends of the number.
fn part(hash: u64, parts: usize) -> usize {
    (hash >> 32) as usize & (parts - 1)
}

/// An index while it is made.
struct Filling {
    seed: u64,
    parts: Vec<ByHash>,
}

impl Filling {
    /// False when another node has the same hash.
    fn put(&mut self, node: &Arc<Node>) -> bool {
        let hash = Prefix::new(self.seed).with(node.key()).hash();
        let at = part(hash, self.parts.len());
        self.parts.get_mut(at).is_none_or(|part| part.insert(hash, Arc::clone(node)).is_none())
    }
}

/// The hash of a key's beginning, which goes on with the next label.
#[derive(Clone, Copy)]
struct Prefix(u64);

impl Prefix {
    fn new(seed: u64) -> Self {
        Prefix(seed)
    }

    fn with(self, octets: &[u8]) -> Self {
        Prefix(
            octets
                .iter()
                .fold(self.0, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    /// All bits spread over all others, as the table takes both ends of the number.
    fn hash(self) -> u64 {
        let product = u128::from(self.0 ^ self.0 >> 32) * 0x9e37_79b9_7f4a_7c15_u128;
        (product as u64) ^ (product >> 64) as u64
    }
}

/// The keys of the table are hashes already.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = self.0 << 8 | u64::from(*octet);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}
