//! When to try again.

use std::time::Duration;

/// The retry time table: from `first` on the wait doubles with every attempt, up to `max`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The wait after an attempt; `before` attempts were made earlier. Up to a fifth of it is taken off by
    /// `chance`, so that what was deferred together does not come back together.
    pub fn wait(&self, before: u32, chance: &mut impl rand::RngExt) -> Duration {
        let doubled = self.first.checked_mul(1 << before.min(30)).unwrap_or(self.max);
        doubled.min(self.max).mul_f64(chance.random_range(0.8..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let backoff = Backoff { first: Duration::from_secs(60), max: Duration::from_secs(1800) };
        let mut chance = rand::rngs::StdRng::seed_from_u64(7);
        for (before, full) in [(0, 60), (1, 120), (2, 240), (4, 960), (5, 1800), (6, 1800), (u32::MAX, 1800)]
        {
            for _ in 0..50 {
                let wait = backoff.wait(before, &mut chance).as_secs_f64();
                assert!((0.8 * f64::from(full)..=f64::from(full)).contains(&wait), "{before}: {wait}");
            }
        }
    }
}
