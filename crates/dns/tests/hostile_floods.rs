//! Floods of questions that only other servers can answer, over real sockets, with servers that take their time: the
//! others' clients are answered, the memory stays within its bound, nobody is sent more than there are places.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{SOON, Stage, ask, ask_from, data, loopback, question};
use hickory_proto::op::{Message, ResponseCode};
use postroad_config::Dns as DnsConfig;
use postroad_dns::{Dns, DnsError};
use postroad_service::BindError;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const ROOT: &str = "$TTL 3600\n@ SOA a.root. h 1 1h 15m 1w 60\n@ NS a.root.\na.root. A 127.0.0.2\n\
                    good. NS ns.good.\nns.good. A 127.0.0.2\nheld. NS ns.held.\nns.held. A 127.0.0.4\n";
const GOOD: &str = "$TTL 3600\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 127.0.0.2\n*.any A 192.0.2.81\n";

/// Octets of the resolver's cache.
const CACHE: u64 = 256 << 10;
/// Questions that are worked on at a time, and those of one client.
const PLACES: usize = 60;
const OF_ONE: usize = 20;

/// A server of `held.` that has no names below it, and answers when and as late as it is told.
#[derive(Clone)]
struct Held {
    /// Names it was asked for, in lower case, in the order they came.
    asked: Arc<Mutex<Vec<String>>>,
    gate: watch::Sender<bool>,
}

impl Held {
    fn start(at: SocketAddr, late: Duration) -> std::io::Result<Self> {
        let socket = std::net::UdpSocket::bind(at)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let held = Self { asked: Arc::default(), gate: watch::channel(true).0 };
        let this = held.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((octets, client)) = socket.recv_from(&mut buffer).await {
                let Ok(asked) = Message::from_vec(&buffer[..octets]) else { continue };
                this.asked.lock().unwrap().push(asked.queries[0].name.to_ascii().to_lowercase());
                let (socket, mut gate) = (Arc::clone(&socket), this.gate.subscribe());
                tokio::spawn(async move {
                    gate.wait_for(|open| *open).await.ok();
                    sleep(late).await;
                    let mut answer = asked.into_response();
                    answer.metadata.authoritative = true;
                    answer.metadata.response_code = ResponseCode::NXDomain;
                    let _ = socket.send_to(&answer.to_vec().unwrap(), client).await;
                });
            }
        });
        Ok(held)
    }

    fn names(&self) -> HashSet<String> {
        self.asked.lock().unwrap().iter().cloned().collect()
    }
}

struct Scene {
    stage: Stage,
    resolver: Dns,
    held: Held,
}

impl Scene {
    /// `late`: how long the slow server takes for an answer.
    fn start(late: Duration) -> Self {
        for _ in 0..20 {
            match Self::try_start(late) {
                Ok(scene) => return scene,
                // Another program has that port on one of the addresses.
                Err(DnsError::Bind(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no port is free on all addresses");
    }

    fn try_start(late: Duration) -> Result<Self, DnsError> {
        let stage = Stage::new();
        let zones = vec![stage.zone(".", ROOT), stage.zone("good", GOOD)];
        let root = stage.start(&stage.authoritative(loopback(2, 0), zones))?;
        let port = root.addresses[0].port();
        let address = loopback(4, port);
        let held = Held::start(address, late)
            .map_err(|source| DnsError::Bind(BindError { what: "held".into(), address, source }))?;
        let hints = stage.file("hints", "$TTL 1\n. NS a.root.\na.root. A 127.0.0.2\n");
        let mut config = DnsConfig { listen: vec![loopback(7, 0)], ..DnsConfig::default() };
        config.recursion.root_hints = Some(hints);
        config.recursion.upstream_port = port;
        config.recursion.cache_bytes = CACHE;
        config.recursion.concurrency_max = PLACES;
        config.recursion.concurrency_per_client_max = OF_ONE;
        // What is held back is waited for until all are asked, on a busy machine too.
        config.recursion.query_timeout = SOON;
        let resolver = stage.start(&config)?;
        Ok(Self { stage, resolver, held })
    }

    fn address(&self) -> SocketAddr {
        self.resolver.addresses[0]
    }

    async fn end(self) {
        self.stage.drain.stop();
        assert_eq!(timeout(SOON, self.stage.drain.finish()).await, Ok(0));
    }
}

/// A client that does not wait for its answers.
struct Flooder {
    socket: UdpSocket,
    server: SocketAddr,
    /// Codes of what came.
    codes: Vec<ResponseCode>,
}

impl Flooder {
    async fn new(source: IpAddr, server: SocketAddr) -> Self {
        Self { socket: UdpSocket::bind((source, 0)).await.unwrap(), server, codes: Vec::new() }
    }

    async fn send(&self, name: &str) {
        self.socket.send_to(&question(name, "A", true).to_vec().unwrap(), self.server).await.unwrap();
    }

    /// Takes what has come, up to the answer to a question that the cache answers: by then all that came before it
    /// has been looked at.
    async fn settle(&mut self) {
        let last = question("kept.any.good.", "A", true);
        self.socket.send_to(&last.to_vec().unwrap(), self.server).await.unwrap();
        while self.next().await.metadata.id != last.metadata.id {}
    }

    async fn next(&mut self) -> Message {
        let mut buffer = [0; 1500];
        let octets = timeout(SOON, self.socket.recv(&mut buffer)).await.expect("no answer").unwrap();
        let answer = Message::from_vec(&buffer[..octets]).unwrap();
        self.codes.push(answer.metadata.response_code);
        answer
    }

    fn count(&self, code: ResponseCode) -> usize {
        self.codes.iter().filter(|other| **other == code).count()
    }
}

#[tokio::test]
async fn a_flood_of_random_names_leaves_others_their_answers() {
    let scene = Scene::start(Duration::from_millis(200));
    let good = IpAddr::from([127, 0, 0, 60]);
    assert_eq!(data(&ask(scene.address(), "kept.any.good.", "A").await), ["192.0.2.81"]);
    let mut flooder = Flooder::new(IpAddr::from([127, 0, 0, 50]), scene.address()).await;
    let mut asked = 0;
    for round in 0..200 {
        // Names below the slow server take up places, those below the other fill the cache.
        for _ in 0..30 {
            let zone = ["held.", "good.", "any.good."][asked % 3];
            flooder.send(&format!("f{:x}.{zone}", rand::random::<u64>())).await;
            asked += 1;
        }
        flooder.settle().await;
        let cached = ask_from(good, scene.address(), &question("kept.any.good.", "A", true)).await;
        assert_eq!(data(&cached), ["192.0.2.81"], "cached, round {round}");
        let name = format!("new{round}.any.good.");
        let fresh = ask_from(good, scene.address(), &question(&name, "A", true)).await;
        assert_eq!(data(&fresh), ["192.0.2.81"], "not cached, round {round}");
    }
    let resolver = scene.resolver.resolver.as_ref().unwrap();
    let hit = resolver.cached(&"kept.any.good".parse().unwrap(), "A".parse().unwrap());
    assert!(hit.is_some(), "what is in use is not pushed out");
    let entries = resolver.dump(&"good".parse().unwrap()).len();
    assert!(entries > 100, "{entries} of {asked}: the flood reached the cache");
    // A name takes more than 200 octets.
    assert!(entries as u64 <= CACHE / 200, "{entries}");
    assert!(flooder.count(ResponseCode::ServFail) > 1000, "who asks for too much is told so");
    scene.end().await;
}

#[tokio::test]
async fn a_server_that_holds_its_answers_releases_few_of_them_at_once() {
    let scene = Scene::start(Duration::from_millis(300));
    assert_eq!(data(&ask(scene.address(), "kept.any.good.", "A").await), ["192.0.2.81"]);
    // It is known to be slow, so it is waited for.
    let answer = ask(scene.address(), "warm.held.", "A").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let before = scene.held.names();
    scene.held.gate.send_replace(false);
    let mut flooder = Flooder::new(IpAddr::from([127, 0, 0, 50]), scene.address()).await;
    for index in 0..400 {
        flooder.send(&format!("n{index}.held.")).await;
        if index % 20 == 19 {
            flooder.settle().await;
        }
    }
    assert_eq!(
        flooder.count(ResponseCode::ServFail),
        400 - OF_ONE,
        "all but its places, at once and one by one"
    );
    scene.held.gate.send_replace(true);
    let came = flooder.codes.len();
    for _ in 0..OF_ONE {
        flooder.next().await;
    }
    assert_eq!(flooder.codes.len() - came, OF_ONE);
    flooder.settle().await;
    assert_eq!(flooder.codes.len() - came, OF_ONE + 1, "nothing more comes");
    let names: HashSet<String> = scene.held.names().difference(&before).cloned().collect();
    assert_eq!(names.len(), OF_ONE, "nor is the server asked for more: {names:?}");
    scene.end().await;
}

#[tokio::test]
async fn one_question_from_many_addresses_is_asked_once() {
    let scene = Scene::start(Duration::from_millis(300));
    assert_eq!(data(&ask(scene.address(), "kept.any.good.", "A").await), ["192.0.2.81"]);
    ask(scene.address(), "warm.held.", "A").await;
    scene.held.gate.send_replace(false);
    let mut clients = Vec::new();
    for last in 1..=200 {
        let mut client = Flooder::new(IpAddr::from([127, 0, 1, last]), scene.address()).await;
        client.send("one.held.").await;
        client.settle().await;
        clients.push(client);
    }
    let refused: usize = clients.iter().map(|client| client.count(ResponseCode::ServFail)).sum();
    // Clients of this machine have three quarters of the places.
    assert_eq!(refused, 200 - PLACES * 3 / 4, "who finds no place is told so at once");
    scene.held.gate.send_replace(true);
    for client in clients.iter_mut().filter(|client| client.codes.len() == 1) {
        assert_eq!(client.next().await.metadata.response_code, ResponseCode::NXDomain);
    }
    let asked = scene.held.asked.lock().unwrap().iter().filter(|name| *name == "one.held.").count();
    assert!((1..=2).contains(&asked), "once, or twice if it was waited for too long: {asked}");
    scene.end().await;
}
