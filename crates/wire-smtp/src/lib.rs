//! SMTP (RFC 5321) as pure state machines: a codec, a server and a client.
//!
//! A machine has no socket, no clock and no thread. Octets, answers and the present [`Instant`](std::time::Instant)
//! go in; octets to write, questions, body chunks and deadlines come out of a queue. What the protocol cannot know
//! (may this client speak, does this recipient exist, is this password right, is the message durable) is asked of
//! the driver, and nothing behind the question is looked at before it is answered. So every dialogue can be
//! replayed in a test, split at any octet.
//!
//! - [`server::Server`]: ports 25 (relay), 587 and 465 (submission).
//! - [`client::Client`]: to the next hop, by SMTP or LMTP.
//! - [`codec`]: lines, replies, dot-stuffing, paths, parameters.
//!
//! Roads not taken: a lenient reader of line ends (it is how mail is smuggled past a relay), parsing into
//! unquoted mailboxes (a quoted local part can hold `> SIZE=1 <`), and async in the machine (it would tie the
//! protocol to one runtime and to real time).
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod client;
pub mod codec;
pub mod server;
