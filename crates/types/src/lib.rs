//! Mail words without IO: what the other crates mean by an address, an envelope, a reply, a verdict.
//!
//! Everything here is parsed once, at the edge, into a strict type; behind the edge nobody parses again.
//! No clock, no sockets, no environment.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod address;
pub mod domain;
pub mod envelope;
pub mod id;
pub mod limits;
pub mod reply;
pub mod role;
pub mod verdict;

pub use address::{Address, LocalPart, ReversePath};
pub use domain::{Domain, Host};
pub use envelope::{BodyKind, ByMode, DeliverBy, EnvelopeOptions, Notify, Ret};
pub use id::{AccountId, QueueId, TraceId};
pub use reply::{EnhancedCode, Reply};
pub use role::Role;
pub use verdict::{DeliveryResult, RecipientVerdict, over_quota};
