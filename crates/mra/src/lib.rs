//! MRA: IMAP and POP3 access to mailboxes.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod login;
pub mod mailbox;
