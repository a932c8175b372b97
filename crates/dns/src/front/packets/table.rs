//! A table of packets: two places for each hash, of which a new packet takes one in turn.

use super::{HEADER_OCTETS, Keep, Probe};
use crate::wire::TTL_PLACES_MAX;

/// A hash may stand in so many places.
const WAYS: usize = 2;

/// A packet, and how it ages.
#[derive(Debug)]
struct Packet {
    /// The memory of the packet before it, if that was in its place.
    octets: Vec<u8>,
    /// Seconds.
    made: u32,
    until: u32,
    places: Box<[u16]>,
}

#[derive(Debug, Default)]
struct Slot {
    hash: u64,
    limit: u16,
    bits: u8,
    case_bound: bool,
    /// The order that goes out next.
    turn: u16,
    orders: u16,
    /// Whole packets, one per order; the question stands in each. Empty: the slot is free.
    packets: Vec<Packet>,
}

#[derive(Debug)]
pub(super) struct Table {
    /// A part of each slot's hash, 0 for a free one: what is not there costs no look at the slots, which lie far apart.
    tags: Box<[u16]>,
    slots: Box<[Slot]>,
    /// Which of its places a new answer takes, in turn.
    victim: usize,
}

impl Table {
    /// `slots` must be a power of two.
    pub(super) fn new(slots: usize) -> Self {
        Table { tags: vec![0; slots].into(), slots: (0..slots).map(|_| Slot::default()).collect(), victim: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.tags.fill(0);
        for slot in &mut self.slots {
            slot.packets.clear();
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
        let first = self.places(probe.hash);
        let question = HEADER_OCTETS..HEADER_OCTETS + usize::from(probe.question);
        let Some(asked) = octets.get(question.clone()) else { return false };
        let ways = self.slots.get_mut(first..first + WAYS).unwrap_or_default();
        let Some(slot) = ways.iter_mut().find(|slot| slot.is_for(probe, asked)) else { return false };
        if slot.packets.len() < usize::from(slot.orders) {
            // An order is still missing: the answer is made once more, in the next one.
            return false;
        }
        slot.turn = if slot.turn + 1 < slot.orders { slot.turn + 1 } else { 0 };
        let Some(packet) = slot.packets.get(usize::from(slot.turn)) else { return false };
        if packet.until <= now {
            slot.packets.clear();
            return false;
        }
        response.clear();
        response.extend_from_slice(&packet.octets);
        let age = now.saturating_sub(packet.made);
        for place in &packet.places {
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
        let first = self.places(probe.hash);
        let asked = octets.get(HEADER_OCTETS..HEADER_OCTETS + usize::from(probe.question))?;
        let slot = self.slots.get(first..first + WAYS)?.iter().find(|slot| slot.is_for(probe, asked))?;
        u16::try_from(slot.packets.len()).ok()
    }

    pub(super) fn keep(&mut self, probe: &Probe, response: &[u8], now: u32, keep: Keep) {
        let first = self.places(probe.hash);
        let question = HEADER_OCTETS..HEADER_OCTETS + usize::from(probe.question);
        let Some(asked) = response.get(question) else { return };
        let ways = self.slots.get_mut(first..first + WAYS).unwrap_or_default();
        let known = ways.iter().position(|slot| slot.is_for(probe, asked));
        let free = known.or_else(|| ways.iter().position(|slot| slot.packets.is_empty()));
        self.victim = self.victim.wrapping_add(1);
        let way = free.unwrap_or(self.victim % WAYS);
        let Some(slot) = ways.get_mut(way) else { return };
        if let Some(tag) = self.tags.get_mut(first + way) {
            *tag = Self::tag(probe.hash);
        }
        let spare = if known.is_none() || slot.packets.len() >= usize::from(keep.orders) {
            slot.packets.drain(..).next().map(|packet| packet.octets)
        } else {
            None
        };
        (slot.hash, slot.limit, slot.bits) = (probe.hash, probe.limit, probe.bits);
        (slot.case_bound, slot.orders) = (keep.case_bound, keep.orders.max(1));
        let mut octets = spare.unwrap_or_default();
        octets.clear();
        octets.extend_from_slice(response);
        if probe.cookie > 0
            && let Some(options) = octets.last_chunk_mut::<2>()
        {
            *options = [0, 0];
        }
        let until = keep.lifetime.map_or(u32::MAX, |lifetime| now.saturating_add(lifetime.seconds));
        let places = keep.lifetime.map_or([0; TTL_PLACES_MAX], |lifetime| lifetime.places);
        let places = places.into_iter().take_while(|place| *place > 0).collect();
        slot.packets.push(Packet { octets, made: now, until, places });
    }
}

impl Slot {
    fn is_for(&self, probe: &Probe, asked: &[u8]) -> bool {
        if self.hash != probe.hash || self.limit != probe.limit || self.bits != probe.bits {
            return false;
        }
        let kept =
            self.packets.first().and_then(|packet| packet.octets.get(HEADER_OCTETS..)?.get(..asked.len()));
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
