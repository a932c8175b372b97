//! The connections to the replicas of one role, kept up by a task of their own.
//!
//! A round: resolve all names; connect to every address that has no connection; ask every connection for
//! its health. Only what answered SERVING is picked for calls; what is merely slow to answer is picked
//! while nothing better is there, so that a busy disk does not turn every replica away at once. A connection that breaks is left out at once,
//! by the end of its own task, and the next round begins at once as well; an address that refuses is tried
//! again after 50 ms, 100 ms … up to the interval of the rounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use postroad_types::Role;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::channel::{ChannelOptions, Target};
use crate::flow::{CONNECTION_WINDOW, FRAME, STREAM_WINDOW};
use crate::tls;

const RETRY_FIRST: Duration = Duration::from_millis(50);
/// A broken path shows after at most these two together, also when no packet says so.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(5);

/// One replica's connection.
pub(crate) struct Connection {
    /// For messages and for telling it from others.
    pub(crate) label: String,
    sender: SendRequest<Body>,
    pub(crate) pending: AtomicUsize,
}

impl Connection {
    pub(crate) fn sender(&self) -> SendRequest<Body> {
        self.sender.clone()
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// What the pool's task and the callers share.
pub(crate) struct Pool {
    pub(crate) role: Role,
    live: ArcSwap<Vec<Arc<Connection>>>,
    /// Raised with every change of `live`, and at the end of every round.
    changes: watch::Sender<u64>,
    /// Wakes the task before its time.
    kick: Notify,
    /// Why the last attempt to reach a replica failed.
    last_failure: ArcSwap<String>,
    turn: AtomicUsize,
}

impl Pool {
    pub(crate) fn new(role: Role) -> Self {
        Pool {
            role,
            live: ArcSwap::from_pointee(Vec::new()),
            changes: watch::Sender::new(0),
            kick: Notify::new(),
            last_failure: ArcSwap::from_pointee("not tried yet".to_owned()),
            turn: AtomicUsize::new(0),
        }
    }

    /// The open connection with the fewest calls under way; equal ones in turn.
    pub(crate) fn pick(&self, not: &[Arc<Connection>]) -> Option<Arc<Connection>> {
        let live = self.live.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = live.len();
        let in_turn = (0..count).filter_map(|i| live.get((turn.wrapping_add(i)) % count));
        in_turn
            .filter(|c| c.is_open() && !not.iter().any(|other| Arc::ptr_eq(other, c)))
            .min_by_key(|c| c.pending.load(Ordering::Relaxed))
            .cloned()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn last_failure(&self) -> Arc<String> {
        self.last_failure.load_full()
    }

    /// This connection takes no calls any more: leave it out and look at once what is there.
    pub(crate) fn suspect(&self, connection: &Arc<Connection>, why: String) {
        self.last_failure.store(Arc::new(format!("{}: {why}", connection.label)));
        self.live
            .rcu(|live| live.iter().filter(|c| !Arc::ptr_eq(c, connection)).cloned().collect::<Vec<_>>());
        self.kick.notify_one();
    }

    fn publish(&self, live: Vec<Arc<Connection>>) {
        self.live.store(Arc::new(live));
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Runs until it is dropped.
    pub(crate) async fn keep_up(self: Arc<Self>, target: Target, options: ChannelOptions) {
        let mut retry = RETRY_FIRST;
        loop {
            let missing = self.round(&target, &options).await;
            let wait = if missing { retry } else { options.resolve_every };
            retry = if missing { (retry * 2).min(options.resolve_every) } else { RETRY_FIRST };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.kick.notified() => {}
            }
        }
    }

    /// One round; true if something that should be there is not.
    async fn round(self: &Arc<Self>, target: &Target, options: &ChannelOptions) -> bool {
        let (places, mut missing) = self.places(target).await;
        let before = self.live.load_full();
        let checks = places.iter().map(|place| {
            let known = before.iter().find(|c| c.label == place.to_string() && c.is_open()).cloned();
            async move {
                let connection = match known {
                    Some(connection) => connection,
                    None => self.connect(place, target, options).await?,
                };
                let health = health(&connection, options.connect_timeout).await;
                Ok((connection, health))
            }
        });
        let (mut live, mut slow) = (Vec::with_capacity(places.len()), Vec::new());
        for (place, outcome) in places.iter().zip(futures_util::future::join_all(checks).await) {
            match outcome {
                Ok((connection, Health::Serving)) => live.push(connection),
                Ok((connection, Health::Slow)) => {
                    missing = true;
                    tracing::warn!(callee = %self.role, %place, "a service is slow to answer a health check");
                    slow.push(connection);
                }
                Ok((_, Health::Not(why))) | Err(why) => {
                    missing = true;
                    self.note_failure(
                        format!("{place}: {why}"),
                        before.iter().any(|c| c.label == place.to_string()),
                    );
                }
            }
        }
        self.publish(if live.is_empty() { slow } else { live });
        missing
    }

    /// Where the replicas are now; true with it if a name did not resolve.
    async fn places(&self, target: &Target) -> (Vec<Place>, bool) {
        let Target::Network { hosts, .. } = target else { return (vec![Place::Here], false) };
        let mut places = Vec::new();
        let mut missing = hosts.is_empty();
        for (host, port) in hosts {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(addresses) => {
                    for address in addresses {
                        if !places.contains(&Place::There(address)) {
                            places.push(Place::There(address));
                        }
                    }
                }
                Err(error) => {
                    missing = true;
                    self.note_failure(format!("{host}: the name does not resolve: {error}"), false);
                }
            }
        }
        (places, missing)
    }

    fn note_failure(&self, failure: String, was_live: bool) {
        if was_live {
            tracing::warn!(callee = %self.role, %failure, "a service is left out until it answers again");
        } else {
            tracing::debug!(callee = %self.role, %failure, "a service cannot be reached");
        }
        self.last_failure.store(Arc::new(failure));
    }

    async fn connect(
        self: &Arc<Self>,
        place: &Place,
        target: &Target,
        options: &ChannelOptions,
    ) -> Result<Arc<Connection>, String> {
        let connecting = async {
            match (place, target) {
                (Place::There(address), Target::Network { tls, .. }) => {
                    let tcp = tokio::net::TcpStream::connect(address).await.map_err(|e| e.to_string())?;
                    tcp.set_nodelay(true).map_err(|e| e.to_string())?;
                    let name = tls::server_name(self.role);
                    let stream = tls.connector().connect(name, tcp).await.map_err(|e| e.to_string())?;
                    self.handshake(place, stream).await
                }
                (_, Target::InProcess { service, caller }) => {
                    let stream = service.connect(*caller).await.map_err(|e| e.to_string())?;
                    self.handshake(place, stream).await
                }
                (Place::Here, Target::Network { .. }) => Err("no address".to_owned()),
            }
        };
        let late = |_| format!("no connection after {:?}", options.connect_timeout);
        tokio::time::timeout(options.connect_timeout, connecting).await.map_err(late)?
    }

    /// HTTP/2 over what was connected; the connection's own task ends with it and wakes the pool.
    async fn handshake<S>(self: &Arc<Self>, place: &Place, stream: S) -> Result<Arc<Connection>, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, running) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_WITHIN)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            if let Err(error) = running.await {
                tracing::debug!(%error, "a connection between services ended");
            }
            if let Some(pool) = pool.upgrade() {
                pool.kick.notify_one();
            }
        });
        Ok(Arc::new(Connection { label: place.to_string(), sender, pending: AtomicUsize::new(0) }))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    There(SocketAddr),
    /// In this process.
    Here,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::There(address) => address.fmt(f),
            Place::Here => f.write_str("this process"),
        }
    }
}

/// Asks the replica itself whether it takes calls; one that drains says no (gRPC health checking protocol).
async fn health(connection: &Arc<Connection>, within: Duration) -> Health {
    let sender = connection.sender();
    let service = tower::service_fn(move |request: Request<Body>| {
        let mut sender = sender.clone();
        async move { sender.send_request(crate::channel::absolute(request, "health")).await }
    });
    let mut client = HealthClient::new(service);
    let asked = client.check(HealthCheckRequest { service: String::new() });
    match tokio::time::timeout(within, asked).await {
        Err(_) => Health::Slow,
        Ok(Err(status)) => Health::Not(format!("health check: {}", status.message())),
        Ok(Ok(answer)) => match answer.into_inner().status() {
            ServingStatus::Serving => Health::Serving,
            other => Health::Not(format!("it says {}", other.as_str_name())),
        },
    }
}

/// What a replica says of itself.
enum Health {
    Serving,
    /// Nothing yet; the connection stands.
    Slow,
    Not(String),
}
