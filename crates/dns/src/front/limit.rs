//! Response rate limiting: answers over UDP go to an address that anybody may have written there, so no network gets
//! more of them in a second than its resolvers can want.
//!
//! Counted per client network (/24 and /56), whatever is answered: limits per name are got around by asking for other
//! names. Of the answers beyond the rate one in [`SLIP`] goes out empty and truncated: who really asked comes back
//! over TCP, which cannot be forged (RFC 5966 §5). Networks that are exempt and clients with a server cookie of ours
//! (RFC 7873) are not counted.
//!
//! One table for all loops, without a lock: each place holds a tag of the network and the time at which what it got
//! would be paid for (the generic cell rate algorithm).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Networks that are told apart at a time; more share places.
const PLACES: usize = 1 << 16;
/// One in so many of the answers beyond the rate is sent truncated.
const SLIP: u64 = 2;
/// Seconds for which a network may be ahead of its rate: it gets as many answers at once.
const BURST: u64 = 2;

const TAG_BITS: u32 = 16;
const TIME_MASK: u64 = u64::MAX >> TAG_BITS;

/// What is to become of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    Send,
    /// Empty, with TC.
    Truncate,
    Drop,
}

/// Rates of all networks.
#[derive(Debug)]
pub struct RateLimit {
    places: Box<[AtomicU64]>,
    /// Microseconds that one answer takes up.
    interval: u64,
    seed: u64,
}

impl RateLimit {
    /// `per_second`: answers to one network; 0 counts as 1.
    pub fn new(per_second: u32) -> Self {
        RateLimit {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            interval: 1_000_000 / u64::from(per_second.clamp(1, 1_000_000)),
            seed: rand::random(),
        }
    }

    /// Counts an answer to `client`; `now` is the time since any fixed moment.
    pub fn count(&self, client: IpAddr, now: Duration) -> Allowance {
        let hash = self.hash(client);
        let tag = hash >> (64 - TAG_BITS);
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX) & TIME_MASK;
        let Some(place) = self.place(hash, tag, now) else { return Allowance::Send };
        let ahead_max = BURST * 1_000_000;
        let mut seen = place.load(Ordering::Relaxed);
        loop {
            // A place that another network has, and still needs, is shared with it.
            let paid = (seen & TIME_MASK).max(now);
            if paid - now > ahead_max {
                let slips = (hash ^ now).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                return if slips.is_multiple_of(SLIP) { Allowance::Truncate } else { Allowance::Drop };
            }
            let next = tag << (64 - TAG_BITS) | (paid + self.interval) & TIME_MASK;
            match place.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Allowance::Send,
                Err(changed) => seen = changed,
            }
        }
    }

    /// The network's own place of two, else one that nobody needs any more, else the first.
    fn place(&self, hash: u64, tag: u64, now: u64) -> Option<&AtomicU64> {
        let first = hash as usize & (self.places.len() - 1);
        let pair = [self.places.get(first)?, self.places.get(first ^ 1)?];
        let [left, right] = pair.map(|place| place.load(Ordering::Relaxed));
        let is_ours = |value: u64| value >> (64 - TAG_BITS) == tag;
        let is_free = |value: u64| value & TIME_MASK < now;
        let right_is_better = !is_ours(left) && (is_ours(right) || !is_free(left) && is_free(right));
        Some(pair[usize::from(right_is_better)])
    }

    fn hash(&self, client: IpAddr) -> u64 {
        let network = match client.to_canonical() {
            IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8),
            IpAddr::V6(v6) => (u128::from(v6) >> 72) as u64 | 1 << 63,
        };
        let product = u128::from(network ^ self.seed) * 0x9e37_79b9_7f4a_7c15_u128;
        (product as u64) ^ (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(limit: &RateLimit, client: &str, times: u32, now_ms: u64) -> [u32; 3] {
        let mut outcomes = [0; 3];
        for i in 0..times {
            let now = Duration::from_millis(now_ms) + Duration::from_nanos(u64::from(i));
            outcomes[limit.count(client.parse().unwrap(), now) as usize] += 1;
        }
        outcomes
    }

    #[test]
    fn a_network_gets_its_rate_and_a_burst() {
        let limit = RateLimit::new(100);
        let [sent, truncated, dropped] = counted(&limit, "192.0.2.1", 1000, 10_000);
        assert!((200..=202).contains(&sent), "{sent}");
        assert_eq!(sent + truncated + dropped, 1000);
        // The network's other addresses are the same client, another network is not.
        assert_eq!(counted(&limit, "192.0.2.200", 10, 10_000)[0], 0);
        assert_eq!(counted(&limit, "192.0.3.1", 10, 10_000)[0], 10);
        assert_eq!(counted(&limit, "::ffff:192.0.2.7", 10, 10_000)[0], 0);
        // A second later it has earned a second's worth.
        let [sent, ..] = counted(&limit, "192.0.2.1", 1000, 11_000);
        assert!((99..=101).contains(&sent), "{sent}");
    }

    #[test]
    fn what_is_beyond_is_partly_answered_with_tc() {
        let limit = RateLimit::new(1);
        let mut outcomes = [0; 3];
        for i in 0..1000 {
            let now = Duration::from_micros(1_000_000 + i);
            outcomes[limit.count("2001:db8::1".parse().unwrap(), now) as usize] += 1;
        }
        let [sent, truncated, dropped] = outcomes;
        assert!(sent <= 3 && truncated > 300 && dropped > 300, "{outcomes:?}");
        assert_eq!(counted(&limit, "2001:db8:0:ff::9", 1, 1000)[0], 0, "the same /56");
        assert_eq!(counted(&limit, "2001:db8:0:100::9", 1, 1000)[0], 1);
    }

    #[test]
    fn many_networks_do_not_starve_each_other() {
        let limit = RateLimit::new(10);
        let mut refused = 0;
        for network in 0..40_000u32 {
            let client = IpAddr::from((0x0a00_0000 + (network << 8)).to_be_bytes());
            for _ in 0..3 {
                refused += u32::from(limit.count(client, Duration::from_secs(5)) != Allowance::Send);
            }
        }
        assert!(refused < 1000, "{refused} of 120000 were refused though each asked three times");
    }
}
