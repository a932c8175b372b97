//! Zones that are changed over gRPC, by the operator and by the mail roles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use common::{Running, SOON, Stage, ask, data, loopback};
use postroad_config::Config;
use postroad_rpc::Channel;
use postroad_rpc::v1::zones_client::ZonesClient;
use postroad_rpc::v1::{
    CommitZoneReply, CommitZoneRequest, DiffZoneRequest, LoadZoneRequest, WatchZonesRequest,
};
use postroad_types::Role;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tonic::{Code, Status};

const ZONE: &str = "$TTL 60\n@ SOA ns h 7 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\n; a remark\n";

struct Scene {
    stage: Stage,
    file: std::path::PathBuf,
    dns: SocketAddr,
    running: Running,
}

/// `told` hears of changes.
async fn scene(told: Option<SocketAddr>) -> Scene {
    let stage = Stage::new();
    let mut config = Config::new("ns.alpha.test", stage.folder.path().join("state"));
    let mut zone = stage.zone("alpha.test", ZONE);
    let file = zone.file.clone().unwrap();
    zone.mail_names = vec!["_domainkey".into(), "_25._tcp".into()];
    zone.notify = told.map(|told| told.to_string().parse().unwrap()).into_iter().collect();
    config.dns.zones = vec![zone];
    config.dns.recursion.allow.clear();
    let running = Running::begin(config).await;
    Scene { stage, file, dns: running.dns(), running }
}

impl Scene {
    fn zones(&self, role: Role) -> ZonesClient<Channel> {
        ZonesClient::new(self.running.channel(role))
    }

    async fn end(self) {
        self.running.end().await;
        drop(self.stage);
    }
}

fn commit(serial: Option<u32>, remove: &[&str], add: &[&str]) -> CommitZoneRequest {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let origin = "alpha.test".to_owned();
    CommitZoneRequest { origin, expected_serial: serial, remove: strings(remove), add: strings(add) }
}

async fn committed(
    zones: &mut ZonesClient<Channel>,
    request: CommitZoneRequest,
) -> Result<(u32, bool), Status> {
    let CommitZoneReply { zone, changed } = zones.commit_zone(request).await?.into_inner();
    Ok((zone.unwrap().serial, changed))
}

#[tokio::test]
async fn a_commit_is_written_served_and_told_at_once_or_not_at_all() {
    let peer = UdpSocket::bind(loopback(1, 0)).await.unwrap();
    let scene = scene(Some(peer.local_addr().unwrap())).await;
    let mut zones = scene.zones(Role::Operator);
    let watched = WatchZonesRequest { origin: "alpha.test".into() };
    let mut serials = zones.watch_zones(watched).await.unwrap().into_inner();
    assert_eq!(serials.message().await.unwrap().unwrap().serial, 7);

    let request = commit(Some(7), &["ns A 192.0.2.1"], &["ns 60 A 192.0.2.2", "mx 30 A 192.0.2.25"]);
    assert_eq!(committed(&mut zones, request).await.unwrap(), (8, true));
    assert_eq!(data(&ask(scene.dns, "ns.alpha.test.", "A").await), ["192.0.2.2"]);
    let next = timeout(SOON, serials.message()).await.unwrap().unwrap().unwrap();
    assert_eq!((next.origin.as_str(), next.serial), ("alpha.test", 8));
    let text = std::fs::read_to_string(&scene.file).unwrap();
    assert!(text.contains("mx.alpha.test. 30 IN A 192.0.2.25") && !text.contains("192.0.2.1\n"), "{text}");
    let mut octets = [0; 512];
    let length = timeout(SOON, peer.recv(&mut octets)).await.unwrap().unwrap();
    assert_eq!(octets[2] & 0x78, 4 << 3, "NOTIFY, {length} octets");

    let again = commit(Some(8), &[], &["mx 30 A 192.0.2.25"]);
    assert_eq!(committed(&mut zones, again).await.unwrap(), (8, false));
    for (request, code) in [
        (commit(Some(7), &[], &["x 1 A 192.0.2.1"]), Code::Aborted),
        (commit(None, &["x A 192.0.2.1"], &["y 1 A 192.0.2.1"]), Code::FailedPrecondition),
        (commit(None, &[], &["y 1 A 192.0.2.1", "y 1 A 192.0.2"]), Code::InvalidArgument),
        (commit(None, &["@ NS ns"], &["y 1 A 192.0.2.1"]), Code::InvalidArgument),
        (CommitZoneRequest { origin: "beta.test".into(), ..commit(None, &[], &[]) }, Code::NotFound),
    ] {
        assert_eq!(committed(&mut zones, request.clone()).await.unwrap_err().code(), code, "{request:?}");
    }
    assert!(ask(scene.dns, "y.alpha.test.", "A").await.answers.is_empty());
    scene.end().await;
    assert!(serials.message().await.is_ok_and(|last| last.is_none()), "a watcher hears of the end");
}

#[tokio::test]
async fn the_mail_roles_change_what_is_theirs_and_nothing_else() {
    let scene = scene(None).await;
    for (role, owner) in [(Role::Mda, "k1._domainkey"), (Role::Mta, "_25._tcp.mx")] {
        let mut zones = scene.zones(role);
        let own = format!("{owner} 60 TXT \"{role}\"");
        committed(&mut zones, commit(None, &[], &[&own])).await.unwrap();
        let refused = committed(&mut zones, commit(None, &["ns A 192.0.2.1"], &[&own])).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("may not put records at ns.alpha.test."), "{}", refused.message());
        let apex = committed(&mut zones, commit(None, &[], &["@ 60 TXT \"x\""])).await.unwrap_err();
        assert_eq!(apex.code(), Code::PermissionDenied);
        let text =
            vec![LoadZoneRequest { origin: "alpha.test".into(), text: ZONE.into(), ..Default::default() }];
        let load = zones.load_zone(futures_util::stream::iter(text)).await.unwrap_err();
        assert_eq!(load.code(), Code::PermissionDenied);
    }
    assert_eq!(data(&ask(scene.dns, "k1._domainkey.alpha.test.", "TXT").await), ["mda"]);
    scene.end().await;
}

#[tokio::test]
async fn what_the_operator_wrote_is_shown_and_not_overwritten() {
    let scene = scene(None).await;
    let mut zones = scene.zones(Role::Operator);
    let differences = async || {
        let asked = DiffZoneRequest { origin: "alpha.test".into() };
        let mut replies = scene.zones(Role::Operator).diff_zone(asked).await?.into_inner();
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        while let Some(reply) = replies.message().await? {
            removed.extend(reply.removed);
            added.extend(reply.added);
        }
        Ok::<_, Status>((removed, added))
    };
    assert_eq!(differences().await.unwrap(), (vec![], vec![]));
    let edited = ZONE.replace(" 7 ", " 9 ").replace("192.0.2.1", "192.0.2.9");
    // So that the time of the change differs, whatever the file system's grain is.
    std::fs::write(&scene.file, &edited).unwrap();
    let later = SystemTime::now() + Duration::from_secs(2);
    std::fs::File::options().append(true).open(&scene.file).unwrap().set_modified(later).unwrap();
    let (removed, added) = differences().await.unwrap();
    assert_eq!(removed[1], "ns.alpha.test. 60 IN A 192.0.2.1");
    assert_eq!(added[1], "ns.alpha.test. 60 IN A 192.0.2.9");
    assert!(added[0].contains(" SOA ") && added[0].contains(" 9 "), "{added:?}");
    let touched = committed(&mut zones, commit(None, &[], &["x 1 A 192.0.2.1"])).await.unwrap_err();
    assert_eq!(touched.code(), Code::FailedPrecondition);
    assert!(touched.message().contains("postroad dns zone reload"), "{}", touched.message());
    assert_eq!(std::fs::read_to_string(&scene.file).unwrap(), edited);
    std::fs::write(&scene.file, "nonsense").unwrap();
    assert_eq!(differences().await.unwrap_err().code(), Code::InvalidArgument);
    scene.end().await;
}

#[tokio::test]
async fn a_whole_zone_is_loaded_in_pieces_if_it_is_newer() {
    let scene = scene(None).await;
    let load = async |text: &str, serial: Option<u32>| {
        let (head, tail) = text.split_at(text.len() / 2);
        let piece = |origin: &str, text: &str| LoadZoneRequest {
            origin: origin.into(),
            expected_serial: serial,
            text: text.into(),
        };
        let pieces = vec![piece("alpha.test", head), piece("", tail)];
        let reply =
            scene.zones(Role::Operator).load_zone(futures_util::stream::iter(pieces)).await?.into_inner();
        Ok::<_, Status>((reply.zone.unwrap().serial, reply.changed))
    };
    assert_eq!(load(ZONE, Some(7)).await.unwrap(), (7, false));
    let next = ZONE.replace("192.0.2.1", "192.0.2.3");
    assert_eq!(load(&next, None).await.unwrap_err().code(), Code::FailedPrecondition);
    let next = next.replace(" 7 ", " 8 ");
    assert_eq!(load(&next, Some(8)).await.unwrap_err().code(), Code::Aborted);
    assert_eq!(load(&next, Some(7)).await.unwrap(), (8, true));
    assert_eq!(data(&ask(scene.dns, "ns.alpha.test.", "A").await), ["192.0.2.3"]);
    assert!(std::fs::read_to_string(&scene.file).unwrap().contains("192.0.2.3"));
    assert_eq!(load("x A 192.0.2.1", None).await.unwrap_err().code(), Code::InvalidArgument);
    scene.end().await;
}
