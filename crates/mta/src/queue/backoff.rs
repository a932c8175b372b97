//! When to try again.

use std::time::Duration;

/// The retry time table: from `first` on the wait doubles with every attempt, up to `max`; and it is never longer
/// than the message is old, so that attempts that were put off for our own reasons do not count.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The wait after an attempt; `before` attempts were made earlier, of a message of this age. Up to a fifth of it
    /// is taken off by `chance`, so that what was deferred together does not come back together.
    pub fn wait(&self, before: u32, age: Duration, chance: &mut impl rand::RngExt) -> Duration {
        let doubled = self.first.checked_mul(1 << before.min(30)).unwrap_or(self.max);
        let wait = doubled.min(age.max(self.first)).min(self.max);
        wait.mul_f64(chance.random_range(0.8..=1.0))
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
                let wait = backoff.wait(before, Duration::MAX, &mut chance).as_secs_f64();
                assert!((0.8 * f64::from(full)..=f64::from(full)).contains(&wait), "{before}: {wait}");
            }
        }
    }

    #[test]
    fn a_young_message_is_tried_again_soon_however_often_it_was_put_off() {
        let backoff = Backoff { first: Duration::from_secs(60), max: Duration::from_secs(1800) };
        let mut chance = rand::rngs::StdRng::seed_from_u64(7);
        for (age, most) in [(0, 60), (200, 200), (86_400, 1800)] {
            assert!(backoff.wait(20, Duration::from_secs(age), &mut chance) <= Duration::from_secs(most));
        }
    }
}
