//! Lists of messages and destinations, made in steps so that nobody waits long for the table.

use std::collections::HashMap;

use crate::spool::{AGE_MINUTES, DestinationCount, Filter, Micros, QueuedMessage, RecipientState};
use postroad_types::{Host, Reply};

/// Messages looked at in one step of a list.
pub const SCAN_STEP: usize = 2048;

/// A step of a list.
#[derive(Debug)]
pub struct Page<T> {
    pub found: Vec<T>,
    /// Where the next step goes on; `None` at the end.
    pub rest: Option<postroad_types::QueueId>,
}

/// Whether a message fits a filter: its id and sender do, and one recipient has all that is asked of one.
pub fn fits(filter: &Filter, message: &QueuedMessage) -> bool {
    if !filter.ids.is_empty() && !filter.ids.contains(&message.id) {
        return false;
    }
    if filter.sender.as_ref().is_some_and(|sender| *sender != message.reverse_path) {
        return false;
    }
    if filter.accepted_before.is_some_and(|bound| message.accepted_at >= bound)
        || filter.accepted_since.is_some_and(|bound| message.accepted_at < bound)
    {
        return false;
    }
    let Filter { recipient, domain, state, reply, .. } = filter;
    if recipient.is_none() && domain.is_none() && state.is_none() && reply.is_none() {
        return true;
    }
    message.recipients.iter().any(|recipient| {
        filter.recipient.as_ref().is_none_or(|address| *address == recipient.address)
            && filter.state.is_none_or(|state| state == recipient.state)
            && filter
                .domain
                .as_ref()
                .is_none_or(|domain| !recipient.state.is_final() && is_at(&recipient.address.host, domain))
            && filter.reply.as_ref().is_none_or(|text| {
                let last = recipient.last.as_ref().filter(|_| !recipient.state.is_final());
                last.is_some_and(|last| contains(&last.reply.to_string(), text))
            })
    })
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

fn is_at(host: &Host, name: &str) -> bool {
    match host {
        Host::Domain(domain) => domain.ascii() == name,
        literal => literal.to_string() == name,
    }
}

/// Counts recipients by destination, message after message.
#[derive(Debug)]
pub struct DestinationTally {
    now: Micros,
    domains: HashMap<String, Tally>,
}

#[derive(Debug)]
struct Tally {
    recipients: u64,
    held: u64,
    ages: [u64; AGE_MINUTES.len() + 1],
    oldest_at: Micros,
    next_attempt_at: Option<Micros>,
    last: Option<(Micros, Reply)>,
}

impl DestinationTally {
    /// Ages are counted at `now`.
    pub fn new(now: Micros) -> Self {
        DestinationTally { now, domains: HashMap::new() }
    }

    pub fn add(&mut self, message: &QueuedMessage) {
        let minutes = self.now.saturating_sub(message.accepted_at).max(0).unsigned_abs() / 60_000_000;
        let age = AGE_MINUTES.iter().position(|bound| minutes < *bound).unwrap_or(AGE_MINUTES.len());
        for recipient in message.recipients.iter().filter(|r| !r.state.is_final()) {
            let domain = match &recipient.address.host {
                Host::Domain(domain) => domain.ascii().to_owned(),
                literal => literal.to_string(),
            };
            let tally = self.domains.entry(domain).or_insert(Tally {
                recipients: 0,
                held: 0,
                ages: [0; AGE_MINUTES.len() + 1],
                oldest_at: message.accepted_at,
                next_attempt_at: None,
                last: None,
            });
            tally.recipients += 1;
            if let Some(count) = tally.ages.get_mut(age) {
                *count += 1;
            }
            tally.oldest_at = tally.oldest_at.min(message.accepted_at);
            if recipient.state == RecipientState::Held {
                tally.held += 1;
            } else {
                let at = recipient.next_attempt_at;
                tally.next_attempt_at = Some(tally.next_attempt_at.map_or(at, |other| other.min(at)));
            }
            if let Some(last) = &recipient.last
                && tally.last.as_ref().is_none_or(|(at, _)| *at <= last.at)
            {
                tally.last = Some((last.at, last.reply.clone()));
            }
        }
    }

    /// The longest lists first. A destination of which all is held has `Micros::MAX` as its next attempt.
    pub fn finish(self) -> Vec<DestinationCount> {
        let count = |(domain, tally): (String, Tally)| DestinationCount {
            domain,
            recipients: tally.recipients,
            held: tally.held,
            ages: tally.ages,
            oldest_at: tally.oldest_at,
            next_attempt_at: tally.next_attempt_at.unwrap_or(Micros::MAX),
            last_reply: tally.last.map(|(_, reply)| reply),
        };
        let mut all: Vec<_> = self.domains.into_iter().map(count).collect();
        all.sort_by(|a, b| b.recipients.cmp(&a.recipients).then_with(|| a.domain.cmp(&b.domain)));
        all
    }
}
