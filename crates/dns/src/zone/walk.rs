//! The records of a zone one after the other, with a place to go on from: for transfers, which send a zone in pieces.

use super::{Node, Zone};
use crate::wire::RrSet;

/// A record's place in a zone. It means something for that very zone only, which never changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordPlace {
    /// Among the hashed names, which come last.
    hashed: bool,
    node: Box<[u8]>,
    rrset: usize,
    record: usize,
}

impl Zone {
    /// Hands the records from `place` on to `take`, in canonical order of their owners. The place of the first that
    /// `take` does not want (it says false), which is the place to go on from; `None` when all were taken.
    pub fn walk(
        &self,
        place: &RecordPlace,
        mut take: impl FnMut(&Node, &RrSet, &[u8]) -> bool,
    ) -> Option<RecordPlace> {
        let (mut first_rrset, mut first_record) = (place.rrset, place.record);
        let names = (!place.hashed).then(|| self.nodes.from(&place.node));
        let names = names.into_iter().flatten().map(|node| (false, node));
        let hashed = self.hashed.nodes().from(if place.hashed { &place.node } else { &[] });
        for (hashed, node) in names.chain(hashed.map(|node| (true, node))) {
            for (rrset_at, (_, rrset)) in node.all_sets().enumerate().skip(first_rrset) {
                for (record, rdata) in rrset.iter().enumerate().skip(first_record) {
                    if !take(node, rrset, rdata) {
                        return Some(RecordPlace {
                            hashed,
                            node: node.key().into(),
                            rrset: rrset_at,
                            record,
                        });
                    }
                }
                first_record = 0;
            }
            (first_rrset, first_record) = (0, 0);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::zone_from_text;

    #[test]
    fn a_walk_in_steps_of_any_length_sees_every_record_once() {
        let text = "$TTL 1\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n@ NS ns2\na.b A 192.0.2.1\na.b A 192.0.2.2\na.b TXT x\nc NS d.c\nd.c A 192.0.2.3\n";
        let zone = zone_from_text(&"example".parse().unwrap(), text).unwrap();
        let show =
            |node: &Node, rrset: &RrSet, rdata: &[u8]| format!("{} {} {rdata:?}", node.owner, rrset.rtype);
        let mut whole = Vec::new();
        assert_eq!(
            zone.walk(&RecordPlace::default(), |n, s, r| {
                whole.push(show(n, s, r));
                true
            }),
            None
        );
        assert_eq!(whole.len(), 8);
        for step in 1..9 {
            let mut pieces = Vec::new();
            let mut place = Some(RecordPlace::default());
            while let Some(from) = place {
                let end = pieces.len() + step;
                place = zone.walk(&from, |node, rrset, rdata| {
                    let room = pieces.len() < end;
                    if room {
                        pieces.push(show(node, rrset, rdata));
                    }
                    room
                });
            }
            assert_eq!(pieces, whole, "steps of {step}");
        }
    }
}
