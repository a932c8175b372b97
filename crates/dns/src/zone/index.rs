//! Finds the nodes of a zone by their hash: a name's closest encloser is reached from the apex downwards, one probe a
//! label, and the first label that is missing ends the search. So a name that does not exist costs as many probes as
//! the zone is deep there, however many labels it has.
//!
//! Beside the ordered tree, which knows neighbours: with 100,000 names a descent in it takes as long as all the rest of
//! an answer.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::Node;

type ByHash<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

/// Nodes with their keys, by the hash of the key relative to the apex. No two have the same.
#[derive(Debug)]
pub(super) struct Index {
    seed: u64,
    nodes: ByHash<(Box<[u8]>, Arc<Node>)>,
}

impl Index {
    pub(super) fn of(nodes: &BTreeMap<Box<[u8]>, Arc<Node>>) -> Self {
        loop {
            let seed = rand::random();
            let mut index =
                Index { seed, nodes: HashMap::with_capacity_and_hasher(nodes.len(), Default::default()) };
            let all_differ = nodes.iter().all(|(key, node)| {
                let hash = Prefix::new(seed).with(key).hash();
                index.nodes.insert(hash, (key.clone(), Arc::clone(node))).is_none()
            });
            // Two of a million names have the same 64 bits once in 40 million zones.
            if all_differ {
                return index;
            }
        }
    }

    /// The deepest node at or above the name of a relative key, and the length of its key.
    pub(super) fn closest(&self, key: &[u8]) -> Option<(usize, &Node)> {
        let mut prefix = Prefix::new(self.seed);
        let mut found = (0, self.get(prefix.hash(), &[])?);
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
    pub(super) fn exact(&self, key: &[u8]) -> Option<&Node> {
        self.get(Prefix::new(self.seed).with(key).hash(), key)
    }

    fn get(&self, hash: u64, key: &[u8]) -> Option<&Node> {
        self.nodes.get(&hash).filter(|(known, _)| **known == *key).map(|(_, node)| &**node)
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
