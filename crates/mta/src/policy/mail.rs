//! Stage mail.

use postroad_types::{Reply, ReversePath};

use super::{Client, Policy, try_later};
use crate::consignment::reply;

impl Policy {
    /// On submission a sender must belong to the account (RFC 6409 §6.1); anyone may send notices (`<>`).
    pub async fn mail(&self, client: &Client, sender: &ReversePath) -> Result<(), Reply> {
        let (Some(account), ReversePath::Address(sender)) = (&client.account, sender) else {
            return Ok(());
        };
        match self.directory.may_send(account.id, sender).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text = format!("{} may not send as {sender}", account.address);
                Err(reply(553, (5, 7, 1), text))
            }
            Err(error) => Err(try_later(&error)),
        }
    }
}
