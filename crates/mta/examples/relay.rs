//! `relay DIR LISTEN SINK`: the mta alone, between a source and a sink, for a profiler.
//!
//! Spool in DIR, SMTP on LISTEN, everything goes to SINK (ip:port) in clear; directory and DNS answer at once.
//! It ends on SIGTERM. `RUST_LOG=info` turns the log on, as in a service.
//!
//! ```text
//! smtp-sink 127.0.0.1:2599 1000 &
//! cargo run --release -p postroad-mta --example relay /var/tmp/spool 127.0.0.1:2526 127.0.0.1:2599 &
//! smtp-source -s 20 -l 4096 -m 20000 -f a@alpha.test -t b@beta.test 127.0.0.1:2526
//! ```

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postroad_mta::consignment::{Consignment, DeliveryClient, DeliveryError};
use postroad_mta::directory::{
    CachedDirectory, DirectoryClient, DirectoryError, SaslExchange, SaslReply, SaslStart,
};
use postroad_mta::inbound::{self, Door, Inbound};
use postroad_mta::outbound::{Settings as OutboundSettings, SmtpRelay, TlsTrust};
use postroad_mta::policy::{MemoryGreylist, Parts as PolicyParts, Policy};
use postroad_mta::queue::{Backoff, Parts, Queue, Settings, Suspension};
use postroad_mta::route::{DnsAnswer, DnsLookup, Family, Mx, OwnHost, Router, Rules};
use postroad_service::{Drain, Gate, Listener, SystemClock, TraceLog};
use postroad_store_local::spool::{LogSpool, SpoolSettings};
use postroad_types::{AccountId, Address, DeliveryResult, Domain, Host, RecipientVerdict, Role, TraceId};
use postroad_wire_smtp::server::Config;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// No domain is ours.
struct Nobody;

#[async_trait]
impl DirectoryClient for Nobody {
    async fn resolve(&self, _: &Address, _: TraceId) -> Result<RecipientVerdict, DirectoryError> {
        Ok(RecipientVerdict::NotOurs)
    }
    async fn may_send(&self, _: AccountId, _: &Address) -> Result<bool, DirectoryError> {
        Ok(false)
    }
    async fn authenticate(&self, _: SaslStart) -> Result<(Box<dyn SaslExchange>, SaslReply), DirectoryError> {
        Err(DirectoryError("there are no accounts".to_owned()))
    }
}

#[async_trait]
impl DeliveryClient for Nobody {
    async fn deliver(&self, _: &Consignment) -> Result<Vec<DeliveryResult>, DeliveryError> {
        Err(DeliveryError::Refused("there are no mailboxes".to_owned()))
    }
}

/// Every domain's mail goes to the sink.
struct ToSink(IpAddr);

#[async_trait]
impl DnsLookup for ToSink {
    async fn mx(&self, _: &str) -> DnsAnswer<Mx> {
        let records = vec![Mx { preference: 10, exchange: "sink.test".to_owned() }];
        DnsAnswer::Records { records, ttl: Duration::from_secs(300), secure: false }
    }
    async fn addresses(&self, _: &str, family: Family) -> DnsAnswer<IpAddr> {
        match family {
            Family::A => {
                DnsAnswer::Records { records: vec![self.0], ttl: Duration::from_secs(300), secure: false }
            }
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    postroad_service::tls::install_provider();
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: relay DIR LISTEN SINK");
    let dir = std::path::PathBuf::from(next()?);
    let listen: SocketAddr = next()?.parse()?;
    let sink: SocketAddr = next()?.parse()?;
    if std::env::var_os("RUST_LOG").is_some() {
        postroad_service::telemetry::init(&postroad_config::Log::default())?;
    }

    let config =
        postroad_config::Mta { tls_outbound: postroad_config::TlsOutbound::Off, ..Default::default() };
    let hostname: Domain = "mx.alpha.test".parse()?;
    let postmaster: Address = "postmaster@alpha.test".parse()?;
    let clock = Arc::new(SystemClock::new());
    let trace_log = TraceLog::open(&dir.join("trace"), 256 << 20, Role::Mta, "mx.alpha.test")?;
    let directory = Arc::new(CachedDirectory::new(Arc::new(Nobody)));
    let own = OwnHost { name: hostname.clone(), addresses: Vec::new() };
    let outbound = OutboundSettings::new(Host::Domain(hostname.clone()), &config);
    let parts = Parts {
        spool: LogSpool::open(dir.join("spool"), SpoolSettings::default())?,
        clock: clock.clone(),
        directory: directory.clone(),
        router: Arc::new(Router::new(
            Arc::new(ToSink(sink.ip())),
            own.clone(),
            sink.port(),
            Rules::default(),
        )),
        relay: Arc::new(SmtpRelay::new(outbound, TlsTrust::public()?, clock.clone(), trace_log.clone())),
        delivery: Arc::new(Nobody),
        trace_log: trace_log.clone(),
        suspension: Suspension::default(),
    };
    let settings = Settings {
        hostname: hostname.clone(),
        postmaster: postmaster.clone(),
        backoff: Backoff { first: config.retry_first, max: config.retry_max },
        lifetime: config.queue_lifetime,
        warn_after: config.warn_after,
        deliveries_max: config.deliveries_max,
        destination_connections_max: config.destination_connections_max,
        mailbox_deliveries_max: 64,
    };
    let queue = Queue::new(parts, settings);
    let smtp = Arc::new(Config::relay(hostname));
    let inbound = Arc::new(Inbound {
        policy: Arc::new(Policy::new(PolicyParts {
            settings: config.policy.clone(),
            rewrites: Vec::new(),
            relay_networks: vec!["127.0.0.0/8".parse()?],
            relay_domains: Vec::new(),
            postmaster,
            own,
            directory: directory.clone(),
            dns: Arc::new(ToSink(sink.ip())),
            clock: clock.clone(),
            greylist: Arc::new(MemoryGreylist::default()),
            scratch_dir: dir.join("scan"),
        })),
        directory,
        queue: queue.clone(),
        clock,
        trace_log,
        tls: None,
        proxy_from: Vec::new(),
        behind_proxies: postroad_service::Gate::new(1, 1),
        allow_plaintext_auth: Vec::new(),
        adopt_trace: true,
        relay: smtp.clone(),
        submission: smtp.clone(),
        plaintext_submission: smtp,
    });

    let drain = Drain::new(Duration::from_secs(30));
    drain.on_signals()?;
    let closed = CancellationToken::new();
    let listener = Listener::bind("SMTP", listen)?;
    let gate = Gate::new(config.connections_max, config.connections_max);
    tokio::spawn(inbound::serve(inbound, Door::Relay, listener, gate, drain.clone(), closed.clone()));
    let running = tokio::spawn({
        let queue = queue.clone();
        async move { queue.run().await }
    });
    drain.stopping().await;
    tokio::join!(drain.finish(), queue.stop(drain.grace()));
    closed.cancel();
    Ok(running.await?)
}
