//! Asks other resolvers over TLS (RFC 7858): one connection for each, kept as long as it is in use, with many questions
//! under way on it at a time.
//!
//! Questions come and go as octets: the id is put in here, so that those of one connection differ, and the question is
//! padded (RFC 8467 section 4.1). What a server sends that nobody waits for is passed over, and only it: nobody else
//! can write into the connection. A connection that the server has closed meanwhile costs nobody an answer: the
//! question is asked once more on a new one.

mod connection;
mod trust;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postroad_config::TlsServer;
use postroad_types::limits::{
    DNS_PADDED_QUERY_OCTETS, DNS_UPSTREAM_PIPELINE_MAX, DNS_UPSTREAM_SILENCE_SECONDS,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::warn;
pub use trust::{Trust, TrustError};

use super::upstream::AskError;
use crate::wire::pad_query;
use connection::{Ended, Job, Limits};

/// The connection ended, and nothing more is known.
const RESET: AskError = AskError::Unreachable(io::ErrorKind::ConnectionReset);

/// Other resolvers, reached over TLS. Clones share the connections.
#[derive(Debug, Clone)]
pub struct SecureUpstream {
    trust: Trust,
    /// Local addresses that are connected from; of a family without one the system chooses.
    sources: Arc<[IpAddr]>,
    limits: Limits,
    open: Arc<Mutex<HashMap<TlsServer, mpsc::Sender<Job>>>>,
    /// Servers of which the log says that they are not who they should be.
    reported: Arc<Mutex<HashSet<TlsServer>>>,
}

impl SecureUpstream {
    /// `idle`: how long a connection without a question is kept.
    pub fn new(trust: Trust, sources: &[IpAddr], idle: Duration) -> Self {
        let limits = Limits { idle, silence: Duration::from_secs(DNS_UPSTREAM_SILENCE_SECONDS) };
        Self { trust, sources: sources.into(), limits, open: Arc::default(), reported: Arc::default() }
    }

    /// Sends a question as it is on the wire, and gives the response as it came, with the question's own id, at most
    /// `within` later. Must be called within a tokio runtime.
    pub async fn exchange(
        &self,
        server: &TlsServer,
        query: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, AskError> {
        let deadline = Instant::now() + within;
        let mut padded = query.to_vec();
        pad_query(&mut padded, usize::from(DNS_PADDED_QUERY_OCTETS));
        for attempt in 0..2 {
            let (reply, answer) = oneshot::channel();
            let job = Job { query: padded.clone(), reply };
            let sent = timeout_at(deadline, self.connection(server).send(job)).await;
            let ended = match sent.map_err(|_| AskError::Timeout)? {
                // It ended in this very moment.
                Err(_) => Ended::Reused(RESET),
                Ok(()) => match timeout_at(deadline, answer).await.map_err(|_| AskError::Timeout)? {
                    Ok(Ok(response)) => {
                        self.reported().remove(server);
                        return Ok(response);
                    }
                    Ok(Err(ended)) => ended,
                    Err(_) => Ended::Reused(RESET),
                },
            };
            match ended {
                Ended::Reused(_) if attempt == 0 => {}
                Ended::Reused(why) | Ended::Fresh(why) => {
                    if matches!(why, AskError::Tls(_)) && self.reported().insert(server.clone()) {
                        warn!(%server, "a resolver is not asked: {why}; expected a certificate for the name behind \
                               the # from an authority of browsers or of [tls] extra_ca_file");
                    }
                    return Err(why);
                }
            }
        }
        Err(RESET)
    }

    fn reported(&self) -> MutexGuard<'_, HashSet<TlsServer>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to a server, or the task that makes it.
    fn connection(&self, server: &TlsServer) -> mpsc::Sender<Job> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, jobs| !jobs.is_closed());
        if let Some(jobs) = open.get(server) {
            return jobs.clone();
        }
        let (sender, jobs) = mpsc::channel(DNS_UPSTREAM_PIPELINE_MAX);
        open.insert(server.clone(), sender.clone());
        let family = |source: &&IpAddr| source.is_ipv4() == server.address.is_ipv4();
        let of_family: Vec<IpAddr> = self.sources.iter().filter(family).copied().collect();
        let chosen = rand::random_range(0..of_family.len().max(1));
        let source = of_family.get(chosen).map(|source| SocketAddr::new(*source, 0));
        let connector = self.trust.connector(server.name.is_some());
        tokio::spawn(connection::run(server.clone(), connector, source, jobs, self.limits));
        sender
    }
}

#[cfg(test)]
mod tests;
