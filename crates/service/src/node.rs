//! A role's surroundings: all that `run(node)` gets from outside.
//!
//! Alone in its process, a role reaches the others over mTLS; with the others in one process (`postroad up`,
//! tests) it reaches them through pipes in memory. It does not notice.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postroad_config::Config;
use postroad_rpc::v1::trace_server::TraceServer;
use postroad_rpc::{
    Channel, ChannelOptions, Health, InProcess, InProcessIncoming, Incoming, Server, ServiceTls,
};
use postroad_types::Role;

use crate::admin::{self, Readiness};
use crate::clock::{Clock, SystemClock};
use crate::drain::Drain;
use crate::identity::{self, IdentityError};
use crate::listener::{BindError, Listener};
use crate::tls::{ClientTls, TlsError};
use crate::tracelog::{TraceLog, TraceService};

/// A role that cannot start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Bind(#[from] BindError),
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("{}: {source}; the state directory must be writable by the user that Postroad runs as", path.display())]
    State { path: std::path::PathBuf, source: std::io::Error },
    #[error("metrics cannot be set up: {0}")]
    Metrics(String),
}

/// One role's surroundings; clones are one and the same.
#[derive(Clone, Debug)]
pub struct Node {
    pub role: Role,
    pub config: Arc<Config>,
    pub clock: Arc<dyn Clock>,
    /// The log of steps, with the role's and the node's name filled in.
    pub trace: TraceLog,
    /// What must be true for the role to be ready.
    pub readiness: Readiness,
    /// When to stop, and whom to wait for.
    pub drain: Drain,
    tls: ServiceTls,
    /// Of the roles in this process.
    links: Arc<HashMap<Role, InProcess>>,
    /// Taken by `serve_rpc`.
    link_end: Arc<Mutex<Option<InProcessIncoming>>>,
    bound: Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>,
}

impl Node {
    /// A role alone in its process. Must be called within a tokio runtime.
    pub fn alone(config: Arc<Config>, role: Role, drain: Drain) -> Result<Node, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let tls = identity::load(&config, &[role], clock.now())?;
        let fresh =
            identity::keep_fresh(tls.clone(), config.clone(), vec![role], clock.clone(), drain.clone());
        drain.spawn(fresh);
        Node::assemble(config, role, clock, drain, tls, Arc::default(), None)
    }

    /// All four services in one process. `front` is the drain of what clients speak to (mta, mra), `back` of
    /// what these need (mda, dns): stop `back` when `front` has finished. Each role gets a part of its drain.
    pub fn together(
        config: Arc<Config>,
        clock: Arc<dyn Clock>,
        front: &Drain,
        back: &Drain,
    ) -> Result<HashMap<Role, Node>, StartError> {
        let roles = Role::SERVICES;
        let tls = identity::load(&config, &roles, clock.now())?;
        let fresh =
            identity::keep_fresh(tls.clone(), config.clone(), roles.to_vec(), clock.clone(), back.clone());
        back.spawn(fresh);
        let (mut links, mut ends) = (HashMap::new(), HashMap::new());
        for role in roles {
            let (link, end) = InProcess::new();
            links.insert(role, link);
            ends.insert(role, end);
        }
        let links = Arc::new(links);
        let mut nodes = HashMap::new();
        for role in roles {
            let drain = if matches!(role, Role::Mta | Role::Mra) { front.part() } else { back.part() };
            let (links, end) = (links.clone(), ends.remove(&role));
            let node = Node::assemble(config.clone(), role, clock.clone(), drain, tls.clone(), links, end)?;
            nodes.insert(role, node);
        }
        Ok(nodes)
    }

    fn assemble(
        config: Arc<Config>,
        role: Role,
        clock: Arc<dyn Clock>,
        drain: Drain,
        tls: ServiceTls,
        links: Arc<HashMap<Role, InProcess>>,
        link_end: Option<InProcessIncoming>,
    ) -> Result<Node, StartError> {
        admin::metrics().map_err(|error| StartError::Metrics(error.to_string()))?;
        let trace = if config.trace.enabled {
            let dir = config.trace_dir();
            TraceLog::open(&dir, config.trace.max_bytes, role, &config.node.name)
                .map_err(|source| StartError::State { path: dir, source })?
        } else {
            TraceLog::disabled()
        };
        Ok(Node {
            role,
            config,
            clock,
            trace,
            readiness: Readiness::default(),
            drain,
            tls,
            links,
            link_end: Arc::new(Mutex::new(link_end)),
            bound: Arc::default(),
        })
    }

    /// The host's name, as in its MX record.
    pub fn name(&self) -> &str {
        &self.config.node.name
    }

    /// A way to the services of `role`: in this process, or wherever the configuration says.
    pub fn channel(&self, role: Role) -> Channel {
        let options = channel_options(&self.config);
        match self.links.get(&role) {
            Some(link) => Channel::in_process(role, link.clone(), self.role, options),
            None => {
                let hosts = self.config.peers(role).into_iter().map(|peer| (peer.host, peer.port)).collect();
                Channel::new(role, hosts, self.tls.clone(), options)
            }
        }
    }

    /// The same, and the role is ready only while one of those services is.
    pub fn required_channel(&self, role: Role) -> Channel {
        let channel = self.channel(role);
        let watched = channel.clone();
        self.readiness.require(role.name(), move || {
            if watched.is_ready() { Ok(()) } else { Err("no service takes calls".to_owned()) }
        });
        channel
    }

    /// TLS towards clients, read again when its files change.
    pub fn client_tls(&self) -> Result<ClientTls, StartError> {
        let tls = ClientTls::load(&self.config, self.clock.now())?;
        self.drain.spawn(tls.clone().keep_fresh(self.clock.clone(), self.drain.clone()));
        Ok(tls)
    }

    /// Binds all of `addresses`, says so in the log, and keeps them for [`Node::addresses`].
    pub fn listen(&self, what: &str, addresses: &[SocketAddr]) -> Result<Vec<Listener>, BindError> {
        let listeners = Listener::bind_all(what, addresses)?;
        for listener in &listeners {
            self.note_bound(what, listener.address());
        }
        Ok(listeners)
    }

    /// The same for a socket that was bound elsewhere (UDP).
    pub fn note_bound(&self, what: &str, address: SocketAddr) {
        tracing::info!(role = %self.role, %address, "listening for {what}");
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.entry(what.to_owned()).or_default().push(address);
    }

    /// Where the role listens for `what`: the ports that were given where 0 was asked for.
    pub fn addresses(&self, what: &str) -> Vec<SocketAddr> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).get(what).cloned().unwrap_or_default()
    }

    /// Serves the role's gRPC services, and Trace with them, until the drain ends. Bound as `gRPC`.
    pub fn serve_rpc(&self, server: Server) -> Result<Health, StartError> {
        let mut incoming = Incoming::new();
        for listener in self.listen("gRPC", self.config.rpc_listen(self.role))? {
            incoming = incoming.listen(listener.into_tcp(), self.tls.clone());
        }
        if let Some(end) = self.link_end.lock().unwrap_or_else(PoisonError::into_inner).take() {
            incoming = incoming.in_process(end);
        }
        let server = server.add(TraceServer::new(TraceService::new(self.trace.clone())));
        let health = server.health();
        self.drain.spawn(server.serve(incoming, self.drain.token(), self.drain.grace()));
        Ok(health)
    }

    /// Waits until the role is to stop and has drained, and its last steps are in their files. Returns how many
    /// tasks were cut.
    pub async fn finish(&self) -> usize {
        let cut = self.drain.finish().await;
        let trace = self.trace.clone();
        // The writer answers at once, or is gone with what it had.
        let _ = tokio::task::spawn_blocking(move || trace.flush()).await;
        cut
    }

    /// Serves metrics and readiness. Bound as `admin`.
    pub fn serve_admin(&self) -> Result<(), StartError> {
        self.drain.spawn(admin::sum_up(self.drain.clone()));
        for listener in self.listen("admin", self.config.admin_listen(self.role))? {
            self.drain.spawn(admin::serve(listener, self.readiness.clone(), self.drain.clone()));
        }
        Ok(())
    }
}

/// A way to the services of `role` for the operator's command line, whose calls may take up to `deadline`.
pub fn operator_channel(config: &Config, role: Role, deadline: Duration) -> Result<Channel, StartError> {
    let tls = identity::load(config, &[Role::Operator], std::time::SystemTime::now())?;
    let hosts = config.peers(role).into_iter().map(|peer| (peer.host, peer.port)).collect();
    Ok(Channel::new(role, hosts, tls, ChannelOptions { deadline, ..channel_options(config) }))
}

pub(crate) fn channel_options(config: &Config) -> ChannelOptions {
    ChannelOptions {
        deadline: config.rpc.deadline,
        connect_timeout: config.rpc.connect_timeout,
        resolve_every: config.rpc.resolve_every,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_rpc::v1::{FindStepsRequest, trace_client::TraceClient};
    use postroad_types::TraceId;

    fn config(dir: &std::path::Path) -> Config {
        let mut config = Config::new("mx.alpha.test", dir);
        for listen in [
            &mut config.dns.rpc_listen,
            &mut config.mta.rpc_listen,
            &mut config.mda.rpc_listen,
            &mut config.mra.rpc_listen,
            &mut config.dns.admin_listen,
            &mut config.mta.admin_listen,
            &mut config.mda.admin_listen,
            &mut config.mra.admin_listen,
        ] {
            *listen = vec!["127.0.0.1:0".parse().unwrap()];
        }
        config
    }

    #[tokio::test]
    async fn an_operator_asks_a_lone_role_for_its_steps_over_mtls() {
        crate::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        let drain = Drain::new(Duration::from_secs(5));
        let node = Node::alone(Arc::new(config.clone()), Role::Mta, drain.clone()).unwrap();
        node.serve_rpc(Server::new(Role::Mta)).unwrap();
        node.serve_admin().unwrap();
        let trace_id = TraceId::random();
        node.trace.record(crate::TraceEvent::new(1, trace_id, "accepted"));

        config.mta.rpc_listen = node.addresses("gRPC");
        let mut client =
            TraceClient::new(operator_channel(&config, Role::Mta, Duration::from_secs(5)).unwrap());
        let request = FindStepsRequest { id: trace_id.to_string(), ..Default::default() };
        let mut answers = client.find_steps(request).await.unwrap().into_inner();
        let steps = answers.message().await.unwrap().unwrap().steps;
        assert_eq!(
            (steps.len(), steps[0].name.as_str(), steps[0].node.as_str()),
            (1, "accepted", "mx.alpha.test")
        );
        drop(client);

        assert_eq!(crate::role::health(&config, Role::Mta).await, Ok(()));
        drain.stop();
        assert_eq!(node.finish().await, 0);
        let unhealthy = crate::role::health(&config, Role::Mta).await.unwrap_err();
        assert!(unhealthy.starts_with("mta at 127.0.0.1:") && unhealthy.contains("refused"), "{unhealthy}");
    }

    #[tokio::test]
    async fn roles_in_one_process_reach_each_other_and_their_certificates_do_not_matter() {
        crate::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let (front, back) = (Drain::new(Duration::from_secs(5)), Drain::new(Duration::from_secs(5)));
        let clock = Arc::new(SystemClock::new());
        let nodes = Node::together(Arc::new(config(dir.path())), clock, &front, &back).unwrap();
        nodes[&Role::Mda].serve_rpc(Server::new(Role::Mda)).unwrap();
        let channel = nodes[&Role::Mta].required_channel(Role::Mda);
        assert!(channel.ready(Duration::from_secs(5)).await);
        assert!(nodes[&Role::Mta].readiness.look().0);
        // mta is no operator: its question is refused, by role and not by luck.
        let asked = TraceClient::new(channel.clone()).find_steps(FindStepsRequest::default()).await;
        assert_eq!(asked.unwrap_err().code(), tonic::Code::PermissionDenied);
        drop(channel);
        front.stop();
        back.stop();
        assert_eq!(nodes[&Role::Mda].drain.finish().await, 0);
    }
}
