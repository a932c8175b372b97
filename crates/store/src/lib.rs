//! Storage as the roles see it: three traits, and nothing about where the octets lie.
//!
//! - [`spool::Spool`]: the mta's queue. Accept, lease, record, manage.
//! - [`mailbox::MailboxStore`]: accounts' folders and messages.
//! - [`directory::DirectoryStore`]: domains, accounts, aliases, credentials.
//!
//! No path and no file handle stands in a signature, so that a database with an object store can stand
//! behind each trait without a change to a caller: writes come in batches, work is taken under leases with
//! fencing tokens, changes are told by streams.
//!
//! [`memory`] holds the implementations for tests, [`faulty`] wraps any implementation and fails where it is
//! told to, and [`contract`] is the one suite that every implementation passes.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod contract;
pub mod directory;
pub mod error;
pub mod faulty;
pub mod mailbox;
pub mod memory;
pub mod queue;
pub mod spool;

pub use error::StoreError;
