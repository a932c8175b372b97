//! RCPT TO (RFC 5321 §4.1.1.3): one more recipient.
//!
//! 250 2.1.5 | 452 4.5.3 too many | 501 5.5.4 no TO: | 501 5.1.3 bad path | 503 5.5.1 out of order
//! | 553 5.6.7 UTF-8 without SMTPUTF8 | 555 5.5.4 unknown parameter | what policy and directory say.

use postroad_types::{Notify, limits};

use super::mail::{Refusal, dsn_text, strip_word};
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
        match read_rcpt(argument, transaction.smtputf8, self.config.dsn) {
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

fn read_rcpt(argument: &str, smtputf8: bool, dsn: bool) -> Result<Recipient, Refusal> {
    let bad = |text: &str| (501, (5, 5, 4), text.to_owned());
    let path = strip_word(argument, "TO:").ok_or_else(|| bad("RCPT TO:<address>"))?;
    let (path, rest) = forward_path(path).map_err(|error| (501, (5, 1, 3), error.to_string()))?;
    let mut recipient = Recipient { path, notify: Notify::Unsaid, original: None };
    for parameter in parameters(rest).map_err(|error| bad(&error.to_string()))? {
        match (parameter.keyword.to_ascii_uppercase().as_str(), parameter.value) {
            ("NOTIFY", value) if dsn => {
                let notify = value.and_then(notify);
                recipient.notify =
                    notify.ok_or_else(|| bad("NOTIFY=NEVER, or a list of SUCCESS, FAILURE and DELAY"))?;
            }
            ("ORCPT", value) if dsn => {
                let original = value.and_then(|value| original(value, smtputf8));
                recipient.original = Some(original.ok_or_else(|| bad("ORCPT=type;address as xtext"))?);
            }
            (keyword, _) => return Err((555, (5, 5, 4), format!("unknown parameter {keyword}"))),
        }
    }
    if let ForwardPath::Address(address) = &recipient.path
        && address.is_internationalised()
        && !smtputf8
    {
        return Err((553, (5, 6, 7), "this address needs SMTPUTF8".into()));
    }
    Ok(recipient)
}

/// RFC 3461 §4.1: NEVER alone, or some of the others.
fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        let wanted = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut success,
            "FAILURE" => &mut failure,
            "DELAY" => &mut delay,
            _ => return None,
        };
        *wanted = true;
    }
    Some(Notify::On { success, failure, delay })
}

/// RFC 3461 §4.2: `addr-type ";" xtext`; with SMTPUTF8 the type `utf-8` may hold UTF-8 as it is (RFC 6533 §3).
fn original(value: &str, smtputf8: bool) -> Option<String> {
    let (kind, address) = value.split_once(';')?;
    let is_atom = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let address = match kind.eq_ignore_ascii_case("utf-8") && smtputf8 {
        true => Some(address.to_owned()).filter(|a| !a.is_empty() && !a.chars().any(char::is_control)),
        false => dsn_text(address, limits::DSN_ORIGINAL_RECIPIENT_OCTETS_MAX),
    }?;
    let fits = value.len() <= limits::DSN_ORIGINAL_RECIPIENT_OCTETS_MAX;
    (is_atom && fits).then(|| format!("{kind};{address}"))
}
