//! DNS: authoritative zones and caching resolver that iterates from the root
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod clock;
pub mod resolve;
pub mod serve;
pub mod wire;
pub mod zone;
