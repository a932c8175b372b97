//! What no client should send, on and on: `hostile ADDRESS SECONDS [SEED]`; for bench/soak.
//!
//! Datagrams that began as questions and were damaged, cut, lengthened or made of chance alone; questions for names of
//! servers that lie (the example `liar`); updates of soak.test without a key and with a wrong one. TCP connections that say
//! nothing, half a message, or lengths that never come, that ask on and on, or for whole zones, and do not read. Sends 2000
//! datagrams and 20 connections a second, holds up to 200 connections, reads nothing but what it must.
#![allow(clippy::expect_used, reason = "a load generator stops where it fails")]

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

const DATAGRAMS_A_TICK: usize = 20;
const TICK: Duration = Duration::from_millis(10);
const CONNECTIONS_HELD: usize = 200;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next();
    let usage = "usage: hostile ADDRESS SECONDS [SEED]";
    let at: SocketAddr = next().and_then(|text| text.parse().ok()).expect(usage);
    let seconds = next().and_then(|text| text.parse().ok()).expect(usage);
    let seed: u64 = next().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut connections = VecDeque::new();
    let (mut datagrams, mut opened, mut tick) = (0u64, 0u64, 0u64);
    while Instant::now() < end {
        let begin = Instant::now();
        // A socket of its own for each tick: what is answered goes nowhere.
        let socket = UdpSocket::bind((at.ip(), 0)).expect("a socket");
        for _ in 0..DATAGRAMS_A_TICK {
            let _ = socket.send_to(&datagram(&mut chance), at);
            datagrams += 1;
        }
        if tick.is_multiple_of(5) {
            if let Ok(mut stream) = TcpStream::connect_timeout(&at, Duration::from_millis(100)) {
                let _ = stream.set_write_timeout(Some(Duration::from_millis(10)));
                let _ = stream.write_all(&started(&mut chance));
                connections.push_back(stream);
                opened += 1;
            }
            while connections.len() > CONNECTIONS_HELD {
                connections.pop_front();
            }
        }
        tick += 1;
        thread::sleep(TICK.saturating_sub(begin.elapsed()));
    }
    println!("{datagrams} datagrams, {opened} connections");
}

/// A message that is a question more or less.
fn datagram(chance: &mut StdRng) -> Vec<u8> {
    let mut octets = question(chance);
    match chance.random_range(0..12) {
        10 => return of_a_liar(chance),
        11 => return update(chance),
        // As it is: some of what is hostile is well formed.
        0 | 1 => {}
        2 => {
            octets.truncate(chance.random_range(0..octets.len()));
        }
        3 => {
            let more = chance.random_range(1..600);
            octets.extend((0..more).map(|_| chance.random::<u8>()));
        }
        4 => {
            octets = vec![0; chance.random_range(0..1400)];
            chance.fill_bytes(&mut octets);
        }
        // Counts that promise more than there is.
        5 => {
            let at = chance.random_range(4..12);
            octets[at] = chance.random();
        }
        // Names that point, forwards, backwards and at themselves.
        6 => {
            let at = chance.random_range(12..octets.len());
            octets[at] = 0xc0 | chance.random_range(0..2u8);
        }
        _ => {
            for _ in 0..chance.random_range(1..6) {
                let at = chance.random_range(0..octets.len());
                octets[at] = chance.random();
            }
        }
    }
    octets
}

/// A question for a new name of a zone whose server lies.
fn of_a_liar(chance: &mut StdRng) -> Vec<u8> {
    let zones = ["fan", "chain", "held", "forged", "pointers", "options", "keys", "hashes"];
    let zone = zones[chance.random_range(0..zones.len())];
    let mut octets = chance.random::<[u8; 2]>().to_vec();
    octets.extend_from_slice(&[1, 0x20, 0, 1, 0, 0, 0, 0, 0, 0]);
    // Names of many labels cost most to hash.
    for _ in 0..if chance.random_ratio(1, 2) { 1 } else { 80 } {
        octets.extend_from_slice(&[2, chance.random_range(b'a'..=b'z'), chance.random_range(b'a'..=b'z')]);
    }
    octets.push(zone.len() as u8);
    octets.extend_from_slice(zone.as_bytes());
    octets.extend_from_slice(&[0, 0, 1, 0, 1]);
    octets
}

/// An update that would add `evil.soak.test`, not signed, or with a key that is known and a signature that is wrong.
fn update(chance: &mut StdRng) -> Vec<u8> {
    let mut octets = chance.random::<[u8; 2]>().to_vec();
    let signed = chance.random_ratio(1, 2);
    octets.extend_from_slice(&[0x28, 0, 0, 1, 0, 0, 0, 1, 0, u8::from(signed)]);
    octets.extend_from_slice(b"\x04soak\x04test\x00\x00\x06\x00\x01");
    octets.extend_from_slice(b"\x04evil\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x42");
    if signed {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let algorithm = b"\x0bhmac-sha256\x00";
        let mac: [u8; 32] = chance.random();
        octets.extend_from_slice(b"\x04soak\x00\x00\xfa\x00\xff\x00\x00\x00\x00");
        octets.extend_from_slice(&(algorithm.len() as u16 + 10 + 32 + 6).to_be_bytes());
        octets.extend_from_slice(algorithm);
        octets.extend_from_slice(&now.to_be_bytes()[2..]);
        octets.extend_from_slice(&[1, 44, 0, 32]);
        octets.extend_from_slice(&mac);
        let id = [octets[0], octets[1]];
        octets.extend_from_slice(&id);
        octets.extend_from_slice(&[0, 0, 0, 0]);
    }
    octets
}

/// A question for a whole zone: one that everybody may have, or one that nobody may.
fn transfer(chance: &mut StdRng) -> Vec<u8> {
    let zone: &[u8] =
        if chance.random_ratio(1, 2) { b"\x04soak\x04test\x00" } else { b"\x06closed\x04test\x00" };
    let head = [chance.random(), chance.random(), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&head[..], zone, &[0, 252, 0, 1]].concat()
}

/// A question with chance flags, name, type and options.
fn question(chance: &mut StdRng) -> Vec<u8> {
    let mut octets = chance.random::<[u8; 2]>().to_vec();
    let opcode = if chance.random_ratio(4, 5) { 0 } else { chance.random_range(0..16u8) };
    octets.extend_from_slice(&[opcode << 3 | chance.random_range(0..2u8), chance.random_range(0..64)]);
    let edns = chance.random_ratio(1, 2);
    octets.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
    for _ in 0..chance.random_range(0..5) {
        let length = chance.random_range(1..20u8);
        octets.push(length);
        octets.extend((0..length).map(|_| chance.random_range(b'a'..=b'z')));
    }
    octets.extend_from_slice(b"\x04soak\x04test\x00");
    let rtype = if chance.random_ratio(1, 2) { 1 } else { chance.random_range(0..300u16) };
    octets.extend_from_slice(&rtype.to_be_bytes());
    octets.extend_from_slice(&[0, if chance.random_ratio(9, 10) { 1 } else { chance.random() }]);
    if edns {
        octets.extend_from_slice(&[0, 0, 41, 16, 0, 0, chance.random_range(0..2), chance.random(), 0]);
        let options = chance.random_range(0..40u16);
        octets.extend_from_slice(&options.to_be_bytes());
        octets.extend((0..options).map(|_| chance.random_range(0..16u8)));
    }
    octets
}

/// The beginning of something over TCP.
fn started(chance: &mut StdRng) -> Vec<u8> {
    let message = if chance.random_ratio(1, 4) { transfer(chance) } else { datagram(chance) };
    let mut octets = (message.len() as u16).to_be_bytes().to_vec();
    octets.extend_from_slice(&message);
    match chance.random_range(0..4) {
        0 => Vec::new(),
        1 => octets[..octets.len() / 2].to_vec(),
        2 => [0xff, 0xff, 0].to_vec(),
        // Many questions and no reader.
        _ => octets.repeat(20),
    }
}
