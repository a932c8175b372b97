//! The end of a pass: what the sender must be told. Failures become a bounce, long delays a warning.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use postroad_store::StoreError;
use postroad_store::spool::{Attempt, Change, NewEnvelope, NewRecipient};
use postroad_types::{Address, BodyKind, EnvelopeOptions, QueueId, ReversePath, limits};
use tokio::time::Instant;

use super::Queue;
use super::pass::Pass;
use crate::bounce::{self, Action, Notice};
use crate::clock::after;

/// A notice that could not be queued is tried again after so long: the message stays due meanwhile.
const NOTICE_RETRY: Duration = Duration::from_secs(5);

/// A recipient, and what is told of it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) index: usize,
    pub(super) attempt: Attempt,
    pub(super) action: Action,
}

impl Queue {
    /// Tells the sender what is to be told.
    pub(super) async fn notify(self: &Arc<Self>, pass: &Arc<Pass>) {
        let (failed, deferred, stale) = pass.state(|state| {
            (std::mem::take(&mut state.failed), std::mem::take(&mut state.deferred), state.stale)
        });
        if stale {
            return;
        }
        for part in failed.chunks(limits::BOUNCE_RECIPIENTS_MAX) {
            self.bounce(pass, part).await;
        }
        let wants = |index: usize| pass.recipient(index).is_none_or(|r| r.notify.of_delay());
        let mut deferred = deferred;
        deferred.retain(|(index, _)| wants(*index));
        if !deferred.is_empty() && self.warning_is_due(pass) {
            self.warn(pass, deferred).await;
        }
    }

    /// Tells the sender of successes, as it asked for. What can't be queued now is not told: the delivery counts more.
    pub(super) async fn report_success(self: &Arc<Self>, pass: &Arc<Pass>, done: &[Told]) {
        if pass.message.reverse_path.is_null() {
            return;
        }
        for part in done.chunks(limits::BOUNCE_RECIPIENTS_MAX) {
            match self.send_notice(pass, Notice::Done, part).await {
                Ok(id) => {
                    let step = self.step(&pass.message, "reported").with("report", &id);
                    self.trace_log.record(step.with("recipients", part.len()));
                    tracing::info!(queue_id = %pass.message.id, report = %id, "the sender was told of the success");
                }
                Err(error) => {
                    tracing::error!(queue_id = %pass.message.id, %error, "a report of success could not be queued")
                }
            }
        }
    }

    async fn bounce(self: &Arc<Self>, pass: &Arc<Pass>, failed: &[(usize, Attempt)]) {
        let message = &pass.message;
        match &message.reverse_path {
            // Mail that is itself a notice: to bounce it would never end (RFC 5321 §4.5.5).
            ReversePath::Null => {
                for (index, attempt) in failed {
                    let to = pass.recipient(*index).map(|r| r.address.to_string()).unwrap_or_default();
                    tracing::warn!(
                        queue_id = %message.id, trace = %message.trace_id, to, reply = %attempt.reply,
                        "a bounce cannot be delivered and is dropped"
                    );
                }
                metrics::counter!("postroad_mta_double_bounces_total").increment(1);
                self.trace_log.record(self.step(message, "double bounce").with("recipients", failed.len()));
            }
            ReversePath::Address(sender) => match self.send_bounce(pass, sender, failed).await {
                Ok(None) => {
                    metrics::counter!("postroad_mta_bounces_suppressed_total").increment(1);
                    tracing::info!(
                        queue_id = %message.id, trace = %message.trace_id, to = %sender,
                        "no bounce: the sender wants none, or was told the same several times in this hour"
                    );
                    let step = self.step(message, "bounce suppressed").with("to", sender);
                    self.trace_log.record(step.with("recipients", failed.len()));
                }
                Ok(Some(id)) => {
                    let step = self.step(message, "bounced").with("to", sender).with("bounce", &id);
                    self.trace_log.record(step.with("recipients", failed.len()));
                    tracing::info!(queue_id = %message.id, trace = %message.trace_id, to = %sender, bounce = %id, "bounced");
                }
                Err(error) => {
                    tracing::error!(queue_id = %message.id, %error, "a bounce could not be queued; it is tried again");
                    // The recipients stay failed with the bounce owed, and that is due at once.
                    return tokio::time::sleep(NOTICE_RETRY).await;
                }
            },
        }
        let changes = failed.iter().map(|(index, _)| Change::Bounced { index: *index }).collect();
        self.record(pass, changes).await;
        pass.state(|state| state.ended += failed.len());
    }

    /// Tells the sender of those failures that it wants to hear of and has not heard of again and again; `None` if
    /// there is none.
    async fn send_bounce(
        self: &Arc<Self>,
        pass: &Arc<Pass>,
        sender: &Address,
        failed: &[(usize, Attempt)],
    ) -> Result<Option<QueueId>, StoreError> {
        let news: Vec<Told> = {
            // No step leaves it half changed.
            let mut suppression = self.suppression.lock().unwrap_or_else(PoisonError::into_inner);
            let is_news = |(index, _): &&(usize, Attempt)| {
                let recipient = pass.recipient(*index);
                recipient.is_none_or(|r| {
                    r.notify.of_failure() && suppression.allows(sender, &r.address, Instant::now())
                })
            };
            let told = |(index, attempt): &(usize, Attempt)| Told {
                index: *index,
                attempt: attempt.clone(),
                action: Action::Failed,
            };
            failed.iter().filter(is_news).map(told).collect()
        };
        match news.is_empty() {
            true => Ok(None),
            false => self.send_notice(pass, Notice::Failed, &news).await.map(Some),
        }
    }

    fn warning_is_due(&self, pass: &Pass) -> bool {
        let message = &pass.message;
        if pass.late_at().is_some_and(|late_at| self.now() >= late_at) {
            return true;
        }
        !message.warned
            && !message.reverse_path.is_null()
            && !self.settings.warn_after.is_zero()
            && self.now() >= after(message.accepted_at, self.settings.warn_after)
    }

    async fn warn(self: &Arc<Self>, pass: &Arc<Pass>, deferred: Vec<(usize, Attempt)>) {
        let told = |(index, attempt)| Told { index, attempt, action: Action::Delayed };
        let part: Vec<Told> = deferred.into_iter().take(limits::BOUNCE_RECIPIENTS_MAX).map(told).collect();
        match self.send_notice(pass, Notice::Delayed, &part).await {
            Ok(id) => {
                self.trace_log.record(self.step(&pass.message, "warned").with("warning", &id));
                tracing::info!(queue_id = %pass.message.id, warning = %id, "the sender was told of the delay");
                self.record(pass, vec![Change::Warned]).await;
            }
            // It is tried again with the next attempt.
            Err(error) => {
                tracing::error!(queue_id = %pass.message.id, %error, "a warning could not be queued")
            }
        }
    }

    /// Builds a notice and queues it to the sender, under the message's own trace id.
    async fn send_notice(
        self: &Arc<Self>,
        pass: &Arc<Pass>,
        notice: Notice,
        recipients: &[Told],
    ) -> Result<QueueId, StoreError> {
        let message = &pass.message;
        let Some(sender) = message.reverse_path.address() else {
            return Err(StoreError::Invalid("a notice has no one to go to".into()));
        };
        let whole = bounce::gives_back_whole(notice, message);
        let wanted = match whole {
            true => limits::BOUNCE_WHOLE_OCTETS_MAX,
            false => limits::BOUNCE_HEADER_OCTETS_MAX,
        };
        // A body that cannot be read must not keep the bounce from going out.
        let head = self.beginning(&message.id, wanted).await.unwrap_or_default();
        let concerned = recipients.iter().filter_map(|Told { index, attempt, action }| {
            let recipient = pass.recipient(*index)?;
            Some(bounce::Concerned { recipient, attempt, action: *action })
        });
        let mut new = self.create(0).await?;
        let now = self.now();
        let built = bounce::build(&bounce::Original {
            notice,
            message,
            recipients: &concerned.collect::<Vec<_>>(),
            head: &head,
            whole: whole && head.len() as u64 == message.size_octets,
            sender,
            hostname: &self.settings.hostname,
            postmaster: &self.settings.postmaster,
            id: new.id(),
            now,
        });
        let octets = bytes::Bytes::from(built.map_err(StoreError::Invalid)?);
        let is_ascii = octets.is_ascii();
        new.write(octets).await?;
        let envelope = NewEnvelope {
            trace_id: message.trace_id,
            reverse_path: ReversePath::Null,
            recipients: vec![NewRecipient::from(sender.clone())],
            body: if is_ascii { BodyKind::SevenBit } else { BodyKind::EightBitMime },
            smtputf8: sender.is_internationalised(),
            envelope_id: None,
            options: EnvelopeOptions::default(),
            accepted_at: now,
            expires_at: after(now, self.settings.lifetime),
            first_attempt_at: now,
        };
        self.accept(new, envelope).await
    }

    /// A message's first octets, up to so many.
    async fn beginning(&self, id: &QueueId, octets_max: usize) -> Result<Vec<u8>, StoreError> {
        let mut read = Vec::new();
        while read.len() < octets_max {
            let chunk = self.spool.read(id, read.len() as u64, octets_max - read.len()).await?;
            if chunk.is_empty() {
                break;
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read)
    }
}
