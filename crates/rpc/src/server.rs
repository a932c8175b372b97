//! The callee's side: all of a role's services on its listeners and within its process.
//!
//! Draining: when the token is cancelled, health says NOT_SERVING, no connection is accepted any more, each
//! open one is told to go away (GOAWAY) and may finish the calls it has. What is not finished after the
//! grace is cut; streams that never end by themselves (Watch) are cut then at the latest.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use postroad_types::Role;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service;

use crate::flow::{CONNECTION_WINDOW, FRAME, STREAM_WINDOW, STREAMS_MAX};
use crate::in_process::InProcessIncoming;
use crate::{Peer, ServiceTls, calls, deadline, peer};

const TLS_HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(10);
/// Connections of one server; the services of an installation are few.
const CONNECTIONS_MAX: usize = 1000;

/// Where calls come from.
#[derive(Debug, Default)]
pub struct Incoming {
    listeners: Vec<(TcpListener, ServiceTls)>,
    in_process: Option<InProcessIncoming>,
}

impl Incoming {
    pub fn new() -> Self {
        Incoming::default()
    }

    /// Over mTLS, on a socket that is bound already.
    pub fn listen(mut self, listener: TcpListener, tls: ServiceTls) -> Self {
        self.listeners.push((listener, tls));
        self
    }

    /// From this process.
    pub fn in_process(mut self, incoming: InProcessIncoming) -> Self {
        self.in_process = Some(incoming);
        self
    }
}

/// Says what the health service answers, for the whole role.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// SERVING or NOT_SERVING. Callers leave a replica out that does not serve.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status("", status).await;
    }
}

/// A role's services, to be served. Health comes with it.
#[derive(Debug)]
pub struct Server {
    role: Role,
    routes: Routes,
    health: Health,
}

impl Server {
    pub fn new(role: Role) -> Self {
        let reporter = HealthReporter::new();
        let service = HealthService::from_health_reporter(reporter.clone());
        let routes = Routes::new(tonic_health::pb::health_server::HealthServer::new(service));
        Server { role, routes, health: Health { reporter } }
    }

    /// Adds a generated service: `.add(QueueServer::new(queue))`.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "a server and a service have no sum")]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes = self.routes.add_service(service);
        self
    }

    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves until `stop`, then drains for at most `grace`. Returns when the last connection is gone.
    pub async fn serve(self, incoming: Incoming, stop: CancellationToken, grace: Duration) {
        let Server { role, routes, health } = self;
        let routes = Arc::new(routes.prepare());
        let mut accepting = JoinSet::new();
        let connections = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
        let cut = CancellationToken::new();
        // Also when this future is dropped: no connection outlives its server.
        let _cut_at_the_end = cut.clone().drop_guard();
        // Every connection's task holds a clone; when the last is dropped, all are done.
        let (alive, mut all_done) = tokio::sync::mpsc::channel::<Infallible>(1);

        for (listener, tls) in incoming.listeners {
            let (routes, stop, cut, alive) = (routes.clone(), stop.clone(), cut.clone(), alive.clone());
            let connections = connections.clone();
            accepting.spawn(async move {
                loop {
                    let accepted = tokio::select! {
                        () = stop.cancelled() => break,
                        accepted = listener.accept() => accepted,
                    };
                    let (tcp, address) = match accepted {
                        Ok(accepted) => accepted,
                        Err(error) => {
                            // Out of file descriptors or the like: what is open goes on, and so do we.
                            tracing::warn!(%role, %error, "a service's connection could not be accepted");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            continue;
                        }
                    };
                    let Ok(permit) = connections.clone().try_acquire_owned() else {
                        tracing::warn!(%role, %address, "too many connections of services: this one is closed");
                        continue;
                    };
                    let connection = Serving { role, routes: routes.clone(), stop: stop.clone(), cut: cut.clone() };
                    let (acceptor, alive) = (tls.acceptor(), alive.clone());
                    tokio::spawn(async move {
                        let _held = (alive, permit);
                        if tcp.set_nodelay(true).is_err() {
                            return;
                        }
                        let handshake = tokio::time::timeout(TLS_HANDSHAKE_WITHIN, acceptor.accept(tcp));
                        let stream = match handshake.await {
                            Ok(Ok(stream)) => stream,
                            Ok(Err(error)) => {
                                tracing::warn!(%role, %address, %error, "a caller failed to prove itself");
                                return;
                            }
                            Err(_) => return,
                        };
                        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                        let Some(caller) = certificate.and_then(peer::role_of) else {
                            tracing::warn!(%role, %address, "a caller's certificate names no role: it is refused");
                            return;
                        };
                        if caller != role && !calls::may_call(caller, role) {
                            tracing::warn!(%role, %address, %caller, "this role has no business here: it is refused");
                            return;
                        }
                        connection.run(stream, Peer { role: caller, address: Some(address) }).await;
                    });
                }
            });
        }

        if let Some(mut pipes) = incoming.in_process {
            let (routes, stop, cut, alive) = (routes.clone(), stop.clone(), cut.clone(), alive.clone());
            accepting.spawn(async move {
                loop {
                    let (pipe, caller) = tokio::select! {
                        () = stop.cancelled() => break,
                        accepted = pipes.accept() => match accepted {
                            Some(accepted) => accepted,
                            None => break,
                        },
                    };
                    let connection =
                        Serving { role, routes: routes.clone(), stop: stop.clone(), cut: cut.clone() };
                    let alive = alive.clone();
                    tokio::spawn(async move {
                        let _held = alive;
                        connection.run(pipe, Peer { role: caller, address: None }).await;
                    });
                }
            });
        }

        health.set_serving(true).await;
        stop.cancelled().await;
        health.set_serving(false).await;
        drop(alive);
        while accepting.join_next().await.is_some() {}
        if tokio::time::timeout(grace, all_done.recv()).await.is_err() {
            tracing::info!(%role, ?grace, "calls that did not finish while draining are cut");
            cut.cancel();
            all_done.recv().await;
        }
    }
}

/// One connection being served.
struct Serving {
    role: Role,
    routes: Arc<Routes>,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Serving {
    async fn run<S>(self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (role, routes) = (self.role, self.routes);
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            let within = deadline::of(request.headers());
            let for_health = request.uri().path().starts_with(calls::HEALTH_PATH);
            let allowed = for_health || calls::may_call(peer.role, role);
            let answering = allowed.then(|| Routes::clone(&routes).call(request));
            async move {
                let Some(answering) = answering else {
                    let message = format!("{} has no business with {role} but its health", peer.role);
                    return Ok(Status::permission_denied(message).into_http());
                };
                let Some(within) = within else { return answering.await };
                tokio::time::timeout(within, answering).await.unwrap_or_else(|_| {
                    Ok(Status::deadline_exceeded(format!("not done within {within:?}")).into_http())
                })
            }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_WITHIN)
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(caller = %peer.role, %error, "a connection between services ended");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !draining => {
                    connection.as_mut().graceful_shutdown();
                    draining = true;
                }
                () = self.cut.cancelled() => return,
            }
        }
    }
}
