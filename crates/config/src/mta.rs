//! `[mta]`: submission, queue and relay.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use postroad_types::Domain;
use serde::{Deserialize, Serialize};

use crate::policy::{Policy, Rewrite};
use crate::transport::Transport;
use crate::units::{HostPort, domains, duration, hosts, listen, networks, size};

/// What is done with a line of a message that ends in LF or CR alone (RFC 5321 section 2.3.8 forbids it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BareNewline {
    /// The message is refused with 554: no one can smuggle a second one in (CVE-2023-51764 and its like).
    #[default]
    Refuse,
    /// Each becomes CRLF; the end of the message is still CRLF.CRLF alone.
    Normalise,
}

/// TLS towards other domains' MTAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsOutbound {
    /// Encrypts where the other side offers it, unauthenticated if need be (RFC 7435).
    #[default]
    Opportunistic,
    /// Delivers only over TLS with a certificate that names the MX and that we trust.
    Require,
    Off,
}

/// `[mta]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mta {
    /// Mail from other hosts.
    #[serde(with = "listen")]
    pub smtp_listen: Vec<SocketAddr>,
    /// Mail from our users, STARTTLS first (RFC 6409).
    #[serde(with = "listen")]
    pub submission_listen: Vec<SocketAddr>,
    /// Mail from our users, TLS from the first octet (RFC 8314).
    #[serde(with = "listen")]
    pub submissions_listen: Vec<SocketAddr>,
    /// gRPC: Queue, Trace.
    #[serde(with = "listen")]
    pub rpc_listen: Vec<SocketAddr>,
    /// HTTP: /metrics, /healthz, /readyz. It has no access control: keep it off the Internet.
    #[serde(with = "listen")]
    pub admin_listen: Vec<SocketAddr>,

    /// The queue's files; without it `spool` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool_dir: Option<PathBuf>,
    /// Recursive resolvers, host and port. Empty: this node's own `[dns]`.
    #[serde(with = "hosts")]
    pub resolver: Vec<HostPort>,
    /// Port that other domains' MTAs are reached on.
    pub smtp_port: u16,
    /// Local addresses that mail is sent from, IPv4 and IPv6; empty: as the system chooses.
    pub source: Vec<std::net::IpAddr>,
    /// TLS to other domains' MTAs: `opportunistic`, `require` or `off`.
    pub tls_outbound: TlsOutbound,

    /// Largest message, announced with SIZE.
    #[serde(with = "size")]
    pub message_size_max: u64,
    /// Recipients of one message; more get 452 (RFC 5321 section 4.5.3.1.8 asks for at least 100).
    pub recipients_max: usize,
    /// Recipients in the queue; new mail beyond gets 452. 0: those for which half of the memory is enough.
    pub queue_recipients_max: u64,
    /// SMTP connections at a time; more get 421.
    pub connections_max: usize,
    /// Of these, from one IP address.
    pub connections_per_ip_max: usize,
    /// A client that says nothing for so long is let go with 421 (RFC 5321 section 4.5.3.2.7: 5 minutes).
    #[serde(with = "duration")]
    pub idle: Duration,
    /// Lines that end in LF or CR alone: `refuse` or `normalise`.
    pub bare_newline: BareNewline,
    /// Networks whose hosts may send to anyone without a password.
    pub relay_networks: Vec<IpNet>,
    /// Load balancers whose connections begin with a PROXY header (version 1 or 2) that says who the client is.
    #[serde(with = "networks")]
    pub proxy_from: Vec<IpNet>,
    /// Networks whose hosts may send a password without TLS; sensible for loopback only.
    pub allow_plaintext_auth: Vec<IpNet>,
    /// Who gets mail to `<postmaster>` without a domain, and is named in bounces.
    /// Empty: postmaster at the node's name.
    pub postmaster: String,
    /// A message that comes from another Postroad keeps the trace id that stands in its newest Received header.
    pub adopt_trace: bool,

    /// Connections to one destination at a time.
    pub destination_connections_max: usize,
    /// Deliveries at a time, all destinations together.
    pub deliveries_max: usize,
    /// Wait before the second attempt; it doubles from attempt to attempt.
    #[serde(with = "duration")]
    pub retry_first: Duration,
    /// Longest wait between two attempts.
    #[serde(with = "duration")]
    pub retry_max: Duration,
    /// After so long a message that could not be delivered is bounced.
    #[serde(with = "duration")]
    pub queue_lifetime: Duration,
    /// After so long the sender is told that the message is delayed.
    #[serde(with = "duration")]
    pub warn_after: Duration,
    /// Connecting to another MTA takes at most so long.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Its answer to a command takes at most so long (RFC 5321 section 4.5.3.2: 5 minutes).
    #[serde(with = "duration")]
    pub command_timeout: Duration,
    /// Its answer to the end of the message takes at most so long (RFC 5321 section 4.5.3.2.6: 10 minutes).
    #[serde(with = "duration")]
    pub data_end_timeout: Duration,
    /// A connection to a destination is kept for the next message for so long.
    #[serde(with = "duration")]
    pub reuse_idle: Duration,

    /// Domains whose mail is taken from anyone and passed on, by a rule or by MX: as a gateway or a backup MX.
    #[serde(with = "domains")]
    pub relay_domains: Vec<Domain>,
    /// Mail that does not go by its domain's MX records.
    pub transport: Vec<Transport>,
    /// Addresses of the envelope that become others; the first that fits counts.
    pub rewrite: Vec<Rewrite>,
    pub policy: Policy,
}

impl Default for Mta {
    fn default() -> Self {
        Mta {
            smtp_listen: crate::everywhere(25),
            submission_listen: crate::everywhere(587),
            submissions_listen: crate::everywhere(465),
            rpc_listen: crate::loopback(7602),
            admin_listen: crate::loopback(7702),
            spool_dir: None,
            resolver: Vec::new(),
            smtp_port: 25,
            source: Vec::new(),
            tls_outbound: TlsOutbound::Opportunistic,
            message_size_max: 25 << 20,
            recipients_max: 1000,
            queue_recipients_max: 0,
            connections_max: 2000,
            connections_per_ip_max: 100,
            idle: Duration::from_secs(300),
            bare_newline: BareNewline::Refuse,
            relay_networks: Vec::new(),
            proxy_from: Vec::new(),
            allow_plaintext_auth: Vec::new(),
            postmaster: String::new(),
            adopt_trace: true,
            destination_connections_max: 20,
            deliveries_max: 200,
            retry_first: Duration::from_secs(60),
            retry_max: Duration::from_secs(1800),
            queue_lifetime: Duration::from_secs(5 * 86_400),
            warn_after: Duration::from_secs(4 * 3600),
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(300),
            data_end_timeout: Duration::from_secs(600),
            reuse_idle: Duration::from_secs(5),
            relay_domains: Vec::new(),
            transport: Vec::new(),
            rewrite: Vec::new(),
            policy: Policy::default(),
        }
    }
}
