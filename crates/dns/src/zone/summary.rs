//! What a signer must know of many names at once, kept with each chunk of them so that nobody looks at all.

use std::sync::Arc;

use super::Node;
use crate::dnssec::Rrsig;
use crate::wire::Rtype;

/// Of the sets and signatures of some nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// In seconds; signatures have that of their sets.
    pub longest_ttl: u32,
    /// When the first signature ends, in seconds since 1970 (serial number arithmetic).
    pub first_end: Option<u32>,
    /// The tags of the keys with signatures over the zone's records, which does not mean keys nor what is said of them to
    /// the parent.
    pub signed_by: Vec<u16>,
    /// Nodes with what signing makes.
    pub made_by_signing: u64,
}

impl Summary {
    pub(super) fn of(nodes: &[Arc<Node>]) -> Self {
        let mut all = Self::default();
        for node in nodes {
            all.longest_ttl = node.rrsets().map(|set| set.ttl).fold(all.longest_ttl, u32::max);
            all.made_by_signing += u64::from(node.is_made_by_signing());
            for (covered, rdata) in
                node.all_signatures().flat_map(|(rtype, set)| set.iter().map(move |rdata| (rtype, rdata)))
            {
                let Some((tag, end)) = Rrsig::tag_and_end(rdata) else { continue };
                all.ends(end);
                if !matches!(covered, Rtype::DNSKEY | Rtype::CDS | Rtype::CDNSKEY) {
                    all.tag(tag);
                }
            }
        }
        all
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.longest_ttl = self.longest_ttl.max(other.longest_ttl);
        self.made_by_signing += other.made_by_signing;
        other.first_end.into_iter().for_each(|end| self.ends(end));
        other.signed_by.iter().for_each(|tag| self.tag(*tag));
    }

    fn ends(&mut self, end: u32) {
        let before = |known: u32| known.wrapping_sub(end) < 1 << 31;
        if self.first_end.is_none_or(before) {
            self.first_end = Some(end);
        }
    }

    fn tag(&mut self, tag: u16) {
        if !self.signed_by.contains(&tag) {
            self.signed_by.push(tag);
        }
    }
}
