//! POP3 sessions from outside, without a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod properties;
mod talk;
mod transcripts;
