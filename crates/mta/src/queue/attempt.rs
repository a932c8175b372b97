//! Workers: each takes the next job that may run, tries it, settles it, and goes on until none is left.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use postroad_store::spool::{Attempt, QueuedRecipient};
use postroad_types::{DeliveryResult, limits};
use tokio::time::Instant;

use super::pass::Pass;
use super::ready::{Class, Contact, LaneLimits, Refusal};
use super::{Queue, SELF};
use crate::clock::after;
use crate::consignment::{Consignment, Content, DeliveryError, Outcome, Recipient, Report, reply};
use crate::route::Destination;

/// Where a job goes.
#[derive(Clone, Debug)]
pub enum Place {
    /// To mda: the domain is ours.
    Mailboxes,
    /// To other hosts.
    Hosts(Arc<Destination>),
}

/// Some recipients of a message that go to one place.
#[derive(Debug)]
pub struct Job {
    pub pass: Arc<Pass>,
    pub place: Place,
    pub recipients: Vec<usize>,
    pub class: Class,
}

impl Queue {
    /// Puts jobs into their lanes and sets workers to work. Jobs that cannot wait are put off at once.
    pub(super) async fn dispatch(self: &Arc<Self>, jobs: Vec<Job>) {
        let mut refused = Vec::new();
        {
            let mut ready = self.ready();
            for job in jobs {
                let (lane, limits) = self.lane(&job.place);
                let class = job.class;
                if let Err(back) = ready.push(&lane, limits, class, job, Instant::now()) {
                    refused.push(back);
                }
            }
        }
        self.set_to_work();
        for (job, why) in refused {
            match why {
                Refusal::Closed(seen) => self.defer(&job.pass, &job.recipients, &seen).await,
                Refusal::Busy => self.postpone(&job.pass, &job.recipients).await,
            }
            self.end_part(&job.pass).await;
        }
    }

    /// The lane of a place, with its bounds.
    fn lane(&self, place: &Place) -> (Arc<str>, LaneLimits) {
        match place {
            Place::Mailboxes => {
                let window_max = self.settings.mailbox_deliveries_max;
                (self.mailboxes_lane.clone(), LaneLimits { window_max, pace: Duration::ZERO })
            }
            Place::Hosts(destination) => {
                let (terms, usual) = (&destination.terms, self.settings.destination_connections_max);
                let window_max = terms.connections_max.unwrap_or(usual);
                (destination.key.clone(), LaneLimits { window_max, pace: terms.pace })
            }
        }
    }

    /// Spawns a worker for every job that may run now.
    fn set_to_work(self: &Arc<Self>) {
        while let Some((lane, job)) = self.next_job() {
            let queue = self.clone();
            self.workers.spawn(queue.work(lane, job));
        }
        let paced = self.ready().paced_until();
        if let Some(at) = paced
            && !self.pacing.swap(true, Ordering::SeqCst)
        {
            let queue = self.clone();
            self.workers.spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = queue.stop.cancelled() => return,
                }
                queue.pacing.store(false, Ordering::SeqCst);
                queue.set_to_work();
            });
        }
    }

    fn next_job(&self) -> Option<(Arc<str>, Job)> {
        if self.stop.is_cancelled() { None } else { self.ready().next(Instant::now()) }
    }

    async fn work(self: Arc<Self>, mut lane: Arc<str>, mut job: Job) {
        loop {
            let contact = self.attempt(&job).await;
            let seen = match &contact {
                Contact::Unreachable(seen) => Some(seen.clone()),
                _ => None,
            };
            let (back, next) = {
                let mut ready = self.ready();
                let back = ready.finish(&lane, contact, Instant::now());
                let next = if self.stop.is_cancelled() { None } else { ready.next(Instant::now()) };
                (back, next)
            };
            // The window may have grown.
            self.set_to_work();
            self.end_part(&job.pass).await;
            if let Some(seen) = seen {
                for waiting in back {
                    self.defer(&waiting.pass, &waiting.recipients, &seen).await;
                    self.end_part(&waiting.pass).await;
                }
            }
            match next {
                Some(next) => (lane, job) = next,
                None => return,
            }
        }
    }

    /// Tries a job and settles it.
    async fn attempt(self: &Arc<Self>, job: &Job) -> Contact {
        let consignment = self.consignment(job);
        let longest = Duration::from_secs(limits::RELAY_SECONDS_MAX);
        if consignment.recipients.is_empty() || after(self.now(), longest) > job.pass.until {
            // It waited so long that the lease could end under the attempt: the next lease will have it.
            return Contact::NotTried;
        }
        let trying = async {
            match &job.place {
                Place::Mailboxes => self.to_mailboxes(&consignment).await,
                Place::Hosts(destination) => self.relay.relay(&consignment, destination).await,
            }
        };
        // A fault of our own in one attempt must not cost the queue a worker and the message its lease.
        let report = AssertUnwindSafe(trying).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(queue_id = %consignment.id, "an attempt ended in an internal error; it is repeated later");
            let reply = reply(451, (4, 3, 0), "internal error");
            let result = DeliveryResult::Deferred(reply);
            Report::all(consignment.recipients.len(), result, SELF, Contact::NotTried)
        });
        let mut outcomes: Vec<(usize, Outcome)> =
            job.recipients.iter().copied().zip(report.outcomes).collect();
        for index in job.recipients.iter().skip(outcomes.len()) {
            let result =
                DeliveryResult::Deferred(reply(451, (4, 3, 0), "nothing was said about this recipient"));
            outcomes.push((*index, Outcome::new(result, SELF)));
        }
        self.settle(&job.pass, outcomes).await;
        report.contact
    }

    fn consignment(&self, job: &Job) -> Consignment {
        let message = &job.pass.message;
        let to = |recipient: &QueuedRecipient| Recipient {
            address: recipient.address.clone(),
            notify: recipient.notify,
            original: recipient.original.clone(),
        };
        Consignment {
            id: message.id.clone(),
            trace: message.trace_id,
            reverse_path: message.reverse_path.clone(),
            recipients: job
                .recipients
                .iter()
                .filter_map(|index| job.pass.recipient(*index))
                .map(to)
                .collect(),
            body: message.body,
            smtputf8: message.smtputf8,
            envelope_id: message.envelope_id.clone(),
            options: message.options,
            accepted_at: message.accepted_at,
            content: Content {
                size_octets: message.size_octets,
                spool: self.spool.clone(),
                id: message.id.clone(),
            },
        }
    }

    async fn to_mailboxes(&self, consignment: &Consignment) -> Report {
        let count = consignment.recipients.len();
        let error = match self.delivery.deliver(consignment).await {
            Ok(results) => {
                let outcome = |result| Outcome::new(result, "mda");
                let outcomes = results.into_iter().map(outcome).collect();
                return Report { outcomes, contact: Contact::Reached };
            }
            Err(error) => error,
        };
        let reply = reply(451, (4, 3, 0), error.to_string());
        let contact = match &error {
            DeliveryError::Unavailable(_) => {
                Contact::Unreachable(Attempt { at: self.now(), host: "mda".to_owned(), reply: reply.clone() })
            }
            DeliveryError::Refused(_) => Contact::Reached,
            DeliveryError::Content(_) => Contact::NotTried,
        };
        let host = if matches!(error, DeliveryError::Content(_)) { SELF } else { "mda" };
        Report::all(count, DeliveryResult::Deferred(reply), host, contact)
    }
}
