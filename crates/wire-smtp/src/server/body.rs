//! The body on its way in, of DATA and of BDAT.
//!
//! A body that has to be refused (too large, bare line ends, the driver cannot keep it) is read to its end all
//! the same: only then does the client listen. The driver hears `BodyAbort` at once, the client at the end:
//!
//! 250 from the driver | 552 5.3.4 too large | 550 5.6.11 bare CR or LF | the driver's 4xx or 5xx.

use bytes::{Bytes, BytesMut};
use postroad_types::{EnhancedCode, Reply, limits};

use super::session::Chunks;
use super::{Anomaly, Output, Phase, Question, Server};
use crate::codec::dot::Unstuffer;
use crate::codec::line_ends::{BareLineEnds, LineEnds};

/// A body, or what has come of it.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    /// `None`: the octets mean nothing (BINARYMIME).
    rule: Option<BareLineEnds>,
    /// Octets of the message so far.
    octets: u64,
    /// Octets that came after the refusal.
    drained: u64,
    /// Octets since the deadline was set.
    progress: u64,
    bare_reported: bool,
    refusal: Option<Reply>,
}

#[derive(Debug)]
enum Framing {
    Dot(Unstuffer),
    Chunk {
        ends: Option<LineEnds>,
        /// Of this chunk: announced, and still to come.
        announced: u64,
        left: u64,
        last: bool,
    },
}

impl Body {
    pub(super) fn until_dot(rule: BareLineEnds) -> Self {
        Body::new(Framing::Dot(Unstuffer::new(rule)), Some(rule))
    }

    pub(super) fn in_chunks(rule: Option<BareLineEnds>, announced: u64, last: bool) -> Self {
        let framing = Framing::Chunk { ends: rule.map(LineEnds::new), announced, left: announced, last };
        Body::new(framing, rule)
    }

    fn new(framing: Framing, rule: Option<BareLineEnds>) -> Self {
        Body { framing, rule, octets: 0, drained: 0, progress: 0, bare_reported: false, refusal: None }
    }

    /// The next BDAT of the same body.
    pub(super) fn next_chunk(&mut self, octets: u64, is_last: bool) {
        if let Framing::Chunk { announced, left, last, .. } = &mut self.framing {
            (*announced, *left, *last) = (octets, octets, is_last);
        }
    }

    pub(super) fn is_until_dot(&self) -> bool {
        matches!(self.framing, Framing::Dot(_))
    }

    /// Whether the driver still gathers it.
    pub(super) fn is_wanted(&self) -> bool {
        self.refusal.is_none()
    }

    /// It will be answered with `reply`; the first refusal stands.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
    }

    /// Takes what is there off `input`: the octets of the message, and whether this was the end of data or chunk.
    fn take(&mut self, input: &mut BytesMut) -> (Bytes, bool) {
        match &mut self.framing {
            Framing::Dot(unstuffer) => {
                let taken = unstuffer.take(input);
                (taken.body, taken.end)
            }
            Framing::Chunk { ends, left, .. } => {
                let there = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= there as u64;
                let octets = input.split_to(there).freeze();
                let octets = match ends {
                    Some(ends) => ends.take(octets),
                    None => octets,
                };
                (octets, *left == 0)
            }
        }
    }

    fn has_bare(&self) -> bool {
        match &self.framing {
            Framing::Dot(unstuffer) => unstuffer.has_bare(),
            Framing::Chunk { ends, .. } => ends.as_ref().is_some_and(LineEnds::has_bare),
        }
    }
}

impl Server {
    pub(super) fn step_body(&mut self) -> bool {
        let Phase::Body(body) = &mut self.phase else {
            return false;
        };
        let before = self.input.len();
        let (octets, end) = body.take(&mut self.input);
        let taken = (before - self.input.len()) as u64;
        if taken == 0 && !end {
            if self.input_ended {
                self.close();
            }
            return self.input_ended;
        }
        body.progress += taken;
        if body.progress >= limits::SMTP_DATA_PROGRESS_OCTETS {
            body.progress = 0;
            self.deadline = None;
        }
        if let Phase::Body(body) = std::mem::replace(&mut self.phase, Phase::Command) {
            self.keep_body(body, octets, taken, end);
        }
        true
    }

    fn keep_body(&mut self, mut body: Body, octets: Bytes, taken: u64, end: bool) {
        if !body.is_wanted() {
            body.drained += taken;
            if body.drained > limits::SMTP_DRAIN_OCTETS_MAX {
                return self.refuse_and_close(body);
            }
        } else if !octets.is_empty() {
            self.pass_on(&mut body, octets);
        }
        if !end {
            self.phase = Phase::Body(body);
            return;
        }
        self.deadline = None;
        match body.framing {
            Framing::Chunk { announced, last: false, .. } => self.end_chunk(body, announced),
            Framing::Chunk { ref mut ends, .. } => {
                let rest = ends.as_mut().map_or(&[][..], |ends| ends.finish(body.octets == 0));
                if !rest.is_empty() && body.is_wanted() {
                    self.pass_on(&mut body, Bytes::from_static(rest));
                }
                self.end_body(body);
            }
            Framing::Dot(_) => self.end_body(body),
        }
    }

    /// Gives octets to the driver, unless they are the ones that make the body unacceptable.
    fn pass_on(&mut self, body: &mut Body, octets: Bytes) {
        body.octets += octets.len() as u64;
        if body.has_bare() && !body.bare_reported {
            body.bare_reported = true;
            self.anomaly(Anomaly::BareLineEndInBody);
        }
        let refusal = if body.has_bare() && body.rule == Some(BareLineEnds::Refuse) {
            let text = "the body has a CR or LF on its own; lines end with CR LF";
            Reply::new(550, EnhancedCode::new(5, 6, 11), text)
        } else if body.octets > self.config.message_octets_max {
            Reply::new(552, EnhancedCode::new(5, 3, 4), self.too_large())
        } else {
            return self.outputs.push_back(Output::Body(octets));
        };
        body.refuse(refusal);
        self.outputs.push_back(Output::BodyAbort);
    }

    fn end_body(&mut self, body: Body) {
        match body.refusal {
            Some(reply) => {
                self.transaction = None;
                self.reply(&reply);
            }
            None => self.ask(Question::Message, Output::BodyEnd),
        }
    }

    fn end_chunk(&mut self, body: Body, announced: u64) {
        if let Some(reply) = body.refusal {
            // The transaction, if there is one, stays refused until RSET.
            return self.reply(&reply);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.chunks = Chunks::Begun(body);
        }
        self.say(250, (2, 0, 0), &format!("{announced} octets received"));
    }

    fn refuse_and_close(&mut self, body: Body) {
        if let Some(reply) = &body.refusal {
            self.reply(reply);
        }
        self.close();
    }
}
