//! The role: everything put together, and taken apart again on a stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postroad_config::{BareNewline, Config, Mta, Verify};
use postroad_rpc::Server;
use postroad_rpc::v1::queue_server::QueueServer;
use postroad_service::{BindError, Drain, Gate, Listener, Node, StartError};
use postroad_store::StoreError;
use postroad_store::spool::Spool;
use postroad_store_local::spool::{LogSpool, SpoolSettings};
use postroad_types::address::AddressError;
use postroad_types::domain::DomainError;
use postroad_types::{Address, Domain, Host, Role};
use postroad_wire_smtp::codec::line_ends::BareLineEnds;
use postroad_wire_smtp::server::{Config as SmtpConfig, Timeouts, Verify as SmtpVerify};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_util::sync::CancellationToken;

use crate::admin::QueueService;
use crate::consignment::Relay;
use crate::deliver::GrpcDelivery;
use crate::directory::{CachedDirectory, GrpcDirectory};
use crate::inbound::{self, Door, Inbound};
use crate::outbound::{Settings as OutboundSettings, SmtpRelay, TlsTrust, TrustError};
use crate::policy::{GreylistStore, MemoryGreylist, Parts as PolicyParts, Policy, SqliteGreylist};
use crate::queue::{Backoff, Parts, Queue, Settings, Suspension};
use crate::route::{HickoryLookup, OwnHost, Router, RuleError, Rules};

/// Deliveries to mda at a time: enough to share its flushes.
const MAILBOX_DELIVERIES_MAX: usize = 64;

/// Between two looks at how much is queued.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// The role cannot start or go on. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MtaError {
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Bind(#[from] BindError),
    #[error("[node] name {name:?} is no host name: {source}")]
    Name { name: String, source: DomainError },
    #[error(
        "[mta] postmaster {given:?} is no address: {source}; expected such as \"postmaster@example.org\""
    )]
    Postmaster { given: String, source: AddressError },
    #[error("the queue can not be opened: {0}")]
    Spool(#[from] StoreError),
    #[error("{0}")]
    Rule(#[from] RuleError),
    #[error("{0}")]
    Trust(#[from] TrustError),
    #[error("{}: {source}; expected a directory that the service may write to", path.display())]
    Scratch { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}; it names the destinations that are suspended", path.display())]
    Suspended { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Greylist(String),
    #[error("[tls] extra_ca_file {}: {what}; expected certificates in PEM", path.display())]
    ExtraCa { path: PathBuf, what: String },
}

/// Runs the role on the embedded spool and over SMTP until the node's drain ends it.
pub async fn run(node: Node) -> Result<(), MtaError> {
    let config = node.config.clone();
    let hostname = hostname(&node)?;
    let spool_dir = config.spool_dir();
    let max_recipients = match config.mta.queue_recipients_max {
        0 => crate::memory::queue_recipients(),
        set => set,
    };
    let settings = SpoolSettings { max_recipients, ..SpoolSettings::default() };
    let opening = tokio::task::spawn_blocking(move || LogSpool::open(spool_dir, settings));
    let broken = |error| StoreError::Unavailable(format!("opening was broken off: {error}"));
    let spool = opening.await.map_err(broken)??;
    let report = spool.report().await?;
    tracing::info!(
        messages = report.messages,
        recipients = report.recipients,
        octets = report.octets,
        torn_tails = report.torn_tails,
        "the queue is open"
    );
    for damaged in &report.damaged {
        tracing::error!(
            file = damaged,
            "a damaged record of the queue was set aside; look at it with an editor"
        );
    }
    let trust = trust(config.tls.extra_ca_file.as_deref())?;
    let settings = OutboundSettings::new(Host::Domain(hostname), &config.mta);
    let relay = SmtpRelay::new(settings, trust, node.clock.clone(), node.trace.clone());
    run_with(node, spool, Arc::new(relay)).await
}

/// Runs the role on this storage and this way out until the node's drain ends it.
pub async fn run_with(node: Node, spool: Arc<dyn Spool>, relay: Arc<dyn Relay>) -> Result<(), MtaError> {
    let config = &node.config.mta;
    let hostname: Domain =
        node.name().parse().map_err(|source| MtaError::Name { name: node.name().to_owned(), source })?;
    let postmaster = postmaster(config, &hostname)?;

    // Ports first: one that is taken is said before anything else happens.
    let doors = [
        (Door::Relay, node.listen("SMTP", &config.smtp_listen)?),
        (Door::Submission, node.listen("submission", &config.submission_listen)?),
        (Door::Submissions, node.listen("submissions", &config.submissions_listen)?),
    ];
    let mda = node.required_channel(Role::Mda);
    let directory = Arc::new(CachedDirectory::new(Arc::new(GrpcDirectory::new(mda.clone()))));
    let resolvers = node.config.resolvers().into_iter().map(|peer| (peer.host, peer.port)).collect();
    let own = own_host(&hostname, &node.addresses("SMTP"), config.smtp_port);
    let rules = Rules::new(&config.transport)?;
    let dns = Arc::new(HickoryLookup::new(resolvers));
    let router = Router::new(dns.clone(), own.clone(), config.smtp_port, rules);
    let parts = Parts {
        spool,
        clock: node.clock.clone(),
        directory: directory.clone(),
        router: Arc::new(router),
        relay,
        delivery: Arc::new(GrpcDelivery::new(mda)),
        trace_log: node.trace.clone(),
        suspension: suspension(&node.config.node.state_dir).await?,
    };
    let queue = Queue::new(parts, settings(config, &hostname, &postmaster));
    let submission = smtp_config(SmtpConfig::submission(hostname.clone()), config);
    let scratch_dir = node.config.node.state_dir.join("scan");
    let greylist = greylist(&node.config, &scratch_dir).await?;
    let policy = Arc::new(Policy::new(PolicyParts {
        settings: config.policy.clone(),
        rewrites: config.rewrite.clone(),
        relay_networks: config.relay_networks.clone(),
        relay_domains: config.relay_domains.clone(),
        postmaster,
        own,
        directory: directory.clone(),
        dns,
        clock: node.clock.clone(),
        greylist,
        scratch_dir,
    }));
    node.drain.spawn({
        let (policy, drain) = (policy.clone(), node.drain.clone());
        async move { policy.run(drain).await }
    });
    let inbound = Arc::new(Inbound {
        policy,
        directory,
        queue: queue.clone(),
        clock: node.clock.clone(),
        trace_log: node.trace.clone(),
        tls: Some(node.client_tls()?),
        proxy_from: config.proxy_from.clone(),
        behind_proxies: Gate::new(config.connections_max, config.connections_per_ip_max),
        allow_plaintext_auth: config.allow_plaintext_auth.clone(),
        adopt_trace: config.adopt_trace,
        relay: Arc::new(smtp_config(SmtpConfig::relay(hostname), config)),
        plaintext_submission: Arc::new(SmtpConfig { allow_plaintext_auth: true, ..submission.clone() }),
        submission: Arc::new(submission),
    });

    let service = QueueService::new(queue.clone(), node.clock.clone(), node.trace.clone());
    node.serve_rpc(Server::new(Role::Mta).add(QueueServer::new(service)))?;
    node.serve_admin()?;
    serve(&node, inbound, queue, doors).await;
    Ok(())
}

/// From the first connection to the last record. Sessions belong to the node's drain, which gives them its grace;
/// the runner stops with them, and what it has in flight has the same grace.
async fn serve(node: &Node, inbound: Arc<Inbound>, queue: Arc<Queue>, doors: [(Door, Vec<Listener>); 3]) {
    let config = &node.config.mta;
    let gate =
        Gate::new(config.connections_max, config.connections_per_ip_max).with_shared(&config.proxy_from);
    let closed = CancellationToken::new();
    let accepting = tokio_util::task::TaskTracker::new();
    for (door, listeners) in doors {
        for listener in listeners {
            let (inbound, drain, closed) = (inbound.clone(), node.drain.clone(), closed.clone());
            accepting.spawn(inbound::serve(inbound, door, listener, gate.clone(), drain, closed));
        }
    }
    accepting.close();
    let runner = tokio::spawn({
        let queue = queue.clone();
        async move { queue.run().await }
    });
    node.drain.spawn(measure(queue.clone(), node.drain.clone()));
    node.drain.stopping().await;
    // Messages whose body is coming in now are still accepted, into the spool; they go out at the next start.
    let (cut, ()) = tokio::join!(node.drain.finish(), queue.stop(node.drain.grace()));
    if cut > 0 {
        tracing::warn!(cut, "SMTP sessions did not end in time; no mail that was accepted is lost");
    }
    if let Err(error) = queue.spool().flush().await {
        tracing::error!(%error, "the queue's last records may not be durable");
    }
    closed.cancel();
    accepting.wait().await;
    if let Err(error) = runner.await {
        tracing::error!(%error, "the queue runner ended early");
    }
}

/// How much is queued, for the metrics, until the drain's first step.
async fn measure(queue: Arc<Queue>, drain: Drain) {
    loop {
        if let Ok(report) = queue.spool().report().await {
            metrics::gauge!("postroad_mta_queue_messages").set(report.messages as f64);
            metrics::gauge!("postroad_mta_queue_recipients").set(report.recipients as f64);
            metrics::gauge!("postroad_mta_queue_octets").set(report.octets as f64);
            metrics::gauge!("postroad_mta_queue_damaged").set(report.damaged.len() as f64);
        }
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(MEASURE_EVERY) => {}
        }
    }
}

/// The greylist's file, and the directory of messages that a content filter looks at.
async fn greylist(config: &Config, scratch_dir: &Path) -> Result<Arc<dyn GreylistStore>, MtaError> {
    if config.mta.policy.rspamd.server.is_empty() && !config.mta.policy.greylist.enabled {
        return Ok(Arc::new(MemoryGreylist::default()));
    }
    let dir = scratch_dir.to_owned();
    let made =
        move || std::fs::create_dir_all(&dir).map_err(|source| MtaError::Scratch { path: dir, source });
    let broken = |error| MtaError::Greylist(format!("opening was broken off: {error}"));
    tokio::task::spawn_blocking(made).await.map_err(broken)??;
    if !config.mta.policy.greylist.enabled {
        return Ok(Arc::new(MemoryGreylist::default()));
    }
    let file = config.node.state_dir.join("greylist.sqlite");
    let opened = tokio::task::spawn_blocking(move || SqliteGreylist::open(&file)).await.map_err(broken)?;
    Ok(Arc::new(opened.map_err(|fault| MtaError::Greylist(fault.to_string()))?))
}

/// The destinations that an operator has suspended.
async fn suspension(state_dir: &Path) -> Result<Suspension, MtaError> {
    let path = state_dir.join("suspended");
    let opened = tokio::task::spawn_blocking({
        let path = path.clone();
        move || Suspension::open(&path)
    });
    let opened = opened.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    opened.map_err(|source| MtaError::Suspended { path, source })
}

fn hostname(node: &Node) -> Result<Domain, MtaError> {
    node.name().parse().map_err(|source| MtaError::Name { name: node.name().to_owned(), source })
}

/// The authorities that browsers trust, and the operator's own.
fn trust(extra: Option<&Path>) -> Result<TlsTrust, MtaError> {
    let Some(path) = extra else { return Ok(TlsTrust::public()?) };
    let wrong = |what: String| MtaError::ExtraCa { path: path.to_owned(), what };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(TlsTrust::new(roots)?)
}

fn postmaster(config: &Mta, hostname: &Domain) -> Result<Address, MtaError> {
    let given = match config.postmaster.as_str() {
        "" => format!("postmaster@{hostname}"),
        given => given.to_owned(),
    };
    given.parse().map_err(|source| MtaError::Postmaster { given, source })
}

/// What makes an MX record ours: our name, or an address at which we take other hosts' mail.
fn own_host(hostname: &Domain, listening: &[SocketAddr], smtp_port: u16) -> OwnHost {
    let addresses = listening
        .iter()
        .filter(|address| address.port() == smtp_port && !address.ip().is_unspecified())
        .map(SocketAddr::ip)
        .collect();
    OwnHost { name: hostname.clone(), addresses }
}

fn settings(config: &Mta, hostname: &Domain, postmaster: &Address) -> Settings {
    Settings {
        hostname: hostname.clone(),
        postmaster: postmaster.clone(),
        backoff: Backoff { first: config.retry_first, max: config.retry_max },
        lifetime: config.queue_lifetime,
        warn_after: config.warn_after,
        deliveries_max: config.deliveries_max,
        destination_connections_max: config.destination_connections_max,
        mailbox_deliveries_max: MAILBOX_DELIVERIES_MAX.min(config.deliveries_max),
    }
}

fn smtp_config(base: SmtpConfig, config: &Mta) -> SmtpConfig {
    SmtpConfig {
        message_octets_max: config.message_size_max,
        recipients_max: config.recipients_max,
        bare_line_ends: match config.bare_newline {
            BareNewline::Refuse => BareLineEnds::Refuse,
            BareNewline::Normalise => BareLineEnds::Normalise,
        },
        verify: match config.policy.verify {
            Verify::Noncommittal => SmtpVerify::Noncommittal,
            Verify::Off => SmtpVerify::Off,
            Verify::Trusted => SmtpVerify::Ask,
        },
        timeouts: Timeouts { command: config.idle, data_block: config.idle },
        ..base
    }
}
