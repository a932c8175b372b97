//! The server's side of IMAP4rev1 (RFC 3501) as a pure machine.
//!
//! [`Server`] takes octets and answers, and gives [`Output`]s: what to write, what to ask the mailbox, which
//! octets of an appended message to pass on. It knows no mailbox, no socket and no clock. Grammar and states
//! are here, a file per command; what a command does to a mailbox is the driver's.
//!
//! Two more pure parts serve the driver: [`view::View`], the message numbers that a client was told and the
//! news that it was not, and [`listing`], which folders a LIST names.
//!
//! Extensions: LITERAL+ (RFC 7888), SASL-IR (4959), ID (2971), ENABLE (5161), IDLE (2177), NAMESPACE (2342),
//! CHILDREN (3348), UIDPLUS (4315), UNSELECT (3691), MOVE (6851), SPECIAL-USE and CREATE-SPECIAL-USE (6154),
//! LIST-EXTENDED (5258), LIST-STATUS (5819), ESEARCH (4731), CONDSTORE (7162), STATUS=SIZE (8438),
//! QUOTA (9208).
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod command;
pub mod flag;
pub mod listing;
pub mod mutf7;
mod reader;
pub mod response;
pub mod sequence;
mod server;
pub mod view;

pub use command::Command;
pub use flag::{Flag, Flags};
pub use response::{Code, Condition, FetchWriter, ListItem, MailboxStatus, SearchResult, Status, Untagged};
pub use sequence::{Number, SequenceSet};
pub use server::{Ask, Config, Output, Server};
pub use view::View;
