//! What our own resolver says about DNSSEC, as the mta hears it: over sockets, from zones that our own server signs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postroad_config::{Dns as DnsConfig, Zone};
use postroad_dns::Dns;
use postroad_dns::dnssec::{Ds, ds_rdata};
use postroad_dns::wire::{Rtype, display_rdata};
use postroad_mta::route::{
    DnsAnswer, DnsLookup, Failure, Family, HickoryLookup, OwnHost, Route, Router, Rules, Way,
};
use postroad_service::{Drain, SystemClock};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(20);

fn loopback(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], port))
}

fn zone(folder: &Path, origin: &str, text: &str, signed: bool) -> Zone {
    let file = folder.join(format!("zone-{origin}"));
    std::fs::write(&file, format!("$TTL 60\n@ SOA ns h 1 3600 600 86400 60\n{text}")).unwrap();
    let sign = signed.then(|| "default".to_owned());
    Zone { sign, ..Zone::in_file(origin, file) }
}

fn start(config: &DnsConfig, drain: &Drain) -> Dns {
    Dns::start(config, Arc::new(SystemClock::new()), drain).unwrap()
}

fn serving(folder: &Path, listen: SocketAddr, zones: Vec<Zone>) -> DnsConfig {
    let key_dir = Some(folder.join("keys"));
    let mut config = DnsConfig { listen: vec![listen], zones, key_dir, ..DnsConfig::default() };
    config.recursion.allow.clear();
    config
}

/// The DS record of a zone that is signed here, once it is.
async fn ds(dns: &Dns, origin: &str) -> String {
    let apex = origin.parse().unwrap();
    let keys = async {
        loop {
            let zone = dns.hosted.zones().load().get(&apex).cloned();
            let keys = zone.as_ref().and_then(|zone| zone.apex_node()?.rrset(Rtype::DNSKEY));
            if let Some(keys) = keys {
                return keys.first().to_vec();
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let key = timeout(SOON, keys).await.unwrap();
    format!("{origin} DS {}", display_rdata(Rtype::DS, &ds_rdata(&apex, &key, Ds::SHA256).unwrap()))
}

#[tokio::test]
async fn secure_insecure_and_bogus_are_told_apart() {
    postroad_service::tls::install_provider();
    let folder = tempfile::tempdir().unwrap();
    let drain = Drain::new(Duration::from_secs(5));
    let text = |last: u8| format!("@ NS ns\nns A 127.0.0.{last}\n@ MX 10 mx\nmx A 192.0.2.1\n");
    let domains = ["alpha.test.", "plain.test.", "bogus.test."];
    let zones = domains.map(|origin| zone(folder.path(), origin, &text(1), origin == "alpha.test."));
    let authority = start(&serving(folder.path(), loopback(1, 0), zones.to_vec()), &drain);
    let port = authority.addresses[0].port();

    let secure = ds(&authority, "alpha.test.").await;
    let delegations =
        domains.map(|origin| format!("{origin} NS ns.{origin}\nns.{origin} A 127.0.0.1\n")).concat();
    // The DS of a key that bogus.test does not have.
    let bogus = secure.replace("alpha.test.", "bogus.test.");
    let root = format!("@ NS ns.\nns. A 127.0.0.2\n{delegations}{secure}\n{bogus}\n");
    let root = vec![zone(folder.path(), ".", &root, true)];
    let root = start(&serving(folder.path(), loopback(2, port), root), &drain);

    let hints = folder.path().join("hints");
    std::fs::write(&hints, ". NS ns.\nns. A 127.0.0.2\n").unwrap();
    let mut config = DnsConfig { listen: vec![loopback(3, 0)], ..DnsConfig::default() };
    config.recursion.root_hints = Some(hints);
    config.recursion.upstream_port = port;
    config.recursion.trust_anchors = vec![ds(&root, ".").await];
    let resolver = start(&config, &drain);

    let dns = HickoryLookup::new(vec![("127.0.0.3".to_owned(), resolver.addresses[0].port())]);
    for round in ["cold", "cached"] {
        for (domain, expected) in [("alpha.test", true), ("plain.test", false)] {
            let DnsAnswer::Records { secure, .. } = dns.mx(domain).await else { panic!("{domain} {round}") };
            assert_eq!(secure, expected, "{domain} {round}");
        }
        assert_eq!(dns.mx("bogus.test").await, DnsAnswer::Failed(Failure::Bogus), "{round}");
        assert_eq!(dns.addresses("mx.alpha.test", Family::A).await.to_string(), "192.0.2.1 (secure)");
        assert_eq!(dns.mx("none.alpha.test").await, DnsAnswer::NoSuchDomain);
    }
    // What a message that may go over TLS alone goes by (RFC 8689 section 4.2.1).
    let own = OwnHost { name: "mx.own.test".parse().unwrap(), addresses: Vec::new() };
    let router = Router::new(Arc::new(dns), own, 25, Rules::default());
    let route = async |domain: &str| {
        let recipient = format!("ann@{domain}").parse().unwrap();
        let Way::Out(wanted) = router.rules().outside(&recipient, None) else { panic!("{domain}") };
        router.find(&wanted).await.routed.route.clone()
    };
    for (domain, expected) in [("alpha.test", true), ("plain.test", false)] {
        let Route::Hosts(destination) = route(domain).await else { panic!("{domain}") };
        assert_eq!(destination.secure, expected, "{domain}");
    }
    assert!(matches!(route("bogus.test").await, Route::Deferred(reply) if reply.code == 451));
    drain.stop();
}
