//! How the client goes about its work.

use std::time::Duration;

use postroad_types::Host;

/// Settings shared by the sessions of one sender.
#[derive(Clone, Debug)]
pub struct Config {
    /// Said in EHLO, HELO or LHLO.
    pub hello: Host,
    pub dialect: Dialect,
    /// Sends the body with BDAT where CHUNKING is offered. It costs a round trip more than pipelined DATA,
    /// and spares both sides the search for dots.
    pub chunking: bool,
    /// Lets AUTH go over a connection without TLS: for loopback only.
    pub allow_plaintext_auth: bool,
    pub timeouts: Timeouts,
}

impl Config {
    pub fn smtp(hello: Host) -> Self {
        Config {
            hello,
            dialect: Dialect::Smtp,
            chunking: false,
            allow_plaintext_auth: false,
            timeouts: Timeouts::default(),
        }
    }

    pub fn lmtp(hello: Host) -> Self {
        Config { dialect: Dialect::Lmtp, ..Config::smtp(hello) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Smtp,
    /// RFC 2033: LHLO, and a reply for each accepted recipient behind the body.
    Lmtp,
}

/// How long the server may take for its replies (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// §4.5.3.2.1.
    pub greeting: Duration,
    /// EHLO, HELO, STARTTLS, AUTH, RSET, QUIT; the RFC names none.
    pub command: Duration,
    /// §4.5.3.2.2.
    pub mail: Duration,
    /// §4.5.3.2.3.
    pub recipient: Duration,
    /// §4.5.3.2.4: for 354.
    pub data_start: Duration,
    /// §4.5.3.2.5: until a chunk of the body is written.
    pub data_block: Duration,
    /// §4.5.3.2.6: for the reply to the whole message. Too short a time makes duplicates.
    pub data_end: Duration,
}

impl Default for Timeouts {
    /// The least that the RFC asks for.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Timeouts {
            greeting: minutes(5),
            command: minutes(5),
            mail: minutes(5),
            recipient: minutes(5),
            data_start: minutes(2),
            data_block: minutes(3),
            data_end: minutes(10),
        }
    }
}
