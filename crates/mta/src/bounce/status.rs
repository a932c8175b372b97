//! The part for programs: message/delivery-status (RFC 3464 §2).

use std::fmt::Write;

use postroad_types::{ByMode, EnhancedCode};

use super::{Action, Concerned, Notice, Original};
use crate::message::date;
use crate::queue::{EXPIRED, SELF};

/// A diagnostic's text is cut here, so that its line stays within 998 octets.
const DIAGNOSTIC_OCTETS_MAX: usize = 900;

/// The fields of the message, an empty line, the fields of each recipient with an empty line between.
pub(super) fn write(original: &Original<'_>, global: bool) -> String {
    let mut out = String::new();
    let mut field = |name: &str, value: &str| {
        let value = clean(value, global);
        // Writing to a String cannot fail.
        let _ = write!(out, "{name}: {value}\r\n");
    };
    let message = original.message;
    if let Some(id) = &message.envelope_id {
        field("Original-Envelope-Id", id);
    }
    field("Reporting-MTA", &format!("dns; {}", original.hostname.ascii()));
    field("Arrival-Date", &date::rfc5322(message.accepted_at));
    field("X-Postroad-Queue-Id", message.id.as_str());
    for concerned in original.recipients {
        out.push_str("\r\n");
        recipient(&mut out, original, concerned, global);
    }
    out
}

fn recipient(out: &mut String, original: &Original<'_>, concerned: &Concerned<'_>, global: bool) {
    let mut field = |name: &str, value: &str| {
        let value = clean(value, global);
        let _ = write!(out, "{name}: {value}\r\n");
    };
    let (recipient, attempt) = (concerned.recipient, concerned.attempt);
    let kind = |text: &str| if text.is_ascii() || !global { "rfc822" } else { "utf-8" };
    if let Some(given) = &recipient.original {
        // ORCPT comes with its type (RFC 3461 §4.2); the alias that we noted ourselves does not.
        if given.contains(';') {
            field("Original-Recipient", given);
        } else {
            field("Original-Recipient", &format!("{}; {given}", kind(given)));
        }
    }
    let address = recipient.address.to_string();
    field("Final-Recipient", &format!("{}; {address}", kind(&address)));
    field("Action", concerned.action.word());
    field("Status", &status(original, concerned).to_string());
    // "mx.beta.test [192.0.2.1]:25"
    match attempt.host.split_once(' ') {
        Some((name, _)) => {
            field("Remote-MTA", &format!("dns; {name}"));
            field("Diagnostic-Code", &format!("smtp; {}", attempt.reply));
        }
        None => {
            let who = if attempt.host == SELF { "X-Postroad" } else { "X-Postroad-mda" };
            field("Diagnostic-Code", &format!("{who}; {}", attempt.reply));
        }
    }
    field("Last-Attempt-Date", &date::rfc5322(attempt.at));
    if original.notice == Notice::Delayed {
        field("Will-Retry-Until", &date::rfc5322(original.message.expires_at));
    }
}

/// The status code: what the last host said, or made from its reply's class; 4.4.7 when time ran out.
fn status(original: &Original<'_>, concerned: &Concerned<'_>) -> EnhancedCode {
    let reply = &concerned.attempt.reply;
    if concerned.action == Action::Failed && reply.is_transient() {
        // RFC 2852 §4.1.3: who sets a time himself hears 5.4.7.
        let by = original.message.options.deliver_by;
        let class = if by.is_some_and(|by| by.mode == ByMode::Return) { 5 } else { EXPIRED.class };
        return EnhancedCode { class, ..EXPIRED };
    }
    let class = match concerned.action {
        Action::Failed => 5,
        Action::Delayed => 4,
        Action::Delivered | Action::Relayed | Action::Expanded => 2,
    };
    match reply.enhanced {
        Some(code) if code.class == class => code,
        _ => EnhancedCode::new(class, 0, 0),
    }
}

/// One line without control characters, in ASCII unless UTF-8 was agreed on, not too long.
fn clean(value: &str, global: bool) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if out.len() >= DIAGNOSTIC_OCTETS_MAX {
            break;
        }
        out.push(match c {
            c if c.is_control() => ' ',
            c if !global && !c.is_ascii() => '?',
            c => c,
        });
    }
    out
}
