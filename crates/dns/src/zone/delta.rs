//! What has changed between two versions of a zone, and a bounded history of that (RFC 1995).
//!
//! A version carries its own history, so whoever holds a zone holds the differences that lead to it. They are found
//! by walking both side by side but for what they share, and no other bookkeeping is needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use postroad_types::limits::{DNS_HISTORY_OCTETS_MAX, DNS_HISTORY_VERSIONS_MAX};

use super::serial::is_newer;
use super::{Node, Zone};
use crate::wire::{Name, RrSet, Rtype};

/// A record that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub owner: Name,
    pub rtype: Rtype,
    /// Seconds.
    pub ttl: u32,
    pub rdata: Box<[u8]>,
}

/// What leads from one version of a zone to the next, in the order of RFC 1995 section 4: the old SOA and what went,
/// the new SOA and what came.
#[derive(Debug)]
pub struct Delta {
    pub from: u32,
    pub to: u32,
    pub removed: Vec<Change>,
    pub added: Vec<Change>,
    octets: usize,
}

/// Versions before the present one, the oldest first; each leads to the next, and the last to the present one.
#[derive(Debug, Clone, Default)]
pub struct History(Vec<Arc<Delta>>);

/// How many octets a change takes in memory, more or less.
fn octets(change: &Change) -> usize {
    size_of::<Change>() + change.owner.as_wire().len() + change.rdata.len()
}

impl Delta {
    /// Compares two versions. `None` when the differences take more than `most` octets in memory, or a SOA is missing.
    pub(super) fn between(old: &Zone, new: &Zone, most: usize) -> Option<Delta> {
        let (mut removed, mut added) = (vec![soa(old)?], vec![soa(new)?]);
        let mut left = most;
        let mut note = |list: &mut Vec<Change>, change: Change| {
            let fits = left.checked_sub(octets(&change));
            left = fits.unwrap_or(0);
            list.push(change);
            fits
        };
        let names = old.nodes.differences(&new.nodes);
        for (before, after) in names.chain(old.hashed.nodes().differences(new.hashed.nodes())) {
            let (before, after) = (before.map(|node| &**node), after.map(|node| &**node));
            for (node, rrset, rdata) in only_in(before, after) {
                note(&mut removed, change(node, rrset, rdata))?;
            }
            for (node, rrset, rdata) in only_in(after, before) {
                note(&mut added, change(node, rrset, rdata))?;
            }
        }
        Some(Delta { from: old.serial, to: new.serial, removed, added, octets: most - left })
    }
}

fn soa(zone: &Zone) -> Option<Change> {
    let node = zone.apex_node()?;
    let rrset = node.rrset(Rtype::SOA)?;
    Some(change(node, rrset, rrset.first()))
}

fn change(node: &Node, rrset: &RrSet, rdata: &[u8]) -> Change {
    Change { owner: Name::clone(&node.owner), rtype: rrset.rtype, ttl: rrset.ttl, rdata: rdata.into() }
}

/// The records of `node` that `other` has not, or has with another TTL; but for the SOA, which leads each part.
fn only_in<'z>(node: Option<&'z Node>, other: Option<&'z Node>) -> Vec<(&'z Node, &'z RrSet, &'z [u8])> {
    let Some(node) = node else { return Vec::new() };
    let mut records = Vec::new();
    for (covered, rrset) in node.all_sets().filter(|(_, rrset)| rrset.rtype != Rtype::SOA) {
        let other = other.and_then(|other| match rrset.rtype {
            Rtype::RRSIG => other.signatures(covered),
            rtype => other.rrset(rtype),
        });
        let same = other.filter(|other| other.ttl == rrset.ttl);
        let known: BTreeSet<&[u8]> = same.into_iter().flat_map(RrSet::iter).collect();
        records.extend(rrset.iter().filter(|rdata| !known.contains(rdata)).map(|rdata| (node, rrset, rdata)));
    }
    records
}

impl History {
    /// The history of `new`, which comes after `old`. Empty where no differences lead there: the serial did not go
    /// up, or they would take as much as the zone itself.
    pub(super) fn following(old: &Zone, new: &Zone) -> Self {
        if !is_newer(new.serial, old.serial) {
            // The same serial for something else: who has it must take the zone whole, sooner or later.
            return if new.serial == old.serial && is_same(old, new) {
                old.history.clone()
            } else {
                Self::default()
            };
        }
        let Some(delta) = Delta::between(old, new, DNS_HISTORY_OCTETS_MAX) else { return Self::default() };
        if delta.removed.len() + delta.added.len() > usize::try_from(new.records).unwrap_or(usize::MAX) {
            return Self::default();
        }
        let mut deltas = old.history.0.clone();
        deltas.push(Arc::new(delta));
        let mut room = DNS_HISTORY_OCTETS_MAX;
        let kept = deltas.iter().rev().take(DNS_HISTORY_VERSIONS_MAX).take_while(|delta| {
            let left = room.checked_sub(delta.octets);
            room = left.unwrap_or(0);
            left.is_some()
        });
        let kept = kept.count();
        deltas.drain(..deltas.len() - kept);
        Self(deltas)
    }

    /// The differences from the version with this serial on; `None` if they are not kept.
    pub fn since(&self, serial: u32) -> Option<&[Arc<Delta>]> {
        let start = self.0.iter().position(|delta| delta.from == serial)?;
        self.0.get(start..)
    }

    /// Number of versions that are kept.
    pub fn versions(&self) -> usize {
        self.0.len()
    }
}

/// Two versions with one serial hold the same records.
pub(super) fn is_same(old: &Zone, new: &Zone) -> bool {
    Delta::between(old, new, DNS_HISTORY_OCTETS_MAX).is_some_and(|delta| {
        delta.removed.len() == 1 && delta.removed.first() == delta.added.first() && delta.added.len() == 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::display_rdata;
    use crate::zone::zone_from_text;

    fn zone(serial: u32, records: &str) -> Zone {
        let text = format!("$TTL 60\n@ SOA ns h {serial} 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n{records}\n");
        zone_from_text(&"example".parse().unwrap(), &text).unwrap()
    }

    fn after(mut new: Zone, old: &Zone) -> Zone {
        new.history = History::following(old, &new);
        new
    }

    fn shown(changes: &[Change]) -> Vec<String> {
        let show =
            |c: &Change| format!("{} {} {} {}", c.owner, c.ttl, c.rtype, display_rdata(c.rtype, &c.rdata));
        changes.iter().skip(1).map(show).collect()
    }

    #[test]
    fn what_came_went_and_changed_its_ttl_is_found() {
        let filler = "f A 192.0.2.9\nf AAAA ::1\nf TXT 1\nf TXT 2\nf TXT 3";
        let old = zone(1, &format!("a A 192.0.2.2\na A 192.0.2.3\nb TXT x\nc 60 MX 1 ns\n{filler}"));
        let new =
            after(zone(2, &format!("a A 192.0.2.3\na A 192.0.2.4\nb2 TXT x\nc 30 MX 1 ns\n{filler}")), &old);
        let [delta] = new.history.since(1).unwrap() else { panic!("{:?}", new.history) };
        assert_eq!((delta.from, delta.to), (1, 2));
        assert_eq!((delta.removed[0].rtype, delta.added[0].rtype), (Rtype::SOA, Rtype::SOA));
        assert_eq!(
            shown(&delta.removed),
            ["a.example. 60 A 192.0.2.2", "b.example. 60 TXT \"x\"", "c.example. 60 MX 1 ns.example."]
        );
        assert_eq!(
            shown(&delta.added),
            ["a.example. 60 A 192.0.2.4", "b2.example. 60 TXT \"x\"", "c.example. 30 MX 1 ns.example."]
        );
        assert!(new.history.since(2).is_none() && new.history.since(0).is_none());
    }

    #[test]
    fn a_history_leads_from_version_to_version_and_is_bounded() {
        let mut present = zone(1, "f TXT 1\nf TXT 2");
        for serial in 2..=DNS_HISTORY_VERSIONS_MAX as u32 + 5 {
            present =
                after(zone(serial, &format!("f TXT 1\nf TXT 2\nx A 192.0.2.{}", serial % 250)), &present);
        }
        assert_eq!(present.history.versions(), DNS_HISTORY_VERSIONS_MAX);
        let oldest = present.serial() - DNS_HISTORY_VERSIONS_MAX as u32;
        let deltas = present.history.since(oldest).unwrap();
        assert!(deltas.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert!(present.history.since(oldest - 1).is_none());
    }

    #[test]
    fn serials_that_do_not_rise_and_changes_of_everything_have_no_history() {
        let old = after(zone(5, "f TXT 1\nf TXT 2\nf TXT 3"), &zone(4, "f TXT 1\nf TXT 2"));
        assert_eq!(old.history.versions(), 1);
        assert_eq!(after(zone(5, "f TXT 1\nf TXT 2\nf TXT 3"), &old).history.versions(), 1);
        assert_eq!(after(zone(5, "f TXT 1\nf TXT 2"), &old).history.versions(), 0);
        assert_eq!(after(zone(3, "f TXT 1"), &old).history.versions(), 0);
        assert_eq!(after(zone(6, "g TXT 1\ng TXT 2\ng TXT 3\ng TXT 4"), &old).history.versions(), 0);
    }
}
