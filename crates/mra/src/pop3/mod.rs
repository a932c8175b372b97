//! POP3: drives a [`postroad_wire_pop3::Session`] over a connection.
//!
//! The session decides, this does: octets to and from the client, logins to the directory, the inbox from the
//! mailbox. A message is fetched in chunks, and the next chunk is asked for when the client has taken the one
//! before. Flags are left as they are: what POP3 reads stays unseen in IMAP, so that a second program finds it.

mod driver;
mod login;
mod maildrop;
#[cfg(test)]
mod tests;

pub use driver::serve;
