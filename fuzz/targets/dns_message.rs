//! Requests as strangers send them: whatever is answered can be read, has the request's id, and fits.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use postroad_dns::front::{Engine, Outcome, Settings, Transport};
use postroad_dns::zone::{Zones, zone_from_text};

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\n* TXT \"any\"\nc NS ns.c\nns.c A 192.0.2.1\n\
                    a CNAME b\nb CNAME a\nd DNAME c.test.\nm MX 1 ns\ns SRV 0 0 1 ns\nw HTTPS 1 . alpn=h2\n\
                    @ RRSIG SOA 13 1 60 20380101000000 20200101000000 1 test. AAAA\n@ NSEC a SOA NS RRSIG NSEC\n";

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let zone = zone_from_text(&"test".parse().unwrap(), ZONE).unwrap();
    Engine::new(Arc::new(ArcSwap::from_pointee(Zones::new([Arc::new(zone)]))), None, Settings::default())
});

fuzz_target!(|octets: &[u8]| {
    let mut buffer = Vec::new();
    for (transport, most) in [(Transport::Udp, 1232), (Transport::Tcp, 65_535)] {
        let outcome = ENGINE.answer(octets, IpAddr::V4(Ipv4Addr::LOCALHOST), transport, &mut buffer);
        if matches!(outcome, Outcome::Reply(_)) {
            assert!(buffer.len() <= most);
            assert_eq!(&buffer[..2], &octets[..2]);
            Message::from_vec(&buffer).expect("an answer that can be read");
        }
    }
});
