//! Looking steps up: the files are read from the newest to the oldest, each from its first line to its last.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use postroad_types::{QueueId, TraceId};

use super::{TraceEvent, files};

/// A longer line is not one of ours.
const LINE_OCTETS_MAX: u64 = 1 << 20;
/// Messages that an answer is about, when the question does not say.
const LIMIT_DEFAULT: usize = 100;
/// Steps of one answer.
const STEPS_MAX: usize = 100_000;

/// Which messages' steps. What is given must all fit a step of the message; then all its steps are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub trace_id: Option<TraceId>,
    pub queue_id: Option<QueueId>,
    /// Address of the sender, letter case aside.
    pub from: Option<String>,
    /// Address of a recipient, letter case aside.
    pub to: Option<String>,
    /// Microseconds since 1970; both ends included.
    pub since_us: Option<u64>,
    pub until_us: Option<u64>,
    /// Messages, the newest; 0: 100.
    pub limit: usize,
}

impl Query {
    pub fn is_empty(&self) -> bool {
        self.trace_id.is_none() && self.queue_id.is_none() && self.from.is_none() && self.to.is_none()
    }
}

/// What is known of one message while its steps go by.
#[derive(Default)]
struct Seen {
    queue: bool,
    from: bool,
    to: bool,
    last_us: u64,
}

pub(super) fn find(dir: &Path, query: &Query) -> io::Result<Vec<TraceEvent>> {
    let limit = if query.limit == 0 { LIMIT_DEFAULT } else { query.limit };
    let wanted: HashSet<TraceId> = match query.trace_id {
        Some(trace_id) => HashSet::from([trace_id]),
        None => newest(candidates(dir, query)?, query, limit),
    };
    let mut steps = Vec::new();
    if !wanted.is_empty() {
        each(dir, query, |step| {
            if wanted.contains(&step.trace_id) {
                steps.push(step);
            }
            steps.len() < STEPS_MAX
        })?;
    }
    steps.sort_by_key(|step| step.at_us);
    Ok(steps)
}

fn candidates(dir: &Path, query: &Query) -> io::Result<HashMap<TraceId, Seen>> {
    let mut messages: HashMap<TraceId, Seen> = HashMap::new();
    each(dir, query, |step| {
        let seen = messages.entry(step.trace_id).or_default();
        seen.queue |= query.queue_id.is_some() && query.queue_id == step.queue_id;
        seen.from |= query.from.as_deref().is_some_and(|from| step.has("from", from));
        seen.to |= query.to.as_deref().is_some_and(|to| step.has("to", to));
        seen.last_us = seen.last_us.max(step.at_us);
        true
    })?;
    Ok(messages)
}

fn newest(messages: HashMap<TraceId, Seen>, query: &Query, limit: usize) -> HashSet<TraceId> {
    let fits = |seen: &Seen| {
        (query.queue_id.is_none() || seen.queue)
            && (query.from.is_none() || seen.from)
            && (query.to.is_none() || seen.to)
    };
    let mut fitting: Vec<_> = messages.into_iter().filter(|(_, seen)| fits(seen)).collect();
    fitting.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.last_us));
    fitting.into_iter().take(limit).map(|(trace_id, _)| trace_id).collect()
}

/// Hands every step within the time asked for to `take`, newest file first, until it says false.
fn each(dir: &Path, query: &Query, mut take: impl FnMut(TraceEvent) -> bool) -> io::Result<()> {
    for (_, path) in files::list(dir)?.into_iter().rev() {
        let file = match File::open(&path) {
            Ok(file) => file,
            // The oldest may be forgotten while we read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.by_ref().take(LINE_OCTETS_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            // A torn or damaged line is no step; the next one is whole again.
            let Ok(step) = serde_json::from_slice::<TraceEvent>(&line) else { continue };
            let in_time = query.since_us.is_none_or(|since| step.at_us >= since)
                && query.until_us.is_none_or(|until| step.at_us <= until);
            if in_time && !take(step) {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::TraceLog;
    use super::*;
    use postroad_types::Role;
    use std::io::Write;

    fn trace(n: u8) -> TraceId {
        TraceId::new([n; 16])
    }

    fn names(steps: &[TraceEvent]) -> Vec<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }

    fn story(dir: &Path) -> TraceLog {
        let log = TraceLog::open(dir, 1 << 20, Role::Mta, "mx.alpha.test").unwrap();
        let queue_id = QueueId::new(1, 1);
        log.record(TraceEvent::new(30, trace(1), "delivered").with("to", "bob@beta.test"));
        log.record(
            TraceEvent::new(10, trace(1), "accepted").queue_id(&queue_id).with("from", "alice@alpha.test"),
        );
        log.record(
            TraceEvent::new(20, trace(2), "accepted").with("from", "alice@alpha.test").with("to", "x@y"),
        );
        log
    }

    #[test]
    fn a_message_is_found_by_id_by_queue_id_and_by_its_people() {
        let dir = tempfile::tempdir().unwrap();
        let log = story(dir.path());
        let find = |query: Query| names(&log.find(&query).unwrap()).join(" ");
        assert_eq!(find(Query { trace_id: Some(trace(1)), ..Query::default() }), "accepted delivered");
        assert_eq!(
            find(Query { queue_id: Some(QueueId::new(1, 1)), ..Query::default() }),
            "accepted delivered"
        );
        let people = Query {
            from: Some("Alice@alpha.test".into()),
            to: Some("bob@beta.test".into()),
            ..Query::default()
        };
        assert_eq!(find(people), "accepted delivered");
        let alice = Query { from: Some("alice@alpha.test".into()), ..Query::default() };
        assert_eq!(find(alice.clone()), "accepted accepted delivered");
        assert_eq!(find(Query { limit: 1, ..alice.clone() }), "accepted delivered");
        assert_eq!(find(Query { since_us: Some(15), ..alice }), "accepted");
        assert_eq!(find(Query { to: Some("nobody@beta.test".into()), ..Query::default() }), "");
    }

    #[test]
    fn torn_lines_are_skipped_and_the_next_run_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        drop(story(dir.path()));
        let file = dir.path().join("mta/00000001.jsonl");
        let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(b"{\"at_us\":40,\"trace_id\":\"0101").unwrap();
        let log = TraceLog::open(dir.path(), 1 << 20, Role::Mta, "mx.alpha.test").unwrap();
        log.record(TraceEvent::new(50, trace(1), "bounced"));
        let steps = log.find(&Query { trace_id: Some(trace(1)), ..Query::default() }).unwrap();
        assert_eq!(names(&steps), ["accepted", "delivered", "bounced"]);
        assert_eq!((steps[0].role.as_str(), steps[0].node.as_str()), ("mta", "mx.alpha.test"));
    }

    #[test]
    fn the_files_stay_within_their_bound_and_the_newest_steps_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let log = TraceLog::open(dir.path(), 64 * 1024, Role::Mda, "n").unwrap();
        for n in 0..4000 {
            log.record(TraceEvent::new(n, trace(9), "step").with("n", n));
            if n % 1000 == 0 {
                log.flush();
            }
        }
        log.flush();
        let total: u64 = files::list(&dir.path().join("mda"))
            .unwrap()
            .iter()
            .map(|(_, p)| p.metadata().unwrap().len())
            .sum();
        assert!(total <= 64 * 1024, "{total}");
        let steps = log.find(&Query { trace_id: Some(trace(9)), ..Query::default() }).unwrap();
        assert_eq!(steps.last().unwrap().at_us, 3999);
        assert!(steps.len() > 300, "{}", steps.len());
    }
}
