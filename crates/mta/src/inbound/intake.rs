//! A message coming in: its header section is held until it is whole, looked at and completed, then everything
//! streams into the spool.
//!
//! What is stored is exactly what the client sent after dots were undone, with our Received in front, and behind it
//! what policy has to say; on submission also with the fields that were missing, and without Bcc. Only a content
//! filter may have the subject or fields of others' changed. A message without an empty line is all header. A body
//! of BDAT whose last line has no end gets its CRLF in the protocol machine: over DATA, and in a Maildir, there are
//! only whole lines.
//!
//! Where a content filter is to see the whole before its verdict, all octets wait in a [`Hold`] until the end
//! (`policy/data` says why).

use bytes::{Bytes, BytesMut};
use postroad_store::StoreError;
use postroad_store::spool::{Micros, NewMessage};
use postroad_types::{Address, Reply, ReversePath, TraceId, limits};

use crate::consignment::reply;
use crate::message::received::{self, Origin};
use crate::message::{edit, header};
use crate::policy::data::{Changes, DataStage, Hold, Subject, submission};
use crate::policy::verdict::{self, Finding, Outcome};

/// What is written in front of the message and why.
#[derive(Debug)]
pub struct Label {
    pub origin: Origin,
    /// Our name.
    pub hostname: String,
    pub sender: ReversePath,
    /// Not empty.
    pub recipients: Vec<Address>,
    /// It came over submission: fields are completed.
    pub submitted: bool,
    /// Takes up the trace id that another Postroad wrote down.
    pub adopt_trace: bool,
    /// The message's own otherwise.
    pub trace: TraceId,
    pub now: Micros,
    /// What earlier stages found.
    pub findings: Vec<Finding>,
}

/// A message that is not whole yet.
pub struct Intake {
    message: Box<dyn NewMessage>,
    label: Label,
    stage: DataStage,
    /// What stage data has found so far.
    outcomes: Vec<Outcome>,
    /// Until the header section is whole: all of it. Then what was not written yet.
    held: BytesMut,
    /// The whole message as it came, where a content filter is to see it; with its header section.
    scan: Option<(Hold, Bytes)>,
    in_header: bool,
    header_is_ascii: bool,
    is_ascii: bool,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("id", self.message.id()).finish_non_exhaustive()
    }
}

/// A message that is whole and not durable yet.
pub struct Whole {
    pub message: Box<dyn NewMessage>,
    pub trace: TraceId,
    pub header_is_ascii: bool,
    /// All of it is, whatever the client announced: hosts without 8BITMIME can take it.
    pub is_ascii: bool,
}

impl Intake {
    pub fn new(message: Box<dyn NewMessage>, label: Label, stage: DataStage) -> Self {
        Intake {
            message,
            label,
            outcomes: Vec::new(),
            held: BytesMut::new(),
            scan: stage.wants_whole().then(|| (stage.hold(), Bytes::new())),
            stage,
            in_header: true,
            header_is_ascii: true,
            is_ascii: true,
        }
    }

    /// What stage data found, to be told once.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Takes octets. An error is the reply that refuses the message.
    pub async fn push(&mut self, chunk: &[u8]) -> Result<(), Reply> {
        let seen = self.held.len();
        self.is_ascii &= chunk.is_ascii();
        self.stage.octets(chunk);
        if let Some((hold, _)) = &mut self.scan {
            hold.push(chunk).await.map_err(|error| not_held(&error))?;
        }
        if self.in_header || self.scan.is_none() {
            self.held.extend_from_slice(chunk);
        }
        if self.in_header {
            let end = header::end(&self.held, seen);
            let too_long = end.is_none() && self.held.len() > limits::MESSAGE_HEADER_OCTETS_MAX;
            if end.is_some_and(|end| end.fields > limits::MESSAGE_HEADER_OCTETS_MAX) || too_long {
                return Err(reply(552, (5, 3, 4), "the header section is too long"));
            }
            if let Some(end) = end {
                self.end_header(end.fields).await?;
            }
        }
        if !self.in_header && self.held.len() >= limits::BODY_CHUNK_OCTETS {
            let chunk = self.held.split().freeze();
            self.message.write(chunk).await.map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    /// The client has sent everything. Nothing may be pushed afterwards.
    pub async fn end(&mut self) -> Result<(), Reply> {
        if self.in_header {
            self.end_header(self.held.len()).await?;
        }
        let mut scan = self.scan.take();
        let subject = Subject {
            id: self.message.id(),
            hostname: &self.label.hostname,
            sender: &self.label.sender,
            recipients: &self.label.recipients,
        };
        let held = scan.as_mut().map(|(hold, _)| hold);
        let (outcome, changes) = self.stage.end(subject, held).await;
        let refusal_by_policy = outcome.refusal.clone();
        self.outcomes.push(outcome);
        if let Some(reply) = refusal_by_policy {
            return Err(reply);
        }
        if let Some((hold, head)) = scan {
            self.write_held(hold, &head, &changes).await?;
        }
        let rest = self.held.split().freeze();
        if !rest.is_empty() {
            self.message.write(rest).await.map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    /// The message as it is to be committed, after [`Intake::end`].
    pub fn whole(self) -> Whole {
        Whole {
            message: self.message,
            trace: self.label.trace,
            header_is_ascii: self.header_is_ascii,
            is_ascii: self.is_ascii,
        }
    }

    /// The header section is the first `length` octets of what is held: it is judged, and completed in its place
    /// unless the whole message is to be judged first.
    async fn end_header(&mut self, length: usize) -> Result<(), Reply> {
        self.in_header = false;
        let rest = self.held.split_off(length);
        let head = std::mem::take(&mut self.held).freeze();
        let outcome = self.stage.header(&head).await;
        let refusal = outcome.refusal.clone();
        self.outcomes.push(outcome);
        if let Some(reply) = refusal {
            return Err(reply);
        }
        self.header_is_ascii = head.is_ascii();
        if self.label.adopt_trace
            && let Some(trace) = received::trace_of(&head)
        {
            self.label.trace = trace;
        }
        match &mut self.scan {
            Some((_, kept)) => *kept = head,
            None => {
                let mut out = self.completed(&head, &Changes::default());
                out.extend_from_slice(&rest);
                self.held = out;
            }
        }
        Ok(())
    }

    /// The header section with what comes in front of it and what is changed in it.
    fn completed(&self, head: &[u8], changes: &Changes) -> BytesMut {
        let label = &self.label;
        let id = self.message.id();
        // FOR must not tell one recipient of another.
        let only = match label.recipients.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        let trace = received::write(&label.origin, &label.hostname, id, label.trace, only, label.now);
        let here = self.outcomes.iter().flat_map(|outcome| &outcome.findings);
        let marks = verdict::header(label.findings.iter().chain(here));
        let changed =
            if changes.remove.is_empty() { None } else { Some(edit::without(head, &changes.remove)) };
        let head = changed.as_deref().unwrap_or(head);
        let changed = changes.subject.as_deref().map(|subject| edit::with_subject(head, subject));
        let head = changed.as_deref().unwrap_or(head);
        let mut out =
            BytesMut::with_capacity(trace.len() + marks.len() + changes.add.len() + head.len() + 160);
        out.extend_from_slice(trace.as_bytes());
        out.extend_from_slice(marks.as_bytes());
        out.extend_from_slice(changes.add.as_bytes());
        if label.submitted {
            let host = &label.hostname;
            out.extend_from_slice(&submission::complete(head, &label.sender, host, id, label.now));
        } else {
            out.extend_from_slice(head);
        }
        out
    }

    /// From where it was held into the spool, behind its completed header section.
    async fn write_held(&mut self, mut hold: Hold, head: &[u8], changes: &Changes) -> Result<(), Reply> {
        let front = self.completed(head, changes).freeze();
        self.message.write(front).await.map_err(|error| refusal(&error))?;
        let mut offset = head.len() as u64;
        loop {
            let chunk = hold.read(offset).await.map_err(|error| not_held(&error))?;
            if chunk.is_empty() {
                return Ok(());
            }
            offset += chunk.len() as u64;
            self.message.write(chunk).await.map_err(|error| refusal(&error))?;
        }
    }
}

/// A message can't be kept for the content filter.
fn not_held(error: &std::io::Error) -> Reply {
    tracing::error!(%error, "a message can not be held for its content filter; its client is put off");
    reply(452, (4, 3, 1), "no room for your message now, try again later")
}

/// Storage does not take it: the client keeps its mail and comes again.
pub fn refusal(error: &StoreError) -> Reply {
    tracing::error!(%error, "a message can not be stored; its client is put off");
    match error {
        StoreError::Unavailable(_) => reply(452, (4, 3, 1), "no room for your message now, try again later"),
        _ => reply(451, (4, 3, 0), "your message could not be stored, try again later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_store::memory::MemorySpool;
    use postroad_store::spool::{NewEnvelope, Spool};
    use proptest::prelude::*;

    fn label(submitted: bool) -> Label {
        Label {
            origin: Origin {
                peer: "192.0.2.7".parse().unwrap(),
                name: None,
                hidden: false,
                hello: "c".into(),
                hello_host: "c".parse().ok(),
                protocol: "ESMTP",
                tls: None,
                smtputf8: false,
            },
            hostname: "mx.alpha.test".into(),
            sender: "alice@alpha.test".parse().unwrap(),
            recipients: Vec::new(),
            submitted,
            adopt_trace: true,
            trace: TraceId::new([1; 16]),
            now: 0,
            findings: Vec::new(),
        }
    }

    /// Of a policy that finds nothing.
    fn stage() -> DataStage {
        let policy = std::sync::Arc::new(crate::testing::policy());
        let client = policy.client("127.0.0.1".parse().unwrap(), false);
        policy.data(&client, 0)
    }

    /// What lies in the spool after these chunks, without our Received.
    async fn stored(label: Label, chunks: &[&[u8]]) -> (Vec<u8>, TraceId) {
        let spool = MemorySpool::new();
        let origin = label.origin.clone();
        let mut intake = Intake::new(spool.create(0).await.unwrap(), label, stage());
        for chunk in chunks {
            intake.push(chunk).await.unwrap();
        }
        intake.end().await.unwrap();
        let whole = intake.whole();
        let envelope = NewEnvelope {
            trace_id: whole.trace,
            reverse_path: "".parse().unwrap(),
            recipients: vec!["b@c".parse::<Address>().unwrap().into()],
            body: Default::default(),
            smtputf8: false,
            envelope_id: None,
            options: Default::default(),
            accepted_at: 0,
            expires_at: 1,
            first_attempt_at: 0,
        };
        let id = whole.message.commit(envelope).await.unwrap();
        let all = spool.read(&id, 0, usize::MAX).await.unwrap();
        // By its length and not by its syntax: what follows may begin with white space.
        let received = received::write(&origin, "mx.alpha.test", &id, whole.trace, None, 0);
        let rest = all.strip_prefix(received.as_bytes()).expect("our Received in front");
        (rest.to_vec(), whole.trace)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn not_an_octet_changes_however_it_is_cut(body in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..50, with_header: bool) {
            let mut message = if with_header { b"Subject: x\r\n\r\n".to_vec() } else { Vec::new() };
            message.extend_from_slice(&body);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let chunks: Vec<&[u8]> = message.chunks(cut).collect();
            let (all, _) = runtime.block_on(stored(label(false), &chunks));
            prop_assert_eq!(all, message);
        }
    }

    #[tokio::test]
    async fn a_large_message_streams_and_stays_the_same() {
        let mut message = b"Subject: x\r\n\r\n".to_vec();
        message.extend((0..1_000_000u32).map(|i| (i % 251) as u8));
        let chunks: Vec<&[u8]> = message.chunks(16_384).collect();
        assert!(stored(label(false), &chunks).await.0 == message);
    }

    #[tokio::test]
    async fn a_trace_id_of_another_postroad_is_taken_up_only_where_wanted() {
        let theirs = TraceId::new([9; 16]);
        let message = format!("Received: from a by b\r\n\t(postroad trace {theirs}); now\r\n\r\n");
        assert_eq!(stored(label(false), &[message.as_bytes()]).await.1, theirs);
        let unwanted = Label { adopt_trace: false, ..label(false) };
        assert_eq!(stored(unwanted, &[message.as_bytes()]).await.1, TraceId::new([1; 16]));
    }

    #[tokio::test]
    async fn submission_completes_and_relay_does_not() {
        let message = b"Subject: x\r\nBcc: y@z\r\n\r\nbody\r\n";
        let (relayed, _) = stored(label(false), &[message]).await;
        assert_eq!(relayed, message);
        let text = String::from_utf8(stored(label(true), &[message]).await.0).unwrap();
        assert!(
            text.starts_with("Date: ")
                && !text.contains("Bcc")
                && text.ends_with("Subject: x\r\n\r\nbody\r\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn an_endless_header_is_refused() {
        let spool = MemorySpool::new();
        let mut intake = Intake::new(spool.create(0).await.unwrap(), label(false), stage());
        let line = b"X-Pad: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(512);
        let mut refused = None;
        for _ in 0..100 {
            if let Err(reply) = intake.push(&line).await {
                refused = Some(reply.code);
                break;
            }
        }
        assert_eq!(refused, Some(552));
    }
}
