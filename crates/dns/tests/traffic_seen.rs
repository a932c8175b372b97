//! The query log, and what those see who watch the traffic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Running, SOON, Stage, ask, ask_tcp};
use postroad_config::{Config, QueryLogClients};
use postroad_rpc::v1::traffic_client::TrafficClient;
use postroad_rpc::v1::{WatchTrafficReply, WatchTrafficRequest};
use postroad_types::Role;
use tokio::time::{Instant, timeout};
use tonic::Code;

const ZONE: &str = "$TTL 60\n@ SOA ns h 7 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\nmx A 192.0.2.25\n";

#[tokio::test]
async fn every_request_is_counted_and_logged_and_a_sample_is_shown() {
    let stage = Stage::new();
    let mut config = Config::new("ns.alpha.test", stage.folder.path().join("state"));
    let log = stage.folder.path().join("queries");
    config.dns.zones = vec![stage.zone("alpha.test", ZONE)];
    config.dns.query_log_file = Some(log.clone());
    config.dns.query_log_clients = QueryLogClients::Network;
    config.dns.recursion.allow.clear();
    let running = Running::begin(config).await;
    let mut traffic = TrafficClient::new(running.channel(Role::Operator));
    let mut looks = traffic.watch_traffic(WatchTrafficRequest { most: 1 }).await.unwrap().into_inner();
    looks.message().await.unwrap().unwrap();

    let dns = running.dns();
    let (mut over_udp, mut missing) = (0, 0);
    let begun = Instant::now();
    let is_seen = |look: &WatchTrafficReply| look.names.first().is_some_and(|name| name.per_second > 0.0);
    let seen = loop {
        for _ in 0..100 {
            ask(dns, "ns.alpha.test.", "A").await;
        }
        ask(dns, "None.alpha.test.", "A").await;
        (over_udp, missing) = (over_udp + 101, missing + 1);
        ask_tcp(dns, "mx.alpha.test.", "A").await;
        let look = timeout(SOON, looks.message()).await.unwrap().unwrap().unwrap();
        if is_seen(&look) {
            break look;
        }
        assert!(begun.elapsed() < SOON, "nothing was seen: {look:?}");
    };
    assert_eq!((seen.names[0].name.as_str(), seen.names[0].r#type.as_str()), ("ns.alpha.test", "A"));
    assert_eq!((seen.names.len(), seen.clients[0].address.as_str()), (1, "127.0.0.1"));
    assert!(seen.took_us[0] > 0 && seen.took_us.is_sorted(), "{:?}", seen.took_us);
    let total = |transport: &str, rcode: &str| {
        let found = seen.answers.iter().find(|a| a.transport == transport && a.rcode == rcode);
        found.map_or(0, |answers| answers.count.unwrap().total)
    };
    assert_eq!(total("udp", "NXDOMAIN"), missing);
    assert_eq!(total("udp", "NOERROR"), over_udp - missing);
    assert_eq!(total("tcp", "NOERROR"), missing);
    assert!(seen.kept.unwrap().total > 50, "{:?}", seen.kept);
    let metrics = postroad_service::admin::metrics().unwrap().render();
    let line = format!("postroad_dns_queries_total{{transport=\"udp\",rcode=\"NXDOMAIN\"}} {missing}");
    assert!(metrics.contains(&line), "{metrics}");

    let wanted = (over_udp + missing) as usize;
    let logged = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if text.lines().count() >= wanted || begun.elapsed() > 2 * SOON {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(logged.lines().count(), wanted);
    let fields = |part: &str| {
        let line =
            logged.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {logged}"));
        line.split(' ').skip(1).take(6).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(fields("NXDOMAIN"), "127.0.0.0 udp none.alpha.test. A NXDOMAIN here");
    assert_eq!(fields(" tcp "), "127.0.0.0 tcp mx.alpha.test. A NOERROR here");
    assert_eq!(fields(" kept "), "127.0.0.0 udp ns.alpha.test. A NOERROR kept");

    let mut strangers = TrafficClient::new(running.channel(Role::Mta));
    let refused = strangers.watch_traffic(WatchTrafficRequest { most: 1 }).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    running.end().await;
    let end = async { while looks.message().await.is_ok_and(|look| look.is_some()) {} };
    timeout(SOON, end).await.expect("a watcher hears of the end");
}
