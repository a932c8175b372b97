//! The IO shell that all roles share: what a service needs besides its own business.
//!
//! A role is a library with `run(node)`; [`Node`] is all it gets from outside: configuration, clock,
//! certificates, channels to the other roles, the log of steps, and the word when to stop.
//!
//! | module | what |
//! | --- | --- |
//! | [`node`] | one role's surroundings, over sockets or in one process |
//! | [`role`] | the `main` of the thin binaries: flags, configuration, signals, exit codes, `health` |
//! | [`process`] | what a process needs before anything else, and what it uses |
//! | [`listener`], [`conn`] | accepting within bounds; plain TCP or TLS, with STARTTLS in place |
//! | [`drain`] | stopping: first softly, then for good |
//! | [`tls`], [`alpn`], [`identity`], [`pki`] | certificates that clients see, and other services; the installation's own CA |
//! | [`clock`] | time as an input, so that tests can turn it |
//! | [`telemetry`], [`admin`], [`tracelog`] | log lines, metrics and health over HTTP, timelines of messages |
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod alpn;
pub mod clock;
pub mod conn;
pub mod drain;
pub mod identity;
pub mod listener;
pub mod node;
pub mod pki;
pub mod process;
pub mod role;
pub mod telemetry;
pub mod tls;
pub mod tracelog;

pub use admin::Readiness;
pub use alpn::ProtocolTls;
pub use clock::{Clock, FakeClock, SystemClock};
pub use conn::{Conn, TlsInfo};
pub use drain::Drain;
pub use listener::{BindError, Gate, Listener, Pass};
pub use node::{Node, StartError};
pub use tls::ClientTls;
pub use tracelog::{TraceEvent, TraceLog};
