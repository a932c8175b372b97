//! Messages and recipients in words, for people and for programs.

use postroad_rpc::v1;
use serde_json::json;

use crate::cli::table::{printable, span};

/// A sender, also the null one.
pub fn sender(message: &v1::QueuedMessage) -> &str {
    if message.sender.is_empty() { "<>" } else { &message.sender }
}

/// When the next attempt is made.
pub fn next(recipient: &v1::QueuedRecipient, now: i64) -> String {
    match recipient.state() {
        v1::RecipientState::StateWaiting if recipient.next_attempt_us <= now => "now".to_owned(),
        v1::RecipientState::StateWaiting => format!("in {}", span(recipient.next_attempt_us - now)),
        _ => "-".to_owned(),
    }
}

/// The last that was heard, and from whom.
pub fn last(recipient: &v1::QueuedRecipient) -> String {
    let Some(reply) = &recipient.last_reply else { return String::new() };
    format!("{} ({})", reply_line(reply), recipient.last_host)
}

/// A reply on one line.
pub fn reply_line(reply: &v1::Reply) -> String {
    let text = printable(&reply.text);
    let parts = [reply.code.to_string(), reply.enhanced.clone(), text];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

pub fn state(recipient: &v1::QueuedRecipient) -> &'static str {
    match recipient.state() {
        v1::RecipientState::StateAny => "?",
        v1::RecipientState::StateWaiting => "waiting",
        v1::RecipientState::StateActive => "active",
        v1::RecipientState::StateHeld => "held",
        v1::RecipientState::StateDelivered => "delivered",
        v1::RecipientState::StateFailed => "failed",
    }
}

pub fn message_json(message: &v1::QueuedMessage) -> serde_json::Value {
    let recipient = |recipient: &v1::QueuedRecipient| {
        json!({
            "address": recipient.address,
            "original": recipient.original,
            "state": state(recipient),
            "route": recipient.route,
            "attempts": recipient.attempts,
            "next_attempt_us": recipient.next_attempt_us,
            "last_reply": recipient.last_reply.as_ref().map(reply_line),
            "last_host": recipient.last_host,
            "last_attempt_us": recipient.last_attempt_us,
        })
    };
    let recipients: Vec<_> = message.recipients.iter().map(recipient).collect();
    json!({
        "queue_id": message.queue_id, "trace_id": message.trace_id, "sender": message.sender, "size": message.size,
        "accepted_us": message.accepted_us, "expires_us": message.expires_us, "recipients": recipients,
    })
}
