//! The `postroad` command: a whole node in one process, one role in a process of its own, a lab of two domains,
//! and what an operator asks and changes.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod cli;
pub mod lab;
mod node;
