//! The runner: leases what is due, and sleeps until something is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postroad_store::spool::{Filter, Micros, Order, RecipientState};
use postroad_types::{QueueId, limits};
use tokio::time::Instant;

use super::Queue;
use super::pass::Pass;
use crate::clock::{after, between};

/// Leases taken from the spool in one step.
const LEASE_BATCH: usize = 256;
/// Longest sleep: the time of day may jump, and another worker's lease may have run out.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Shortest sleep: what is due within it is taken together.
const SLEEP_MIN: Duration = Duration::from_millis(1);
/// Wait after the spool did not answer.
const SPOOL_DOWN: Duration = Duration::from_secs(1);

impl Queue {
    /// Runs until [`stop`](Self::stop).
    pub async fn run(self: &Arc<Self>) {
        let mut seen = (self.now(), Instant::now());
        loop {
            self.watch_clock(&mut seen).await;
            // Armed first: what is accepted while leases are taken is not missed.
            let woken = self.wake.notified();
            let sleep = self.feed().await;
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = woken => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// When the time of day is set back, what was put off by the old one would wait until the new one gets there:
    /// it is due at once instead. What was never tried waits for a time that its sender chose.
    async fn watch_clock(&self, seen: &mut (Micros, Instant)) {
        let (now, at) = (self.now(), Instant::now());
        let expected = after(seen.0, at.duration_since(seen.1));
        *seen = (now, at);
        let back = between(now, expected);
        if back <= self.settings.backoff.max {
            return;
        }
        tracing::warn!(
            seconds = back.as_secs(),
            "the time of day was set back; what was put off is tried now"
        );
        let waiting = Filter { state: Some(RecipientState::Waiting), ..Filter::default() };
        let mut last = None;
        loop {
            let page = match self.spool.list(&waiting, last.as_ref(), LEASE_BATCH).await {
                Ok(page) if !page.is_empty() => page,
                Ok(_) => return,
                Err(error) => return tracing::error!(%error, "the queue can not be listed"),
            };
            last = page.last().map(|message| message.id.clone());
            let tried = page.into_iter().filter(|message| message.recipients.iter().any(|r| r.attempts > 0));
            let ids: Vec<QueueId> = tried.map(|message| message.id).collect();
            if !ids.is_empty()
                && let Err(error) =
                    self.spool.order(&Filter { ids, ..Filter::default() }, Order::Retry, now).await
            {
                tracing::error!(%error, "messages can not be made due");
            }
        }
    }

    /// Leases everything that is due and has room; how long nothing more will be.
    async fn feed(self: &Arc<Self>) -> Duration {
        while !self.stop.is_cancelled() {
            let room = limits::QUEUE_ACTIVE_MAX.saturating_sub(self.leased.load(Ordering::SeqCst));
            if room == 0 {
                // The end of a pass wakes us.
                return SLEEP_MAX;
            }
            let now = self.now();
            let until = after(now, Duration::from_secs(limits::QUEUE_LEASE_SECONDS));
            let limit = room.min(LEASE_BATCH);
            let leases = match self.spool.lease(now, limit, until).await {
                Ok(leases) => leases,
                Err(error) => {
                    tracing::error!(%error, "the queue can not be read; nothing goes out until it can");
                    return SPOOL_DOWN;
                }
            };
            let count = leases.len();
            self.leased.fetch_add(count, Ordering::SeqCst);
            for lease in leases {
                self.deal(lease).await;
            }
            metrics::gauge!("postroad_mta_queue_active").set(self.leased.load(Ordering::SeqCst) as f64);
            if count < limit {
                break;
            }
        }
        match self.spool.next_due().await {
            Ok(Some(due)) => between(self.now(), due).clamp(SLEEP_MIN, SLEEP_MAX),
            Ok(None) => SLEEP_MAX,
            Err(_) => SPOOL_DOWN,
        }
    }

    /// A part of a pass has ended; after the last one the lease is given back.
    pub(super) async fn end_part(self: &Arc<Self>, pass: &Arc<Pass>) {
        if !pass.end_part() {
            return;
        }
        self.notify(pass).await;
        let id = &pass.message.id;
        let left = pass
            .state(|state| !state.stale && state.ended < pass.message.recipients.len() + state.added.len());
        if left && let Err(error) = self.spool.release(id, pass.token).await {
            tracing::debug!(queue_id = %id, %error, "the lease is not ours any more");
        }
        let before = self.leased.fetch_sub(1, Ordering::SeqCst);
        // Else nothing is due earlier than it was, and there was room already.
        if left || before >= limits::QUEUE_ACTIVE_MAX {
            self.wake();
        }
    }

    /// Takes no more leases, waits at most `grace` for attempts in flight, and makes what they led to durable.
    /// What is not finished by then is tried again at the next start.
    pub async fn stop(self: &Arc<Self>, grace: Duration) {
        self.stop.cancel();
        let waiting = self.ready().drain();
        for job in waiting {
            self.end_part(&job.pass).await;
        }
        self.workers.close();
        if tokio::time::timeout(grace, self.workers.wait()).await.is_err() {
            let running = self.ready().running();
            tracing::warn!(
                running,
                "attempts did not finish in time; they are repeated after the next start"
            );
        }
        self.relay.close_idle().await;
        if let Err(error) = self.spool.flush().await {
            tracing::error!(%error, "the queue's last records may not be durable");
        }
    }
}
