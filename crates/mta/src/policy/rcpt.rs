//! Stage rcpt: the promise that nothing relays for strangers, and that a recipient is refused while its sender's
//! host still listens, instead of bounced to whoever stands in MAIL FROM.

use postroad_types::{Address, RecipientVerdict, Reply, TraceId, over_quota};
use postroad_wire_smtp::codec::path::ForwardPath;

use super::{Client, Policy, try_later};
use crate::consignment::reply;

/// A recipient that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub address: Address,
    /// For the timeline: `local`, `alias` or `relay`.
    pub how: &'static str,
}

impl Policy {
    /// Whether mail for this recipient is taken from this client.
    pub async fn rcpt(&self, client: &Client, path: &ForwardPath, trace: TraceId) -> Result<Accepted, Reply> {
        let address = match path {
            ForwardPath::Postmaster => self.postmaster.clone(),
            ForwardPath::Address(address) => address.clone(),
        };
        let how = match self.directory.resolve(&address, trace).await {
            Ok(RecipientVerdict::Local { .. }) => "local",
            Ok(RecipientVerdict::Alias { .. }) => "alias",
            Ok(RecipientVerdict::Unknown) => {
                return Err(reply(550, (5, 1, 1), format!("<{address}>: no such recipient here")));
            }
            Ok(RecipientVerdict::OverQuota { try_again }) => {
                return Err(over_quota(try_again, format!("<{address}>: the mailbox is full")));
            }
            Ok(RecipientVerdict::NotOurs) if self.may_relay(client) => "relay",
            Ok(RecipientVerdict::NotOurs) => {
                return Err(reply(550, (5, 7, 1), format!("<{address}>: relaying denied")));
            }
            Err(error) => return Err(try_later(&error)),
        };
        Ok(Accepted { address, how })
    }
}
