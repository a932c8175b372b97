//! Stage helo: what a client calls itself. RFC 5321 §4.1.4 leaves little to hold against a name alone, so all but
//! the use of our own name is a mark by default.

mod name;

use std::ops::ControlFlow;

use postroad_wire_smtp::server::Hello;

use super::Policy;
use super::client::Client;
use super::verdict::{Outcome, Stage};

impl Policy {
    /// Whether a HELO or EHLO is accepted.
    pub async fn helo(&self, client: &mut Client, hello: &Hello) -> Outcome {
        let mut outcome = Outcome::new(Stage::Helo);
        client.hello = Some(hello.clone());
        if client.is_stranger() && !client.vouched_for {
            // A break is in the outcome.
            let _ = self.helo_checks(client, hello, &mut outcome).await;
        }
        outcome
    }

    async fn helo_checks(&self, client: &Client, hello: &Hello, outcome: &mut Outcome) -> ControlFlow<()> {
        let settings = &self.shared.settings;
        outcome.take(name::ours(settings.helo_ours, hello, &self.shared.own))?;
        outcome.take(name::literal(settings.helo_literal, hello, client.peer))?;
        outcome.take(name::fqdn(settings.helo_not_fqdn, hello))?;
        outcome.take(name::resolves(settings.helo_unresolvable, hello, &self.shared.lookup.begin()).await)
    }
}
