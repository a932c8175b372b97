//! IMAP: drives a [`postroad_wire_imap::Server`] over a connection.
//!
//! The machine decides what is allowed and how it is said; this carries commands out over the Mailbox service.
//! A session holds the view of its selected mailbox (uids, flags, sizes, dates), so that what mail programs ask
//! most is answered at once, and keeps it true from the account's watch. Messages are streamed: one call for all
//! messages of a FETCH, and never a large one whole in memory.

mod append;
mod driver;
mod failure;
mod fetch;
mod folders;
mod listing;
mod login;
mod messages;
mod search;
mod selected;
#[cfg(test)]
mod tests;

pub use driver::serve;
