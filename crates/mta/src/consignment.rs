//! What one attempt carries: a message with those of its recipients that go to one place.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::spool::{Micros, Spool};
use postroad_types::{
    Address, BodyKind, DeliveryResult, EnvelopeOptions, Notify, QueueId, Reply, ReversePath, TraceId, limits,
};

use crate::queue::Contact;
use crate::route::Destination;

/// A message for one destination.
#[derive(Clone, Debug)]
pub struct Consignment {
    pub id: QueueId,
    pub trace: TraceId,
    pub reverse_path: ReversePath,
    /// Not empty.
    pub recipients: Vec<Recipient>,
    pub body: BodyKind,
    pub smtputf8: bool,
    pub envelope_id: Option<String>,
    pub options: EnvelopeOptions,
    pub accepted_at: Micros,
    pub content: Content,
}

/// One who is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub address: Address,
    pub notify: Notify,
    /// `type;address` (ORCPT, RFC 3461 §4.2).
    pub original: Option<String>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Recipient { address, notify: Notify::Unsaid, original: None }
    }
}

impl Consignment {
    /// RFC 8689 §5: a bounce goes on even where REQUIRETLS is not known.
    pub fn must_have_tls(&self) -> bool {
        self.options.require_tls && !self.reverse_path.is_null()
    }
}

/// The message's octets, where they lie. The spool keeps what has just come in memory for its first attempt.
#[derive(Clone)]
pub struct Content {
    pub size_octets: u64,
    pub spool: Arc<dyn Spool>,
    pub id: QueueId,
}

impl Content {
    /// The next octets from `offset` on; empty at the end.
    pub async fn chunk(&self, offset: u64) -> Result<Bytes, StoreError> {
        if offset >= self.size_octets {
            return Ok(Bytes::new());
        }
        self.spool.read(&self.id, offset, limits::BODY_CHUNK_OCTETS).await
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({}, {} octets)", self.id, self.size_octets)
    }
}

/// What became of one recipient, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub result: DeliveryResult,
    /// "mx.beta.test [192.0.2.1]:25", "mda" or "postroad".
    pub host: String,
    /// If it was delivered.
    pub handover: Handover,
}

impl Outcome {
    /// A decision; of a delivery that ended in a mailbox.
    pub fn new(result: DeliveryResult, host: impl Into<String>) -> Self {
        Outcome { result, host: host.into(), handover: Handover::Mailbox }
    }
}

/// To whom a message was handed over, and so who reports its success (RFC 3461 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// It has arrived: we do.
    #[default]
    Mailbox,
    /// To a host that knows DSN and does it in its time.
    DsnHost,
    /// To a host of which nothing more will be heard: we say that it was relayed.
    Host,
}

/// What became of a consignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One for each recipient, in order.
    pub outcomes: Vec<Outcome>,
    pub contact: Contact,
}

impl Report {
    /// The same for all recipients.
    pub fn all(recipients: usize, result: DeliveryResult, host: &str, contact: Contact) -> Self {
        let outcome = Outcome::new(result, host);
        Report { outcomes: vec![outcome; recipients], contact }
    }
}

/// Sends to other hosts.
#[async_trait]
pub trait Relay: Send + Sync + 'static {
    /// Tries the hosts of a destination in their order until one takes or refuses the message. It bounds its
    /// own time, and writes its steps into the timeline.
    async fn relay(&self, consignment: &Consignment, destination: &Destination) -> Report;

    /// Closes connections that wait for further mail.
    async fn close_idle(&self);
}

/// Hands mail for our own domains to mda.
#[async_trait]
pub trait DeliveryClient: Send + Sync + 'static {
    /// One result for each recipient, in order.
    async fn deliver(&self, consignment: &Consignment) -> Result<Vec<DeliveryResult>, DeliveryError>;
}

/// A delivery of which nothing is known; it may be repeated, mda tells repetitions apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    #[error("mda does not answer: {0}")]
    Unavailable(String),
    #[error("mda refuses the call: {0}")]
    Refused(String),
    #[error("the message cannot be read from the spool: {0}")]
    Content(#[from] StoreError),
}

/// A reply of our own.
pub fn reply(code: u16, (class, subject, detail): (u8, u16, u16), text: impl Into<String>) -> Reply {
    Reply::new(code, postroad_types::EnhancedCode::new(class, subject, detail), text)
}
