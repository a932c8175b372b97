//! Stage two of a mail's way: the queue. It leases due messages from the spool, finds out where their
//! recipients go, and runs attempts within limits; what could not be done is put off, bounced or warned about.
//!
//! ```text
//!   spool --lease--> deal --jobs--> ready (a lane per destination) --> workers --> mda | relay
//!     ^                |                                                  |
//!     |                +-- no such domain, expired … ----+                |
//!     +------ record <-----------------------------------+----- settle <--+
//!     +------ bounce, warning <----- end of the pass
//! ```
//!
//! A new message wakes the runner at once; between times it sleeps until the spool's next due time. Nothing
//! here polls. What is in memory is bounded: so many leases, so many jobs per lane.
//!
//! A lease outlives any attempt, so that it never runs out under a worker; after a crash all leases are void,
//! and what was in flight is tried again.

mod attempt;
mod backoff;
mod deal;
mod notice;
mod pass;
mod ready;
mod runner;
mod settle;
mod suppression;
mod suspension;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use postroad_service::{Clock, TraceEvent, TraceLog};
use postroad_store::StoreError;
use postroad_store::spool::{Micros, NewEnvelope, NewMessage, QueuedMessage, Spool};
use postroad_types::{Address, Domain, EnhancedCode, QueueId, limits};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use backoff::Backoff;
pub use ready::Contact;
pub use suspension::Suspension;

use crate::consignment::{DeliveryClient, Relay};
use crate::directory::CachedDirectory;
use crate::route::Router;
use attempt::Job;
use ready::{Limits, Ready};
use suppression::Suppression;

/// How we name ourselves as the one who decided about a recipient.
pub const SELF: &str = "postroad";
/// Delivery time expired (RFC 3463 §3.5).
pub(crate) const EXPIRED: EnhancedCode = EnhancedCode::new(4, 4, 7);

/// What an operator decides about the queue.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name: in bounces.
    pub hostname: Domain,
    /// Named in bounces as the one to ask.
    pub postmaster: Address,
    pub backoff: Backoff,
    /// After so long a message is given up.
    pub lifetime: Duration,
    /// After so long the sender is told that it is delayed; zero: never.
    pub warn_after: Duration,
    /// Attempts at a time.
    pub deliveries_max: usize,
    /// Of these, to one destination.
    pub destination_connections_max: usize,
    /// Of these, to mda.
    pub mailbox_deliveries_max: usize,
}

/// What the queue works with.
#[allow(missing_debug_implementations, reason = "its traits do not ask for it")]
pub struct Parts {
    pub spool: Arc<dyn Spool>,
    pub clock: Arc<dyn Clock>,
    pub directory: Arc<CachedDirectory>,
    pub router: Arc<Router>,
    pub relay: Arc<dyn Relay>,
    pub delivery: Arc<dyn DeliveryClient>,
    pub trace_log: TraceLog,
    pub suspension: Suspension,
}

/// The queue.
pub struct Queue {
    spool: Arc<dyn Spool>,
    clock: Arc<dyn Clock>,
    directory: Arc<CachedDirectory>,
    router: Arc<Router>,
    relay: Arc<dyn Relay>,
    delivery: Arc<dyn DeliveryClient>,
    trace_log: TraceLog,
    settings: Settings,
    suspension: Suspension,
    ready: Mutex<Ready<Job>>,
    suppression: Mutex<Suppression>,
    mailboxes_lane: Arc<str>,
    leased: AtomicUsize,
    /// Somebody waits for a lane's pace.
    pacing: AtomicBool,
    wake: Notify,
    stop: CancellationToken,
    workers: TaskTracker,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Queue {
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        let limits = Limits {
            running_max: settings.deliveries_max,
            waiting_max: limits::QUEUE_DESTINATION_WAITING_MAX,
            // What was put off when it closed finds it open again.
            closed_for: settings.backoff.first / 2,
        };
        Arc::new(Queue {
            spool: parts.spool,
            clock: parts.clock,
            directory: parts.directory,
            router: parts.router,
            relay: parts.relay,
            delivery: parts.delivery,
            trace_log: parts.trace_log,
            settings,
            suspension: parts.suspension,
            ready: Mutex::new(Ready::new(limits)),
            suppression: Mutex::default(),
            // No MX set has a name without a port.
            mailboxes_lane: "mailboxes".into(),
            leased: AtomicUsize::new(0),
            pacing: AtomicBool::new(false),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            workers: TaskTracker::new(),
        })
    }

    pub fn spool(&self) -> &Arc<dyn Spool> {
        &self.spool
    }

    /// Whose mail an operator keeps back.
    pub fn suspension(&self) -> &Suspension {
        &self.suspension
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins a message.
    pub async fn create(&self, size_hint: u64) -> Result<Box<dyn NewMessage>, StoreError> {
        self.spool.create(size_hint).await
    }

    /// Makes a message durable and sets it on its way.
    pub async fn accept(
        &self,
        message: Box<dyn NewMessage>,
        envelope: NewEnvelope,
    ) -> Result<QueueId, StoreError> {
        let id = message.commit(envelope).await?;
        self.wake();
        Ok(id)
    }

    /// Something may be due now: a new message, an operator's order.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// An operator wants attempts now, whatever destinations answered before.
    pub fn hurry(&self) {
        self.ready().reopen();
        self.wake();
    }

    /// Ends when the queue is told to stop.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    fn now(&self) -> Micros {
        crate::clock::now(&*self.clock)
    }

    /// A step in the timeline of a message, to be recorded.
    fn step(&self, message: &QueuedMessage, name: &'static str) -> TraceEvent {
        TraceEvent::new(self.clock.now_us(), message.trace_id, name).queue_id(&message.id)
    }

    fn ready(&self) -> MutexGuard<'_, Ready<Job>> {
        // No step of Ready leaves it half changed.
        self.ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
