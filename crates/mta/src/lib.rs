//! The MTA: takes mail in over SMTP, keeps it safe, and brings it to where it belongs.
//!
//! ```text
//!   inbound/ --> policy/ --> queue/ --> route/ --> outbound/   to other domains' hosts, by SMTP
//!                              |                   deliver/    to mda, by gRPC, for domains of ours
//!                              +------> bounce/                what the sender is told
//!   directory/  what mda knows of accounts and recipients      admin/  the operator's view of the queue
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod bounce;
pub mod clock;
pub mod consignment;
pub mod deliver;
pub mod directory;
pub mod inbound;
pub mod memory;
mod message;
pub mod outbound;
pub mod policy;
pub mod queue;
pub mod route;
mod run;
#[cfg(test)]
mod testing;

pub use run::{MtaError, run, run_with};
