//! What a queue is, apart from where it lies: messages, when they are due, who may work on them.
//!
//! A pure table (no IO, no clock) that every spool which keeps its queue in memory shares: the memory spool
//! is this table and nothing else; the embedded spool writes down each step before it takes it here. So
//! leases, orders and filters mean the same everywhere.
//!
//! # When a message is due
//! | recipient | due at |
//! | --- | --- |
//! | waiting | its `next_attempt_at` |
//! | held | never |
//! | failed, bounce owed | since its last attempt |
//! | done, bounced | never |
//!
//! The message is due at the earliest of these, and at `expires_at` at the latest, held or not.
//! Every step costs O(log n) in the number of messages; nothing but lists looks at all of them.

mod change;
mod filter;
mod table;

pub use filter::{DestinationTally, Page, SCAN_STEP, fits};
pub use table::{Counts, Outcome, QueueTable};

use crate::error::StoreError;
use crate::spool::{NewEnvelope, QueuedMessage, QueuedRecipient, RecipientState};
use postroad_types::QueueId;

/// The queued message that a new one becomes. [`StoreError::Invalid`] when it has no recipient.
pub fn admit(id: QueueId, envelope: NewEnvelope, size_octets: u64) -> Result<QueuedMessage, StoreError> {
    if envelope.recipients.is_empty() {
        return Err(StoreError::Invalid(format!("message {id} has no recipient")));
    }
    let recipient = |new: crate::spool::NewRecipient| QueuedRecipient {
        address: new.address,
        original: new.original,
        notify: new.notify,
        route: None,
        state: RecipientState::Waiting,
        attempts: 0,
        next_attempt_at: envelope.first_attempt_at,
        last: None,
    };
    Ok(QueuedMessage {
        id,
        trace_id: envelope.trace_id,
        reverse_path: envelope.reverse_path,
        body: envelope.body,
        smtputf8: envelope.smtputf8,
        envelope_id: envelope.envelope_id,
        options: envelope.options,
        size_octets,
        accepted_at: envelope.accepted_at,
        expires_at: envelope.expires_at,
        warned: false,
        recipients: envelope.recipients.into_iter().map(recipient).collect(),
    })
}
