//! What an operator decides about a listener.

use std::time::Duration;

use postroad_types::{Domain, limits};

use crate::codec::line_ends::BareLineEnds;

/// Settings of one listener, shared by its sessions.
#[derive(Clone, Debug)]
pub struct Config {
    /// Named in the greeting and in the reply to EHLO.
    pub hostname: Domain,
    /// Behind the host name in the greeting: `ESMTP Postroad`.
    pub banner: String,
    pub role: Role,
    /// Largest message in octets as it is stored, announced by SIZE (RFC 1870).
    pub message_octets_max: u64,
    /// Recipients per message; RFC 5321 §4.5.3.1.8 asks for at least 100.
    pub recipients_max: usize,
    /// Mechanisms to offer, in this order; empty for a listener without AUTH.
    pub mechanisms: Vec<Mechanism>,
    /// Offers AUTH on a connection without TLS: for loopback only.
    pub allow_plaintext_auth: bool,
    /// Refuses MAIL before TLS is up (530 5.7.0).
    pub require_tls: bool,
    pub bare_line_ends: BareLineEnds,
    pub smtputf8: bool,
    /// CHUNKING and BINARYMIME (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689), under TLS.
    pub require_tls_option: bool,
    /// FUTURERELEASE (RFC 4865), for accounts: the longest wait in seconds; 0: not offered.
    pub hold_seconds_max: u32,
    /// DELIVERBY (RFC 2852), for accounts.
    pub deliver_by: bool,
    /// MT-PRIORITY (RFC 6710), for accounts.
    pub priority: bool,
    /// Messages per session, announced by LIMITS (RFC 9422) and kept; 0: any number.
    pub messages_max: u32,
    /// VRFY and EXPN.
    pub verify: Verify,
    pub timeouts: Timeouts,
}

impl Config {
    /// A listener on port 25 as RFC 5321 wants it; 25 MiB, 1000 recipients.
    pub fn relay(hostname: Domain) -> Self {
        Config {
            hostname,
            banner: "ESMTP Postroad".into(),
            role: Role::Relay,
            message_octets_max: 25 * 1024 * 1024,
            recipients_max: 1000,
            mechanisms: Vec::new(),
            allow_plaintext_auth: false,
            require_tls: false,
            bare_line_ends: BareLineEnds::Refuse,
            smtputf8: true,
            chunking: true,
            dsn: true,
            require_tls_option: true,
            hold_seconds_max: 0,
            deliver_by: false,
            priority: false,
            messages_max: 0,
            verify: Verify::Noncommittal,
            timeouts: Timeouts::default(),
        }
    }

    /// A listener on port 587 or 465: AUTH before MAIL, and AUTH only after TLS.
    pub fn submission(hostname: Domain) -> Self {
        Config {
            role: Role::Submission,
            mechanisms: vec![
                Mechanism::ScramSha256Plus,
                Mechanism::ScramSha256,
                Mechanism::Plain,
                Mechanism::Login,
            ],
            hold_seconds_max: limits::HOLD_SECONDS_MAX,
            deliver_by: true,
            priority: true,
            ..Config::relay(hostname)
        }
    }
}

/// Whom a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Other hosts, port 25.
    Relay,
    /// The users of this host, ports 587 and 465 (RFC 6409): MAIL only after AUTH.
    Submission,
}

/// What VRFY and EXPN get (RFC 5321 §3.5.3 and §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// 252: nobody learns who exists.
    Noncommittal,
    /// 502.
    Off,
    /// The driver is asked.
    Ask,
}

/// Where TLS stands on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// There is no certificate: STARTTLS is not offered.
    Unavailable,
    /// STARTTLS is offered.
    Available,
    /// From the first octet (port 465) or after STARTTLS.
    Active,
}

/// SASL mechanisms that are relayed; how they work is the directory's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Two challenges, for the name and the password; never standardised, still used.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// The same, bound to the TLS connection (RFC 5802 §6, RFC 9266): offered where the driver can bind it.
    ScramSha256Plus,
}

impl Mechanism {
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }
}

/// How long a client may take (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a whole command line, and for a TLS handshake.
    pub command: Duration,
    /// For the next [`SMTP_DATA_PROGRESS_OCTETS`](postroad_types::limits::SMTP_DATA_PROGRESS_OCTETS) of a body.
    pub data_block: Duration,
}

impl Default for Timeouts {
    /// RFC 5321 §4.5.3.2.7: five minutes for a command. §4.5.3.2.5 gives a client three minutes for a block.
    fn default() -> Self {
        Timeouts { command: Duration::from_secs(300), data_block: Duration::from_secs(300) }
    }
}
