//! Listening, and accepting within bounds.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::conn::Conn;
use crate::drain::Drain;

/// Connections that the system holds for us until they are accepted.
const BACKLOG: i32 = 1024;
/// Clients beyond the bounds that are told so at a time; more are just closed.
const REFUSALS_MAX: usize = 64;

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot listen on {address}: {}", advice(.source, *.address))]
pub struct BindError {
    /// For whom: `SMTP`.
    pub what: String,
    pub address: SocketAddr,
    pub source: io::Error,
}

/// What happened, and what to do.
fn advice(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is taken by another program (`ss -ltnup 'sport = :{port}'` shows which); stop it, or set another port"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "not permitted: ports below 1024 need CAP_NET_BIND_SERVICE or the sysctl net.ipv4.ip_unprivileged_port_start={port}; or set another port"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "this machine has no address {}; set one that it has (`ip address` shows them)",
                address.ip()
            )
        }
        _ => error.to_string(),
    }
}

/// A port that is listened on.
#[derive(Debug)]
pub struct Listener {
    what: String,
    address: SocketAddr,
    tcp: TcpListener,
}

impl Listener {
    /// `what` stands in errors and logs: `SMTP`. Must be called within a tokio runtime.
    pub fn bind(what: &str, address: SocketAddr) -> Result<Listener, BindError> {
        let failed = |source| BindError { what: what.to_owned(), address, source };
        let tcp = bind_tcp(address).map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Listener { what: what.to_owned(), address, tcp })
    }

    /// All of them, or none. `[::]` is left out with a warning on a machine without IPv6, where it is a
    /// default and nobody's wish.
    pub fn bind_all(what: &str, addresses: &[SocketAddr]) -> Result<Vec<Listener>, BindError> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            match Listener::bind(what, *address) {
                Ok(listener) => listeners.push(listener),
                Err(error)
                    if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error.source) =>
                {
                    tracing::warn!(%address, "{what}: no IPv6 on this machine, listening on IPv4 alone");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(listeners)
    }

    /// The address with the port that was given, also where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn what(&self) -> &str {
        &self.what
    }

    /// A second handle on the same socket: to turn clients away with, when this one has stopped accepting.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        TcpListener::from_std(std::net::TcpListener::from(self.tcp.as_fd().try_clone_to_owned()?))
    }

    /// The socket itself, for those who accept on their own.
    pub fn into_tcp(self) -> TcpListener {
        self.tcp
    }

    /// Accepts until the drain's first step. Each connection within the bounds is handed to `serve` in a
    /// task of the drain's; one beyond them gets `refusal` (`421 …`; empty: nothing, where TLS comes first)
    /// and is closed.
    pub async fn serve<F, R>(self, gate: Gate, refusal: Bytes, drain: Drain, serve: F)
    where
        F: Fn(Conn) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        let refusals = Arc::new(tokio::sync::Semaphore::new(REFUSALS_MAX));
        loop {
            let accepted = tokio::select! {
                () = drain.stopping() => return,
                accepted = self.tcp.accept() => accepted,
            };
            let tcp = match accepted {
                Ok((tcp, _)) => tcp,
                Err(error) if client_gone(&error) => continue,
                Err(error) => {
                    // Out of file descriptors or memory: what is open goes on, and so do we.
                    tracing::error!(what = self.what, %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(mut conn) = Conn::plain(tcp) else { continue };
            match gate.enter(conn.peer().ip()) {
                Ok(pass) => {
                    // Boxed: else the task has room for it twice, before and after its first step.
                    let session = Box::pin(serve(conn));
                    drain.spawn(async move {
                        session.await;
                        drop(pass);
                    });
                }
                Err(reason) => {
                    metrics::counter!("postroad_connections_refused_total", "what" => self.what.clone())
                        .increment(1);
                    tracing::debug!(what = self.what, client = %conn.peer(), %reason, "connection refused");
                    if let Ok(permit) = refusals.clone().try_acquire_owned() {
                        let refusal = refusal.clone();
                        drain.spawn(async move {
                            // The client is told if it listens; nothing depends on it.
                            let told = async {
                                conn.write_all(&refusal).await?;
                                conn.shutdown().await
                            };
                            let _ = tokio::time::timeout(Duration::from_secs(5), told).await;
                            drop(permit);
                        });
                    }
                }
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] are two listeners and not one that takes the other's port.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(97) // EAFNOSUPPORT
}

/// The client went before it was accepted; the listener is fine.
fn client_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Bounds the connections of a role, together and from one address; clones are one and the same.
#[derive(Clone, Debug)]
pub struct Gate {
    inside: Arc<Mutex<Inside>>,
    max: usize,
    per_ip_max: usize,
    /// Addresses that stand for many clients.
    shared: Arc<[IpNet]>,
}

#[derive(Debug, Default)]
struct Inside {
    count: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// Why a connection is beyond the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("too many connections")]
    TooMany,
    #[error("too many connections from this address")]
    TooManyFromAddress,
}

/// A connection within the bounds, until it is dropped.
#[derive(Debug)]
pub struct Pass {
    inside: Arc<Mutex<Inside>>,
    ip: IpAddr,
}

impl Gate {
    pub fn new(max: usize, per_ip_max: usize) -> Self {
        Gate { inside: Arc::default(), max, per_ip_max, shared: Arc::default() }
    }

    /// Addresses in these networks are bounded together with all others alone: load balancers, behind which
    /// there are many clients.
    #[must_use]
    pub fn with_shared(self, networks: &[IpNet]) -> Self {
        Gate { shared: networks.into(), ..self }
    }

    /// An IPv6 client counts by its /64, which is what one customer has.
    pub fn enter(&self, ip: IpAddr) -> Result<Pass, Refusal> {
        let is_shared = self.shared.iter().any(|network| network.contains(&ip));
        let ip = match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        };
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.count >= self.max {
            return Err(Refusal::TooMany);
        }
        let from_ip = inside.by_ip.entry(ip).or_default();
        if *from_ip >= self.per_ip_max && !is_shared {
            return Err(Refusal::TooManyFromAddress);
        }
        *from_ip += 1;
        inside.count += 1;
        Ok(Pass { inside: self.inside.clone(), ip })
    }

    /// How many are inside.
    pub fn count(&self) -> usize {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).count
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.count -= 1;
        if let Some(from_ip) = inside.by_ip.get_mut(&self.ip) {
            *from_ip -= 1;
            if *from_ip == 0 {
                inside.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    fn localhost() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[tokio::test]
    async fn a_taken_port_is_said_with_what_to_do() {
        let first = Listener::bind("SMTP", localhost()).unwrap();
        let error = Listener::bind("IMAP", first.address()).unwrap_err().to_string();
        let port = first.address().port();
        assert!(error.contains(&format!("IMAP cannot listen on 127.0.0.1:{port}")), "{error}");
        assert!(
            error.contains("taken") && error.contains("set another port") && !error.contains('\n'),
            "{error}"
        );
    }

    #[test]
    fn the_gate_counts_together_and_by_address() {
        let gate = Gate::new(3, 2);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let first = gate.enter(a).unwrap();
        let _second = gate.enter(a).unwrap();
        assert_eq!(gate.enter(a).unwrap_err(), Refusal::TooManyFromAddress);
        let _v6 = gate.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(gate.enter("192.0.2.9".parse().unwrap()).unwrap_err(), Refusal::TooMany);
        drop(first);
        let shared = Gate::new(3, 1).with_shared(&["192.0.2.0/24".parse().unwrap()]);
        let passes: Vec<_> = (0..4).map(|_| shared.enter(a)).collect();
        assert_eq!(passes.iter().filter(|pass| pass.is_ok()).count(), 3);
        let shared = Gate::new(9, 1).with_shared(&["2001:db8::1/128".parse().unwrap()]);
        let passes: Vec<_> = (0..2).map(|_| shared.enter("2001:db8::1".parse().unwrap())).collect();
        assert!(passes.iter().all(Result::is_ok));
        let _v6_neighbour = gate.enter("2001:db8::2".parse().unwrap()).unwrap();
        assert_eq!(gate.count(), 3);
    }

    #[tokio::test]
    async fn beyond_the_bound_a_client_is_told_and_closed_and_others_go_on() {
        let listener = Listener::bind("test", localhost()).unwrap();
        let address = listener.address();
        let drain = Drain::new(Duration::from_secs(5));
        let serving = tokio::spawn(listener.serve(
            Gate::new(10, 1),
            Bytes::from_static(b"421 too many\r\n"),
            drain.clone(),
            |mut conn| async move {
                let mut octet = [0];
                while conn.read(&mut octet).await.is_ok_and(|n| n > 0) {
                    conn.write_all(&octet).await.unwrap();
                }
            },
        ));
        let mut inside = TcpStream::connect(address).await.unwrap();
        inside.write_all(b"x").await.unwrap();
        assert_eq!(inside.read_u8().await.unwrap(), b'x');
        let mut text = String::new();
        TcpStream::connect(address).await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "421 too many\r\n");
        inside.write_all(b"y").await.unwrap();
        assert_eq!(inside.read_u8().await.unwrap(), b'y');
        drop(inside);
        drain.stop();
        assert_eq!(drain.finish().await, 0);
        serving.await.unwrap();
    }
}
