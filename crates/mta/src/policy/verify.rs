//! VRFY and EXPN for those whom they are answered (`verify = "trusted"`). A question for an address that is not
//! there counts as a refused recipient.

use postroad_types::{Address, RecipientVerdict, Reply, TraceId};

use super::{Client, Policy, try_later};
use crate::consignment::reply;

impl Policy {
    /// What the client hears. `expand`: EXPN, which lists an alias's targets, one on each line.
    pub async fn verify(&self, client: &mut Client, expand: bool, argument: &str) -> Reply {
        if !client.may_relay() {
            return reply(252, (2, 0, 0), "send mail and see");
        }
        let argument = argument.trim();
        let path = argument.strip_prefix('<').and_then(|path| path.strip_suffix('>')).unwrap_or(argument);
        let Ok(address) = path.parse::<Address>() else {
            return reply(553, (5, 1, 3), "expected an address, such as user@example.org");
        };
        match self.shared.directory.resolve(&address, TraceId::random()).await {
            Ok(RecipientVerdict::Alias { targets }) if expand => {
                let lines: Vec<String> = targets.iter().map(|target| format!("<{target}>")).collect();
                reply(250, (2, 1, 5), lines.join("\n"))
            }
            Ok(RecipientVerdict::Local { .. } | RecipientVerdict::Alias { .. }) => {
                reply(250, (2, 1, 5), format!("<{address}>"))
            }
            Ok(RecipientVerdict::OverQuota { .. }) => {
                reply(250, (2, 1, 5), format!("<{address}>, whose mailbox is full"))
            }
            Ok(RecipientVerdict::NotOurs) => {
                reply(252, (2, 0, 0), format!("<{address}> does not live here; send mail and see"))
            }
            Ok(RecipientVerdict::Unknown) => {
                client.refused_recipients = client.refused_recipients.saturating_add(1);
                reply(550, (5, 1, 1), format!("<{address}>: no such recipient here"))
            }
            Err(error) => try_later(&error),
        }
    }
}
