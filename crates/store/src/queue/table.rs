//! The table of all messages with its two clocks: when a message is due, when a lease runs out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::change;
use super::filter::{DestinationTally, Page, SCAN_STEP, fits};
use crate::error::StoreError;
use crate::spool::{Change, Filter, Lease, Micros, Order, QueuedMessage};
use postroad_types::QueueId;

/// A queue id's 16 characters: compares as the id does and needs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key([u8; 16]);

impl From<&QueueId> for Key {
    fn from(id: &QueueId) -> Self {
        let mut key = [0; 16];
        key.iter_mut().zip(id.as_str().bytes()).for_each(|(to, from)| *to = from);
        Key(key)
    }
}

#[derive(Debug)]
struct Entry<S> {
    message: QueuedMessage,
    stored: S,
    lease: Option<Held>,
    /// A change is on its way to storage; nobody else gets a lease meanwhile.
    reserved: bool,
    /// Where the entry stands in `due` or `ends`.
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    token: u64,
    until: Micros,
    /// It ran out. Its holder goes on until someone else gets a lease.
    lapsed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Due(Micros),
    LeaseEnds(Micros),
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<S> {
    Changed,
    /// It left the queue, and this is what was stored of it.
    Gone(S),
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: u64,
    /// Recipients that are not final.
    pub recipients: u64,
    /// Sizes of the messages together.
    pub octets: u64,
}

/// The queue in memory. `S` is what the spool needs to find a message's octets.
#[derive(Debug)]
pub struct QueueTable<S> {
    /// Boxed: a tree's nodes are about half empty.
    entries: BTreeMap<Key, Box<Entry<S>>>,
    due: BTreeSet<(Micros, Key)>,
    ends: BTreeSet<(Micros, Key)>,
    next_token: u64,
    counts: Counts,
}

impl<S> QueueTable<S> {
    /// Tokens begin at `first_token`; after a restart it must be above all that were given before.
    pub fn new(first_token: u64) -> Self {
        QueueTable {
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            ends: BTreeSet::new(),
            next_token: first_token,
            counts: Counts::default(),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a message in; an earlier one of the same id is replaced.
    pub fn insert(&mut self, mut message: QueuedMessage, stored: S) {
        message.recipients.shrink_to_fit();
        let key = Key::from(&message.id);
        self.take(key);
        self.count(&message, true);
        let entry = Entry { message, stored, lease: None, reserved: false, place: None };
        self.entries.insert(key, Box::new(entry));
        self.settle(key);
    }

    pub fn remove(&mut self, id: &QueueId) -> Option<S> {
        self.take(Key::from(id)).map(|entry| entry.stored)
    }

    pub fn get(&self, id: &QueueId) -> Option<(&QueuedMessage, &S)> {
        self.entries.get(&Key::from(id)).map(|entry| (&entry.message, &entry.stored))
    }

    pub fn stored_mut(&mut self, id: &QueueId) -> Option<&mut S> {
        self.entries.get_mut(&Key::from(id)).map(|entry| &mut entry.stored)
    }

    /// All messages, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&QueuedMessage, &S)> {
        self.entries.values().map(|entry| (&entry.message, &entry.stored))
    }

    /// Leases of what is due at `now`, the longest due first.
    pub fn lease(&mut self, now: Micros, limit: usize, until: Micros) -> Vec<Lease> {
        self.lapse(now);
        // What is reserved is skipped, so the candidates are gathered before anything moves.
        let ready = |key: &Key| self.entries.get(key).is_some_and(|entry| !entry.reserved);
        let keys: Vec<Key> = self
            .due
            .range(..=(now, Key([0xff; 16])))
            .map(|(_, key)| *key)
            .filter(ready)
            .take(limit)
            .collect();
        let mut leases = Vec::with_capacity(keys.len());
        for key in keys {
            let token = self.next_token;
            if let Some(entry) = self.entries.get_mut(&key) {
                self.next_token += 1;
                entry.lease = Some(Held { token, until, lapsed: false });
                leases.push(Lease { message: entry.message.clone(), token, until });
            }
            self.settle(key);
        }
        leases
    }

    /// When the next message is due; leased ones do not count.
    pub fn next_due(&self) -> Option<Micros> {
        self.due.first().map(|(at, _)| *at)
    }

    /// [`StoreError::Stale`] unless `token` is that of the message's last lease.
    pub fn check_lease(&self, id: &QueueId, token: u64) -> Result<(), StoreError> {
        let entry = self.entries.get(&Key::from(id));
        if entry.and_then(|entry| entry.lease).is_some_and(|lease| lease.token == token) {
            return Ok(());
        }
        let why =
            if entry.is_some() { "was given to another" } else { "is of a message that left the spool" };
        Err(StoreError::Stale(format!("lease {token} of message {id} {why}")))
    }

    /// Whether the changes can be made: [`StoreError::Stale`] for the lease, [`StoreError::Invalid`] for an index.
    pub fn check_changes(&self, id: &QueueId, token: u64, changes: &[Change]) -> Result<(), StoreError> {
        self.check_lease(id, token)?;
        self.entries.get(&Key::from(id)).map_or(Ok(()), |entry| change::check(&entry.message, changes))
    }

    /// Keeps a message from being leased anew while a change to it is being written down.
    pub fn reserve(&mut self, id: &QueueId, reserved: bool) {
        if let Some(entry) = self.entries.get_mut(&Key::from(id)) {
            entry.reserved = reserved;
        }
    }

    /// Makes changes that were checked; a message whose recipients are all final leaves. `None`: not there.
    pub fn apply_changes(&mut self, id: &QueueId, changes: Vec<Change>) -> Option<Outcome<S>> {
        self.alter(Key::from(id), |message| change::apply(message, changes))
    }

    /// Carries out an order on one message. `None`: not there.
    pub fn apply_order(&mut self, id: &QueueId, order: &Order, now: Micros) -> Option<Outcome<S>> {
        let key = Key::from(id);
        if *order == Order::Remove {
            return self.take(key).map(|entry| Outcome::Gone(entry.stored));
        }
        self.alter(key, |message| change::obey(message, order, now))
    }

    /// Gives a lease back.
    pub fn release(&mut self, id: &QueueId, token: u64) -> Result<(), StoreError> {
        self.check_lease(id, token)?;
        let key = Key::from(id);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.lease = None;
        }
        self.settle(key);
        Ok(())
    }

    /// A step of a list: the messages that fit among the next [`SCAN_STEP`] after `after`, `limit` at most.
    pub fn page(&self, filter: &Filter, after: Option<&QueueId>, limit: usize) -> Page<QueuedMessage> {
        self.page_of(filter, after, limit, QueuedMessage::clone)
    }

    /// As [`QueueTable::page`], but only the names.
    pub fn page_of_ids(&self, filter: &Filter, after: Option<&QueueId>) -> Page<QueueId> {
        self.page_of(filter, after, usize::MAX, |message| message.id.clone())
    }

    fn page_of<T>(
        &self,
        filter: &Filter,
        after: Option<&QueueId>,
        limit: usize,
        show: impl Fn(&QueuedMessage) -> T,
    ) -> Page<T> {
        let mut found = Vec::new();
        if !filter.ids.is_empty() {
            let mut ids: Vec<Key> = filter.ids.iter().map(Key::from).collect();
            ids.sort_unstable();
            ids.dedup();
            let after = after.map(Key::from);
            let named = ids.iter().filter(|key| after.is_none_or(|after| **key > after));
            let messages = named.filter_map(|key| self.entries.get(key)).map(|entry| &entry.message);
            found.extend(messages.filter(|message| fits(filter, message)).take(limit).map(show));
            return Page { found, rest: None };
        }
        let rest = self.scan(after, |entry| {
            if fits(filter, &entry.message) {
                found.push(show(&entry.message));
            }
            found.len() < limit
        });
        Page { found, rest }
    }

    /// A step of counting destinations; gives where to go on.
    pub fn tally(&self, into: &mut DestinationTally, after: Option<&QueueId>) -> Option<QueueId> {
        self.walk(after, |message, _| into.add(message))
    }

    /// Shows the next [`SCAN_STEP`] messages after `after`; gives where to go on.
    pub fn walk(&self, after: Option<&QueueId>, mut see: impl FnMut(&QueuedMessage, &S)) -> Option<QueueId> {
        self.scan(after, |entry| {
            see(&entry.message, &entry.stored);
            true
        })
    }

    fn scan(&self, after: Option<&QueueId>, mut see: impl FnMut(&Entry<S>) -> bool) -> Option<QueueId> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(Key::from(after)));
        let mut seen = 0;
        for entry in self.entries.range((from, Bound::Unbounded)).map(|(_, entry)| entry) {
            seen += 1;
            if !see(entry) {
                return None;
            }
            if seen == SCAN_STEP {
                return Some(entry.message.id.clone());
            }
        }
        None
    }

    /// Leases that ended at `now` no longer keep their messages from being due.
    fn lapse(&mut self, now: Micros) {
        while let Some((at, key)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            self.ends.remove(&(at, key));
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.place = None;
                if let Some(lease) = &mut entry.lease {
                    lease.lapsed = true;
                }
            }
            self.settle(key);
        }
    }

    fn alter(&mut self, key: Key, change: impl FnOnce(&mut QueuedMessage)) -> Option<Outcome<S>> {
        let entry = self.entries.get_mut(&key)?;
        let before = open_recipients(&entry.message);
        change(&mut entry.message);
        let after = open_recipients(&entry.message);
        self.counts.recipients = self.counts.recipients + after - before;
        if after == 0 {
            return self.take(key).map(|entry| Outcome::Gone(entry.stored));
        }
        self.settle(key);
        Some(Outcome::Changed)
    }

    fn take(&mut self, key: Key) -> Option<Entry<S>> {
        let entry = self.entries.remove(&key)?;
        self.unplace(key, entry.place);
        self.count(&entry.message, false);
        Some(*entry)
    }

    /// Puts the entry where its state says: under its lease's end, or under the time it is due.
    fn settle(&mut self, key: Key) {
        let Some(entry) = self.entries.get(&key) else { return };
        let place = match entry.lease {
            Some(lease) if !lease.lapsed => Some(Place::LeaseEnds(lease.until)),
            _ => change::due_at(&entry.message).map(Place::Due),
        };
        let old = entry.place;
        if old == place {
            return;
        }
        self.unplace(key, old);
        match place {
            Some(Place::Due(at)) => self.due.insert((at, key)),
            Some(Place::LeaseEnds(at)) => self.ends.insert((at, key)),
            None => false,
        };
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.place = place;
        }
    }

    fn unplace(&mut self, key: Key, place: Option<Place>) {
        match place {
            Some(Place::Due(at)) => self.due.remove(&(at, key)),
            Some(Place::LeaseEnds(at)) => self.ends.remove(&(at, key)),
            None => false,
        };
    }

    fn count(&mut self, message: &QueuedMessage, came: bool) {
        let sign = |total: u64, part: u64| if came { total + part } else { total.saturating_sub(part) };
        self.counts.messages = sign(self.counts.messages, 1);
        self.counts.recipients = sign(self.counts.recipients, open_recipients(message));
        self.counts.octets = sign(self.counts.octets, message.size_octets);
    }
}

fn open_recipients(message: &QueuedMessage) -> u64 {
    message.recipients.iter().filter(|r| !r.state.is_final()).count() as u64
}
