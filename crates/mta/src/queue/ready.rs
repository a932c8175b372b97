//! What may run now: jobs by destination, with limits and fairness. A pure structure; every step is O(1).
//!
//! ```text
//!   lane (one per destination)   waiting: FIFO of jobs, bounded
//!                                window:  how many may run at once; begins small, +1 with every contact,
//!                                         -1 with every failure to get through; at 0 the lane is closed
//!                                closed:  for a while nothing runs, what waits is handed back with the reason
//!   turn                         lanes that have a job and room, each once: they run in turn, so that a
//!                                destination with ten thousand jobs takes as many turns as one with two
//! ```
//!
//! The window is Postfix's idea (slow start, and a destination that does not answer costs a few time-outs
//! and not one per message).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use postroad_store::spool::Attempt;
use tokio::time::Instant;

/// Connections that a new destination begins with.
const WINDOW_FIRST: usize = 5;
/// Idle lanes that are remembered for their window.
const LANES_MAX: usize = 10_000;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that run at a time, all lanes together.
    pub running_max: usize,
    /// Jobs that wait in one lane.
    pub waiting_max: usize,
    /// How long a lane stays closed.
    pub closed_for: Duration,
}

/// Why a job was not taken, or was handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many wait for this destination already.
    Busy,
    /// The destination did not answer the last ones; this is what was seen.
    Closed(Attempt),
}

/// How an attempt met its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It answered, whatever it said about the mail.
    Reached,
    /// No connection, no greeting, or it hung up.
    Unreachable(Attempt),
    /// Nothing was tried.
    NotTried,
}

/// Jobs `J` by destination.
#[derive(Debug)]
pub struct Ready<J> {
    limits: Limits,
    lanes: HashMap<Arc<str>, Lane<J>>,
    turn: VecDeque<Arc<str>>,
    running: usize,
}

#[derive(Debug)]
struct Lane<J> {
    waiting: VecDeque<J>,
    running: usize,
    window: usize,
    window_max: usize,
    in_turn: bool,
    closed: Option<(Instant, Attempt)>,
}

impl<J> Lane<J> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

impl<J> Ready<J> {
    pub fn new(limits: Limits) -> Self {
        Ready { limits, lanes: HashMap::new(), turn: VecDeque::new(), running: 0 }
    }

    /// Jobs that run now.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Puts a job into its lane, of which at most `window_max` run at once; or hands it back.
    pub fn push(
        &mut self,
        lane: &Arc<str>,
        window_max: usize,
        job: J,
        now: Instant,
    ) -> Result<(), (J, Refusal)> {
        if self.lanes.len() >= LANES_MAX {
            self.lanes.retain(|_, lane| {
                !lane.is_idle() || lane.closed.as_ref().is_some_and(|(until, _)| now < *until)
            });
        }
        let entry = self.lanes.entry(lane.clone()).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            running: 0,
            window: WINDOW_FIRST.min(window_max),
            window_max,
            in_turn: false,
            closed: None,
        });
        if let Some((until, seen)) = &entry.closed {
            if now < *until {
                let seen = seen.clone();
                return Err((job, Refusal::Closed(seen)));
            }
            // One job finds out whether it answers again.
            entry.closed = None;
            entry.window = 1;
        }
        if entry.waiting.len() >= self.limits.waiting_max {
            return Err((job, Refusal::Busy));
        }
        entry.waiting.push_back(job);
        self.line_up(lane);
        Ok(())
    }

    /// The next job to run, if one may; it counts as running until [`finish`](Self::finish).
    pub fn next(&mut self) -> Option<(Arc<str>, J)> {
        if self.running >= self.limits.running_max {
            return None;
        }
        while let Some(key) = self.turn.pop_front() {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.in_turn = false;
            if lane.running >= lane.window {
                continue;
            }
            let Some(job) = lane.waiting.pop_front() else { continue };
            lane.running += 1;
            self.running += 1;
            self.line_up(&key);
            return Some((key, job));
        }
        None
    }

    /// A job of this lane has run. If that closes the lane, the jobs that waited in it are handed back.
    pub fn finish(&mut self, key: &Arc<str>, contact: Contact, now: Instant) -> Vec<J> {
        self.running = self.running.saturating_sub(1);
        let Some(lane) = self.lanes.get_mut(key) else { return Vec::new() };
        lane.running = lane.running.saturating_sub(1);
        let mut back = Vec::new();
        match contact {
            Contact::Reached => {
                lane.window = (lane.window + 1).clamp(1, lane.window_max);
                lane.closed = None;
            }
            Contact::Unreachable(seen) => {
                lane.window = lane.window.saturating_sub(1);
                if lane.window == 0 {
                    lane.closed = Some((now + self.limits.closed_for, seen));
                    back.extend(lane.waiting.drain(..));
                }
            }
            Contact::NotTried => {}
        }
        self.line_up(key);
        back
    }

    /// Opens every closed lane: an operator wants to see an attempt now.
    pub fn reopen(&mut self) {
        for lane in self.lanes.values_mut().filter(|lane| lane.closed.is_some()) {
            lane.closed = None;
            lane.window = 1;
        }
    }

    /// Everything that waits, for a stop.
    pub fn drain(&mut self) -> Vec<J> {
        self.turn.clear();
        let mut all = Vec::new();
        for lane in self.lanes.values_mut() {
            lane.in_turn = false;
            all.extend(lane.waiting.drain(..));
        }
        all
    }

    fn line_up(&mut self, key: &Arc<str>) {
        if let Some(lane) = self.lanes.get_mut(key)
            && !lane.in_turn
            && !lane.waiting.is_empty()
            && lane.running < lane.window
        {
            lane.in_turn = true;
            self.turn.push_back(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_types::Reply;

    fn ready(running_max: usize) -> Ready<u32> {
        Ready::new(Limits { running_max, waiting_max: 100, closed_for: Duration::from_secs(60) })
    }

    fn unreachable() -> Contact {
        Contact::Unreachable(Attempt { at: 0, host: "h".into(), reply: Reply::plain(421, "no") })
    }

    fn run_all(ready: &mut Ready<u32>) -> Vec<u32> {
        std::iter::from_fn(|| ready.next().map(|(_, job)| job)).collect()
    }

    #[test]
    fn lanes_take_turns_whatever_their_length() {
        let mut ready = ready(100);
        let (long, short): (Arc<str>, Arc<str>) = ("long".into(), "short".into());
        for job in 0..50 {
            ready.push(&long, 20, job, Instant::now()).unwrap();
        }
        ready.push(&short, 20, 100, Instant::now()).unwrap();
        ready.push(&short, 20, 101, Instant::now()).unwrap();
        assert_eq!(run_all(&mut ready), [0, 100, 1, 101, 2, 3, 4]);
    }

    #[test]
    fn the_window_grows_with_contact_up_to_its_bound() {
        let mut ready = ready(1000);
        let lane: Arc<str> = "a".into();
        for job in 0..100 {
            ready.push(&lane, 8, job, Instant::now()).unwrap();
        }
        assert_eq!(run_all(&mut ready).len(), WINDOW_FIRST);
        for _ in 0..WINDOW_FIRST {
            assert!(ready.finish(&lane, Contact::Reached, Instant::now()).is_empty());
        }
        assert_eq!(run_all(&mut ready).len(), 8);
        assert_eq!(ready.running(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_destination_that_does_not_answer_is_closed_and_probed_later() {
        let mut ready = ready(1000);
        let lane: Arc<str> = "a".into();
        for job in 0..20 {
            ready.push(&lane, 8, job, Instant::now()).unwrap();
        }
        let mut handed_back = Vec::new();
        while let Some((key, _)) = ready.next() {
            handed_back.extend(ready.finish(&key, unreachable(), Instant::now()));
        }
        assert_eq!(handed_back.len(), 20 - WINDOW_FIRST);
        let (_, why) = ready.push(&lane, 8, 0, Instant::now()).unwrap_err();
        assert!(matches!(why, Refusal::Closed(_)));

        tokio::time::advance(Duration::from_secs(61)).await;
        ready.push(&lane, 8, 1, Instant::now()).unwrap();
        ready.push(&lane, 8, 2, Instant::now()).unwrap();
        assert_eq!(run_all(&mut ready), [1], "one job probes");
        ready.finish(&lane, Contact::Reached, Instant::now());
        assert_eq!(run_all(&mut ready), [2]);
    }

    #[test]
    fn both_bounds_hold() {
        let mut ready = ready(3);
        let lane: Arc<str> = "a".into();
        for job in 0..100 {
            ready.push(&lane, 8, job, Instant::now()).unwrap();
        }
        assert_eq!(ready.push(&lane, 8, 100, Instant::now()), Err((100, Refusal::Busy)));
        assert_eq!(run_all(&mut ready).len(), 3);
        assert_eq!(ready.drain().len(), 97);
    }
}
