//! The names of a zone as their hashes (RFC 5155), and how a zone says that something is not there.

use std::sync::Arc;

use super::Node;
use crate::dnssec::hashed::{covers, hash_of_owner};
use crate::dnssec::{Nsec3, Nsec3Hash};
use crate::wire::{Name, Rtype};

/// NSEC3 records by their hashes, in order.
#[derive(Debug, Default)]
pub(super) struct Hashed(Vec<(Nsec3Hash, Arc<Node>)>);

impl Hashed {
    /// Nodes with nothing but NSEC3 records, whose owners are hashes right below `apex`.
    pub(super) fn of(nodes: impl Iterator<Item = Node>, apex: &Name) -> Self {
        let mut hashed: Vec<_> =
            nodes.filter_map(|node| Some((hash_of_owner(&node.owner, apex)?, Arc::new(node)))).collect();
        hashed.sort_unstable_by_key(|(hash, _)| *hash);
        Self(hashed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Nsec3Hash, Arc<Node>)> {
        self.0.iter()
    }

    /// From the first hash on that is not before `hash`.
    pub(super) fn from(&self, hash: &[u8]) -> &[(Nsec3Hash, Arc<Node>)] {
        let at = self.0.partition_point(|(own, _)| &own[..] < hash);
        self.0.get(at..).unwrap_or_default()
    }

    pub(super) fn exact(&self, hash: &Nsec3Hash) -> Option<&Node> {
        let at = self.0.binary_search_by_key(hash, |(own, _)| *own).ok()?;
        self.0.get(at).map(|(_, node)| &**node)
    }

    /// The record that says that nothing has this hash.
    pub(super) fn covering(&self, hash: &Nsec3Hash) -> Option<&Node> {
        let behind = self.0.partition_point(|(own, _)| own < hash);
        // Before the first comes the last.
        let (own, node) = self.0.get(behind.checked_sub(1).unwrap_or(self.0.len().checked_sub(1)?))?;
        let next = Nsec3::read(node.rrset(Rtype::NSEC3)?.first())?.next_hash;
        covers(own, next, hash).then_some(&**node)
    }
}

/// How a zone says that something is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denial {
    /// It is not signed: nothing proves it.
    Plain,
    Nsec,
    Nsec3 {
        salt: Box<[u8]>,
        iterations: u16,
    },
}

impl Denial {
    pub(super) fn of(apex: Option<&Arc<Node>>, hashed: &Hashed) -> Self {
        let Some(apex) = apex.filter(|apex| apex.signatures(Rtype::SOA).is_some()) else {
            return Self::Plain;
        };
        if apex.rrset(Rtype::NSEC).is_some() {
            return Self::Nsec;
        }
        // NSEC3PARAM begins as NSEC3 does. One whose flags are not 0 is not in use (RFC 5155 section 4.1.2).
        let used = apex.rrset(Rtype::NSEC3PARAM).into_iter().flat_map(|set| set.iter()).find_map(|rdata| {
            let [Nsec3::SHA1, 0, high, low, salt_octets, salt @ ..] = rdata else { return None };
            let salt = salt.get(..usize::from(*salt_octets))?;
            Some(Self::Nsec3 { salt: salt.into(), iterations: u16::from_be_bytes([*high, *low]) })
        });
        used.filter(|_| !hashed.0.is_empty()).unwrap_or(Self::Plain)
    }
}
