//! Name servers that no resolver should meet, all of them at one address: `liar ADDRESS`; for bench/soak. Prints the zones'
//! NS and DS records and `ready`, and serves until it is ended.
//!
//! fan.       delegates each name to sixty servers below `there.`, whose addresses it does not tell (NXNS)
//! chain.     has an alias for each name, which leads to a long one (CAMP)
//! held.      holds what it is asked, and answers all of it at once every two seconds (DNSBomb)
//! forged.    sends answers with other ids, other names and other letters before the right one
//! pointers.  sends TC, and over TCP names that lead over thousands of pointers
//! options.   sends hundreds of EDNS options with its answers
//! keys.      is signed with sixty keys of one tag, and sixty signatures that are wrong (KeyTrap)
//! hashes.    is signed rightly, with NSEC3 of 150 iterations, and denies everything
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a load generator stops where it fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postroad_dns::dnssec::hashed::hashed_owner;
use postroad_dns::dnssec::{
    Algorithm, Ds, PrivateKey, Rrsig, ds_rdata, key_tag, nsec3_hash, signed_data, type_bitmap,
};
use postroad_dns::wire::{Name, Request, RrSetBuilder, Rtype, display_rdata};

const HELD: Duration = Duration::from_secs(2);
const SALT: &[u8] = &[7];
const ITERATIONS: u16 = 150;
const KEYS: u16 = 60;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// Sections of records in wire form.
#[derive(Default)]
struct Reply {
    code: u8,
    /// AA and TC of the header.
    flags: u8,
    sections: [Vec<Vec<u8>>; 3],
    options: Vec<u8>,
}

const AA: u8 = 4;
const TC: u8 = 2;

fn record(owner: &Name, rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
    let fixed = [&rtype.0.to_be_bytes()[..], &[0, 1, 0, 0, 0, 60], &(rdata.len() as u16).to_be_bytes()];
    [owner.as_wire(), &fixed.concat(), rdata].concat()
}

impl Reply {
    fn octets(&self, request: &Request<'_>, edns: bool) -> Vec<u8> {
        let mut octets = request.id.to_be_bytes().to_vec();
        octets.extend_from_slice(&[0x80 | self.flags, self.code, 0, 1]);
        let counts = self.sections.each_ref().map(|section| section.len() as u16);
        for (count, opt) in counts.iter().zip([0, 0, u16::from(edns)]) {
            octets.extend_from_slice(&(count + opt).to_be_bytes());
        }
        octets.extend_from_slice(request.question.name);
        octets.extend_from_slice(&request.question.rtype.0.to_be_bytes());
        octets.extend_from_slice(&[0, 1]);
        octets.extend(self.sections.concat().concat());
        if edns {
            octets.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0]);
            octets.extend_from_slice(&(self.options.len() as u16).to_be_bytes());
            octets.extend_from_slice(&self.options);
        }
        octets
    }
}

/// A signed zone: its key, and sets with their signatures.
struct Signed {
    zone: Name,
    key: PrivateKey,
    dnskey: Vec<u8>,
}

impl Signed {
    fn new(zone: &str) -> Self {
        let (key, _) = PrivateKey::generate(Algorithm::ECDSAP256).expect("a key");
        let dnskey = [&[1, 1, 3, 13][..], key.public_key()].concat();
        Self { zone: name(zone), key, dnskey }
    }

    fn ds(&self) -> String {
        let rdata = ds_rdata(&self.zone, &self.dnskey, Ds::SHA256).expect("a digest");
        format!("{} DS {}", self.zone, display_rdata(Rtype::DS, &rdata))
    }

    /// The records of a set, and its signature; `wrong` ones before it.
    fn set(&self, owner: &Name, rtype: Rtype, rdatas: &[Vec<u8>], wrong: u16) -> Vec<Vec<u8>> {
        let mut set = RrSetBuilder::new(rtype, 60);
        for rdata in rdatas {
            set.push(rdata);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as u32;
        let rrsig = Rrsig {
            type_covered: rtype,
            algorithm: Algorithm::ECDSAP256,
            labels: owner.label_count() as u8,
            original_ttl: 60,
            expiration: now + 7 * 86_400,
            inception: now - 3600,
            key_tag: key_tag(&self.dnskey),
            signer: self.zone.clone(),
            signature: &[],
        };
        let data = signed_data(&rrsig, owner, &set.build().expect("a set")).expect("data");
        let right = self.key.sign(&data).expect("a signature");
        let signature = |octets: &[u8]| record(owner, Rtype::RRSIG, &[&rrsig.head(), octets].concat());
        let mut records: Vec<Vec<u8>> = rdatas.iter().map(|rdata| record(owner, rtype, rdata)).collect();
        if wrong == 0 {
            records.push(signature(&right));
        }
        records.extend((0..wrong).map(|index| {
            let mut octets = right.clone();
            octets[..2].copy_from_slice(&index.to_be_bytes());
            signature(&octets)
        }));
        records
    }

    fn soa(&self) -> Vec<u8> {
        let server = self.zone.with_label(b"ns").expect("a name");
        let numbers: Vec<u8> =
            [1u32, 3600, 900, 604_800, 60].iter().flat_map(|number| number.to_be_bytes()).collect();
        [server.as_wire(), server.as_wire(), &numbers].concat()
    }
}

/// All zones.
struct Liar {
    keys: Signed,
    hashes: Signed,
}

impl Liar {
    fn reply(&self, request: &Request<'_>) -> Reply {
        let asked = Name::from_wire(request.question.name).expect("a name");
        let (chance, rtype) = (rand::random::<u32>(), request.question.rtype);
        let zone = asked.labels().last().map(<[u8]>::to_ascii_lowercase).unwrap_or_default();
        let mut reply = Reply { flags: AA, ..Reply::default() };
        match &zone[..] {
            b"fan" => {
                reply.flags = 0;
                reply.sections[1] = (0..60)
                    .map(|index| {
                        record(&asked, Rtype::NS, name(&format!("ns{index}.x{chance:x}.a.b.there")).as_wire())
                    })
                    .collect();
            }
            b"chain" => {
                let target = name(&format!("a.b.c.d.e.f.g.h{chance:x}.chain"));
                reply.sections[0] = vec![record(&asked, Rtype::CNAME, target.as_wire())];
            }
            b"pointers" => reply.flags |= TC,
            b"options" => {
                reply.options = [0, 3, 0, 1, 7].repeat(200);
                reply.sections[0] = vec![record(&asked, Rtype::A, &[192, 0, 2, 9])];
            }
            b"keys" => self.keyed(&asked, rtype, &mut reply),
            b"hashes" => self.hashed(&asked, rtype, &mut reply),
            _ if rtype == Rtype::A => reply.sections[0] = vec![record(&asked, Rtype::A, &[192, 0, 2, 9])],
            _ => reply.code = 3,
        }
        reply
    }

    fn keyed(&self, asked: &Name, rtype: Rtype, reply: &mut Reply) {
        let zone = &self.keys;
        if rtype != Rtype::DNSKEY {
            reply.sections[0] = zone.set(asked, Rtype::A, &[vec![192, 0, 2, 9]], KEYS);
            return;
        }
        // Keys with the tag of the right one: two words change against each other.
        let others = (1..=KEYS).map(|index| {
            let mut key = zone.dnskey.clone();
            let word = |at: usize| u16::from_be_bytes([zone.dnskey[at], zone.dnskey[at + 1]]);
            let (more, less) = (word(10).checked_add(index), word(12).checked_sub(index));
            if let (Some(more), Some(less)) = (more, less) {
                key[10..12].copy_from_slice(&more.to_be_bytes());
                key[12..14].copy_from_slice(&less.to_be_bytes());
            }
            key
        });
        let all: Vec<Vec<u8>> = [zone.dnskey.clone()].into_iter().chain(others).collect();
        reply.sections[0] = zone.set(&zone.zone, Rtype::DNSKEY, &all, KEYS);
    }

    fn hashed(&self, asked: &Name, rtype: Rtype, reply: &mut Reply) {
        let zone = &self.hashes;
        if *asked == zone.zone && rtype == Rtype::DNSKEY {
            reply.sections[0] = zone.set(asked, Rtype::DNSKEY, std::slice::from_ref(&zone.dnskey), 0);
            return;
        }
        reply.code = if *asked == zone.zone { 0 } else { 3 };
        // One record is the whole chain: it covers every name but the zone's own.
        let hash = nsec3_hash(&zone.zone, SALT, ITERATIONS);
        let mut rdata = vec![1, 0];
        rdata.extend_from_slice(&ITERATIONS.to_be_bytes());
        rdata.push(SALT.len() as u8);
        rdata.extend_from_slice(SALT);
        rdata.push(hash.len() as u8);
        rdata.extend_from_slice(&hash);
        rdata.extend(type_bitmap([Rtype::NS, Rtype::SOA, Rtype::RRSIG, Rtype::DNSKEY, Rtype::NSEC3PARAM]));
        let owner = hashed_owner(&hash, &zone.zone).expect("a name");
        reply.sections[1] = zone.set(&zone.zone, Rtype::SOA, &[zone.soa()], 0);
        reply.sections[1].extend(zone.set(&owner, Rtype::NSEC3, &[rdata], 0));
    }

    fn over_udp(&self, socket: &UdpSocket) {
        let (mut held, mut since) = (Vec::<(Vec<u8>, SocketAddr)>::new(), Instant::now());
        let mut buffer = [0; 1500];
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        loop {
            if since.elapsed() >= HELD {
                since = Instant::now();
                for (octets, client) in held.drain(..) {
                    let _ = socket.send_to(&octets, client);
                }
            }
            let Ok((octets, client)) = socket.recv_from(&mut buffer) else { continue };
            let Ok(request) = Request::parse(&buffer[..octets]) else { continue };
            let reply = self.reply(&request);
            let mut octets = reply.octets(&request, request.edns.is_some());
            let asked = request.question.name.to_ascii_lowercase();
            if asked.ends_with(b"\x04held\0") {
                held.push((octets, client));
                continue;
            }
            if asked.ends_with(b"\x06forged\0") {
                for wrong in 1..10u16 {
                    let mut forged = octets.clone();
                    forged[..2].copy_from_slice(&(request.id.wrapping_add(wrong)).to_be_bytes());
                    // Other letters, with the right id: one datagram in ten looks like that of who guessed it.
                    if wrong == 9 && rand::random_ratio(1, 10) {
                        forged[..2].copy_from_slice(&request.id.to_be_bytes());
                        forged[13] ^= 0x20;
                    }
                    let _ = socket.send_to(&forged, client);
                }
            }
            // Too long for what the asker takes: it comes back over TCP.
            if octets.len() > 1232 {
                octets =
                    Reply { flags: AA | TC, ..Reply::default() }.octets(&request, request.edns.is_some());
            }
            let _ = socket.send_to(&octets, client);
        }
    }

    fn over_tcp(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                continue;
            }
            let Ok(request) = Request::parse(&query) else { continue };
            let mut octets = self.reply(&request).octets(&request, request.edns.is_some());
            if request.question.name.to_ascii_lowercase().ends_with(b"\x08pointers\0") {
                octets = pointers(&request);
            }
            let framed = [&(octets.len() as u16).to_be_bytes(), octets.as_slice()].concat();
            let _ = stream.write_all(&framed);
        }
    }
}

/// Names that each lead over thousands of pointers.
fn pointers(request: &Request<'_>) -> Vec<u8> {
    let mut octets = Reply { flags: AA, ..Reply::default() }.octets(request, false);
    let data = octets.len() + 12;
    octets.extend_from_slice(b"\xc0\x0c\xff\x00\x00\x01\x00\x00\x00\x05\x3e\x80");
    for index in 0..8000 {
        let before = if index == 0 { 12 } else { data + 2 * (index - 1) };
        octets.extend_from_slice(&(0xc000 | before as u16).to_be_bytes());
    }
    let last = (0xc000 | (data + 2 * 7999) as u16).to_be_bytes();
    let mut records = 1u16;
    while octets.len() < 65_000 {
        octets.extend_from_slice(&last);
        octets.extend_from_slice(b"\x00\x02\x00\x01\x00\x00\x00\x05\x00\x02");
        octets.extend_from_slice(&last);
        records += 1;
    }
    octets[6..8].copy_from_slice(&records.to_be_bytes());
    octets
}

fn main() {
    let address = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let at: SocketAddr = address.expect("usage: liar ADDRESS");
    let liar = Liar { keys: Signed::new("keys"), hashes: Signed::new("hashes") };
    let socket = UdpSocket::bind(at).expect("the address over UDP");
    let listener = TcpListener::bind(at).expect("the address over TCP");
    for zone in ["fan", "chain", "held", "forged", "pointers", "options", "keys", "hashes"] {
        println!("{zone}. NS ns.{zone}.\nns.{zone}. A {}", at.ip());
    }
    println!("{}\n{}\n; ready", liar.keys.ds(), liar.hashes.ds());
    std::io::stdout().flush().expect("somebody reads");
    thread::scope(|scope| {
        scope.spawn(|| liar.over_udp(&socket));
        scope.spawn(|| liar.over_tcp(&listener));
    });
}
