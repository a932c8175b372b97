//! What is counted of requests and answers.
//!
//! Counting is one addition to a number of ours, which can be read; the metrics hear of it once a second.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, counter};

use super::Transport;

const RCODES: [&str; 7] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other"];

/// A number that only grows.
#[derive(Debug)]
pub(super) struct Tally {
    total: AtomicU64,
    /// What of it the metrics know.
    told: AtomicU64,
    metric: Counter,
}

impl Tally {
    fn new(metric: Counter) -> Self {
        Self { total: AtomicU64::new(0), told: AtomicU64::new(0), metric }
    }

    pub(super) fn add(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn tell(&self) {
        let total = self.total();
        self.metric.increment(total.saturating_sub(self.told.swap(total, Ordering::Relaxed)));
    }
}

#[derive(Debug)]
pub(super) struct Counters {
    /// By transport, then by response code.
    answers: Vec<[Tally; RCODES.len()]>,
    /// Answers that went out again as they went out before.
    pub(super) kept: Tally,
    /// Answers that the resolver's cache held.
    pub(super) cache_hits: Tally,
    /// Questions that other servers are asked for.
    pub(super) asked: Tally,
    pub(super) dropped: Tally,
    pub(super) limited: Tally,
}

impl Counters {
    pub(super) fn new() -> Self {
        let by_rcode = |transport: Transport| {
            let transport = transport.name();
            RCODES.map(|rcode| {
                Tally::new(counter!("postroad_dns_queries_total", "transport" => transport, "rcode" => rcode))
            })
        };
        Self {
            answers: Transport::ALL.into_iter().map(by_rcode).collect(),
            kept: Tally::new(counter!("postroad_dns_kept_answers_total")),
            cache_hits: Tally::new(counter!("postroad_dns_cache_hits_total")),
            asked: Tally::new(counter!("postroad_dns_asked_elsewhere_total")),
            dropped: Tally::new(counter!("postroad_dns_dropped_total")),
            limited: Tally::new(counter!("postroad_dns_rate_limited_total")),
        }
    }

    pub(super) fn count(&self, transport: Transport, rcode: u16) {
        let tallies = self.answers.get(transport as usize);
        let place = usize::from(rcode).min(RCODES.len() - 1);
        if let Some(tally) = tallies.and_then(|tallies| tallies.get(place)) {
            tally.add();
        }
    }

    /// Counts an answer that went out again.
    pub(super) fn count_kept(&self, transport: Transport, rcode: u16) {
        self.kept.add();
        self.count(transport, rcode);
    }

    /// All answers so far, by transport and response code.
    pub(super) fn answers(&self) -> impl Iterator<Item = (Transport, &'static str, u64)> {
        let by_transport = Transport::ALL.into_iter().zip(&self.answers);
        by_transport.flat_map(|(transport, tallies)| {
            RCODES.into_iter().zip(tallies).map(move |(rcode, tally)| (transport, rcode, tally.total()))
        })
    }

    /// Tells the metrics what has been counted.
    pub(super) fn tell(&self) {
        let others = [&self.kept, &self.cache_hits, &self.asked, &self.dropped, &self.limited];
        self.answers.iter().flatten().chain(others).for_each(Tally::tell);
    }
}

/// The mnemonic of a response code, as it is counted.
pub(super) fn rcode_name(rcode: u16) -> &'static str {
    RCODES.get(usize::from(rcode)).unwrap_or(&"other")
}
