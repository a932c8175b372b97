//! What time it is, in the spool's unit.
//!
//! Waiting is tokio's business, and tokio's test clock makes it simulated; the time of day comes from
//! [`Clock`], for the queue's time table, Received headers and timelines.

use std::time::Duration;

use postroad_service::Clock;
use postroad_store::spool::Micros;

/// The time of day in microseconds since 1970-01-01 UTC. It may jump; nothing here counts on it to grow.
pub fn now(clock: &dyn Clock) -> Micros {
    Micros::try_from(clock.now_us()).unwrap_or(Micros::MAX)
}

/// Adds a span of time; at the end of time it stays there.
pub fn after(at: Micros, span: Duration) -> Micros {
    at.saturating_add(Micros::try_from(span.as_micros()).unwrap_or(Micros::MAX))
}

/// From one time to a later one; nothing if it is earlier.
pub fn between(from: Micros, to: Micros) -> Duration {
    Duration::from_micros(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

/// The time of day that goes with tokio's paused clock, and jumps where a test says so.
#[cfg(test)]
#[derive(Clone, Debug)]
pub struct PausedClock {
    started: tokio::time::Instant,
    jumped_seconds: std::sync::Arc<std::sync::atomic::AtomicI64>,
}

#[cfg(test)]
impl PausedClock {
    pub fn start() -> Self {
        PausedClock { started: tokio::time::Instant::now(), jumped_seconds: Default::default() }
    }

    /// Somebody sets the time of day.
    pub fn jump(&self, seconds: i64) {
        self.jumped_seconds.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Clock for PausedClock {
    fn now(&self) -> std::time::SystemTime {
        let jumped = self.jumped_seconds.load(std::sync::atomic::Ordering::SeqCst);
        let seconds = u64::try_from(1_800_000_000 + jumped).unwrap();
        std::time::UNIX_EPOCH + Duration::from_secs(seconds) + self.started.elapsed()
    }
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
    fn sleep(&self, duration: Duration) -> postroad_service::clock::Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}
