//! From the configuration to a server that answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use postroad_config::{QueryLogClients, Rotation as ConfiguredRotation};
use postroad_rpc::Server;
use postroad_rpc::v1::cache_server::CacheServer;
use postroad_rpc::v1::traffic_server::TrafficServer;
use postroad_rpc::v1::zones_server::ZonesServer;
use postroad_service::{BindError, Clock, Drain, Gate, Node, StartError};
use postroad_types::Role;

use crate::admin::{CacheService, MailNames, TrafficService, ZonesService};
use crate::agreements::{AgreementError, Agreements};
use crate::front::{self, Bound, Clients, Engine, Observer, QueryLog, QuicError, Recursion};
use crate::redirected::{self, RedirectedError};
use crate::resolve::cache::TtlBounds;
use crate::resolve::iterate::Rules;
use crate::resolve::kept::CacheFile;
use crate::resolve::upstream::Network;
use crate::resolve::validate::Anchors;
use crate::resolve::{Delegation, Parts, Resolver, special};
use crate::serve::Rotation;
use crate::signing::{Configured, SigningSetupError};
use crate::transfer::Followers;
use crate::transfer::told::ToldServers;
use crate::wire::{Name, NameError};
use crate::zone::{Hosted, LoadError, ZoneErrors, ZoneSource};

/// How often what is over is dropped from the cache.
const TIDY_EVERY: Duration = Duration::from_secs(30);

/// Where no name server of the Internet is.
const LOOPBACK: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
];

/// Why the server did not start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("[[dns.zones]] origin \"{origin}\" is no domain name: {error}")]
    Origin { origin: String, error: NameError },
    #[error("[[dns.zones]] has the zone {0} twice; expected each zone once")]
    Twice(Name),
    #[error("{0}")]
    Agreement(#[from] AgreementError),
    #[error("zones cannot be served:\n{0}")]
    Zones(LoadError),
    #[error("{0}")]
    Signing(#[from] SigningSetupError),
    #[error("[dns.recursion] root_hints {}: {error}", file.display())]
    HintsFile { file: PathBuf, error: std::io::Error },
    #[error("[dns.recursion] root_hints cannot be used:\n{0}")]
    Hints(ZoneErrors),
    #[error("[dns.recursion] private_names: \"{name}\" is no domain name: {error}")]
    PrivateName { name: String, error: NameError },
    #[error("[dns.recursion] trust_anchors_file {}: {error}", file.display())]
    AnchorsFile { file: PathBuf, error: std::io::Error },
    #[error("trust anchors cannot be used:\n{0}")]
    Anchors(ZoneErrors),
    #[error("[dns.recursion] insecure: \"{name}\" is no domain name: {error}")]
    InsecureName { name: String, error: NameError },
    #[error("[dns] query_log_file {}: {error}", file.display())]
    QueryLog { file: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Redirected(#[from] RedirectedError),
    #[error("{0}")]
    Bind(#[from] BindError),
    #[error("{0}")]
    Quic(#[from] QuicError),
    #[error("{0}")]
    Start(#[from] StartError),
}

/// A server that answers.
#[derive(Debug, Clone)]
pub struct Dns {
    /// Where, UDP and TCP: with the ports that the system chose where 0 was asked for.
    pub addresses: Vec<SocketAddr>,
    pub hosted: Arc<Hosted>,
    /// Wakes those that follow zones on other servers.
    pub followers: Followers,
    /// What those who are told of changes said to it.
    pub told: ToldServers,
    /// None when nobody may have recursion.
    pub resolver: Option<Arc<Resolver>>,
    cache_file: Option<CacheFile>,
    pub(crate) engine: Arc<Engine>,
    /// Bounds the connections of all transports.
    pub(crate) gate: Gate,
}

impl Dns {
    /// Reads zones and hints, binds all addresses, and then answers until `drain` begins, in tasks of `drain`.
    pub fn start(
        config: &postroad_config::Dns,
        clock: Arc<dyn Clock>,
        drain: &Drain,
    ) -> Result<Dns, DnsError> {
        let agreements = Agreements::read(config)?;
        let signed = Configured::open(config, &clock)?;
        let hosted = Hosted::load_signing(sources(config)?, signed.signers()).map_err(DnsError::Zones)?;
        let hosted = Arc::new(hosted);
        let resolver = resolver(&config.recursion, &hosted, clock.clone())?;
        let cache_file = resolver.as_ref().and_then(|resolver| {
            let file = cache_file(config)?;
            file.load(resolver);
            Some(file)
        });
        let loops = available_parallelism().map_or(1, usize::from);
        let bound = front::bind_all(&config.listen, loops)?;

        let recursion = resolver.clone().map(|resolver| Recursion {
            resolver,
            allow: config.recursion.allow.clone(),
            waiting_max: config.recursion.concurrency_max,
            waiting_per_client: config.recursion.concurrency_per_client_max,
            per_second: config.recursion.questions_per_second,
        });
        let rotation = match config.rotation {
            ConfiguredRotation::Cyclic => Rotation::Cyclic,
            ConfiguredRotation::Random => Rotation::Random,
            ConfiguredRotation::Fixed => Rotation::Fixed,
        };
        let settings = front::Settings {
            rotation,
            udp_octets_max: config.udp_payload_max,
            nsid: config.nsid.clone().into_bytes(),
            tcp_idle: config.tcp_idle,
            answers_per_second: config.answers_per_second,
            uncounted: LOOPBACK.into_iter().chain(config.answers_uncounted.iter().copied()).collect(),
        };
        let followers = agreements.followers.clone();
        let told = agreements.told_servers.clone();
        let agreed = agreements.start(&hosted, &clock, drain);
        signed.start(&hosted, &clock, drain);
        let (observer, teller) = Observer::new(query_log(config)?, clock.clone());
        let engine = Engine::new(hosted.zones(), recursion, settings).with_observer(observer);
        let engine = Arc::new(engine.with_agreed(agreed, clock.clone()));
        drain.spawn(engine.tell(teller, drain.clone()));
        let gate = Gate::new(config.connections_max, per_client(config.connections_max));
        let addresses = bound.iter().map(|bound| bound.address).collect();
        for Bound { tcp, udp, .. } in bound {
            for socket in udp {
                drain.spawn(front::serve_udp(socket, Arc::clone(&engine), drain.clone()));
            }
            let engine = Arc::clone(&engine);
            drain.spawn(front::serve_tcp(tcp, engine, gate.clone(), config.tcp_idle, drain.clone()));
        }
        if let Some(resolver) = &resolver {
            drain.spawn(tidy(Arc::clone(resolver), clock, drain.clone()));
        }
        Ok(Dns { addresses, hosted, followers, told, resolver, cache_file, engine, gate })
    }

    /// Writes the resolver's cache to its file, if it has one, for the next start. Blocks as files do.
    pub fn save_cache(&self) {
        if let (Some(file), Some(resolver)) = (&self.cache_file, &self.resolver) {
            file.save(resolver);
        }
    }
}

/// Runs the role until it is told to stop.
pub async fn run(node: Node) -> Result<(), DnsError> {
    let key_dir = Some(node.config.key_dir());
    let mut config = postroad_config::Dns { key_dir, ..node.config.dns.clone() };
    config.recursion.cache_file = config.recursion.keep_cache.then(|| node.config.dns_cache_file());
    let dns = Dns::start(&config, node.clock.clone(), &node.drain)?;
    for address in &dns.addresses {
        node.note_bound("DNS", *address);
    }
    if Dns::wants_secure(&node.config.dns) {
        let secure = dns.start_secure(&node.config.dns, &node.client_tls()?, &node.drain)?;
        let all =
            [("DNS over TLS", secure.tls), ("DNS over HTTPS", secure.https), ("DNS over QUIC", secure.quic)];
        for (what, addresses) in all {
            addresses.into_iter().for_each(|address| node.note_bound(what, address));
        }
    }
    let zones = ZonesService::new(
        Arc::clone(&dns.hosted),
        dns.followers.clone(),
        dns.resolver.clone(),
        dns.told.clone(),
        node.drain.clone(),
    );
    let zones = zones.with_mail_names(MailNames::read(&node.config.dns.zones));
    let server = Server::new(Role::Dns)
        .add(ZonesServer::new(zones))
        .add(CacheServer::new(CacheService::new(dns.resolver.clone())))
        .add(TrafficServer::new(TrafficService::new(Arc::clone(&dns.engine), node.drain.clone())));
    let health = node.serve_rpc(server)?;
    node.serve_admin()?;
    health.set_serving(true).await;
    node.drain.finish().await;
    dns.save_cache();
    Ok(())
}

/// Connections that one client may hold: a fourth of all, so that four are needed to shut the others out.
fn per_client(connections_max: usize) -> usize {
    connections_max.div_ceil(4)
}

fn query_log(config: &postroad_config::Dns) -> Result<Option<QueryLog>, DnsError> {
    let Some(file) = &config.query_log_file else { return Ok(None) };
    let clients = match config.query_log_clients {
        QueryLogClients::Full => Clients::Full,
        QueryLogClients::Network => Clients::Network,
        QueryLogClients::None => Clients::None,
    };
    let failed = |error| DnsError::QueryLog { file: file.clone(), error };
    QueryLog::open(file, clients).map(Some).map_err(failed)
}

fn sources(config: &postroad_config::Dns) -> Result<Vec<ZoneSource>, DnsError> {
    let mut sources: Vec<ZoneSource> = Vec::with_capacity(config.zones.len());
    for zone in &config.zones {
        let origin: Name =
            zone.origin.parse().map_err(|error| DnsError::Origin { origin: zone.origin.clone(), error })?;
        if sources.iter().any(|source| source.origin == origin) {
            return Err(DnsError::Twice(origin));
        }
        let secondary = !zone.primaries.is_empty();
        sources.push(ZoneSource { origin, file: zone.file.clone(), secondary });
    }
    Ok(sources)
}

fn resolver(
    config: &postroad_config::Recursion,
    hosted: &Hosted,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<Resolver>>, DnsError> {
    if config.allow.is_empty() {
        return Ok(None);
    }
    let mut deny_servers = config.deny_servers.clone();
    let root = match &config.root_hints {
        None => {
            // Whoever delegates to our own machine wants us to ask services that are not for strangers.
            deny_servers.extend(LOOPBACK);
            Delegation::internet_root()
        }
        Some(file) => {
            let text =
                std::fs::read(file).map_err(|error| DnsError::HintsFile { file: file.clone(), error })?;
            Delegation::root_from_hints(&text, file).map_err(DnsError::Hints)?
        }
    };
    let network = Network::new(config.source.clone());
    let rules = Rules {
        port: config.upstream_port,
        deny_servers,
        private: config.private_addresses.clone(),
        private_names: private_names(config)?,
        ipv4: true,
        ipv6: network.has_ipv6() || config.source.iter().any(IpAddr::is_ipv6),
        query_timeout: config.query_timeout,
        routes: redirected::routes(config)?,
        max_ttl: config.max_ttl,
        dnssec: config.dnssec,
    };
    Ok(Some(Arc::new(Resolver::new(Parts {
        root: Arc::new(root),
        rules,
        anchors: anchors(config)?,
        cache_octets: usize::try_from(config.cache_bytes).unwrap_or(usize::MAX),
        ttl_bounds: TtlBounds {
            min: config.min_ttl,
            max: config.max_ttl,
            max_negative: config.max_negative_ttl,
            stale: config.max_stale,
        },
        resolve_timeout: config.resolve_timeout,
        concurrency_max: config.concurrency_max,
        zones: hosted.zones(),
        special: redirected::zones(config, special::zones(config.root_hints.is_none()))?,
        blocked: redirected::blocked(config)?,
        upstream: Arc::new(network),
        clock,
    }))))
}

/// The cache's file. What a setting forbids, or an anchor says, holds for what is in it too: so it counts under the same
/// settings only, with the same zones of our own.
fn cache_file(config: &postroad_config::Dns) -> Option<CacheFile> {
    let path = config.recursion.cache_file.clone()?;
    let settings = toml::to_string(&config.recursion).ok()?;
    let files = [&config.recursion.root_hints, &config.recursion.trust_anchors_file];
    let files: Vec<Vec<u8>> =
        files.into_iter().flatten().map(|file| std::fs::read(file).unwrap_or_default()).collect();
    let zones = config.zones.iter().map(|zone| zone.origin.as_bytes());
    Some(CacheFile::new(path, files.iter().map(Vec::as_slice).chain(zones).chain([settings.as_bytes()])))
}

fn private_names(config: &postroad_config::Recursion) -> Result<Vec<Name>, DnsError> {
    let name =
        |text: &String| text.parse().map_err(|error| DnsError::PrivateName { name: text.clone(), error });
    config.private_names.iter().map(name).collect()
}

/// Where trust begins. Without the Internet's root its keys say nothing.
fn anchors(config: &postroad_config::Recursion) -> Result<Anchors, DnsError> {
    if !config.dnssec {
        return Ok(Anchors::default());
    }
    let mut anchors = if config.root_hints.is_none() { Anchors::internet() } else { Anchors::default() };
    if let Some(file) = &config.trust_anchors_file {
        let text =
            std::fs::read(file).map_err(|error| DnsError::AnchorsFile { file: file.clone(), error })?;
        anchors.add(&text, file).map_err(DnsError::Anchors)?;
    }
    if !config.trust_anchors.is_empty() {
        let text = config.trust_anchors.join("\n");
        let place = Path::new("[dns.recursion] trust_anchors");
        anchors.add(text.as_bytes(), place).map_err(DnsError::Anchors)?;
    }
    for text in &config.insecure {
        let name = text.parse().map_err(|error| DnsError::InsecureName { name: text.clone(), error })?;
        anchors.add_insecure(name);
    }
    Ok(anchors)
}

async fn tidy(resolver: Arc<Resolver>, clock: Arc<dyn Clock>, drain: Drain) {
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = clock.sleep(TIDY_EVERY) => resolver.tidy(),
        }
    }
}
