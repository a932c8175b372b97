//! The resolver against a little internet that stands in memory: each address serves zones, or misbehaves.

mod advisories;
mod kept;
mod lying;
mod saved;
mod sign;
mod validated;

use std::net::IpAddr;

use async_trait::async_trait;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};
use postroad_service::FakeClock;

use super::upstream::{Ask, AskError};
use super::*;
use crate::serve::{Rotation, answer};
use crate::wire::{Request, Writer};
use crate::zone::zone_from_text;

/// What stands at an address.
enum Host {
    Serves(Zones),
    Dead,
    Says(ResponseCode),
    /// Answers over UDP do not fit.
    Large(Zones),
    /// Answers whatever it likes.
    Lies(Box<dyn Fn(&Ask) -> Message + Send + Sync>),
    /// Does not understand EDNS.
    Old(Zones),
}

#[derive(Default)]
struct Internet {
    hosts: Mutex<HashMap<IpAddr, Host>>,
    asked: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Internet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Internet")
    }
}

fn serve(zones: &Zones, ask: &Ask) -> Message {
    let mut octets = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, ask.edns.into()];
    octets.extend_from_slice(ask.name.as_wire());
    octets.extend_from_slice(&ask.rtype.0.to_be_bytes());
    octets.extend_from_slice(&[0, 1]);
    if ask.edns {
        octets.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, if ask.dnssec { 0x80 } else { 0 }, 0, 0, 0]);
    }
    let request = Request::parse(&octets).unwrap();
    let mut buffer = Vec::new();
    let mut writer = Writer::new(&mut buffer, &request, 65_535);
    if answer(zones, &request, &mut writer, Rotation::Fixed) == crate::serve::Served::NotHosted {
        writer.rcode = rcode::REFUSED;
    }
    writer.finish(&request, 1232);
    Message::from_vec(&buffer).unwrap()
}

#[async_trait]
impl Upstream for Internet {
    async fn ask(&self, ask: &Ask) -> Result<Message, AskError> {
        tokio::task::yield_now().await;
        let transport = if ask.tcp { " tcp" } else { "" };
        self.asked.lock().unwrap().push(format!("{} {} {}{transport}", ask.server.ip(), ask.name, ask.rtype));
        let code = |code| {
            let mut message = Message::new(1, MessageType::Response, OpCode::Query);
            message.metadata.response_code = code;
            Ok(message)
        };
        match self.hosts.lock().unwrap().get(&ask.server.ip()) {
            None | Some(Host::Dead) => Err(AskError::Timeout),
            Some(Host::Serves(zones)) => Ok(serve(zones, ask)),
            Some(Host::Large(zones)) => {
                let mut message = serve(zones, ask);
                if !ask.tcp {
                    message = message.truncate();
                    message.metadata.truncation = true;
                }
                Ok(message)
            }
            Some(Host::Old(_)) if ask.edns => code(ResponseCode::FormErr),
            Some(Host::Old(zones)) => Ok(serve(zones, ask)),
            Some(Host::Says(other)) => code(*other),
            Some(Host::Lies(lie)) => Ok(lie(ask)),
        }
    }
}

struct Scene {
    internet: Arc<Internet>,
    clock: FakeClock,
    resolver: Arc<Resolver>,
}

fn zones(texts: &[(&str, &str)]) -> Zones {
    Zones::new(texts.iter().map(|(apex, text)| {
        let text = format!("$TTL 300\n@ SOA ns.{apex} h 1 1h 15m 1w 60\n{text}");
        let text = text.replace("ns..", "ns.");
        Arc::new(zone_from_text(&apex.parse().unwrap(), &text).unwrap())
    }))
}

const ROOT: &str = "@ NS a.root.\na.root. A 192.0.2.1\ntest. NS ns.test.\nns.test. A 192.0.2.2\n\
                    other. NS ns.other.\nns.other. A 192.0.2.7\n";
const TEST: &str = "@ NS ns\nns A 192.0.2.2\nalpha NS ns.alpha\nns.alpha A 192.0.2.3\nbeta NS ns1.beta\nbeta NS ns2.beta\n\
                    ns1.beta A 192.0.2.4\nns2.beta A 192.0.2.5\nglueless NS ns.far.other.\nround NS ns.circle\n\
                    circle NS ns.round\ncut NS ns.alpha\n";
const ALPHA: &str = "@ NS ns\nns A 192.0.2.3\n@ 60 MX 10 mx\nmx A 192.0.2.25\nwww CNAME web.beta.test.\n\
                     loop CNAME loop2\nloop2 CNAME loop\nout CNAME gone.beta.test.\nsub DNAME beta.test.\n\
                     many A 192.0.2.10\nmany A 192.0.2.11\nzero 0 A 192.0.2.12\n";
const BETA: &str =
    "@ NS ns1\n@ NS ns2\nns1 A 192.0.2.4\nns2 A 192.0.2.5\nweb A 192.0.2.80\n@ MX 5 mx\nmx A 192.0.2.26\n";
const OTHER: &str = "@ NS ns\nns A 192.0.2.7\nns.far A 192.0.2.3\n";
const GLUELESS: &str = "@ NS ns.far.other.\nhost A 192.0.2.90\n";

fn scene_with(own: Zones, rules: impl FnOnce(&mut Rules)) -> Scene {
    scene_with_stale(own, Duration::ZERO, rules)
}

fn scene_with_stale(own: Zones, stale: Duration, rules: impl FnOnce(&mut Rules)) -> Scene {
    scene_from(own, stale, Anchors::default(), rules)
}

/// Seconds since 1970 at which scenes begin.
const BEGINNING: u32 = 1_800_000_000;

fn scene_from(own: Zones, stale: Duration, anchors: Anchors, rules: impl FnOnce(&mut Rules)) -> Scene {
    let internet = Arc::new(Internet::default());
    let hosts = [
        ([192, 0, 2, 1], Host::Serves(zones(&[(".", ROOT)]))),
        ([192, 0, 2, 2], Host::Serves(zones(&[("test.", TEST)]))),
        ([192, 0, 2, 3], Host::Serves(zones(&[("alpha.test.", ALPHA), ("glueless.test.", GLUELESS)]))),
        ([192, 0, 2, 4], Host::Serves(zones(&[("beta.test.", BETA)]))),
        ([192, 0, 2, 5], Host::Serves(zones(&[("beta.test.", BETA)]))),
        ([192, 0, 2, 7], Host::Serves(zones(&[("other.", OTHER)]))),
    ];
    internet.hosts.lock().unwrap().extend(hosts.map(|(address, host)| (IpAddr::from(address), host)));
    let clock = FakeClock::new(std::time::UNIX_EPOCH + Duration::from_secs(BEGINNING.into()));
    let mut followed = Rules {
        port: 53,
        deny_servers: Vec::new(),
        private: Vec::new(),
        private_names: Vec::new(),
        ipv4: true,
        ipv6: false,
        query_timeout: Duration::from_millis(1500),
        routes: routes::Routes::default(),
        max_ttl: Duration::from_secs(86_400),
        dnssec: !anchors.is_empty(),
    };
    rules(&mut followed);
    let resolver = Arc::new(Resolver::new(Parts {
        root: Arc::new(Delegation::root(&[IpAddr::from([192, 0, 2, 1])])),
        rules: followed,
        anchors,
        cache_octets: 1 << 20,
        ttl_bounds: TtlBounds {
            min: Duration::ZERO,
            max: Duration::from_secs(86_400),
            max_negative: Duration::from_secs(3600),
            stale,
        },
        resolve_timeout: Duration::from_secs(5),
        concurrency_max: 8,
        zones: Arc::new(ArcSwap::from_pointee(own)),
        special: special::zones(false),
        blocked: blocked::Blocked::default(),
        upstream: internet.clone(),
        clock: Arc::new(clock.clone()),
    }));
    Scene { internet, clock, resolver }
}

fn scene() -> Scene {
    scene_with(Zones::default(), |_| {})
}

impl Scene {
    fn host(&self, address: [u8; 4], host: Host) {
        self.internet.hosts.lock().unwrap().insert(IpAddr::from(address), host);
    }

    async fn explained(&self, name: &str, rtype: Rtype) -> Arc<Explained> {
        self.resolver.resolve(&name.parse().unwrap(), rtype, false).await
    }

    /// The response code and the records, on one line.
    async fn ask(&self, name: &str, rtype: Rtype) -> String {
        let explained = self.explained(name, rtype).await;
        let lines: Vec<String> = explained.answer.records.iter().flat_map(Held::lines).collect();
        format!("{} {}", explained.answer.rcode_name(), lines.join(" | ")).trim_end().to_owned()
    }

    /// Who was asked what since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.internet.asked.lock().unwrap())
    }
}

#[tokio::test]
async fn root_then_tld_then_authoritative_and_then_the_cache() {
    let scene = scene();
    let explained = scene.explained("alpha.test", Rtype::MX).await;
    let steps: Vec<String> = explained
        .steps
        .iter()
        .map(|step| format!("{} {} {}", step.source.server().unwrap().ip(), step.zone, step.outcome))
        .collect();
    assert_eq!(
        steps,
        [
            "192.0.2.1 . referral to test.",
            "192.0.2.2 test. referral to alpha.test.",
            "192.0.2.3 alpha.test. answer"
        ]
    );
    assert_eq!(explained.answer.age(), None);
    scene.asked();
    scene.clock.advance(Duration::from_secs(20));
    assert_eq!(scene.ask("Alpha.Test", Rtype::MX).await, "NOERROR Alpha.Test. 40 IN MX 10 mx.alpha.test.");
    assert_eq!(scene.asked(), [""; 0]);
    assert_eq!(scene.ask("mx.alpha.test", Rtype::A).await, "NOERROR mx.alpha.test. 300 IN A 192.0.2.25");
    assert_eq!(scene.asked(), ["192.0.2.3 mx.alpha.test. A"]);
}

#[tokio::test]
async fn the_cache_answers_without_the_server_and_forgets_in_time() {
    let scene = scene();
    assert!(scene.ask("alpha.test", Rtype::MX).await.starts_with("NOERROR"));
    scene.host([192, 0, 2, 3], Host::Dead);
    scene.clock.advance(Duration::from_secs(59));
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "NOERROR alpha.test. 1 IN MX 10 mx.alpha.test.");
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "SERVFAIL");
}

#[tokio::test]
async fn negative_answers_are_kept_for_the_soas_minimum() {
    let scene = scene();
    let first = scene.explained("nothing.alpha.test", Rtype::A).await;
    assert_eq!((first.answer.rcode, first.answer.authority.as_ref().unwrap().ttl), (rcode::NXDOMAIN, 60));
    assert_eq!(scene.ask("mx.alpha.test", Rtype::AAAA).await, "NOERROR");
    scene.asked();
    scene.clock.advance(Duration::from_secs(50));
    let again = scene.explained("nothing.alpha.test", Rtype::TXT).await;
    assert_eq!((again.answer.rcode, again.answer.authority.as_ref().unwrap().ttl), (rcode::NXDOMAIN, 10));
    assert_eq!(scene.ask("mx.alpha.test", Rtype::AAAA).await, "NOERROR");
    assert_eq!(scene.asked(), [""; 0]);
    scene.clock.advance(Duration::from_secs(10));
    scene.ask("nothing.alpha.test", Rtype::A).await;
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test]
async fn aliases_are_chased_across_zones() {
    let scene = scene();
    let expected = "NOERROR www.alpha.test. 300 IN CNAME web.beta.test. | web.beta.test. 300 IN A 192.0.2.80";
    assert_eq!(scene.ask("www.alpha.test", Rtype::A).await, expected);
    scene.asked();
    assert_eq!(scene.ask("www.alpha.test", Rtype::A).await, expected);
    assert_eq!(scene.asked(), [""; 0]);
    let gone = "NXDOMAIN out.alpha.test. 300 IN CNAME gone.beta.test.";
    assert_eq!(scene.ask("out.alpha.test", Rtype::A).await, gone);
    assert_eq!(scene.ask("out.alpha.test", Rtype::A).await, gone);
    assert_eq!(
        scene.ask("web.sub.alpha.test", Rtype::A).await,
        "NOERROR sub.alpha.test. 300 IN DNAME beta.test. | web.sub.alpha.test. 300 IN CNAME web.beta.test. \
         | web.beta.test. 300 IN A 192.0.2.80"
    );
    assert_eq!(scene.ask("loop.alpha.test", Rtype::A).await, "SERVFAIL");
    assert!(scene.asked().len() < 40);
}

#[tokio::test]
async fn a_name_server_without_glue_is_looked_up() {
    let scene = scene();
    assert_eq!(
        scene.ask("host.glueless.test", Rtype::A).await,
        "NOERROR host.glueless.test. 300 IN A 192.0.2.90"
    );
    assert!(scene.asked().contains(&"192.0.2.7 ns.far.other. A".to_owned()));
}

#[tokio::test]
async fn a_server_whose_glue_cannot_be_used_is_looked_up() {
    let scene = scene();
    scene.host(
        [192, 0, 2, 1],
        Host::Lies(Box::new(|ask| {
            let (cut, server, glue) = if ask.name.to_string().ends_with("other.") {
                ("other.", "ns.other.", ("ns.other.", RecordType::A, "192.0.2.7"))
            } else {
                ("test.", "ns.other.", ("ns.other.", RecordType::AAAA, "2001:db8::7"))
            };
            let mut message = lie(ask, &[], &[(cut, RecordType::NS, server), glue]);
            message.metadata.authoritative = false;
            message
        })),
    );
    scene.host([192, 0, 2, 7], Host::Serves(zones(&[("other.", OTHER), ("test.", TEST)])));
    assert_eq!(scene.ask("mx.alpha.test", Rtype::A).await, "NOERROR mx.alpha.test. 300 IN A 192.0.2.25");
}

#[tokio::test]
async fn zones_that_serve_each_other_end_in_servfail() {
    let scene = scene();
    assert_eq!(scene.ask("host.round.test", Rtype::A).await, "SERVFAIL");
    assert!(scene.asked().len() < 12);
}

#[tokio::test]
async fn a_dead_server_of_two_costs_one_try() {
    let scene = scene();
    scene.host([192, 0, 2, 4], Host::Dead);
    for index in 0..8 {
        scene.resolver.flush(&"web.beta.test".parse().unwrap());
        assert!(scene.ask("web.beta.test", Rtype::A).await.starts_with("NOERROR"), "{index}");
    }
    let to_dead = scene.asked().iter().filter(|ask| ask.starts_with("192.0.2.4")).count();
    assert!(to_dead <= 1, "{to_dead}");
}

#[tokio::test]
async fn lame_and_refusing_servers_are_left_for_the_next() {
    for code in [ResponseCode::Refused, ResponseCode::ServFail, ResponseCode::NotImp] {
        let scene = scene();
        scene.host([192, 0, 2, 4], Host::Says(code));
        assert!(scene.ask("web.beta.test", Rtype::A).await.starts_with("NOERROR"), "{code}");
        scene.host([192, 0, 2, 5], Host::Says(code));
        assert_eq!(scene.ask("mx.beta.test", Rtype::A).await, "SERVFAIL", "{code}");
    }
}

#[tokio::test]
async fn truncated_answers_are_asked_for_over_tcp() {
    let scene = scene();
    scene.host([192, 0, 2, 3], Host::Large(zones(&[("alpha.test.", ALPHA)])));
    let answer = scene.ask("many.alpha.test", Rtype::A).await;
    assert!(answer.contains("192.0.2.10") && answer.contains("192.0.2.11"), "{answer}");
    let asked = scene.asked();
    assert_eq!(asked[2..], ["192.0.2.3 many.alpha.test. A", "192.0.2.3 many.alpha.test. A tcp"]);
}

#[tokio::test]
async fn servers_without_edns_are_asked_again_without_and_remembered() {
    let scene = scene();
    scene.host([192, 0, 2, 3], Host::Old(zones(&[("alpha.test.", ALPHA)])));
    assert!(scene.ask("mx.alpha.test", Rtype::A).await.starts_with("NOERROR"));
    assert_eq!(scene.asked().len(), 4);
    assert!(scene.ask("alpha.test", Rtype::MX).await.starts_with("NOERROR"));
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test]
async fn failures_are_remembered_for_a_short_time() {
    let scene = scene();
    scene.host([192, 0, 2, 3], Host::Dead);
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "SERVFAIL");
    scene.asked();
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "SERVFAIL");
    assert_eq!(scene.asked(), [""; 0]);
    scene.host([192, 0, 2, 3], Host::Serves(zones(&[("alpha.test.", ALPHA)])));
    scene.clock.advance(FAILURE_FIRST);
    assert!(scene.ask("alpha.test", Rtype::MX).await.starts_with("NOERROR"));
}

#[tokio::test]
async fn equal_questions_share_one_resolution() {
    let scene = scene();
    let ask = || scene.explained("alpha.test", Rtype::MX);
    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    assert!([a, b, c, d].iter().all(|explained| explained.answer.records.len() == 1));
    assert_eq!(scene.asked().len(), 3);
}

#[tokio::test]
async fn more_questions_than_allowed_are_refused_at_once() {
    let scene = scene();
    let names: Vec<String> = (0..40).map(|index| format!("n{index}.alpha.test")).collect();
    let all = futures_util::future::join_all(names.iter().map(|name| scene.ask(name, Rtype::A))).await;
    let failed = all.iter().filter(|answer| *answer == "SERVFAIL").count();
    assert_eq!(failed, 32, "{all:?}");
    assert_eq!(scene.ask("n39.alpha.test", Rtype::A).await, "NXDOMAIN", "being too busy is not remembered");
}

fn lie(ask: &Ask, records: &[(&str, RecordType, &str)], extra: &[(&str, RecordType, &str)]) -> Message {
    let record = |(owner, rtype, data): &(&str, RecordType, &str)| {
        let owner: HickoryName = owner.parse().unwrap();
        Record::from_rdata(owner, 86_400, RData::try_from_str(*rtype, data).unwrap())
    };
    let mut message = Message::new(1, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = true;
    message.add_query(hickory_proto::op::Query::query(ask.name.to_hickory(), ask.rtype.into()));
    message.answers = records.iter().map(record).collect();
    message.authorities = extra.iter().filter(|(_, rtype, _)| *rtype == RecordType::NS).map(record).collect();
    message.additionals = extra.iter().filter(|(_, rtype, _)| *rtype != RecordType::NS).map(record).collect();
    message
}

#[tokio::test]
async fn a_lying_server_poisons_nothing_outside_its_zone() {
    let scene = scene();
    scene.host(
        [192, 0, 2, 3],
        Host::Lies(Box::new(|ask| {
            let name = ask.name.to_string();
            lie(
                ask,
                &[
                    (&name, RecordType::CNAME, "web.beta.test."),
                    ("web.beta.test.", RecordType::A, "192.0.2.66"),
                    ("beta.test.", RecordType::MX, "1 evil.alpha.test."),
                ],
                &[
                    ("test.", RecordType::NS, "evil.alpha.test."),
                    ("beta.test.", RecordType::NS, "evil.alpha.test."),
                    ("evil.alpha.test.", RecordType::A, "192.0.2.66"),
                    ("mx.beta.test.", RecordType::A, "192.0.2.66"),
                ],
            )
        })),
    );
    let answer = scene.ask("trap.alpha.test", Rtype::A).await;
    assert!(answer.ends_with("web.beta.test. 300 IN A 192.0.2.80"), "{answer}");
    assert_eq!(scene.ask("mx.beta.test", Rtype::A).await, "NOERROR mx.beta.test. 300 IN A 192.0.2.26");
    assert_eq!(scene.ask("beta.test", Rtype::MX).await, "NOERROR beta.test. 300 IN MX 5 mx.beta.test.");
    assert!(!scene.asked().iter().any(|ask| ask.starts_with("192.0.2.66")));
}

#[tokio::test]
async fn glue_is_never_an_answer() {
    let scene = scene();
    scene.ask("web.beta.test", Rtype::A).await;
    scene.asked();
    scene.ask("ns1.beta.test", Rtype::A).await;
    assert_eq!(scene.asked().len(), 1, "the zone itself was asked, though the address is known as glue");
}

#[tokio::test]
async fn a_delegation_that_fans_out_is_bounded() {
    let scene = scene();
    scene.host(
        [192, 0, 2, 3],
        Host::Lies(Box::new(|ask| {
            let names: Vec<String> =
                (0..60).map(|index| format!("ns{index}.x{}.beta.test.", rand::random::<u32>())).collect();
            let cut = ask.name.to_string();
            let servers: Vec<(&str, RecordType, &str)> =
                names.iter().map(|name| (cut.as_str(), RecordType::NS, name.as_str())).collect();
            let mut message = lie(ask, &[], &servers);
            message.metadata.authoritative = false;
            message
        })),
    );
    assert_eq!(scene.ask("x.alpha.test", Rtype::A).await, "SERVFAIL");
    let asked = scene.asked().len();
    // Each of the addresses costs a question for a part of the name and one for the whole.
    assert!(asked <= 3 + 2 * 2 * 3 + 2, "{asked}");
}

#[tokio::test]
async fn a_domain_that_its_parent_took_away_is_gone_after_the_parents_ttl() {
    let scene = scene();
    assert!(scene.ask("beta.test", Rtype::NS).await.starts_with("NOERROR"));
    scene.host([192, 0, 2, 2], Host::Serves(zones(&[("test.", "@ NS ns\nns A 192.0.2.2\n")])));
    for _ in 0..4 {
        scene.clock.advance(Duration::from_secs(70));
        // The zone that was taken away goes on naming itself, with fresh TTLs.
        scene.ask("beta.test", Rtype::NS).await;
        scene.ask(&format!("n{}.beta.test", rand::random::<u32>()), Rtype::A).await;
    }
    scene.clock.advance(Duration::from_secs(30));
    assert_eq!(scene.ask("web.beta.test", Rtype::A).await, "NXDOMAIN");
}

#[tokio::test]
async fn own_zones_are_not_asked_elsewhere_and_lead_on() {
    let own = zones(&[(
        "home.test.",
        "@ NS ns\nns A 192.0.2.9\nmx A 192.0.2.10\nfar CNAME web.beta.test.\nchild NS ns.child\nns.child A 192.0.2.8\n",
    )]);
    let scene = scene_with(own, |_| {});
    scene.host(
        [192, 0, 2, 8],
        Host::Serves(zones(&[("child.home.test.", "@ NS ns\nns A 192.0.2.8\nx A 192.0.2.88\n")])),
    );
    assert_eq!(scene.ask("mx.home.test", Rtype::A).await, "NOERROR mx.home.test. 300 IN A 192.0.2.10");
    assert_eq!(scene.ask("no.home.test", Rtype::A).await, "NXDOMAIN");
    assert_eq!(scene.asked(), [""; 0]);
    assert!(scene.ask("far.home.test", Rtype::A).await.ends_with("web.beta.test. 300 IN A 192.0.2.80"));
    scene.asked();
    assert_eq!(
        scene.ask("x.child.home.test", Rtype::A).await,
        "NOERROR x.child.home.test. 300 IN A 192.0.2.88"
    );
    assert_eq!(scene.asked(), ["192.0.2.8 x.child.home.test. A"]);
}

#[tokio::test]
async fn networks_that_are_denied_are_never_asked() {
    let scene = scene_with(Zones::default(), |rules| {
        rules.deny_servers = vec!["192.0.2.3/32".parse().unwrap()];
    });
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "SERVFAIL");
    assert!(!scene.asked().iter().any(|ask| ask.starts_with("192.0.2.3 ")));
}

#[tokio::test]
async fn answers_with_ttl_0_are_given_and_not_kept() {
    let scene = scene();
    for _ in 0..2 {
        assert_eq!(
            scene.ask("zero.alpha.test", Rtype::A).await,
            "NOERROR zero.alpha.test. 0 IN A 192.0.2.12"
        );
    }
    assert_eq!(scene.asked().iter().filter(|ask| ask.contains("zero")).count(), 2);
}

#[tokio::test]
async fn refreshing_asks_from_the_root_again() {
    let scene = scene();
    scene.ask("alpha.test", Rtype::MX).await;
    scene.asked();
    let explained = scene.resolver.resolve(&"alpha.test".parse().unwrap(), Rtype::MX, true).await;
    assert_eq!((explained.steps.len(), scene.asked().len()), (3, 3));
}

#[tokio::test]
async fn any_is_not_looked_for() {
    let scene = scene();
    assert_eq!(
        scene.ask("alpha.test", Rtype::ANY).await,
        "NOERROR alpha.test. 3600 IN HINFO \"RFC8482\" \"\""
    );
    assert_eq!(scene.asked(), [""; 0]);
}
