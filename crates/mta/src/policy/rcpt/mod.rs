//! Stage rcpt: the promise that nothing relays for strangers, and that a recipient is refused while its sender's
//! host still listens, instead of bounced to whoever stands in MAIL FROM.

pub mod greylist;
mod recipient;
mod tarpit;

use std::ops::ControlFlow;

use postroad_types::{Address, ReversePath, TraceId};
use postroad_wire_smtp::codec::path::ForwardPath;

use super::client::Client;
use super::verdict::{Outcome, Stage};
use super::{Policy, Shared};

pub use recipient::Accepted;

/// What stage rcpt is told of the message so far.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    pub sender: &'a ReversePath,
    /// Recipients that were taken.
    pub accepted: usize,
    /// Marks on session and message so far.
    pub score: u32,
    pub trace: TraceId,
}

impl Policy {
    /// Whether mail for this recipient is taken from this client; who it is, if it is taken.
    pub async fn rcpt(
        &self,
        client: &mut Client,
        envelope: Envelope<'_>,
        path: &ForwardPath,
    ) -> (Outcome, Option<Accepted>) {
        let mut outcome = Outcome::new(Stage::Rcpt);
        let address = match path {
            ForwardPath::Postmaster => self.shared.postmaster.clone(),
            ForwardPath::Address(address) => self.rewrites.recipient(address),
        };
        let mut how = "";
        // A break is in the outcome.
        let _ = self.rcpt_checks(client, envelope, &address, &mut how, &mut outcome).await;
        if outcome.refusal.is_some() {
            client.refused_recipients = client.refused_recipients.saturating_add(1);
            if client.is_stranger() {
                let _ = outcome.take(tarpit::check(&self.shared.settings, client.refused_recipients));
            }
            return (outcome, None);
        }
        (outcome, Some(Accepted { address, how }))
    }

    async fn rcpt_checks(
        &self,
        client: &Client,
        envelope: Envelope<'_>,
        address: &Address,
        how: &mut &'static str,
        outcome: &mut Outcome,
    ) -> ControlFlow<()> {
        let Shared { directory, relay_domains, .. } = &self.shared;
        // As a gateway or backup MX we take their mail from anyone.
        let passed_on = address.domain().is_some_and(|domain| relay_domains.contains(domain));
        let may_relay = client.may_relay() || passed_on;
        let (finding, is) = recipient::check(may_relay, address, directory, envelope.trace).await;
        *how = is;
        outcome.take(finding)?;
        let now = self.shared.clock.monotonic();
        outcome.take(self.mail_rates.recipient(client, envelope.accepted, now))?;
        // Postmaster hears everyone (RFC 5321 §4.5.1).
        if client.is_stranger() && !client.vouched_for && *address != self.shared.postmaster {
            outcome.take(self.score(envelope.score))?;
            outcome.take(self.greylist.check(client, envelope.sender, address, &*self.shared.clock).await)?;
        }
        ControlFlow::Continue(())
    }
}
