//! The memory as a UDP loop uses it, beside an engine without one.

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
        Scene { packets: Packets::new(zones.clone(), Some(1232)), zones, engine, found: 0 }
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
    assert!(scene.found >= asked / 3 - 2, "{} of {asked} were found", scene.found);
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
    for id in 0..10 {
        let answer = scene.ask(&query(id, "three.alpha.test", Rtype::A, &[]));
        let message = hickory_proto::op::Message::from_vec(&answer).unwrap();
        first.push(message.answers[0].data.to_string());
    }
    assert_eq!(scene.found, 6);
    for three in first[1..].chunks(3) {
        let mut three = three.to_vec();
        three.sort();
        assert_eq!(three, ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "{first:?}");
    }
    let mut by_chance = Scene::new(Rotation::Random);
    for id in 0..5 {
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
    address(&mut scene);
    assert_eq!([address(&mut scene), address(&mut scene)], ["192.0.2.9", "192.0.2.9"]);
    assert_eq!(scene.found, 1);
    scene.zones.store(Arc::new(zones("192.0.2.10")));
    assert_eq!([address(&mut scene), address(&mut scene)], ["192.0.2.10", "192.0.2.10"]);
}

#[test]
fn answers_of_the_resolver_age_and_end() {
    let mut packets = Packets::new(Arc::new(ArcSwap::from_pointee(zones("192.0.2.9"))), Some(1232));
    let octets = query(1, "mail.alpha.test", Rtype::A, &[]);
    let probe = packets.probe(&octets, true).unwrap();
    let answer = [&octets[..], b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x09"].concat();
    let mut places = [0; TTL_PLACES_MAX];
    places[0] = octets.len() as u16 + 6;
    let lifetime = Some(Lifetime { seconds: 30, places });
    packets.set_now(1000, 0);
    packets.keep(&probe, &answer, Keep { orders: 1, case_bound: false, negative: false, lifetime });
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
    for _ in 0..2 {
        scene.ask(&query(1, "mail.alpha.test", Rtype::A, &[]));
    }
    for i in 0..4 * NEGATIVE_SLOTS {
        for _ in 0..2 {
            scene.ask(&query(1, &format!("x{i}.alpha.test"), Rtype::A, &[]));
        }
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

#[test]
fn what_comes_over_connections_is_kept_too_whatever_its_length() {
    let long = |last: u8| {
        let hosts: String = (0..60).map(|host| format!("many A 192.0.{host}.{last}\n")).collect();
        let text = format!("$TTL 60\n@ SOA ns h 1 1 1 1 60\n@ NS ns\nns A 192.0.2.1\n{hosts}");
        Zones::new([Arc::new(zone_from_text(&"alpha.test".parse().unwrap(), &text).unwrap())])
    };
    let zones = Arc::new(ArcSwap::from_pointee(long(1)));
    let settings = || Settings { rotation: Rotation::Fixed, ..Settings::default() };
    let (engine, fresh) =
        (Engine::new(zones.clone(), None, settings()), Engine::new(zones.clone(), None, settings()));
    let ask = |engine: &Engine, octets: &[u8], transport| {
        let mut response = Vec::new();
        engine.answer(octets, CLIENT, transport, &mut response);
        response
    };
    for round in 1..4 {
        zones.store(Arc::new(long(round)));
        for transport in [Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic] {
            let kept = engine.counters.kept.total();
            for id in 0..4 {
                for (name, opt) in [("many.alpha.test", OPT_512), ("Many.alpha.test", &[]), ("no.test", OPT)]
                {
                    let octets = query(id, name, Rtype::A, opt);
                    let expected = ask(&fresh, &octets, Transport::Whole);
                    assert_eq!(ask(&engine, &octets, transport), expected, "{transport:?} {name}");
                    assert!(name == "no.test" || expected[2] & 2 == 0 && expected.len() > 900);
                }
            }
            assert!(engine.counters.kept.total() >= kept + 4, "{transport:?}, round {round}");
        }
    }
    let octets = query(1, "many.alpha.test", Rtype::A, OPT_512);
    assert_eq!(ask(&engine, &octets, Transport::Udp)[2] & 2, 2, "over UDP it is truncated");
    assert_eq!(fresh.counters.kept.total(), 0);
}
