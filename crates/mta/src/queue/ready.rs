//! What may run now: jobs by destination, with limits and fairness. A pure structure; a step is O(1), or O(log n) in
//! the number of lanes with a pace.
//!
//! ```text
//!   lane (one per destination)   waiting: jobs in three classes, bounded; urgent ones go more often than usual ones,
//!                                         and those more often than bulk, but none waits for ever
//!                                window:  how many may run at once; begins small, +1 with every contact,
//!                                         -1 with every failure to get through; at 0 the lane is closed
//!                                closed:  for a while nothing runs, what waits is handed back with the reason
//!                                pace:    time between two starts, where a rule wants that
//!   turn                         lanes that have a job and room, each once: they run in turn, so that a
//!                                destination with ten thousand jobs takes as many turns as one with two
//!   paced                        lanes that have both, but must wait for their pace
//! ```
//!
//! The window is Postfix's idea (slow start, and a destination that does not answer costs a few time-outs
//! and not one per message).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use postroad_store::spool::Attempt;
use tokio::time::Instant;

/// Connections that a new destination begins with.
const WINDOW_FIRST: usize = 5;
/// Idle lanes that are remembered for their window.
const LANES_MAX: usize = 10_000;
/// Out of thirteen jobs of a lane that has all classes, so many are urgent, usual and bulk.
const SHARES: [u8; 3] = [8, 4, 1];

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

/// The bounds of one lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneLimits {
    /// Jobs that run at a time.
    pub window_max: usize,
    /// Between two starts; zero: as fast as it goes.
    pub pace: Duration,
}

/// How a job stands among others of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A first attempt.
    Urgent,
    /// A later one.
    Usual,
    /// The further parts of a message to many recipients.
    Bulk,
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
    paced: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    running: usize,
}

#[derive(Debug)]
struct Lane<J> {
    waiting: Waiting<J>,
    running: usize,
    window: usize,
    limits: LaneLimits,
    /// It stands in `turn` or in `paced`.
    in_turn: bool,
    /// Its pace lets the next one start then.
    starts_at: Instant,
    closed: Option<(Instant, Attempt)>,
}

impl<J> Lane<J> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

/// The jobs of a lane, by class.
#[derive(Debug)]
struct Waiting<J> {
    classes: [VecDeque<J>; 3],
    /// What is left of each class's share in this round.
    left: [u8; 3],
}

impl<J> Waiting<J> {
    fn new() -> Self {
        Waiting { classes: [VecDeque::new(), VecDeque::new(), VecDeque::new()], left: SHARES }
    }

    fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, class: Class, job: J) {
        let [urgent, usual, bulk] = &mut self.classes;
        match class {
            Class::Urgent => urgent.push_back(job),
            Class::Usual => usual.push_back(job),
            Class::Bulk => bulk.push_back(job),
        }
    }

    fn pop(&mut self) -> Option<J> {
        for _ in 0..2 {
            for (jobs, left) in self.classes.iter_mut().zip(&mut self.left) {
                if *left > 0
                    && let Some(job) = jobs.pop_front()
                {
                    *left -= 1;
                    return Some(job);
                }
            }
            self.left = SHARES;
        }
        None
    }

    fn take_all(&mut self) -> impl Iterator<Item = J> + '_ {
        self.classes.iter_mut().flat_map(|jobs| jobs.drain(..))
    }
}

impl<J> Ready<J> {
    pub fn new(limits: Limits) -> Self {
        Ready { limits, lanes: HashMap::new(), turn: VecDeque::new(), paced: BinaryHeap::new(), running: 0 }
    }

    /// Jobs that run now.
    pub fn running(&self) -> usize {
        self.running
    }

    /// When the next lane may start a job that waits for its pace alone.
    pub fn paced_until(&self) -> Option<Instant> {
        self.paced.peek().map(|Reverse((at, _))| *at)
    }

    /// Puts a job into its lane; or hands it back.
    pub fn push(
        &mut self,
        lane: &Arc<str>,
        limits: LaneLimits,
        class: Class,
        job: J,
        now: Instant,
    ) -> Result<(), (J, Refusal)> {
        if self.lanes.len() >= LANES_MAX {
            self.lanes.retain(|_, lane| {
                !lane.is_idle()
                    || lane.closed.as_ref().is_some_and(|(until, _)| now < *until)
                    || now < lane.starts_at
            });
        }
        let entry = self.lanes.entry(lane.clone()).or_insert_with(|| Lane {
            waiting: Waiting::new(),
            running: 0,
            window: WINDOW_FIRST.min(limits.window_max),
            limits,
            in_turn: false,
            starts_at: now,
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
        entry.waiting.push(class, job);
        self.line_up(lane);
        Ok(())
    }

    /// The next job to run, if one may; it counts as running until [`finish`](Self::finish).
    pub fn next(&mut self, now: Instant) -> Option<(Arc<str>, J)> {
        if self.running >= self.limits.running_max {
            return None;
        }
        while self.paced_until().is_some_and(|at| at <= now)
            && let Some(Reverse((_, key))) = self.paced.pop()
        {
            self.turn.push_back(key);
        }
        while let Some(key) = self.turn.pop_front() {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            if now < lane.starts_at {
                self.paced.push(Reverse((lane.starts_at, key)));
                continue;
            }
            lane.in_turn = false;
            if lane.running >= lane.window {
                continue;
            }
            let Some(job) = lane.waiting.pop() else { continue };
            lane.running += 1;
            lane.starts_at = now + lane.limits.pace;
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
                lane.window = (lane.window + 1).clamp(1, lane.limits.window_max);
                lane.closed = None;
            }
            Contact::Unreachable(seen) => {
                lane.window = lane.window.saturating_sub(1);
                if lane.window == 0 {
                    lane.closed = Some((now + self.limits.closed_for, seen));
                    back.extend(lane.waiting.take_all());
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
        self.paced.clear();
        let mut all = Vec::new();
        for lane in self.lanes.values_mut() {
            lane.in_turn = false;
            all.extend(lane.waiting.take_all());
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

    fn push(
        ready: &mut Ready<u32>,
        lane: &Arc<str>,
        window_max: usize,
        job: u32,
    ) -> Result<(), (u32, Refusal)> {
        let limits = LaneLimits { window_max, pace: Duration::ZERO };
        ready.push(lane, limits, Class::Usual, job, Instant::now())
    }

    fn run_all(ready: &mut Ready<u32>) -> Vec<u32> {
        std::iter::from_fn(|| ready.next(Instant::now()).map(|(_, job)| job)).collect()
    }

    #[test]
    fn lanes_take_turns_whatever_their_length() {
        let mut ready = ready(100);
        let (long, short): (Arc<str>, Arc<str>) = ("long".into(), "short".into());
        for job in 0..50 {
            push(&mut ready, &long, 20, job).unwrap();
        }
        push(&mut ready, &short, 20, 100).unwrap();
        push(&mut ready, &short, 20, 101).unwrap();
        assert_eq!(run_all(&mut ready), [0, 100, 1, 101, 2, 3, 4]);
    }

    #[test]
    fn the_window_grows_with_contact_up_to_its_bound() {
        let mut ready = ready(1000);
        let lane: Arc<str> = "a".into();
        for job in 0..100 {
            push(&mut ready, &lane, 8, job).unwrap();
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
            push(&mut ready, &lane, 8, job).unwrap();
        }
        let mut handed_back = Vec::new();
        while let Some((key, _)) = ready.next(Instant::now()) {
            handed_back.extend(ready.finish(&key, unreachable(), Instant::now()));
        }
        assert_eq!(handed_back.len(), 20 - WINDOW_FIRST);
        let (_, why) = push(&mut ready, &lane, 8, 0).unwrap_err();
        assert!(matches!(why, Refusal::Closed(_)));

        tokio::time::advance(Duration::from_secs(61)).await;
        push(&mut ready, &lane, 8, 1).unwrap();
        push(&mut ready, &lane, 8, 2).unwrap();
        assert_eq!(run_all(&mut ready), [1], "one job probes");
        ready.finish(&lane, Contact::Reached, Instant::now());
        assert_eq!(run_all(&mut ready), [2]);
    }

    #[test]
    fn both_bounds_hold() {
        let mut ready = ready(3);
        let lane: Arc<str> = "a".into();
        for job in 0..100 {
            push(&mut ready, &lane, 8, job).unwrap();
        }
        assert_eq!(push(&mut ready, &lane, 8, 100), Err((100, Refusal::Busy)));
        assert_eq!(run_all(&mut ready).len(), 3);
        assert_eq!(ready.drain().len(), 97);
    }

    #[test]
    fn a_long_list_lets_single_mails_pass_and_is_not_starved() {
        let mut ready = ready(1000);
        let lane: Arc<str> = "a".into();
        let limits = LaneLimits { window_max: 1000, pace: Duration::ZERO };
        for (class, jobs) in [(Class::Bulk, 0..20), (Class::Usual, 100..120), (Class::Urgent, 200..202)] {
            for job in jobs {
                ready.push(&lane, limits, class, job, Instant::now()).unwrap();
            }
        }
        let mut order = Vec::new();
        while let Some((key, job)) = ready.next(Instant::now()) {
            order.push(job);
            ready.finish(&key, Contact::Reached, Instant::now());
        }
        assert_eq!(order[..13], [200, 201, 100, 101, 102, 103, 0, 104, 105, 106, 107, 1, 108]);
        assert_eq!(order.len(), 42);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paced_lane_starts_one_job_at_a_time_and_holds_up_no_other() {
        let mut ready = ready(1000);
        let (slow, fast): (Arc<str>, Arc<str>) = ("slow".into(), "fast".into());
        let limits = LaneLimits { window_max: 20, pace: Duration::from_secs(10) };
        for job in 0..3 {
            ready.push(&slow, limits, Class::Usual, job, Instant::now()).unwrap();
            push(&mut ready, &fast, 20, 100 + job).unwrap();
        }
        let begun = Instant::now();
        assert_eq!(run_all(&mut ready), [0, 100, 101, 102]);
        assert_eq!(ready.paced_until(), Some(begun + Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(run_all(&mut ready), [1]);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(run_all(&mut ready), Vec::<u32>::new());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(run_all(&mut ready), [2]);
        assert_eq!(ready.paced_until(), None);
    }
}
