//! A resolver that asks another one over TLS (RFC 7858), through a wire that can be looked at and cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use common::{Running, SOON, Stage, ask, data, loopback};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use postroad_config::{Config, Dns as DnsConfig, DnsServer, Forward, ForwardMode, Stub};
use postroad_dns::Dns;
use postroad_dns::resolve::Explained;
use postroad_dns::resolve::security::Security;
use postroad_dns::wire::{Name, Rtype, display_rdata};
use postroad_service::ClientTls;
use postroad_service::pki::Ca;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

const NAME: &str = "dns.alpha.test";
const IDLE: Duration = Duration::from_millis(400);
const ALPHA: &str = "$TTL 60\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nmx A 192.0.2.25\n\
                     big TXT ";

/// A resolver with a signed zone of its own, its door for TLS, and the wire before it.
struct Other {
    stage: Stage,
    dns: Dns,
    ca: PathBuf,
    wire: SocketAddr,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    /// Gets what somebody sends in the open to where TLS is.
    plain: UdpSocket,
}

impl Other {
    async fn new() -> Self {
        let stage = Stage::new();
        let long = format!("{}\n", "\"0123456789012345678901234567890123456789\" ".repeat(50));
        let mut zone = stage.zone("alpha.test", &format!("{ALPHA}{long}"));
        zone.sign = Some("default".to_owned());
        let mut config =
            DnsConfig { listen: vec![loopback(1, 0)], zones: vec![zone], ..DnsConfig::default() };
        config.key_dir = Some(stage.folder.path().join("keys"));
        config.recursion.root_hints = Some(stage.file("hints", "$TTL 1\n. NS a.\na. A 127.0.0.1\n"));
        config.recursion.upstream_port = 9;
        config.tls_listen = vec![loopback(1, 0)];
        config.tcp_idle = IDLE;
        let node = Config::new(NAME, stage.folder.path().join("state"));
        let tls = ClientTls::load(&node, SystemTime::now()).unwrap();
        let ca = Ca::open(&node.pki_dir(), NAME, SystemTime::now()).unwrap().pem().to_owned();
        let ca = stage.file("ca.pem", &ca);
        let dns = stage.start(&config).unwrap();
        let door = dns.start_secure(&config, &tls, &stage.drain).unwrap().tls[0];

        let listener = TcpListener::bind(loopback(1, 0)).await.unwrap();
        let wire = listener.local_addr().unwrap();
        let plain = UdpSocket::bind(wire).await.unwrap();
        let (opened, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&opened), Arc::clone(&closed));
        tokio::spawn(async move {
            loop {
                let (mut from, _) = listener.accept().await.unwrap();
                counts.0.fetch_add(1, Ordering::SeqCst);
                let closed = Arc::clone(&counts.1);
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(door).await.unwrap();
                    // How it ends is the same to whoever counts.
                    let _ = copy_bidirectional(&mut from, &mut to).await;
                    drop((from, to));
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Other { stage, dns, ca, wire, opened, closed, plain }
    }

    /// The other end of the wire under a name.
    fn server(&self, name: &str) -> DnsServer {
        format!("tls://{}#{name}", self.wire).parse().unwrap()
    }

    /// Trust in the zone's keys.
    fn anchors(&self) -> Vec<String> {
        let zone = self.dns.hosted.zones().load().get(&"alpha.test".parse().unwrap()).cloned().unwrap();
        let keys = zone.apex_node().unwrap().rrset(Rtype::DNSKEY).unwrap();
        keys.iter().map(|key| format!("alpha.test. DNSKEY {}", display_rdata(Rtype::DNSKEY, key))).collect()
    }

    /// A resolver's configuration that leads nowhere but over the wire.
    fn config(&self, server: DnsServer) -> DnsConfig {
        let mut config = DnsConfig { listen: vec![loopback(1, 0)], ..DnsConfig::default() };
        config.recursion.root_hints = Some(self.stage.file("hints", "$TTL 1\n. NS a.\na. A 127.0.0.1\n"));
        config.recursion.upstream_port = 9;
        config.recursion.max_stale = Duration::ZERO;
        config.recursion.forward = vec![Forward { zone: ".".to_owned(), servers: vec![server], mode: None }];
        config
    }

    fn start(&self, config: &DnsConfig) -> Dns {
        let clock = Arc::new(self.stage.clock.clone());
        Dns::start_trusting(config, Some(&self.ca), clock, &self.stage.drain).unwrap()
    }

    async fn await_closed(&self, count: usize) {
        let wait = async {
            while self.closed.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, wait).await.expect("the connection is closed");
    }

    /// Connections that were made, and whether nobody asked in the open.
    fn seen(&self) -> (usize, bool) {
        (self.opened.load(Ordering::SeqCst), self.plain.try_recv(&mut [0; 512]).is_err())
    }
}

async fn resolve(dns: &Dns, name: &str, rtype: Rtype) -> Arc<Explained> {
    let name: Name = name.parse().unwrap();
    dns.resolver.as_ref().unwrap().resolve(&name, rtype, false).await
}

#[tokio::test]
async fn another_resolver_is_asked_over_one_connection_and_what_it_says_is_validated() {
    let other = Other::new().await;
    let mut config = other.config(other.server(NAME));
    config.recursion.trust_anchors = other.anchors();
    let dns = other.start(&config);
    for (name, rtype, rcode) in [
        ("mx.alpha.test", Rtype::A, "NOERROR"),
        ("none.alpha.test", Rtype::A, "NXDOMAIN"),
        ("mx.alpha.test", Rtype::MX, "NOERROR"),
        ("big.alpha.test", Rtype::TXT, "NOERROR"),
    ] {
        let explained = resolve(&dns, name, rtype).await;
        let (answer, steps) = (&explained.answer, &explained.steps);
        assert_eq!((answer.rcode_name(), answer.security), (rcode, Security::Secure), "{name}: {steps:#?}");
        let asked = steps.iter().filter(|step| step.source.server().is_some());
        assert!(asked.clone().count() > 0, "{steps:#?}");
        for step in asked {
            assert_eq!((step.source.transport(), step.source.server()), ("tls", Some(other.wire)));
        }
    }
    let many = (0..50).map(|i| {
        let dns = dns.clone();
        async move { resolve(&dns, &format!("h{i}.alpha.test"), Rtype::A).await.answer.rcode_name() }
    });
    assert!(futures_util::future::join_all(many).await.iter().all(|code| *code == "NXDOMAIN"));
    assert_eq!(other.seen(), (1, true), "one connection, and nothing in the open");
}

#[tokio::test]
async fn what_the_other_resolver_did_not_sign_rightly_is_bogus_over_tls_too() {
    let other = Other::new().await;
    let mut config = other.config(other.server(NAME));
    config.recursion.trust_anchors = vec![
        "alpha.test. DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into(),
    ];
    let bogus = resolve(&other.start(&config), "mx.alpha.test", Rtype::A).await;
    assert_eq!((bogus.answer.rcode_name(), bogus.answer.security), ("SERVFAIL", Security::Bogus));
    config.recursion.insecure = vec!["alpha.test".to_owned()];
    let taken = resolve(&other.start(&config), "mx.alpha.test", Rtype::A).await;
    assert_eq!(taken.answer.rcode_name(), "NOERROR", "{:#?}", taken.steps);
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_costs_no_answer() {
    let other = Other::new().await;
    let dns = other.start(&other.config(other.server(NAME)));
    for round in 1..4 {
        let explained = resolve(&dns, &format!("h{round}.alpha.test"), Rtype::A).await;
        assert_eq!(explained.answer.rcode_name(), "NXDOMAIN", "{:#?}", explained.steps);
        assert_eq!(explained.steps.len(), 1, "{:#?}", explained.steps);
        assert_eq!(other.seen().0, round);
        other.await_closed(round).await;
    }
}

#[tokio::test]
async fn whoever_is_not_the_server_that_is_named_is_not_asked() {
    let other = Other::new().await;
    let right = other.config(other.server("dns.beta.test"));
    let wrong_name = other.start(&right);
    let clock = Arc::new(other.stage.clock.clone());
    let config = other.config(other.server(NAME));
    let untrusting = Dns::start(&config, clock, &other.stage.drain).unwrap();
    for (dns, why) in [
        (wrong_name, "TLS: its certificate is for another name"),
        (untrusting, "TLS: its certificate comes from nobody who is trusted"),
    ] {
        let failed = resolve(&dns, "mx.alpha.test", Rtype::A).await;
        assert_eq!(failed.answer.rcode_name(), "SERVFAIL");
        let steps: Vec<(&str, &str)> =
            failed.steps.iter().map(|step| (step.source.transport(), &*step.outcome)).collect();
        assert_eq!(steps, [("tls", why)]);
        let reason = failed.answer.failure.as_ref().unwrap().to_string();
        assert_eq!(reason, format!("no server of . answers (tls://{}: {why})", other.wire));
        let told = ask(dns.addresses[0], "mx.alpha.test.", "A").await;
        assert_eq!(told.metadata.response_code, ResponseCode::ServFail);
        let options = told.edns.unwrap();
        assert_eq!(options.option(EdnsCode::Unknown(15)), Some(&EdnsOption::Unknown(15, vec![0, 22])));
    }
    assert!(other.seen().1, "nothing is said in the open");
}

#[tokio::test]
async fn without_tls_there_it_is_not_asked_in_the_open_but_where_first_says_so() {
    let other = Other::new().await;
    // A name server that speaks no TLS, over UDP and TCP on the port where TLS should be.
    let plain = other.dns.addresses[0];
    let server: DnsServer = format!("tls://{plain}#{NAME}").parse().unwrap();
    let mut config = other.config(server);
    let only = resolve(&other.start(&config), "mx.alpha.test", Rtype::A).await;
    assert_eq!(only.answer.rcode_name(), "SERVFAIL");
    assert!(only.steps.iter().all(|step| step.source.transport() == "tls"), "{:#?}", only.steps);
    config.recursion.forward[0].mode = Some(ForwardMode::First);
    let first = resolve(&other.start(&config), "mx.alpha.test", Rtype::A).await;
    let transports: Vec<&str> = first.steps.iter().map(|step| step.source.transport()).collect();
    assert_eq!((transports[0], transports[1]), ("tls", "udp"), "then from the root: {:#?}", first.steps);
}

#[tokio::test]
async fn a_stub_zone_and_servers_of_both_kinds_on_one_address_do() {
    let other = Other::new().await;
    let mut config = other.config(other.server(NAME));
    config.recursion.forward.clear();
    // Nobody is at the first; the second is asked in the open, the third over TLS.
    for servers in [
        vec!["127.0.0.1:9".parse().unwrap(), other.server(NAME)],
        vec![DnsServer::Plain(other.dns.addresses[0].to_string().parse().unwrap()), other.server("x.test")],
    ] {
        config.recursion.stub = vec![Stub { zone: "alpha.test".to_owned(), servers }];
        let dns = other.start(&config);
        for i in 0..8 {
            let explained = resolve(&dns, &format!("h{i}.alpha.test"), Rtype::A).await;
            assert_eq!(explained.answer.rcode_name(), "NXDOMAIN", "{:#?}", explained.steps);
        }
    }
}

#[tokio::test]
async fn the_role_trusts_the_authorities_of_its_configuration() {
    let other = Other::new().await;
    let mut config = Config::new("mx.beta.test", other.stage.folder.path().join("role"));
    config.dns = other.config(other.server(NAME));
    config.tls.extra_ca_file = Some(other.ca.clone());
    let running = Running::begin(config).await;
    let answer = ask(running.dns(), "mx.alpha.test.", "A").await;
    assert_eq!((data(&answer), answer.metadata.authoritative), (vec!["192.0.2.25".to_owned()], false));
    running.end().await;
}
