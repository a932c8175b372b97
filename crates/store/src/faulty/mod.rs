//! Wrappers around any implementation that fail where they are told to: on the n-th call, by chance from a
//! seed, always; before the call, after it (done, but its answer is lost), or slowly.
//!
//! ```
//! use postroad_store::faulty::{Fault, FaultySpool, Plan, When};
//! use postroad_store::{StoreError, memory::MemorySpool};
//!
//! let plan = Plan::new(7);
//! plan.add("commit", When::Nth(2), Fault::Before(StoreError::Unavailable("disk full".into())));
//! plan.add("record", When::PerThousand(100), Fault::After(StoreError::Unavailable("answer lost".into())));
//! let spool = FaultySpool::new(MemorySpool::new(), plan.clone());
//! # drop(spool);
//! ```

pub mod mailbox;
pub mod spool;

pub use mailbox::FaultyMailboxes;
pub use spool::FaultySpool;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::StoreError;

/// When a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    /// On the n-th call from now on, counted from 1, and on no other.
    Nth(u64),
    /// By chance, so many times in a thousand.
    PerThousand(u32),
}

/// What happens then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call is not made.
    Before(StoreError),
    /// The call is made, and its answer is lost.
    After(StoreError),
    /// The call is made so much later.
    Slow(Duration),
}

#[derive(Debug)]
struct Rule {
    call: &'static str,
    when: When,
    fault: Fault,
    /// Calls of this name since the rule was added.
    seen: u64,
}

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    chance: u64,
    faults: u64,
}

/// Which calls fail, and how. Clones are the same plan; it can be changed while the store is in use.
#[derive(Clone, Debug)]
pub struct Plan(Arc<Mutex<State>>);

impl Plan {
    /// A plan without rules; `seed` decides what chance brings.
    pub fn new(seed: u64) -> Self {
        let chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Plan(Arc::new(Mutex::new(State { rules: Vec::new(), chance, faults: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `call` is the name of a method of the trait.
    pub fn add(&self, call: &'static str, when: When, fault: Fault) {
        self.state().rules.push(Rule { call, when, fault, seen: 0 });
    }

    /// From now on nothing fails.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// How many calls a rule applied to.
    pub fn faults(&self) -> u64 {
        self.state().faults
    }

    /// The fault of this call, the first rule that applies.
    fn draw(&self, call: &str) -> Option<Fault> {
        let mut state = self.state();
        let State { rules, chance, faults } = &mut *state;
        let mut drawn = None;
        for rule in rules.iter_mut().filter(|rule| rule.call == call) {
            rule.seen += 1;
            let applies = match rule.when {
                When::Always => true,
                When::Nth(n) => rule.seen == n,
                When::PerThousand(share) => below_thousand(chance) < share,
            };
            if applies && drawn.is_none() {
                drawn = Some(rule.fault.clone());
            }
        }
        *faults += u64::from(drawn.is_some());
        drawn
    }

    /// Makes a call, or what the plan has for it.
    async fn run<T>(
        &self,
        call: &'static str,
        made: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.draw(call) {
            None => made.await,
            Some(Fault::Before(error)) => Err(error),
            Some(Fault::After(error)) => made.await.and(Err(error)),
            Some(Fault::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                made.await
            }
        }
    }
}

/// xorshift64*: the same from the same seed.
fn below_thousand(state: &mut u64) -> u32 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    ((state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % 1000) as u32
}
