//! Stage connect: before the greeting.
//!
//! Lists and names are asked for at the same time, and while the client waits for its greeting; the stage takes as
//! long as the slowest of them, and at most `lookup_timeout`.

mod dnsbl;
mod early_talker;
mod rate;
mod reverse_dns;

use std::ops::ControlFlow;

use super::client::Client;
use super::verdict::{Outcome, Stage};
use super::{Policy, Shared};

pub use dnsbl::Lists;
pub use early_talker::EarlyTalk;
pub use rate::ConnectionRates;

impl Policy {
    /// Whether a client is greeted. What is found out about it is put into `client`. `early` counts what it says
    /// meanwhile: the caller goes on reading.
    pub async fn connect(&self, client: &mut Client, early: &EarlyTalk) -> Outcome {
        let mut outcome = Outcome::new(Stage::Connect);
        // A break is in the outcome.
        let _ = self.connect_checks(client, early, &mut outcome).await;
        outcome
    }

    async fn connect_checks(
        &self,
        client: &mut Client,
        early: &EarlyTalk,
        outcome: &mut Outcome,
    ) -> ControlFlow<()> {
        let Shared { settings, lookup, clock, .. } = &self.shared;
        if !client.relays && !client.exempt {
            outcome.take(self.connection_rates.check(client.peer, clock.monotonic()))?;
        }
        if !client.is_stranger() {
            return ControlFlow::Continue(());
        }
        let dns = lookup.begin();
        let (listed, named, ()) = tokio::join!(
            self.lists.check(client.peer, &dns),
            reverse_dns::check(client.peer, self.wants_name(), settings.reverse_dns, &dns),
            clock.sleep(settings.greet_delay)
        );
        outcome.take(early_talker::check(settings.early_talker, early))?;
        let (finding, score) = listed;
        client.vouched_for = score < 0;
        outcome.take(finding)?;
        let (finding, name) = named;
        client.name = name;
        if client.vouched_for {
            return ControlFlow::Continue(());
        }
        outcome.take(finding)
    }

    /// Received tells it, greylisting takes a provider's hosts for one by it.
    fn wants_name(&self) -> bool {
        let settings = &self.shared.settings;
        settings.reverse_dns != postroad_config::CheckAction::Off || settings.greylist.enabled
    }
}
