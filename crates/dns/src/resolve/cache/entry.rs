//! What is kept under a name, and how it is kept: small, as there may be hundreds of thousands of them.

use std::sync::Arc;
use std::time::Duration;

use crate::resolve::Delegation;
use crate::resolve::evidence::{Evidence, Proven};
use crate::resolve::reply::Owned;
use crate::resolve::security::{Failure, Security};
use crate::resolve::validate::Trust;
use crate::wire::{RrSet, Rtype};

/// Estimated memory of an item beside its data: the item itself, counters of what is shared, and what the allocator adds.
const ITEM_OVERHEAD: usize = 72;

/// What is kept under a name.
#[derive(Debug, Clone)]
pub enum Entry {
    Positive(Arc<RrSet>),
    /// The name exists and has no such records. With the SOA that said so and its owner.
    NoData(Rtype, Option<Arc<Owned>>),
    /// The name does not exist.
    NxDomain(Option<Arc<Owned>>),
    Delegation(Arc<Delegation>),
    /// What the zone above says of the name as a zone.
    Trust(Trust),
    /// No server gave a usable answer.
    Failure(Rtype, Arc<Failures>),
}

/// Failures to answer a question, one after the other.
#[derive(Debug)]
pub struct Failures {
    pub count: u32,
    /// The last one.
    pub last: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Positive(Rtype),
    NoData(Rtype),
    NxDomain,
    Delegation,
    Trust,
    Failure(Rtype),
}

impl Kind {
    /// What may answer a question about records of a type.
    pub fn answers_to(rtype: Rtype) -> [Kind; 4] {
        [Kind::Positive(rtype), Kind::Positive(Rtype::CNAME), Kind::NoData(rtype), Kind::NxDomain]
    }

    /// Whether what is newly known contradicts what was known before under the same name, or renews it.
    pub fn replaces(self, old: Kind) -> bool {
        match (self, old) {
            // A name that exists is not missing, and the other way round.
            (Kind::NxDomain, Kind::Positive(_) | Kind::NoData(_)) => true,
            (Kind::Positive(_) | Kind::NoData(_), Kind::NxDomain) => true,
            // An alias has no other data (RFC 2181 section 10.1), nor data an alias.
            (Kind::Positive(Rtype::CNAME), Kind::Positive(_) | Kind::NoData(_)) => true,
            (Kind::Positive(_) | Kind::NoData(_), Kind::Positive(Rtype::CNAME)) => true,
            (Kind::Positive(new), Kind::NoData(old) | Kind::Failure(old)) => new == old,
            (Kind::NoData(new), Kind::Positive(old) | Kind::Failure(old)) => new == old,
            _ => self == old,
        }
    }
}

impl Entry {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Positive(rrset) => Kind::Positive(rrset.rtype),
            Self::NoData(rtype, _) => Kind::NoData(*rtype),
            Self::NxDomain(_) => Kind::NxDomain,
            Self::Delegation(_) => Kind::Delegation,
            Self::Trust(_) => Kind::Trust,
            Self::Failure(rtype, _) => Kind::Failure(*rtype),
        }
    }

    fn octets(&self) -> usize {
        let soa = |soa: &Option<Arc<Owned>>| {
            soa.as_ref().map_or(0, |soa| size_of::<Owned>() + soa.0.as_wire().len() + soa.1.octets())
        };
        match self {
            Self::Positive(rrset) => rrset.octets(),
            Self::NoData(_, negative) | Self::NxDomain(negative) => soa(negative),
            Self::Delegation(delegation) => delegation.octets(),
            Self::Trust(Trust::Ds(ds)) => ds.octets(),
            Self::Trust(Trust::Insecure(_) | Trust::NoCut) => 0,
            Self::Failure(_, failures) => size_of::<Failures>() + failures.last.reason.len(),
        }
    }
}

/// An entry with its times.
#[derive(Debug, Clone)]
pub struct Hit {
    pub entry: Entry,
    /// What validation said of an answer.
    pub security: Security,
    pub evidence: Option<Arc<Evidence>>,
    /// Seconds that are left, rounded up.
    pub ttl: u32,
    /// Since when it is kept.
    pub age: Duration,
}

/// A moment in eighths of a second: seventeen years of them fit into what a [`Duration`] takes a fourth of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u32);

impl Moment {
    const PER_SECOND: u32 = 8;

    pub fn of(time: Duration) -> Self {
        Self(u32::try_from(time.as_millis() / u128::from(1000 / Self::PER_SECOND)).unwrap_or(u32::MAX))
    }

    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(Self::of(time).0))
    }

    /// Seconds from `now` until then, rounded up; 0 when it is over.
    pub fn seconds_after(self, now: Self) -> u32 {
        self.0.saturating_sub(now.0).div_ceil(Self::PER_SECOND)
    }
}

#[derive(Debug)]
pub(super) struct Item {
    pub entry: Entry,
    pub evidence: Option<Arc<Evidence>>,
    pub security: Security,
    pub stored: Moment,
    pub expires: Moment,
    /// Stays known until then: for when nobody can be asked, and for what is learnt from having failed before.
    pub gone: Moment,
}

impl Item {
    /// Good for `ttl` from `now`, and known for `linger` after that.
    pub fn new(entry: Entry, proven: Proven, ttl: Duration, linger: Duration, now: Moment) -> Self {
        let expires = now.plus(ttl);
        let Proven { security, evidence, .. } = proven;
        Self { entry, evidence, security, stored: now, expires, gone: expires.plus(linger) }
    }

    /// Its times in eighths of a second, as they are saved: how long it is kept already, how long it is good from its
    /// beginning, and how long it stays known.
    pub fn times(&self, now: Moment) -> [u32; 3] {
        [now, self.expires, self.gone].map(|time| time.0.saturating_sub(self.stored.0))
    }

    /// As it is `since` its [`Item::times`] were taken; `None` when it is not known any more.
    pub fn restored(
        entry: Entry,
        security: Security,
        evidence: Option<Arc<Evidence>>,
        [age, good, known]: [u32; 3],
        since: Duration,
        now: Moment,
    ) -> Option<Self> {
        let age = age.saturating_add(Moment::of(since).0);
        let later = |lifetime: u32| Moment(now.0.saturating_add(lifetime.saturating_sub(age)));
        let stored = Moment(now.0.saturating_sub(age));
        let item = Self { entry, evidence, security, stored, expires: later(good), gone: later(known) };
        (item.gone > now).then_some(item)
    }

    pub fn hit(&self, now: Moment) -> Option<Hit> {
        (self.expires > now).then(|| self.with_ttl(self.expires.seconds_after(now), now))
    }

    pub fn with_ttl(&self, ttl: u32, now: Moment) -> Hit {
        Hit {
            entry: self.entry.clone(),
            security: self.security,
            evidence: self.evidence.clone(),
            ttl,
            age: Duration::from_secs(now.seconds_after(self.stored).into()),
        }
    }

    /// Whether validation looked at it, or would have.
    pub fn is_checked(&self) -> bool {
        self.security != Security::Unchecked
    }

    /// Estimated memory.
    pub fn octets(&self) -> usize {
        ITEM_OVERHEAD + self.entry.octets() + self.evidence.as_ref().map_or(0, |evidence| evidence.octets())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_small() {
        assert!(size_of::<Entry>() <= 24, "{}", size_of::<Entry>());
        assert!(size_of::<Item>() <= 48, "{}", size_of::<Item>());
    }

    #[test]
    fn moments_are_eighths_and_do_not_wrap() {
        let at = |millis| Moment::of(Duration::from_millis(millis));
        assert_eq!(at(1000), at(1124));
        assert!(at(1125) > at(1124));
        assert_eq!(at(1125).seconds_after(at(1000)), 1);
        assert_eq!(at(1000).seconds_after(at(1125)), 0);
        let end = Moment::of(Duration::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
    }
}
