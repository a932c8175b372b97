//! One pass over a message: from its lease to the lease's end. All recipients that are due are tried, each
//! destination on its own; what is left over (bounce, warning) is done when the last one has ended.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use postroad_store::spool::{Attempt, Lease, Micros, QueuedMessage, QueuedRecipient, RecipientState};
use postroad_types::{Address, ByMode};

/// A message under lease.
#[derive(Debug)]
pub struct Pass {
    pub message: QueuedMessage,
    pub token: u64,
    /// The lease ends then.
    pub until: Micros,
    parts: AtomicUsize,
    state: Mutex<State>,
}

/// What the pass has led to so far.
#[derive(Debug, Default)]
pub struct State {
    /// Given up, with a bounce owed.
    pub failed: Vec<(usize, Attempt)>,
    /// To be tried again.
    pub deferred: Vec<(usize, Attempt)>,
    /// Recipients that are final, or were so before.
    pub ended: usize,
    /// Recipients that expansions added.
    pub added: Vec<Address>,
    /// The lease is no longer ours: an operator removed the message.
    pub stale: bool,
}

impl Pass {
    /// Begins with one part under way: the one that deals out the others.
    pub fn new(lease: Lease) -> Self {
        let message = lease.message;
        let mut state = State::default();
        for (index, recipient) in message.recipients.iter().enumerate() {
            match (recipient.state, &recipient.last) {
                (RecipientState::Failed, last) => {
                    let unknown = || Attempt {
                        at: message.accepted_at,
                        host: super::SELF.to_owned(),
                        reply: crate::consignment::reply(554, (5, 0, 0), "delivery failed"),
                    };
                    state.failed.push((index, last.clone().unwrap_or_else(unknown)));
                }
                (final_state, _) if final_state.is_final() => state.ended += 1,
                _ => {}
            }
        }
        Pass {
            message,
            token: lease.token,
            until: lease.until,
            parts: AtomicUsize::new(1),
            state: Mutex::new(state),
        }
    }

    /// Recipients that are due, by index.
    pub fn due(&self, now: Micros) -> impl Iterator<Item = (usize, &QueuedRecipient)> {
        let due = move |r: &QueuedRecipient| r.state == RecipientState::Waiting && r.next_attempt_at <= now;
        self.message.recipients.iter().enumerate().filter(move |(_, r)| due(r))
    }

    /// When the sender wants to hear that the message is late (BY with mode N, RFC 2852), if it was not told yet.
    pub fn late_at(&self) -> Option<Micros> {
        let by = self.message.options.deliver_by.filter(|by| by.mode == ByMode::Notify)?;
        (!self.message.warned && !self.message.reverse_path.is_null()).then_some(by.at)
    }

    pub fn recipient(&self, index: usize) -> Option<&QueuedRecipient> {
        self.message.recipients.get(index)
    }

    /// Adds parts that will end on their own.
    pub fn add_parts(&self, count: usize) {
        self.parts.fetch_add(count, Ordering::SeqCst);
    }

    /// A part has ended; whether it was the last.
    pub fn end_part(&self) -> bool {
        self.parts.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Looks at or changes what the pass has led to.
    pub fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        // A poisoned lock holds data that is still whole: every change to it is a single push or count.
        with(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
