//! How much in how long: the generic cell rate algorithm (ITU-T I.371), one number per key.
//!
//! For each key the limiter keeps the time at which all that was let through would have been shared out evenly.
//! A key may run ahead of the clock by the whole period: `600/1m` lets 600 through at once, and then ten a second.
//! Time is an input. A key whose time has come is forgotten at no loss; when too many are in mind, those that have
//! used least are.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

use postroad_config::Rate;
use postroad_types::limits::POLICY_RATE_KEYS_MAX;

/// One limit for many keys.
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    keys_max: usize,
    due: Mutex<HashMap<K, Duration>>,
}

impl<K: Hash + Eq + Clone> RateLimiter<K> {
    pub fn new(rate: Rate) -> Self {
        RateLimiter { rate, keys_max: POLICY_RATE_KEYS_MAX, due: Mutex::default() }
    }

    /// Lets one more of `key` through, or says how long it would have to wait. `now` never goes back.
    pub fn check(&self, key: &K, now: Duration) -> Result<(), Duration> {
        if self.rate.count == 0 {
            return Ok(());
        }
        let step = self.rate.per / self.rate.count;
        let Ok(mut due) = self.due.lock() else { return Ok(()) };
        let ahead = due.get(key).map_or(Duration::ZERO, |due| due.saturating_sub(now));
        if ahead + step > self.rate.per {
            return Err(ahead + step - self.rate.per);
        }
        if due.len() >= self.keys_max && !due.contains_key(key) {
            make_room(&mut due, now);
        }
        due.insert(key.clone(), now + ahead + step);
        Ok(())
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }
}

/// Forgets the keys whose time has come, and if that is not a quarter of all, those that have used least.
fn make_room<K: Hash + Eq>(due: &mut HashMap<K, Duration>, now: Duration) {
    let enough = due.len() - due.len() / 4;
    due.retain(|_, at| *at > now);
    if due.len() > enough {
        let mut times: Vec<Duration> = due.values().copied().collect();
        let at = times.len() / 4;
        let (_, least, _) = times.select_nth_unstable(at);
        let least = *least;
        due.retain(|_, at| *at > least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let limiter = RateLimiter::new(Rate::new(6, at(60)));
        for _ in 0..6 {
            assert_eq!(limiter.check(&"a", at(100)), Ok(()));
        }
        assert_eq!(limiter.check(&"a", at(100)), Err(at(10)));
        assert_eq!(limiter.check(&"b", at(100)), Ok(()), "others are not concerned");
        assert_eq!(limiter.check(&"a", at(109)), Err(at(1)));
        assert_eq!(limiter.check(&"a", at(110)), Ok(()));
        assert_eq!(limiter.check(&"a", at(110)), Err(at(10)), "who was refused has not used anything");
        for _ in 0..6 {
            assert_eq!(limiter.check(&"a", at(1000)), Ok(()));
        }
        assert!(limiter.check(&"a", at(1000)).is_err());
    }

    #[test]
    fn off_bounds_nothing_and_memory_is_bounded() {
        let off = RateLimiter::new(Rate::OFF);
        assert!((0..1000).all(|_| off.check(&1, at(0)).is_ok()));
        let limiter = RateLimiter { keys_max: 100, ..RateLimiter::new(Rate::new(2, at(60))) };
        limiter.check(&0, at(0)).unwrap();
        limiter.check(&0, at(0)).unwrap();
        for key in 1..1000 {
            limiter.check(&key, at(1)).unwrap();
            assert!(limiter.due.lock().unwrap().len() <= 100);
        }
        assert!(limiter.check(&0, at(1)).is_err(), "who has used most is kept in mind");
    }
}
