//! What a change or an order makes of a message. Pure functions on one message.

use crate::error::StoreError;
use crate::spool::{Attempt, Change, Micros, Order, QueuedMessage, QueuedRecipient, RecipientState};

/// Whether all changes are possible, one after the other.
pub(super) fn check(message: &QueuedMessage, changes: &[Change]) -> Result<(), StoreError> {
    // Indices that earlier changes of this batch end or add.
    let mut ended: Vec<usize> = Vec::new();
    let mut count = message.recipients.len();
    for change in changes {
        let (index, ends, adds) = match change {
            Change::Done { index, .. } | Change::Bounced { index } => (*index, true, 0),
            Change::Defer { index, .. } | Change::Wait { index, .. } | Change::Fail { index, .. } => {
                (*index, false, 0)
            }
            Change::Expand { index, into, .. } => (*index, true, into.len()),
            Change::Warned => continue,
        };
        let is_final = message.recipients.get(index).is_some_and(|r| r.state.is_final());
        if index >= count || is_final || ended.contains(&index) {
            let why = if index >= count { "is none of its recipients" } else { "is done already" };
            return Err(StoreError::Invalid(format!("message {}: {index} {why}", message.id)));
        }
        if ends {
            ended.push(index);
        }
        count += adds;
    }
    Ok(())
}

/// Applies changes that were checked. One that does not fit (a damaged log has gaps) changes nothing.
pub(super) fn apply(message: &mut QueuedMessage, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Done { index, attempt } => {
                ended(message, index, attempt, RecipientState::Done);
            }
            Change::Fail { index, attempt } => {
                ended(message, index, attempt, RecipientState::Failed);
            }
            Change::Defer { index, attempt, next_attempt_at } => {
                if let Some(recipient) = unfinished(message, index) {
                    attempted(recipient, attempt);
                    recipient.next_attempt_at = next_attempt_at;
                    // What an operator holds stays held; what was given up gets another try.
                    if recipient.state != RecipientState::Held {
                        recipient.state = RecipientState::Waiting;
                    }
                }
            }
            Change::Wait { index, next_attempt_at } => {
                if let Some(recipient) = unfinished(message, index)
                    && recipient.state == RecipientState::Waiting
                {
                    recipient.next_attempt_at = next_attempt_at;
                }
            }
            Change::Bounced { index } => {
                if let Some(recipient) = unfinished(message, index) {
                    recipient.state = RecipientState::Bounced;
                }
            }
            Change::Expand { index, attempt, into, next_attempt_at } => {
                if ended(message, index, attempt, RecipientState::Done) {
                    message.recipients.extend(into.into_iter().map(|new| QueuedRecipient {
                        address: new.address,
                        original: new.original,
                        notify: new.notify,
                        route: None,
                        state: RecipientState::Waiting,
                        attempts: 0,
                        next_attempt_at,
                        last: None,
                    }));
                }
            }
            Change::Warned => message.warned = true,
        }
    }
}

/// Carries out every order but [`Order::Remove`], which is about the message's place, not its content.
pub(super) fn obey(message: &mut QueuedMessage, order: &Order, now: Micros) {
    use RecipientState::{Held, Waiting};
    if *order == Order::Expire {
        message.expires_at = message.expires_at.min(now);
    }
    for recipient in &mut message.recipients {
        match (order, recipient.state) {
            (Order::Hold, Waiting) => recipient.state = Held,
            (Order::Release, Held) => {
                recipient.state = Waiting;
                recipient.next_attempt_at = now;
            }
            (Order::Retry, Waiting) => recipient.next_attempt_at = now,
            (Order::Reroute(route), Waiting | Held) => {
                recipient.route.clone_from(route);
                if recipient.state == Waiting {
                    recipient.next_attempt_at = now;
                }
            }
            _ => {}
        }
    }
}

/// When the message is due; `None` when nothing is left to do.
pub(super) fn due_at(message: &QueuedMessage) -> Option<Micros> {
    let mut due = None;
    for recipient in &message.recipients {
        let at = match recipient.state {
            RecipientState::Waiting => recipient.next_attempt_at,
            RecipientState::Held => message.expires_at,
            RecipientState::Failed => recipient.last.as_ref().map_or(message.accepted_at, |last| last.at),
            RecipientState::Done | RecipientState::Bounced => continue,
        };
        due = Some(due.map_or(at, |due: Micros| due.min(at)));
    }
    due.map(|due| due.min(message.expires_at))
}

fn unfinished(message: &mut QueuedMessage, index: usize) -> Option<&mut QueuedRecipient> {
    message.recipients.get_mut(index).filter(|r| !r.state.is_final())
}

fn attempted(recipient: &mut QueuedRecipient, attempt: Attempt) {
    recipient.attempts = recipient.attempts.saturating_add(1);
    recipient.last = Some(attempt);
}

fn ended(message: &mut QueuedMessage, index: usize, attempt: Attempt, state: RecipientState) -> bool {
    let Some(recipient) = unfinished(message, index) else { return false };
    attempted(recipient, attempt);
    recipient.state = state;
    true
}
