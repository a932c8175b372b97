//! Policy: may this client do that? A file or folder per stage of the dialogue; each check answers with nothing,
//! or with the reply that refuses.
//!
//! | stage | asked at | checks |
//! | --- | --- | --- |
//! | mail | MAIL | submission: the sender belongs to the account |
//! | rcpt | RCPT | no relaying for strangers; the recipient exists and has room |
//! | data | the header section is here | loops; submission: fields added and taken out |
//!
//! How many connections there may be is decided before, by the listener's gate. Stages connect and helo have no
//! check of their own: nothing that a client says of itself is held against it.

pub mod data;
mod mail;
mod rcpt;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use postroad_types::Address;

use crate::directory::{Account, CachedDirectory};

pub use rcpt::Accepted;

/// Whom a session is with.
#[derive(Clone, Debug)]
pub struct Client {
    pub peer: IpAddr,
    /// It came to a submission port.
    pub submits: bool,
    /// AUTH has proved that it is this account.
    pub account: Option<Account>,
}

/// What the checks need.
#[derive(Debug)]
pub struct Policy {
    directory: Arc<CachedDirectory>,
    relay_networks: Vec<IpNet>,
    /// Who `<postmaster>` is.
    postmaster: Address,
}

impl Policy {
    pub fn new(directory: Arc<CachedDirectory>, relay_networks: Vec<IpNet>, postmaster: Address) -> Self {
        Policy { directory, relay_networks, postmaster }
    }

    /// Whether a client may send to anyone: it has shown who it is, or its network is trusted.
    fn may_relay(&self, client: &Client) -> bool {
        client.account.is_some() || self.relay_networks.iter().any(|network| network.contains(&client.peer))
    }
}

/// The directory could not be asked: the client keeps its mail and comes again.
fn try_later(error: &crate::directory::DirectoryError) -> postroad_types::Reply {
    tracing::warn!(%error, "a client is put off");
    crate::consignment::reply(451, (4, 3, 0), "the directory does not answer, try again later")
}
