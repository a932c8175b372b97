//! What the sessions of a node share.

use std::net::IpAddr;
use std::sync::Arc;

use postroad_config::Mra;
use postroad_service::{ClientTls, Clock, Drain, TraceEvent, TraceLog};
use postroad_types::TraceId;

use crate::conn::Protocol;
use crate::login::{Login, LoginClient};
use crate::mailbox::MailboxClient;

/// Everything that a session needs besides its connection.
pub struct Context {
    /// Our name, for greetings.
    pub host: String,
    pub config: Mra,
    pub tls: ClientTls,
    pub logins: Arc<dyn LoginClient>,
    pub mailbox: Arc<dyn MailboxClient>,
    pub traces: TraceLog,
    pub clock: Arc<dyn Clock>,
    pub drain: Drain,
}

impl Context {
    /// Whether this client may send a password without TLS.
    pub fn allows_plaintext_auth(&self, client: IpAddr) -> bool {
        self.config.allow_plaintext_auth.iter().any(|network| network.contains(&client))
    }

    /// Writes down that a message reached its reader: the last step of its way.
    pub fn trace_fetched(
        &self,
        trace: TraceId,
        protocol: Protocol,
        login: &Login,
        folder: &str,
        uid: u32,
        octets: u64,
    ) {
        let step = TraceEvent::new(self.clock.now_us(), trace, "fetched")
            .with("protocol", protocol.name())
            .with("to", &login.address)
            .with("folder", folder)
            .with("uid", uid)
            .with("octets", octets);
        self.traces.record(step);
    }
}
