//! The queue's storage: messages that were accepted and are not yet done with all their recipients.
//!
//! # Contract
//! - [`NewMessage::commit`] returns only when body and envelope are on stable storage; many commits that wait
//!   at the same time share one flush (group commit). A message whose commit did not return is gone after a
//!   crash; one whose commit returned is there.
//! - A message's octets never change.
//! - A message is worked on under a lease. Only one lease is valid for a message at a time; a lease that ran
//!   out can be given to another worker, and everything done with the old token fails with
//!   [`StoreError::Stale`]. All leases are void after a restart: messages in flight are due at once.
//! - [`Spool::record`] applies all its changes or none. When it returned they survive the death of the
//!   process; they survive the loss of power within [`RECORD_FLUSH_MS_MAX`], since a repeated attempt is
//!   harmless (delivery is idempotent, and SMTP allows duplicates but not loss).
//!   Changes that could lose mail when forgotten in the wrong order are flushed in order: a later record is
//!   never durable before an earlier one.
//! - A message leaves the spool in the same change that ends its last recipient.
//! - One damaged record concerns one message: it is set aside, reported in [`SpoolReport`], and the rest goes on.
//!
//! Roads not taken: a file per message (two flushes and a directory flush for each one), a database (the same
//! commit costs more CPU, and its file must be vacuumed); see docs/adr/.

use async_trait::async_trait;
use bytes::Bytes;
use postroad_types::{Address, BodyKind, EnvelopeOptions, Notify, QueueId, Reply, ReversePath, TraceId};

use crate::error::StoreError;

/// After so many milliseconds at most a recorded change survives the loss of power.
pub const RECORD_FLUSH_MS_MAX: u64 = 1000;

/// Microseconds since 1970-01-01 UTC.
pub type Micros = i64;

/// What is written with a message when it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEnvelope {
    pub trace_id: TraceId,
    pub reverse_path: ReversePath,
    /// Not empty.
    pub recipients: Vec<NewRecipient>,
    pub body: BodyKind,
    pub smtputf8: bool,
    pub envelope_id: Option<String>,
    pub options: EnvelopeOptions,
    pub accepted_at: Micros,
    /// When it is given up and bounced.
    pub expires_at: Micros,
    /// When recipients are first due.
    pub first_attempt_at: Micros,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecipient {
    pub address: Address,
    /// What the sender's client called this recipient (ORCPT, RFC 3461), or the alias it came through.
    pub original: Option<String>,
    /// Which reports the sender wants about this recipient.
    pub notify: Notify,
}

impl From<Address> for NewRecipient {
    fn from(address: Address) -> Self {
        NewRecipient { address, original: None, notify: Notify::Unsaid }
    }
}

/// A message being written. Dropped before `commit`, it leaves no trace.
#[async_trait]
pub trait NewMessage: Send {
    /// The name it will have.
    fn id(&self) -> &QueueId;
    /// Appends octets of the body. May wait while the disk is behind.
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError>;
    /// Makes body and envelope durable and due.
    async fn commit(self: Box<Self>, envelope: NewEnvelope) -> Result<QueueId, StoreError>;
}

/// A message as it lies in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    pub id: QueueId,
    pub trace_id: TraceId,
    pub reverse_path: ReversePath,
    pub body: BodyKind,
    pub smtputf8: bool,
    pub envelope_id: Option<String>,
    pub options: EnvelopeOptions,
    pub size_octets: u64,
    pub accepted_at: Micros,
    pub expires_at: Micros,
    /// A delayed-mail warning went out.
    pub warned: bool,
    pub recipients: Vec<QueuedRecipient>,
}

/// One recipient of a queued message. Its index in the message never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRecipient {
    pub address: Address,
    pub original: Option<String>,
    pub notify: Notify,
    /// Where an operator sends it, whatever routing says; in the words of a transport rule's `via`.
    pub route: Option<Box<str>>,
    pub state: RecipientState,
    pub attempts: u32,
    pub next_attempt_at: Micros,
    pub last: Option<Attempt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecipientState {
    /// Due at `next_attempt_at`.
    Waiting,
    /// Not due until released.
    Held,
    /// Done: at the next hop, in the mailbox, or replaced by what it stands for.
    Done,
    /// Given up; the sender was not told yet.
    Failed,
    /// Given up, and the sender was told or must not be.
    Bounced,
}

impl RecipientState {
    /// Nothing is left to do.
    pub fn is_final(self) -> bool {
        matches!(self, RecipientState::Done | RecipientState::Bounced)
    }
}

/// The last word about a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub at: Micros,
    /// Who said it: "mx.beta.test [192.0.2.1]:25", or "postroad".
    pub host: String,
    pub reply: Reply,
}

/// The right to work on a message for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub message: QueuedMessage,
    /// Fencing token: greater than that of every earlier lease of this message.
    pub token: u64,
    pub until: Micros,
}

/// A change that the holder of a lease makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Recipient `index` is done.
    Done { index: usize, attempt: Attempt },
    /// Try again at `next_attempt_at`.
    Defer { index: usize, attempt: Attempt, next_attempt_at: Micros },
    /// Nothing was tried; due again at `next_attempt_at`.
    Wait { index: usize, next_attempt_at: Micros },
    /// Given up; a bounce is owed.
    Fail { index: usize, attempt: Attempt },
    /// The bounce that was owed is in the spool (or must not be sent).
    Bounced { index: usize },
    /// Recipient `index` is done, and these are new ones, due at `next_attempt_at`.
    Expand { index: usize, attempt: Attempt, into: Vec<NewRecipient>, next_attempt_at: Micros },
    /// The delayed-mail warning is in the spool.
    Warned,
}

/// What an operator does to messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Waiting recipients become held.
    Hold,
    /// Held recipients become due now.
    Release,
    /// Waiting recipients become due now.
    Retry,
    /// Out of the spool, without a bounce.
    Remove,
    /// The message's time is over now: the next lease finds it expired and bounces it.
    Expire,
    /// Recipients that are not final go there and are due now; without a text as routing says.
    Reroute(Option<Box<str>>),
}

/// Which messages; what is set must all fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub ids: Vec<QueueId>,
    pub sender: Option<ReversePath>,
    pub recipient: Option<Address>,
    /// Lower-case A-label domain of a recipient that is not final.
    pub domain: Option<String>,
    pub state: Option<RecipientState>,
    /// Accepted before this.
    pub accepted_before: Option<Micros>,
    /// Accepted then or later.
    pub accepted_since: Option<Micros>,
    /// Stands in the last reply about a recipient that is not final, in any letter case.
    pub reply: Option<String>,
}

/// Recipients of one domain that are not final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationCount {
    pub domain: String,
    pub recipients: u64,
    pub held: u64,
    /// By age: up to each of [`AGE_MINUTES`], and above the last.
    pub ages: [u64; AGE_MINUTES.len() + 1],
    pub oldest_at: Micros,
    pub next_attempt_at: Micros,
    pub last_reply: Option<Reply>,
}

/// Ages that recipients are counted by, in minutes.
pub const AGE_MINUTES: [u64; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1280];

/// Told by [`Spool::watch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolEvent {
    Accepted(QueueId),
    Changed(QueueId),
    /// It left the spool.
    Gone(QueueId),
}

/// What opening the spool found, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolReport {
    pub messages: u64,
    pub recipients: u64,
    pub octets: u64,
    /// Ends of segments that were cut off in a crash; what stood there had never been promised.
    pub torn_tails: u64,
    /// Records that were damaged and set aside, each with where it lies now.
    pub damaged: Vec<String>,
}

#[async_trait]
pub trait Spool: Send + Sync + 'static {
    /// Begins a message. `size_hint` octets help to find room; 0 when unknown.
    /// [`StoreError::Unavailable`] when storage is full: the client hears 452 and keeps its mail.
    async fn create(&self, size_hint: u64) -> Result<Box<dyn NewMessage>, StoreError>;

    /// Octets of a body from `offset` on, at most `length`; empty at the end.
    async fn read(&self, id: &QueueId, offset: u64, length: usize) -> Result<Bytes, StoreError>;

    /// A message as it stands now.
    async fn get(&self, id: &QueueId) -> Result<QueuedMessage, StoreError>;

    /// Leases of messages that have a due recipient (waiting with `next_attempt_at <= now`, failed without a
    /// bounce, or anything not final once `expires_at <= now`), the longest due first, each until `until`.
    async fn lease(&self, now: Micros, limit: usize, until: Micros) -> Result<Vec<Lease>, StoreError>;

    /// When the next message will be due, if any; leased ones do not count.
    async fn next_due(&self) -> Result<Option<Micros>, StoreError>;

    /// Applies changes under a lease, all or none; a message whose recipients are all final leaves the spool.
    async fn record(&self, id: &QueueId, token: u64, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Gives a lease back. Recipients that were not changed are due as before.
    async fn release(&self, id: &QueueId, token: u64) -> Result<(), StoreError>;

    /// Messages that fit, in the order of their ids, after `after`.
    async fn list(
        &self,
        filter: &Filter,
        after: Option<&QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError>;

    /// Recipients that are not final by domain; their ages are counted at `now`.
    async fn destinations(&self, now: Micros) -> Result<Vec<DestinationCount>, StoreError>;

    /// Carries out an order on all messages that fit and returns them. A leased message is changed at once too:
    /// its lease goes on, but `Remove` makes the lease stale.
    async fn order(&self, filter: &Filter, order: Order, now: Micros) -> Result<Vec<QueueId>, StoreError>;

    /// Events from now on. A slow reader is told with a lag error of the channel and must list again.
    fn watch(&self) -> tokio::sync::broadcast::Receiver<SpoolEvent>;

    async fn report(&self) -> Result<SpoolReport, StoreError>;

    /// Everything recorded is durable when this returns; called at the end of a graceful stop.
    async fn flush(&self) -> Result<(), StoreError>;
}
