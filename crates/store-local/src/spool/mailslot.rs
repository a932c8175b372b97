//! A queue between threads that hands over everything that waits at once: what makes commits go in groups.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Holds as much as is put in: its users wait for an answer to each thing they put in, so they bound it.
#[derive(Debug)]
pub(super) struct Mailslot<T> {
    slot: Mutex<Slot<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Slot<T> {
    waiting: Vec<T>,
    closed: bool,
    /// The taker sleeps; only then must it be woken.
    asleep: bool,
}

impl<T> Mailslot<T> {
    pub(super) fn new() -> Self {
        let slot = Slot { waiting: Vec::new(), closed: false, asleep: false };
        Mailslot { slot: Mutex::new(slot), filled: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it back when the slot is closed.
    pub(super) fn put(&self, thing: T) -> Result<(), T> {
        let mut slot = self.lock();
        if slot.closed {
            return Err(thing);
        }
        slot.waiting.push(thing);
        if std::mem::take(&mut slot.asleep) {
            drop(slot);
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Nothing more is taken in; what waits is still handed over.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Nobody will take anything any more: what waits is dropped, so that whoever waits for an answer hears.
    fn abandon(&self) {
        self.close();
        let left = std::mem::take(&mut self.lock().waiting);
        drop(left);
    }

    /// All that waits, in `into`, which must be empty. Waits for something until `deadline`.
    /// `false` when closed and empty.
    pub(super) fn take(&self, into: &mut Vec<T>, deadline: Option<Instant>) -> bool {
        let mut slot = self.lock();
        loop {
            if !slot.waiting.is_empty() {
                std::mem::swap(&mut slot.waiting, into);
                return true;
            }
            if slot.closed {
                return false;
            }
            slot.asleep = true;
            slot = match deadline {
                None => self.filled.wait(slot).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        slot.asleep = false;
                        return true;
                    }
                    self.filled.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Abandons a slot when its taker ends, be it by a panic.
#[derive(Debug)]
pub(super) struct Taker<T>(pub(super) std::sync::Arc<Mailslot<T>>);

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_waits_is_taken_at_once_and_in_order() {
        let slot = Mailslot::new();
        (0..3).for_each(|n| slot.put(n).unwrap());
        let mut taken = Vec::new();
        assert!(slot.take(&mut taken, None));
        assert_eq!(taken, [0, 1, 2]);
        taken.clear();
        assert!(slot.take(&mut taken, Some(Instant::now())), "late, but not closed");
        assert!(taken.is_empty());
        slot.put(3).unwrap();
        slot.close();
        assert_eq!(slot.put(4), Err(4));
        assert!(slot.take(&mut taken, None));
        taken.clear();
        assert!(!slot.take(&mut taken, None));
    }

    #[test]
    fn what_nobody_takes_any_more_is_dropped() {
        let slot = std::sync::Arc::new(Mailslot::new());
        let thing = std::sync::Arc::new(());
        slot.put(thing.clone()).unwrap();
        drop(Taker(slot.clone()));
        assert_eq!(std::sync::Arc::strong_count(&thing), 1);
        assert!(slot.put(thing).is_err());
    }
}
