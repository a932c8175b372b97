//! Between the spool's words and the contract's.

use postroad_config::Via;
use postroad_rpc::{convert, v1};
use postroad_store::StoreError;
use postroad_store::spool::{Filter, Micros, QueuedMessage, QueuedRecipient, RecipientState};
use postroad_types::{Domain, Host, ReversePath};
use tonic::Status;

/// How a selector names the null sender, which as the empty text would choose nothing.
const NULL_SENDER: &str = "<>";

pub(super) fn filter(selector: &v1::Selector) -> Result<Filter, Status> {
    let ids =
        selector.queue_ids.iter().map(|id| convert::queue_id("queue_ids", id)).collect::<Result<_, _>>()?;
    let sender = match selector.sender.as_str() {
        "" => None,
        NULL_SENDER => Some(ReversePath::Null),
        text => Some(convert::reverse_path("sender", text)?),
    };
    let recipient = match selector.recipient.as_str() {
        "" => None,
        text => Some(convert::address("recipient", text)?),
    };
    let domain = match selector.domain.as_str() {
        "" => None,
        text => match text.parse::<Host>() {
            Ok(Host::Domain(domain)) => Some(domain.ascii().to_owned()),
            Ok(literal) => Some(literal.to_string()),
            Err(error) => return Err(Status::invalid_argument(format!("domain: {text:?}: {error}"))),
        },
    };
    let state = match selector.state() {
        v1::RecipientState::StateAny => None,
        v1::RecipientState::StateWaiting | v1::RecipientState::StateActive => Some(RecipientState::Waiting),
        v1::RecipientState::StateHeld => Some(RecipientState::Held),
        v1::RecipientState::StateDelivered => Some(RecipientState::Done),
        v1::RecipientState::StateFailed => Some(RecipientState::Failed),
    };
    let since_us = |us: i64| (us != 0).then_some(us);
    Ok(Filter {
        ids,
        sender,
        recipient,
        domain,
        state,
        accepted_before: since_us(selector.accepted_before_us),
        accepted_since: since_us(selector.accepted_since_us),
        reply: Some(selector.reply.clone()).filter(|text| !text.is_empty()),
    })
}

/// An operator's domain.
pub(super) fn domain(text: &str) -> Result<Domain, Status> {
    text.parse().map_err(|error| Status::invalid_argument(format!("domain: {text:?}: {error}")))
}

/// An operator's route, as it is kept with recipients.
pub(super) fn route(text: &str) -> Result<Option<Box<str>>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let via: Via =
        text.parse().map_err(|expected| Status::invalid_argument(format!("via: {text:?}: {expected}")))?;
    Ok(Some(via.to_string().into()))
}

pub(super) fn asks_active(selector: &v1::Selector) -> bool {
    selector.state() == v1::RecipientState::StateActive
}

/// Whether a recipient of the message is in an attempt: what is due is.
pub(super) fn is_active(message: &QueuedMessage, now: Micros) -> bool {
    message.recipients.iter().any(|recipient| state(recipient, now) == v1::RecipientState::StateActive)
}

fn state(recipient: &QueuedRecipient, now: Micros) -> v1::RecipientState {
    match recipient.state {
        RecipientState::Waiting if recipient.next_attempt_at <= now => v1::RecipientState::StateActive,
        RecipientState::Waiting => v1::RecipientState::StateWaiting,
        RecipientState::Held => v1::RecipientState::StateHeld,
        RecipientState::Done => v1::RecipientState::StateDelivered,
        RecipientState::Failed | RecipientState::Bounced => v1::RecipientState::StateFailed,
    }
}

pub(super) fn message(message: QueuedMessage, now: Micros) -> v1::QueuedMessage {
    let recipient = |recipient: QueuedRecipient| {
        let state = state(&recipient, now).into();
        let (last_reply, last_host, last_attempt_us) = match recipient.last {
            Some(last) => (Some(last.reply.into()), last.host, last.at),
            None => (None, String::new(), 0),
        };
        v1::QueuedRecipient {
            address: recipient.address.to_string(),
            state,
            attempts: recipient.attempts,
            next_attempt_us: recipient.next_attempt_at,
            last_reply,
            last_host,
            last_attempt_us,
            route: recipient.route.map(String::from).unwrap_or_default(),
            original: recipient.original.unwrap_or_default(),
        }
    };
    v1::QueuedMessage {
        queue_id: message.id.to_string(),
        trace_id: message.trace_id.to_string(),
        sender: message.reverse_path.to_string(),
        size: message.size_octets,
        accepted_us: message.accepted_at,
        expires_us: message.expires_at,
        recipients: message.recipients.into_iter().map(recipient).collect(),
    }
}

pub(super) fn status(error: &StoreError) -> Status {
    match error {
        StoreError::NotFound(_) => Status::not_found(error.to_string()),
        StoreError::Exists(_) => Status::already_exists(error.to_string()),
        StoreError::Invalid(_) => Status::invalid_argument(error.to_string()),
        StoreError::Stale(_) => Status::aborted(error.to_string()),
        StoreError::OverQuota { .. } => Status::resource_exhausted(error.to_string()),
        StoreError::Unavailable(_) => Status::unavailable(error.to_string()),
        StoreError::Damaged(_) => Status::data_loss(error.to_string()),
    }
}
