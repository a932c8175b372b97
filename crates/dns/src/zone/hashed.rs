//! The names of a zone as their hashes (RFC 5155), and how a zone says that something is not there.

use super::Node;
use super::ordered::Ordered;
use crate::dnssec::hashed::covers;
use crate::dnssec::{Nsec3, Nsec3Hash};
use crate::wire::Rtype;

/// NSEC3 records by their hashes, in order.
#[derive(Debug, Default)]
pub(super) struct Hashed(pub(super) Ordered);

impl Hashed {
    pub(super) fn nodes(&self) -> &Ordered {
        &self.0
    }

    pub(super) fn exact(&self, hash: &Nsec3Hash) -> Option<&Node> {
        self.0.get(hash).map(|node| &**node)
    }

    /// The record that says that nothing has this hash.
    pub(super) fn covering(&self, hash: &Nsec3Hash) -> Option<&Node> {
        // Before the first comes the last.
        let node = self.0.before(hash).next().or_else(|| self.0.iter().next_back())?;
        let next = Nsec3::read(node.rrset(Rtype::NSEC3)?.first())?.next_hash;
        covers(node.key(), next, hash).then_some(&**node)
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
    pub(super) fn of(apex: Option<&Node>, hashed: &Hashed) -> Self {
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
        used.filter(|_| !hashed.nodes().is_empty()).unwrap_or(Self::Plain)
    }
}
