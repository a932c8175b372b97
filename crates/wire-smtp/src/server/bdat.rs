//! BDAT (RFC 3030 §2): the body in chunks of announced length. Lines end with CRLF here too, unless MAIL said
//! BODY=BINARYMIME: then the octets are passed on unseen.
//!
//! 250 2.0.0 for each chunk but the last, which gets what [`body`](super::body) says | 503 5.5.1 out of order or
//! behind a refused chunk | 554 5.5.1 no recipient was accepted | 501 5.5.4 no length, and the end, because
//! nobody knows where the next command begins. The octets of a refused chunk are read over.

use postroad_types::{EnhancedCode, Reply};

use super::body::Body;
use super::session::Chunks;
use super::{Output, Phase, Question, Server};

impl Server {
    pub(super) fn bdat(&mut self, argument: &str) {
        if !self.config.chunking {
            return self.fault(502, (5, 5, 1), "command not implemented");
        }
        let Some((octets, last)) = read_bdat(argument) else {
            return self.abandon(501, (5, 5, 4), "BDAT octets [LAST]");
        };
        let rule = match &self.transaction {
            Some(transaction) if transaction.binary => None,
            _ => Some(self.config.bare_line_ends),
        };
        let out_of_order = |text: &str| Reply::new(503, EnhancedCode::new(5, 5, 1), text);
        let refusal = match &mut self.transaction {
            None => out_of_order("say MAIL and RCPT first"),
            Some(transaction) if transaction.recipients == 0 => {
                Reply::new(554, EnhancedCode::new(5, 5, 1), "no valid recipients")
            }
            Some(transaction) => match std::mem::replace(&mut transaction.chunks, Chunks::Failed) {
                Chunks::None => {
                    let body = Body::in_chunks(rule, octets, last);
                    return self.ask(Question::Body(body), Output::AskBody);
                }
                Chunks::Begun(mut body) => {
                    body.next_chunk(octets, last);
                    self.phase = Phase::Body(body);
                    return;
                }
                Chunks::Failed => out_of_order("a chunk was refused; say RSET"),
            },
        };
        let mut body = Body::in_chunks(rule, octets, last);
        body.refuse(refusal);
        self.phase = Phase::Body(body);
    }
}

/// Octets, and whether it is the last chunk.
fn read_bdat(argument: &str) -> Option<(u64, bool)> {
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let octets = words.next()?;
    if !octets.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let octets = octets.parse().ok()?;
    match (words.next(), words.next()) {
        (None, _) => Some((octets, false)),
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => Some((octets, true)),
        _ => None,
    }
}
