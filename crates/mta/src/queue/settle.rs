//! Writing down what an attempt led to: into the spool, the timeline, the log and the metrics.

use std::sync::Arc;
use std::time::Duration;

use postroad_store::StoreError;
use postroad_store::spool::{Attempt, Change, NewRecipient};
use postroad_types::{Address, DeliveryResult, EnvelopeOptions, Notify, Reply};

use super::notice::Told;
use super::pass::Pass;
use super::{Queue, SELF};
use crate::bounce::Action;
use crate::clock::{after, between};
use crate::consignment::{Handover, Outcome, reply};

/// What finds too much before it waits so long.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// A record that storage does not take is offered again, so often, with growing waits: forgetting a success
/// would mean to deliver twice.
const RECORD_TRIES: u32 = 8;

impl Queue {
    /// Records outcomes of recipients of a pass.
    pub(super) async fn settle(self: &Arc<Self>, pass: &Arc<Pass>, outcomes: Vec<(usize, Outcome)>) {
        let now = self.now();
        let mut changes = Vec::with_capacity(outcomes.len());
        let mut done: Vec<Told> = Vec::new();
        for (index, outcome) in outcomes {
            let Some(recipient) = pass.recipient(index) else { continue };
            let Outcome { result, host, handover } = outcome;
            let attempt = |reply: Reply| Attempt { at: now, host: host.clone(), reply };
            match result {
                DeliveryResult::Delivered(reply) => {
                    self.tell(pass, "delivered", &recipient.address, &host, &reply, None);
                    let attempt = attempt(reply);
                    if let Some(action) = owed(recipient.notify, handover, &pass.message.options) {
                        done.push(Told { index, attempt: attempt.clone(), action });
                    }
                    changes.push(Change::Done { index, attempt });
                    pass.state(|state| state.ended += 1);
                }
                DeliveryResult::Deferred(reply) => {
                    let age = between(pass.message.accepted_at, now);
                    let wait = self.settings.backoff.wait(recipient.attempts, age, &mut rand::rng());
                    let mut next_attempt_at = after(now, wait).min(pass.message.expires_at);
                    // RFC 2852 §4.1.3: the sender wants to hear of the delay when its time is over, not some day.
                    if let Some(late_at) = pass.late_at().filter(|late_at| *late_at > now) {
                        next_attempt_at = next_attempt_at.min(late_at);
                    }
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
                    // RFC 3461 §5.2.7: one address that stands for another keeps its wishes; of many, success is
                    // reported here, once.
                    let is_list = targets.len() != 1;
                    let into = self.newcomers(pass, index, targets);
                    let goes_on = reply(250, (2, 1, 5), format!("goes on to {} addresses", into.len()));
                    self.tell(pass, "expanded", &recipient.address, &host, &goes_on, None);
                    pass.state(|state| state.ended += 1);
                    let attempt = attempt(goes_on);
                    if is_list && recipient.notify.of_success() {
                        done.push(Told { index, attempt: attempt.clone(), action: Action::Expanded });
                    }
                    changes.push(if into.is_empty() {
                        Change::Done { index, attempt }
                    } else {
                        Change::Expand { index, attempt, into, next_attempt_at: now }
                    });
                }
            }
        }
        // First the report that is owed, then the record of what it is about: what is forgotten in between is done
        // again, and not left out.
        if !done.is_empty() {
            self.report_success(pass, &done).await;
        }
        if !changes.is_empty() {
            self.record(pass, changes).await;
        }
    }

    /// Puts recipients off for a reason of our own.
    pub(super) async fn defer(self: &Arc<Self>, pass: &Arc<Pass>, indices: &[usize], attempt: &Attempt) {
        let outcome = Outcome::new(DeliveryResult::Deferred(attempt.reply.clone()), attempt.host.clone());
        self.settle(pass, indices.iter().map(|index| (*index, outcome.clone())).collect()).await;
    }

    /// Puts recipients off because too much else waits for the same destination: nothing was tried, and nobody
    /// needs to hear of it.
    pub(super) async fn postpone(&self, pass: &Arc<Pass>, indices: &[usize]) {
        let next_attempt_at = after(self.now(), BUSY_WAIT);
        let change = |index: &usize| Change::Wait { index: *index, next_attempt_at };
        metrics::counter!("postroad_mta_postponed_total").increment(1);
        self.record(pass, indices.iter().map(change).collect()).await;
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
        let notify = if targets.len() == 1 { alias.notify } else { alias.notify.without_success() };
        pass.state(|state| {
            let mut into: Vec<NewRecipient> = Vec::new();
            for target in targets {
                let known = pass.message.recipients.iter().any(|r| r.address == target);
                if known || state.added.contains(&target) {
                    continue;
                }
                state.added.push(target.clone());
                into.push(NewRecipient { address: target, original: Some(original.clone()), notify });
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

/// What the sender wants to hear of a success, if anything (RFC 3461 §5.2, RFC 2852 §4.1.4.2).
fn owed(notify: Notify, handover: Handover, options: &EnvelopeOptions) -> Option<Action> {
    let traced = options.deliver_by.is_some_and(|by| by.trace) && notify != Notify::Never;
    match handover {
        Handover::Mailbox => notify.of_success().then_some(Action::Delivered),
        Handover::Host => (notify.of_success() || traced).then_some(Action::Relayed),
        Handover::DsnHost => traced.then_some(Action::Relayed),
    }
}
