//! The contracts between the services: generated messages, channels, servers, conversions.
//!
//! [`v1`] is what proto/postroad/v1 says. Outside of this crate and the services' gRPC glue nobody meets
//! its types: [`convert`] turns them into `postroad_types`, checked, and back.
//!
//! ```text
//!  caller                                     callee
//!  v1::…Client<Channel> ── pool ── HTTP/2 ──► Server ── v1::…Server<your service>
//!       deadline, trace id   │   over mTLS or         Peer (whose certificate), deadline, health, drain
//!                            │   in one process
//!                names resolved again and again, dead and draining replicas left out
//! ```
//!
//! tonic gives codecs and stubs. Connections are ours, over hyper: tonic's balanced channel takes a dead
//! endpoint for a ready one, and its server cannot be told to end its connections.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod calls;
pub mod channel;
pub mod convert;
mod deadline;
pub mod fault;
mod flow;
pub mod in_process;
pub mod peer;
mod pool;
mod secret;
pub mod server;
pub mod tls;
pub mod trace;

/// What proto/postroad/v1 says, as tonic and prost write it down.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("postroad.v1");
}

pub use channel::{Channel, ChannelOptions};
pub use fault::{Fault, FaultKind};
pub use in_process::{InProcess, InProcessIncoming};
pub use peer::Peer;
pub use server::{Health, Incoming, Server};
pub use tls::{ServiceTls, ServiceTlsError};
