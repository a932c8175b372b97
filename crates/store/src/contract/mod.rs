//! The one suite that every implementation of a trait passes. An implementation's tests call it.
// These are tests, though they live in the library: what is unexpected must end them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod directory;
pub mod mailbox;
pub mod spool;
