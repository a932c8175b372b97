//! The gRPC services over mTLS, as the command line calls them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{SOON, Stage, loopback};
use postroad_config::Config;
use postroad_rpc::v1::cache_client::CacheClient;
use postroad_rpc::v1::zones_client::ZonesClient;
use postroad_rpc::v1::{
    CheckZoneRequest, FlushCacheRequest, ListZonesRequest, ReloadZonesRequest, ResolveRequest,
    ShowCacheRequest, ShowZoneRequest,
};
use postroad_service::node::operator_channel;
use postroad_service::{Drain, Node};
use postroad_types::Role;
use tokio::time::timeout;
use tonic::Code;

const ZONE: &str = "$TTL 60\n@ SOA ns h 7 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\n";

#[tokio::test]
async fn zones_and_cache_are_shown_and_changed() {
    postroad_service::tls::install_provider();
    let stage = Stage::new();
    let mut config = Config::new("ns.alpha.test", stage.folder.path().join("state"));
    let zone = stage.zone("alpha.test", ZONE);
    config.dns.listen = vec![loopback(1, 0)];
    config.dns.rpc_listen = vec![loopback(1, 0)];
    config.dns.admin_listen = vec![loopback(1, 0)];
    config.dns.zones = vec![zone.clone()];
    config.dns.recursion.root_hints = Some(stage.file("hints", "$TTL 1\n. NS a.\na. A 127.0.0.1\n"));
    // Port 9 (discard): nobody answers there.
    config.dns.recursion.upstream_port = 9;
    let drain = Drain::new(Duration::from_secs(5));
    let node = Node::alone(Arc::new(config.clone()), Role::Dns, drain.clone()).unwrap();
    let running = tokio::spawn(postroad_dns::run(node.clone()));
    let bound = async {
        while node.addresses("admin").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, bound).await.unwrap();
    config.dns.rpc_listen = node.addresses("gRPC");
    assert_eq!(node.addresses("DNS").len(), 1);

    let channel = operator_channel(&config, Role::Dns, SOON).unwrap();
    let mut zones = ZonesClient::new(channel.clone());
    let listed = zones.list_zones(ListZonesRequest {}).await.unwrap().into_inner().zones;
    assert_eq!(
        (listed.len(), listed[0].origin.as_str(), listed[0].serial, listed[0].records),
        (1, "alpha.test", 7, 3)
    );
    let mut shown =
        zones.show_zone(ShowZoneRequest { origin: "alpha.test".into() }).await.unwrap().into_inner();
    let records = shown.message().await.unwrap().unwrap().records;
    assert_eq!(records[0], "alpha.test. 60 IN NS ns.alpha.test.");
    assert_eq!(records[2], "ns.alpha.test. 60 IN A 192.0.2.1");
    let unknown = zones.show_zone(ShowZoneRequest { origin: "beta.test".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    std::fs::write(zone.file.as_ref().unwrap(), format!("{ZONE}mx A 192.0.2.256\n")).unwrap();
    let broken = zones.reload_zones(ReloadZonesRequest { origin: String::new() }).await.unwrap_err();
    assert_eq!(broken.code(), Code::InvalidArgument);
    assert!(broken.message().contains(":5:6: "), "{}", broken.message());
    std::fs::write(zone.file.as_ref().unwrap(), format!("{ZONE}mx A 192.0.2.25\n")).unwrap();
    let reloaded =
        zones.reload_zones(ReloadZonesRequest { origin: "alpha.test".into() }).await.unwrap().into_inner();
    assert_eq!(reloaded.zones[0].records, 4);

    let check = |text: &str| CheckZoneRequest { origin: "x.test".into(), text: text.into() };
    assert_eq!(zones.check_zone(check(ZONE)).await.unwrap().into_inner().records, 3);
    let errors = zones.check_zone(check("$TTL 1\n@ A 1\n")).await.unwrap().into_inner().errors;
    assert!(errors[0].starts_with("2:5: ") && errors.len() == 3, "{errors:?}");

    let mut cache = CacheClient::new(channel);
    let ask = |name: &str, rtype: &str| ResolveRequest {
        name: name.into(),
        r#type: rtype.into(),
        ..Default::default()
    };
    let own = cache.resolve(ask("mx.alpha.test", "A")).await.unwrap().into_inner();
    assert_eq!(
        (own.rcode.as_str(), own.answers[0].as_str()),
        ("NOERROR", "mx.alpha.test. 60 IN A 192.0.2.25")
    );
    assert_eq!((own.steps[0].transport.as_str(), own.cached_s), ("zone", -1));
    let failed = cache.resolve(ask("beta.test", "MX")).await.unwrap().into_inner();
    assert_eq!(failed.rcode, "SERVFAIL");
    assert_eq!(failed.steps[0].server, "127.0.0.1:9");
    let mut kept = cache.show_cache(ShowCacheRequest { name: "test".into() }).await.unwrap().into_inner();
    let entries = kept.message().await.unwrap().unwrap().entries;
    assert_eq!((entries[0].name.as_str(), entries[0].kind.as_str()), ("beta.test", "failure"));
    let flush = |name: &str| FlushCacheRequest { name: name.into() };
    assert_eq!(cache.flush_cache(flush("beta.test")).await.unwrap().into_inner().entries, 1);
    assert_eq!(cache.flush_cache(flush("")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(cache.resolve(ask("a..b", "A")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(cache.resolve(ask("a.b", "NONSENSE")).await.unwrap_err().code(), Code::InvalidArgument);

    drop((zones, cache));
    drain.stop();
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
}
