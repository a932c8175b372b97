//! What NSEC3 records prove not to be (RFC 5155 section 8, RFC 6840 section 4, RFC 9276).

use postroad_types::limits::DNS_NSEC3_ITERATIONS_MAX;

use super::denial::Denied;
use super::nsec::{is_cut, lacks};
use super::signature::Budget;
use crate::dnssec::hashed::{covers, hash_of_owner};
use crate::dnssec::{NSEC3_HASH_OCTETS, Nsec3, Nsec3Hash, nsec3_hash};
use crate::resolve::security::{Failure, Unsigned};
use crate::wire::{Name, Rtype};

/// Verified NSEC3 records of one zone, all with the same salt and iterations.
#[derive(Debug)]
pub struct Chain<'a> {
    zone: &'a Name,
    records: Vec<(Nsec3Hash, Nsec3<'a>)>,
}

/// The deepest ancestor of a name that exists, and the name below it on the way, which does not.
struct Enclosed<'c, 'a> {
    encloser: Name,
    next_closer: &'c Nsec3<'a>,
}

/// Where a name is in the chain.
enum Place<'c, 'a> {
    There(&'c Nsec3<'a>),
    Missing(Enclosed<'c, 'a>),
    Unknown,
}

impl<'a> Chain<'a> {
    /// Takes owners and data. Records of other zones, of unknown hashes and with unknown flags prove nothing (RFC 5155
    /// sections 8.1 and 8.2), nor do those that differ from the first in salt or iterations.
    pub fn new(zone: &'a Name, records: impl Iterator<Item = (&'a Name, &'a [u8])>) -> Self {
        let mut chain = Self { zone, records: Vec::new() };
        for (owner, rdata) in records {
            let (Some(own), Some(nsec3)) = (hash_of_owner(owner, zone), Nsec3::read(rdata)) else { continue };
            let known = nsec3.hash_algorithm == Nsec3::SHA1
                && nsec3.flags & !Nsec3::OPT_OUT == 0
                && nsec3.next_hash.len() == NSEC3_HASH_OCTETS;
            let same = chain
                .records
                .first()
                .is_none_or(|(_, first)| first.salt == nsec3.salt && first.iterations == nsec3.iterations);
            if known && same {
                chain.records.push((own, nsec3));
            }
        }
        chain
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records need more work than is done: the zone counts as not signed.
    fn is_too_costly(&self) -> bool {
        self.records.first().is_some_and(|(_, first)| first.iterations > DNS_NSEC3_ITERATIONS_MAX)
    }

    fn hash(&self, name: &Name, budget: &mut Budget) -> Result<Nsec3Hash, Failure> {
        budget.hash()?;
        let (salt, iterations) =
            self.records.first().map_or((&[][..], 0), |(_, first)| (first.salt, first.iterations));
        Ok(nsec3_hash(name, salt, iterations))
    }

    fn matching(&self, hash: &Nsec3Hash) -> Option<&Nsec3<'a>> {
        self.records.iter().find(|(own, _)| own == hash).map(|(_, nsec3)| nsec3)
    }

    fn covering(&self, hash: &Nsec3Hash) -> Option<&Nsec3<'a>> {
        self.records.iter().find(|(own, nsec3)| covers(own, nsec3.next_hash, hash)).map(|(_, nsec3)| nsec3)
    }

    /// Looks for a name, or for the proof of its closest encloser (RFC 5155 section 8.3).
    fn place(&self, name: &Name, budget: &mut Budget) -> Result<Place<'_, 'a>, Failure> {
        if self.records.is_empty() || !name.is_at_or_below(self.zone) {
            return Ok(Place::Unknown);
        }
        let mut below: Option<Nsec3Hash> = None;
        let mut ancestor = name.clone();
        loop {
            let hash = self.hash(&ancestor, budget)?;
            if let Some(nsec3) = self.matching(&hash) {
                let Some(below) = below else { return Ok(Place::There(nsec3)) };
                // What lies below a cut or a DNAME is not this zone's to say.
                let next_closer = self.covering(&below).filter(|_| !is_cut(&nsec3.types, &ancestor));
                return Ok(next_closer.map_or(Place::Unknown, |next_closer| {
                    Place::Missing(Enclosed { encloser: ancestor, next_closer })
                }));
            }
            let parent = ancestor.parent().filter(|_| ancestor != *self.zone);
            let Some(parent) = parent else { return Ok(Place::Unknown) };
            (below, ancestor) = (Some(hash), parent);
        }
    }

    /// That there is no such name, nor a wildcard that it could be made of.
    pub fn no_name(&self, name: &Name, budget: &mut Budget) -> Result<Option<Denied>, Failure> {
        if self.is_too_costly() {
            return Ok(Some(Denied::but(Unsigned::Iterations)));
        }
        let Place::Missing(Enclosed { encloser, next_closer }) = self.place(name, budget)? else {
            return Ok(None);
        };
        let Ok(wildcard) = encloser.with_label(b"*") else { return Ok(None) };
        let wildcard = self.hash(&wildcard, budget)?;
        Ok(self.covering(&wildcard).map(|_| opt_out(next_closer)))
    }

    /// That the name, or the wildcard it would be made of, has no records of the type.
    pub fn no_data(&self, name: &Name, rtype: Rtype, budget: &mut Budget) -> Result<Option<Denied>, Failure> {
        if self.is_too_costly() {
            let delegation = rtype == Rtype::DS;
            return Ok(Some(Denied { delegation, ..Denied::but(Unsigned::Iterations) }));
        }
        let Enclosed { encloser, next_closer } = match self.place(name, budget)? {
            Place::There(nsec3) => return Ok(lacks(&nsec3.types, name, rtype)),
            Place::Missing(enclosed) => enclosed,
            Place::Unknown => return Ok(None),
        };
        if next_closer.is_opt_out() {
            // There may be a delegation that is not signed, or a name above one (RFC 5155 section 8.6).
            let delegation = rtype == Rtype::DS;
            return Ok(Some(Denied { delegation, ..Denied::but(Unsigned::OptOut) }));
        }
        let Ok(wildcard) = encloser.with_label(b"*") else { return Ok(None) };
        let hash = self.hash(&wildcard, budget)?;
        let lacking = self.matching(&hash).and_then(|nsec3| lacks(&nsec3.types, &wildcard, rtype));
        Ok(lacking.map(|_| Denied::plain()))
    }

    /// That a name that was made of the wildcard below the name with `labels` labels has nothing closer (RFC 5155
    /// section 8.8).
    pub fn no_closer(
        &self,
        name: &Name,
        labels: usize,
        budget: &mut Budget,
    ) -> Result<Option<Denied>, Failure> {
        if self.is_too_costly() {
            return Ok(Some(Denied::but(Unsigned::Iterations)));
        }
        let mut next_closer = name.clone();
        while next_closer.label_count() > labels + 1 {
            let Some(parent) = next_closer.parent() else { return Ok(None) };
            next_closer = parent;
        }
        if self.records.is_empty() || !next_closer.is_below(self.zone) {
            return Ok(None);
        }
        let hash = self.hash(&next_closer, budget)?;
        Ok(self.covering(&hash).map(opt_out))
    }
}

/// A gap in which delegations are left out proves less (RFC 5155 section 9.2).
fn opt_out(next_closer: &Nsec3<'_>) -> Denied {
    if next_closer.is_opt_out() { Denied::but(Unsigned::OptOut) } else { Denied::plain() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dnssec::hashed::hashed_owner;
    use crate::dnssec::type_bitmap;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    struct Made {
        zone: Name,
        records: Vec<(Name, Vec<u8>)>,
    }

    /// The NSEC3 records of a zone with these names and types, empty non-terminals with none.
    fn made(zone: &str, names: &[(&str, &[Rtype])], flags: u8, iterations: u16) -> Made {
        let zone = name(zone);
        let hashes: BTreeMap<Nsec3Hash, &[Rtype]> =
            names.iter().map(|(owner, types)| (nsec3_hash(&name(owner), &[7], iterations), *types)).collect();
        let order: Vec<Nsec3Hash> = hashes.keys().copied().collect();
        let records = order.iter().enumerate().map(|(index, own)| {
            let mut data = vec![1, flags];
            data.extend_from_slice(&iterations.to_be_bytes());
            data.extend_from_slice(&[1, 7, 20]);
            data.extend_from_slice(&order[(index + 1) % order.len()]);
            data.extend(type_bitmap(hashes[own].iter().copied()));
            (hashed_owner(own, &zone).unwrap(), data)
        });
        Made { records: records.collect(), zone }
    }

    impl Made {
        fn chain(&self) -> Chain<'_> {
            Chain::new(&self.zone, self.records.iter().map(|(owner, data)| (owner, data.as_slice())))
        }
    }

    const APEX: &[Rtype] = &[Rtype::NS, Rtype::SOA, Rtype::DNSKEY];
    const NAMES: &[(&str, &[Rtype])] = &[
        ("test.", APEX),
        ("a.test.", &[Rtype::A]),
        ("cut.test.", &[Rtype::NS]),
        ("ent.test.", &[]),
        ("alias.ent.test.", &[Rtype::CNAME]),
        ("moved.test.", &[Rtype::DNAME]),
        ("w.test.", &[]),
        ("*.w.test.", &[Rtype::TXT]),
    ];

    #[test]
    fn names_that_are_not_there() {
        let made = made("test.", NAMES, 0, 3);
        let (chain, mut budget) = (made.chain(), Budget::default());
        for missing in ["b.test.", "x.y.a.test.", "b.ent.test."] {
            assert_eq!(
                chain.no_name(&name(missing), &mut budget).unwrap(),
                Some(Denied::plain()),
                "{missing}"
            );
        }
        for other in
            ["a.test.", "ent.test.", "x.w.test.", "x.cut.test.", "x.moved.test.", "test.", "b.other.", "."]
        {
            assert_eq!(chain.no_name(&name(other), &mut budget).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn types_that_are_not_there() {
        let made = made("test.", NAMES, 0, 0);
        let (chain, mut budget) = (made.chain(), Budget::default());
        let mut denied = |owner: &str, rtype| chain.no_data(&name(owner), rtype, &mut budget).unwrap();
        for owner in ["a.test.", "ent.test.", "x.w.test.", "test."] {
            assert_eq!(denied(owner, Rtype::MX), Some(Denied::plain()), "{owner}");
        }
        for (owner, rtype) in [
            ("a.test.", Rtype::A),
            ("test.", Rtype::SOA),
            ("x.w.test.", Rtype::TXT),
            ("alias.ent.test.", Rtype::MX),
            ("cut.test.", Rtype::MX),
            ("x.cut.test.", Rtype::MX),
            ("b.test.", Rtype::MX),
            ("test.", Rtype::DS),
        ] {
            assert_eq!(denied(owner, rtype), None, "{owner} {rtype}");
        }
        assert!(denied("cut.test.", Rtype::DS).unwrap().delegation);
        assert!(!denied("a.test.", Rtype::DS).unwrap().delegation);
    }

    #[test]
    fn gaps_with_opt_out_prove_less() {
        let made = made("test.", NAMES, 1, 0);
        let (chain, mut budget) = (made.chain(), Budget::default());
        let out = Some(Denied::but(Unsigned::OptOut));
        assert_eq!(chain.no_name(&name("b.test."), &mut budget).unwrap(), out);
        let ds = chain.no_data(&name("b.test."), Rtype::DS, &mut budget).unwrap().unwrap();
        assert!(ds.delegation && ds.unsigned == Some(Unsigned::OptOut));
        assert_eq!(chain.no_closer(&name("x.w.test."), 2, &mut budget).unwrap(), out);
        // A name that is there is there.
        assert_eq!(chain.no_data(&name("a.test."), Rtype::MX, &mut budget).unwrap(), Some(Denied::plain()));
    }

    #[test]
    fn records_of_another_zone_and_of_unknown_kinds_prove_nothing() {
        let made_elsewhere = made("other.", &[("other.", APEX)], 0, 0);
        let zone = name("test.");
        let records = || made_elsewhere.records.iter().map(|(owner, data)| (owner, data.as_slice()));
        assert!(Chain::new(&zone, records()).is_empty());
        let unknown_flag = made("test.", NAMES, 2, 0);
        assert!(unknown_flag.chain().is_empty());
        let mut unknown_hash = made("test.", NAMES, 0, 0);
        unknown_hash.records.iter_mut().for_each(|(_, data)| data[0] = 2);
        assert!(unknown_hash.chain().is_empty());
        // Below the zone, but not right below.
        let deeper = hashed_owner(&[9; 20], &name("sub.test.")).unwrap();
        assert!(
            Chain::new(&zone, [(&deeper, made_elsewhere.records[0].1.as_slice())].into_iter()).is_empty()
        );
    }

    #[test]
    fn costly_hashes_are_not_computed() {
        let costly = made("test.", NAMES, 0, 2500);
        let mut budget = Budget::default();
        let denied = costly.chain().no_name(&name("b.test."), &mut budget).unwrap();
        assert_eq!(denied, Some(Denied::but(Unsigned::Iterations)));
        assert_eq!(budget.spent(), (0, 0));
        // A long name in a zone that proves nothing about it costs a bounded number.
        let deep: Name = format!("{}test.", "a.".repeat(120)).parse().unwrap();
        let plain = made("test.", &[("b.test.", &[Rtype::A])], 0, 150);
        let chain = plain.chain();
        let tries: Vec<bool> = (0..4).map(|_| chain.no_name(&deep, &mut budget).is_ok()).collect();
        assert_eq!(tries, [true, false, false, false]);
        assert_eq!(budget.spent().1, postroad_types::limits::DNS_NSEC3_HASHES_PER_QUESTION_MAX);
    }

    #[test]
    fn a_record_that_is_alone_covers_all_but_itself() {
        let made = made("test.", &[("test.", APEX)], 0, 0);
        let (chain, mut budget) = (made.chain(), Budget::default());
        assert!(chain.no_name(&name("x.test."), &mut budget).unwrap().is_some());
        assert!(chain.no_name(&name("test."), &mut budget).unwrap().is_none());
        assert!(chain.no_data(&name("test."), Rtype::MX, &mut budget).unwrap().is_some());
    }
}
