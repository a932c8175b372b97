//! Stage four of a mail's way: to other domains' hosts over SMTP.
//!
//! ```text
//!   relay   one attempt: the hosts of a destination in their order, until each recipient is decided
//!     |
//!     +-- pool      connections that wait a few seconds for another message to the same host
//!     +-- session   one connection: TCP, STARTTLS as policy says, any number of messages
//!           +-- wire-smtp's client machine (what is said), stream (TCP or TLS), tls (whom we trust)
//! ```
//!
//! What decides:
//! - A host that cannot be reached, or turns us away before MAIL, is passed over for the next one.
//! - A recipient that a host refused for good is decided. One that it put off is offered to the next *host*
//!   (not to another address of the same one), and deferred if there is none.
//! - A connection lost behind the end of data defers at once: the host may have the message, and offering it
//!   to the next one would probably make a duplicate.
//!
//! Opportunistic TLS (RFC 7435) takes any certificate: without a policy there is nothing to compare it with, and
//! the alternative is plaintext. A handshake that fails is repeated as a connection in the clear, and the host
//! is remembered for an hour, so that it does not cost two connections each time. Roads not taken: failing
//! hard (mail to hosts with broken TLS would be lost in the end), and session tickets (a resumed session shows no
//! certificate to look at; connections are reused instead).

mod connect;
mod pool;
mod relay;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use connect::{ConnectError, Connector, Settings};
pub use pool::Pool;
pub use relay::SmtpRelay;
pub use session::{Body, Facts, Session};
pub use tls::{TlsFacts, TlsTrust, TrustError};
