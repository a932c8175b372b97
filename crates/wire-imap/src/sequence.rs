//! Sequence sets: `1,3:5,7:*` (RFC 3501 §9), of message numbers or of uids.

use std::fmt;

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// Never 0.
    Exact(u32),
    /// `*`: the highest in use.
    Highest,
}

/// Ranges as the client wrote them; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequenceSet(pub(crate) Vec<(Number, Number)>);

impl SequenceSet {
    /// Rising ranges, both ends included, that neither touch nor overlap. With `highest` 0 (nothing is there)
    /// `*` stands for nothing.
    pub fn ranges(&self, highest: u32) -> Vec<(u32, u32)> {
        let value = |number: Number| match number {
            Number::Exact(n) => n,
            Number::Highest => highest,
        };
        let mut ranges: Vec<(u32, u32)> = self
            .0
            .iter()
            .map(|(a, b)| (value(*a), value(*b)))
            .map(|(a, b)| (a.min(b), a.max(b)))
            .filter(|(first, _)| *first > 0)
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        merged
    }

    /// The highest number that is named; `None` if only `*` is.
    pub fn highest_named(&self) -> Option<u32> {
        let exact = |number: Number| match number {
            Number::Exact(n) => Some(n),
            Number::Highest => None,
        };
        self.0.iter().flat_map(|(a, b)| [exact(*a), exact(*b)]).flatten().max()
    }
}

/// Rising numbers in the shortest writing: `1:3,7`.
#[derive(Debug)]
pub struct Compact<'a>(pub &'a [u32]);

impl fmt::Display for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| last.checked_add(1) == Some(*next)) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, ":{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Number::{Exact, Highest};
    use proptest::prelude::*;

    #[test]
    fn sets_become_rising_ranges() {
        let set = SequenceSet(vec![(Exact(7), Highest), (Exact(3), Exact(1)), (Exact(4), Exact(4))]);
        assert_eq!(set.ranges(10), [(1, 4), (7, 10)]);
        // RFC 3501: `7:*` names the highest even when that is lower.
        assert_eq!(set.ranges(5), [(1, 7)]);
        assert_eq!(SequenceSet(vec![(Highest, Highest)]).ranges(0), []);
        assert_eq!(
            SequenceSet(vec![(Exact(1), Exact(u32::MAX)), (Exact(9), Exact(9))]).ranges(1),
            [(1, u32::MAX)]
        );
    }

    proptest! {
        #[test]
        fn compact_is_read_back(numbers in proptest::collection::btree_set(1u32..60, 0..30)) {
            let numbers: Vec<u32> = numbers.into_iter().collect();
            let text = Compact(&numbers).to_string();
            let mut read = Vec::new();
            for range in text.split(',').filter(|t| !t.is_empty()) {
                let (first, last) = range.split_once(':').unwrap_or((range, range));
                read.extend(first.parse::<u32>().unwrap()..=last.parse().unwrap());
            }
            prop_assert_eq!(read, numbers);
        }
    }
}
