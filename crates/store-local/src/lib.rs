//! Embedded storage, for one node: no other server is needed, and every file can be looked at.
//!
//! - [`spool`]: the queue, a log in segment files.
//! - [`directory`]: domains, accounts and aliases in one SQLite file.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod directory;
pub mod index;
pub mod journal;
pub mod mailbox;
pub mod maildir;
pub mod spool;
mod sqlite;
