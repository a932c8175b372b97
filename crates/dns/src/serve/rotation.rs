//! In which order the records of a set are answered (round robin, RFC 1794).

use crate::wire::RrSet;

/// Which record of a set comes first; the others follow in stored order, and around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// As in the zone file.
    Fixed,
    /// Each answer starts one record further. Counted per set: one counter for all would stand still for an asker
    /// who always asks for two sets in turn (A and AAAA).
    #[default]
    Cyclic,
    /// Each answer starts anywhere.
    Random,
    /// The answer starts at this record: one of several that are kept and take turns.
    From(u16),
}

impl Rotation {
    /// Index of the record that comes first, modulo the number of records.
    pub fn first(self, rrset: &RrSet) -> u32 {
        match self {
            _ if rrset.count() < 2 => 0,
            Self::Fixed => 0,
            Self::Cyclic => rrset.next_turn(),
            Self::Random => rand::random(),
            Self::From(first) => first.into(),
        }
    }
}
