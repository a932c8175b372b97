//! Stage one of a mail's way: SMTP sessions with clients, on ports 25, 587 and 465.
//!
//! The dialogue is `postroad_wire_smtp`'s pure machine; here are the sockets, TLS and timers around it, and the
//! answers to its questions. A session is one task; a message is answered with 250 only after the spool said that
//! it is durable.

mod envelope;
mod greeting;
mod intake;
mod listener;
mod login;
mod outcome;
mod proxy;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ipnet::IpNet;
use postroad_service::{ClientTls, Clock, Gate, TraceLog};
use postroad_wire_smtp::server::Config;

use crate::directory::CachedDirectory;
use crate::policy::Policy;
use crate::queue::Queue;

pub use listener::{Door, serve};

/// What all sessions share.
#[derive(Debug)]
pub struct Inbound {
    pub policy: Arc<Policy>,
    pub directory: Arc<CachedDirectory>,
    pub queue: Arc<Queue>,
    pub clock: Arc<dyn Clock>,
    pub trace_log: TraceLog,
    pub tls: Option<ClientTls>,
    /// Load balancers that say for whom they connect.
    pub proxy_from: Vec<IpNet>,
    /// Bounds the clients behind them; the listener's gate sees the balancers.
    pub behind_proxies: Gate,
    /// Networks from which a password may come without TLS.
    pub allow_plaintext_auth: Vec<IpNet>,
    /// A message keeps the trace id that another Postroad gave it.
    pub adopt_trace: bool,
    pub relay: Arc<Config>,
    pub submission: Arc<Config>,
    /// The same, with AUTH offered before TLS.
    pub plaintext_submission: Arc<Config>,
}
