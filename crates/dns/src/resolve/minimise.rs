//! QNAME minimisation (RFC 9156): a server is shown no more of a name than leads on from its zone.
//!
//! A zone's servers are asked for the address of the name one label below the zone, then two …, until one answer is a
//! referral or the whole name is reached, which alone is asked for with the type that is wanted. Servers that cannot be
//! asked so (they refuse names without records, or deny that such names exist, RFC 8020 notwithstanding) are asked for
//! the whole name at once, as before.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postroad_types::limits::{
    DNS_MINIMISE_LOOKUP_QUESTIONS_MAX, DNS_MINIMISE_ONE_LABEL_MAX, DNS_MINIMISE_QUESTIONS_MAX,
};

use super::evidence::Sections;
use super::reply::Reply;
use super::upstream::{Ask, AskError};
use crate::wire::Name;

/// Names that are known not to begin a zone; at the bound all are forgotten, which costs some questions once.
const UNCUT_MAX: usize = 16_384;
/// A zone that is made at such a name is noticed after so long, at the latest: until then its upper side is asked for
/// whole names, and refers as well.
const UNCUT_FOR: Duration = Duration::from_secs(600);

/// How much of a name the servers of one zone have been shown.
#[derive(Debug)]
pub struct Shown {
    labels: usize,
    questions: usize,
    questions_max: usize,
    /// The whole name is asked for from now on.
    whole: bool,
}

impl Shown {
    /// Nothing below `zone` yet.
    pub fn new(zone: &Name) -> Self {
        let questions_max = DNS_MINIMISE_QUESTIONS_MAX;
        Self { labels: zone.label_count(), questions: 0, questions_max, whole: false }
    }

    /// For a name that is looked up on the way to another: whoever made it up pays for few parts of it.
    pub fn show_sooner(&mut self) {
        self.questions_max = DNS_MINIMISE_LOOKUP_QUESTIONS_MAX;
    }

    /// The ancestor of `name` that is to be asked for next; `None`: the whole name.
    pub fn next(&self, name: &Name, uncut: &Uncut, now: Duration) -> Option<Name> {
        let total = name.label_count();
        if self.whole || self.questions >= self.questions_max {
            return None;
        }
        // Long names: the first labels one by one, the others in equal parts (RFC 9156 section 2.3).
        let step = if self.questions < DNS_MINIMISE_ONE_LABEL_MAX {
            1
        } else {
            total.saturating_sub(self.labels).div_ceil(DNS_MINIMISE_QUESTIONS_MAX - self.questions)
        };
        let mut labels = self.labels + step;
        while labels < total {
            let ancestor = Name::from_labels(name.labels().skip(total - labels)).ok()?;
            // No zone begins at a name like _tcp.
            let is_service = ancestor.labels().next().is_some_and(|label| label.starts_with(b"_"));
            if !is_service && !uncut.contains(&ancestor, now) {
                return Some(ancestor);
            }
            labels += 1;
        }
        None
    }

    /// `name` begins no zone: on to the next one.
    pub fn passed(&mut self, name: &Name) {
        self.labels = name.label_count();
        self.questions += 1;
    }

    /// These servers do not understand what they are asked: the whole name from now on.
    pub fn show_all(&mut self) {
        self.whole = true;
    }
}

/// Whether a server that was asked for a part of the name said what the next question depends on, or shall be asked for
/// that part in another way.
pub(super) fn is_told_of_part(reply: &Result<(Reply, Sections), AskError>, ask: &Ask) -> bool {
    match reply {
        Ok((Reply::Referral(_) | Reply::Answer(_) | Reply::NoData(..), _)) => true,
        Ok((Reply::Truncated, _)) | Err(AskError::Suspicious) => !ask.tcp,
        Ok((Reply::NotUnderstood(_), _)) => ask.edns,
        _ => false,
    }
}

/// Names that are known not to begin a zone, so that one question about many names below them is enough.
#[derive(Debug, Default)]
pub struct Uncut(Mutex<HashMap<Name, Duration>>);

impl Uncut {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contains(&self, name: &Name, now: Duration) -> bool {
        self.lock().get(name).is_some_and(|until| *until > now)
    }

    /// Notes that a server of the zone above said so.
    pub fn put(&self, name: Name, now: Duration) {
        let mut names = self.lock();
        if names.len() >= UNCUT_MAX && !names.contains_key(&name) {
            names.clear();
        }
        names.insert(name, now + UNCUT_FOR);
    }

    /// Forgets everything.
    pub fn forget(&self) {
        *self.lock() = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for until the whole name is, when no answer is a referral.
    fn asked(name: &str, zone: &str, uncut: &Uncut) -> Vec<String> {
        let (name, mut shown) = (name.parse().unwrap(), Shown::new(&zone.parse().unwrap()));
        let next = |shown: &Shown| shown.next(&name, uncut, Duration::ZERO);
        let mut asked = Vec::new();
        while let Some(ancestor) = next(&shown) {
            shown.passed(&ancestor);
            asked.push(ancestor.to_string());
        }
        asked
    }

    #[test]
    fn one_label_more_with_every_question() {
        let uncut = Uncut::default();
        assert_eq!(asked("a.b.c.test", ".", &uncut), ["test.", "c.test.", "b.c.test."]);
        assert_eq!(asked("a.b.c.test", "c.test", &uncut), ["b.c.test."]);
        assert_eq!(asked("test", ".", &uncut), [""; 0]);
        assert_eq!(asked("_25._tcp.mx.test", "test", &uncut), ["mx.test."]);
        uncut.put("c.test".parse().unwrap(), Duration::ZERO);
        assert_eq!(asked("a.b.c.test", "test", &uncut), ["b.c.test."]);
        assert!(!uncut.contains(&"c.test".parse().unwrap(), UNCUT_FOR));
    }

    #[test]
    fn long_names_take_no_more_questions() {
        let long = format!("{}test", "x.".repeat(100));
        let asked = asked(&long, "test", &Uncut::default());
        assert!(asked.len() <= DNS_MINIMISE_QUESTIONS_MAX, "{}", asked.len());
        let lengths: Vec<usize> = asked.iter().map(String::len).collect();
        assert_eq!(lengths[..4], [7, 9, 11, 13]);
        assert!(lengths[8] > 160, "{lengths:?}");
    }

    #[test]
    fn the_memory_is_bounded() {
        let uncut = Uncut::default();
        for index in 0..UNCUT_MAX + 10 {
            uncut.put(format!("n{index}.test").parse().unwrap(), Duration::ZERO);
        }
        assert_eq!(uncut.lock().len(), 10);
    }
}
