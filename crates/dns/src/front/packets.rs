//! Answers as they went out, ready to go out again: the question's octets find the whole packet, and only its id and
//! the case of the asker's letters are put in, and a cookie behind it. Nothing is decoded, allocated or locked on a hit.
//!
//! Each UDP loop has a memory of its own. It forgets everything when the zones change or the resolver's cache is flushed;
//! answers of the resolver are kept as long as their least TTL lasts, and count it down. Two tables of fixed size, in which a new answer takes the place of an old one: negative answers have their
//! own, so that a flood of names that do not exist pushes out none that do.
//!
//! Not kept: failures, answers with more than [`TTL_PLACES_MAX`] records that age, answers to requests with EDNS options beside a cookie, longer than [`OCTETS_MAX`], with sets of more than
//! [`VARIANTS_MAX`] records that rotate, or in an order by chance.

use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use postroad_types::limits::{DNS_NAME_OCTETS_MAX, DNS_UDP_OCTETS_PLAIN};

use crate::wire::options::{COOKIE_OCTETS, COOKIE_OPTION_OCTETS, code};
use crate::wire::{Rtype, TTL_PLACES_MAX};
use crate::zone::Zones;

/// Longer answers are written anew each time: the memory is bounded by this times the number of slots.
const OCTETS_MAX: usize = 1232;
/// Orders of one answer's records that are kept.
const VARIANTS_MAX: u16 = 8;
/// Slots for answers with records, and for those without.
const POSITIVE_SLOTS: usize = 1 << 15;
const NEGATIVE_SLOTS: usize = 1 << 12;
/// A hash may stand in so many places.
const WAYS: usize = 2;

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

/// The memory of one loop.
pub struct Packets {
    zones: Cache<Arc<ArcSwap<Zones>>, Arc<Zones>>,
    /// What the answers were made from.
    made_from: Arc<Zones>,
    udp_octets_max: u16,
    seed: u64,
    /// Seconds since a fixed moment.
    now: u32,
    /// Of the resolver's cache.
    flushes: u64,
    positive: Table,
    negative: Table,
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").field("udp_octets_max", &self.udp_octets_max).finish_non_exhaustive()
    }
}

impl Packets {
    pub fn new(zones: Arc<ArcSwap<Zones>>, udp_octets_max: u16) -> Self {
        let made_from = zones.load_full();
        Packets {
            zones: Cache::new(zones),
            made_from,
            udp_octets_max,
            seed: rand::random(),
            now: 0,
            flushes: 0,
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
            | if recursion_allowed { bits::RECURSION_ALLOWED } else { 0 };
        let mut limit = DNS_UDP_OCTETS_PLAIN as u16;
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
            limit = u16::from_be_bytes([s1, s0]).max(limit).min(self.udp_octets_max);
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
        table.keep(probe, response, self.now, keep);
    }
}

#[derive(Debug)]
struct Table {
    slots: Box<[Slot]>,
    /// Which of its places a new answer takes, in turn.
    victim: usize,
}

impl Table {
    /// `slots` must be a power of two.
    fn new(slots: usize) -> Self {
        Table { slots: (0..slots).map(|_| Slot::default()).collect(), victim: 0 }
    }

    fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.packets.clear();
        }
    }

    fn places(&self, hash: u64) -> usize {
        // The low bits are as good as any: the hash ends in a multiplication that is folded.
        hash as usize & (self.slots.len() - 1) & !(WAYS - 1)
    }

    fn find(&mut self, probe: &Probe, octets: &[u8], now: u32, response: &mut Vec<u8>) -> bool {
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

    fn keep(&mut self, probe: &Probe, response: &[u8], now: u32, keep: Keep) {
        let first = self.places(probe.hash);
        let question = HEADER_OCTETS..HEADER_OCTETS + usize::from(probe.question);
        let Some(asked) = response.get(question) else { return };
        let ways = self.slots.get_mut(first..first + WAYS).unwrap_or_default();
        let known = ways.iter().position(|slot| slot.is_for(probe, asked));
        let free = known.or_else(|| ways.iter().position(|slot| slot.packets.is_empty()));
        self.victim = self.victim.wrapping_add(1);
        let Some(slot) = ways.get_mut(free.unwrap_or(self.victim % WAYS)) else { return };
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
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::front::{Engine, Settings, Transport};
    use crate::serve::Rotation;
    use crate::wire::Name;
    use crate::zone::zone_from_text;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn zones(host: &str) -> Zones {
        let text = format!(
            "$TTL 60\n@ SOA ns h 1 1 1 1 60\n@ NS ns\nns A 192.0.2.1\n@ MX 10 Mail.Alpha.test.\nMail A {host}\n\
             three A 192.0.2.1\nthree A 192.0.2.2\nthree A 192.0.2.3\n"
        );
        Zones::new([Arc::new(zone_from_text(&"alpha.test".parse().unwrap(), &text).unwrap())])
    }

    struct Scene {
        zones: Arc<ArcSwap<Zones>>,
        engine: Engine,
        packets: Packets,
        found: usize,
    }

    impl Scene {
        fn new(rotation: Rotation) -> Scene {
            let zones = Arc::new(ArcSwap::from_pointee(zones("192.0.2.9")));
            let engine = Engine::new(zones.clone(), None, Settings { rotation, ..Settings::default() });
            Scene { packets: Packets::new(zones.clone(), 1232), zones, engine, found: 0 }
        }

        /// As a UDP loop does it.
        fn ask(&mut self, octets: &[u8]) -> Vec<u8> {
            let mut response = Vec::new();
            let probe = self.packets.probe(octets, false);
            let found = probe.is_some_and(|probe| self.packets.find(&probe, octets, &mut response));
            self.found += usize::from(found);
            self.engine.answer_kept(&mut self.packets, octets, CLIENT, &mut response);
            response
        }
    }

    fn query(id: u8, name: &str, rtype: Rtype, opt: &[u8]) -> Vec<u8> {
        let mut octets = vec![9, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty())];
        octets.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
        octets.extend_from_slice(&[(rtype.0 >> 8) as u8, rtype.0 as u8, 0, 1]);
        octets.extend_from_slice(opt);
        octets
    }

    const OPT: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00";
    const COOKIE: &[u8] = b"\x00\x00\x29\x02\x10\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x08abcdefgh";
    const OPT_512: &[u8] = b"\x00\x00\x29\x02\x00\x00\x00\x00\x00\x00\x00";

    #[test]
    fn what_is_kept_is_what_would_be_made() {
        let mut scene = Scene::new(Rotation::Fixed);
        let fixed = Settings { rotation: Rotation::Fixed, ..Settings::default() };
        let fresh = Engine::new(scene.zones.clone(), None, fixed);
        let mut asked = 0;
        for id in 0..3 {
            for name in ["mail.alpha.test", "MAIL.alpha.test", "none.alpha.test", "beta.test", "alpha.test"] {
                for rtype in [Rtype::A, Rtype::AAAA, Rtype::MX] {
                    for opt in [&[][..], OPT, OPT_512, COOKIE] {
                        let octets = query(id, name, rtype, opt);
                        let mut expected = Vec::new();
                        fresh.answer(&octets, CLIENT, Transport::Udp, &mut expected);
                        let mut answer = scene.ask(&octets);
                        if opt == COOKIE {
                            // The servers' own parts have secrets of their own.
                            let length = answer.len().min(expected.len());
                            assert_eq!((answer.len(), length - 16), (expected.len(), expected.len() - 16));
                            answer.truncate(length - 16);
                            expected.truncate(length - 16);
                        }
                        assert_eq!(answer, expected, "{name} {rtype} {opt:?}");
                        asked += 1;
                    }
                }
            }
        }
        assert!(scene.found > asked / 2, "{} of {asked} were found", scene.found);
    }

    #[test]
    fn names_in_the_data_keep_their_case() {
        let mut scene = Scene::new(Rotation::Fixed);
        // "Mail.Alpha.test" in the data may point to the question only if that is written so.
        for (id, name) in ["Alpha.test", "ALPHA.TEST", "Alpha.test", "alpha.test"].iter().enumerate() {
            let answer = scene.ask(&query(id as u8, name, Rtype::MX, &[]));
            let message = hickory_proto::op::Message::from_vec(&answer).unwrap();
            assert_eq!(message.answers[0].data.to_string(), "10 Mail.Alpha.test.", "{name}");
        }
    }

    #[test]
    fn a_set_goes_round_in_what_is_kept_too() {
        let mut scene = Scene::new(Rotation::Cyclic);
        let mut first = Vec::new();
        for id in 0..9 {
            let answer = scene.ask(&query(id, "three.alpha.test", Rtype::A, &[]));
            let message = hickory_proto::op::Message::from_vec(&answer).unwrap();
            first.push(message.answers[0].data.to_string());
        }
        assert_eq!(scene.found, 6);
        for three in first.chunks(3) {
            let mut three = three.to_vec();
            three.sort();
            assert_eq!(three, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "{first:?}");
        }
        let mut by_chance = Scene::new(Rotation::Random);
        for id in 0..4 {
            by_chance.ask(&query(id, "three.alpha.test", Rtype::A, &[]));
        }
        assert_eq!(by_chance.found, 0);
    }

    #[test]
    fn a_change_of_the_zones_is_seen_at_once() {
        let mut scene = Scene::new(Rotation::Fixed);
        let address = |scene: &mut Scene| {
            let answer = scene.ask(&query(1, "mail.alpha.test", Rtype::A, OPT));
            hickory_proto::op::Message::from_vec(&answer).unwrap().answers[0].data.to_string()
        };
        assert_eq!([address(&mut scene), address(&mut scene)], ["192.0.2.9", "192.0.2.9"]);
        assert_eq!(scene.found, 1);
        scene.zones.store(Arc::new(zones("192.0.2.10")));
        assert_eq!([address(&mut scene), address(&mut scene)], ["192.0.2.10", "192.0.2.10"]);
    }

    #[test]
    fn answers_of_the_resolver_age_and_end() {
        let mut packets = Packets::new(Arc::new(ArcSwap::from_pointee(zones("192.0.2.9"))), 1232);
        let octets = query(1, "mail.alpha.test", Rtype::A, &[]);
        let probe = packets.probe(&octets, true).unwrap();
        let answer =
            [&octets[..], b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x09"].concat();
        let mut places = [0; TTL_PLACES_MAX];
        places[0] = octets.len() as u16 + 6;
        let lifetime = Some(Lifetime { seconds: 30, places });
        packets.set_now(1000, 0);
        packets.keep(&probe, &answer, Keep { orders: 1, case_bound: false, negative: false, lifetime });
        let mut found = Vec::new();
        for (now, ttl) in [(1000, Some(60)), (1029, Some(31)), (1030, None), (1001, None)] {
            packets.set_now(now, 0);
            let seen = packets.find(&probe, &octets, &mut found);
            assert_eq!(seen.then(|| found[octets.len() + 9]), ttl, "at {now}");
        }
        packets.keep(&probe, &answer, Keep { orders: 1, case_bound: false, negative: false, lifetime });
        packets.set_now(1002, 1);
        assert!(!packets.find(&probe, &octets, &mut found), "the cache was flushed");
    }

    #[test]
    fn a_flood_of_missing_names_pushes_out_nothing_that_exists() {
        let mut scene = Scene::new(Rotation::Fixed);
        scene.ask(&query(1, "mail.alpha.test", Rtype::A, &[]));
        for i in 0..4 * NEGATIVE_SLOTS {
            scene.ask(&query(1, &format!("x{i}.alpha.test"), Rtype::A, &[]));
        }
        let before = scene.found;
        scene.ask(&query(2, "mail.alpha.test", Rtype::A, &[]));
        assert_eq!(scene.found, before + 1);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_looked_at_in_full() {
        let packets = Scene::new(Rotation::Fixed).packets;
        let plain = query(1, "alpha.test", Rtype::A, &[]);
        assert!(packets.probe(&plain, false).is_some());
        let with = |at: usize, octet: u8| {
            let mut octets = plain.clone();
            octets[at] = octet;
            octets
        };
        let nsid = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x04\x00\x03\x00\x00";
        let version = b"\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00";
        for odd in [
            with(2, 0x80),
            with(2, 0x28),
            with(3, 0x40),
            with(5, 2),
            with(7, 1),
            with(11, 1),
            with(12, 0xc0),
            [&plain[..], b"x"].concat(),
            plain[..plain.len() - 1].to_vec(),
            query(1, "alpha.test", Rtype::A, nsid),
            query(1, "alpha.test", Rtype::A, version),
        ] {
            assert!(packets.probe(&odd, false).is_none(), "{}", odd.escape_ascii());
        }
    }
}
