//! What is counted of requests and answers.

use metrics::{Counter, counter};

use super::Transport;

/// Handles of the counters, so that counting costs one addition.
#[derive(Debug)]
pub(super) struct Counters {
    /// By transport, then by response code.
    answers: Vec<Vec<Counter>>,
    pub(super) cache_hits: Counter,
    pub(super) dropped: Counter,
    pub(super) limited: Counter,
}

const RCODES: [&str; 7] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other"];

impl Counters {
    pub(super) fn new() -> Self {
        let by_rcode = |transport: &'static str| {
            let counter =
                |rcode| counter!("postroad_dns_queries_total", "transport" => transport, "rcode" => rcode);
            RCODES.iter().map(|rcode| counter(*rcode)).collect()
        };
        Self {
            answers: Transport::ALL.iter().map(|transport| by_rcode(transport.name())).collect(),
            cache_hits: counter!("postroad_dns_cache_hits_total"),
            dropped: counter!("postroad_dns_dropped_total"),
            limited: counter!("postroad_dns_rate_limited_total"),
        }
    }

    pub(super) fn count(&self, transport: Transport, rcode: u16) {
        let counters = self.answers.get(transport as usize);
        let place = usize::from(rcode).min(RCODES.len() - 1);
        if let Some(counter) = counters.and_then(|counters| counters.get(place)) {
            counter.increment(1);
        }
    }
}
