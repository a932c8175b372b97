//! A root, a TLD and two domains on 127.0.0.x, all on one port, and a resolver that is told that port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use common::{SOON, Stage, ask, ask_from, data, loopback, question};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use postroad_config::Dns as DnsConfig;
use postroad_dns::{Dns, DnsError};
use postroad_service::Drain;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const ROOT: &str = "$TTL 3600\n@ SOA a.root. h 1 1h 15m 1w 60\n@ NS a.root.\na.root. A 127.0.0.2\n\
                    test. NS ns.test.\nns.test. A 127.0.0.3\n";
const TEST: &str = "$TTL 3600\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 127.0.0.3\n\
                    alpha NS ns.alpha\nns.alpha A 127.0.0.4\nbeta NS ns1.beta\nbeta NS ns2.beta\n\
                    ns1.beta A 127.0.0.5\nns2.beta A 127.0.0.6\n";
const ALPHA: &str = "$TTL 300\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 127.0.0.4\n@ MX 10 mx\nmx A 192.0.2.25\n\
                     @ TXT \"v=spf1 mx -all\"\nwww CNAME web.beta.test.\nbig TXT ";
const BETA: &str = "$TTL 300\n@ SOA ns1 h 1 1h 15m 1w 60\n@ NS ns1\n@ NS ns2\nns1 A 127.0.0.5\nns2 A 127.0.0.6\n\
                    web A 192.0.2.80\n*.any A 192.0.2.81\n";

struct Tree {
    stage: Stage,
    resolver: Dns,
    alpha: Drain,
}

impl Tree {
    /// Starts everything. beta's first server is dead: its port is taken by a socket that never answers.
    fn start() -> (Self, UdpSocket) {
        for _ in 0..20 {
            match Self::try_start() {
                Ok(tree) => return tree,
                // Another program has that port on one of the addresses.
                Err(DnsError::Bind(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no port is free on all addresses");
    }

    fn try_start() -> Result<(Self, UdpSocket), DnsError> {
        let stage = Stage::new();
        let zone = |origin, text| vec![stage.zone(origin, text)];
        let root = stage.start(&stage.authoritative(loopback(2, 0), zone(".", ROOT)))?;
        let port = root.addresses[0].port();
        stage.start(&stage.authoritative(loopback(3, port), zone("test", TEST)))?;
        let big = format!("{ALPHA}{}\n", format!("\"{}\" ", "x".repeat(200)).repeat(20));
        let (_, alpha) =
            stage.start_part(&stage.authoritative(loopback(4, port), zone("alpha.test", &big)))?;
        stage.start(&stage.authoritative(loopback(6, port), zone("beta.test", BETA)))?;
        let dead = std::net::UdpSocket::bind(loopback(5, port)).map_err(|source| {
            DnsError::Bind(postroad_service::BindError {
                what: "dead".into(),
                address: loopback(5, port),
                source,
            })
        })?;
        dead.set_nonblocking(true).unwrap();
        let dead = UdpSocket::from_std(dead).unwrap();

        let hints = stage.file("hints", "$TTL 1\n. NS a.root.\na.root. A 127.0.0.2\n");
        let mut config = DnsConfig { listen: vec![loopback(7, 0)], ..DnsConfig::default() };
        config.recursion.root_hints = Some(hints);
        config.recursion.upstream_port = port;
        config.recursion.allow = vec!["127.0.0.1/32".parse().unwrap()];
        let resolver = stage.start(&config)?;
        Ok((Self { stage, resolver, alpha }, dead))
    }

    fn address(&self) -> SocketAddr {
        self.resolver.addresses[0]
    }

    async fn end(self) {
        self.stage.drain.stop();
        assert_eq!(timeout(SOON, self.stage.drain.finish()).await, Ok(0));
    }
}

#[tokio::test]
async fn names_are_found_from_the_root_down_and_kept_when_their_server_is_gone() {
    let (tree, _dead) = Tree::start();
    let name = "alpha.test".parse().unwrap();
    let explained =
        tree.resolver.resolver.as_ref().unwrap().resolve(&name, "MX".parse().unwrap(), false).await;
    let outcomes: Vec<&str> = explained.steps.iter().map(|step| &*step.outcome).collect();
    assert_eq!(outcomes, ["referral to test.", "referral to alpha.test.", "answer"]);

    let answer = ask(tree.address(), "alpha.test.", "MX").await;
    assert_eq!(data(&answer), ["10 mx.alpha.test."]);
    assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    assert_eq!(answer.answers[0].ttl, 300);

    tree.alpha.stop();
    timeout(SOON, tree.alpha.finish()).await.unwrap();
    tree.stage.clock.advance(Duration::from_secs(299));
    let kept = ask(tree.address(), "alpha.test.", "MX").await;
    assert_eq!((data(&kept), kept.answers[0].ttl), (vec!["10 mx.alpha.test.".to_owned()], 1));
    tree.stage.clock.advance(Duration::from_secs(1));
    // Its time is over and its server gone: it is given all the same for a day, and said to be old (RFC 8767, 8914).
    let older = ask(tree.address(), "alpha.test.", "MX").await;
    assert_eq!((data(&older), older.answers[0].ttl), (vec!["10 mx.alpha.test.".to_owned()], 30));
    let options = older.edns.unwrap();
    assert_eq!(options.option(EdnsCode::Unknown(15)), Some(&EdnsOption::Unknown(15, vec![0, 3])));
    tree.stage.clock.advance(Duration::from_secs(86_400));
    let forgotten = ask(tree.address(), "alpha.test.", "MX").await;
    assert_eq!(forgotten.metadata.response_code, ResponseCode::ServFail);
    tree.end().await;
}

#[tokio::test]
async fn one_dead_server_of_two_costs_less_than_a_second() {
    // Which of the two is asked first is chance: try until it was the dead one.
    for _ in 0..40 {
        let (tree, _dead) = Tree::start();
        let resolver = tree.resolver.resolver.as_ref().unwrap();
        let ask = async |name: &str| {
            let started = Instant::now();
            let explained = resolver.resolve(&name.parse().unwrap(), "A".parse().unwrap(), false).await;
            assert_eq!(explained.answer.rcode_name(), "NOERROR");
            assert!(
                started.elapsed() < Duration::from_secs(1),
                "{:?}: {:#?}",
                started.elapsed(),
                explained.steps
            );
            explained.steps.iter().filter(|step| step.outcome == "timeout").count()
        };
        let silences = ask("a.any.beta.test").await;
        assert!(silences <= 1);
        assert_eq!(ask("b.any.beta.test").await, 0, "the dead one is remembered");
        tree.end().await;
        if silences == 1 {
            return;
        }
    }
    panic!("the dead server was never asked");
}

#[tokio::test]
async fn an_answer_longer_than_a_datagram_comes_over_tcp_both_ways() {
    let (tree, _dead) = Tree::start();
    let short = ask(tree.address(), "big.alpha.test.", "TXT").await;
    assert!(short.metadata.truncation && short.answers.is_empty());
    let whole = common::ask_tcp(tree.address(), "big.alpha.test.", "TXT").await;
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 1));
    tree.end().await;
}

#[tokio::test]
async fn hickorys_resolver_finds_everything_through_ours() {
    let (tree, _dead) = Tree::start();
    let mut server = NameServerConfig::udp_and_tcp(tree.address().ip());
    for connection in &mut server.connections {
        connection.port = tree.address().port();
    }
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().case_randomization = true;
    let stub: TokioResolver = builder.build().unwrap();
    let lookup = stub.mx_lookup("alpha.test.").await.unwrap();
    assert_eq!(lookup.answers()[0].data.to_string(), "10 mx.alpha.test.");
    let address = stub.lookup_ip("www.alpha.test.").await.unwrap();
    assert_eq!(address.iter().collect::<Vec<IpAddr>>(), ["192.0.2.80".parse::<IpAddr>().unwrap()]);
    let big = stub.txt_lookup("big.alpha.test.").await.unwrap();
    assert_eq!(big.answers().len(), 1);
    let missing = stub.lookup_ip("nothing.alpha.test.").await.unwrap_err();
    assert!(missing.is_nx_domain(), "{missing}");
    let empty = stub.mx_lookup("mx.alpha.test.").await.unwrap_err();
    assert!(empty.is_no_records_found() && !empty.is_nx_domain(), "{empty}");
    tree.end().await;
}

#[tokio::test]
async fn strangers_get_no_recursion_not_even_from_the_cache() {
    let (tree, _dead) = Tree::start();
    assert_eq!(data(&ask(tree.address(), "mx.alpha.test.", "A").await), ["192.0.2.25"]);
    let stranger = "127.0.0.99".parse().unwrap();
    let answer = ask_from(stranger, tree.address(), &question("mx.alpha.test.", "A", true)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    assert!(answer.answers.is_empty() && !answer.metadata.recursion_available);
    // Nor does a friend who does not want recursion learn what is in the cache.
    let mut snoop = question("mx.alpha.test.", "A", true);
    snoop.metadata.recursion_desired = false;
    let answer = ask_from("127.0.0.1".parse().unwrap(), tree.address(), &snoop).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    tree.end().await;
}
