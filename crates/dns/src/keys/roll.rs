//! What happens to a zone's keys next (RFC 6781 section 4.1, RFC 7583).
//!
//! - A new ZSK is published until every cache has it, then it signs; the old one goes when no cache has a signature of
//!   it any more (pre-publication, RFC 7583 section 3.2.1). Its signatures are replaced as they come due.
//! - A new KSK signs the DNSKEY set beside the old one until every cache has that set, then the parent is asked for its
//!   DS; the old one goes when no cache has its DS any more (double KSK, RFC 7583 section 3.3.1).
//! - A CSK does both.
//! - Keys of a new algorithm sign the zone first and are published when every cache has those signatures; keys of the
//!   old one are withdrawn before their signatures are (conservative, RFC 6781 section 4.1.4).
//!
//! At each moment whatever DS set, DNSKEY set and signed record a validator may still hold fit together.

use std::collections::BTreeSet;

use super::{KeyState, Policy, Role};
use crate::dnssec::Algorithm;

/// What is known about the zone that is served, and about its parent.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The longest TTL in the zone, of negative answers too, that caches may know, in seconds.
    pub zone_ttl: u32,
    /// That of the DNSKEY set.
    pub key_ttl: u32,
    /// The tags of keys that have signatures in it.
    pub signed_by: &'a BTreeSet<u16>,
    /// What the parent was just seen to have; empty if it was not asked.
    pub ds: &'a [DsSeen],
}

/// The DS of a key at the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DsSeen {
    pub tag: u16,
    pub seen: Seen,
    /// Seconds, if it was seen.
    pub ttl: Option<u32>,
}

/// Which of the parent's servers have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Everywhere,
    Somewhere,
    Nowhere,
}

/// What comes next for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Publish,
    Sign,
    AskForDs,
    /// The parent must have its DS.
    DsSeen,
    Replace,
    /// The parent must have dropped its DS.
    DsGone,
    /// All its signatures must have been made anew by another.
    SignaturesGone,
    Withdraw,
    StopSigning,
    Remove,
}

/// What is awaited for a key, and until when if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub tag: u16,
    pub next: Next,
    pub at: Option<u64>,
}

/// What came of looking at the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Keys to be made; then look again.
    pub generate: Vec<(Role, Algorithm)>,
    /// Keys that are not needed any more; they are not among the keys now.
    pub removed: Vec<KeyState>,
    /// Something about the keys is different from before.
    pub changed: bool,
    /// What is awaited.
    pub events: Vec<Event>,
}

impl Step {
    /// When something happens by the clock alone.
    pub fn next(&self) -> Option<u64> {
        self.events.iter().filter_map(|event| event.at).min()
    }

    /// Something waits for the parent.
    pub fn awaits_parent(&self) -> bool {
        self.events.iter().any(|event| matches!(event.next, Next::DsSeen | Next::DsGone))
    }
}

/// Why no roll was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RollError {
    #[error("the zone has no key of this role; its policy decides whether it has a CSK, or a KSK and a ZSK")]
    NoSuchKey,
    #[error("keys of this role are being replaced already; expected one roll at a time")]
    UnderWay,
}

/// Does all that is due at `now`.
pub fn step(policy: &Policy, keys: &mut Vec<KeyState>, now: u64, facts: Facts<'_>) -> Step {
    let mut work = Work { policy, keys, now, facts, step: Step::default() };
    work.observe();
    loop {
        work.step.events.clear();
        if work.retire() {
            continue;
        }
        work.generate();
        if !work.step.generate.is_empty() {
            return work.step;
        }
        // Each rule looks at what the ones before have done.
        if work.introduce() || work.ask_for_ds() || work.withdraw() || work.leave() {
            continue;
        }
        return work.step;
    }
}

/// Begins to replace the keys of a role; of all roles where none is given.
pub fn roll(keys: &mut [KeyState], role: Option<Role>, now: u64) -> Result<(), RollError> {
    // A CSK is a KSK and a ZSK.
    let meant = |key: &KeyState| role.is_none_or(|role| key.role == role || key.role == Role::Csk);
    if keys.iter().any(|key| meant(key) && !key.is_wanted()) {
        return Err(RollError::UnderWay);
    }
    let mut any = false;
    for key in keys.iter_mut().filter(|key| meant(key)) {
        key.replaced = Some(now);
        any = true;
    }
    if any { Ok(()) } else { Err(RollError::NoSuchKey) }
}

struct Work<'a> {
    policy: &'a Policy,
    keys: &'a mut Vec<KeyState>,
    now: u64,
    facts: Facts<'a>,
    step: Step,
}

impl Work<'_> {
    /// Until every cache has a new DNSKEY set.
    fn key_delay(&self) -> u64 {
        u64::from(self.facts.key_ttl) + self.policy.propagation
    }

    /// Until every cache has new signatures of the zone.
    fn zone_delay(&self) -> u64 {
        u64::from(self.facts.zone_ttl) + self.policy.propagation
    }

    /// Whether `at` has come; else it is awaited.
    fn is_due(&mut self, tag: u16, next: Next, at: u64) -> bool {
        if at > self.now {
            self.step.events.push(Event { tag, next, at: Some(at) });
        }
        at <= self.now
    }

    fn awaits(&mut self, tag: u16, next: Next) {
        self.step.events.push(Event { tag, next, at: None });
    }

    /// Changes the key at `index`.
    fn set(&mut self, index: usize, change: impl FnOnce(&mut KeyState)) {
        if let Some(key) = self.keys.get_mut(index) {
            change(key);
            self.step.changed = true;
        }
    }

    /// Takes down what was seen at the parent.
    fn observe(&mut self) {
        let (now, ds) = (self.now, self.facts.ds);
        let mut found = Vec::new();
        for (index, key) in self.keys.iter().enumerate().filter(|(_, key)| key.role.signs_keys()) {
            found.extend(ds.iter().find(|ds| ds.tag == key.tag).map(|ds| (index, *ds)));
        }
        for (index, ds) in found.iter().copied().filter(|(_, ds)| ds.seen != Seen::Nowhere) {
            let Some(key) = self.keys.get(index) else { continue };
            // One that nobody was asked for is there all the same, and must be waited for.
            let unasked = key.ds_asked.is_none() && !key.is_wanted();
            let new = ds.seen == Seen::Everywhere && key.ds_asked.is_some() && key.ds_seen.is_none();
            let longer = key.ds_asked.is_some() && ds.ttl > key.ds_ttl;
            if unasked || new || longer {
                self.set(index, |key| {
                    key.ds_asked = key.ds_asked.or(Some(now));
                    key.ds_seen = key.ds_seen.or(Some(now).filter(|_| new));
                    key.ds_ttl = key.ds_ttl.max(ds.ttl);
                });
            }
        }
        let successor = self.keys.iter().any(|key| key.is_wanted() && key.ds_seen.is_some());
        for (index, _) in found.into_iter().filter(|(_, ds)| successor && ds.seen == Seen::Nowhere) {
            let is_gone =
                |key: &KeyState| !key.is_wanted() && key.ds_asked.is_some() && key.ds_gone.is_none();
            if self.keys.get(index).is_some_and(is_gone) {
                self.set(index, |key| key.ds_gone = Some(now));
            }
        }
    }

    /// Says which keys are to be replaced: by their age, and where the policy wants others.
    fn retire(&mut self) -> bool {
        for index in 0..self.keys.len() {
            let Some(key) = self.keys.get(index).filter(|key| key.is_wanted()).cloned() else { continue };
            let fits = key.algorithm == self.policy.algorithm && self.policy.roles().contains(&key.role);
            let old = self.policy.lifetime(key.role).zip(key.active()).map(|(lifetime, active)| {
                // The next ZSK is published so early that it signs when this one's time is over.
                let lead = if key.role == Role::Zsk { self.key_delay() } else { 0 };
                active + lifetime.saturating_sub(lead)
            });
            // One roll of a role after the other.
            let rolling = self.keys.iter().any(|other| other.role == key.role && !other.is_wanted());
            let old = fits && !rolling && old.is_some_and(|at| self.is_due(key.tag, Next::Replace, at));
            if !fits || old {
                let now = self.now;
                self.set(index, |key| key.replaced = Some(now));
                return true;
            }
        }
        false
    }

    /// Asks for the keys that are wanted and not there.
    fn generate(&mut self) {
        let algorithm = self.policy.algorithm;
        for &role in self.policy.roles() {
            if !self.keys.iter().any(|key| key.is_wanted() && key.role == role) {
                self.step.generate.push((role, algorithm));
            }
        }
    }

    /// Publishes the wanted keys, and lets them sign. All of them have the policy's algorithm by now.
    fn introduce(&mut self) -> bool {
        let (now, algorithm) = (self.now, self.policy.algorithm);
        let is_published = |key: &KeyState| key.is_published() && key.algorithm == algorithm;
        let known = self.keys.iter().any(is_published);
        let first = !self.keys.iter().any(KeyState::is_published);
        let wanted: Vec<(usize, KeyState)> =
            self.keys.iter().cloned().enumerate().filter(|(_, key)| key.is_wanted()).collect();
        let mut changed = false;
        for (index, key) in &wanted {
            let signs = key.role.signs_zone() && key.signing.is_none();
            // A new algorithm signs before anybody knows that it is used.
            if signs && !known {
                self.set(*index, |key| key.signing = Some(now));
                changed = true;
            } else if signs
                && let Some(published) = key.published
                && self.is_due(key.tag, Next::Sign, published + self.key_delay())
            {
                self.set(*index, |key| key.signing = Some(now));
                changed = true;
            }
        }
        if changed {
            return true;
        }
        let signing =
            wanted.iter().filter(|(_, key)| key.role.signs_zone()).filter_map(|(_, key)| key.signing).max();
        for (index, key) in wanted.iter().filter(|(_, key)| key.published.is_none()) {
            let at = match signing {
                Some(signing) if !known && !first => signing + self.zone_delay(),
                _ => now,
            };
            if self.is_due(key.tag, Next::Publish, at) {
                self.set(*index, |key| key.published = Some(now));
                changed = true;
            }
        }
        // One signer of an algorithm is enough.
        if signing.is_some() {
            for index in 0..self.keys.len() {
                let Some(key) = self.keys.get(index) else { continue };
                if !key.is_wanted() && key.algorithm == algorithm && key.signs_zone() {
                    self.set(index, |key| key.stopped = Some(now));
                    changed = true;
                }
            }
        }
        changed
    }

    /// Asks the parent for the DS of wanted keys that every cache has, in a zone whose signatures every cache has.
    fn ask_for_ds(&mut self) -> bool {
        let now = self.now;
        for index in 0..self.keys.len() {
            let Some(key) = self.keys.get(index).filter(|key| key.is_wanted() && key.role.signs_keys())
            else {
                continue;
            };
            let (tag, asked, seen) = (key.tag, key.ds_asked, key.ds_seen);
            if asked.is_some() {
                if seen.is_none() {
                    self.awaits(tag, Next::DsSeen);
                }
                continue;
            }
            let signers =
                self.keys.iter().filter(|other| other.algorithm == key.algorithm && other.is_trusted());
            let (Some(published), Some(signing)) =
                (key.published, signers.filter_map(|key| key.signing).min())
            else {
                continue;
            };
            let at = (published + self.key_delay()).max(signing + self.zone_delay());
            if self.is_due(tag, Next::AskForDs, at) {
                self.set(index, |key| key.ds_asked = Some(now));
                return true;
            }
        }
        false
    }

    /// Takes the DNSKEYs of replaced keys out of the zone.
    fn withdraw(&mut self) -> bool {
        let (now, algorithm) = (self.now, self.policy.algorithm);
        let mut ready = Vec::new();
        let mut held = BTreeSet::new();
        for index in 0..self.keys.len() {
            let Some(key) =
                self.keys.get(index).filter(|key| !key.is_wanted() && key.is_published()).cloned()
            else {
                continue;
            };
            let same_algorithm = key.algorithm == algorithm;
            let delegated = self.is_delegated_elsewhere(&key, same_algorithm);
            // Signatures of an algorithm that goes stay until nobody knows any more that it was used.
            let unsigned = !same_algorithm || key.signing.is_none() || self.is_unsigned(&key);
            if delegated && unsigned {
                ready.push((index, key.algorithm));
            } else if !same_algorithm {
                held.insert(key.algorithm);
            }
        }
        // The keys of an algorithm that goes do so together.
        ready.retain(|(_, algorithm)| !held.contains(algorithm));
        for (index, _) in &ready {
            self.set(*index, |key| key.withdrawn = Some(now));
        }
        !ready.is_empty()
    }

    /// No DS that a cache may have needs the key, and another's DS may be at the parent.
    fn is_delegated_elsewhere(&mut self, key: &KeyState, same_algorithm: bool) -> bool {
        let successor = self.keys.iter().any(|other| other.is_wanted() && other.ds_asked.is_some());
        if (key.role.signs_keys() || !same_algorithm) && !successor {
            return false;
        }
        if !key.role.signs_keys() || key.ds_asked.is_none() {
            return true;
        }
        let Some(gone) = key.ds_gone else {
            self.awaits(key.tag, Next::DsGone);
            return false;
        };
        let ttl = u64::from(key.ds_ttl.unwrap_or(self.policy.parent_ds_ttl));
        self.is_due(key.tag, Next::Withdraw, gone + ttl + self.policy.parent_propagation)
    }

    /// No cache has a signature of the key any more.
    fn is_unsigned(&mut self, key: &KeyState) -> bool {
        match (key.unsigned, key.stopped) {
            (Some(unsigned), _) => self.is_due(key.tag, Next::Withdraw, unsigned + self.zone_delay()),
            (None, Some(_)) => {
                self.awaits(key.tag, Next::SignaturesGone);
                false
            }
            // It signs until its successor does.
            (None, None) => false,
        }
    }

    /// Lets go of keys that are not in the zone any more, or never came there.
    fn leave(&mut self) -> bool {
        let now = self.now;
        for index in 0..self.keys.len() {
            let Some(key) = self.keys.get(index).filter(|key| !key.is_wanted()).cloned() else { continue };
            if key.stopped.is_some() && key.unsigned.is_none() && !self.facts.signed_by.contains(&key.tag) {
                self.set(index, |key| key.unsigned = Some(now));
                return true;
            }
            if key.is_published() {
                continue;
            }
            let forgotten = key.withdrawn.map_or(now, |withdrawn| withdrawn + self.key_delay());
            if key.signs_zone() {
                if self.is_due(key.tag, Next::StopSigning, forgotten) {
                    self.set(index, |key| key.stopped = Some(now));
                    return true;
                }
                continue;
            }
            if key.signing.is_some() && key.unsigned.is_none() {
                self.awaits(key.tag, Next::SignaturesGone);
                continue;
            }
            if self.is_due(key.tag, Next::Remove, forgotten) {
                self.keys.remove(index);
                self.step.removed.push(key);
                self.step.changed = true;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
