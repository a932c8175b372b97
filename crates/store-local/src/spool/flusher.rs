//! The one thread that flushes. One flush makes durable whatever was written before it began, and answers
//! everyone who waits for that: group commit. Records that nobody waits for are flushed with the next group,
//! or a while later by themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postroad_store::StoreError;
use postroad_store::spool::{QueuedMessage, RECORD_FLUSH_MS_MAX, SpoolEvent};
use postroad_types::QueueId;

use super::codec::Extent;
use super::mailslot::Mailslot;
use super::state::{Segment, Shared, Stored, file_name};
use super::writer::{Answer, Command, Pinned};

/// Records that nobody waits for are flushed so long after they were written: well within the promise.
const LAZY: Duration = Duration::from_millis(RECORD_FLUSH_MS_MAX / 4);

/// A group that was written and is not yet durable.
#[derive(Debug)]
pub(super) struct Written {
    /// Its segment, and where the group ends in it.
    pub(super) place: Option<(Arc<Segment>, u32)>,
    pub(super) accepted: Vec<Accepted>,
    /// All messages that the group is about.
    pub(super) concerned: Vec<QueueId>,
    pub(super) flushed: Option<Answer<()>>,
    /// How many times, when this was handed over, messages had been written anew that a failed flush concerned.
    pub(super) restated: u64,
}

/// What happens only when it is durable.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) durable: Durable,
    /// Of its body, when that is large.
    pub(super) chunks: Vec<Pinned>,
    pub(super) answer: Answer<()>,
}

#[derive(Debug)]
pub(super) enum Durable {
    New(Box<(QueuedMessage, Stored)>),
    Moved { id: QueueId, segment: u32, extents: Box<[Extent]> },
}

#[derive(Debug)]
pub(super) struct Flusher {
    pub(super) shared: Arc<Shared>,
    pub(super) written: Arc<Mailslot<Written>>,
    pub(super) writer: Arc<Mailslot<Command>>,
    pub(super) keeper: Arc<Mailslot<()>>,
    /// How many times that was asked for.
    pub(super) owed: u64,
    /// The last row of segments in which a flush failed: none in it proves those before it whole.
    pub(super) broken_run: u32,
}

impl Flusher {
    /// Until the slot is closed and all is durable.
    pub(super) fn run(mut self) {
        let mut waiting: Vec<Written> = Vec::new();
        let mut arrived = Vec::new();
        let mut flush_by = None;
        loop {
            let goes_on = self.written.take(&mut arrived, flush_by);
            waiting.append(&mut arrived);
            let asked = |written: &Written| !written.accepted.is_empty() || written.flushed.is_some();
            let late = flush_by.is_some_and(|flush_by| flush_by <= Instant::now());
            if !goes_on || late || waiting.iter().any(asked) {
                self.flush(&mut waiting);
                flush_by = None;
            } else if flush_by.is_none() && !waiting.is_empty() {
                flush_by = Some(Instant::now() + LAZY);
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Makes everything that was written durable, in the order of the segments, and answers.
    fn flush(&mut self, waiting: &mut Vec<Written>) {
        // Where each segment ends that has something to flush; few, and in order.
        let mut ends: Vec<(Arc<Segment>, u32)> = Vec::new();
        for (segment, end) in waiting.iter().filter_map(|written| written.place.as_ref()) {
            match ends.last_mut().filter(|(last, _)| last.number == segment.number) {
                Some((_, known)) => *known = (*known).max(*end),
                None => ends.push((segment.clone(), *end)),
            }
        }
        let mut failure = None;
        for (segment, end) in ends {
            if let Err(error) = self.flush_segment(&segment, end) {
                failure = Some(error);
            }
        }
        match failure {
            None => self.take_in(waiting.drain(..)),
            Some(error) => self.refuse(waiting.drain(..), &error),
        }
    }

    fn flush_segment(&mut self, segment: &Segment, end: u32) -> Result<(), StoreError> {
        let name = file_name(segment.number);
        if segment.is_suspect() {
            return Err(StoreError::Unavailable(format!("an earlier flush of segment {name} failed")));
        }
        match segment.file.sync() {
            Ok(()) => {
                if segment.header.run != self.broken_run {
                    segment.durable.fetch_max(end, Ordering::AcqRel);
                }
                Ok(())
            }
            Err(error) => {
                // Asking again would be answered well although the octets may be lost: the segment is left.
                segment.suspect.store(true, Ordering::Release);
                self.broken_run = segment.header.run;
                tracing::error!(segment = name, %error, "flushing the spool failed; going on with another segment");
                Err(StoreError::io(format_args!("flushing segment {name} of the spool"), &error))
            }
        }
    }

    fn take_in(&mut self, groups: impl Iterator<Item = Written>) {
        let mut answers = Vec::new();
        // Not all that was recorded before these asked is durable.
        let mut too_early = Vec::new();
        let mut refused = Vec::new();
        let mut chunks = Vec::new();
        {
            let mut state = self.shared.state();
            for group in groups {
                if group.restated == self.owed {
                    answers.extend(group.flushed);
                } else {
                    too_early.extend(group.flushed);
                }
                for accepted in group.accepted {
                    chunks.extend(accepted.chunks);
                    match accepted.durable {
                        Durable::New(new) => {
                            let (message, stored) = *new;
                            // A part of its body may lie in a segment of which a flush failed earlier.
                            let suspect = stored.segments().into_iter().any(|number| {
                                state.segments.get(&number).is_none_or(|used| used.segment.is_suspect())
                            });
                            if suspect {
                                refused.push((message.id, accepted.answer));
                                continue;
                            }
                            let id = message.id.clone();
                            state.insert(message, stored, self.shared.settings.cache_octets);
                            self.shared.tell(SpoolEvent::Accepted(id));
                        }
                        Durable::Moved { id, segment, extents } => state.relocate(&id, segment, extents),
                    }
                    answers.push(accepted.answer);
                }
            }
        }
        drop(chunks);
        answers.into_iter().for_each(|answer| drop(answer.send(Ok(()))));
        let failed = || StoreError::Unavailable("an earlier flush of the spool failed".into());
        too_early.into_iter().for_each(|answer: Answer<()>| drop(answer.send(Err(failed()))));
        if !refused.is_empty() {
            self.owed += 1;
            let ids = refused.iter().map(|(id, _)| id.clone()).collect();
            let _ = self.writer.put(Command::Restate(ids));
            let error =
                StoreError::Unavailable("a part of the message could not be flushed to the spool".into());
            refused.into_iter().for_each(|(_, answer)| drop(answer.send(Err(error.clone()))));
        }
        if self.shared.idle_head().is_some() {
            let _ = self.keeper.put(());
        }
    }

    fn refuse(&mut self, groups: impl Iterator<Item = Written>, error: &StoreError) {
        let mut ids = Vec::new();
        let mut answers = Vec::new();
        for group in groups {
            ids.extend(group.concerned);
            answers.extend(group.flushed);
            answers.extend(group.accepted.into_iter().map(|accepted| accepted.answer));
        }
        self.owed += 1;
        // At the end of the spool nobody takes this any more; then the log's own rules have to do.
        let _ = self.writer.put(Command::Restate(ids));
        answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
    }
}
