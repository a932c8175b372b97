//! What one client may have of the resolver: questions that others must be asked for, a second and at a time. So that one
//! that asks for random names (by itself, or as somebody's tool) leaves the others their share.
//!
//! What the cache answers is not counted. A client is an IPv4 address or an IPv6 /64 for what waits, a network (/24, /56)
//! for the rate.
//!
//! Behind loopback are all programs of this machine, the mail roles too. Of all places, clients that are not counted, as
//! these, have three quarters at most, and all others together the same: a mail queue that looks up thousands of hosts
//! leaves others a quarter, and no crowd of others stops the mail.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::limit::{Allowance, RateLimit};
use super::{Engine, Recursion};

/// Whose questions are being worked on.
#[derive(Debug, Default)]
struct Waiting {
    /// Questions that wait, for each client that has some: no more clients than questions.
    clients: HashMap<IpAddr, usize>,
    /// Those of all counted clients, and of all that are not.
    counted: usize,
    uncounted: usize,
}

/// The clients whose questions are being worked on.
#[derive(Debug)]
pub(super) struct Shares {
    waiting: Mutex<Waiting>,
    /// Questions of one client.
    of_client: usize,
    /// Questions of all counted clients, and of all that are not.
    of_side: usize,
    rate: Option<RateLimit>,
}

/// A question that waits. Its client may have another one when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shares: Arc<Shares>,
    client: IpAddr,
    counted: bool,
}

impl Shares {
    /// As the recursion says; without any nobody has a place.
    pub fn new(recursion: Option<&Recursion>) -> Arc<Self> {
        Arc::new(recursion.map_or_else(
            || Self::bounded(0, 0, 0),
            |recursion| {
                Self::bounded(recursion.waiting_max, recursion.waiting_per_client, recursion.per_second)
            },
        ))
    }

    fn bounded(waiting_max: usize, of_client: usize, per_second: u32) -> Self {
        let rate = (per_second > 0).then(|| RateLimit::new(per_second));
        Self { waiting: Mutex::default(), of_client, of_side: waiting_max - waiting_max / 4, rate }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a question against the rate of its network; `now` is the time since any fixed moment.
    pub fn allowance(&self, client: IpAddr, now: Duration) -> Allowance {
        self.rate.as_ref().map_or(Allowance::Send, |rate| rate.count(client, now))
    }

    /// A place for a question of a client; `None`: it, or all like it, have as many as they may.
    pub fn place(self: &Arc<Self>, client: IpAddr, counted: bool) -> Option<Place> {
        let client = of(client);
        let mut waiting = self.lock();
        let waiting = &mut *waiting;
        let side = if counted { &mut waiting.counted } else { &mut waiting.uncounted };
        let count = waiting.clients.get(&client).copied().unwrap_or_default();
        if *side >= self.of_side || count >= self.of_client {
            return None;
        }
        *side += 1;
        waiting.clients.insert(client, count + 1);
        Some(Place { shares: Arc::clone(self), client, counted })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.shares.lock();
        let waiting = &mut *waiting;
        let side = if self.counted { &mut waiting.counted } else { &mut waiting.uncounted };
        *side = side.saturating_sub(1);
        let left = waiting.clients.get_mut(&self.client).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            waiting.clients.remove(&self.client);
        }
    }
}

impl Engine {
    fn is_uncounted(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.settings.uncounted.iter().any(|network| network.contains(&client))
    }

    /// A place for a question that others must be asked for.
    pub(super) fn place(&self, client: IpAddr) -> Option<Place> {
        self.shares.place(client, !self.is_uncounted(client))
    }

    /// Whether others may be asked for `client`: who is not counted may always.
    pub(super) fn asking(&self, client: IpAddr) -> Allowance {
        if self.is_uncounted(client) {
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
        let shares = Arc::new(Shares::bounded(100, 3, 0));
        let place = |client: &str| shares.place(client.parse().unwrap(), true);
        let held: Vec<Place> = (0..10).filter_map(|_| place("192.0.2.1")).collect();
        assert_eq!(held.len(), 3);
        assert!(place("192.0.2.2").is_some() && place("::ffff:192.0.2.1").is_none());
        drop(held);
        assert!(place("192.0.2.1").is_some());
        assert!(shares.lock().clients.is_empty(), "nobody is remembered who has nothing waiting");
        let held: Vec<Place> = (0..10).filter_map(|last| place(&format!("2001:db8::{last}"))).collect();
        assert_eq!(held.len(), 3, "a /64 is one client");
    }

    #[test]
    fn neither_this_machine_nor_all_others_take_every_place() {
        let shares = Arc::new(Shares::bounded(8, 4, 0));
        let crowd = |shares: &Arc<Shares>| -> Vec<Place> {
            let clients = (0..100).map(|last| IpAddr::from([192, 0, 2, last]));
            clients.filter_map(|client| shares.place(client, true)).collect()
        };
        let machine = |shares: &Arc<Shares>| -> Vec<Place> {
            let clients = (0..100).map(|last| IpAddr::from([127, 0, 0, last]));
            clients.filter_map(|client| shares.place(client, false)).collect()
        };
        let others = crowd(&shares);
        assert_eq!(
            (others.len(), machine(&shares).len()),
            (6, 6),
            "places are free again when they are left"
        );
        drop(others);
        let own = machine(&shares);
        assert_eq!((own.len(), crowd(&shares).len()), (6, 6));
        drop(own);
        let waiting = shares.lock();
        assert_eq!((waiting.counted, waiting.uncounted, waiting.clients.len()), (0, 0, 0));
    }

    #[test]
    fn the_rate_is_a_networks() {
        let shares = Shares::bounded(100, 100, 10);
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
