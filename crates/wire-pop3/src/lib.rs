//! POP3 as a pure state machine: RFC 1939, with CAPA and PIPELINING (RFC 2449), STLS (RFC 2595), SASL
//! (RFC 1734, RFC 5034), response codes (RFC 2449 §8, RFC 3206) and UTF8 (RFC 6856).
//!
//! A [`Session`] has no socket, no clock and no mailbox. Whoever drives it
//!
//! 1. takes [`Session::poll_output`] until it is empty, doing what each [`Output`] says, in order;
//! 2. reads from the client only while [`Session::wants_input`] says so, and hands the octets to
//!    [`Session::receive`];
//! 3. brings the answer to an [`Ask`] when it is there;
//! 4. calls [`Session::timeout`] when [`Session::deadline`] has passed.
//!
//! ```text
//!                  STLS: TLS, start over
//!                 ┌──────┐
//! greeting ──> AUTHORIZATION ──USER+PASS, AUTH──> ask directory ──> ask maildrop ──> TRANSACTION
//!                     │  ^──────refused─────────────┘                                   │ QUIT
//!                     └──QUIT──> closed <──answer── UPDATE: ask to delete <─────────────┘
//! ```
//!
//! A session has one snapshot of the maildrop: message numbers mean the same until its end, whatever others
//! do to the mailbox. Nothing is deleted but by QUIT: a connection that is lost, a deadline or a shutdown
//! leaves the maildrop as it was.
//!
//! Roads not taken: APOP needs the server to hold plaintext passwords; the exclusive lock on the maildrop
//! (RFC 1939 §8) would lock out the person's other programs, and a snapshot gives what it is for.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod body;
mod command;
mod line;
mod maildrop;
mod output;
mod reply;
mod sasl;
mod session;
mod verbs;

pub use maildrop::{Message, Snapshot};
pub use output::{Ask, BodyError, DeleteError, MaildropError, Output, Scope};
pub use sasl::{Mechanism, Refusal, SaslAnswer, SaslMessage};
pub use session::{Config, Session};
