//! Forward and stub zones over real sockets: who is asked, who is not, and what becomes of it when they fail or lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::fake::{Fake, address, code, with_authority};
use common::{Stage, ask, ask_from, data, loopback, question};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RecordType, rdata};
use postroad_config::{Dns as DnsConfig, DnsServer, Forward, ForwardMode, Stub};
use postroad_dns::Dns;
use postroad_dns::wire::{Rtype, display_rdata};

/// A resolver whose root knows every name.
struct Scene {
    stage: Stage,
    root: Fake,
    config: DnsConfig,
}

const BY_ROOT: &str = "192.0.2.1";
const BY_SERVER: &str = "192.0.2.53";

impl Scene {
    async fn new() -> Self {
        let stage = Stage::new();
        let root = Fake::new(2, |question| with_authority(question, 1)).await;
        let mut config = DnsConfig { listen: vec![loopback(1, 0)], ..DnsConfig::default() };
        config.recursion.root_hints = Some(stage.file("hints", "$TTL 1\n. NS a.\na. A 127.0.0.2\n"));
        config.recursion.upstream_port = root.at.port();
        config.recursion.query_timeout = Duration::from_millis(300);
        config.recursion.max_stale = Duration::ZERO;
        Self { stage, root, config }
    }

    fn forward(mut self, mode: ForwardMode, servers: &[SocketAddr]) -> Self {
        let forward = Forward { zone: "corp.test".to_owned(), servers: plain(servers), mode: Some(mode) };
        self.config.recursion.forward = vec![forward];
        self
    }

    fn stub(mut self, servers: &[SocketAddr]) -> Self {
        self.config.recursion.stub = vec![Stub { zone: "corp.test".to_owned(), servers: plain(servers) }];
        self
    }

    fn start(&self) -> Dns {
        self.stage.start(&self.config).unwrap()
    }
}

fn plain(servers: &[SocketAddr]) -> Vec<DnsServer> {
    servers.iter().map(|server| DnsServer::Plain(server.to_string().parse().unwrap())).collect()
}

async fn resolver(last: u8) -> Fake {
    Fake::new(last, |question| address(question, 53)).await
}

/// The response code or address, and the extended error.
fn told(answer: &Message) -> (String, Option<u8>) {
    let said = data(answer).pop().unwrap_or_else(|| answer.metadata.response_code.to_string());
    let option = answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Unknown(15)));
    let extended = option.map(|option| match option {
        EdnsOption::Unknown(_, octets) => octets[1],
        other => panic!("{other:?}"),
    });
    (said, extended)
}

/// What a server says to a question, if anything.
type Say = fn(&Message) -> Option<Message>;

/// Ways to be of no use.
fn useless() -> [(&'static str, Say); 6] {
    [
        ("dead", |_| None),
        ("SERVFAIL", |question| code(question, ResponseCode::ServFail)),
        ("REFUSED", |question| code(question, ResponseCode::Refused)),
        ("no recursion, no answer", |question| code(question, ResponseCode::NoError)),
        ("another question's answer", |question| {
            let mut answer = address(question, 66)?;
            answer.queries[0].set_query_type(RecordType::TXT);
            Some(answer)
        }),
        ("an upward referral", |question| {
            let mut answer = question.clone().into_response();
            let servers = rdata::NS("a.root.".parse().unwrap());
            let record = hickory_proto::rr::Record::from_rdata(
                hickory_proto::rr::Name::root(),
                60,
                hickory_proto::rr::RData::NS(servers),
            );
            answer.authorities.push(record);
            Some(answer)
        }),
    ]
}

#[tokio::test]
async fn resolvers_are_asked_with_recursion_and_only_for_their_zone() {
    let server = resolver(3).await;
    let scene = Scene::new().await.forward(ForwardMode::First, &[server.at]);
    let dns = scene.start();
    let answer = ask(dns.addresses[0], "a.b.Corp.test.", "A").await;
    assert_eq!(told(&answer), (BY_SERVER.to_owned(), None));
    assert!(!answer.metadata.authoritative && answer.metadata.recursion_available);
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "{asked:#?}");
    assert!(asked[0].metadata.recursion_desired);
    assert_eq!(
        asked[0].queries[0].name().to_string().to_ascii_lowercase(),
        "a.b.corp.test.",
        "the whole name"
    );
    assert!(scene.root.asked().is_empty());
    assert_eq!(told(&ask(dns.addresses[0], "notcorp.test.", "A").await).0, BY_ROOT);
    assert!(server.asked().is_empty());
    assert!(scene.root.asked().iter().all(|question| !question.metadata.recursion_desired));
}

#[tokio::test]
async fn when_resolvers_fail_first_goes_on_from_the_root_and_only_does_not() {
    let server = Fake::new(3, |_| None).await;
    for (how, say) in useless() {
        server.say(say);
        let first = Scene::new().await.forward(ForwardMode::First, &[server.at]);
        let answer = ask(first.start().addresses[0], "a.corp.test.", "A").await;
        assert_eq!(told(&answer), (BY_ROOT.to_owned(), None), "{how}");
        let only = Scene::new().await.forward(ForwardMode::Only, &[server.at]);
        let answer = ask(only.start().addresses[0], "a.corp.test.", "A").await;
        assert_eq!(told(&answer), ("Server Failure".to_owned(), Some(22)), "{how}");
        assert!(only.root.asked().is_empty(), "{how}");
        assert!(!server.asked().is_empty());
    }
}

#[tokio::test]
async fn another_resolver_is_asked_when_one_fails_also_on_another_port_of_its_address() {
    let (bad, good) = (Fake::new(3, |_| None).await, resolver(3).await);
    assert_eq!(bad.at.ip(), good.at.ip());
    for (how, say) in useless() {
        bad.say(say);
        let scene = Scene::new().await.forward(ForwardMode::Only, &[bad.at, good.at]);
        let dns = scene.start();
        for index in 0..16 {
            let answer = ask(dns.addresses[0], &format!("h{index}.corp.test."), "A").await;
            assert_eq!(told(&answer), (BY_SERVER.to_owned(), None), "{how}");
        }
        let in_vain = bad.asked().len();
        // What a server says of one question alone is not held against it for the next.
        let remembered = !matches!(how, "SERVFAIL" | "another question's answer");
        assert!(in_vain <= if remembered { 2 } else { 48 }, "{how}: {in_vain}");
        assert!(good.asked().len() >= 16, "{how}");
    }
}

#[tokio::test]
async fn an_answer_too_long_for_a_datagram_comes_over_tcp() {
    let server = Fake::new(3, |question| {
        let mut answer = address(question, 53)?;
        answer.metadata.truncation = true;
        Some(answer)
    });
    let server = server.await;
    let scene = Scene::new().await.forward(ForwardMode::Only, &[server.at]);
    let dns = scene.start();
    // It says so over TCP too, which is no answer.
    assert_eq!(told(&ask(dns.addresses[0], "a.corp.test.", "A").await).0, "Server Failure");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_stub_zones_servers_are_asked_as_its_own_and_nobody_else_is() {
    let server = Fake::new(3, |question| with_authority(question, 53)).await;
    let scene = Scene::new().await.stub(&[server.at]);
    let dns = scene.start();
    assert_eq!(told(&ask(dns.addresses[0], "corp.test.", "A").await).0, BY_SERVER);
    assert_eq!(told(&ask(dns.addresses[0], "a.corp.test.", "A").await).0, BY_SERVER);
    assert!(server.asked().iter().all(|question| !question.metadata.recursion_desired));
    assert!(scene.root.asked().is_empty());
    assert_eq!(told(&ask(dns.addresses[0], "test.", "A").await).0, BY_ROOT);
    for (how, say) in useless() {
        server.say(say);
        let scene = Scene::new().await.stub(&[server.at]);
        let answer = ask(scene.start().addresses[0], "a.corp.test.", "A").await;
        assert_eq!(told(&answer), ("Server Failure".to_owned(), Some(22)), "{how}");
        assert!(scene.root.asked().is_empty(), "{how}");
    }
}

#[tokio::test]
async fn what_a_stub_zone_delegates_is_asked_of_those_it_is_delegated_to() {
    let stage = Stage::new();
    let beginning = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\n";
    let corp = format!("{beginning}ns A 127.0.0.3\nlab NS ns.lab\nns.lab A 127.0.0.4\n");
    let (corp, lab) = (
        stage.zone("corp.test", &corp),
        stage.zone("lab.corp.test", &format!("{beginning}ns A 127.0.0.4\nx A 192.0.2.7\n")),
    );
    let mut scene = Scene::new().await;
    let corp = stage.start(&stage.authoritative(loopback(3, 0), vec![corp])).unwrap().addresses[0];
    // The delegation names no port: it is the one of all servers.
    let lab = stage.start(&stage.authoritative(loopback(4, scene.root.at.port()), vec![lab]));
    if let Err(error) = lab {
        eprintln!("passed over: {error}");
        return;
    }
    scene = scene.stub(&[corp]);
    let answer = ask(scene.start().addresses[0], "x.lab.corp.test.", "A").await;
    assert_eq!(told(&answer).0, "192.0.2.7");
    assert!(scene.root.asked().is_empty());
}

/// A resolver with a signed zone, and one before it that passes on what `change` leaves of its answers.
async fn signed(change: fn(&mut Message)) -> (Scene, Fake, Vec<String>) {
    let mut scene = Scene::new().await;
    let mut zone = scene.stage.zone(
        "corp.test",
        "$TTL 60\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nmx A 192.0.2.25\n*.wild A 192.0.2.26\n",
    );
    zone.sign = Some("default".to_owned());
    let mut config = DnsConfig { zones: vec![zone], ..scene.config.clone() };
    config.key_dir = Some(scene.stage.folder.path().join("keys"));
    let inner = scene.stage.start(&config).unwrap();
    let served = inner.hosted.zones().load().get(&"corp.test".parse().unwrap()).cloned().unwrap();
    let keys = served.apex_node().unwrap().rrset(Rtype::DNSKEY).unwrap();
    let anchors: Vec<String> =
        keys.iter().map(|key| format!("corp.test. DNSKEY {}", display_rdata(Rtype::DNSKEY, key))).collect();
    let at = inner.addresses[0];
    let pass = move |question: &Message| {
        // Over a connection: what is asked for here need not fit into a datagram.
        let octets = question.to_vec().unwrap();
        let answered = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(at).unwrap();
            let length = (octets.len() as u16).to_be_bytes();
            stream.write_all(&[&length[..], &octets].concat()).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer).unwrap();
            answer
        });
        let mut answer = Message::from_vec(&answered.join().unwrap()).unwrap();
        change(&mut answer);
        Some(answer)
    };
    let between = Fake::new(3, pass).await;
    scene.config.recursion.trust_anchors = anchors.clone();
    (scene, between, anchors)
}

async fn ask_with(dns: &Dns, name: &str, rtype: &str, change: fn(&mut Message)) -> Message {
    let mut question = question(name, rtype, true);
    question.metadata.authentic_data = true;
    change(&mut question);
    ask_from(Ipv4Addr::LOCALHOST.into(), dns.addresses[0], &question).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_zone_is_secure_through_a_resolver_and_through_a_stub() {
    let (scene, between, _) = signed(|_| {}).await;
    for scene in [scene.forward(ForwardMode::Only, &[between.at])] {
        let dns = scene.start();
        for (name, rtype, code) in [
            ("mx.corp.test.", "A", ResponseCode::NoError),
            ("a.wild.corp.test.", "A", ResponseCode::NoError),
            ("mx.corp.test.", "MX", ResponseCode::NoError),
            ("none.corp.test.", "A", ResponseCode::NXDomain),
        ] {
            let answer = ask_with(&dns, name, rtype, |_| {}).await;
            assert_eq!(
                (answer.metadata.response_code, answer.metadata.authentic_data),
                (code, true),
                "{name}"
            );
        }
        let signed = ask_with(&dns, "mx.corp.test.", "A", |question| {
            question.edns.as_mut().unwrap().set_dnssec_ok(true);
        });
        let types: Vec<RecordType> = signed.await.answers.iter().map(|record| record.record_type()).collect();
        assert_eq!(types, [RecordType::A, RecordType::RRSIG]);
    }
    let (scene, between, _) = signed(|_| {}).await;
    let dns = scene.stub(&[between.at]).start();
    let answer = ask_with(&dns, "mx.corp.test.", "A", |_| {}).await;
    assert_eq!((data(&answer), answer.metadata.authentic_data), (vec!["192.0.2.25".to_owned()], true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_strips_signatures_makes_a_signed_zone_bogus() {
    let strip: fn(&mut Message) = |answer| {
        for section in [&mut answer.answers, &mut answer.authorities] {
            section.retain(|record| !record.record_type().is_dnssec());
        }
    };
    for mode in [ForwardMode::Only, ForwardMode::First] {
        let (scene, between, _) = signed(strip).await;
        let scene = scene.forward(mode, &[between.at]);
        let dns = scene.start();
        for name in ["mx.corp.test.", "none.corp.test."] {
            let (said, extended) = told(&ask_with(&dns, name, "A", |_| {}).await);
            assert_eq!(said, "Server Failure", "{name}");
            assert!(matches!(extended, Some(9..=12)), "{name}: {extended:?}");
        }
        let unchecked =
            ask_with(&dns, "mx.corp.test.", "A", |question| question.metadata.checking_disabled = true);
        let unchecked = unchecked.await;
        assert_eq!(
            (data(&unchecked), unchecked.metadata.authentic_data),
            (vec!["192.0.2.25".to_owned()], false)
        );
    }
    let (mut scene, between, _) = signed(strip).await;
    scene.config.recursion.insecure = vec!["corp.test".to_owned()];
    let dns = scene.forward(ForwardMode::Only, &[between.at]).start();
    let insecure = ask_with(&dns, "mx.corp.test.", "A", |_| {}).await;
    assert_eq!((data(&insecure), insecure.metadata.authentic_data), (vec!["192.0.2.25".to_owned()], false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_changes_what_is_signed_makes_it_bogus() {
    let forge: fn(&mut Message) = |answer| {
        for record in answer.answers.iter_mut().filter(|record| record.record_type() == RecordType::A) {
            record.data = hickory_proto::rr::RData::A(rdata::A::new(192, 0, 2, 66));
        }
    };
    let (scene, between, _) = signed(forge).await;
    let dns = scene.forward(ForwardMode::Only, &[between.at]).start();
    assert_eq!(
        told(&ask_with(&dns, "mx.corp.test.", "A", |_| {}).await),
        ("Server Failure".to_owned(), Some(6))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_of_our_own_that_leads_to_others_has_its_signature_and_they_have_theirs() {
    let (mut scene, between, _) = signed(|_| {}).await;
    let mut own = scene.stage.zone(
        "own.test",
        "$TTL 60\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nout CNAME mx.corp.test.\n*.wild CNAME mx.corp.test.\n\
         sub DNAME corp.test.\ngone CNAME none.corp.test.\n",
    );
    own.sign = Some("default".to_owned());
    scene.config.zones = vec![own];
    scene.config.key_dir = Some(scene.stage.folder.path().join("own-keys"));
    let dns = scene.forward(ForwardMode::Only, &[between.at]).start();
    let shown = |section: &[hickory_proto::rr::Record]| {
        let types: Vec<String> = section.iter().map(|record| record.record_type().to_string()).collect();
        types.join(" ")
    };
    for (name, expected, proof) in [
        ("out.own.test.", "CNAME RRSIG A RRSIG", ""),
        ("a.wild.own.test.", "CNAME RRSIG A RRSIG", "NSEC RRSIG"),
        ("mx.sub.own.test.", "DNAME RRSIG CNAME A RRSIG", ""),
        ("gone.own.test.", "CNAME RRSIG", "SOA RRSIG NSEC RRSIG NSEC RRSIG"),
    ] {
        for _ in 0..2 {
            let answer = ask_with(&dns, name, "A", |question| {
                question.edns.as_mut().unwrap().set_dnssec_ok(true);
            });
            let answer = answer.await;
            let said = (shown(&answer.answers), shown(&answer.authorities));
            assert_eq!((said.0.as_str(), said.1.as_str()), (expected, proof), "{name}");
            let plain = ask(dns.addresses[0], name, "A").await;
            assert!(
                !shown(&plain.answers).contains("RRSIG") && !shown(&plain.authorities).contains("NSEC"),
                "{name}"
            );
        }
    }
}
