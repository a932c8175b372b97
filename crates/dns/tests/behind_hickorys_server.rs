//! hickory's server carries our answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::{ask, ask_from, ask_tcp, data, loopback, question};
use hickory_proto::op::ResponseCode;
use hickory_server::Server;
use postroad_dns::front::{Engine, HickoryHandler, Settings};
use postroad_dns::serve::Rotation;
use postroad_dns::zone::{Zones, zone_from_text};
use tokio::net::{TcpListener, UdpSocket};

#[tokio::test]
async fn answers_are_the_same_as_over_our_own_sockets() {
    let text = "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\n@ MX 10 mx\nmx A 192.0.2.25\n\
                child NS ns.child\nns.child A 192.0.2.53\nodd TYPE65280 \\# 2 0102\n";
    let zone = Arc::new(zone_from_text(&"alpha.test".parse().unwrap(), text).unwrap());
    let zones = Arc::new(ArcSwap::from_pointee(Zones::new([zone])));
    let engine =
        Arc::new(Engine::new(zones, None, Settings { rotation: Rotation::Fixed, ..Settings::default() }));
    let mut server = Server::new(HickoryHandler(engine));
    let udp = UdpSocket::bind(loopback(1, 0)).await.unwrap();
    let tcp = TcpListener::bind(loopback(1, 0)).await.unwrap();
    let (udp_at, tcp_at) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    server.register_socket(udp);
    server.register_listener(tcp, Duration::from_secs(5), 16);

    let mail = ask(udp_at, "alpha.test.", "MX").await;
    assert_eq!((data(&mail), mail.additionals.len()), (vec!["10 mx.alpha.test.".to_owned()], 1));
    assert!(mail.metadata.authoritative);
    let referral = ask_tcp(tcp_at, "x.child.alpha.test.", "A").await;
    assert!(!referral.metadata.authoritative && referral.answers.is_empty());
    assert_eq!((referral.authorities.len(), referral.additionals.len()), (1, 1));
    assert_eq!(ask(udp_at, "none.alpha.test.", "A").await.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(ask(udp_at, "odd.alpha.test.", "TYPE65280").await.answers.len(), 1);
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let foreign = ask_from(here, udp_at, &question("example.com.", "A", false)).await;
    assert_eq!(foreign.metadata.response_code, ResponseCode::Refused);
    server.shutdown_gracefully().await.unwrap();
}
