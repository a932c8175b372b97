//! What other servers answered, for as long as they said.
//!
//! Four things are kept under a name and never mixed: answers (positive and negative, RFC 2308), delegations (NS of
//! the upper side of a zone cut with their glue), the chain of trust, and failures (RFC 9520). Only answers are ever given to a client;
//! delegations, and glue with them, only say whom to ask. So glue cannot poison an answer, and as the lower side
//! never writes a delegation, a domain that its parent took away is gone when the parent's TTL ends (ghost domains).
//!
//! Answers are kept with what validation said of them, and with their signatures and proofs. Those that were not looked
//! at, because they only served to find a name server, are given to nobody, and push out none that were.
//!
//! Bounded in octets. The shards are chosen by name, so one lock serves all questions about a name. When a shard is
//! full, a clock hand drops names that were not asked for again since it last came by: names that are asked for once
//! (a flood of random ones) go first. Expired items are dropped when they
//! are met, and all of them by [`Cache::forget_expired`].
//!
//! `now` is always the time since some beginning, as [`postroad_service::Clock::monotonic`] tells it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Delegation;
use super::evidence::{Evidence, Proven};
use super::security::{Failure, Security};
use super::validate::Trust;
use crate::wire::{Name, RrSet, Rtype};

const SHARDS: usize = 16;
/// Estimated memory beside the data itself: a slot, its place in the index and what the allocator adds.
const NAME_OVERHEAD: usize = 192;
const ITEM_OVERHEAD: usize = 112;

/// Longest and shortest times that answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlBounds {
    pub min: Duration,
    pub max: Duration,
    /// For negative answers (RFC 2308 section 5 advises 1 to 3 hours).
    pub max_negative: Duration,
    /// Answers whose time is over are kept for so long more, for when nobody can be asked; zero: not at all.
    pub stale: Duration,
}

/// What is kept under a name.
#[derive(Debug, Clone)]
pub enum Entry {
    Positive(Arc<RrSet>),
    /// The name exists and has no such records. With the SOA that said so and its owner.
    NoData(Rtype, Option<(Name, Arc<RrSet>)>),
    /// The name does not exist.
    NxDomain(Option<(Name, Arc<RrSet>)>),
    Delegation(Arc<Delegation>),
    /// What the zone above says of the name as a zone.
    Trust(Trust),
    /// No server gave a usable answer; how many times in a row, and why.
    Failure(Rtype, u32, Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Positive(Rtype),
    NoData(Rtype),
    NxDomain,
    Delegation,
    Trust,
    Failure(Rtype),
}

impl Entry {
    fn kind(&self) -> Kind {
        match self {
            Self::Positive(rrset) => Kind::Positive(rrset.rtype),
            Self::NoData(rtype, _) => Kind::NoData(*rtype),
            Self::NxDomain(_) => Kind::NxDomain,
            Self::Delegation(_) => Kind::Delegation,
            Self::Trust(_) => Kind::Trust,
            Self::Failure(rtype, ..) => Kind::Failure(*rtype),
        }
    }

    fn octets(&self) -> usize {
        let soa = |soa: &Option<(Name, Arc<RrSet>)>| {
            soa.as_ref().map_or(0, |(owner, rrset)| owner.as_wire().len() + rrset.octets())
        };
        ITEM_OVERHEAD
            + match self {
                Self::Positive(rrset) => rrset.octets(),
                Self::NoData(_, negative) | Self::NxDomain(negative) => soa(negative),
                Self::Delegation(delegation) => delegation.octets(),
                Self::Trust(Trust::Ds(ds)) => ds.octets(),
                Self::Trust(Trust::Insecure(_) | Trust::NoCut) => 0,
                Self::Failure(_, _, failure) => failure.reason.len(),
            }
    }
}

/// Seconds for which a client may keep an answer whose time is over (RFC 8767 section 5).
pub const STALE_TTL: u32 = 30;

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

#[derive(Debug)]
struct Item {
    entry: Entry,
    security: Security,
    evidence: Option<Arc<Evidence>>,
    stored: Duration,
    expires: Duration,
    /// Stays known until then, for what is learnt from having failed before.
    gone: Duration,
}

impl Item {
    fn hit(&self, now: Duration) -> Option<Hit> {
        let left = self.expires.checked_sub(now).filter(|left| !left.is_zero())?;
        let ttl = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(self.with_ttl(u32::try_from(ttl).unwrap_or(u32::MAX), now))
    }

    fn with_ttl(&self, ttl: u32, now: Duration) -> Hit {
        Hit {
            entry: self.entry.clone(),
            security: self.security,
            evidence: self.evidence.clone(),
            ttl,
            age: now.saturating_sub(self.stored),
        }
    }

    fn is_checked(&self) -> bool {
        self.security != Security::Unchecked
    }

    fn octets(&self) -> usize {
        self.entry.octets() + self.evidence.as_ref().map_or(0, |evidence| evidence.octets())
    }
}

#[derive(Debug)]
struct Slot {
    name: Name,
    items: Vec<Item>,
    octets: usize,
    /// Asked for since the clock hand came by.
    used: bool,
}

#[derive(Debug, Default)]
struct Shard {
    index: HashMap<Name, usize>,
    slots: Vec<Slot>,
    octets: usize,
    hand: usize,
}

impl Shard {
    fn remove(&mut self, at: usize) {
        let slot = self.slots.swap_remove(at);
        self.octets = self.octets.saturating_sub(slot.octets);
        self.index.remove(&slot.name);
        if let Some(moved) = self.slots.get(at) {
            self.index.insert(moved.name.clone(), at);
        }
    }

    fn make_room(&mut self, bound: usize) {
        while self.octets > bound && !self.slots.is_empty() {
            self.hand %= self.slots.len();
            match self.slots.get_mut(self.hand) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.hand += 1;
                }
                _ => self.remove(self.hand),
            }
        }
    }
}

/// What may answer a question about records of a type.
fn answers_to(rtype: Rtype) -> [Kind; 4] {
    [Kind::Positive(rtype), Kind::Positive(Rtype::CNAME), Kind::NoData(rtype), Kind::NxDomain]
}

/// The cache of a resolver.
#[derive(Debug)]
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    octets_per_shard: usize,
    bounds: TtlBounds,
}

impl Cache {
    /// A cache of at most `octets` (estimated memory).
    pub fn new(octets: usize, bounds: TtlBounds) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            octets_per_shard: octets / SHARDS,
            bounds,
        }
    }

    fn shard(&self, name: &Name) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(name) as usize % SHARDS;
        lock(&self.shards[index])
    }

    fn get(&self, name: &Name, now: Duration, wanted: &[Kind], unchecked: bool) -> Option<Hit> {
        let mut shard = self.shard(name);
        let at = *shard.index.get(name)?;
        let slot = shard.slots.get_mut(at)?;
        slot.used = true;
        let find = |kind: &Kind| {
            let items = slot.items.iter().filter(|item| item.entry.kind() == *kind);
            items.filter(|item| unchecked || item.is_checked()).find_map(|item| item.hit(now))
        };
        wanted.iter().find_map(find)
    }

    /// As [`Cache::answer`], from what is over but not yet gone (RFC 8767); with [`STALE_TTL`] seconds left.
    pub fn stale(&self, name: &Name, rtype: Rtype, now: Duration) -> Option<Hit> {
        let shard = self.shard(name);
        let slot = shard.slots.get(*shard.index.get(name)?)?;
        answers_to(rtype).iter().find_map(|kind| {
            let of_kind = |item: &&Item| item.entry.kind() == *kind && item.is_checked() && item.gone > now;
            slot.items.iter().find(of_kind).map(|item| item.with_ttl(STALE_TTL, now))
        })
    }

    /// The answer for a question: the records, the alias of the name, or that there is none.
    pub fn answer(&self, name: &Name, rtype: Rtype, now: Duration) -> Option<Hit> {
        self.get(name, now, &answers_to(rtype), false)
    }

    /// The same, be it looked at by validation or not: for finding name servers.
    pub fn unchecked_answer(&self, name: &Name, rtype: Rtype, now: Duration) -> Option<Hit> {
        self.get(name, now, &answers_to(rtype), true)
    }

    /// What the zone above says of a name as a zone, and for how many seconds.
    pub fn trust(&self, name: &Name, now: Duration) -> Option<(Trust, u32)> {
        match self.get(name, now, &[Kind::Trust], true)? {
            Hit { entry: Entry::Trust(trust), ttl, .. } => Some((trust, ttl)),
            _ => None,
        }
    }

    /// That the question could not be answered a short time ago, and why.
    pub fn failure(&self, name: &Name, rtype: Rtype, now: Duration) -> Option<Failure> {
        match self.get(name, now, &[Kind::Failure(rtype)], true)?.entry {
            Entry::Failure(_, _, failure) => Some(failure),
            _ => None,
        }
    }

    /// The delegation of the deepest zone that `name` is in.
    pub fn delegation(&self, name: &Name, now: Duration) -> Option<Arc<Delegation>> {
        let mut zone = Some(name.clone());
        while let Some(name) = zone {
            if let Some(Hit { entry: Entry::Delegation(delegation), .. }) =
                self.get(&name, now, &[Kind::Delegation], true)
            {
                return Some(delegation);
            }
            zone = name.parent();
        }
        None
    }

    /// Keeps a positive answer.
    pub fn put_positive(&self, name: &Name, rrset: Arc<RrSet>, proven: Proven, now: Duration) {
        let ttl = Duration::from_secs(rrset.ttl.into()).clamp(self.bounds.min, self.bounds.max);
        self.put(name, Entry::Positive(rrset), proven, ttl, self.bounds.stale, now);
    }

    /// Keeps a negative answer for `ttl_s` seconds at most; without a SOA it is not kept (RFC 2308 section 5).
    pub fn put_negative(&self, name: &Name, entry: Entry, ttl_s: u32, proven: Proven, now: Duration) {
        let ttl = Duration::from_secs(ttl_s.into()).min(self.bounds.max_negative);
        self.put(name, entry, proven, ttl, self.bounds.stale, now);
    }

    /// Keeps what the zone above says of a name as a zone, for `ttl_s` seconds at most.
    pub fn put_trust(&self, name: &Name, trust: Trust, ttl_s: u32, now: Duration) {
        // That there is nothing is no more lasting than any other negative answer.
        let most = if matches!(trust, Trust::Ds(_)) { self.bounds.max } else { self.bounds.max_negative };
        let ttl = Duration::from_secs(ttl_s.into()).min(most);
        let proven = Proven::not(Security::Secure);
        self.put(name, Entry::Trust(trust), proven, ttl, Duration::ZERO, now);
    }

    /// Keeps a delegation.
    pub fn put_delegation(&self, delegation: Arc<Delegation>, now: Duration) {
        let ttl = Duration::from_secs(delegation.ttl.into()).min(self.bounds.max);
        let zone = delegation.zone.clone();
        let proven = Proven::not(Security::Indeterminate);
        self.put(&zone, Entry::Delegation(delegation), proven, ttl, Duration::ZERO, now);
    }

    /// Keeps a failure: `first`, doubled with every failure in a row up to `most` (RFC 9520 section 3.2).
    pub fn put_failure(
        &self,
        name: &Name,
        rtype: Rtype,
        failure: Failure,
        first: Duration,
        most: Duration,
        now: Duration,
    ) {
        let before = {
            let shard = self.shard(name);
            let slot = shard.index.get(name).and_then(|at| shard.slots.get(*at));
            let item = slot
                .and_then(|slot| slot.items.iter().find(|item| item.entry.kind() == Kind::Failure(rtype)));
            match item.filter(|item| item.gone > now).map(|item| &item.entry) {
                Some(Entry::Failure(_, times, _)) => *times,
                _ => 0,
            }
        };
        let ttl = first.saturating_mul(1 << before.min(16)).min(most);
        let entry = Entry::Failure(rtype, before.saturating_add(1), failure);
        self.put(name, entry, Proven::not(Security::Indeterminate), ttl, most, now);
    }

    fn put(&self, name: &Name, entry: Entry, proven: Proven, ttl: Duration, linger: Duration, now: Duration) {
        let ttl = ttl.min(Duration::from_secs(proven.lifetime.into()));
        if ttl.is_zero() {
            return;
        }
        let kind = entry.kind();
        let replaces = |other: Kind| match (kind, other) {
            // A name that exists is not missing, and the other way round.
            (Kind::NxDomain, Kind::Positive(_) | Kind::NoData(_)) => true,
            (Kind::Positive(_) | Kind::NoData(_), Kind::NxDomain) => true,
            // An alias has no other data (RFC 2181 section 10.1), nor data an alias.
            (Kind::Positive(Rtype::CNAME), Kind::Positive(_) | Kind::NoData(_)) => true,
            (Kind::Positive(_) | Kind::NoData(_), Kind::Positive(Rtype::CNAME)) => true,
            (Kind::Positive(new), Kind::NoData(old) | Kind::Failure(old)) => new == old,
            (Kind::NoData(new), Kind::Positive(old) | Kind::Failure(old)) => new == old,
            _ => kind == other,
        };
        let item = Item {
            entry,
            security: proven.security,
            evidence: proven.evidence,
            stored: now,
            expires: now.saturating_add(ttl),
            gone: now.saturating_add(ttl).saturating_add(linger),
        };
        let mut shard = self.shard(name);
        let shard = &mut *shard;
        let at = *shard.index.entry(name.clone()).or_insert_with(|| {
            let octets = NAME_OVERHEAD + 2 * name.as_wire().len();
            shard.slots.push(Slot { name: name.clone(), items: Vec::new(), octets, used: false });
            shard.octets += octets;
            shard.slots.len() - 1
        });
        if let Some(slot) = shard.slots.get_mut(at) {
            let mut freed = 0;
            slot.items.retain(|old| {
                let weightier = old.is_checked() && !item.is_checked();
                let drop = replaces(old.entry.kind()) && !weightier || old.gone <= now;
                freed += if drop { old.octets() } else { 0 };
                !drop
            });
            let added = item.octets();
            slot.items.push(item);
            slot.octets = slot.octets + added - freed;
            shard.octets = shard.octets + added - freed;
        }
        shard.make_room(self.octets_per_shard);
    }

    /// Drops everything whose time is over.
    pub fn forget_expired(&self, now: Duration) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let mut at = 0;
            while let Some(slot) = shard.slots.get_mut(at) {
                let mut freed = 0;
                slot.items.retain(|item| {
                    freed += if item.gone <= now { item.octets() } else { 0 };
                    item.gone > now
                });
                slot.octets -= freed;
                let empty = slot.items.is_empty();
                shard.octets -= freed;
                if empty {
                    shard.remove(at);
                } else {
                    at += 1;
                }
            }
        }
    }

    /// Forgets a name and all below it; the number of entries that were forgotten.
    pub fn flush(&self, name: &Name) -> u64 {
        let mut flushed = 0;
        for shard in &self.shards {
            let mut shard = lock(shard);
            let mut at = 0;
            while let Some(slot) = shard.slots.get(at) {
                if slot.name.is_at_or_below(name) {
                    flushed += slot.items.len() as u64;
                    shard.remove(at);
                } else {
                    at += 1;
                }
            }
        }
        flushed
    }

    /// Everything that is kept of a name and all below it, in canonical order.
    pub fn dump(&self, name: &Name, now: Duration) -> Vec<(Name, Hit)> {
        let mut entries = Vec::new();
        for shard in &self.shards {
            for slot in lock(shard).slots.iter().filter(|slot| slot.name.is_at_or_below(name)) {
                let hits = slot.items.iter().filter_map(|item| item.hit(now));
                entries.extend(hits.map(|hit| (slot.name.clone(), hit)));
            }
        }
        entries.sort_by_cached_key(|(name, _)| name.key().as_bytes().to_vec());
        entries
    }

    /// Estimated memory in octets.
    pub fn octets(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).octets).sum()
    }

    /// Number of names.
    pub fn names(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.len()).sum()
    }
}

/// A panic elsewhere leaves a shard whole enough: every change ends in a consistent slot.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RrSetBuilder;

    const BOUNDS: TtlBounds = TtlBounds {
        min: Duration::ZERO,
        max: Duration::from_secs(86_400),
        max_negative: Duration::from_secs(3600),
        stale: Duration::ZERO,
    };

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn a(ttl: u32) -> Arc<RrSet> {
        let mut set = RrSetBuilder::new(Rtype::A, ttl);
        set.push(&[192, 0, 2, 1]);
        Arc::new(set.build().unwrap())
    }

    fn plain() -> Proven {
        Proven::not(Security::Indeterminate)
    }

    #[test]
    fn ttls_count_down_and_end() {
        let (cache, start) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
        let owner = name("mx.beta.test");
        cache.put_positive(&owner, a(300), plain(), start);
        let at =
            |seconds| cache.answer(&name("MX.Beta.Test"), Rtype::A, start + Duration::from_secs(seconds));
        assert_eq!(at(0).unwrap().ttl, 300);
        assert_eq!(at(299).unwrap().ttl, 1);
        assert!(at(300).is_none());
        assert_eq!(cache.names(), 1);
        cache.forget_expired(start + Duration::from_secs(300));
        assert_eq!((cache.names(), cache.octets()), (0, 0));
    }

    #[test]
    fn ttls_are_capped_and_zero_is_not_kept() {
        let (cache, start) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
        cache.put_positive(&name("long"), a(0x7fff_ffff), plain(), start);
        assert_eq!(cache.answer(&name("long"), Rtype::A, start).unwrap().ttl, 86_400);
        cache.put_positive(&name("zero"), a(0), plain(), start);
        assert!(cache.answer(&name("zero"), Rtype::A, start).is_none());
        cache.put_negative(&name("gone"), Entry::NxDomain(None), 100_000, plain(), start);
        assert_eq!(cache.answer(&name("gone"), Rtype::A, start).unwrap().ttl, 3600);
    }

    #[test]
    fn what_contradicts_replaces() {
        let (cache, now) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
        let owner = name("x.test");
        cache.put_negative(&owner, Entry::NxDomain(None), 60, plain(), now);
        assert!(matches!(cache.answer(&owner, Rtype::MX, now).unwrap().entry, Entry::NxDomain(_)));
        cache.put_positive(&owner, a(60), plain(), now);
        assert!(cache.answer(&owner, Rtype::MX, now).is_none());
        cache.put_negative(&owner, Entry::NoData(Rtype::MX, None), 60, plain(), now);
        assert!(matches!(cache.answer(&owner, Rtype::A, now).unwrap().entry, Entry::Positive(_)));
        assert!(matches!(cache.answer(&owner, Rtype::MX, now).unwrap().entry, Entry::NoData(..)));
        let mut alias = RrSetBuilder::new(Rtype::CNAME, 60);
        alias.push(name("y.test").as_wire());
        cache.put_positive(&owner, Arc::new(alias.build().unwrap()), plain(), now);
        match cache.answer(&owner, Rtype::A, now).unwrap().entry {
            Entry::Positive(rrset) => assert_eq!(rrset.rtype, Rtype::CNAME),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn failures_are_kept_longer_each_time_and_end_with_success() {
        let (cache, start) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
        let (owner, first, most) = (name("down.test"), Duration::from_secs(5), Duration::from_secs(60));
        let fails = |at: u64| cache.failure(&owner, Rtype::A, start + Duration::from_secs(at)).is_some();
        cache.put_failure(&owner, Rtype::A, "timeout".into(), first, most, start);
        assert!(fails(4) && !fails(5));
        assert!(cache.failure(&owner, Rtype::MX, start).is_none());
        cache.put_failure(&owner, Rtype::A, "timeout".into(), first, most, start + Duration::from_secs(6));
        assert!(fails(15) && !fails(16));
        cache.put_positive(&owner, a(1), plain(), start + Duration::from_secs(17));
        cache.put_failure(&owner, Rtype::A, "timeout".into(), first, most, start + Duration::from_secs(20));
        assert!(fails(24) && !fails(25));
    }

    #[test]
    fn the_bound_holds_and_names_in_use_stay() {
        let (cache, now) = (Cache::new(256 * 1024, BOUNDS), Duration::from_secs(1000));
        let kept = name("kept.test");
        cache.put_positive(&kept, a(3600), plain(), now);
        for index in 0..20_000 {
            cache.put_positive(&name(&format!("n{index}.flood.test")), a(3600), plain(), now);
            assert!(cache.answer(&kept, Rtype::A, now).is_some(), "{index}");
        }
        assert!(cache.octets() <= 256 * 1024, "{}", cache.octets());
        assert!(cache.names() > 200, "{}", cache.names());
    }

    #[test]
    fn a_name_and_all_below_it_are_flushed() {
        let (cache, now) = (Cache::new(1 << 20, BOUNDS), Duration::from_secs(1000));
        for owner in ["beta.test", "mx.beta.test", "alpha.test", "xbeta.test"] {
            cache.put_positive(&name(owner), a(60), plain(), now);
        }
        assert_eq!(cache.dump(&name("test"), now).len(), 4);
        assert_eq!(cache.flush(&name("beta.test")), 2);
        assert!(cache.answer(&name("xbeta.test"), Rtype::A, now).is_some());
        assert_eq!(cache.flush(&Name::root()), 2);
        assert_eq!(cache.octets(), 0);
    }
}
