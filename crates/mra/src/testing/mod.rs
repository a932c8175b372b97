//! What sessions are tested against: a mailbox in memory that keeps the stores' contract, and a directory
//! that knows one person.

mod login;
mod mailbox;
pub(crate) mod rpc;
mod server;

pub(crate) use login::FakeLogins;
pub(crate) use mailbox::FakeMailbox;
pub(crate) use server::{Client, TestServer};
