//! From drafts to nodes: freezes them, adds the empty non-terminals (RFC 4592 section 2.2.2) and marks what is at or below
//! cuts and DNAMEs; of a whole zone, or where one changes.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use super::check::ancestors;
use super::draft::Draft;
use super::ordered::NodeChanges;
use super::{Node, Owner, Zone};
use crate::wire::{Name, Rtype};

/// The nodes of a zone of drafts, in the order of their keys.
pub(super) fn nodes(drafts: BTreeMap<Box<[u8]>, Draft>) -> impl Iterator<Item = Arc<Node>> {
    let mut marks = Marks::default();
    let mut before: Box<[u8]> = Box::default();
    drafts.into_iter().flat_map(move |(key, draft)| {
        // What is above comes before, and what is between it and this name is below it, too.
        let shared = iter::zip(&before, &key).take_while(|(left, right)| left == right).count();
        let missing: Vec<Box<[u8]>> =
            ancestors(&key).filter(|above| above.len() > shared).map(Into::into).collect();
        let mut nodes = Vec::with_capacity(missing.len() + 1);
        for above in missing {
            let name = ancestor(&draft.owner, &key, above.len());
            nodes.extend(name.map(|name| Node::empty(Arc::new(Owner::new(name, above)))));
        }
        before.clone_from(&key);
        nodes.push(draft.into_node(key));
        nodes.iter_mut().for_each(|node| marks.put(node));
        nodes.into_iter().map(Arc::new)
    })
}

/// The name above `owner` whose key is the first `octets` of `key`, the owner's.
fn ancestor(owner: &Name, key: &[u8], octets: usize) -> Option<Name> {
    let labels = key.get(octets..)?.iter().filter(|octet| **octet == 0).count();
    let mut name = owner.parent()?;
    for _ in 1..labels {
        name = name.parent()?;
    }
    Some(name)
}

/// The topmost cut and DNAME above the name that comes next.
#[derive(Default)]
struct Marks {
    cut: Option<Box<[u8]>>,
    dname: Option<Box<[u8]>>,
}

impl Marks {
    fn put(&mut self, node: &mut Node) {
        if self.cut.as_ref().is_none_or(|cut| !node.key().starts_with(cut)) {
            self.cut = is_cut(node).then(|| node.key().into());
        }
        if self.dname.as_ref().is_none_or(|dname| !node.key().starts_with(dname)) {
            self.dname = node.rrset(Rtype::DNAME).is_some().then(|| node.key().into());
        }
        node.cut = self.cut.as_ref().map_or(0, |cut| cut.len() as u16);
        node.dname = self.dname.as_ref().map_or(0, |dname| dname.len() as u16 + 1);
    }
}

fn is_cut(node: &Node) -> bool {
    !node.key().is_empty() && node.rrset(Rtype::NS).is_some()
}

/// What drafts make of the nodes of a zone.
pub(super) fn changes(drafts: BTreeMap<Box<[u8]>, Draft>, base: &Zone) -> NodeChanges {
    // What comes, goes or changes; and the names of that and of all above, which may be empty non-terminals.
    let mut concerned: BTreeMap<Box<[u8]>, Option<Node>> = BTreeMap::new();
    let mut names: BTreeMap<Box<[u8]>, Name> = BTreeMap::new();
    for (key, draft) in drafts {
        for above in ancestors(&key).filter(|above| !above.is_empty()) {
            if !names.contains_key(above) {
                names.extend(ancestor(&draft.owner, &key, above.len()).map(|name| (above.into(), name)));
            }
        }
        names.entry(key.clone()).or_insert_with(|| draft.owner.clone());
        let node = (!draft.sets.is_empty()).then(|| draft.into_node(key.clone()));
        concerned.insert(key, node);
    }
    // The deepest first, so that it is known what is below.
    for (key, name) in names.iter().rev() {
        let present = base.tree().get(key);
        if concerned.get(key).is_some_and(Option::is_some)
            || (!concerned.contains_key(key) && present.is_some_and(|node| !node.is_empty()))
        {
            continue;
        }
        let mut grown = concerned.range::<[u8], _>((Bound::Excluded(&**key), Bound::Unbounded));
        let has_new =
            grown.by_ref().take_while(|(other, _)| other.starts_with(key)).any(|(_, node)| node.is_some());
        let remains = |node: &Node| {
            !concerned.contains_key(node.key()) && (!node.is_empty() || !names.contains_key(node.key()))
        };
        let stays = has_new || base.tree().below(key).any(|node| remains(node));
        if stays && present.is_some_and(|node| node.is_empty()) {
            concerned.remove(key);
        } else {
            let owner = || Arc::new(Owner::new(name.clone(), key.clone()));
            concerned.insert(key.clone(), stays.then(|| Node::empty(owner())));
        }
    }
    mark(&mut concerned, base);
    let frozen = concerned.into_iter().map(|(key, node)| (key, node.map(Arc::new)));
    frozen.filter(|(key, node)| node.is_some() || base.tree().get(key).is_some()).collect()
}

/// Marks what is at or below cuts and DNAMEs: the nodes that change, and those below one that begins or ends to be such.
fn mark(concerned: &mut BTreeMap<Box<[u8]>, Option<Node>>, base: &Zone) {
    let mut others = Vec::new();
    for (key, node) in concerned.iter() {
        let was = base.tree().get(key);
        let kind = |node: Option<&Node>| {
            node.map_or((false, false), |node| (is_cut(node), node.rrset(Rtype::DNAME).is_some()))
        };
        if kind(node.as_ref()) != kind(was.map(|node| &**node)) {
            let below = base.tree().below(key).filter(|node| !concerned.contains_key(node.key()));
            others.extend(below.map(|node| (Box::from(node.key()), Node::clone(node))));
        }
    }
    concerned.extend(others.into_iter().map(|(key, node)| (key, Some(node))));
    let marked: Vec<(Box<[u8]>, u16, u16)> = concerned
        .iter()
        .filter(|(_, node)| node.is_some())
        .map(|(key, _)| {
            let at = |key: &[u8]| match concerned.get(key) {
                Some(node) => node.as_ref(),
                None => base.tree().get(key).map(|node| &**node),
            };
            let line = || ancestors(key).chain([&**key]);
            let cut = line().find(|key| at(key).is_some_and(is_cut)).map_or(0, |key| key.len() as u16);
            let dname = line().find(|key| at(key).is_some_and(|node| node.rrset(Rtype::DNAME).is_some()));
            (key.clone(), cut, dname.map_or(0, |key| key.len() as u16 + 1))
        })
        .collect();
    for (key, cut, dname) in marked {
        if let Some(Some(node)) = concerned.get_mut(&key) {
            (node.cut, node.dname) = (cut, dname);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::Record;
    use crate::zone::{Changes, RecordPlace, zone_from_text, zone_with_changes};

    const DATA: [&str; 5] = [
        "A 192.0.2.1",
        "TXT x",
        "NS ns.other.",
        "DNAME other.",
        "NSEC3 1 0 0 - 00000000000000000000000000000000 A",
    ];

    /// `None`: no zone may hold these.
    fn zone(records: &BTreeSet<(String, usize)>) -> Option<Zone> {
        let mut text = "$TTL 60\n@ SOA ns.other. h 1 1 1 1 1\n@ NS ns.other.\n".to_owned();
        for (owner, data) in records {
            text.push_str(&match *data {
                // Only at what can be a hash.
                4 => format!("{}{} {}\n", "0".repeat(31), owner.len() % 4, DATA[4]),
                other => format!("{owner} {}\n", DATA[other]),
            });
        }
        zone_from_text(&"example".parse().unwrap(), &text).ok()
    }

    fn records(zone: &Zone) -> Vec<Record> {
        let mut records = Vec::new();
        zone.walk(&RecordPlace::default(), |node, set, rdata| {
            let (owner, rdata) = (Name::clone(&node.owner), rdata.to_vec());
            records.push(Record { owner, rtype: set.rtype, class: 1, ttl: set.ttl, rdata });
            true
        });
        records
    }

    /// All nodes with their marks.
    fn shown(zone: &Zone) -> Vec<String> {
        let show = |node: &Arc<Node>| {
            let sets =
                node.all_sets().map(|(_, set)| format!("{} {:?}", set.rtype, set.iter().collect::<Vec<_>>()));
            format!("{} {:?} {:?}", node.owner, node.marks(), sets.collect::<Vec<_>>())
        };
        zone.tree().iter().map(show).chain(zone.hashes().iter().map(show)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// What changes make of a zone is what the records would have made at once, or nothing where no zone may hold them.
        #[test]
        fn changes_lead_where_a_whole_zone_does(
            versions in proptest::collection::vec(
                proptest::collection::btree_set(("[ab](\\.[ab]){0,3}", 0usize..DATA.len()), 0..10), 2..5),
        ) {
            let mut present = zone(&BTreeSet::new()).unwrap();
            for wanted in versions {
                // Without a DNAME the zone can be, and so the records are known.
                let all = wanted.iter().filter(|(_, data)| *data != 3).cloned().collect();
                let mut new = records(&zone(&all).unwrap());
                let whole = zone(&wanted);
                new.extend(wanted.iter().filter(|(_, data)| *data == 3).map(|(owner, _)| {
                    let owner = format!("{owner}.example").parse().unwrap();
                    Record { owner, rtype: Rtype::DNAME, class: 1, ttl: 60, rdata: b"\x05other\x00".to_vec() }
                }));
                let old = records(&present);
                let removed = old.iter().filter(|record| !new.contains(record)).cloned().collect();
                let added = new.iter().filter(|record| !old.contains(record)).cloned().collect();
                let made = zone_with_changes(&present, [Changes { removed, added }], "x");
                prop_assert_eq!(made.is_ok(), whole.is_some(), "{:?}", made.err());
                if let (Ok(made), Some(whole)) = (made, whole) {
                    prop_assert_eq!(shown(&made), shown(&whole));
                    prop_assert_eq!((made.records(), made.names()), (whole.records(), whole.names()));
                    for node in whole.tree().iter() {
                        prop_assert_eq!(made.at(node.key()).map(|found| shown_one(found)), Some(shown_one(node)));
                    }
                    present = made;
                }
            }
        }
    }

    fn shown_one(node: &Node) -> String {
        format!("{} {}", node.owner, node.records())
    }
}
