//! Answers as they went out, ready to go out again: the question's octets find the whole packet, and only its id and
//! the case of the asker's letters are put in, and a cookie behind it. Nothing is decoded, allocated or locked on a hit.
//!
//! Each UDP loop has a memory of its own, and each thread one for what comes over connections. It forgets everything when the zones change or the resolver's cache is
//! flushed; answers of the resolver are kept as long as their least TTL lasts, and count it down. Two tables of fixed
//! size, in which a new answer takes the place of an old one: negative answers have their own, so that a flood of names
//! that do not exist pushes out none that do. And an answer is kept only when it is asked for a second time not long
//! after the first: names that come once cost no memory and push out nothing.
//!
//! Not kept: failures, answers with more than [`TTL_PLACES_MAX`] records that age, to requests with EDNS options beside
//! a cookie, longer than [`OCTETS_MAX`], with sets of more than [`VARIANTS_MAX`] records that rotate, or in an order by
//! chance.

mod table;

use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use postroad_types::limits::{DNS_NAME_OCTETS_MAX, DNS_UDP_OCTETS_PLAIN};

use crate::wire::options::{COOKIE_OCTETS, COOKIE_OPTION_OCTETS, code};
use crate::wire::{Rtype, TTL_PLACES_MAX};
use crate::zone::Zones;
use table::Table;

/// Longer answers are written anew each time: the memory is bounded by this times the number of slots.
const OCTETS_MAX: usize = 1232;
/// Orders of one answer's records that are kept.
const VARIANTS_MAX: u16 = 8;
/// Slots for answers with records, and for those without.
const POSITIVE_SLOTS: usize = 1 << 15;
const NEGATIVE_SLOTS: usize = 1 << 15;
/// Questions that are remembered as having been asked once.
const ASKED_ONCE: usize = 1 << 16;

const HEADER_OCTETS: usize = 12;
const OPT_OCTETS: usize = 11;

/// What an answer depends on beside the question's octets.
mod bits {
    pub const RECURSION_DESIRED: u8 = 1;
    pub const CHECKING_DISABLED: u8 = 2;
    pub const EDNS: u8 = 4;
    pub const DNSSEC_OK: u8 = 8;
    /// The asker may have recursion.
    pub const RECURSION_ALLOWED: u8 = 16;
    /// The asker understands AD.
    pub const AUTHENTIC_DATA: u8 = 32;
}

/// How an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Orders in which its records go out, one after the other: the size of its largest set, 1 without rotation.
    pub orders: u16,
    /// A name in its data ends in the question's letters, whose case is then that of the data.
    pub case_bound: bool,
    pub negative: bool,
    /// `None`: it is true until the zones change.
    pub lifetime: Option<Lifetime>,
}

/// How long an answer of the resolver is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The least TTL; not 0.
    pub seconds: u32,
    /// Where the TTLs stand; 0 after the last.
    pub places: [u16; TTL_PLACES_MAX],
}

/// A request that an answer may be kept for.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    hash: u64,
    /// Octets of name, type and class.
    question: u16,
    /// Greatest length of the answer without a cookie.
    limit: u16,
    bits: u8,
    /// Length of the request's cookie, which stands at its end; 0: there is none.
    cookie: u8,
}

impl Probe {
    /// The request's cookie, client's and server's.
    pub fn cookie<'a>(&self, octets: &'a [u8]) -> Option<&'a [u8]> {
        let length = usize::from(self.cookie);
        (length > 0).then(|| octets.get(octets.len().checked_sub(length)?..)).flatten()
    }
}

/// The memory of one loop.
pub struct Packets {
    zones: Cache<Arc<ArcSwap<Zones>>, Arc<Zones>>,
    /// What the answers were made from.
    made_from: Arc<Zones>,
    /// `None`: what comes over connections, whose answers may have any length.
    udp_octets_max: Option<u16>,
    seed: u64,
    /// Seconds since a fixed moment.
    now: u32,
    /// Of the resolver's cache.
    flushes: u64,
    asked_once: Box<[u8]>,
    positive: Table,
    negative: Table,
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").field("udp_octets_max", &self.udp_octets_max).finish_non_exhaustive()
    }
}

impl Packets {
    /// For requests over UDP, whose answers have at most so many octets, or over connections.
    pub fn new(zones: Arc<ArcSwap<Zones>>, udp_octets_max: Option<u16>) -> Self {
        let made_from = zones.load_full();
        Packets {
            zones: Cache::new(zones),
            made_from,
            udp_octets_max,
            seed: rand::random(),
            now: 0,
            flushes: 0,
            asked_once: vec![0; ASKED_ONCE].into(),
            positive: Table::new(POSITIVE_SLOTS),
            negative: Table::new(NEGATIVE_SLOTS),
        }
    }

    /// Tells the time, in seconds since a fixed moment, and how often the resolver's cache has been flushed.
    pub fn set_now(&mut self, now: u32, flushes: u64) {
        self.now = now;
        if self.flushes != flushes {
            self.flushes = flushes;
            self.positive.clear();
            self.negative.clear();
        }
    }

    /// Looks at a request; `None`: it is none that an answer is kept for.
    pub fn probe(&self, octets: &[u8], recursion_allowed: bool) -> Option<Probe> {
        let header = octets.first_chunk::<HEADER_OCTETS>()?;
        // A query with nothing but RD, AD and CD set, one question, no records but an OPT.
        if header[2] & !0x01 != 0 || header[3] & !0x30 != 0 || header[4..10] != [0, 1, 0, 0, 0, 0] {
            return None;
        }
        let edns = match header[10..] {
            [0, 0] => false,
            [0, 1] => true,
            _ => return None,
        };
        let mut at = HEADER_OCTETS;
        loop {
            let label = usize::from(*octets.get(at)?);
            at += 1 + label;
            if label == 0 {
                break;
            }
            if label > 63 || at > HEADER_OCTETS + DNS_NAME_OCTETS_MAX {
                return None;
            }
        }
        let end = at + 4;
        let question = octets.get(HEADER_OCTETS..end)?;
        if question.len() > DNS_NAME_OCTETS_MAX + 4 {
            return None;
        }
        let mut bits = header[2] & bits::RECURSION_DESIRED
            | if header[3] & 0x10 != 0 { bits::CHECKING_DISABLED } else { 0 }
            | if header[3] & 0x20 != 0 { bits::AUTHENTIC_DATA } else { 0 }
            | if recursion_allowed { bits::RECURSION_ALLOWED } else { 0 };
        let mut limit = self.udp_octets_max.map_or(u16::MAX, |_| DNS_UDP_OCTETS_PLAIN as u16);
        let opt = octets.get(end..)?;
        let mut cookie = 0;
        if edns {
            let (&[0, t1, t0, s1, s0, 0, 0, flags, 0, 0, length], options) =
                opt.split_first_chunk::<OPT_OCTETS>()?
            else {
                return None;
            };
            if options.len() != usize::from(length)
                || u16::from_be_bytes([t1, t0]) != Rtype::OPT.0
                || flags & 0x7f != 0
            {
                return None;
            }
            bits |= bits::EDNS | if flags != 0 { bits::DNSSEC_OK } else { 0 };
            if let Some(most) = self.udp_octets_max {
                limit = u16::from_be_bytes([s1, s0]).max(limit).min(most);
            }
            cookie = match options {
                [] => 0,
                [0, 10, 0, length @ (8 | 24), cookie @ ..] if cookie.len() == usize::from(*length) => *length,
                _ => return None,
            };
            if cookie > 0 {
                limit -= COOKIE_OPTION_OCTETS as u16;
            }
        } else if !opt.is_empty() {
            return None;
        }
        let salt = self.seed ^ u64::from(limit) << 8 ^ u64::from(bits);
        Some(Probe { hash: hash(question, salt), question: question.len() as u16, limit, bits, cookie })
    }

    /// Writes the answer that is kept for a request into `response`; false: there is none.
    pub fn find(&mut self, probe: &Probe, octets: &[u8], response: &mut Vec<u8>) -> bool {
        let current = self.zones.load();
        if !Arc::ptr_eq(current, &self.made_from) {
            self.made_from = Arc::clone(current);
            self.positive.clear();
            self.negative.clear();
            return false;
        }
        let now = self.now;
        self.positive.find(probe, octets, now, response) || self.negative.find(probe, octets, now, response)
    }

    /// The order in which an answer that is now made will be kept, if it will.
    pub fn order(&self, probe: &Probe, octets: &[u8]) -> Option<u16> {
        let known = self.positive.orders(probe, octets).or_else(|| self.negative.orders(probe, octets));
        known.or_else(|| self.was_asked_once(probe).then_some(0))
    }

    fn was_asked_once(&self, probe: &Probe) -> bool {
        let (place, mark) = asked_once(probe.hash);
        self.asked_once.get(place).is_some_and(|once| *once == mark)
    }

    /// Keeps the answer that was made to a request.
    pub fn keep(&mut self, probe: &Probe, mut response: &[u8], keep: Keep) {
        if probe.cookie > 0 {
            let end = response.len().saturating_sub(COOKIE_OPTION_OCTETS);
            response = response.get(..end).unwrap_or_default();
        }
        if keep.orders > VARIANTS_MAX || response.len() > OCTETS_MAX {
            return;
        }
        let table = if keep.negative { &mut self.negative } else { &mut self.positive };
        let (place, mark) = asked_once(probe.hash);
        if let Some(once) = self.asked_once.get_mut(place)
            && *once != mark
            && !table.may_have(probe.hash)
        {
            *once = mark;
            return;
        }
        table.keep(probe, response, self.now, keep);
    }
}

/// Where it is marked that a question was asked once, and how.
fn asked_once(hash: u64) -> (usize, u8) {
    ((hash >> 16) as usize & (ASKED_ONCE - 1), (hash >> 32) as u8 | 1)
}

/// Puts a cookie behind an answer that was kept without.
pub fn append_cookie(response: &mut Vec<u8>, cookie: &[u8; COOKIE_OCTETS]) {
    let Some(options) = response.last_chunk_mut::<2>() else { return };
    *options = (COOKIE_OPTION_OCTETS as u16).to_be_bytes();
    response.extend_from_slice(&[0, code::COOKIE as u8, 0, COOKIE_OCTETS as u8]);
    response.extend_from_slice(cookie);
}

/// A hash that takes eight octets at a time and does not see the case of letters. It need not be strong: who finds
/// collisions makes the memory forget, and the seed is not known.
fn hash(octets: &[u8], salt: u64) -> u64 {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        (product as u64) ^ (product >> 64) as u64
    };
    let (words, rest) = octets.as_chunks::<8>();
    let mut value = words.iter().fold(salt, |value, word| mix(value, u64::from_le_bytes(*word) | FOLD));
    let mut last = [0; 8];
    for (place, octet) in last.iter_mut().zip(rest) {
        *place = *octet;
    }
    value = mix(value, u64::from_le_bytes(last) | FOLD);
    mix(value, octets.len() as u64)
}

#[cfg(test)]
mod tests;
