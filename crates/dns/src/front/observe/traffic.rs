//! The traffic as it is told to those who watch: once a second, totals that are exact, and of a sample the most frequent
//! names and clients and how long answers take.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use postroad_service::{Clock, Drain};
use postroad_types::limits::{DNS_SAMPLES_PER_SECOND, DNS_TOP_PLACES_MAX};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::top::{Latencies, Most};
use super::{How, Seen, Shared};
use crate::front::Transport;
use crate::front::counters::Counters;
use crate::wire::{Name, Rtype};

const EVERY: Duration = Duration::from_secs(1);
/// Samples that are taken up at a time.
const BATCH: usize = 256;

/// Something that is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    /// Since the start.
    pub total: u64,
    /// In the last second or so.
    pub per_second: f64,
}

/// A part of the traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Share<T> {
    pub what: T,
    pub per_second: f64,
}

/// A look at the traffic.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub at: SystemTime,
    /// By transport and mnemonic of the response code; those that never happened are left out.
    pub answers: Vec<(Transport, &'static str, Count)>,
    /// Answers that went out again as they went out before.
    pub kept: Count,
    /// Answers that the resolver's cache held.
    pub cache_hits: Count,
    /// Questions that other servers were asked for.
    pub asked: Count,
    pub limited: Count,
    pub dropped: Count,
    /// Of what follows: one question in so many was looked at.
    pub one_in: u32,
    /// Time within which half, nine in ten and 99 in 100 were answered, and the longest.
    pub took: [Duration; 4],
    pub names: Vec<Share<(Name, Rtype)>>,
    pub clients: Vec<Share<IpAddr>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        let none = Count::default();
        Snapshot {
            at: SystemTime::UNIX_EPOCH,
            answers: Vec::new(),
            kept: none,
            cache_hits: none,
            asked: none,
            limited: none,
            dropped: none,
            one_in: 1,
            took: [Duration::ZERO; 4],
            names: Vec::new(),
            clients: Vec::new(),
        }
    }
}

/// Puts together what was seen.
#[derive(Debug)]
pub struct Teller {
    shared: Arc<Shared>,
    seen: mpsc::Receiver<Seen>,
    clock: Arc<dyn Clock>,
    names: Most<(Name, Rtype)>,
    clients: Most<IpAddr>,
    latencies: Latencies,
    before: Snapshot,
    told: Instant,
}

impl Teller {
    pub(super) fn new(shared: Arc<Shared>, seen: mpsc::Receiver<Seen>, clock: Arc<dyn Clock>) -> Self {
        let places = DNS_TOP_PLACES_MAX;
        Teller {
            shared,
            seen,
            clock,
            names: Most::new(places),
            clients: Most::new(places),
            latencies: Latencies::new(),
            before: Snapshot::default(),
            told: Instant::now(),
        }
    }

    /// Tells the metrics and the watchers, until the drain begins.
    pub(in crate::front) async fn run(mut self, counters: Arc<Counters>, drain: Drain) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = drain.stopping() => break,
                _ = tick.tick() => self.tell(&counters),
                _ = self.seen.recv_many(&mut batch, BATCH) => batch.drain(..).for_each(|seen| self.take_up(seen)),
            }
        }
        counters.tell();
    }

    fn take_up(&mut self, seen: Seen) {
        if matches!(seen.how, How::Kept | How::Made | How::Asked) {
            self.latencies.count(seen.took);
        }
        self.names.count((seen.name, seen.rtype));
        self.clients.count(seen.client.to_canonical());
    }

    fn tell(&mut self, counters: &Counters) {
        counters.tell();
        let seconds = self.told.elapsed().as_secs_f64();
        self.told = Instant::now();
        let stride = self.shared.stride.load(Ordering::Relaxed);
        let snapshot = self.look(counters, seconds, stride);
        if self.shared.watchers.load(Ordering::Relaxed) > 0 {
            let passed: f64 = snapshot.answers.iter().map(|(_, _, count)| count.per_second).sum();
            let fitting = (passed / f64::from(DNS_SAMPLES_PER_SECOND)).ceil().max(1.0) as u32;
            // Whoever went meanwhile has set it to 0.
            let _ =
                self.shared.stride.compare_exchange(stride, fitting, Ordering::Relaxed, Ordering::Relaxed);
        } else {
            self.names.forget();
            self.clients.forget();
        }
        self.before = snapshot.clone();
        self.shared.snapshots.send_replace(Arc::new(snapshot));
    }

    fn look(&mut self, counters: &Counters, seconds: f64, stride: u32) -> Snapshot {
        let rate = |total: u64, before: u64| Count {
            total,
            per_second: total.saturating_sub(before) as f64 / seconds.max(0.001),
        };
        let before = |transport: Transport, rcode: &str| {
            let known = self.before.answers.iter().find(|known| known.0 == transport && known.1 == rcode);
            known.map_or(0, |(_, _, count)| count.total)
        };
        let answers = counters.answers().filter(|(_, _, total)| *total > 0);
        let answers = answers
            .map(|(transport, rcode, total)| (transport, rcode, rate(total, before(transport, rcode))));
        let answers = answers.collect();
        let latencies = std::mem::replace(&mut self.latencies, Latencies::new());
        let weight = f64::from(stride.max(1));
        Snapshot {
            at: self.clock.now(),
            answers,
            kept: rate(counters.kept.total(), self.before.kept.total),
            cache_hits: rate(counters.cache_hits.total(), self.before.cache_hits.total),
            asked: rate(counters.asked.total(), self.before.asked.total),
            limited: rate(counters.limited.total(), self.before.limited.total),
            dropped: rate(counters.dropped.total(), self.before.dropped.total),
            one_in: stride.max(1),
            took: [latencies.within(0.5), latencies.within(0.9), latencies.within(0.99), latencies.longest()],
            names: shares(self.names.after(seconds, weight)),
            clients: shares(self.clients.after(seconds, weight)),
        }
    }
}

fn shares<T>(most: Vec<(T, f64)>) -> Vec<Share<T>> {
    most.into_iter().map(|(what, per_second)| Share { what, per_second }).collect()
}
