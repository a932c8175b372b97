//! Dealing out a leased message: which of its due recipients go where.
//!
//! In the usual case the directory's and DNS's words are at hand and nothing is waited for; what must be asked
//! first is asked in a task of its own, so that one slow domain holds up no other message.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use postroad_store::spool::{Attempt, Change, Lease, QueuedRecipient, RecipientState};
use postroad_types::{ByMode, DeliveryResult, Reply, limits};

use super::attempt::{Job, Place};
use super::pass::Pass;
use super::ready::Class;
use super::{Queue, SELF};
use crate::clock::after;
use crate::consignment::{Outcome, reply};
use crate::route::{Found, Route, Wanted, Way};

/// Recipients by the place they go to.
#[derive(Default)]
struct Deal {
    mailboxes: Vec<usize>,
    hosts: BTreeMap<Arc<str>, (Place, Vec<usize>)>,
    /// Fates that routing itself decides.
    decided: Vec<(usize, Outcome)>,
    /// An operator has suspended their domain.
    suspended: Vec<usize>,
    /// Not known without asking: DNS, or the directory first.
    open: Vec<(usize, Option<Wanted>)>,
}

impl Deal {
    fn route(&mut self, index: usize, route: &Route) {
        let refused = |result| (index, Outcome::new(result, SELF));
        match route {
            Route::Hosts(destination) => {
                let place = || (Place::Hosts(destination.clone()), Vec::new());
                self.hosts.entry(destination.key.clone()).or_insert_with(place).1.push(index);
            }
            Route::Rejected(reply) => self.decided.push(refused(DeliveryResult::Rejected(reply.clone()))),
            Route::Deferred(reply) => self.decided.push(refused(DeliveryResult::Deferred(reply.clone()))),
        }
    }

    fn jobs(&mut self, pass: &Arc<Pass>) -> Vec<Job> {
        let mailboxes = (Place::Mailboxes, std::mem::take(&mut self.mailboxes));
        let places = std::mem::take(&mut self.hosts).into_values().chain([mailboxes]);
        let mut jobs = Vec::new();
        for (place, recipients) in places {
            for (number, part) in recipients.chunks(limits::TRANSACTION_RECIPIENTS_MAX).enumerate() {
                // A message to thousands must not stand before everybody else's mail to the same hosts, nor must
                // what came back before stand before what is new.
                let is_new = part.iter().all(|index| pass.recipient(*index).is_some_and(|r| r.attempts == 0));
                let class = match (pass.message.options.priority, number, is_new) {
                    (1.., 0, _) | (0, 0, true) => Class::Urgent,
                    (1.., ..) | (0, 0, false) => Class::Usual,
                    _ => Class::Bulk,
                };
                let (pass, place) = (pass.clone(), place.clone());
                jobs.push(Job { pass, place, recipients: part.to_vec(), class });
            }
        }
        jobs
    }
}

impl Queue {
    /// Begins a pass over a leased message.
    pub(super) async fn deal(self: &Arc<Self>, lease: Lease) {
        let pass = Arc::new(Pass::new(lease));
        let now = self.now();
        if pass.message.expires_at <= now && !is_owed_an_attempt(&pass) {
            self.expire(&pass).await;
            return self.end_part(&pass).await;
        }
        let mut deal = Deal::default();
        let mut told = HashSet::new();
        let (rules, sender) = (self.router.rules(), pass.message.reverse_path.address());
        for (index, recipient) in pass.due(now) {
            let address = &recipient.address;
            if self.suspension.covers(&address.host) && recipient.route.is_none() {
                deal.suspended.push(index);
                continue;
            }
            let chosen = || rules.chosen(recipient.route.as_deref()?, address);
            let way = chosen().or_else(|| rules.named(address, sender)).or_else(|| {
                match self.directory.known_ours(address)? {
                    true => Some(Way::Mailboxes),
                    false => Some(rules.outside(address, sender)),
                }
            });
            match way {
                Some(Way::Mailboxes) => deal.mailboxes.push(index),
                Some(Way::Out(wanted)) => match self.router.kept(&wanted) {
                    Some(found) => {
                        if told.insert(&address.host) {
                            self.tell_questions(&pass, &found);
                        }
                        deal.route(index, &found.routed.route);
                    }
                    None => deal.open.push((index, Some(wanted))),
                },
                None => deal.open.push((index, None)),
            }
        }
        if deal.open.is_empty() {
            self.hand_out(&pass, deal).await;
        } else {
            let queue = self.clone();
            self.workers.spawn(async move {
                queue.ask(&pass, &mut deal).await;
                queue.hand_out(&pass, deal).await;
            });
        }
    }

    /// Ends the part of the pass that dealt out the others.
    async fn hand_out(self: &Arc<Self>, pass: &Arc<Pass>, mut deal: Deal) {
        let jobs = deal.jobs(pass);
        pass.add_parts(jobs.len());
        if !jobs.is_empty() {
            self.dispatch(jobs).await;
        }
        if !deal.decided.is_empty() {
            self.settle(pass, deal.decided).await;
        }
        if !deal.suspended.is_empty() {
            self.keep_back(pass, &deal.suspended).await;
        }
        self.end_part(pass).await;
    }

    /// Recipients of suspended domains are looked at again now and then; resuming makes them due at once.
    async fn keep_back(&self, pass: &Arc<Pass>, indices: &[usize]) {
        let next_attempt_at = after(self.now(), self.settings.backoff.max);
        for index in indices {
            let Some(recipient) = pass.recipient(*index) else { continue };
            let step = self.step(&pass.message, "kept back").with("to", &recipient.address);
            self.trace_log.record(step.with("why", "an operator has suspended the destination"));
        }
        let change = |index: &usize| Change::Wait { index: *index, next_attempt_at };
        self.record(pass, indices.iter().map(change).collect()).await;
    }

    /// Asks the directory, then DNS, about what is open; each domain once.
    async fn ask(&self, pass: &Arc<Pass>, deal: &mut Deal) {
        let (rules, sender) = (self.router.rules(), pass.message.reverse_path.address());
        let mut ways: Vec<(Wanted, Vec<usize>)> = Vec::new();
        for (index, wanted) in std::mem::take(&mut deal.open) {
            let Some(recipient) = pass.recipient(index) else { continue };
            let way = match wanted {
                Some(wanted) => Ok(Way::Out(wanted)),
                None => match self.directory.is_ours(&recipient.address, pass.message.trace_id).await {
                    Ok(true) => Ok(Way::Mailboxes),
                    Ok(false) => Ok(rules.outside(&recipient.address, sender)),
                    Err(error) => Err(error),
                },
            };
            match way {
                Ok(Way::Mailboxes) => deal.mailboxes.push(index),
                Ok(Way::Out(wanted)) => match ways.iter_mut().find(|(same, _)| *same == wanted) {
                    Some((_, indices)) => indices.push(index),
                    None => ways.push((wanted, vec![index])),
                },
                Err(error) => {
                    let result = DeliveryResult::Deferred(reply(451, (4, 3, 0), error.to_string()));
                    deal.decided.push((index, Outcome::new(result, SELF)));
                }
            }
        }
        let found =
            futures_util::future::join_all(ways.iter().map(|(wanted, _)| self.router.find(wanted))).await;
        for ((_, indices), found) in ways.iter().zip(found) {
            self.tell_questions(pass, &found);
            for index in indices {
                deal.route(*index, &found.routed.route);
            }
        }
    }

    /// What DNS was asked for this message; of what an earlier message asked, the MX answer and its age.
    fn tell_questions(&self, pass: &Pass, found: &Found) {
        let questions = &found.routed.questions;
        let shown = if found.known_for.is_some() { 1 } else { questions.len() };
        for question in questions.iter().take(shown) {
            let step = self.step(&pass.message, "dns");
            let step = step.with("name", &question.name).with("type", question.rtype);
            let step = step.with("answer", &question.answer);
            self.trace_log.record(match found.known_for {
                Some(age) => step.with("known_for_s", age.as_secs()),
                None => step.took(question.took),
            });
        }
    }

    /// The message's time is over: what is not done is given up, with the last word that was heard.
    async fn expire(&self, pass: &Arc<Pass>) {
        let mut changes = Vec::new();
        for (index, recipient) in pass.message.recipients.iter().enumerate() {
            let is_failed = pass.state(|state| state.failed.iter().any(|(failed, _)| *failed == index));
            if recipient.state.is_final() || is_failed {
                continue;
            }
            let never = || Attempt {
                at: self.now(),
                host: SELF.to_owned(),
                reply: Reply::new(451, super::EXPIRED, "no attempt was made in time"),
            };
            let attempt = recipient.last.clone().unwrap_or_else(never);
            let (id, trace) = (&pass.message.id, pass.message.trace_id);
            tracing::info!(queue_id = %id, %trace, to = %recipient.address, last = %attempt.reply, "expired");
            metrics::counter!("postroad_mta_recipients_total", "outcome" => "expired").increment(1);
            let step = self.step(&pass.message, "expired").with("to", &recipient.address);
            self.trace_log.record(step.with("reply", &attempt.reply));
            pass.state(|state| state.failed.push((index, attempt.clone())));
            changes.push(Change::Fail { index, attempt });
        }
        if !changes.is_empty() {
            self.record(pass, changes).await;
        }
    }
}

/// Whether a recipient's time came while nobody was there to try: after a long stop, or when the time of day was set
/// forward, mail is tried once more before it is given up. (Not where the sender set the time: RFC 2852 §4.1.3.)
fn is_owed_an_attempt(pass: &Pass) -> bool {
    let message = &pass.message;
    let is_owed =
        |r: &QueuedRecipient| r.state == RecipientState::Waiting && r.next_attempt_at < message.expires_at;
    let is_late = message.options.deliver_by.is_some_and(|by| by.mode == ByMode::Return);
    !is_late && message.recipients.iter().any(is_owed)
}
