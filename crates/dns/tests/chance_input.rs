//! Readers of what strangers and operators write, with input by chance: they say no, and never stop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use hickory_proto::op::Message;
use postroad_dns::front::{Engine, Outcome, Settings, Transport};
use postroad_dns::resolve::Delegation;
use postroad_dns::wire::{Name, Rtype, display_rdata, validate_rdata};
use postroad_dns::zone::{Zones, zone_from_text};
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
}
