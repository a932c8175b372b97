//! A table of packets: four places for each hash, of which a new packet takes one in turn. It begins small, and doubles
//! until it has its full size when a packet finds no free place; what it held then comes again.

use super::{HEADER_OCTETS, Keep, Probe};
use crate::wire::TTL_PLACES_MAX;

/// A hash may stand in so many places.
const WAYS: usize = 4;

/// A packet, and how it ages.
#[derive(Debug, Default)]
struct Packet {
    octets: Box<[u8]>,
    /// Seconds.
    made: u32,
    until: u32,
    /// Where the TTLs stand, of an answer that ages; 0 after the last.
    places: Option<Box<[u16; TTL_PLACES_MAX]>>,
}

/// One line of the processor's cache.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Slot {
    hash: u64,
    limit: u16,
    bits: u8,
    case_bound: bool,
    /// The order that goes out next.
    turn: u16,
    orders: u16,
    /// Whole packets, one per order; the question stands in each. The first lies in the slot itself, as most answers have
    /// but one and each way to elsewhere in memory costs. An empty first one: the slot is free.
    first: Packet,
    others: Box<[Packet]>,
}

const _: () = assert!(size_of::<Slot>() == 64);

#[derive(Debug)]
pub(super) struct Table {
    /// A part of each slot's hash, 0 for a free one: what is not there costs no look at the slots, which lie far apart.
    tags: Box<[u16]>,
    slots: Box<[Slot]>,
    /// Which of its places a new answer takes, in turn.
    victim: usize,
    slots_max: usize,
}

/// Slots of a table that was never full.
const SLOTS_FIRST: usize = 1 << 10;

impl Table {
    /// `slots_max` must be a power of two.
    pub(super) fn new(slots_max: usize) -> Self {
        Table::of(SLOTS_FIRST.min(slots_max), slots_max)
    }

    fn of(slots: usize, slots_max: usize) -> Self {
        let tags = vec![0; slots].into();
        Table { tags, slots: (0..slots).map(|_| Slot::default()).collect(), victim: 0, slots_max }
    }

    pub(super) fn clear(&mut self) {
        self.tags.fill(0);
        for slot in &mut self.slots {
            slot.clear();
        }
    }

    fn places(&self, hash: u64) -> usize {
        // The low bits are as good as any: the hash ends in a multiplication that is folded.
        hash as usize & (self.slots.len() - 1) & !(WAYS - 1)
    }

    fn tag(hash: u64) -> u16 {
        (hash >> 48) as u16 | 1
    }

    /// Whether an answer with this hash may be there.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let first = self.places(hash);
        self.tags.get(first..first + WAYS).is_some_and(|tags| tags.contains(&Self::tag(hash)))
    }

    pub(super) fn find(&mut self, probe: &Probe, octets: &[u8], now: u32, response: &mut Vec<u8>) -> bool {
        if !self.may_have(probe.hash) {
            return false;
        }
        let question = HEADER_OCTETS..HEADER_OCTETS + usize::from(probe.question);
        let Some(asked) = octets.get(question.clone()) else { return false };
        let Some(at) = self.position(probe, asked) else { return false };
        let Some(slot) = self.slots.get_mut(at) else { return false };
        if slot.len() < usize::from(slot.orders) {
            // An order is still missing: the answer is made once more, in the next one.
            return false;
        }
        slot.turn = if slot.turn + 1 < slot.orders { slot.turn + 1 } else { 0 };
        let Some(packet) = slot.packet(slot.turn) else { return false };
        if packet.until <= now {
            slot.clear();
            return false;
        }
        response.clear();
        response.extend_from_slice(&packet.octets);
        let age = now.saturating_sub(packet.made);
        for place in packet.places.iter().flat_map(|places| places.iter()).take_while(|place| **place > 0) {
            if let Some(ttl) =
                response.get_mut(usize::from(*place)..).and_then(|ttl| ttl.first_chunk_mut::<4>())
            {
                *ttl = u32::from_be_bytes(*ttl).saturating_sub(age).to_be_bytes();
            }
        }
        if let Some(id) = response.get_mut(..2) {
            id.copy_from_slice(octets.get(..2).unwrap_or(&[0, 0]));
        }
        if let Some(place) = response.get_mut(question) {
            place.copy_from_slice(asked);
        }
        true
    }

    /// How many orders of an answer are here.
    pub(super) fn orders(&self, probe: &Probe, octets: &[u8]) -> Option<u16> {
        if !self.may_have(probe.hash) {
            return None;
        }
        let asked = octets.get(HEADER_OCTETS..HEADER_OCTETS + usize::from(probe.question))?;
        let slot = self.slots.get(self.position(probe, asked)?)?;
        u16::try_from(slot.len()).ok()
    }

    /// The slot that holds the answer to a request.
    fn position(&self, probe: &Probe, asked: &[u8]) -> Option<usize> {
        let first = self.places(probe.hash);
        let tag = Self::tag(probe.hash);
        let holds = |at: &usize| {
            self.tags.get(*at) == Some(&tag)
                && self.slots.get(*at).is_some_and(|slot| slot.is_for(probe, asked))
        };
        (first..first + WAYS).find(holds)
    }

    pub(super) fn keep(&mut self, probe: &Probe, response: &[u8], now: u32, keep: Keep) {
        let mut first = self.places(probe.hash);
        let question = HEADER_OCTETS..HEADER_OCTETS + usize::from(probe.question);
        let Some(asked) = response.get(question) else { return };
        let known = self.position(probe, asked);
        let is_free = |at: &usize| self.slots.get(*at).is_some_and(|slot| slot.len() == 0);
        let mut free = known.or_else(|| (first..first + WAYS).find(is_free));
        if free.is_none() && self.slots.len() < self.slots_max {
            *self = Table::of(self.slots.len() * 2, self.slots_max);
            first = self.places(probe.hash);
            free = Some(first);
        }
        self.victim = self.victim.wrapping_add(1);
        let at = free.unwrap_or(first + self.victim % WAYS);
        let Some(slot) = self.slots.get_mut(at) else { return };
        if let Some(tag) = self.tags.get_mut(at) {
            *tag = Self::tag(probe.hash);
        }
        if known.is_none() || slot.len() >= usize::from(keep.orders) {
            slot.clear();
        }
        (slot.hash, slot.limit, slot.bits) = (probe.hash, probe.limit, probe.bits);
        (slot.case_bound, slot.orders) = (keep.case_bound, keep.orders.max(1));
        let mut octets: Box<[u8]> = response.into();
        if probe.cookie > 0
            && let Some(options) = octets.last_chunk_mut::<2>()
        {
            *options = [0, 0];
        }
        let until = keep.lifetime.map_or(u32::MAX, |lifetime| now.saturating_add(lifetime.seconds));
        let places = keep.lifetime.map(|lifetime| Box::new(lifetime.places));
        let packet = Packet { octets, made: now, until, places };
        if slot.len() == 0 {
            slot.first = packet;
        } else {
            let others = std::mem::take(&mut slot.others).into_iter();
            slot.others = others.chain([packet]).collect();
        }
    }
}

impl Slot {
    /// Number of packets.
    fn len(&self) -> usize {
        if self.first.octets.is_empty() { 0 } else { 1 + self.others.len() }
    }

    fn packet(&self, order: u16) -> Option<&Packet> {
        match usize::from(order).checked_sub(1) {
            None => Some(&self.first),
            Some(other) => self.others.get(other),
        }
    }

    fn clear(&mut self) {
        self.first = Packet::default();
        self.others = Box::default();
    }

    fn is_for(&self, probe: &Probe, asked: &[u8]) -> bool {
        if self.hash != probe.hash || self.limit != probe.limit || self.bits != probe.bits {
            return false;
        }
        let kept = self.first.octets.get(HEADER_OCTETS..).and_then(|question| question.get(..asked.len()));
        kept.is_some_and(|kept| {
            kept == asked
                || !self.case_bound && {
                    // Type and class are no letters, whatever their octets are.
                    let (name, rest) = asked.split_at(asked.len().saturating_sub(4));
                    let (kept_name, kept_rest) = kept.split_at(name.len());
                    rest == kept_rest && name.eq_ignore_ascii_case(kept_name)
                }
        })
    }
}
