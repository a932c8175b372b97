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
//! are met, and all of them by [`Cache::forget_expired`]. Over a restart it lies in a file ([`saved`]).
//!
//! `now` is always the time since some beginning, as [`postroad_service::Clock::monotonic`] tells it.

mod entry;
pub mod saved;
mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use entry::{Entry, Failures, Hit};
use foldhash::quality::RandomState;

use super::Delegation;
use super::evidence::Proven;
use super::security::{Failure, Security};
use super::validate::Trust;
use crate::wire::{Name, RrSet, Rtype, hash_wire};
use entry::{Item, Kind, Moment};
use shard::Shard;

const SHARDS: usize = 16;

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

/// Seconds for which a client may keep an answer whose time is over (RFC 8767 section 5).
pub const STALE_TTL: u32 = 30;

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
            hasher: RandomState::default(),
            octets_per_shard: octets / SHARDS,
            bounds,
        }
    }

    fn hash(&self, wire: &[u8]) -> u64 {
        let mut state = self.hasher.build_hasher();
        hash_wire(wire, &mut state);
        state.finish()
    }

    fn hash_name(&self, name: &Name) -> u64 {
        self.hash(name.as_wire())
    }

    /// The shard that a name with this hash is in.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The index of a shard takes the highest and the lowest bits.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }

    fn get(&self, wire: &[u8], now: Duration, wanted: &[Kind], unchecked: bool) -> Option<Hit> {
        let hash = self.hash(wire);
        let mut shard = self.shard(hash);
        let slot = shard.get_mut(wire, hash)?;
        slot.used = true;
        let now = Moment::of(now);
        wanted.iter().find_map(|kind| {
            let items = slot.items.iter().filter(|item| item.entry.kind() == *kind);
            items.filter(|item| unchecked || item.is_checked()).find_map(|item| item.hit(now))
        })
    }

    /// As [`Cache::answer`], from what is over but not yet gone (RFC 8767); with [`STALE_TTL`] seconds left.
    pub fn stale(&self, name: &Name, rtype: Rtype, now: Duration) -> Option<Hit> {
        let (hash, now) = (self.hash_name(name), Moment::of(now));
        let shard = self.shard(hash);
        let slot = shard.get(name.as_wire(), hash)?;
        Kind::answers_to(rtype).iter().find_map(|kind| {
            let of_kind = |item: &&Item| item.entry.kind() == *kind && item.is_checked() && item.gone > now;
            slot.items.iter().find(of_kind).map(|item| item.with_ttl(STALE_TTL, now))
        })
    }

    /// The answer for a question: the records, the alias of the name, or that there is none.
    pub fn answer(&self, name: &Name, rtype: Rtype, now: Duration) -> Option<Hit> {
        self.get(name.as_wire(), now, &Kind::answers_to(rtype), false)
    }

    /// The same, be it looked at by validation or not: for finding name servers.
    pub fn unchecked_answer(&self, name: &Name, rtype: Rtype, now: Duration) -> Option<Hit> {
        self.get(name.as_wire(), now, &Kind::answers_to(rtype), true)
    }

    /// The DNAME of the name with this wire form; with `stale` also one whose time is over.
    pub fn dname(&self, owner: &[u8], now: Duration, stale: bool) -> Option<Hit> {
        let kind = Kind::Positive(Rtype::DNAME);
        let hit = self.get(owner, now, &[kind], false);
        if hit.is_some() || !stale {
            return hit;
        }
        let (hash, now) = (self.hash(owner), Moment::of(now));
        let shard = self.shard(hash);
        let mut items = shard.get(owner, hash)?.items.iter();
        let item = items.find(|item| item.entry.kind() == kind && item.is_checked() && item.gone > now)?;
        Some(item.with_ttl(STALE_TTL, now))
    }

    /// What the zone above says of a name as a zone, and for how many seconds.
    pub fn trust(&self, name: &Name, now: Duration) -> Option<(Trust, u32)> {
        match self.get(name.as_wire(), now, &[Kind::Trust], true)? {
            Hit { entry: Entry::Trust(trust), ttl, .. } => Some((trust, ttl)),
            _ => None,
        }
    }

    /// That the question could not be answered a short time ago, and why.
    pub fn failure(&self, name: &Name, rtype: Rtype, now: Duration) -> Option<Failure> {
        match self.get(name.as_wire(), now, &[Kind::Failure(rtype)], true)?.entry {
            Entry::Failure(_, failures) => Some(failures.last.clone()),
            _ => None,
        }
    }

    /// The delegation of the deepest zone that `name` is in.
    pub fn delegation(&self, name: &Name, now: Duration) -> Option<Arc<Delegation>> {
        name.ancestry().find_map(|wire| match self.get(wire, now, &[Kind::Delegation], true)?.entry {
            Entry::Delegation(delegation) => Some(delegation),
            _ => None,
        })
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
            let hash = self.hash_name(name);
            let shard = self.shard(hash);
            let mut items = shard.get(name.as_wire(), hash).into_iter().flat_map(|slot| &slot.items);
            let item = items.find(|item| item.entry.kind() == Kind::Failure(rtype));
            match item.filter(|item| item.gone > Moment::of(now)).map(|item| &item.entry) {
                Some(Entry::Failure(_, failures)) => failures.count,
                _ => 0,
            }
        };
        let ttl = first.saturating_mul(1 << before.min(16)).min(most);
        let failures = Failures { count: before.saturating_add(1), last: failure };
        let entry = Entry::Failure(rtype, Arc::new(failures));
        self.put(name, entry, Proven::not(Security::Indeterminate), ttl, most, now);
    }

    fn put(&self, name: &Name, entry: Entry, proven: Proven, ttl: Duration, linger: Duration, now: Duration) {
        let ttl = ttl.min(Duration::from_secs(proven.lifetime.into()));
        if !ttl.is_zero() {
            let now = Moment::of(now);
            self.put_item(name, Item::new(entry, proven, ttl, linger, now), now);
        }
    }

    fn put_item(&self, name: &Name, item: Item, now: Moment) {
        let hash = self.hash_name(name);
        let mut shard = self.shard(hash);
        shard.put(name, hash, item, now, |name| self.hash_name(name));
        shard.make_room(self.octets_per_shard, |name| self.hash_name(name));
    }

    /// Drops everything whose time is over.
    pub fn forget_expired(&self, now: Duration) {
        let now = Moment::of(now);
        for shard in &self.shards {
            lock(shard).retain(|_, item| item.gone > now, |name| self.hash_name(name));
        }
    }

    /// Forgets a name and all below it; the number of entries that were forgotten.
    pub fn flush(&self, name: &Name) -> u64 {
        let below = |owner: &Name, _: &Item| !owner.is_at_or_below(name);
        let of_shard = |shard: &Mutex<Shard>| lock(shard).retain(below, |name| self.hash_name(name)) as u64;
        self.shards.iter().map(of_shard).sum()
    }

    /// Everything that is kept of a name and all below it, in canonical order.
    pub fn dump(&self, name: &Name, now: Duration) -> Vec<(Name, Hit)> {
        let now = Moment::of(now);
        let mut entries = Vec::new();
        for shard in &self.shards {
            for slot in lock(shard).slots().iter().filter(|slot| slot.name.is_at_or_below(name)) {
                let hits = slot.items.iter().filter_map(|item| item.hit(now));
                entries.extend(hits.map(|hit| (slot.name.clone(), hit)));
            }
        }
        entries.sort_by_cached_key(|(name, _)| name.key().as_bytes().to_vec());
        entries
    }

    /// Estimated memory in octets.
    pub fn octets(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).octets()).sum()
    }

    /// Number of names.
    pub fn names(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots().len()).sum()
    }
}

/// A panic elsewhere leaves a shard whole enough: every change ends in a consistent slot.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
