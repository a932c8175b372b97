//! DNS: authoritative for the zones of its own, and a caching resolver that iterates from the root for its own hosts.
//!
//! ```text
//!  request ─► front (udp, tcp, tls, https, quic) ─► serve ◄─ zone        answered in the transport's own loop
//!                  │                │
//!                  │                ▼ not ours, and the asker may have recursion
//!                  │            resolve: cache ─► hit  answered in the transport's own loop
//!                  │                └──► iterate ─► upstream (root → TLD → authoritative)   a task
//!                  └◄──────────────────────────────────┘
//!  postroad dns … ─► admin (gRPC Zones, Cache)
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`dnssec`] | signatures, keys and proofs: octets and arithmetic |
//! | [`keys`] | the keys that zones are signed with, and how they follow each other |
//! | [`wire`] | octets: names, record sets, zone file words, requests in, responses out |
//! | [`transfer`] | zones from and to other servers |
//! | [`tsig`] | messages signed with a shared secret |
//! | [`zone`] | zones in memory and their files |
//! | [`signing`] | signs zones |
//! | [`serve`] | authoritative answers |
//! | [`resolve`] | the caching resolver |
//! | [`front`] | transports, limits, who may have recursion |
//! | [`admin`] | the gRPC services |
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
mod agreements;
pub mod dnssec;
pub mod front;
pub mod keys;
mod redirected;
pub mod resolve;
mod run;
mod secure;
pub mod serve;
pub mod signing;
pub mod transfer;
pub mod tsig;
pub mod wire;
pub mod zone;

pub use agreements::AgreementError;
pub use redirected::RedirectedError;
pub use run::{Dns, DnsError, run};
pub use secure::SecureAddresses;
