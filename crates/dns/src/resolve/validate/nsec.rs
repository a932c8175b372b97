//! What NSEC records prove not to be (RFC 4035 section 5.4, RFC 6840 section 4).

use super::denial::Denied;
use crate::dnssec::{Nsec, TypeBitmap};
use crate::wire::{Name, Rtype};

/// Verified NSEC records of one zone.
#[derive(Debug)]
pub struct Chain<'a> {
    zone: &'a Name,
    records: Vec<(&'a Name, Nsec<'a>)>,
}

impl<'a> Chain<'a> {
    /// Takes owners and data. A record whose next name is not in the zone proves nothing.
    pub fn new(zone: &'a Name, records: impl Iterator<Item = (&'a Name, &'a [u8])>) -> Self {
        let records = records.filter_map(|(owner, rdata)| {
            let nsec = Nsec::read(rdata)?;
            let inside = owner.is_at_or_below(zone) && nsec.next.is_at_or_below(zone);
            inside.then_some((owner, nsec))
        });
        Self { zone, records: records.collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record whose gap `name` falls into, which then is no owner in the zone.
    fn covering(&self, name: &Name) -> Option<&(&'a Name, Nsec<'a>)> {
        let covers = |(owner, nsec): &&(&Name, Nsec<'_>)| {
            // The last record's next name is the apex.
            let before_next = nsec.next == *self.zone || *name < nsec.next;
            let above = name.is_below(owner) && is_cut(&nsec.types, owner);
            **owner < *name && before_next && !above
        };
        self.records.iter().filter(|_| name.is_below(self.zone)).find(covers)
    }

    fn matching(&self, name: &Name) -> Option<&Nsec<'a>> {
        self.records.iter().find(|(owner, _)| *owner == name).map(|(_, nsec)| nsec)
    }

    /// The deepest ancestor of `name` that exists, as the record that covers `name` shows.
    fn encloser(name: &Name, (owner, nsec): &(&Name, Nsec<'_>)) -> Name {
        let (one, other) = (common(name, owner), common(name, &nsec.next));
        if one.label_count() > other.label_count() { one } else { other }
    }

    /// That there is no such name, nor a wildcard that it could be made of.
    pub fn no_name(&self, name: &Name) -> Option<Denied> {
        let covering = self.covering(name).filter(|(_, nsec)| !nsec.next.is_below(name))?;
        let wildcard = Self::encloser(name, covering).with_label(b"*").ok()?;
        self.covering(&wildcard).filter(|(_, nsec)| !nsec.next.is_below(&wildcard)).map(|_| Denied::plain())
    }

    /// That the name, or the wildcard it would be made of, has no records of the type.
    pub fn no_data(&self, name: &Name, rtype: Rtype) -> Option<Denied> {
        if let Some(nsec) = self.matching(name) {
            return lacks(&nsec.types, name, rtype);
        }
        let covering = self.covering(name)?;
        if covering.1.next.is_below(name) {
            // An empty non-terminal: it exists, and has nothing.
            return Some(Denied::plain());
        }
        let wildcard = Self::encloser(name, covering).with_label(b"*").ok()?;
        lacks(&self.matching(&wildcard)?.types, &wildcard, rtype).map(|_| Denied::plain())
    }

    /// That a name that was made of the wildcard below the name with `labels` labels does not itself exist, nor anything
    /// between the two (RFC 4035 section 5.3.4).
    pub fn no_closer(&self, name: &Name, labels: usize) -> Option<Denied> {
        let covering = self.covering(name).filter(|(_, nsec)| !nsec.next.is_below(name))?;
        (Self::encloser(name, covering).label_count() <= labels).then(Denied::plain)
    }
}

/// Whether the types are those of the upper side of a zone cut or of a DNAME: its record says nothing of names below
/// (RFC 6840 section 4.1).
pub(super) fn is_cut(types: &TypeBitmap<'_>, owner: &Name) -> bool {
    let delegation = types.contains(Rtype::NS) && !types.contains(Rtype::SOA) && !owner.is_root();
    delegation || types.contains(Rtype::DNAME)
}

/// That a name with these types has none of `rtype`.
pub(super) fn lacks(types: &TypeBitmap<'_>, name: &Name, rtype: Rtype) -> Option<Denied> {
    if types.contains(rtype) || types.contains(Rtype::CNAME) {
        return None;
    }
    let (cut, apex) = (types.contains(Rtype::NS), types.contains(Rtype::SOA));
    if rtype == Rtype::DS {
        // Only the upper side of a cut can say so (RFC 6840 section 4.4).
        return (!apex || name.is_root()).then(|| Denied { delegation: cut, ..Denied::plain() });
    }
    // The upper side of a cut knows nothing of the lower one's data.
    (!cut || apex).then(Denied::plain)
}

/// The deepest name that both are at or below.
fn common(one: &Name, other: &Name) -> Name {
    let mut shared = one.clone();
    while !other.is_at_or_below(&shared) {
        let Some(parent) = shared.parent() else { break };
        shared = parent;
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::rdata;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// A zone's records from "owner next types".
    fn with_chain<T>(zone: &str, lines: &[&str], then: impl FnOnce(Chain<'_>) -> T) -> T {
        let parsed: Vec<(Name, Vec<u8>)> = lines
            .iter()
            .map(|line| {
                let (owner, data) = line.split_once(' ').unwrap();
                (name(owner), rdata(Rtype::NSEC, data))
            })
            .collect();
        let zone = name(zone);
        then(Chain::new(&zone, parsed.iter().map(|(owner, data)| (owner, data.as_slice()))))
    }

    const ZONE: &[&str] = &[
        "test. a.test. NS SOA RRSIG NSEC DNSKEY",
        "a.test. cut.test. A RRSIG NSEC",
        "cut.test. alias.ent.test. NS RRSIG NSEC",
        "alias.ent.test. moved.test. CNAME RRSIG NSEC",
        "moved.test. *.w.test. DNAME RRSIG NSEC",
        "*.w.test. test. TXT RRSIG NSEC",
    ];

    #[test]
    fn names_that_are_not_there() {
        with_chain("test.", ZONE, |chain| {
            for missing in ["b.test.", "0.test.", "b.a.test.", "zz.test.", "b.ent.test.", "AA.Test."] {
                assert!(chain.no_name(&name(missing)).is_some(), "{missing}");
            }
            // There, an empty non-terminal, under a wildcard, below a cut or a DNAME, elsewhere.
            for other in [
                "a.test.",
                "ent.test.",
                "w.test.",
                "x.w.test.",
                "x.cut.test.",
                "x.moved.test.",
                "test.",
                "b.other.",
            ] {
                assert!(chain.no_name(&name(other)).is_none(), "{other}");
            }
        });
    }

    #[test]
    fn types_that_are_not_there() {
        with_chain("test.", ZONE, |chain| {
            let denied = |owner: &str, rtype| chain.no_data(&name(owner), rtype);
            for owner in ["a.test.", "ent.test.", "w.test.", "x.w.test.", "test."] {
                assert!(denied(owner, Rtype::MX).is_some(), "{owner}");
            }
            // It has the type, is an alias, or is the upper side of a cut.
            assert!(denied("a.test.", Rtype::A).is_none());
            assert!(denied("x.w.test.", Rtype::TXT).is_none());
            assert!(denied("alias.ent.test.", Rtype::MX).is_none());
            assert!(denied("cut.test.", Rtype::MX).is_none());
            assert!(denied("x.cut.test.", Rtype::MX).is_none());
        });
    }

    #[test]
    fn a_missing_ds_is_denied_by_the_upper_side_alone() {
        with_chain("test.", ZONE, |chain| {
            assert!(chain.no_data(&name("cut.test."), Rtype::DS).unwrap().delegation);
            assert!(!chain.no_data(&name("a.test."), Rtype::DS).unwrap().delegation);
            assert!(
                chain.no_data(&name("test."), Rtype::DS).is_none(),
                "the apex says nothing of its own DS"
            );
        });
    }

    #[test]
    fn a_wildcard_serves_what_has_nothing_closer() {
        with_chain("test.", ZONE, |chain| {
            assert!(chain.no_closer(&name("x.w.test."), 2).is_some());
            assert!(chain.no_closer(&name("y.x.w.test."), 2).is_some());
            assert!(chain.no_closer(&name("b.ent.test."), 1).is_none(), "ent.test. is closer");
            assert!(chain.no_closer(&name("a.test."), 1).is_none());
            assert!(chain.no_closer(&name("ent.test."), 1).is_none());
        });
    }

    #[test]
    fn a_next_name_out_of_the_zone_proves_nothing() {
        for forged in ["a.test. z.other. A RRSIG NSEC", "a.test. other. A", "x.other. z.test. A"] {
            with_chain("test.", &[forged], |chain| {
                assert!(chain.no_name(&name("b.test.")).is_none(), "{forged}");
                assert!(chain.is_empty());
            });
        }
        // The end of the chain covers what is behind its owner, and nothing before it.
        with_chain("test.", &["m.test. test. A"], |chain| {
            assert!(chain.covering(&name("z.test.")).is_some() && chain.covering(&name("a.test.")).is_none());
        });
        // A chain does not go back but to the apex.
        with_chain("test.", &["m.test. b.test. A"], |chain| {
            assert!(
                ["a.test.", "c.test.", "z.test."].iter().all(|text| chain.covering(&name(text)).is_none())
            );
        });
    }
}
