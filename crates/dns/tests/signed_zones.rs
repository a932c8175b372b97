//! Zones that are signed here, as files change, records are updated, time passes and servers restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use common::{SOON, Stage, ask, loopback};
use postroad_config::{Config, Dns as DnsConfig, Zone};
use postroad_dns::Dns;
use postroad_dns::dnssec::{Dnskey, Ds, Rrsig, ds_rdata, verify};
use postroad_dns::keys::{Policy, words};
use postroad_dns::signing::parent::{DsSet, ParentError};
use postroad_dns::signing::{AskParent, Keeper, Settings, Signer};
use postroad_dns::transfer::incoming::Brought;
use postroad_dns::transfer::{Have, Peer};
use postroad_dns::wire::{Name, OPCODE_UPDATE, Record, Rtype, question_only};
use postroad_dns::zone::{Hosted, Update, Zone as Served, ZoneSource, save_zone};
use postroad_rpc::v1::zones_client::ZonesClient;
use postroad_rpc::v1::{ConfirmDsRequest, ListKeysRequest, RollKeysRequest, ShowStatusRequest};
use postroad_service::node::operator_channel;
use postroad_service::{Clock as _, Drain, FakeClock, Node};
use postroad_types::Role;
use tokio::time::{sleep, timeout};
use tonic::Code;

const DAY: Duration = Duration::from_secs(86_400);

fn apex() -> Name {
    "alpha.test".parse().unwrap()
}

fn text(serial: u32, records: &str) -> String {
    format!("$TTL 60\n@ SOA ns h {serial} 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n{records}\n")
}

/// A server that signs the zone of this text.
fn config(stage: &Stage, text: &str) -> DnsConfig {
    let mut zone = stage.zone("alpha.test", text);
    zone.sign = Some("default".to_owned());
    zone.transfer_to = vec!["127.0.0.0/8".parse().unwrap()];
    signing(stage, stage.authoritative(loopback(1, 0), vec![zone]))
}

fn signing(stage: &Stage, config: DnsConfig) -> DnsConfig {
    DnsConfig { key_dir: Some(stage.folder.path().join("keys")), ..config }
}

fn served(dns: &Dns) -> Arc<Served> {
    dns.hosted.zones().load().get(&apex()).cloned().unwrap()
}

fn seconds(clock: &FakeClock) -> u32 {
    clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// Every signature is right and in time.
fn check(zone: &Served, clock: &FakeClock) -> BTreeSet<u16> {
    let set = zone.apex_node().unwrap().rrset(Rtype::DNSKEY).unwrap();
    let keys: Vec<Dnskey<'_>> = set.iter().map(|rdata| Dnskey::read(rdata).unwrap()).collect();
    let mut tags = BTreeSet::new();
    for node in zone.nodes() {
        for rrset in node.rrsets() {
            let rrsigs =
                node.signatures(rrset.rtype).unwrap_or_else(|| panic!("{} {}", node.owner, rrset.rtype));
            for rdata in rrsigs.iter() {
                let rrsig = Rrsig::read(rdata).unwrap();
                assert!(rrsig.is_in_time(seconds(clock)), "{} {rrsig:?}", node.owner);
                assert!(keys.iter().any(|key| verify(key, &rrsig, &node.owner, rrset)), "{}", node.owner);
                tags.insert(rrsig.key_tag);
            }
        }
    }
    tags
}

/// Waits until what is served is so.
async fn await_zone(dns: &Dns, is_so: impl Fn(&Served) -> bool) -> Arc<Served> {
    let wait = async {
        loop {
            let zone = served(dns);
            if zone.is_available() && is_so(&zone) {
                return zone;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("serial {}", served(dns).serial()))
}

/// Turns the clock when whoever waits for it is asleep.
async fn pass(clock: &FakeClock, by: Duration) {
    let wait = async {
        while clock.sleepers() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, wait).await.unwrap();
    clock.advance(by);
}

/// Adds an address.
fn update(dns: &Dns, owner: &str) {
    let mut message = question_only(7, OPCODE_UPDATE, &apex(), Rtype::SOA);
    message[9] = 1;
    message.extend_from_slice(owner.parse::<Name>().unwrap().as_wire());
    message.extend_from_slice(b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x63");
    let update = Update::parse(&message).unwrap();
    dns.hosted.change(&apex(), |zone| update.apply(zone)).unwrap().unwrap();
}

async fn differences(server: SocketAddr, from: &Served, clock: &FakeClock) -> (Vec<Record>, Vec<Record>) {
    let have = Have { serial: from.serial(), soa: from.soa().unwrap().first().to_vec() };
    let peer = Peer { address: server, key: None, source: None };
    match peer.fetch(&apex(), Some(&have), clock).await.unwrap() {
        Brought::Changes(changes) => {
            let [change] = &changes[..] else { panic!("{changes:?}") };
            (change.removed.clone(), change.added.clone())
        }
        other => panic!("no differences: {other:?}"),
    }
}

#[tokio::test]
async fn files_and_updates_are_about_the_zone_below_and_differences_about_what_is_served() {
    let stage = Stage::new();
    let config = config(&stage, &text(7, "a A 192.0.2.2\nf TXT 1\ng TXT 2\nh TXT 3"));
    let file = config.zones[0].file.clone().unwrap();
    let dns = stage.start(&config).unwrap();
    let first = served(&dns);
    assert_eq!((first.serial(), dns.hosted.below(&apex()).unwrap().serial()), (7, 7));
    check(&first, &stage.clock);

    update(&dns, "b.alpha.test");
    let second = served(&dns);
    assert_eq!((second.serial(), dns.hosted.below(&apex()).unwrap().serial()), (8, 8));
    check(&second, &stage.clock);
    let (removed, added) = differences(dns.addresses[0], &first, &stage.clock).await;
    let types = |records: &[Record]| {
        records.iter().map(|record| record.rtype.to_string()).collect::<Vec<_>>().join(" ")
    };
    // The SOA and its signature, the link that leads to the new name, the name with its own.
    assert_eq!(types(&removed), "SOA RRSIG NSEC RRSIG");
    assert_eq!(types(&added), "SOA RRSIG NSEC RRSIG A NSEC RRSIG RRSIG");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("b.alpha.test. 60 IN A 192.0.2.99") && !written.contains("RRSIG"), "{written}");

    // A file without a higher serial makes a higher one.
    sleep(Duration::from_millis(20)).await;
    std::fs::write(&file, text(8, "c A 192.0.2.3")).unwrap();
    dns.hosted.reload(None).unwrap();
    let third = served(&dns);
    assert_eq!(third.serial(), 9);
    assert!(third.node(&"b.alpha.test".parse().unwrap(), Rtype::A).is_none());
    std::fs::write(&file, text(100, "c A 192.0.2.3")).unwrap();
    dns.hosted.reload(None).unwrap();
    assert_eq!(served(&dns).serial(), 100);
    // One that is wrong changes nothing.
    std::fs::write(&file, text(101, "c A 192.0.2.x")).unwrap();
    assert!(dns.hosted.reload(None).is_err());
    assert_eq!(served(&dns).serial(), 100);
    let answer = ask(dns.addresses[0], "c.alpha.test.", "A").await;
    assert_eq!(answer.answers.len(), 1, "who does not ask for signatures gets none");
}

#[tokio::test]
async fn signatures_are_made_anew_before_they_end_and_a_restart_makes_none() {
    let stage = Stage::new();
    let config = config(&stage, &text(1, "a A 192.0.2.2"));
    let (dns, part) = stage.start_part(&config).unwrap();
    let first = served(&dns);
    // After 14 days less 5 and less a jitter of 1 at most, all of them were due.
    let mut last = first.serial();
    for _ in 0..40 {
        pass(&stage.clock, DAY / 4).await;
        let zone = served(&dns);
        check(&zone, &stage.clock);
        last = zone.serial();
    }
    let renewed = await_zone(&dns, |zone| zone.serial() > 1).await;
    check(&renewed, &stage.clock);
    let status = dns.hosted.signer(&apex()).unwrap().status();
    assert!(status.ends.unwrap() > u64::from(seconds(&stage.clock)) + 4 * 86_400 && last >= 1);

    part.stop();
    part.finish().await;
    let before = served(&dns);
    drop(dns);
    let (dns, part) = stage.start_part(&config).unwrap();
    let again = served(&dns);
    assert_eq!(again.serial(), before.serial());
    let records = |zone: &Served| -> BTreeSet<(String, Rtype, Vec<u8>)> {
        let sets = zone.nodes().flat_map(|node| node.all_sets().map(move |(_, set)| (node, set)));
        sets.flat_map(|(node, set)| {
            set.iter().map(move |rdata| (node.owner.to_string(), set.rtype, rdata.to_vec()))
        })
        .collect()
    };
    assert_eq!(records(&again), records(&before));
    part.stop();
    part.finish().await;

    // Without the kept version all is signed anew, and the serial goes on.
    std::fs::remove_file(stage.folder.path().join("keys/alpha.test/signed.zone")).unwrap();
    let dns = stage.start(&config).unwrap();
    assert_eq!(served(&dns).serial(), before.serial() + 1);
    check(&served(&dns), &stage.clock);
}

#[tokio::test]
async fn a_zone_that_comes_is_signed_and_one_that_comes_signed_is_left_alone() {
    let stage = Stage::new();
    let mut zone = stage.zone("alpha.test", &text(5, "a A 192.0.2.2"));
    zone.transfer_to = vec!["127.0.0.0/8".parse().unwrap()];
    let first = stage.start(&stage.authoritative(loopback(1, 0), vec![zone])).unwrap();
    let copy = stage.folder.path().join("copy");
    let follow = |from: SocketAddr, file: Option<&std::path::Path>| Zone {
        origin: "alpha.test".to_owned(),
        file: file.map(std::path::Path::to_owned),
        primaries: vec![from.to_string().parse().unwrap()],
        transfer_to: vec!["127.0.0.0/8".parse().unwrap()],
        sign: Some("default".to_owned()),
        ..Zone::default()
    };
    let config =
        signing(&stage, stage.authoritative(loopback(2, 0), vec![follow(first.addresses[0], Some(&copy))]));
    let signs = stage.start(&config).unwrap();
    let signed = await_zone(&signs, Served::is_signed).await;
    check(&signed, &stage.clock);
    assert_eq!(signs.hosted.below(&apex()).unwrap().records(), 4);
    let written = async {
        while !copy.exists() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, written).await.unwrap();
    assert!(!std::fs::read_to_string(&copy).unwrap().contains("RRSIG"), "the copy is of what came");

    // The next one is to sign it, too, and finds it signed.
    let config = stage.authoritative(loopback(3, 0), vec![follow(signs.addresses[0], None)]);
    let config = DnsConfig { key_dir: Some(stage.folder.path().join("other")), ..config };
    let third = stage.start(&config).unwrap();
    let same = await_zone(&third, Served::is_signed).await;
    assert_eq!((same.serial(), same.records()), (signed.serial(), signed.records()));
    assert_eq!(check(&same, &stage.clock), check(&signed, &stage.clock));
    // So it is when it stands in a file.
    let file = stage.folder.path().join("presigned");
    save_zone(&signed, &file).unwrap();
    let mut zone = Zone::in_file("alpha.test", &file);
    zone.sign = Some("default".to_owned());
    let config = signing(&stage, stage.authoritative(loopback(4, 0), vec![zone]));
    let fourth =
        stage.start(&DnsConfig { key_dir: Some(stage.folder.path().join("third")), ..config }).unwrap();
    assert_eq!(served(&fourth).records(), signed.records());
}

/// A parent that has what a test says, or cannot be asked.
#[derive(Debug, Default)]
struct Parent(Mutex<Option<Vec<DsSet>>>);

impl Parent {
    fn has(&self, sets: Option<Vec<DsSet>>) {
        *self.0.lock().unwrap() = sets;
    }
}

#[async_trait::async_trait]
impl AskParent for Parent {
    async fn ds(&self, _: &Name) -> Result<Vec<DsSet>, ParentError> {
        self.0.lock().unwrap().clone().ok_or(ParentError::Timeout(loopback(9, 53)))
    }
}

#[tokio::test]
async fn a_key_stays_until_all_servers_of_the_parent_have_dropped_its_ds() {
    let stage = Stage::new();
    let clock: Arc<dyn postroad_service::Clock> = Arc::new(stage.clock.clone());
    let folder = stage.folder.path().join("keys");
    let settings = Settings { zone: apex(), policy: Policy::default(), folder: folder.clone() };
    let signer = Arc::new(Signer::open(settings, Arc::clone(&clock)).unwrap());
    let file = stage.zone("alpha.test", &text(1, "a A 192.0.2.2")).file;
    let source = ZoneSource { origin: apex(), file, secondary: false };
    let hosted = Arc::new(Hosted::load_signing(vec![source], vec![Arc::clone(&signer)]).unwrap());
    let parent = Arc::new(Parent::default());
    let keeper = Keeper {
        signer: Arc::clone(&signer),
        hosted: Arc::clone(&hosted),
        parent: Some(Arc::clone(&parent) as Arc<dyn AskParent>),
        ask_every: Duration::from_secs(300),
        clock,
        permits: Arc::new(tokio::sync::Semaphore::new(1)),
    };
    stage.drain.spawn(keeper.run(stage.drain.clone()));
    let states =
        || -> Vec<&'static str> { signer.status().keys.iter().map(|key| words::state(&key.state)).collect() };
    // Hour by hour, as signatures, too, are made anew meanwhile.
    let days = async |days: u32| {
        for _ in 0..24 * days {
            pass(&stage.clock, DAY / 24).await;
        }
        // What the last hour has brought.
        pass(&stage.clock, Duration::ZERO).await;
        check(&hosted.zones().load().get(&apex()).cloned().unwrap(), &stage.clock);
        states()
    };
    let ds = |at: usize| (3600, ds_rdata(&apex(), &signer.status().keys[at].dnskey, Ds::SHA256).unwrap());

    assert_eq!(days(1).await, ["ready"], "the parent cannot be asked");
    parent.has(Some(vec![vec![ds(0)], vec![]]));
    assert_eq!(days(1).await, ["ready"], "one of its servers has nothing");
    parent.has(Some(vec![vec![ds(0)], vec![ds(0)]]));
    assert_eq!(days(1).await, ["active"]);

    signer.roll(None, None).unwrap();
    assert_eq!(days(30).await, ["retired", "ready"]);
    let cds = || -> Vec<Vec<u8>> {
        let zone = hosted.zones().load().get(&apex()).cloned().unwrap();
        zone.apex_node().unwrap().rrset(Rtype::CDS).unwrap().iter().map(<[u8]>::to_vec).collect()
    };
    assert_eq!(cds(), [ds(1).1]);
    parent.has(Some(vec![vec![ds(1)], vec![ds(0), ds(1)]]));
    assert_eq!(days(2).await, ["retired", "active"], "one of its servers has the old one still");
    parent.has(None);
    assert_eq!(days(2).await, ["retired", "active"]);
    let files = || std::fs::read_dir(folder.join("alpha.test")).unwrap().count();
    assert_eq!(files(), 4);
    parent.has(Some(vec![vec![ds(1)], vec![ds(1)]]));
    assert_eq!(days(2).await, ["active"]);
    assert_eq!(files(), 3, "the old private key is deleted");
    assert_eq!(cds(), [ds(0).1]);
}

#[test]
fn keys_that_cannot_be_used_are_told_at_the_start() {
    let stage = Stage::new();
    let good = config(&stage, &text(1, ""));
    let error = |config: &DnsConfig| stage.start(config).unwrap_err().to_string();
    let none = DnsConfig { key_dir: None, ..good.clone() };
    assert!(error(&none).contains("there is no folder for its keys; [dns] key_dir names it"));
    let mut other = good.clone();
    other.zones[0].sign = Some("x".to_owned());
    assert!(error(&other).contains("there is no policy \"x\""));
    let state = stage.folder.path().join("keys/alpha.test/state.toml");
    std::fs::create_dir_all(state.parent().unwrap()).unwrap();
    std::fs::write(&state, "zone = 1\n").unwrap();
    let text = error(&good);
    assert!(
        text.contains("[[dns.zones]] alpha.test. cannot be signed: the keys: ")
            && text.contains("restore it"),
        "{text}"
    );
}

#[tokio::test]
async fn keys_are_shown_rolled_and_confirmed_by_operators() {
    postroad_service::tls::install_provider();
    let stage = Stage::new();
    let mut config = Config::new("ns.alpha.test", stage.folder.path().join("state"));
    let mut zone = stage.zone("alpha.test", &text(7, ""));
    zone.sign = Some("default".to_owned());
    let plain = stage.zone("beta.test", &text(3, ""));
    config.dns = stage.authoritative(loopback(1, 0), vec![zone, plain]);
    config.dns.rpc_listen = vec![loopback(1, 0)];
    config.dns.admin_listen = vec![loopback(1, 0)];
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
    let mut zones = ZonesClient::new(operator_channel(&config, Role::Dns, SOON).unwrap());

    let keys = zones.list_keys(ListKeysRequest::default()).await.unwrap().into_inner().keys;
    let [key] = &keys[..] else { panic!("{keys:?}") };
    assert_eq!(
        (key.role.as_str(), key.algorithm.as_str(), key.state.as_str()),
        ("csk", "ECDSAP256SHA256", "published")
    );
    assert!(key.next.starts_with("the parent is asked for its DS") && key.next_us > 0 && key.ds.is_empty());
    let all = zones.show_status(ShowStatusRequest::default()).await.unwrap().into_inner().zones;
    let [alpha, beta] = &all[..] else { panic!("{all:?}") };
    assert!(
        alpha.signed && alpha.signed_until_us > key.created_us && alpha.serial == 7 && alpha.fault.is_empty()
    );
    assert!(!beta.signed && beta.available && beta.signed_until_us == 0 && beta.next.is_empty());

    let origin = || "alpha.test".to_owned();
    let early = zones.confirm_ds(ConfirmDsRequest { origin: origin() }).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    let roll = |origin: &str, role: &str, algorithm: &str| RollKeysRequest {
        origin: origin.into(),
        role: role.into(),
        algorithm: algorithm.into(),
    };
    for (request, code) in [
        (roll("beta.test", "", ""), Code::NotFound),
        (roll("alpha.test", "all", ""), Code::InvalidArgument),
        (roll("alpha.test", "", "RSASHA1"), Code::InvalidArgument),
    ] {
        assert_eq!(zones.roll_keys(request).await.unwrap_err().code(), code);
    }
    let keys = zones.roll_keys(roll("alpha.test", "zsk", "")).await.unwrap().into_inner().keys;
    let states: Vec<&str> = keys.iter().map(|key| key.state.as_str()).collect();
    assert_eq!(states, ["retired", "published"]);
    let again = zones.roll_keys(roll("alpha.test", "", "ed25519")).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    let unknown = zones.show_status(ShowStatusRequest { origin: "x.test".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    drain.stop();
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
}
