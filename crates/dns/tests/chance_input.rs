//! Readers of what strangers and operators write, with input by chance: they say no, and never stop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use hickory_proto::op::Message;
use postroad_dns::front::{Engine, Outcome, Settings, Transport};
use postroad_dns::resolve::Delegation;
use postroad_dns::transfer::Outgoing;
use postroad_dns::transfer::incoming::{Brought, Incoming};
use postroad_dns::tsig::{Algorithm, Checked, Key, Keys, Signer};
use postroad_dns::wire::{
    Name, OPCODE_QUERY, Request, Rtype, Writer, display_rdata, question_only, validate_rdata,
};
use postroad_dns::zone::{Zone, Zones, zone_from_records, zone_from_text, zone_with_changes};
use proptest::prelude::*;

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\n* TXT \"any\"\nc NS ns.c\nns.c A 192.0.2.1\n\
                    a CNAME b\nb CNAME a\nd DNAME c.test.\n";

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let zone = Arc::new(zone_from_text(&"test".parse().unwrap(), ZONE).unwrap());
    Engine::new(Arc::new(ArcSwap::from_pointee(Zones::new([zone]))), None, Settings::default())
});

/// A query that is nearly right.
fn nearly_a_query() -> impl Strategy<Value = Vec<u8>> {
    let label = prop_oneof![
        "[a-d]".prop_map(String::into_bytes),
        Just(b"test".to_vec()),
        proptest::collection::vec(any::<u8>(), 1..64),
    ];
    let tail = proptest::collection::vec(any::<u8>(), 0..30);
    (any::<[u8; 4]>(), proptest::collection::vec(label, 0..6), any::<u16>(), tail, any::<bool>()).prop_map(
        |(start, labels, rtype, tail, edns)| {
            let mut octets =
                vec![start[0], start[1], start[2] & 0x01, start[3] & 0x10, 0, 1, 0, 0, 0, 0, 0, edns.into()];
            for label in labels {
                octets.push(label.len() as u8);
                octets.extend(label);
            }
            let [high, low] = (rtype % 300).to_be_bytes();
            octets.extend([0, high, low, 0, 1]);
            if edns {
                octets.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, tail.len() as u8]);
                octets.extend(tail);
            }
            octets
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_parses_and_fits(octets in prop_oneof![proptest::collection::vec(any::<u8>(), 0..80), nearly_a_query()]) {
        let mut buffer = Vec::new();
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        let outcome = ENGINE.answer(&octets, client, Transport::Udp, &mut buffer);
        if matches!(outcome, Outcome::Reply(_)) {
            prop_assert!(buffer.len() <= 1232);
            prop_assert_eq!(&buffer[..2], &octets[..2]);
            let message = Message::from_vec(&buffer);
            prop_assert!(message.is_ok(), "{:?}: {}", message, buffer.escape_ascii());
        }
    }

    #[test]
    fn zone_files_by_chance(text in "([$@a-c.*\\\\0-9\"();\t \n]|IN|A|NS|SOA|MX|TXT|\\$TTL|\\$ORIGIN|\\$GENERATE 1-3/2 |\\$\\{0,3,n\\}|TYPE7|NSEC|LOC|HTTPS|port=1){0,60}") {
        let origin: Name = "test".parse().unwrap();
        if let Ok(zone) = zone_from_text(&origin, &text) {
            prop_assert!(zone.records() >= 2);
        }
        if let Ok(root) = Delegation::root_from_hints(text.as_bytes(), Path::new("hints")) {
            prop_assert!(!root.servers.is_empty());
        }
    }

    #[test]
    fn data_of_any_type_is_shown_and_read_back(rtype in prop_oneof![1u16..41, 42u16..128, 256u16..300], rdata in proptest::collection::vec(any::<u8>(), 1..40)) {
        let rtype = Rtype(rtype);
        let shown = display_rdata(rtype, &rdata);
        // What is shown as itself, and not in the generic form, is valid and reads back to the same octets.
        if !shown.starts_with("\\#") {
            prop_assert!(validate_rdata(rtype, &rdata));
            let text = format!("$TTL 1\n@ SOA ns h 1 1 1 1 1\n@ NS ns.\nx {rtype} {shown}\n");
            let zone = zone_from_text(&"test".parse().unwrap(), &text);
            if matches!(rtype, Rtype::SOA) {
                return Ok(());
            }
            let zone = zone.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            let node = zone.glue(&"x.test".parse::<Name>().unwrap().key()).unwrap();
            prop_assert_eq!(node.rrset(rtype).unwrap().first(), &rdata[..]);
        }
    }

    #[test]
    fn transfers_by_chance_bring_a_zone_or_nothing(changes in proptest::collection::vec((12usize..400, any::<u8>()), 0..8), ixfr in any::<bool>()) {
        let mut message = transfer(ixfr);
        for (at, octet) in changes {
            let at = at % message.len();
            message[at] = octet;
        }
        let origin: Name = "test".parse().unwrap();
        let mut incoming = Incoming::new(7, origin.clone(), ixfr.then_some(1));
        match incoming.message(&message) {
            Ok(Some(Brought::Whole(records))) => {
                let _ = zone_from_records(&origin, Path::new(""), records, "chance");
            }
            Ok(Some(Brought::Changes(changes))) => {
                let old = zone_from_text(&origin, ZONE).unwrap();
                let _ = zone_with_changes(&old, changes, "chance");
            }
            _ => {}
        }
    }

    #[test]
    fn signatures_by_chance_are_never_right(changes in proptest::collection::vec((2usize..200, 1u8..=255), 1..4)) {
        let origin: Name = "test".parse().unwrap();
        let key = Key::from_base64(&origin, Algorithm::HmacSha256, b"AAECAwQFBgcICQoLDA0ODw==").unwrap();
        let mut request = question_only(7, OPCODE_QUERY, &origin, Rtype::SOA);
        Signer::request(Arc::new(key.clone())).sign(&mut request, 1_000_000);
        let right = request.clone();
        for (at, octet) in changes {
            let at = 2 + at % (request.len() - 2);
            request[at] ^= octet;
        }
        if request != right && let Some(at) = Request::parse(&request).ok().and_then(|request| request.tsig) {
            // Only the case of letters in the names of key and algorithm is not signed.
            let checked = Keys::new([key]).check(&request, at, 1_000_000);
            prop_assert!(!matches!(checked, Checked::Right(_)) || request.eq_ignore_ascii_case(&right));
        }
    }
}

/// A transfer that is right, in one message.
fn transfer(ixfr: bool) -> Vec<u8> {
    let origin: Name = "test".parse().unwrap();
    let version =
        |serial: &str| zone_from_text(&origin, &ZONE.replace("h 1 ", &format!("h {serial} "))).unwrap();
    let question = question_only(7, OPCODE_QUERY, &origin, if ixfr { Rtype::IXFR } else { Rtype::AXFR });
    let request = Request::parse(&question).unwrap();
    let mut buffer = Vec::new();
    let mut writer = Writer::new(&mut buffer, &request, 16_384);
    let (old, new) = (version("1"), Arc::new(version("2")));
    if ixfr {
        let put = |writer: &mut Writer<'_>, zone: &Zone| {
            let soa = zone.soa().unwrap();
            assert!(writer.transferred(origin.as_wire(), Rtype::SOA, soa.ttl, soa.first()));
        };
        put(&mut writer, &new);
        put(&mut writer, &old);
        assert!(writer.transferred(
            "ns.test".parse::<Name>().unwrap().as_wire(),
            Rtype::A,
            60,
            &[192, 0, 2, 1]
        ));
        put(&mut writer, &new);
        assert!(writer.transferred(
            "ns.test".parse::<Name>().unwrap().as_wire(),
            Rtype::A,
            60,
            &[192, 0, 2, 2]
        ));
        put(&mut writer, &new);
    } else {
        Outgoing::whole(new).fill(&mut writer);
    }
    writer.finish(&request, 1232);
    buffer
}
