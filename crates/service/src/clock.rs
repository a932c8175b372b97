//! Time as an input: the system's, or one that a test turns by hand.

use std::collections::BinaryHeap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

/// A sleep of a [`Clock`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What time it is, and waiting for another.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time of day. It may jump, when the machine's clock is set.
    fn now(&self) -> SystemTime;

    /// Time since some beginning; it never goes back.
    fn monotonic(&self) -> Duration;

    /// Ends when `duration` has gone by.
    fn sleep(&self, duration: Duration) -> Sleep;

    /// The time of day in microseconds since 1970-01-01 UTC.
    fn now_us(&self) -> u64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The machine's own.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Stands still until a test advances it; then whoever slept long enough wakes, in the order of their times.
#[derive(Clone)]
pub struct FakeClock {
    state: Arc<Mutex<Fake>>,
}

struct Fake {
    start: SystemTime,
    elapsed: Duration,
    sleepers: BinaryHeap<Sleeper>,
}

struct Sleeper {
    until: Duration,
    wake: oneshot::Sender<()>,
}

/// The earliest is the greatest: it is on top of the heap.
impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.until.cmp(&self.until)
    }
}
impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}
impl Eq for Sleeper {}

impl FakeClock {
    pub fn new(start: SystemTime) -> Self {
        let fake = Fake { start, elapsed: Duration::ZERO, sleepers: BinaryHeap::new() };
        FakeClock { state: Arc::new(Mutex::new(fake)) }
    }

    /// Turns the clock; sleepers whose time has come are woken.
    pub fn advance(&self, by: Duration) {
        let mut fake = self.lock();
        fake.elapsed += by;
        let now = fake.elapsed;
        while fake.sleepers.peek().is_some_and(|sleeper| sleeper.until <= now) {
            if let Some(sleeper) = fake.sleepers.pop() {
                // One that stopped waiting is no loss.
                let _ = sleeper.wake.send(());
            }
        }
    }

    /// How many are asleep: a test waits for that before it turns the clock.
    pub fn sleepers(&self) -> usize {
        let mut fake = self.lock();
        fake.sleepers.retain(|sleeper| !sleeper.wake.is_closed());
        fake.sleepers.len()
    }

    fn lock(&self) -> MutexGuard<'_, Fake> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FakeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeClock({:?})", self.lock().elapsed)
    }
}

impl Clock for FakeClock {
    fn now(&self) -> SystemTime {
        let fake = self.lock();
        fake.start + fake.elapsed
    }

    fn monotonic(&self) -> Duration {
        self.lock().elapsed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        let mut fake = self.lock();
        let until = fake.elapsed + duration;
        fake.sleepers.push(Sleeper { until, wake });
        // The sender is dropped unsent only with the clock itself: then nobody's time comes any more.
        Box::pin(async move {
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_their_time_has_come_and_not_before() {
        let clock = FakeClock::new(UNIX_EPOCH);
        let short = tokio::spawn(clock.sleep(Duration::from_secs(60)));
        let long = tokio::spawn(clock.sleep(Duration::from_secs(3600)));
        assert_eq!(clock.sleepers(), 2);
        clock.advance(Duration::from_secs(59));
        assert_eq!(clock.sleepers(), 2);
        clock.advance(Duration::from_secs(1));
        short.await.unwrap();
        assert_eq!(clock.sleepers(), 1);
        assert_eq!(clock.now_us(), 60_000_000);
        long.abort();
        assert!(long.await.unwrap_err().is_cancelled());
        assert_eq!(clock.sleepers(), 0);
    }
}
