//! What an answer costs: `cargo run --release -p postroad-dns --example hits`.
//!
//! First the engine alone (nanoseconds of CPU per question), then over UDP on loopback: one server loop, one asker
//! with 64 questions under way, and the CPU time of the server's thread per million questions, kernel included. The
//! asker shares the machine, so the rate says less than the CPU time. For comparison the same asker against a bare
//! echo, which is the floor of this way to serve.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement stops where it fails"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::{RData, Record, rdata};
use postroad_dns::front::{Engine, Outcome, Recursion, Settings, Transport, serve_udp};
use postroad_dns::resolve::blocked::Blocked;
use postroad_dns::resolve::cache::TtlBounds;
use postroad_dns::resolve::iterate::Rules;
use postroad_dns::resolve::routes::Routes;
use postroad_dns::resolve::upstream::{Ask, AskError, Upstream};
use postroad_dns::resolve::validate::Anchors;
use postroad_dns::resolve::{Delegation, Parts, Resolver};
use postroad_dns::wire::{Name, Rtype};
use postroad_dns::zone::{Zones, zone_from_text};
use postroad_service::{Drain, SystemClock};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAMES: usize = 100_000;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers everything with one address, as an authoritative server of the root.
#[derive(Debug)]
struct Everything;

#[async_trait]
impl Upstream for Everything {
    async fn ask(&self, ask: &Ask) -> Result<Message, AskError> {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.authoritative = true;
        message.add_answer(Record::from_rdata(
            ask.name.to_hickory(),
            3600,
            RData::A(rdata::A::new(192, 0, 2, 1)),
        ));
        Ok(message)
    }
}

fn zones() -> Arc<ArcSwap<Zones>> {
    let mut text = "$TTL 3600\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\nchild NS ns.child\nns.child A 192.0.2.2\n\
                    @ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.3\nmx2 A 192.0.2.4\n"
        .to_owned();
    for index in 0..NAMES {
        text.push_str(&format!("host{index} A 10.{}.{}.{}\n", index >> 16, index >> 8 & 255, index & 255));
    }
    let started = Instant::now();
    let zone = zone_from_text(&"alpha.test".parse().unwrap(), &text).unwrap();
    println!("{} names read in {:.2} s", zone.names(), started.elapsed().as_secs_f64());
    Arc::new(ArcSwap::from_pointee(Zones::new([Arc::new(zone)])))
}

async fn engine() -> Arc<Engine> {
    let zones = zones();
    let resolver = Arc::new(Resolver::new(Parts {
        root: Arc::new(Delegation::root(&[IpAddr::from([192, 0, 2, 53])])),
        rules: Rules {
            port: 53,
            deny_servers: Vec::new(),
            private: Vec::new(),
            private_names: Vec::new(),
            ipv4: true,
            ipv6: false,
            query_timeout: Duration::from_secs(1),
            routes: Routes::default(),
            max_ttl: Duration::from_secs(86_400),
            dnssec: false,
        },
        anchors: Anchors::default(),
        cache_octets: 64 << 20,
        ttl_bounds: TtlBounds {
            min: Duration::ZERO,
            max: Duration::from_secs(86_400),
            max_negative: Duration::from_secs(3600),
            stale: Duration::ZERO,
        },
        resolve_timeout: Duration::from_secs(5),
        concurrency_max: 1000,
        zones: zones.clone(),
        special: Zones::default(),
        blocked: Blocked::default(),
        upstream: Arc::new(Everything),
        clock: Arc::new(SystemClock::new()),
    }));
    for index in 0..1000 {
        let name: Name = format!("host{index}.beta.test").parse().unwrap();
        resolver.resolve(&name, Rtype::A, false).await;
    }
    let recursion = Recursion {
        resolver,
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        waiting_max: 1000,
        waiting_per_client: 1000,
        per_second: 0,
    };
    Arc::new(Engine::new(zones, Some(recursion), Settings::default()))
}

fn query(name: &str, rtype: Rtype, recursion: bool) -> Vec<u8> {
    let mut octets = vec![0, 7, recursion.into(), 0, 0, 1, 0, 0, 0, 0, 0, 1];
    octets.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
    octets.extend_from_slice(&[(rtype.0 >> 8) as u8, rtype.0 as u8, 0, 1]);
    octets.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    octets
}

fn kinds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let some = |count: usize, make: &dyn Fn(usize) -> String, rtype| {
        (0..count).map(|i| query(&make(i), rtype, make(i).ends_with("beta.test"))).collect()
    };
    let several = |make: &dyn Fn(usize) -> String, rtype| some(1000, make, rtype);
    vec![
        (
            "own zone: hit, 100,000 names",
            some(NAMES, &|i| format!("host{}.alpha.test", i * 97 % NAMES), Rtype::A),
        ),
        (
            "own zone: NXDOMAIN, as many",
            some(NAMES, &|i| format!("none{}.alpha.test", i * 97 % NAMES), Rtype::A),
        ),
        ("own zone: hit", several(&|i| format!("host{}.alpha.test", i * 97 % NAMES), Rtype::A)),
        ("own zone: MX with addresses", several(&|_| "alpha.test".to_owned(), Rtype::MX)),
        ("own zone: NXDOMAIN", several(&|i| format!("none{i}.alpha.test"), Rtype::A)),
        ("own zone: NODATA", several(&|i| format!("host{i}.alpha.test"), Rtype::AAAA)),
        ("own zone: referral", several(&|i| format!("x{i}.child.alpha.test"), Rtype::A)),
        ("recursion: cached", several(&|i| format!("host{i}.beta.test"), Rtype::A)),
    ]
}

/// Nanoseconds that this thread has been on a CPU.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Keeps 64 questions under way for a while; the number of answers.
fn ask_for(server: SocketAddr, queries: &[Vec<u8>], time: Duration) -> u64 {
    let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut next, mut answers, mut buffer) = (0, 0, [0; 2048]);
    let mut send = || {
        socket.send(&queries[next % queries.len()]).unwrap();
        next += 1;
    };
    (0..64).for_each(|_| send());
    let end = Instant::now() + time;
    while Instant::now() < end {
        // What is lost is replaced.
        answers += u64::from(socket.recv(&mut buffer).is_ok());
        send();
    }
    answers
}

/// Runs a server in a thread of its own and reports what its CPU time was.
fn measure(
    what: &str,
    queries: &[Vec<u8>],
    serve: impl AsyncFnOnce(tokio::net::UdpSocket, Drain) + Send + 'static,
) {
    let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let server = socket.local_addr().unwrap();
    let drain = Drain::new(Duration::from_secs(1));
    let stop = drain.clone();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            serve(tokio::net::UdpSocket::from_std(socket).unwrap(), drain).await;
        });
        cpu_ns()
    });
    let time = Duration::from_secs(3);
    let answers = ask_for(server, queries, time);
    stop.stop();
    let cpu = thread.join().unwrap();
    println!(
        "{what:30} {:8.0} answers/s   {:5.2} CPU s per million",
        answers as f64 / time.as_secs_f64(),
        cpu as f64 / 1000.0 / answers as f64
    );
}

async fn echo(socket: tokio::net::UdpSocket, drain: Drain) {
    let mut buffer = [0; 2048];
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            ready = socket.readable() => ready.unwrap(),
        }
        while let Ok((octets, client)) = socket.try_recv_from(&mut buffer) {
            let _ = socket.try_send_to(&buffer[..octets], client);
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = runtime.block_on(engine());
    println!("\nthe engine alone");
    for (what, queries) in kinds() {
        let mut buffer = Vec::with_capacity(2048);
        let (rounds, started) = (500_000 / queries.len(), cpu_ns());
        for query in (0..rounds).flat_map(|_| &queries) {
            let outcome = engine.answer(black_box(query), CLIENT, Transport::Udp, &mut buffer);
            assert!(matches!(outcome, Outcome::Reply(_)), "{what}");
        }
        let made = (cpu_ns() - started) as f64 / (rounds * queries.len()) as f64;
        let (mut packets, started) = (engine.packets(), cpu_ns());
        for query in (0..rounds).flat_map(|_| &queries) {
            engine.answer_kept(&mut packets, black_box(query), CLIENT, &mut buffer);
        }
        let kept = (cpu_ns() - started) as f64 / (rounds * queries.len()) as f64;
        println!("{what:30} {made:6.0} ns made, {kept:6.0} ns with the loop's memory");
    }
    println!("\nover UDP");
    for (what, queries) in kinds() {
        measure("bare echo", &queries, echo);
        let engine = Arc::clone(&engine);
        measure(what, &queries, async move |socket, drain| serve_udp(socket, engine, drain).await);
    }
}
