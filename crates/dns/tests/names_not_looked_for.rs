//! Names that are answered here, refused or blocked, over real sockets, and lists that change under a running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::fake::{Fake, with_authority};
use common::{Running, Stage, ask, data, loopback};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use postroad_config::{BlockAnswer, BlockList, Config, Dns as DnsConfig, LocalKind, LocalZone};
use postroad_rpc::v1::zones_client::ZonesClient;
use postroad_rpc::v1::{ReloadZonesRequest, ResolveRequest, cache_client::CacheClient};
use postroad_types::Role;
use tonic::Code;

const BY_ROOT: &str = "192.0.2.1";

/// A resolver's configuration, and a root that knows every name.
async fn scene(stage: &Stage) -> (DnsConfig, Fake) {
    let root = Fake::new(2, |question| {
        let mut answer = with_authority(question, 1)?;
        // An alias to a name that is refused.
        if question.queries[0].name().to_string().to_ascii_lowercase().starts_with("alias.") {
            let target = hickory_proto::rr::rdata::CNAME("a.refused.test.".parse().unwrap());
            answer.answers[0].data = hickory_proto::rr::RData::CNAME(target);
        }
        Some(answer)
    });
    let root = root.await;
    let mut config = DnsConfig { listen: vec![loopback(1, 0)], ..DnsConfig::default() };
    config.recursion.root_hints = Some(stage.file("hints", "$TTL 1\n. NS a.\na. A 127.0.0.2\n"));
    config.recursion.upstream_port = root.at.port();
    (config, root)
}

fn local(zone: &str, kind: LocalKind, records: &[&str]) -> LocalZone {
    let records = records.iter().map(|record| (*record).to_owned()).collect();
    LocalZone { zone: zone.to_owned(), kind, records }
}

/// The response code, the last record, and the extended error.
fn told(answer: &Message) -> String {
    let code = match answer.metadata.response_code {
        ResponseCode::NoError => data(answer).pop().unwrap_or_else(|| "nothing".to_owned()),
        code => code.to_string(),
    };
    let option = answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Unknown(15)));
    match option {
        Some(EdnsOption::Unknown(_, octets)) => format!("{code}, {}", octets[1]),
        _ => code,
    }
}

#[tokio::test]
async fn local_zones_of_all_kinds_are_answered_and_nobody_is_asked() {
    let stage = Stage::new();
    let (mut config, root) = scene(&stage).await;
    config.recursion.local = vec![
        local("static.test", LocalKind::Static, &["@ A 192.0.2.9", "www CNAME @"]),
        local("redirect.test", LocalKind::Redirect, &["@ A 192.0.2.10"]),
        local("refused.test", LocalKind::Refuse, &[]),
        local("here.refused.test", LocalKind::Static, &["@ A 192.0.2.11"]),
        local("localhost", LocalKind::Refuse, &[]),
    ];
    let own = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.12\nout CNAME b.refused.test.\n";
    config.zones = vec![stage.zone("own.refused.test", own)];
    let dns = stage.start(&config).unwrap();
    for (name, rtype, expected) in [
        ("static.test.", "A", "192.0.2.9"),
        ("www.static.test.", "A", "192.0.2.9"),
        ("www.static.test.", "MX", "static.test."),
        ("none.static.test.", "A", "Non-Existent Domain"),
        ("a.b.redirect.test.", "A", "192.0.2.10"),
        ("a.b.redirect.test.", "AAAA", "nothing"),
        ("refused.test.", "A", "Query Refused, 15"),
        ("a.B.Refused.test.", "TXT", "Query Refused, 15"),
        ("a.b.refused.test.", "DS", "Query Refused, 15"),
        ("here.refused.test.", "A", "192.0.2.11"),
        ("ns.own.refused.test.", "A", "192.0.2.12"),
        ("x.own.refused.test.", "A", "Non-Existent Domain"),
        ("localhost.", "A", "Query Refused, 15"),
    ] {
        for _ in 0..2 {
            assert_eq!(told(&ask(dns.addresses[0], name, rtype).await), expected, "{name} {rtype}");
        }
    }
    assert!(root.asked().is_empty());
    assert_eq!(told(&ask(dns.addresses[0], "other.test.", "A").await), BY_ROOT);
    // Aliases lead there no more than questions do, from others nor from our own zones.
    for name in ["alias.test.", "out.own.refused.test."] {
        for _ in 0..2 {
            assert_eq!(told(&ask(dns.addresses[0], name, "A").await), "Query Refused, 15", "{name}");
        }
    }
    let refused =
        |question: &Message| question.queries[0].name().to_string().to_ascii_lowercase().contains("refused");
    assert!(!root.asked().iter().any(refused));
}

/// Reloads all zones and lists.
async fn reload(zones: &mut ZonesClient<postroad_rpc::Channel>) -> Result<(), tonic::Status> {
    zones.reload_zones(ReloadZonesRequest { origin: String::new() }).await.map(drop)
}

#[tokio::test]
async fn lists_are_read_again_and_broken_ones_leave_the_old() {
    let stage = Stage::new();
    let (dns, root) = scene(&stage).await;
    let names = stage.file("names", "# ads\nads.test\n");
    let hosts = stage.file("hosts", "0.0.0.0 tracker.test more.test # hosts\n");
    let mut config = Config::new("ns.alpha.test", stage.folder.path().join("state"));
    config.dns = dns;
    config.dns.recursion.block = vec![
        BlockList { file: names.clone(), answer: BlockAnswer::Nxdomain },
        BlockList { file: hosts.clone(), answer: BlockAnswer::Null },
    ];
    let running = Running::begin(config).await;
    let mut zones = ZonesClient::new(running.channel(Role::Operator));
    let ask = async |name: &str| told(&ask(running.dns(), name, "A").await);
    let blocked = "Non-Existent Domain, 15";
    assert_eq!(ask("a.b.ads.test.").await, blocked);
    assert_eq!(
        (ask("tracker.test.").await.as_str(), ask("x.more.test.").await.as_str()),
        ("0.0.0.0, 15", "0.0.0.0, 15")
    );
    assert!(root.asked().is_empty());
    // What was answered before is answered anew.
    assert_eq!((ask("new.test.").await.as_str(), ask("new.test.").await.as_str()), (BY_ROOT, BY_ROOT));
    std::fs::write(&names, "new.test\n").unwrap();
    reload(&mut zones).await.unwrap();
    assert_eq!((ask("new.test.").await.as_str(), ask("a.b.ads.test.").await.as_str()), (blocked, BY_ROOT));

    let failed = async |file: &Path, zones: &mut ZonesClient<_>, what: &str| {
        let error = reload(zones).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let expected = format!("{}{what}", file.display());
        assert!(error.message().contains(&expected), "{}", error.message());
        assert_eq!(
            (ask("new.test.").await.as_str(), ask("tracker.test.").await.as_str()),
            (blocked, "0.0.0.0, 15")
        );
        assert_eq!(ask("fresh.test.").await, BY_ROOT);
    };
    std::fs::write(&names, "fresh.test\nnew.test\n\nno..name\n").unwrap();
    failed(&names, &mut zones, ":4: \"no..name\" is no domain name; expected a domain").await;
    std::fs::write(&names, b"fresh.test\nb\xff\xfe.test\n").unwrap();
    failed(&names, &mut zones, ": ").await;
    std::fs::write(&names, "fresh.test\n").unwrap();
    std::fs::remove_file(&hosts).unwrap();
    failed(&hosts, &mut zones, ": ").await;
    std::fs::write(&hosts, "").unwrap();
    reload(&mut zones).await.unwrap();
    assert_eq!((ask("fresh.test.").await.as_str(), ask("tracker.test.").await.as_str()), (blocked, BY_ROOT));

    let mut cache = CacheClient::new(running.channel(Role::Operator));
    let request = ResolveRequest { name: "fresh.test".into(), r#type: "A".into(), ..Default::default() };
    assert_eq!(cache.resolve(request).await.unwrap().into_inner().rcode, "NXDOMAIN");
    running.end().await;
}

#[tokio::test]
async fn a_server_does_not_start_with_a_list_or_zone_that_cannot_be_used() {
    let stage = Stage::new();
    let (config, _root) = scene(&stage).await;
    let mut listed = config.clone();
    let file = stage.file("names", "ads.test\nb..test\n");
    listed.recursion.block = vec![BlockList { file: file.clone(), answer: BlockAnswer::Null }];
    let error = stage.start(&listed).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "[[dns.recursion.block]] {}:2: \"b..test\" is no domain name; expected a domain, or an address and domains",
            file.display()
        )
    );
    let mut served = config;
    served.recursion.local = vec![local("a.test", LocalKind::Static, &["@ A 192.0.2.1", "www A 192.0.2"])];
    let error = stage.start(&served).unwrap_err().to_string();
    assert!(
        error.starts_with("[[dns.recursion.local]] a.test. cannot be served:\n\"www A 192.0.2\": "),
        "{error}"
    );
}
