//! Stage mail: who sends.

mod own_sender;
mod rate;
mod sender_domain;

use std::ops::ControlFlow;

use postroad_types::{Address, ReversePath, TraceId};

use super::client::Client;
use super::verdict::{Finding, Outcome, Stage};
use super::{Policy, try_later};
use crate::consignment::reply;

pub use rate::MailRates;

impl Policy {
    /// Whether this client may send as this sender, which is already rewritten.
    pub async fn mail(&self, client: &Client, sender: &ReversePath, trace: TraceId) -> Outcome {
        let mut outcome = Outcome::new(Stage::Mail);
        // A break is in the outcome.
        let _ = self.mail_checks(client, sender, trace, &mut outcome).await;
        outcome
    }

    async fn mail_checks(
        &self,
        client: &Client,
        sender: &ReversePath,
        trace: TraceId,
        outcome: &mut Outcome,
    ) -> ControlFlow<()> {
        let settings = &self.shared.settings;
        // Anyone may send notices (`<>`).
        if let Some(address) = sender.address() {
            outcome.take(self.account_sender(client, address).await)?;
            if !client.may_relay() {
                let directory = &self.shared.directory;
                outcome.take(own_sender::check(settings.own_sender, address, directory, trace).await)?;
            }
            if client.is_stranger() {
                let (action, failure) = (settings.sender_domain, settings.sender_domain_failure);
                outcome.take(
                    sender_domain::check(action, failure, address, &self.shared.lookup.begin()).await,
                )?;
            }
        }
        outcome.take(self.mail_rates.message(client, self.shared.clock.monotonic()))
    }

    /// On submission a sender must belong to the account, as its address, an alias of it, one of these with
    /// +detail, or one it may stand in for (RFC 6409 §6.1); the directory knows.
    async fn account_sender(&self, client: &Client, sender: &Address) -> Finding {
        const CHECK: &str = "account-sender";
        let Some(account) = &client.account else { return Finding::clean(CHECK) };
        match self.shared.directory.may_send(account.id, sender).await {
            Ok(true) => Finding::clean(CHECK),
            Ok(false) => {
                let text = format!("{} may not send as {sender}", account.address);
                Finding::refuse(CHECK, reply(553, (5, 7, 1), text))
            }
            Err(error) => Finding::refuse(CHECK, try_later(&error)),
        }
    }
}
