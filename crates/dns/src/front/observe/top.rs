//! Much seen in little memory: what comes most often, and how long answers take.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Counts what is there most often, in a table of fixed size (Misra and Gries): a thing that makes up more than one in
/// so many as the table has places is in it, and is counted too low by no more than that share.
#[derive(Debug)]
struct Frequent<T> {
    counts: HashMap<T, u32>,
    places: usize,
}

impl<T: Hash + Eq> Frequent<T> {
    fn new(places: usize) -> Self {
        Self { counts: HashMap::with_capacity(places), places }
    }

    fn count(&mut self, thing: T) {
        if let Some(count) = self.counts.get_mut(&thing) {
            *count += 1;
        } else if self.counts.len() < self.places {
            self.counts.insert(thing, 1);
        } else {
            // Each that is taken down has been counted up before, so this costs no more than counting.
            self.counts.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// What was counted since it was asked last.
    fn take(&mut self) -> impl Iterator<Item = (T, u32)> + '_ {
        self.counts.drain()
    }
}

/// How often things come, as a mean that forgets what is long over.
#[derive(Debug)]
struct Rates<T> {
    per_second: HashMap<T, f64>,
    places: usize,
}

/// What is left of a rate after a second: half of it after three.
const LEFT_AFTER_A_SECOND: f64 = 0.8;
/// A rate that is as good as none.
const NOTHING: f64 = 0.01;

impl<T: Hash + Eq + Clone> Rates<T> {
    fn new(places: usize) -> Self {
        Self { per_second: HashMap::new(), places }
    }

    /// Takes up what was counted in the last `seconds`, each of which stands for `weight`.
    fn take_up(&mut self, counted: impl Iterator<Item = (T, u32)>, seconds: f64, weight: f64) {
        let left = LEFT_AFTER_A_SECOND.powf(seconds);
        self.per_second.values_mut().for_each(|rate| *rate *= left);
        for (thing, count) in counted {
            *self.per_second.entry(thing).or_default() +=
                f64::from(count) * weight / seconds.max(0.001) * (1.0 - left);
        }
        self.per_second.retain(|_, rate| *rate > NOTHING);
        if self.per_second.len() > self.places {
            let least = self.most(self.places).last().map_or(0.0, |(_, rate)| *rate);
            self.per_second.retain(|_, rate| *rate >= least);
        }
    }

    /// The most frequent, the first of them first.
    fn most(&self, number: usize) -> Vec<(T, f64)> {
        let mut all: Vec<(&T, f64)> = self.per_second.iter().map(|(thing, rate)| (thing, *rate)).collect();
        all.sort_by(|left, right| right.1.total_cmp(&left.1));
        all.into_iter().take(number).map(|(thing, rate)| (thing.clone(), rate)).collect()
    }
}

/// The most frequent things, as they come and as a mean.
#[derive(Debug)]
pub(super) struct Most<T> {
    fresh: Frequent<T>,
    rates: Rates<T>,
}

impl<T: Hash + Eq + Clone> Most<T> {
    pub(super) fn new(places: usize) -> Self {
        Self { fresh: Frequent::new(places), rates: Rates::new(places) }
    }

    pub(super) fn count(&mut self, thing: T) {
        self.fresh.count(thing);
    }

    /// The most frequent and how often they come in a second, after `seconds` in which each that was counted stands
    /// for `weight`.
    pub(super) fn after(&mut self, seconds: f64, weight: f64) -> Vec<(T, f64)> {
        self.rates.take_up(self.fresh.take(), seconds, weight);
        self.rates.most(self.rates.places)
    }

    pub(super) fn forget(&mut self) {
        self.rates.per_second.clear();
    }
}

/// Places for each doubling of time.
const PER_DOUBLING: u32 = 4;
/// Up to a quarter of a minute.
const PLACES: usize = 24 * PER_DOUBLING as usize;

/// How long things took, to a fifth of the time itself.
#[derive(Debug)]
pub(super) struct Latencies {
    counts: [u64; PLACES],
    longest: Duration,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self { counts: [0; PLACES], longest: Duration::ZERO }
    }

    pub(super) fn count(&mut self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        let place = (micros.max(1.0).log2() * f64::from(PER_DOUBLING)) as usize;
        if let Some(count) = self.counts.get_mut(place.min(PLACES - 1)) {
            *count += 1;
        }
        self.longest = self.longest.max(took);
    }

    /// The time within which this share of them was done; zero when there was none.
    pub(super) fn within(&self, share: f64) -> Duration {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                let micros = 2f64.powf((place + 1) as f64 / f64::from(PER_DOUBLING));
                return Duration::from_secs_f64(micros / 1e6).min(self.longest);
            }
        }
        Duration::ZERO
    }

    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_stays_whatever_passes_by() {
        let mut frequent = Frequent::new(10);
        for passing in 0..10_000u32 {
            frequent.count(passing + 100);
            if passing % 4 == 0 {
                frequent.count(1);
            }
            if passing % 5 == 0 {
                frequent.count(2);
            }
        }
        assert!(frequent.counts.len() <= 10);
        let counts: HashMap<u32, u32> = frequent.take().collect();
        // 14500 in all: counted too low by a tenth of that at most.
        assert!((1050..=2500).contains(&counts[&1]) && (550..=2000).contains(&counts[&2]), "{counts:?}");
        assert_eq!(frequent.take().count(), 0);
    }

    #[test]
    fn rates_rise_and_fall_and_few_are_kept() {
        let mut rates = Rates::new(3);
        for _ in 0..40 {
            rates.take_up([("a", 10), ("b", 5), ("c", 4), ("d", 1)].into_iter(), 1.0, 2.0);
        }
        let most = rates.most(2);
        assert_eq!((most[0].0, most[1].0), ("a", "b"));
        assert!((most[0].1 - 20.0).abs() < 0.1 && (most[1].1 - 10.0).abs() < 0.1, "{most:?}");
        assert_eq!(rates.per_second.len(), 3);
        for _ in 0..60 {
            rates.take_up(std::iter::empty(), 1.0, 1.0);
        }
        assert!(rates.most(9).is_empty());
    }

    #[test]
    fn shares_of_times() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.within(0.5), Duration::ZERO);
        for micros in 1..=1000 {
            latencies.count(Duration::from_micros(micros));
        }
        latencies.count(Duration::from_secs(100));
        let near = |share: f64, micros: f64| {
            let seen = latencies.within(share).as_secs_f64() * 1e6;
            assert!((micros * 0.8..micros * 1.25).contains(&seen), "{share}: {seen}");
        };
        near(0.5, 500.0);
        near(0.9, 900.0);
        near(0.99, 990.0);
        assert_eq!(latencies.longest(), Duration::from_secs(100));
    }
}
