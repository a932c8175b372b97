//! What a zone proves not to be there, by NSEC or by NSEC3 records.

use super::signature::Budget;
use super::{nsec, nsec3};
use crate::resolve::reply::Owned;
use crate::resolve::security::{Failure, Unsigned};
use crate::wire::{Name, Rtype};

/// Something is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// It is the DS of a name that has NS records: of a zone that is not signed.
    pub delegation: bool,
    /// Why the proof proves less than it says.
    pub unsigned: Option<Unsigned>,
}

impl Denied {
    pub(super) fn plain() -> Self {
        Self { delegation: false, unsigned: None }
    }

    pub(super) fn but(unsigned: Unsigned) -> Self {
        Self { delegation: false, unsigned: Some(unsigned) }
    }
}

/// Verified NSEC and NSEC3 records of one zone.
#[derive(Debug)]
pub struct Denials<'a> {
    nsec: nsec::Chain<'a>,
    nsec3: nsec3::Chain<'a>,
}

impl<'a> Denials<'a> {
    pub fn new(zone: &'a Name, sets: &[&'a Owned]) -> Self {
        // A name has one such record.
        let of = |rtype| {
            let sets = sets.iter().filter(move |(_, set)| set.rtype == rtype && set.count() == 1);
            sets.map(|(owner, set)| (owner, set.first()))
        };
        Self {
            nsec: nsec::Chain::new(zone, of(Rtype::NSEC)),
            nsec3: nsec3::Chain::new(zone, of(Rtype::NSEC3)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.nsec.is_empty() && self.nsec3.is_empty()
    }

    /// That there is no such name, nor a wildcard that it could be made of.
    pub fn no_name(&self, name: &Name, budget: &mut Budget) -> Result<Option<Denied>, Failure> {
        match self.nsec.no_name(name) {
            Some(denied) => Ok(Some(denied)),
            None => self.nsec3.no_name(name, budget),
        }
    }

    /// That the name, or the wildcard it would be made of, has no records of the type.
    pub fn no_data(&self, name: &Name, rtype: Rtype, budget: &mut Budget) -> Result<Option<Denied>, Failure> {
        match self.nsec.no_data(name, rtype) {
            Some(denied) => Ok(Some(denied)),
            None => self.nsec3.no_data(name, rtype, budget),
        }
    }

    /// That there is nothing between a name and the name with `labels` labels below whose wildcard it was made of.
    pub fn no_closer(
        &self,
        name: &Name,
        labels: usize,
        budget: &mut Budget,
    ) -> Result<Option<Denied>, Failure> {
        match self.nsec.no_closer(name, labels) {
            Some(denied) => Ok(Some(denied)),
            None => self.nsec3.no_closer(name, labels, budget),
        }
    }
}
