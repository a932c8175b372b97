//! The role stops and starts: what its resolver knew it still knows, though nobody can be asked any more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use common::{Running, Stage, ask, data, loopback};
use hickory_proto::op::ResponseCode;
use postroad_config::Config;

const ROOT: &str =
    "$TTL 3600\n@ SOA a.root. h 1 1h 15m 1w 60\n@ NS a.root.\na.root. A 127.0.0.2\nhost A 192.0.2.1\n";

#[tokio::test]
async fn a_stopped_server_starts_with_what_it_knew() {
    let stage = Stage::new();
    let zones = vec![stage.zone(".", ROOT)];
    let (root, end_of_root) = stage.start_part(&stage.authoritative(loopback(2, 0), zones)).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut config = Config::new("resolver.test", state.path());
    config.dns.recursion.root_hints =
        Some(stage.file("hints", "$TTL 1\n. NS a.root.\na.root. A 127.0.0.2\n"));
    config.dns.recursion.upstream_port = root.addresses[0].port();
    config.dns.recursion.resolve_timeout = Duration::from_secs(1);

    let first = Running::begin(config.clone()).await;
    assert_eq!(data(&ask(first.dns(), "host.", "A").await), ["192.0.2.1"]);
    let missing = ask(first.dns(), "none.", "A").await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    first.end().await;
    let file = state.path().join("dns-cache");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    end_of_root.stop();
    end_of_root.finish().await;

    let second = Running::begin(config.clone()).await;
    assert_eq!(data(&ask(second.dns(), "host.", "A").await), ["192.0.2.1"]);
    let missing = ask(second.dns(), "none.", "A").await;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    second.end().await;

    // What a setting says now holds for what was found before: the cache is not read.
    config.dns.recursion.private_addresses = vec!["192.0.2.0/24".parse().unwrap()];
    let third = Running::begin(config.clone()).await;
    let unknown = ask(third.dns(), "host.", "A").await;
    assert_eq!(unknown.metadata.response_code, ResponseCode::ServFail);
    third.end().await;

    std::fs::remove_file(&file).unwrap();
    config.dns.recursion.keep_cache = false;
    Running::begin(config).await.end().await;
    assert!(!file.exists());
}
