//! MAIL FROM (RFC 5321 §4.1.1.2): a message begins.
//!
//! 250 2.1.0 | 501 5.5.4 no FROM:, bad parameter | 501 5.1.7 bad path | 503 5.5.1 out of order
//! | 530 5.7.0 TLS or AUTH needed | 552 5.3.4 declared too large | 553 5.6.7 UTF-8 without SMTPUTF8
//! | 555 5.5.4 unknown parameter | what policy says.

use postroad_types::{BodyKind, ReversePath};

use super::session::{Chunks, Transaction};
use super::{Answer, Mail, Output, Question, Server};
use crate::codec::parameter::{Parameter, parameters};
use crate::codec::path::reverse_path;
use crate::codec::xtext;

/// Code, enhanced code and text of a refusal.
pub(super) type Refusal = (u16, (u8, u16, u16), String);

impl Server {
    pub(super) fn mail(&mut self, argument: &str) {
        if self.refuse_unready() {
            return;
        }
        if self.transaction.is_some() {
            return self.fault(503, (5, 5, 1), "a message has begun already; RSET drops it");
        }
        match self.read_mail(argument) {
            Ok(mail) => {
                let smtputf8 = mail.smtputf8;
                self.ask(Question::Mail { smtputf8 }, Output::AskMail(mail));
            }
            Err((code, enhanced, text)) => self.fault(code, enhanced, &text),
        }
    }

    pub(super) fn answer_mail(&mut self, smtputf8: bool, answer: Answer) {
        match answer {
            Answer::Accept => {
                self.transaction = Some(Transaction { smtputf8, recipients: 0, chunks: Chunks::None });
                self.say(250, (2, 1, 0), "sender ok");
            }
            Answer::Refuse(reply) => self.reply(&reply),
        }
    }

    fn read_mail(&self, argument: &str) -> Result<Mail, Refusal> {
        let bad = |text: &str| (501, (5, 5, 4), text.to_owned());
        let path = strip_word(argument, "FROM:").ok_or_else(|| bad("MAIL FROM:<address>"))?;
        let (path, rest) = reverse_path(path).map_err(|error| (501, (5, 1, 7), error.to_string()))?;
        let mut mail = Mail {
            reverse_path: path,
            declared_octets: None,
            body: BodyKind::SevenBit,
            smtputf8: false,
            submitter: None,
        };
        for parameter in parameters(rest).map_err(|error| bad(&error.to_string()))? {
            if !self.session.is_extended() {
                return Err((555, (5, 5, 4), "parameters come after EHLO only".into()));
            }
            self.read_mail_parameter(&mut mail, parameter)?;
        }
        if !mail.smtputf8 && mail.reverse_path.address().is_some_and(|a| a.is_internationalised()) {
            return Err((553, (5, 6, 7), "this address needs SMTPUTF8".into()));
        }
        Ok(mail)
    }

    fn read_mail_parameter(&self, mail: &mut Mail, parameter: Parameter) -> Result<(), Refusal> {
        let bad = |text: &str| (501, (5, 5, 4), text.to_owned());
        match (parameter.keyword.to_ascii_uppercase().as_str(), parameter.value) {
            ("SIZE", value) => {
                let octets = value.and_then(size).ok_or_else(|| bad("SIZE=octets"))?;
                if octets > self.config.message_octets_max {
                    return Err((552, (5, 3, 4), self.too_large()));
                }
                mail.declared_octets = Some(octets);
            }
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {
                mail.body = BodyKind::SevenBit;
            }
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                mail.body = BodyKind::EightBitMime;
            }
            ("BODY", _) => return Err(bad("BODY=7BIT or BODY=8BITMIME")),
            ("SMTPUTF8", None) if self.config.smtputf8 => mail.smtputf8 = true,
            ("SMTPUTF8", Some(_)) if self.config.smtputf8 => {
                return Err(bad("SMTPUTF8 takes no value"));
            }
            ("AUTH", value) if !self.config.mechanisms.is_empty() => {
                let submitter = value.and_then(submitter);
                mail.submitter = Some(submitter.ok_or_else(|| bad("AUTH=address as xtext, or <>"))?);
            }
            (keyword, _) => return Err((555, (5, 5, 4), format!("unknown parameter {keyword}"))),
        }
        Ok(())
    }

    pub(super) fn too_large(&self) -> String {
        format!("the message is larger than {} octets", self.config.message_octets_max)
    }
}

/// What is behind `word` at the start of `text`, in any letter case.
pub(super) fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// RFC 1870 §6: up to 20 digits; one beyond 64 bits is too large in any case.
fn size(value: &str) -> Option<u64> {
    let digits = value.len() <= 20 && value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

/// RFC 4954 §5: a mailbox as xtext, or `<>` for "unknown".
fn submitter(value: &str) -> Option<ReversePath> {
    let text = xtext::decode(value)?;
    if text == "<>" {
        return Some(ReversePath::Null);
    }
    let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    inner.unwrap_or(&text).parse().ok().map(ReversePath::Address)
}
