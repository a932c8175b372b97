//! DATA (RFC 5321 §4.1.1.4): the body, up to a line with a dot alone.
//!
//! 354, then what [`body`](super::body) says | 501 5.5.4 | 503 5.5.1 out of order | 554 5.5.1 no recipient was
//! accepted | what policy says.

use super::body::Body;
use super::session::Chunks;
use super::{Answer, Output, Phase, Question, Server};

impl Server {
    pub(super) fn data(&mut self, argument: &str) {
        let Some(transaction) = &self.transaction else {
            return self.fault(503, (5, 5, 1), "say MAIL and RCPT first");
        };
        if !matches!(transaction.chunks, Chunks::None) {
            return self.fault(503, (5, 5, 1), "BDAT and DATA do not mix in one message");
        }
        if transaction.binary {
            // RFC 3030 §3.
            return self.fault(503, (5, 5, 1), "a BINARYMIME body comes with BDAT");
        }
        if self.refuse_argument(argument) {
            return;
        }
        if self.transaction.as_ref().is_none_or(|t| t.recipients == 0) {
            return self.say(554, (5, 5, 1), "no valid recipients");
        }
        let body = Body::until_dot(self.config.bare_line_ends);
        self.ask(Question::Body(body), Output::AskBody);
    }

    /// For DATA and for the first BDAT.
    pub(super) fn answer_body(&mut self, mut body: Body, answer: Answer) {
        match answer {
            Answer::Accept => {
                if body.is_until_dot() {
                    self.say_plain(354, "end with a line that has a dot alone");
                }
            }
            // The octets of a chunk are on their way and must be read over (RFC 3030 §2).
            Answer::Refuse(reply) if !body.is_until_dot() => body.refuse(reply),
            Answer::Refuse(reply) => return self.reply(&reply),
        }
        self.phase = Phase::Body(body);
    }
}
