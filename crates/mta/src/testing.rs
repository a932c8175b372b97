//! A queue with a memory spool, a paused clock and peers that do what a test tells them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use postroad_service::TraceLog;
use postroad_service::tracelog::Query;
use postroad_store::faulty::{FaultySpool, Plan};
use postroad_store::memory::MemorySpool;
use postroad_store::spool::{Attempt, Filter, Micros, NewEnvelope, NewRecipient, QueuedMessage, Spool};
use postroad_types::{Address, BodyKind, DeliveryResult, QueueId, Role, TraceId};
use tokio::time::Instant;

use crate::clock::{PausedClock, after, now};
use crate::consignment::{
    Consignment, Content, DeliveryClient, DeliveryError, Handover, Outcome, Relay, Report, reply,
};
use crate::directory::CachedDirectory;
use crate::directory::fake::FakeDirectory;
use crate::policy::{MemoryGreylist, Parts as PolicyParts, Policy};
use crate::queue::{Backoff, Contact, Parts, Queue, Settings, Suspension};
use crate::route::{Destination, DnsAnswer, DnsLookup, Family, Mx, OwnHost, Router, Rules};

/// Every domain has one mail host, `mx.` and its own name; `nowhere.test` does not exist, `null.test` takes no
/// mail.
#[derive(Debug)]
pub struct FakeDns;

#[async_trait]
impl DnsLookup for FakeDns {
    async fn mx(&self, domain: &str) -> DnsAnswer<Mx> {
        let exchange = match domain {
            "nowhere.test" => return DnsAnswer::NoSuchDomain,
            "null.test" => String::new(),
            // Two domains of one provider.
            "one.test" | "two.test" => "mx.provider.test".to_owned(),
            domain => format!("mx.{domain}"),
        };
        let records = vec![Mx { preference: 10, exchange }];
        DnsAnswer::Records { records, ttl: Duration::from_secs(300), secure: false }
    }
    async fn addresses(&self, _: &str, family: Family) -> DnsAnswer<IpAddr> {
        match family {
            Family::A => DnsAnswer::Records {
                records: vec!["192.0.2.25".parse().unwrap()],
                ttl: Duration::from_secs(300),
                secure: false,
            },
            Family::Aaaa => DnsAnswer::NoRecords,
        }
    }
    async fn names(&self, _: IpAddr) -> DnsAnswer<String> {
        DnsAnswer::NoSuchDomain
    }
    async fn texts(&self, _: &str) -> DnsAnswer<String> {
        DnsAnswer::NoSuchDomain
    }
}

/// What a peer does with a recipient.
#[derive(Clone, Debug)]
pub enum Does {
    Takes,
    Says(u16, (u8, u16, u16), &'static str),
    /// Stands for others (mda only).
    StandsFor(Vec<&'static str>),
    /// Does not answer at all.
    IsDown,
}

impl Does {
    fn result(&self) -> DeliveryResult {
        match self {
            Does::Takes => DeliveryResult::Delivered(reply(250, (2, 0, 0), "ok")),
            Does::Says(code, enhanced, text) if *code < 500 => {
                DeliveryResult::Deferred(reply(*code, *enhanced, *text))
            }
            Does::Says(code, enhanced, text) => DeliveryResult::Rejected(reply(*code, *enhanced, *text)),
            Does::StandsFor(targets) => {
                DeliveryResult::Expanded(targets.iter().map(|t| t.parse().unwrap()).collect())
            }
            Does::IsDown => DeliveryResult::Deferred(reply(421, (4, 4, 1), "no connection")),
        }
    }
}

/// The hosts of the world, or mda: takes everything unless told otherwise.
#[derive(Debug, Default)]
pub struct Peers {
    /// By recipient: what it does at the next attempts, the last for ever.
    script: Mutex<HashMap<Address, VecDeque<Does>>>,
    /// When who got which message, with its octets.
    pub got: Mutex<Vec<Delivery>>,
    /// When an attempt was made, and for how many recipients.
    pub attempts: Mutex<Vec<(Instant, usize)>>,
    running: Mutex<(usize, usize)>,
    /// How long an attempt takes.
    pub takes: Mutex<Duration>,
    /// The destination of each attempt.
    pub destinations: Mutex<Vec<String>>,
    /// Who reports what they took.
    pub handover: Mutex<Handover>,
}

#[derive(Clone, Debug)]
pub struct Delivery {
    pub to: Address,
    pub from: String,
    pub content: Bytes,
}

impl Peers {
    pub fn script(&self, recipient: &str, does: &[Does]) {
        self.script.lock().unwrap().insert(recipient.parse().unwrap(), does.iter().cloned().collect());
    }

    /// Attempts that ran at the same time, at most.
    pub fn running_max(&self) -> usize {
        self.running.lock().unwrap().1
    }

    pub fn received(&self) -> Vec<String> {
        self.got.lock().unwrap().iter().map(|d| d.to.to_string()).collect()
    }

    async fn meet(&self, consignment: &Consignment) -> Vec<Does> {
        {
            let mut running = self.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let mut content = Vec::new();
        while (content.len() as u64) < consignment.content.size_octets {
            content.extend_from_slice(&consignment.content.chunk(content.len() as u64).await.unwrap());
        }
        let mut script = self.script.lock().unwrap();
        let mut did = Vec::new();
        for to in &consignment.recipients {
            let does = match script.get_mut(&to.address) {
                Some(list) if list.len() > 1 => list.pop_front().unwrap(),
                Some(list) => list.front().cloned().unwrap(),
                None => Does::Takes,
            };
            if matches!(does, Does::Takes) {
                self.got.lock().unwrap().push(Delivery {
                    to: to.address.clone(),
                    from: consignment.reverse_path.to_string(),
                    content: content.clone().into(),
                });
            }
            did.push(does);
        }
        self.attempts.lock().unwrap().push((Instant::now(), did.len()));
        self.running.lock().unwrap().0 -= 1;
        did
    }
}

#[async_trait]
impl Relay for Peers {
    async fn relay(&self, consignment: &Consignment, destination: &Destination) -> Report {
        self.destinations.lock().unwrap().push(destination.key.to_string());
        let did = self.meet(consignment).await;
        let host = format!("{} [192.0.2.25]:25", destination.hosts[0].name);
        let down = did.iter().any(|does| matches!(does, Does::IsDown));
        let outcomes = did.iter().map(|does| Outcome {
            handover: *self.handover.lock().unwrap(),
            ..Outcome::new(does.result(), host.clone())
        });
        let seen = || Attempt { at: 0, host: host.clone(), reply: reply(421, (4, 4, 1), "no connection") };
        let contact = if down { Contact::Unreachable(seen()) } else { Contact::Reached };
        Report { outcomes: outcomes.collect(), contact }
    }
    async fn close_idle(&self) {}
}

#[async_trait]
impl DeliveryClient for Peers {
    async fn deliver(&self, consignment: &Consignment) -> Result<Vec<DeliveryResult>, DeliveryError> {
        let did = self.meet(consignment).await;
        if did.iter().any(|does| matches!(does, Does::IsDown)) {
            return Err(DeliveryError::Unavailable("down for the test".into()));
        }
        Ok(did.iter().map(Does::result).collect())
    }
}

/// A running queue with all its surroundings.
pub struct World {
    pub queue: Arc<Queue>,
    pub spool: MemorySpool,
    /// What goes wrong with the spool, as the queue sees it.
    pub faults: Plan,
    pub directory: Arc<FakeDirectory>,
    pub cached: Arc<CachedDirectory>,
    pub hosts: Arc<Peers>,
    pub mda: Arc<Peers>,
    pub clock: PausedClock,
    pub trace_log: TraceLog,
    _dir: tempfile::TempDir,
}

pub fn settings() -> Settings {
    Settings {
        hostname: "mx.alpha.test".parse().unwrap(),
        postmaster: "postmaster@alpha.test".parse().unwrap(),
        backoff: Backoff { first: Duration::from_secs(60), max: Duration::from_secs(1800) },
        lifetime: Duration::from_secs(5 * 86_400),
        warn_after: Duration::from_secs(4 * 3600),
        deliveries_max: 200,
        destination_connections_max: 20,
        mailbox_deliveries_max: 64,
    }
}

/// Needs tokio's clock to be paused. alice and bob live in `alpha.test`, `list@alpha.test` is an alias.
pub async fn world() -> World {
    world_with(settings()).await
}

pub async fn world_with(settings: Settings) -> World {
    let directory = FakeDirectory::new()
        .account("alice@alpha.test", "a-secret")
        .account("bob@alpha.test", "b-secret")
        .alias("list@alpha.test", &["bob@alpha.test", "carol@beta.test"]);
    let cached = Arc::new(CachedDirectory::new(directory.clone()));
    let spool = MemorySpool::new();
    let (clock, faults) = (PausedClock::start(), Plan::new(1));
    let (hosts, mda) = (Arc::new(Peers::default()), Arc::new(Peers::default()));
    let dir = tempfile::tempdir().unwrap();
    let trace_log = TraceLog::open(dir.path(), 1 << 20, Role::Mta, "mx.alpha.test").unwrap();
    let own = OwnHost { name: settings.hostname.clone(), addresses: Vec::new() };
    let parts = Parts {
        spool: Arc::new(FaultySpool::new(spool.clone(), faults.clone())),
        clock: Arc::new(clock.clone()),
        directory: cached.clone(),
        router: Arc::new(Router::new(Arc::new(FakeDns), own, 25, Rules::default())),
        relay: hosts.clone(),
        delivery: mda.clone(),
        trace_log: trace_log.clone(),
        suspension: Suspension::default(),
    };
    let queue = Queue::new(parts, settings);
    tokio::spawn({
        let queue = queue.clone();
        async move { queue.run().await }
    });
    World { queue, spool, faults, directory, cached, hosts, mda, clock, trace_log, _dir: dir }
}

/// A message in a spool of its own.
pub fn content(octets: impl AsRef<[u8]>) -> Content {
    let spool = MemorySpool::new();
    let envelope = NewEnvelope {
        trace_id: TraceId::random(),
        reverse_path: "".parse().unwrap(),
        recipients: vec!["x@y".parse::<Address>().unwrap().into()],
        body: BodyKind::SevenBit,
        smtputf8: false,
        envelope_id: None,
        options: Default::default(),
        accepted_at: 0,
        expires_at: Micros::MAX,
        first_attempt_at: 0,
    };
    let stored = async {
        let mut message = spool.create(0).await.unwrap();
        message.write(Bytes::copy_from_slice(octets.as_ref())).await.unwrap();
        message.commit(envelope).await.unwrap()
    };
    let id = stored.now_or_never().expect("memory does not wait");
    Content { size_octets: octets.as_ref().len() as u64, spool: Arc::new(spool), id }
}

impl World {
    /// A message from alice, accepted now.
    pub async fn send(&self, to: &[&str]) -> QueueId {
        self.send_from(
            "alice@alpha.test",
            to,
            b"Subject: hello\r\nMessage-ID: <1@alpha.test>\r\n\r\nbody\r\n",
        )
        .await
    }

    pub async fn send_from(&self, from: &str, to: &[&str], content: &'static [u8]) -> QueueId {
        self.send_with(from, to, content, |_| {}).await
    }

    /// With an envelope that is changed before it is accepted.
    pub async fn send_with(
        &self,
        from: &str,
        to: &[&str],
        content: &'static [u8],
        change: impl FnOnce(&mut NewEnvelope),
    ) -> QueueId {
        let mut message = self.queue.create(0).await.unwrap();
        message.write(Bytes::from_static(content)).await.unwrap();
        let accepted_at = now(&self.clock);
        let mut envelope = NewEnvelope {
            trace_id: TraceId::random(),
            reverse_path: from.parse().unwrap(),
            recipients: to.iter().map(|t| NewRecipient::from(t.parse::<Address>().unwrap())).collect(),
            body: BodyKind::SevenBit,
            smtputf8: false,
            envelope_id: None,
            options: Default::default(),
            accepted_at,
            expires_at: after(accepted_at, self.queue.settings().lifetime),
            first_attempt_at: accepted_at,
        };
        change(&mut envelope);
        self.queue.accept(message, envelope).await.unwrap()
    }

    /// Waits, in simulated time, until the queue is empty; how long that took.
    pub async fn until_empty(&self) -> Duration {
        let begun = Instant::now();
        for tick in 0..100_000 {
            if self.messages().await.is_empty() {
                return begun.elapsed();
            }
            tokio::time::sleep(Duration::from_secs(if tick < 100 { 1 } else { 30 })).await;
        }
        panic!("the queue does not empty: {:?}", self.messages().await);
    }

    pub async fn messages(&self) -> Vec<QueuedMessage> {
        self.spool.list(&Filter::default(), None, 1000).await.unwrap()
    }

    /// The steps of a message that was traced, by name.
    pub fn steps(&self, id: &QueueId) -> Vec<String> {
        let query = Query { queue_id: Some(id.clone()), ..Query::default() };
        self.trace_log.find(&query).unwrap().into_iter().map(|step| step.name).collect()
    }
}

/// Where alice and bob of `alpha.test` live, with settings and DNS as given.
pub fn policy_with(
    settings: postroad_config::Policy,
    dns: Arc<dyn DnsLookup>,
    directory: Arc<CachedDirectory>,
    clock: Arc<dyn postroad_service::Clock>,
) -> Policy {
    Policy::new(PolicyParts {
        settings,
        rewrites: Vec::new(),
        relay_networks: vec!["10.0.0.0/8".parse().unwrap()],
        relay_domains: vec!["backup.test".parse().unwrap()],
        postmaster: "alice@alpha.test".parse().unwrap(),
        own: OwnHost { name: "mx.alpha.test".parse().unwrap(), addresses: Vec::new() },
        directory,
        dns,
        clock,
        greylist: Arc::new(MemoryGreylist::default()),
        scratch_dir: std::env::temp_dir(),
    })
}

/// All defaults, for who needs one and does not look at it.
pub fn policy() -> Policy {
    let directory = Arc::new(CachedDirectory::new(FakeDirectory::new()));
    let clock = Arc::new(postroad_service::SystemClock::new());
    policy_with(postroad_config::Policy::default(), Arc::new(FakeDns), directory, clock)
}
