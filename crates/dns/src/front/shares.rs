//! What one client may have of the resolver: questions that others must be asked for, a second and at a time. So that one
//! that asks for random names (by itself, or as somebody's tool) leaves the others their share.
//!
//! What the cache answers is not counted. A client is an IPv4 address or an IPv6 /64 for what waits, a network (/24, /56)
//! for the rate.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::limit::{Allowance, RateLimit};
use super::{Engine, Recursion};

/// The clients whose questions are being worked on.
#[derive(Debug)]
pub(super) struct Shares {
    /// Questions that wait, for each client that has some: no more clients than questions.
    waiting: Mutex<HashMap<IpAddr, usize>>,
    waiting_max: usize,
    rate: Option<RateLimit>,
}

/// A question that waits. Its client may have another one when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    /// As the recursion says; without any nobody has a place.
    pub fn new(recursion: Option<&Recursion>) -> Arc<Self> {
        let (waiting_max, per_second) =
            recursion.map_or((0, 0), |recursion| (recursion.waiting_per_client, recursion.per_second));
        Arc::new(Self::bounded(waiting_max, per_second))
    }

    fn bounded(waiting_max: usize, per_second: u32) -> Self {
        let rate = (per_second > 0).then(|| RateLimit::new(per_second));
        Self { waiting: Mutex::default(), waiting_max, rate }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a question against the rate of its network; `now` is the time since any fixed moment.
    pub fn allowance(&self, client: IpAddr, now: Duration) -> Allowance {
        self.rate.as_ref().map_or(Allowance::Send, |rate| rate.count(client, now))
    }

    /// A place for a question of `client`; `None`: it has as many as it may.
    pub fn place(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = of(client);
        let mut waiting = self.lock();
        let count = waiting.entry(client).or_default();
        if *count >= self.waiting_max {
            return None;
        }
        *count += 1;
        Some(Place { shares: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.shares.lock();
        let left = waiting.get_mut(&self.client).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            waiting.remove(&self.client);
        }
    }
}

impl Engine {
    /// Whether others may be asked for `client`: who is not counted may always.
    pub(super) fn asking(&self, client: IpAddr) -> Allowance {
        if self.settings.uncounted.iter().any(|network| network.contains(&client.to_canonical())) {
            return Allowance::Send;
        }
        let allowance = self.shares.allowance(client, self.started.elapsed());
        if allowance != Allowance::Send {
            self.counters.limited.add();
        }
        allowance
    }
}

fn of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_does_not_take_the_places_of_others() {
        let shares = Arc::new(Shares::bounded(3, 0));
        let place = |client: &str| shares.place(client.parse().unwrap());
        let held: Vec<Place> = (0..10).filter_map(|_| place("192.0.2.1")).collect();
        assert_eq!(held.len(), 3);
        assert!(place("192.0.2.2").is_some() && place("::ffff:192.0.2.1").is_none());
        drop(held);
        assert!(place("192.0.2.1").is_some());
        assert!(shares.lock().is_empty(), "nobody is remembered who has nothing waiting");
        let held: Vec<Place> = (0..10).filter_map(|last| place(&format!("2001:db8::{last}"))).collect();
        assert_eq!(held.len(), 3, "a /64 is one client");
    }

    #[test]
    fn the_rate_is_a_networks() {
        let shares = Shares::bounded(100, 10);
        let sent = |client: &str| {
            let client = client.parse().unwrap();
            let now = Duration::from_secs(100);
            (0..50).filter(|_| shares.allowance(client, now) == Allowance::Send).count()
        };
        assert!((20..=22).contains(&sent("192.0.2.1")));
        assert_eq!(sent("192.0.2.77"), 0);
        assert!((20..=22).contains(&sent("192.0.3.1")));
    }
}
