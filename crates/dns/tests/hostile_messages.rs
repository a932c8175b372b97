//! Messages that are made to cost much or to confuse: options again and again, names that point in circles, forwards and
//! on and on, in questions, updates, transfers and the answers of other servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use common::{Stage, ask, data, loopback};
use hickory_proto::op::{Message, ResponseCode};
use postroad_config::Dns as DnsConfig;
use postroad_dns::front::{Engine, Outcome, Settings, Transport};
use postroad_dns::transfer::incoming::Incoming;
use postroad_dns::wire::{Name, Reader};
use postroad_dns::zone::{Zones, zone_from_text};
use postroad_dns::{Dns, DnsError};
use postroad_service::BindError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

const ZONE: &str = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\n";
const NSID: u16 = 3;
const ECS: u16 = 8;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;

fn engine() -> Engine {
    let zone = Arc::new(zone_from_text(&"test".parse().unwrap(), ZONE).unwrap());
    let settings = Settings { nsid: b"one".to_vec(), ..Settings::default() };
    Engine::new(Arc::new(ArcSwap::from_pointee(Zones::new([zone]))), None, settings)
}

/// A question for ns.test A with these options.
fn asked(options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut octets = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    octets.extend_from_slice(b"\x02ns\x04test\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00");
    let options: Vec<u8> = options
        .iter()
        .flat_map(|(code, data)| {
            [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), *data].concat()
        })
        .collect();
    octets.extend_from_slice(&(options.len() as u16).to_be_bytes());
    octets.extend_from_slice(&options);
    octets
}

/// The response code, and the codes of the response's options.
fn answered(engine: &Engine, octets: &[u8], transport: Transport) -> (u8, Vec<u16>) {
    let mut buffer = Vec::new();
    let outcome = engine.answer(octets, IpAddr::from([127, 0, 0, 1]), transport, &mut buffer);
    assert!(matches!(outcome, Outcome::Reply(_)), "{outcome:?}");
    let message = Message::from_vec(&buffer).unwrap();
    let codes = message.edns.map_or(Vec::new(), |edns| {
        edns.options().as_ref().iter().map(|(code, _)| u16::from(*code)).collect()
    });
    (buffer[3] & 0xf, codes)
}

const FORMERR: u8 = 1;

#[test]
fn options_again_and_again_are_answered_once() {
    let engine = engine();
    let once = [
        (NSID, &b""[..]),
        (COOKIE, b"12345678"),
        (PADDING, b"\0\0"),
        (KEEPALIVE, b""),
        (ECS, b"\0\x01\x18\0\xc0\0\x02"),
    ];
    let all: Vec<(u16, &[u8])> = once.iter().copied().cycle().take(200).collect();
    let (code, mut codes) = answered(&engine, &asked(&all), Transport::Tcp);
    codes.sort_unstable();
    assert_eq!((code, codes), (0, vec![NSID, COOKIE, KEEPALIVE]));
    assert_eq!(answered(&engine, &asked(&all), Transport::Udp).1.len(), 2, "no keepalive over UDP");
    // The first cookie counts (RFC 7873 section 5.2); one of a wrong length is malformed.
    let second_is_bad = asked(&[(COOKIE, b"12345678"), (COOKIE, b"1")]);
    assert_eq!(answered(&engine, &second_is_bad, Transport::Udp), (0, vec![COOKIE]));
    for bad in [&b""[..], b"1", b"123456789", &[0; 41]] {
        assert_eq!(answered(&engine, &asked(&[(COOKIE, bad)]), Transport::Udp).0, FORMERR, "{}", bad.len());
    }
    // As many as a message can hold: nothing is answered to unknown ones (RFC 6891 section 6.1.2), and none costs much.
    let unknown = vec![(65_001, &b""[..]); 16_000];
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(answered(&engine, &asked(&unknown), Transport::Tcp), (0, vec![]));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn options_that_are_cut_off_and_second_opt_records_are_malformed() {
    let engine = engine();
    let whole = asked(&[(NSID, b"abcd")]);
    let opt = 12 + 13;
    for (octets, what) in [
        // The option says it is longer, or shorter, than the record.
        ([&whole[..opt + 14], &[9], &whole[opt + 15..]].concat(), "longer"),
        ([&whole[..opt + 14], &[2], &whole[opt + 15..]].concat(), "shorter"),
        // The record says so.
        ([&whole[..opt + 10], &[9], &whole[opt + 11..]].concat(), "record longer"),
        ([&whole[..opt + 10], &[3], &whole[opt + 11..]].concat(), "record shorter"),
        ([&whole[..10], &[0, 2], &whole[12..], &whole[opt..]].concat(), "twice"),
        ([&whole[..opt], &[1, b'x'], &whole[opt..]].concat(), "not of the root"),
        ([&whole[..8], &[0, 1, 0, 0], &whole[12..]].concat(), "in the authority section"),
    ] {
        assert_eq!(answered(&engine, &octets, Transport::Udp).0, FORMERR, "{what}");
    }
    assert_eq!(answered(&engine, &whole, Transport::Udp), (0, vec![NSID]));
}

/// Names that are none: in a circle of one and of two, forwards, out of the message, behind a label of their own.
const CIRCLES: [&[u8]; 6] =
    [b"\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xc0\x40", b"\xff\xff", b"\x01a\xc0\x0c", b"\x01a\xc0\x0e"];

#[test]
fn names_that_point_are_no_questions() {
    // A question is the first name of a message: there is nothing it might point to (RFC 1035 section 4.1.4).
    for opcode in [0, 4, 5] {
        for name in CIRCLES.iter().chain([&&b"\xc0\x00"[..], &&b"\x40\x00"[..], &&b"\x80\x00"[..]]) {
            let mut octets = vec![0, 7, opcode << 3, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            octets.extend_from_slice(name);
            octets.extend_from_slice(b"\x00\x06\x00\x01");
            octets.extend_from_slice(&[0; 64]);
            assert_eq!(
                answered(&engine(), &octets, Transport::Tcp).0,
                FORMERR,
                "{opcode} {}",
                name.escape_ascii()
            );
        }
    }
}

#[test]
fn names_in_transfers_and_updates_that_point_in_circles_are_refused() {
    let question = b"\x04test\x00\x00\x06\x00\x01";
    let at = 12 + question.len();
    let here = |offset: usize| (0xc000 | (at + offset) as u16).to_be_bytes();
    let fixed = b"\x00\x02\x00\x01\x00\x00\x00\x3c";
    let names: Vec<Vec<u8>> = vec![
        here(0).to_vec(),
        [&b"\x01a"[..], &here(0)].concat(),
        here(20).to_vec(),
        b"\xff\xff".to_vec(),
        b"\x80a".to_vec(),
        // Labels that repeat themselves for more than a name may hold.
        [&[63][..], &[b'a'; 63], &here(0)].concat(),
    ];
    for name in names {
        let data = name.len() as u16;
        let in_owner = [&name[..], fixed, &[0, 2, 0xc0, 12]].concat();
        let in_data = [&[0xc0, 12][..], fixed, &data.to_be_bytes(), &name].concat();
        for (record, position) in [(in_owner, 0), (in_data, 12)] {
            // In data the name stands twelve octets further on: only circles that begin there are circles.
            let is_here = position == 0 || !name.ends_with(&here(0));
            let header = [0, 7, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0];
            let message = [&header[..], question, &record].concat();
            let mut reader = Reader::new(&message).unwrap();
            reader.question().unwrap();
            if is_here {
                assert!(reader.record().is_err(), "{} at {position}", name.escape_ascii());
            }
            let mut incoming = Incoming::new(7, "test".parse::<Name>().unwrap(), None);
            assert!(incoming.message(&message).is_err(), "no zone begins so: {}", name.escape_ascii());
        }
    }
}

#[test]
fn a_large_set_of_names_is_compressed_in_time() {
    // Names of a hundred labels that share nothing but their ends.
    let tail = "a.".repeat(90);
    let mut text = ZONE.to_owned();
    for index in 0..400 {
        let name: String = format!("{index:06}").chars().map(|digit| format!("x{digit}.")).collect();
        text.push_str(&format!("many MX 10 {name}{tail}test.\n"));
    }
    let zone = Arc::new(zone_from_text(&"test".parse().unwrap(), &text).unwrap());
    let zones = Arc::new(ArcSwap::from_pointee(Zones::new([zone])));
    let engine = Engine::new(zones, None, Settings::default());
    let mut octets = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    octets.extend_from_slice(b"\x04many\x04test\x00\x00\x0f\x00\x01");
    let began = Instant::now();
    for _ in 0..20 {
        let mut buffer = Vec::new();
        let outcome = engine.answer(&octets, IpAddr::from([127, 0, 0, 1]), Transport::Tcp, &mut buffer);
        assert!(matches!(outcome, Outcome::Reply(_)));
        assert_eq!(Message::from_vec(&buffer).unwrap().answers.len(), 400);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Many names that each lead over thousands of pointers: as much work as a message can be.
fn bomb(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
    let mut message = [&query[..2], &[0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0], &query[12..end]].concat();
    let data = message.len() + 12;
    message.extend_from_slice(b"\xc0\x0c\xff\x00\x00\x01\x00\x00\x00\x05");
    message.extend_from_slice(&16_000u16.to_be_bytes());
    for index in 0..8000 {
        let before = if index == 0 { 12 } else { data + 2 * (index - 1) };
        message.extend_from_slice(&(0xc000 | before as u16).to_be_bytes());
    }
    let last = (0xc000 | (data + 2 * 7999) as u16).to_be_bytes();
    let mut records = 1u16;
    while message.len() < 65_000 {
        message.extend_from_slice(&last);
        message.extend_from_slice(b"\x00\x02\x00\x01\x00\x00\x00\x05\x00\x02");
        message.extend_from_slice(&last);
        records += 1;
    }
    message[6..8].copy_from_slice(&records.to_be_bytes());
    message
}

/// A server that sends strays, says TC over UDP and sends bombs over TCP. What it is asked over UDP is kept.
async fn bomber(at: SocketAddr) -> std::io::Result<Arc<Mutex<Vec<Vec<u8>>>>> {
    let (udp, tcp) = (UdpSocket::bind(at).await?, TcpListener::bind(at).await?);
    let asked = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let kept = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((octets, client)) = udp.recv_from(&mut buffer).await {
            kept.lock().unwrap().push(buffer[..octets].to_vec());
            let mut answer = buffer[..octets].to_vec();
            answer[2] |= 0x82;
            for _ in 0..20 {
                let mut stray = answer.clone();
                stray[0] ^= 1 + rand::random::<u8>() % 255;
                let _ = udp.send_to(&stray, client).await;
            }
            let _ = udp.send_to(&answer, client).await;
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let Ok(length) = stream.read_u16().await else { continue };
            let mut query = vec![0; usize::from(length)];
            if stream.read_exact(&mut query).await.is_ok() {
                let bomb = bomb(&query);
                let framed = [&(bomb.len() as u16).to_be_bytes(), bomb.as_slice()].concat();
                let _ = stream.write_all(&framed).await;
            }
        }
    });
    Ok(asked)
}

async fn scene(stage: &Stage) -> Result<(Dns, Arc<Mutex<Vec<Vec<u8>>>>), DnsError> {
    let root = "$TTL 3600\n@ SOA a.root. h 1 1h 15m 1w 60\n@ NS a.root.\na.root. A 127.0.0.2\n\
                ok A 192.0.2.1\nbomb NS ns.bomb\nns.bomb A 127.0.0.4\n";
    let root = stage.start(&stage.authoritative(loopback(2, 0), vec![stage.zone(".", root)]))?;
    let port = root.addresses[0].port();
    let address = loopback(4, port);
    let bind = |source| DnsError::Bind(BindError { what: "bomber".into(), address, source });
    let asked = bomber(address).await.map_err(bind)?;
    let hints = stage.file("hints", "$TTL 1\n. NS a.root.\na.root. A 127.0.0.2\n");
    let mut config = DnsConfig { listen: vec![loopback(7, 0)], ..DnsConfig::default() };
    config.recursion.root_hints = Some(hints);
    config.recursion.upstream_port = port;
    Ok((stage.start(&config)?, asked))
}

#[tokio::test]
async fn a_server_that_sends_bombs_is_left_without_much_work() {
    for _ in 0..20 {
        let stage = Stage::new();
        let (resolver, asked) = match scene(&stage).await {
            Ok(scene) => scene,
            // Another program has that port on one of the addresses.
            Err(DnsError::Bind(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        let address = resolver.addresses[0];
        assert_eq!(data(&ask(address, "ok.", "A").await), ["192.0.2.1"]);
        let began = Instant::now();
        for name in ["a.bomb.", "b.bomb.", "c.bomb.", "d.bomb."] {
            let answer = ask(address, name, "A").await;
            assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        // Answers that nobody waited for take nothing out of the cache: who guesses learns nothing from it.
        let kept = resolver.resolver.as_ref().unwrap().cached(&"ok".parse().unwrap(), "A".parse().unwrap());
        assert!(kept.is_some());
        // Nothing of the clients goes on to other servers: no option at all, and no more than fits unfragmented.
        for query in asked.lock().unwrap().iter() {
            let opt = query.len() - 11;
            assert_eq!(query[opt..opt + 5], [0, 0, 41, 0x04, 0xd0], "{}", query.escape_ascii());
            assert_eq!(query[opt + 9..], [0, 0], "{}", query.escape_ascii());
        }
        assert!(!asked.lock().unwrap().is_empty());
        return;
    }
    panic!("no port is free on all addresses");
}
