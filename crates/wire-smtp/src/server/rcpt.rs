//! RCPT TO (RFC 5321 §4.1.1.3): one more recipient.
//!
//! 250 2.1.5 | 452 4.5.3 too many | 501 5.5.4 no TO: | 501 5.1.3 bad path | 503 5.5.1 out of order
//! | 553 5.6.7 UTF-8 without SMTPUTF8 | 555 5.5.4 unknown parameter | what policy and directory say.

use super::mail::{Refusal, strip_word};
use super::session::Chunks;
use super::{Answer, Output, Question, Recipient, Server};
use crate::codec::parameter::parameters;
use crate::codec::path::{ForwardPath, forward_path};

impl Server {
    pub(super) fn rcpt(&mut self, argument: &str) {
        let Some(transaction) = &self.transaction else {
            return self.fault(503, (5, 5, 1), "say MAIL first");
        };
        if !matches!(transaction.chunks, Chunks::None) {
            return self.fault(503, (5, 5, 1), "the body has begun already");
        }
        if transaction.recipients >= self.config.recipients_max {
            return self.say(452, (4, 5, 3), "too many recipients; send the rest in another message");
        }
        match read_rcpt(argument, transaction.smtputf8) {
            Ok(recipient) => self.ask(Question::Recipient, Output::AskRecipient(recipient)),
            Err((code, enhanced, text)) => self.fault(code, enhanced, &text),
        }
    }

    pub(super) fn answer_recipient(&mut self, answer: Answer) {
        match answer {
            Answer::Accept => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients += 1;
                }
                self.say(250, (2, 1, 5), "recipient ok");
            }
            Answer::Refuse(reply) => self.reply(&reply),
        }
    }
}

fn read_rcpt(argument: &str, smtputf8: bool) -> Result<Recipient, Refusal> {
    let bad = |text: &str| (501, (5, 5, 4), text.to_owned());
    let path = strip_word(argument, "TO:").ok_or_else(|| bad("RCPT TO:<address>"))?;
    let (path, rest) = forward_path(path).map_err(|error| (501, (5, 1, 3), error.to_string()))?;
    if let Some(parameter) = parameters(rest).map_err(|error| bad(&error.to_string()))?.first() {
        let text = format!("unknown parameter {}", parameter.keyword);
        return Err((555, (5, 5, 4), text));
    }
    if let ForwardPath::Address(address) = &path
        && address.is_internationalised()
        && !smtputf8
    {
        return Err((553, (5, 6, 7), "this address needs SMTPUTF8".into()));
    }
    Ok(Recipient { path })
}
