//! All zones that are served, found by the longest apex that a name is at or below.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Zone;
use crate::wire::{KeyBuf, Name, Rtype};

/// The zones of a node at one moment. Replaced as a whole, never changed.
#[derive(Debug, Default, Clone)]
pub struct Zones {
    by_apex: HashMap<Box<[u8]>, Arc<Zone>, RandomState>,
}

impl Zones {
    pub fn new(zones: impl IntoIterator<Item = Arc<Zone>>) -> Self {
        Self { by_apex: zones.into_iter().map(|zone| (zone.apex_key.clone(), zone)).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.by_apex.is_empty()
    }

    /// The zone that answers for the name of `key`: the deepest one, and for DS at an apex the one above it if that
    /// is served too (RFC 4035 section 3.1.4.1).
    pub fn find(&self, key: &KeyBuf, rtype: Rtype) -> Option<&Arc<Zone>> {
        if self.by_apex.is_empty() {
            return None;
        }
        let key = key.as_bytes();
        let mut length = key.len();
        let mut at_apex = None;
        loop {
            if let Some(zone) = key.get(..length).and_then(|apex| self.by_apex.get(apex)) {
                if rtype != Rtype::DS || length < key.len() || length == 0 {
                    return Some(zone);
                }
                at_apex = Some(zone);
            }
            if length == 0 {
                return at_apex;
            }
            // To the end of the label before.
            length = key.get(..length - 1)?.iter().rposition(|octet| *octet == 0).map_or(0, |zero| zero + 1);
        }
    }

    /// The zone with exactly this apex.
    pub fn get(&self, apex: &Name) -> Option<&Arc<Zone>> {
        self.by_apex.get(apex.key().as_bytes())
    }

    /// In canonical order of their apexes.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Zone>> {
        let mut zones: Vec<&Arc<Zone>> = self.by_apex.values().collect();
        zones.sort_by(|left, right| left.apex_key.cmp(&right.apex_key));
        zones.into_iter()
    }

    /// These zones with some of them replaced or added.
    pub fn with(&self, zones: impl IntoIterator<Item = Arc<Zone>>) -> Self {
        let mut next = self.clone();
        next.by_apex.extend(zones.into_iter().map(|zone| (zone.apex_key.clone(), zone)));
        next
    }
}
