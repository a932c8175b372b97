//! A part of the cache: names with what is kept of them, bounded in octets.

use hashbrown::HashTable;

use super::entry::{Item, Moment};
use crate::wire::Name;

/// Estimated memory of a name beside its octets: its slot with room to grow, its place in the index and what the
/// allocator adds.
const NAME_OVERHEAD: usize = 96;

#[derive(Debug)]
pub(super) struct Slot {
    pub name: Name,
    /// No more room than items: most names have one.
    pub items: Box<[Item]>,
    octets: u32,
    /// Asked for since the clock hand came by.
    pub used: bool,
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Places in `slots`, by the hashes of the names.
    index: HashTable<u32>,
    slots: Vec<Slot>,
    octets: usize,
    hand: usize,
}

impl Shard {
    /// Estimated memory in octets.
    pub fn octets(&self) -> usize {
        self.octets
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What is kept of the name with this wire form and hash.
    pub fn get(&self, wire: &[u8], hash: u64) -> Option<&Slot> {
        let same = |at: &u32| self.slots.get(*at as usize).is_some_and(|slot| is(slot, wire));
        self.slots.get(*self.index.find(hash, same)? as usize)
    }

    pub fn get_mut(&mut self, wire: &[u8], hash: u64) -> Option<&mut Slot> {
        let same = |at: &u32| self.slots.get(*at as usize).is_some_and(|slot| is(slot, wire));
        let at = *self.index.find(hash, same)?;
        self.slots.get_mut(at as usize)
    }

    /// Adds an item to a name, in place of what it contradicts, renews or outlives. `hash_of` hashes any name as `hash`
    /// was.
    pub fn put(&mut self, name: &Name, hash: u64, item: Item, now: Moment, hash_of: impl Fn(&Name) -> u64) {
        if self.get(name.as_wire(), hash).is_none() {
            let Ok(at) = u32::try_from(self.slots.len()) else { return };
            let octets = NAME_OVERHEAD + name.as_wire().len();
            self.octets += octets;
            let (name, octets) = (name.clone(), octets as u32);
            self.slots.push(Slot { name, items: Box::default(), octets, used: false });
            let slots = &self.slots;
            let rehash = |at: &u32| slots.get(*at as usize).map_or(0, |slot| hash_of(&slot.name));
            self.index.insert_unique(hash, at, rehash);
        }
        let Some(slot) = self.get_mut(name.as_wire(), hash) else { return };
        let kind = item.entry.kind();
        let keep = |old: &Item| {
            let weightier = old.is_checked() && !item.is_checked();
            (weightier || !kind.replaces(old.entry.kind())) && old.gone > now
        };
        let mut items = std::mem::take(&mut slot.items).into_vec();
        let before: usize = items.iter().map(Item::octets).sum();
        items.retain(keep);
        items.reserve_exact(1);
        items.push(item);
        let after: usize = items.iter().map(Item::octets).sum();
        slot.items = items.into();
        slot.octets = resized(slot.octets, before, after);
        self.octets = self.octets + after - before.min(self.octets);
    }

    /// Drops names until no more than `bound` octets are left: first those that nobody asked for again.
    pub fn make_room(&mut self, bound: usize, hash_of: impl Fn(&Name) -> u64) {
        while self.octets > bound && !self.slots.is_empty() {
            self.hand %= self.slots.len();
            match self.slots.get_mut(self.hand) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.hand += 1;
                }
                _ => self.remove(self.hand, &hash_of),
            }
        }
    }

    /// Drops the items that `keep` does not keep, and the names that are left without any; the number of items.
    pub fn retain(&mut self, keep: impl Fn(&Name, &Item) -> bool, hash_of: impl Fn(&Name) -> u64) -> usize {
        let (mut at, mut dropped) = (0, 0);
        while let Some(slot) = self.slots.get_mut(at) {
            let count = slot.items.len();
            if slot.items.iter().any(|item| !keep(&slot.name, item)) {
                let mut items = std::mem::take(&mut slot.items).into_vec();
                let before: usize = items.iter().map(Item::octets).sum();
                items.retain(|item| keep(&slot.name, item));
                let after: usize = items.iter().map(Item::octets).sum();
                slot.items = items.into();
                slot.octets = resized(slot.octets, before, after);
                self.octets = self.octets.saturating_sub(before - after);
                dropped += count - slot.items.len();
            }
            if slot.items.is_empty() {
                self.remove(at, &hash_of);
            } else {
                at += 1;
            }
        }
        dropped
    }

    fn remove(&mut self, at: usize, hash_of: &impl Fn(&Name) -> u64) {
        let slot = self.slots.swap_remove(at);
        self.octets = self.octets.saturating_sub(slot.octets as usize);
        let place = |wanted: usize| move |at: &u32| *at as usize == wanted;
        if let Ok(entry) = self.index.find_entry(hash_of(&slot.name), place(at)) {
            entry.remove();
        }
        // The last one has come in its place.
        if let Some(moved) = self.slots.get(at)
            && let Some(known) = self.index.find_mut(hash_of(&moved.name), place(self.slots.len()))
        {
            *known = at as u32;
        }
    }
}

fn is(slot: &Slot, wire: &[u8]) -> bool {
    slot.name.as_wire().eq_ignore_ascii_case(wire)
}

fn resized(octets: u32, before: usize, after: usize) -> u32 {
    u32::try_from((octets as usize + after).saturating_sub(before)).unwrap_or(u32::MAX)
}
