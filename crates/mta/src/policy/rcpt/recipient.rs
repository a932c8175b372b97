//! Who the recipient is, and whether mail for it is ours to take.

use postroad_types::{Address, RecipientVerdict, TraceId, over_quota};

use crate::consignment::reply;
use crate::directory::CachedDirectory;
use crate::policy::try_later;
use crate::policy::verdict::Finding;

const CHECK: &str = "recipient";

/// A recipient that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub address: Address,
    /// For the timeline: `local`, `alias` or `relay`.
    pub how: &'static str,
}

/// The finding, and how it is delivered.
pub(super) async fn check(
    may_relay: bool,
    address: &Address,
    directory: &CachedDirectory,
    trace: TraceId,
) -> (Finding, &'static str) {
    let refusal = match directory.resolve(address, trace).await {
        Ok(RecipientVerdict::Local { .. }) => return (Finding::clean(CHECK), "local"),
        Ok(RecipientVerdict::Alias { .. }) => return (Finding::clean(CHECK), "alias"),
        Ok(RecipientVerdict::NotOurs) if may_relay => return (Finding::clean(CHECK), "relay"),
        Ok(RecipientVerdict::NotOurs) => reply(550, (5, 7, 1), format!("<{address}>: relaying denied")),
        Ok(RecipientVerdict::Unknown) => {
            reply(550, (5, 1, 1), format!("<{address}>: no such recipient here"))
        }
        Ok(RecipientVerdict::OverQuota { try_again }) => {
            over_quota(try_again, format!("<{address}>: the mailbox is full"))
        }
        Err(error) => try_later(&error),
    };
    (Finding::refuse(CHECK, refusal), "")
}
