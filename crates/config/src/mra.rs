//! `[mra]`: IMAP and POP3.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::units::{duration, listen, size};

/// `[mra]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mra {
    /// IMAP with STARTTLS.
    #[serde(with = "listen")]
    pub imap_listen: Vec<SocketAddr>,
    /// IMAP, TLS from the first octet (RFC 8314).
    #[serde(with = "listen")]
    pub imaps_listen: Vec<SocketAddr>,
    /// POP3 with STLS.
    #[serde(with = "listen")]
    pub pop3_listen: Vec<SocketAddr>,
    /// POP3, TLS from the first octet (RFC 8314).
    #[serde(with = "listen")]
    pub pop3s_listen: Vec<SocketAddr>,
    /// gRPC: Trace.
    #[serde(with = "listen")]
    pub rpc_listen: Vec<SocketAddr>,
    /// HTTP: /metrics, /healthz, /readyz. It has no access control: keep it off the Internet.
    #[serde(with = "listen")]
    pub admin_listen: Vec<SocketAddr>,
    /// Networks whose hosts may send a password without TLS; sensible for loopback only.
    pub allow_plaintext_auth: Vec<IpNet>,
    /// Connections at a time, IMAP and POP3 together.
    pub connections_max: usize,
    /// Of these, from one IP address.
    pub connections_per_ip_max: usize,
    /// A client that is logged in and says nothing for so long is let go
    /// (RFC 9051 section 5.4 asks for at least 30 minutes).
    #[serde(with = "duration")]
    pub idle: Duration,
    /// The same for POP3 (RFC 1939 section 3 asks for at least 10 minutes).
    #[serde(with = "duration")]
    pub pop3_idle: Duration,
    /// A client that is not logged in after so long is let go.
    #[serde(with = "duration")]
    pub login_timeout: Duration,
    /// Largest message that APPEND takes.
    #[serde(with = "size")]
    pub append_size_max: u64,
}

impl Default for Mra {
    fn default() -> Self {
        Mra {
            imap_listen: crate::everywhere(143),
            imaps_listen: crate::everywhere(993),
            pop3_listen: crate::everywhere(110),
            pop3s_listen: crate::everywhere(995),
            rpc_listen: crate::loopback(7604),
            admin_listen: crate::loopback(7704),
            allow_plaintext_auth: Vec::new(),
            connections_max: 5000,
            connections_per_ip_max: 100,
            idle: Duration::from_secs(1800),
            pop3_idle: Duration::from_secs(600),
            login_timeout: Duration::from_secs(60),
            append_size_max: 64 << 20,
        }
    }
}
