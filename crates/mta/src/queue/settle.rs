//! Writing down what an attempt led to: into the spool, the timeline, the log and the metrics.

use std::sync::Arc;
use std::time::Duration;

use postroad_store::StoreError;
use postroad_store::spool::{Attempt, Change, NewRecipient};
use postroad_types::{Address, DeliveryResult, Reply};

use super::pass::Pass;
use super::{Queue, SELF};
use crate::clock::{after, between};
use crate::consignment::{Outcome, reply};

/// What finds too much before it waits so long.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// A record that storage does not take is offered again, so often, with growing waits: forgetting a success
/// would mean to deliver twice.
const RECORD_TRIES: u32 = 8;

impl Queue {
    /// Records outcomes of recipients of a pass.
    pub(super) async fn settle(&self, pass: &Arc<Pass>, outcomes: Vec<(usize, Outcome)>) {
        let now = self.now();
        let mut changes = Vec::with_capacity(outcomes.len());
        for (index, outcome) in outcomes {
            let Some(recipient) = pass.recipient(index) else { continue };
            let Outcome { result, host } = outcome;
            let attempt = |reply: Reply| Attempt { at: now, host: host.clone(), reply };
            match result {
                DeliveryResult::Delivered(reply) => {
                    self.tell(pass, "delivered", &recipient.address, &host, &reply, None);
                    changes.push(Change::Done { index, attempt: attempt(reply) });
                    pass.state(|state| state.ended += 1);
                }
                DeliveryResult::Deferred(reply) => {
                    let age = between(pass.message.accepted_at, now);
                    let wait = self.settings.backoff.wait(recipient.attempts, age, &mut rand::rng());
                    let next_attempt_at = after(now, wait).min(pass.message.expires_at);
                    self.tell(pass, "deferred", &recipient.address, &host, &reply, Some(wait));
                    let attempt = attempt(reply);
                    pass.state(|state| state.deferred.push((index, attempt.clone())));
                    changes.push(Change::Defer { index, attempt, next_attempt_at });
                }
                DeliveryResult::Rejected(reply) => {
                    self.tell(pass, "rejected", &recipient.address, &host, &reply, None);
                    let attempt = attempt(reply);
                    pass.state(|state| state.failed.push((index, attempt.clone())));
                    changes.push(Change::Fail { index, attempt });
                }
                DeliveryResult::Expanded(targets) => {
                    let into = self.newcomers(pass, index, targets);
                    let done = reply(250, (2, 1, 5), format!("goes on to {} addresses", into.len()));
                    self.tell(pass, "expanded", &recipient.address, &host, &done, None);
                    pass.state(|state| state.ended += 1);
                    changes.push(if into.is_empty() {
                        Change::Done { index, attempt: attempt(done) }
                    } else {
                        Change::Expand { index, attempt: attempt(done), into, next_attempt_at: now }
                    });
                }
            }
        }
        if !changes.is_empty() {
            self.record(pass, changes).await;
        }
    }

    /// Puts recipients off for a reason of our own.
    pub(super) async fn defer(&self, pass: &Arc<Pass>, indices: &[usize], attempt: &Attempt) {
        let outcome =
            Outcome { result: DeliveryResult::Deferred(attempt.reply.clone()), host: attempt.host.clone() };
        self.settle(pass, indices.iter().map(|index| (*index, outcome.clone())).collect()).await;
    }

    /// Puts recipients off because too much else waits for the same destination: nothing was tried, and nobody
    /// needs to hear of it.
    pub(super) async fn postpone(&self, pass: &Arc<Pass>, indices: &[usize]) {
        let now = self.now();
        let change = |index: &usize| {
            let recipient = pass.recipient(*index)?;
            let busy = || Attempt {
                at: now,
                host: SELF.to_owned(),
                reply: reply(451, (4, 4, 5), "too much mail waits for this destination already"),
            };
            let attempt = recipient.last.clone().unwrap_or_else(busy);
            Some(Change::Defer { index: *index, attempt, next_attempt_at: after(now, BUSY_WAIT) })
        };
        metrics::counter!("postroad_mta_postponed_total").increment(1);
        self.record(pass, indices.iter().filter_map(change).collect()).await;
    }

    /// Applies changes under the pass's lease.
    pub(super) async fn record(&self, pass: &Arc<Pass>, changes: Vec<Change>) {
        let id = &pass.message.id;
        let mut wait = Duration::from_millis(50);
        for attempt in 1..=RECORD_TRIES {
            match self.spool.record(id, pass.token, changes.clone()).await {
                Ok(()) => return,
                Err(StoreError::Unavailable(why)) if attempt < RECORD_TRIES => {
                    tracing::warn!(queue_id = %id, %why, "the spool takes no record now, trying again");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Err(StoreError::Stale(_) | StoreError::NotFound(_)) => {
                    tracing::info!(queue_id = %id, "the message was taken out of the queue during the attempt");
                    return pass.state(|state| state.stale = true);
                }
                Err(error) => {
                    tracing::error!(
                        queue_id = %id, %error,
                        "what became of a message could not be recorded: it will be tried again and may arrive twice"
                    );
                    return pass.state(|state| state.stale = true);
                }
            }
        }
    }

    /// The targets of an expansion that the message does not have already.
    fn newcomers(&self, pass: &Pass, index: usize, targets: Vec<Address>) -> Vec<NewRecipient> {
        let Some(alias) = pass.recipient(index) else { return Vec::new() };
        let original = alias.original.clone().unwrap_or_else(|| alias.address.to_string());
        pass.state(|state| {
            let mut into: Vec<NewRecipient> = Vec::new();
            for target in targets {
                let known = pass.message.recipients.iter().any(|r| r.address == target);
                if known || state.added.contains(&target) {
                    continue;
                }
                state.added.push(target.clone());
                into.push(NewRecipient { address: target, original: Some(original.clone()) });
            }
            into
        })
    }

    /// Log, timeline and metric of one recipient's fate.
    fn tell(
        &self,
        pass: &Pass,
        what: &'static str,
        to: &Address,
        host: &str,
        reply: &Reply,
        wait: Option<Duration>,
    ) {
        let (id, trace) = (&pass.message.id, pass.message.trace_id);
        let retry_s = wait.map(|wait| wait.as_secs());
        tracing::info!(queue_id = %id, %trace, %to, host, %reply, retry_s, "{what}");
        metrics::counter!("postroad_mta_recipients_total", "outcome" => what).increment(1);
        let mut step = self.step(&pass.message, what).with("to", to).with("reply", reply);
        if host != SELF {
            step = step.with("host", host);
        }
        if let Some(wait) = wait {
            step = step.with("retry_s", wait.as_secs());
        }
        self.trace_log.record(step);
    }
}
