//! The caller's side: one [`Channel`] to all replicas of a role.
//!
//! Give a clone to each generated client: `MailboxClient::new(channel.clone())`. Every call has a deadline:
//! its own (`request.set_timeout`) or the channel's. A call goes to the replica with the fewest calls under
//! way; one that was not sent because the connection was just ending goes to the next. A call that was
//! sent and not answered is UNAVAILABLE and is repeated by nobody but the caller, who knows what may be repeated.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use postroad_types::Role;
use tonic::Status;
use tonic::body::Body;

use crate::in_process::InProcess;
use crate::pool::{Connection, Pool};
use crate::{ServiceTls, deadline};

/// How a channel behaves.
#[derive(Clone, Copy, Debug)]
pub struct ChannelOptions {
    /// Of a call that has none of its own.
    pub deadline: Duration,
    /// Of a connection being made, and of the wait for the first one.
    pub connect_timeout: Duration,
    /// Between two looks at who is there.
    pub resolve_every: Duration,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        ChannelOptions {
            deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            resolve_every: Duration::from_secs(5),
        }
    }
}

/// Where a role's services are.
pub(crate) enum Target {
    Network { hosts: Vec<(String, u16)>, tls: ServiceTls },
    InProcess { service: InProcess, caller: Role },
}

/// A way to all replicas of one role; clones share it. Its connections end with the last clone.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Arc<Pool>,
    options: ChannelOptions,
    task: tokio::task::AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.shared.pool.role)
    }
}

impl Channel {
    /// To the services of `role` at these hosts and ports, which are connected to in the background.
    /// Must be called within a tokio runtime.
    pub fn new(role: Role, hosts: Vec<(String, u16)>, tls: ServiceTls, options: ChannelOptions) -> Channel {
        Channel::start(role, Target::Network { hosts, tls }, options)
    }

    /// To the service of `role` in this process, on behalf of `caller`.
    pub fn in_process(role: Role, service: InProcess, caller: Role, options: ChannelOptions) -> Channel {
        Channel::start(role, Target::InProcess { service, caller }, options)
    }

    fn start(role: Role, target: Target, options: ChannelOptions) -> Channel {
        let pool = Arc::new(Pool::new(role));
        let task = tokio::spawn(pool.clone().keep_up(target, options)).abort_handle();
        Channel { shared: Arc::new(Shared { pool, options, task }) }
    }

    /// The role that is called.
    pub fn role(&self) -> Role {
        self.shared.pool.role
    }

    /// Waits until a replica takes calls; false if none does within `within`.
    pub async fn ready(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.shared.connection(&[])).await.is_ok()
    }

    /// Whether a replica takes calls now.
    pub fn is_ready(&self) -> bool {
        self.shared.pool.pick(&[]).is_some()
    }

    /// Why the last attempt to reach a replica failed.
    pub fn last_failure(&self) -> String {
        self.shared.pool.last_failure().to_string()
    }
}

impl Shared {
    /// A connection to call on, as soon as there is one.
    async fn connection(&self, not: &[Arc<Connection>]) -> Arc<Connection> {
        let mut changes = self.pool.changes();
        loop {
            if let Some(connection) = self.pool.pick(not) {
                return connection;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn call(&self, request: Request<Body>) -> Result<Response<Incoming>, Status> {
        let mut request = absolute(request, self.pool.role.identity());
        let mut tried = Vec::new();
        loop {
            let wait = self.options.connect_timeout;
            let Ok(connection) = tokio::time::timeout(wait, self.connection(&tried)).await else {
                return Err(Status::unavailable(format!(
                    "no {} service takes calls ({})",
                    self.pool.role,
                    self.pool.last_failure()
                )));
            };
            let _pending = Pending::new(&connection);
            match connection.sender().try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => {
                    let why = error.error().to_string();
                    let unsent = error.take_message();
                    // One call may fail on a connection that is fine: the callee broke it off alone.
                    if unsent.is_some() || !connection.is_open() {
                        self.pool.suspect(&connection, why.clone());
                    }
                    match unsent {
                        // It was not sent: another replica may have it.
                        Some(unsent) => request = unsent,
                        None => {
                            let message =
                                format!("{} at {} did not answer: {why}", self.pool.role, connection.label);
                            return Err(Status::unavailable(message));
                        }
                    }
                    tried.push(connection.clone());
                }
            }
        }
    }
}

/// A call under way, counted while it lives.
struct Pending(Arc<Connection>);

impl Pending {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.pending.fetch_add(1, Ordering::Relaxed);
        Pending(connection.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl tower::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Whether a replica is ready is found out within the call, under its deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let shared = self.shared.clone();
        let within = deadline::of_or_set(request.headers_mut(), shared.options.deadline);
        Box::pin(async move {
            tokio::time::timeout(within, shared.call(request)).await.unwrap_or_else(|_| {
                Err(Status::deadline_exceeded(format!(
                    "{} did not answer within {within:?}",
                    shared.pool.role
                )))
            })
        })
    }
}

/// The request with scheme and host, which HTTP/2 wants as `:scheme` and `:authority`.
pub(crate) fn absolute(mut request: Request<Body>, authority: &str) -> Request<Body> {
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path).build();
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
    }
    request
}
