//! When a secondary zone is asked for next, and when it is too old to be served (RFC 1034 section 4.3.5).
//!
//! Times are those of a monotonic clock.

use std::time::Duration;

use postroad_types::limits::{
    DNS_EXPIRE_SECONDS_MIN, DNS_REFRESH_SECONDS_MAX, DNS_REFRESH_SECONDS_MIN, DNS_RETRY_MISSING_SECONDS_MAX,
};

use crate::zone::Zone;

/// The intervals in a SOA, within bounds: a primary can neither make us ask without end nor never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    pub refresh: Duration,
    pub retry: Duration,
    pub expire: Duration,
}

impl Timers {
    /// Of a zone that is available.
    pub fn of(zone: &Zone) -> Option<Self> {
        let numbers = zone.soa()?.first().last_chunk::<20>().copied()?;
        let number = |at: usize| {
            let octets = numbers.get(at..).and_then(|rest| rest.first_chunk::<4>());
            octets.map_or(0, |octets| u64::from(u32::from_be_bytes(*octets)))
        };
        let often = |seconds: u64| {
            Duration::from_secs(seconds.clamp(DNS_REFRESH_SECONDS_MIN, DNS_REFRESH_SECONDS_MAX))
        };
        Some(Self {
            refresh: often(number(4)),
            retry: often(number(8)),
            expire: Duration::from_secs(number(12).max(DNS_EXPIRE_SECONDS_MIN)),
        })
    }
}

/// What is due when.
#[derive(Debug, Clone)]
pub struct Schedule {
    next: Duration,
    /// `None` when there is nothing that could get too old.
    expires: Option<Duration>,
    timers: Option<Timers>,
    failures: u32,
}

impl Schedule {
    /// For a zone that is not here: it is asked for at once.
    pub fn missing(now: Duration) -> Self {
        Self { next: now, expires: None, timers: None, failures: 0 }
    }

    /// For a copy that was confirmed `age` ago: it is asked for at once.
    pub fn copied(timers: Timers, age: Duration, now: Duration) -> Self {
        let expires = Some(now + timers.expire.saturating_sub(age));
        Self { next: now, expires, timers: Some(timers), failures: 0 }
    }

    /// A primary has confirmed the version here, or brought another.
    pub fn succeeded(&mut self, timers: Timers, now: Duration) {
        *self = Self {
            next: now + timers.refresh.min(timers.expire),
            expires: Some(now + timers.expire),
            timers: Some(timers),
            failures: 0,
        };
    }

    /// No primary has.
    pub fn failed(&mut self, now: Duration) {
        // Without a zone there is no retry interval: more and more seldom, so that a typing error asks nobody to death.
        let missing = DNS_REFRESH_SECONDS_MIN.saturating_mul(1 << self.failures.min(16));
        let missing = Duration::from_secs(missing.min(DNS_RETRY_MISSING_SECONDS_MAX));
        self.failures = self.failures.saturating_add(1);
        self.next = now + self.timers.map_or(missing, |timers| timers.retry);
    }

    /// When the zone is asked for next.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// When the zone gets too old.
    pub fn expires(&self) -> Option<Duration> {
        self.expires
    }

    /// The zone is not served any more.
    pub fn expired(&mut self) {
        self.expires = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::zone_from_text;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn timers(refresh: u32, retry: u32, expire: u32) -> Timers {
        let text = format!("$TTL 1\n@ SOA ns h 1 {refresh} {retry} {expire} 1\n@ NS ns.other.\n");
        Timers::of(&zone_from_text(&"example".parse().unwrap(), &text).unwrap()).unwrap()
    }

    #[test]
    fn refresh_after_success_retry_after_failure_and_expire() {
        let mut schedule = Schedule::missing(s(100));
        assert_eq!((schedule.next(), schedule.expires()), (s(100), None));
        schedule.succeeded(timers(3600, 600, 86_400), s(100));
        assert_eq!((schedule.next(), schedule.expires()), (s(3700), Some(s(86_500))));
        schedule.failed(s(3700));
        schedule.failed(s(4300));
        assert_eq!((schedule.next(), schedule.expires()), (s(4900), Some(s(86_500))));
        schedule.expired();
        assert_eq!(schedule.expires(), None);
    }

    #[test]
    fn a_copy_has_been_getting_old_while_we_were_down() {
        let schedule = Schedule::copied(timers(3600, 600, 86_400), s(86_000), s(5));
        assert_eq!((schedule.next(), schedule.expires()), (s(5), Some(s(405))));
        assert_eq!(Schedule::copied(timers(1, 1, 60), s(1_000_000), s(5)).expires(), Some(s(5)));
    }

    #[test]
    fn what_never_came_is_asked_for_more_and_more_seldom() {
        let mut schedule = Schedule::missing(s(0));
        let mut waits = Vec::new();
        for _ in 0..40 {
            schedule.failed(s(0));
            waits.push(schedule.next().as_secs());
        }
        assert!(waits.is_sorted() && waits[0] == DNS_REFRESH_SECONDS_MIN);
        assert_eq!(waits[39], DNS_RETRY_MISSING_SECONDS_MAX);
    }

    #[test]
    fn a_primary_cannot_make_us_ask_without_end_or_never() {
        let least = timers(0, 0, 0);
        assert_eq!((least.refresh, least.retry), (s(DNS_REFRESH_SECONDS_MIN), s(DNS_REFRESH_SECONDS_MIN)));
        assert_eq!(least.expire, s(DNS_EXPIRE_SECONDS_MIN));
        assert_eq!(timers(0x7fff_ffff, 1, 1).refresh, s(DNS_REFRESH_SECONDS_MAX));
    }
}
