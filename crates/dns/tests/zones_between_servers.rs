//! Zones from server to server, over real sockets: whole, as differences, told of, followed; signed and not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{SOON, Stage, ask, data, exchange, loopback, question, read_framed, send_framed};
use hickory_proto::op::{Message, ResponseCode};
use postroad_config::{Dns as DnsConfig, DnsKey, KeyAlgorithm, Zone};
use postroad_dns::Dns;
use postroad_dns::transfer::incoming::{Brought, IncomingError};
use postroad_dns::transfer::{FetchError, Have, Peer};
use postroad_dns::tsig::{Algorithm, Key, Signer, Verifier, VerifyError};
use postroad_dns::wire::{Name, OPCODE_QUERY, OPCODE_UPDATE, Reader, Record, Rtype, question_only};
use postroad_dns::zone::{zone_from_records, zone_with_changes};
use postroad_service::{Clock, FakeClock};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn apex() -> Name {
    "alpha.test".parse().unwrap()
}

fn text(serial: u32, records: &str) -> String {
    format!(
        "$TTL 60\n@ SOA ns h {serial} 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nf TXT 1\nf TXT 2\n{records}\n"
    )
}

fn key(stage: &Stage, name: &str) -> DnsKey {
    let secret_file = stage.file(&format!("secret-{name}"), SECRET);
    DnsKey { name: name.to_owned(), algorithm: KeyAlgorithm::HmacSha256, secret_file }
}

fn peer(dns: &Dns, key: Option<&str>, secret: &str) -> Peer {
    let key = key.map(|name| {
        Arc::new(Key::from_base64(&name.parse().unwrap(), Algorithm::HmacSha256, secret.as_bytes()).unwrap())
    });
    Peer { address: dns.addresses[0], key, source: None }
}

fn records(brought: Brought) -> Vec<Record> {
    match brought {
        Brought::Whole(records) => records,
        other => panic!("not whole: {other:?}"),
    }
}

/// A primary whose zone may be had by whom `allow` names.
fn primary(stage: &Stage, text: &str, allow: &[&str], notify: &[String]) -> (Dns, PathBuf) {
    let mut zone = stage.zone("alpha.test", text);
    let file = zone.file.clone().unwrap();
    zone.transfer_to = allow.iter().map(|rule| rule.parse().unwrap()).collect();
    zone.notify = notify.iter().map(|peer| peer.parse().unwrap()).collect();
    let mut config = stage.authoritative(loopback(1, 0), vec![zone]);
    config.keys = vec![key(stage, "k.test"), key(stage, "other.test")];
    (stage.start(&config).unwrap(), file)
}

/// A port that is free now: the primary must be told of it before its server is there.
fn free(last: u8) -> SocketAddr {
    let tcp = std::net::TcpListener::bind(loopback(last, 0)).unwrap();
    tcp.local_addr().unwrap()
}

fn secondary(stage: &Stage, listen: SocketAddr, primaries: &[String], file: Option<&Path>) -> DnsConfig {
    let zone = Zone {
        origin: "alpha.test".to_owned(),
        file: file.map(Path::to_owned),
        primaries: primaries.iter().map(|peer| peer.parse().unwrap()).collect(),
        ..Zone::default()
    };
    let mut config = stage.authoritative(listen, vec![zone]);
    config.keys = vec![key(stage, "k.test")];
    config
}

/// Waits until the server answers for the zone with this serial, or with SERVFAIL.
async fn await_serial(dns: &Dns, serial: Option<u32>) {
    let wait = async {
        loop {
            let zone = dns.hosted.zones().load().get(&apex()).cloned().unwrap();
            if zone.is_available().then(|| zone.serial()) == serial {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("never {serial:?}"));
}

async fn await_sleepers(clock: &FakeClock, least: usize) {
    let wait = async {
        while clock.sleepers() < least {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.unwrap();
}

#[tokio::test]
async fn a_large_zone_goes_in_many_messages_and_a_reload_meanwhile_does_no_harm() {
    let stage = Stage::new();
    let many: String = (0..20_000).map(|n| format!("host-{n} A 10.0.{}.{}\n", n / 256, n % 256)).collect();
    let (dns, file) = primary(&stage, &text(1, &many), &["127.0.0.1"], &[]);
    let mut stream = TcpStream::connect(dns.addresses[0]).await.unwrap();
    send_framed(&mut stream, &question("alpha.test.", "AXFR", false).to_vec().unwrap()).await;
    let mut messages = vec![read_framed(&mut stream).await];
    std::fs::write(&file, text(2, "")).unwrap();
    dns.hosted.reload(None).unwrap();
    let mut answers = Vec::new();
    loop {
        let message = Message::from_vec(messages.last().unwrap()).unwrap();
        answers.extend(message.answers);
        if answers.len() > 1 && answers.first() == answers.last() {
            break;
        }
        messages.push(read_framed(&mut stream).await);
    }
    assert_eq!(answers.len(), 20_005 + 1);
    assert!(messages.len() > 20 && messages.iter().all(|message| message.len() <= 16_384));
    // The connection goes on, and the next transfer is of the new version.
    send_framed(&mut stream, &question("alpha.test.", "AXFR", true).to_vec().unwrap()).await;
    let message = Message::from_vec(&read_framed(&mut stream).await).unwrap();
    assert_eq!(message.answers.len(), 6);
}

#[tokio::test]
async fn only_those_who_may_have_a_zone_get_it() {
    let stage = Stage::new();
    let (dns, _) = primary(&stage, &text(1, ""), &["127.0.0.9 key:k.test"], &[]);
    let clock = stage.clock.clone();
    let fetch = async |peer: Peer| peer.fetch(&apex(), None, &clock).await;
    let code = |result: Result<Brought, FetchError>| match result {
        Err(FetchError::Incoming(IncomingError::Code(code))) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(fetch(peer(&dns, None, SECRET)).await), 5);
    assert_eq!(code(fetch(peer(&dns, Some("k.test"), SECRET)).await), 5, "the network is wrong");
    let from_nine = |key, secret| Peer { source: Some([127, 0, 0, 9].into()), ..peer(&dns, key, secret) };
    assert_eq!(code(fetch(from_nine(None, SECRET)).await), 5);
    assert_eq!(code(fetch(from_nine(Some("other.test"), SECRET)).await), 5);
    let unknown = fetch(from_nine(Some("none.test"), SECRET)).await;
    assert!(matches!(unknown, Err(FetchError::Signature(VerifyError::KeyUnknown))), "{unknown:?}");
    let wrong = fetch(from_nine(Some("k.test"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).await;
    assert!(matches!(wrong, Err(FetchError::Signature(VerifyError::Refused))), "{wrong:?}");
    let clock_of_another_day = FakeClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
    let late = from_nine(Some("k.test"), SECRET).fetch(&apex(), None, &clock_of_another_day).await;
    assert!(matches!(late, Err(FetchError::Signature(VerifyError::BadTime))), "{late:?}");
    assert_eq!(records(fetch(from_nine(Some("k.test"), SECRET)).await.unwrap()).len(), 5);
    let elsewhere =
        from_nine(Some("k.test"), SECRET).fetch(&"beta.test".parse().unwrap(), None, &clock).await;
    assert_eq!(code(elsewhere), 9);
    // Over UDP there is no AXFR, and nobody learns more by asking.
    let udp = ask(dns.addresses[0], "alpha.test.", "AXFR").await;
    assert_eq!((udp.metadata.response_code, udp.answers.len()), (ResponseCode::Refused, 0));
}

#[tokio::test]
async fn differences_are_sent_to_who_has_an_earlier_version() {
    let stage = Stage::new();
    // Differences are sent where they are no more than the zone.
    let text =
        |serial, records: &str| text(serial, &format!("g TXT 1\ng TXT 2\ng TXT 3\ng TXT 4\n{records}"));
    let (dns, file) = primary(&stage, &text(1, "a A 192.0.2.2"), &["127.0.0.0/8", "key:k.test"], &[]);
    let clock = stage.clock.clone();
    let peer = peer(&dns, Some("k.test"), SECRET);
    let whole = records(peer.fetch(&apex(), None, &clock).await.unwrap());
    let old = zone_from_records(&apex(), Path::new(""), whole, "x").unwrap();
    for (serial, record) in [(2, "a A 192.0.2.3"), (3, "b A 192.0.2.3")] {
        std::fs::write(&file, text(serial, record)).unwrap();
        dns.hosted.reload(None).unwrap();
    }
    let have = |serial| Have { serial, soa: [&[0, 0][..], &u32::to_be_bytes(serial), &[0; 16]].concat() };
    let Ok(Brought::Changes(changes)) = peer.fetch(&apex(), Some(&have(1)), &clock).await else { panic!() };
    assert_eq!(changes.len(), 2);
    let new = zone_with_changes(&old, changes, "x").unwrap();
    assert_eq!((new.serial(), new.records()), (3, 10));
    assert!(matches!(peer.fetch(&apex(), Some(&have(3)), &clock).await, Ok(Brought::UpToDate(3))));
    assert!(matches!(peer.fetch(&apex(), Some(&have(4)), &clock).await, Ok(Brought::UpToDate(3))));
    let unknown = peer.fetch(&apex(), Some(&have(0)), &clock).await.unwrap();
    assert_eq!(records(unknown).len(), 10);

    // Over UDP: the differences if they fit, else the SOA alone.
    let ixfr = |serial: u32| {
        let mut octets = question("alpha.test.", "IXFR", false).to_vec().unwrap();
        octets[9] = 1;
        octets.extend_from_slice(b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\x00\x00");
        octets.extend_from_slice(&serial.to_be_bytes());
        octets.extend_from_slice(&[0; 16]);
        octets
    };
    let here = [127, 0, 0, 1].into();
    let answers = async |octets: Vec<u8>| {
        Message::from_vec(&exchange(here, dns.addresses[0], &octets).await.unwrap()).unwrap().answers.len()
    };
    assert_eq!(answers(ixfr(2)).await, 6);
    assert_eq!(answers(ixfr(0)).await, 1);
    let many: String = (0..40).map(|n| format!("n{n} A 192.0.2.2\n")).collect();
    std::fs::write(&file, text(4, &many)).unwrap();
    dns.hosted.reload(None).unwrap();
    std::fs::write(&file, text(5, &many.replace("192.0.2.2", "192.0.2.3"))).unwrap();
    dns.hosted.reload(None).unwrap();
    assert_eq!(answers(ixfr(4)).await, 1);
}

#[tokio::test]
async fn ordinary_questions_are_answered_signed_when_they_are_signed() {
    let stage = Stage::new();
    let (dns, _) = primary(&stage, &text(1, ""), &[], &[]);
    let key = peer(&dns, Some("k.test"), SECRET).key.unwrap();
    let now = 0;
    for (rtype, name, answers) in [(Rtype::TXT, "f.alpha.test", 2), (Rtype::A, "none.alpha.test", 0)] {
        let mut request = question_only(7, OPCODE_QUERY, &name.parse().unwrap(), rtype);
        let mut signer = Signer::request(Arc::clone(&key));
        signer.sign(&mut request, now);
        let answer = exchange([127, 0, 0, 1].into(), dns.addresses[0], &request).await.unwrap();
        assert_eq!(Verifier::new(signer).check(&answer, now), Ok(()));
        assert_eq!(Reader::new(&answer).unwrap().header().counts[1], answers);
    }
}

#[tokio::test]
async fn a_secondary_follows_its_primary_keeps_a_copy_and_outlives_it() {
    let stage = Stage::new();
    let second = free(2);
    let notify = [format!("{second} key:k.test")];
    let (first, file) = primary(&stage, &text(1, "a A 192.0.2.2"), &["key:k.test"], &notify);
    let copy = stage.folder.path().join("copy");
    let primaries = [format!("{} key:k.test", first.addresses[0])];
    let config = secondary(&stage, second, &primaries, Some(&copy));
    let (dns, drain) = stage.start_part(&config).unwrap();
    await_serial(&dns, Some(1)).await;
    assert_eq!(data(&ask(second, "a.alpha.test.", "A").await), ["192.0.2.2"]);
    // A reload of the primary is told, and only the differences come.
    std::fs::write(&file, text(2, "a A 192.0.2.3")).unwrap();
    first.hosted.reload(None).unwrap();
    await_serial(&dns, Some(2)).await;
    assert_eq!(data(&ask(second, "a.alpha.test.", "A").await), ["192.0.2.3"]);
    let zone = dns.hosted.zones().load().get(&apex()).cloned().unwrap();
    assert_eq!(zone.history().versions(), 1);
    let written = async {
        while !std::fs::read_to_string(&copy).is_ok_and(|text| text.contains("192.0.2.3")) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, written).await.unwrap();
    drain.stop();
    drain.finish().await;

    // Without any primary the copy is served, until it is too old.
    let config = secondary(&stage, free(3), &[free(4).to_string()], Some(&copy));
    let (dns, _drain) = stage.start_part(&config).unwrap();
    assert_eq!(data(&ask(dns.addresses[0], "a.alpha.test.", "A").await), ["192.0.2.3"]);
    await_sleepers(&stage.clock, 1).await;
    stage.clock.advance(Duration::from_secs(86_401));
    await_serial(&dns, None).await;
    let answer = ask(dns.addresses[0], "a.alpha.test.", "A").await;
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::ServFail, 0));
}

#[tokio::test]
async fn a_zone_that_has_not_come_fails_and_a_broken_primary_does_not_matter_beside_a_good_one() {
    let stage = Stage::new();
    // It accepts connections and answers every request with the request.
    let echo = tokio::net::TcpListener::bind(loopback(5, 0)).await.unwrap();
    let broken = echo.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            let request = read_framed(&mut stream).await;
            send_framed(&mut stream, &request).await;
        }
    });
    let config = secondary(&stage, loopback(2, 0), &[broken.to_string()], None);
    let dns = stage.start(&config).unwrap();
    let answer = ask(dns.addresses[0], "a.alpha.test.", "A").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);

    let (good, _) = primary(&stage, &text(7, ""), &["127.0.0.0/8"], &[]);
    let primaries = [broken.to_string(), good.addresses[0].to_string()];
    let dns = stage.start(&secondary(&stage, loopback(2, 0), &primaries, None)).unwrap();
    await_serial(&dns, Some(7)).await;
}

#[tokio::test]
async fn refresh_comes_by_the_clock_where_nobody_tells() {
    let stage = Stage::new();
    let (first, file) = primary(&stage, &text(1, ""), &["127.0.0.0/8"], &[]);
    let config = secondary(&stage, loopback(2, 0), &[first.addresses[0].to_string()], None);
    let dns = stage.start(&config).unwrap();
    await_serial(&dns, Some(1)).await;
    std::fs::write(&file, text(2, "")).unwrap();
    first.hosted.reload(None).unwrap();
    await_sleepers(&stage.clock, 1).await;
    let clock: &dyn Clock = &stage.clock;
    let before = clock.monotonic();
    stage.clock.advance(Duration::from_secs(3599));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(dns.hosted.zones().load().get(&apex()).unwrap().serial(), 1, "{before:?}");
    stage.clock.advance(Duration::from_secs(1));
    await_serial(&dns, Some(2)).await;
}

#[tokio::test]
async fn differences_that_do_not_fit_are_followed_by_the_whole_zone() {
    let stage = Stage::new();
    let (first, file) = primary(&stage, &text(1, "a A 192.0.2.2"), &["127.0.0.0/8"], &[]);
    std::fs::write(&file, text(2, "a A 192.0.2.3")).unwrap();
    first.hosted.reload(None).unwrap();
    // A copy with the right serial and other records.
    let copy = stage.file("copy", &text(1, "a A 192.0.2.9"));
    let config = secondary(&stage, loopback(2, 0), &[first.addresses[0].to_string()], Some(&copy));
    let dns = stage.start(&config).unwrap();
    await_serial(&dns, Some(2)).await;
    assert_eq!(data(&ask(dns.addresses[0], "a.alpha.test.", "A").await), ["192.0.2.3"]);
}

#[tokio::test]
async fn a_copy_that_cannot_be_read_is_had_anew() {
    let stage = Stage::new();
    let (first, _) = primary(&stage, &text(3, ""), &["127.0.0.0/8"], &[]);
    let copy = stage.file("copy", "rubbish");
    let config = secondary(&stage, loopback(2, 0), &[first.addresses[0].to_string()], Some(&copy));
    let dns = stage.start(&config).unwrap();
    await_serial(&dns, Some(3)).await;
}

#[tokio::test]
async fn a_server_that_does_not_hear_at_once_is_told_again_and_holds_up_nobody() {
    let stage = Stage::new();
    let deaf = tokio::net::UdpSocket::bind(loopback(3, 0)).await.unwrap();
    let hears = tokio::net::UdpSocket::bind(loopback(4, 0)).await.unwrap();
    let notify = [&deaf, &hears].map(|socket| socket.local_addr().unwrap().to_string());
    let (first, file) = primary(&stage, &text(1, ""), &[], &notify);
    let mut octets = [0; 512];
    let told = async |socket: &tokio::net::UdpSocket, octets: &mut [u8]| {
        let (length, from) = timeout(SOON, socket.recv_from(octets)).await.unwrap().unwrap();
        let message = Message::from_vec(&octets[..length]).unwrap();
        assert!(message.metadata.authoritative && message.queries[0].name.to_ascii() == "alpha.test.");
        (message.answers[0].data.to_string().split(' ').nth(2).unwrap().to_owned(), from)
    };
    // At the start, which may bring a version that nobody knows yet.
    assert_eq!(told(&deaf, &mut octets).await.0, "1");
    assert_eq!(told(&hears, &mut octets).await.0, "1");
    std::fs::write(&file, text(2, "")).unwrap();
    first.hosted.reload(None).unwrap();
    // The newest version at once, though the first is not answered; and again, until it is.
    assert_eq!(told(&hears, &mut octets).await.0, "2");
    assert_eq!(told(&deaf, &mut octets).await.0, "2");
    let (serial, from) = told(&deaf, &mut octets).await;
    assert_eq!(serial, "2");
    octets[2] |= 0x80;
    deaf.send_to(&octets[..12], from).await.unwrap();
    let silence = timeout(Duration::from_millis(2500), deaf.recv_from(&mut octets)).await;
    assert!(silence.is_err(), "told again after it has heard");
}

#[tokio::test]
async fn what_strangers_tell_does_nothing() {
    let stage = Stage::new();
    let (first, _) = primary(&stage, &text(1, ""), &["127.0.0.0/8"], &[]);
    let config = secondary(&stage, loopback(2, 0), &[first.addresses[0].to_string()], None);
    let dns = stage.start(&config).unwrap();
    await_serial(&dns, Some(1)).await;
    let code = async |from: [u8; 4], name: &str| {
        let mut notify = question(name, "SOA", false);
        notify.metadata.op_code = hickory_proto::op::OpCode::Notify;
        common::ask_from(from.into(), dns.addresses[0], &notify).await.metadata.response_code
    };
    assert_eq!(code([127, 0, 0, 9], "alpha.test.").await, ResponseCode::Refused);
    assert_eq!(code([127, 0, 0, 1], "alpha.test.").await, ResponseCode::NoError);
    assert_eq!(code([127, 0, 0, 1], "beta.test.").await, ResponseCode::NotAuth);
}

#[tokio::test]
async fn a_zone_is_changed_by_who_may_and_its_file_and_its_secondaries_follow() {
    let stage = Stage::new();
    let second = free(2);
    let mut zone = stage.zone("alpha.test", &text(1, "a A 192.0.2.2"));
    let file = zone.file.clone().unwrap();
    zone.update_from = vec!["key:k.test".parse().unwrap()];
    zone.transfer_to = vec!["key:k.test".parse().unwrap()];
    zone.notify = vec![format!("{second} key:k.test").parse().unwrap()];
    let mut config = stage.authoritative(loopback(1, 0), vec![zone]);
    config.keys = vec![key(&stage, "k.test"), key(&stage, "other.test")];
    let first = stage.start(&config).unwrap();
    let primaries = [format!("{} key:k.test", first.addresses[0])];
    let dns = stage.start(&secondary(&stage, second, &primaries, None)).unwrap();
    await_serial(&dns, Some(1)).await;

    // An address for b.alpha.test, if the name is not there yet.
    let update = |owner: &str| {
        let mut message = question_only(7, OPCODE_UPDATE, &apex(), Rtype::SOA);
        (message[7], message[9]) = (1, 1);
        let owner: Name = owner.parse().unwrap();
        message.extend_from_slice(owner.as_wire());
        message.extend_from_slice(b"\x00\xff\x00\xfe\x00\x00\x00\x00\x00\x00");
        message.extend_from_slice(owner.as_wire());
        message.extend_from_slice(b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x63");
        message
    };
    let send = async |mut message: Vec<u8>, name: Option<&str>| {
        let mut verifier = None;
        if let Some(key) = peer(&first, name, SECRET).key {
            let mut signer = Signer::request(key);
            signer.sign(&mut message, 0);
            verifier = Some(Verifier::new(signer));
        }
        let answer = exchange([127, 0, 0, 1].into(), first.addresses[0], &message).await.unwrap();
        assert!(verifier.is_none_or(|mut verifier| verifier.check(&answer, 0) == Ok(())));
        let header = Reader::new(&answer).unwrap().header();
        assert_eq!((header.opcode(), header.counts[1..3].iter().sum::<u16>()), (OPCODE_UPDATE, 0));
        header.rcode()
    };
    assert_eq!(send(update("b.alpha.test"), None).await, 5);
    assert_eq!(send(update("b.alpha.test"), Some("other.test")).await, 5);
    assert_eq!(send(update("a.alpha.test"), Some("k.test")).await, 6, "YXDOMAIN");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text(1, "a A 192.0.2.2"));
    assert_eq!(send(update("b.alpha.test"), Some("k.test")).await, 0);
    assert_eq!(data(&ask(first.addresses[0], "b.alpha.test.", "A").await), ["192.0.2.99"]);
    await_serial(&dns, Some(2)).await;
    assert_eq!(data(&ask(second, "b.alpha.test.", "A").await), ["192.0.2.99"]);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("b.alpha.test. 60 IN A 192.0.2.99\n"), "{written}");
    // What an operator has written meanwhile is not lost.
    sleep(Duration::from_millis(20)).await;
    std::fs::write(&file, written.replace("192.0.2.99", "192.0.2.98").replace(" 2 3600 ", " 3 3600 "))
        .unwrap();
    assert_eq!(send(update("c.alpha.test"), Some("k.test")).await, 2);
    first.hosted.reload(None).unwrap();
    assert_eq!(send(update("c.alpha.test"), Some("k.test")).await, 0);
    await_serial(&dns, Some(4)).await;
    assert_eq!(data(&ask(second, "b.alpha.test.", "A").await), ["192.0.2.98"]);
    // A secondary changes nothing by itself.
    let mut message = update("d.alpha.test");
    Signer::request(peer(&first, Some("k.test"), SECRET).key.unwrap()).sign(&mut message, 0);
    let answer = exchange([127, 0, 0, 1].into(), second, &message).await.unwrap();
    assert_eq!(Reader::new(&answer).unwrap().header().rcode(), 5);
}

#[test]
fn secrets_that_cannot_be_used_are_told_without_being_shown() {
    let stage = Stage::new();
    let mut config = stage.authoritative(loopback(1, 0), Vec::new());
    let secret_file = stage.file("secret", "nonsense!");
    config.keys =
        vec![DnsKey { name: "k.test".to_owned(), algorithm: KeyAlgorithm::HmacSha256, secret_file }];
    let error = stage.start(&config).unwrap_err().to_string();
    assert!(error.contains("[[dns.keys]] k.test.: secret_file") && error.contains("base64"), "{error}");
    assert!(!error.contains("nonsense"), "{error}");
}
