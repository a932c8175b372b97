//! The body: behind DATA with dots added (RFC 5321 §4.5.2), or in chunks with BDAT (RFC 3030).

use std::time::Instant;

use bytes::Bytes;
use postroad_types::{Reply, limits};

use super::config::Dialect;
use super::envelope::Progress;
use super::{Awaited, Client, Ending, Output, Phase, Stage};

impl Client {
    /// The next octets of the body, which has CRLF line ends only. Ignored if the message is finished already.
    pub fn body_chunk(&mut self, now: Instant, chunk: Bytes) {
        self.now = now;
        let Phase::Message(transaction) = &mut self.phase else { return };
        match &mut transaction.progress {
            Progress::Data(stuffer) => {
                if !chunk.is_empty() {
                    self.outputs.push_back(Output::Write(stuffer.take(chunk)));
                }
                self.outputs.push_back(Output::WantBody);
            }
            Progress::Chunks(held) => {
                let ready = if chunk.is_empty() { None } else { held.replace(chunk) };
                if let Some(ready) = ready {
                    self.send_chunk(ready, false);
                }
                self.want_chunk();
            }
            _ => return,
        }
        self.rearm();
    }

    /// The body is whole. Ignored if the message is finished already.
    pub fn body_end(&mut self, now: Instant) {
        self.now = now;
        let Phase::Message(transaction) = &mut self.phase else { return };
        match std::mem::replace(&mut transaction.progress, Progress::BodySent) {
            Progress::Data(stuffer) => {
                self.dialogue.add("C: (the message)".to_owned());
                self.outputs.push_back(Output::Write(Bytes::from_static(stuffer.finish())));
            }
            Progress::Chunks(held) => self.send_chunk(held.unwrap_or_default(), true),
            other => {
                transaction.progress = other;
                return;
            }
        }
        self.await_verdict();
    }

    /// The body cannot be read on: the connection is closed without the end of data, so that the server drops
    /// what it has. `Finished` and `Closed` follow.
    pub fn body_failed(&mut self, now: Instant) {
        self.now = now;
        if let Phase::Message(_) = self.phase {
            self.end(Ending::BodyFailed);
        }
    }

    fn send_chunk(&mut self, chunk: Bytes, last: bool) {
        let word = if last { " LAST" } else { "" };
        let command = format!("BDAT {}{word}", chunk.len());
        self.outputs.push_back(Output::Write(format!("{command}\r\n").into()));
        self.dialogue.add(format!("C: {command}"));
        if !chunk.is_empty() {
            self.outputs.push_back(Output::Write(chunk));
        }
        if !last {
            self.awaited.push_back(Awaited::Chunk);
        }
    }

    /// Asks for more, unless too many chunks are unanswered.
    fn want_chunk(&mut self) {
        if self.awaited.len() < limits::SMTP_PIPELINE_MAX {
            self.outputs.push_back(Output::WantBody);
        }
    }

    fn await_verdict(&mut self) {
        let Phase::Message(transaction) = &mut self.phase else { return };
        match self.config.dialect {
            Dialect::Smtp => self.awaited.push_back(Awaited::Message),
            Dialect::Lmtp => {
                self.awaited.extend(transaction.accepted.iter().map(|&i| Awaited::MessageFor(i)))
            }
        }
        self.rearm();
    }

    pub(super) fn on_chunk(&mut self, reply: Reply) {
        let Phase::Message(transaction) = &mut self.phase else { return };
        let was_full = self.awaited.len() + 1 == limits::SMTP_PIPELINE_MAX;
        match reply.code {
            200..300 => {}
            300..400 => return self.unfitting(Stage::Body, reply),
            _ => {
                transaction.decide_all(Stage::Body, &reply);
                transaction.progress = Progress::BodySent;
            }
        }
        match transaction.progress {
            Progress::Chunks(_) if was_full => self.want_chunk(),
            Progress::BodySent if self.awaited.is_empty() => self.finish(),
            _ => {}
        }
    }

    pub(super) fn on_message(&mut self, reply: Reply) {
        let Phase::Message(transaction) = &mut self.phase else { return };
        if (300..400).contains(&reply.code) {
            return self.unfitting(Stage::DataEnd, reply);
        }
        transaction.decide_all(Stage::DataEnd, &reply);
        transaction.body_done = reply.is_positive();
        self.finish();
    }

    pub(super) fn on_message_for(&mut self, index: usize, reply: Reply) {
        let Phase::Message(transaction) = &mut self.phase else { return };
        if (300..400).contains(&reply.code) {
            return self.unfitting(Stage::DataEnd, reply);
        }
        transaction.decide(index, Stage::DataEnd, &reply);
        transaction.body_done |= reply.is_positive();
        if self.awaited.is_empty() {
            self.finish();
        }
    }
}
