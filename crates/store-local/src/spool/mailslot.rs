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
