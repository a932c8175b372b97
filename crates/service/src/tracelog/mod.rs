//! The log of steps: what happened to each message, so that `postroad trace` can tell it as a timeline.
//!
//! [`TraceLog::record`] puts a step into a bounded queue and never waits: when the queue is full the step is
//! lost and counted in `postroad_trace_lost_total`. A thread of its own appends the steps as JSON lines to
//! files of bounded size, the oldest of which go first. Nothing is synced: a timeline may lack its last steps
//! after a power cut, mail never does.
//!
//! A question is answered by reading the files, newest first; a line that is torn or damaged is skipped.

mod files;
mod find;
mod service;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postroad_types::{QueueId, Role, TraceId};
use serde::{Deserialize, Serialize};

pub use find::Query;
pub use service::TraceService;

/// Steps that wait for the writer.
const QUEUE_MAX: usize = 16_384;
/// Steps are in their file after at most so long under steady load …
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// … and after so long when no further ones come: what a process that is killed has done can then be seen.
const FLUSH_PAUSE: Duration = Duration::from_millis(2);

/// One step of a message's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// When it began, in microseconds since 1970.
    pub at_us: u64,
    #[serde(with = "shown")]
    pub trace_id: TraceId,
    #[serde(with = "shown_if_any", default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<QueueId>,
    /// Filled in by the log.
    #[serde(default)]
    pub role: String,
    /// Filled in by the log.
    #[serde(default)]
    pub node: String,
    /// `accepted`, `dns`, `delivered` …
    pub name: String,
    /// What is worth knowing about it. The keys `from` and `to` hold addresses, which steps are looked up by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
    /// 0: an instant.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duration_us: u64,
}

impl TraceEvent {
    /// A step at `at_us`, an instant, without fields.
    pub fn new(at_us: u64, trace_id: TraceId, name: impl Into<String>) -> Self {
        TraceEvent {
            at_us,
            trace_id,
            queue_id: None,
            role: String::new(),
            node: String::new(),
            name: name.into(),
            fields: Vec::new(),
            duration_us: 0,
        }
    }

    #[must_use]
    pub fn queue_id(mut self, queue_id: &QueueId) -> Self {
        self.queue_id = Some(queue_id.clone());
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.fields.push((key.into(), value.to_string()));
        self
    }

    #[must_use]
    pub fn took(mut self, duration: Duration) -> Self {
        self.duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self
    }

    fn has(&self, key: &str, value: &str) -> bool {
        self.fields.iter().any(|(k, v)| k == key && v.eq_ignore_ascii_case(value))
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A role's log of steps; clones share it. With the last clone the writer ends.
#[derive(Clone, Debug)]
pub struct TraceLog {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    role: Role,
    node: String,
    dir: PathBuf,
    orders: Option<SyncSender<Order>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

enum Order {
    Write(TraceEvent),
    /// Everything before it is to be in the files when this is answered.
    Flush(SyncSender<()>),
}

impl TraceLog {
    /// Steps go to `dir`/`role`, in files of together at most `max_bytes`.
    pub fn open(dir: &Path, max_bytes: u64, role: Role, node: &str) -> std::io::Result<TraceLog> {
        let dir = dir.join(role.name());
        let files = files::Files::open(&dir, max_bytes)?;
        let (orders, queue) = sync_channel(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name(format!("trace-{role}"))
            .spawn(move || write_all(files, &queue))?;
        let shared = Shared {
            role,
            node: node.to_owned(),
            dir,
            orders: Some(orders),
            writer: Mutex::new(Some(writer)),
        };
        Ok(TraceLog { shared: Some(Arc::new(shared)) })
    }

    /// One that forgets everything.
    pub fn disabled() -> TraceLog {
        TraceLog { shared: None }
    }

    /// Writes the step down, soon. Never waits.
    pub fn record(&self, mut event: TraceEvent) {
        let Some(shared) = &self.shared else { return };
        event.role = shared.role.name().to_owned();
        event.node = shared.node.clone();
        let taken = match &shared.orders {
            Some(orders) => orders.try_send(Order::Write(event)).is_ok(),
            None => false,
        };
        if !taken {
            metrics::counter!("postroad_trace_lost_total", "role" => shared.role.name()).increment(1);
        }
    }

    /// Waits until everything recorded before is in the files. Blocks: not for async code.
    pub fn flush(&self) {
        let Some(orders) = self.shared.as_ref().and_then(|shared| shared.orders.as_ref()) else { return };
        let (done, wait) = sync_channel(1);
        if orders.send(Order::Flush(done)).is_ok() {
            // If the writer is gone, so is what it had not written.
            let _ = wait.recv();
        }
    }

    /// The steps that a question is about, in the order of time. Blocks: not for async code.
    pub fn find(&self, query: &Query) -> std::io::Result<Vec<TraceEvent>> {
        let Some(shared) = &self.shared else { return Ok(Vec::new()) };
        self.flush();
        find::find(&shared.dir, query)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Without a sender the writer writes what is left and ends.
        self.orders = None;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

/// The writer's thread.
fn write_all(mut files: files::Files, queue: &Receiver<Order>) {
    let mut failing = false;
    let mut flushed = Instant::now();
    let mut buffered = false;
    loop {
        let order = if buffered {
            queue.recv_timeout(FLUSH_PAUSE)
        } else {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        buffered = matches!(order, Ok(Order::Write(_)));
        let (outcome, ends) = match order {
            // Under steady load there is no pause to flush in.
            Ok(Order::Write(event)) if flushed.elapsed() >= FLUSH_EVERY => {
                flushed = Instant::now();
                (files.append(&event).and_then(|()| files.flush()), false)
            }
            Ok(Order::Write(event)) => (files.append(&event), false),
            Ok(Order::Flush(done)) => {
                let outcome = files.flush();
                let _ = done.send(());
                (outcome, false)
            }
            Err(RecvTimeoutError::Timeout) => (files.flush(), false),
            Err(RecvTimeoutError::Disconnected) => (files.flush(), true),
        };
        match outcome {
            Ok(()) => failing = false,
            // Said once, not for every step while the disk is full.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, dir = %files.dir().display(), "steps cannot be written; timelines will lack them");
            }
            Err(_) => {}
        }
        if ends {
            return;
        }
    }
}

/// Ids as they are shown.
mod shown {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<T, D::Error> {
        std::borrow::Cow::<str>::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

mod shown_if_any {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => s.collect_str(value),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<std::borrow::Cow<str>>::deserialize(d)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
