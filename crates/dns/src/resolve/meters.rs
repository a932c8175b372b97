//! What the metrics are told of resolutions. The handles are had once: to look one up by its labels takes longer than to
//! find an answer in the cache.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};

use super::security::{Security, Unsigned};

#[derive(Debug)]
pub(super) struct Meters {
    pub hits: Counter,
    pub misses: Counter,
    pub overload: Counter,
    pub stale: Counter,
    pub prefetches: Counter,
    seconds: Histogram,
    /// By transport and result.
    asked: [[Counter; 2]; 2],
    /// By what validation said.
    validated: [(&'static str, Counter); 4],
}

impl Default for Meters {
    fn default() -> Self {
        let asked = |transport, result| counter!("postroad_dns_upstream_queries_total", "transport" => transport, "result" => result);
        let of_transport = |transport| [asked(transport, "failed"), asked(transport, "answered")];
        let securities =
            [Security::Secure, Security::Insecure(Unsigned::NoDs), Security::Indeterminate, Security::Bogus];
        let validated = |security: Security| {
            let word = security.word();
            (word, counter!("postroad_dns_validations_total", "result" => word))
        };
        Self {
            hits: counter!("postroad_dns_cache_hits_total"),
            misses: counter!("postroad_dns_cache_misses_total"),
            overload: counter!("postroad_dns_overload_total"),
            stale: counter!("postroad_dns_stale_answers_total"),
            prefetches: counter!("postroad_dns_prefetches_total"),
            seconds: histogram!("postroad_dns_resolution_seconds"),
            asked: ["udp", "tcp"].map(of_transport),
            validated: securities.map(validated),
        }
    }
}

impl Meters {
    /// A question for another server.
    pub fn asked(&self, tcp: bool, answered: bool) {
        let [udp_counters, tcp_counters] = &self.asked;
        let [failed, good] = if tcp { tcp_counters } else { udp_counters };
        if answered { good } else { failed }.increment(1);
    }

    /// A resolution that ended.
    pub fn resolved(&self, took: Duration, security: Option<Security>) {
        self.seconds.record(took);
        let of = |security: Security| self.validated.iter().find(|(word, _)| *word == security.word());
        if let Some((_, counter)) = security.and_then(of) {
            counter.increment(1);
        }
    }

    /// How full the cache is.
    pub fn cache(&self, octets: usize, names: usize) {
        gauge!("postroad_dns_cache_octets").set(octets as f64);
        gauge!("postroad_dns_cache_names").set(names as f64);
    }
}
