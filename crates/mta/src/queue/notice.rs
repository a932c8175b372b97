//! The end of a pass: what the sender must be told. Failures become a bounce, long delays a warning.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use postroad_store::StoreError;
use postroad_store::spool::{Attempt, Change, NewEnvelope, NewRecipient};
use postroad_types::{Address, BodyKind, QueueId, ReversePath, limits};
use tokio::time::Instant;

use super::Queue;
use super::pass::Pass;
use crate::bounce::{self, Notice};
use crate::clock::after;

/// A notice that could not be queued is tried again after so long: the message stays due meanwhile.
const NOTICE_RETRY: Duration = Duration::from_secs(5);

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
        if !deferred.is_empty() && self.warning_is_due(pass) {
            self.warn(pass, &deferred).await;
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
                        "the sender was told the same several times in this hour; no further bounce"
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

    /// Tells the sender of those failures that it has not heard of again and again; `None` if there is none.
    async fn send_bounce(
        self: &Arc<Self>,
        pass: &Arc<Pass>,
        sender: &Address,
        failed: &[(usize, Attempt)],
    ) -> Result<Option<QueueId>, StoreError> {
        let news: Vec<(usize, Attempt)> = {
            // No step leaves it half changed.
            let mut suppression = self.suppression.lock().unwrap_or_else(PoisonError::into_inner);
            let is_news = |(index, _): &&(usize, Attempt)| {
                let recipient = pass.recipient(*index);
                recipient.is_none_or(|r| suppression.allows(sender, &r.address, Instant::now()))
            };
            failed.iter().filter(is_news).cloned().collect()
        };
        match news.is_empty() {
            true => Ok(None),
            false => self.send_notice(pass, Notice::Failed, &news).await.map(Some),
        }
    }

    fn warning_is_due(&self, pass: &Pass) -> bool {
        let message = &pass.message;
        !message.warned
            && !message.reverse_path.is_null()
            && !self.settings.warn_after.is_zero()
            && self.now() >= after(message.accepted_at, self.settings.warn_after)
    }

    async fn warn(self: &Arc<Self>, pass: &Arc<Pass>, deferred: &[(usize, Attempt)]) {
        let part = deferred.get(..limits::BOUNCE_RECIPIENTS_MAX).unwrap_or(deferred);
        match self.send_notice(pass, Notice::Delayed, part).await {
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
        recipients: &[(usize, Attempt)],
    ) -> Result<QueueId, StoreError> {
        let message = &pass.message;
        let Some(sender) = message.reverse_path.address() else {
            return Err(StoreError::Invalid("a notice has no one to go to".into()));
        };
        // A body that cannot be read must not keep the bounce from going out.
        let head =
            self.spool.read(&message.id, 0, limits::BOUNCE_HEADER_OCTETS_MAX).await.unwrap_or_default();
        let concerned = recipients.iter().filter_map(|(index, attempt)| {
            pass.recipient(*index).map(|recipient| bounce::Concerned { recipient, attempt })
        });
        let mut new = self.create(0).await?;
        let now = self.now();
        let built = bounce::build(&bounce::Original {
            notice,
            message,
            recipients: &concerned.collect::<Vec<_>>(),
            head: &head,
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
            accepted_at: now,
            expires_at: after(now, self.settings.lifetime),
            first_attempt_at: now,
        };
        self.accept(new, envelope).await
    }
}
