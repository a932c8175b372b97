//! What anybody may send to port 53, over every transport: the server never panics, a response belongs to its request,
//! fits, and can be read; and one that is kept is the one that would be made.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use postroad_dns::front::{Engine, Outcome, Settings, Transport};
use postroad_dns::serve::Rotation;
use postroad_dns::wire::{Reader, Request, lifetime, pad_query};
use postroad_dns::zone::{Zones, zone_from_text};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const UDP_OCTETS: u16 = 1232;
const ZONE: &str = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\n@ MX 1 Mail\nns A 192.0.2.1\nmail A 192.0.2.2\n* TXT \"any\"\n\
                    c NS ns.c\nns.c A 192.0.2.1\na CNAME b\nb CNAME a\nd DNAME test.\ne HTTPS 1 . alpn=h2\nf.g.h A 192.0.2.3\n\
                    s SRV 0 0 1 ns\n@ RRSIG SOA 13 1 60 20380101000000 20200101000000 1 test. AAAA\n@ NSEC a SOA NS RRSIG NSEC\n";

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let zone = zone_from_text(&"test".parse().unwrap(), ZONE).unwrap();
    let zones = Arc::new(ArcSwap::from_pointee(Zones::new([Arc::new(zone)])));
    Engine::new(zones, None, Settings { rotation: Rotation::Fixed, ..Settings::default() })
});

fn read_whole(response: &[u8]) {
    let mut reader = Reader::new(response).expect("a header");
    let counts = reader.header().counts;
    for _ in 0..counts[0] {
        reader.question().expect("a question");
    }
    for _ in 0..counts[1..].iter().map(|count| u32::from(*count)).sum() {
        reader.record().expect("a record");
    }
    assert!(reader.is_at_end(), "more octets than records");
}

fuzz_target!(|input: &[u8]| {
    if let Ok(mut reader) = Reader::new(input) {
        let _ = reader.question();
        while reader.record().is_ok() {}
    }
    let _ = lifetime(input);
    let mut padded = input.to_vec();
    pad_query(&mut padded, 128);
    assert_eq!(Request::parse(&padded).is_ok(), Request::parse(input).is_ok(), "padding spoiled it");
    let mut response = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic] {
        if let Outcome::Reply(_) = ENGINE.answer(input, CLIENT, transport, &mut response) {
            assert_eq!(response[..2], input[..2]);
            assert!(transport != Transport::Udp || response.len() <= usize::from(UDP_OCTETS));
            read_whole(&response);
            Message::from_vec(&response).expect("an answer that others can read");
        }
    }
    let mut packets = ENGINE.packets();
    // A server's cookie is of the second it was made in.
    let has_cookie = input.windows(2).any(|pair| pair == [0, 10]);
    if let Outcome::Reply(_) = ENGINE.answer(input, CLIENT, Transport::Udp, &mut response) {
        let fresh = response.clone();
        for _ in 0..3 {
            ENGINE.answer_kept(&mut packets, input, CLIENT, &mut response);
            assert!(has_cookie || response == fresh, "what is kept is not what is made");
        }
    }
});
