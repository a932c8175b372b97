//! Who guesses passwords waits longer and longer.
//!
//! Failures are counted for each account name, whether it exists or not, and for each network that they come from
//! (/24 of IPv4, /64 of IPv6). A failure is answered after a time that doubles with each one, and a network with
//! many of them waits before it is even looked at. A success of an account forgets its failures, not the
//! network's: one good password does not pay for a thousand bad ones.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Of the first failure's answer.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// So many failures of a network are a person's bad day.
const NETWORK_FREE: u32 = 10;
/// A failure is forgotten after so long without another one.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
/// Names and networks that are remembered; the oldest go first.
const ENTRIES_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Account(String),
    Network(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Duration,
}

#[derive(Debug, Default)]
pub struct Throttle {
    failures: Mutex<HashMap<Key, Failures>>,
}

impl Throttle {
    /// How long a try from there waits before it is looked at. `now` is monotonic.
    pub fn before(&self, from: Option<IpAddr>, now: Duration) -> Duration {
        let Some(ip) = from else { return Duration::ZERO };
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count(&failures, &Key::Network(network(ip)), now);
        if count > NETWORK_FREE { growing(count - NETWORK_FREE) } else { Duration::ZERO }
    }

    /// Counts a failure; returns how long its answer waits.
    pub fn failed(&self, account: &str, from: Option<IpAddr>, now: Duration) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut longest = 0;
        let keys = [Some(Key::Account(account.to_lowercase())), from.map(network).map(Key::Network)];
        for (key, free) in keys.into_iter().zip([0, NETWORK_FREE]) {
            let Some(key) = key else { continue };
            let so_far = count(&failures, &key, now);
            failures.insert(key, Failures { count: so_far.saturating_add(1), last: now });
            longest = longest.max((so_far + 1).saturating_sub(free));
        }
        if failures.len() > ENTRIES_MAX {
            forget_oldest(&mut failures, now);
        }
        growing(longest)
    }

    pub fn succeeded(&self, account: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&Key::Account(account.to_lowercase()));
    }
}

fn count(failures: &HashMap<Key, Failures>, key: &Key, now: Duration) -> u32 {
    match failures.get(key) {
        Some(found) if now.saturating_sub(found.last) < FORGOTTEN => found.count,
        _ => 0,
    }
}

fn growing(count: u32) -> Duration {
    if count == 0 {
        return Duration::ZERO;
    }
    FIRST.saturating_mul(1 << (count - 1).min(16)).min(LONGEST)
}

/// The forgotten ones, and then the older half of the rest.
fn forget_oldest(failures: &mut HashMap<Key, Failures>, now: Duration) {
    failures.retain(|_, found| now.saturating_sub(found.last) < FORGOTTEN);
    if failures.len() <= ENTRIES_MAX {
        return;
    }
    let mut times: Vec<Duration> = failures.values().map(|found| found.last).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    failures.retain(|_, found| found.last > median);
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4) & !0xff)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(1000);

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn failures_of_an_account_wait_longer_and_are_forgotten() {
        let throttle = Throttle::default();
        let waits: Vec<Duration> = (0..4).map(|_| throttle.failed("Bob@beta.test", None, T0)).collect();
        assert_eq!(waits, [FIRST, FIRST * 2, FIRST * 4, FIRST * 8]);
        assert_eq!(throttle.failed("bob@beta.test", None, T0 + FORGOTTEN), FIRST);
        throttle.succeeded("bob@beta.test");
        assert_eq!(throttle.failed("bob@beta.test", None, T0 + FORGOTTEN), FIRST);
        for _ in 0..100 {
            throttle.failed("erin@beta.test", None, T0);
        }
        assert_eq!(throttle.failed("erin@beta.test", None, T0), LONGEST);
    }

    #[test]
    fn a_network_that_tries_many_names_waits_before_it_is_looked_at() {
        let throttle = Throttle::default();
        for n in 0..NETWORK_FREE {
            assert_eq!(throttle.before(ip("192.0.2.1"), T0), Duration::ZERO, "{n}");
            throttle.failed(&format!("name{n}"), ip(&format!("192.0.2.{n}")), T0);
        }
        throttle.failed("another", ip("192.0.2.77"), T0);
        assert!(throttle.before(ip("192.0.2.200"), T0) > Duration::ZERO);
        assert_eq!(throttle.before(ip("198.51.100.1"), T0), Duration::ZERO);
        assert_eq!(network("2001:db8::1:2:3:4".parse().unwrap()), "2001:db8::".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..ENTRIES_MAX as u64 + 10 {
            throttle.failed(&n.to_string(), None, T0 + Duration::from_millis(n));
        }
        assert!(throttle.failures.lock().unwrap().len() <= ENTRIES_MAX);
    }
}
