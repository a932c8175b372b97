//! MAIL FROM (RFC 5321 §4.1.1.2): a message begins.
//!
//! 250 2.1.0 | 501 5.5.4 no FROM:, bad parameter | 501 5.1.7 bad path | 503 5.5.1 out of order
//! | 530 5.7.0 TLS or AUTH needed | 552 5.3.4 declared too large | 553 5.6.7 UTF-8 without SMTPUTF8
//! | 555 5.5.4 unknown parameter | what policy says.

use postroad_types::{BodyKind, ByMode, Ret, ReversePath, limits};

use super::session::{Chunks, Transaction};
use super::{Answer, By, Hold, Mail, Output, Question, Server};
use crate::codec::date_time;
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
        if self.config.messages_max > 0 && self.messages >= self.config.messages_max {
            // RFC 9422 §4.1: the client was told.
            return self.abandon(421, (4, 7, 0), "that were enough messages for one session");
        }
        if self.transaction.is_some() {
            return self.fault(503, (5, 5, 1), "a message has begun already; RSET drops it");
        }
        match self.read_mail(argument) {
            Ok(mail) => {
                let (smtputf8, binary) = (mail.smtputf8, mail.body == BodyKind::BinaryMime);
                self.ask(Question::Mail { smtputf8, binary }, Output::AskMail(mail));
            }
            Err((code, enhanced, text)) => self.fault(code, enhanced, &text),
        }
    }

    pub(super) fn answer_mail(&mut self, smtputf8: bool, binary: bool, answer: Answer) {
        match answer {
            Answer::Accept => {
                self.transaction =
                    Some(Transaction { smtputf8, binary, recipients: 0, chunks: Chunks::None });
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
            envelope_id: None,
            ret: None,
            require_tls: false,
            priority: 0,
            deliver_by: None,
            hold: None,
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
            ("BODY", Some(value)) if self.config.chunking && value.eq_ignore_ascii_case("BINARYMIME") => {
                mail.body = BodyKind::BinaryMime;
            }
            ("BODY", _) => return Err(bad("BODY=7BIT, BODY=8BITMIME or BODY=BINARYMIME")),
            ("RET", value) if self.config.dsn => {
                mail.ret = Some(value.and_then(ret).ok_or_else(|| bad("RET=FULL or RET=HDRS"))?);
            }
            ("ENVID", value) if self.config.dsn => {
                let id = value.and_then(|value| dsn_text(value, limits::DSN_ENVELOPE_ID_OCTETS_MAX));
                mail.envelope_id =
                    Some(id.ok_or_else(|| bad("ENVID=text as xtext, 100 characters at most"))?);
            }
            ("REQUIRETLS", None) if self.offers_require_tls() => mail.require_tls = true,
            ("REQUIRETLS", Some(_)) if self.offers_require_tls() => {
                return Err(bad("REQUIRETLS takes no value"));
            }
            // RFC 8689 §3: the option without TLS is refused so that the client can tell its user.
            ("REQUIRETLS", _) if self.config.require_tls_option => {
                return Err((530, (5, 7, 0), "REQUIRETLS needs TLS on this connection".into()));
            }
            ("MT-PRIORITY", value) if self.config.priority && self.serves_account() => {
                let priority = value.and_then(|value| value.parse().ok()).filter(|p| (-9..=9).contains(p));
                mail.priority = priority.ok_or_else(|| bad("MT-PRIORITY=-9 to 9"))?;
            }
            ("BY", value) if self.config.deliver_by && self.serves_account() => {
                let by = value
                    .and_then(by)
                    .ok_or_else(|| bad("BY=seconds;R or BY=seconds;N, with T behind it"))?;
                // RFC 2852 §4: what must be returned must have some time left.
                if by.mode == ByMode::Return && by.seconds <= 0 {
                    return Err(bad("BY with R needs a time above 0"));
                }
                mail.deliver_by = Some(by);
            }
            ("HOLDFOR", value) if self.holds() => {
                let seconds = value.filter(|v| v.len() <= 9).and_then(|v| v.parse().ok());
                let seconds = seconds.filter(|seconds| *seconds <= self.config.hold_seconds_max);
                let text = || format!("HOLDFOR=seconds, {} at most", self.config.hold_seconds_max);
                let seconds = seconds.ok_or_else(|| bad(&text()))?;
                hold(mail, Hold::For(seconds))?;
            }
            ("HOLDUNTIL", value) if self.holds() => {
                let until = value.and_then(date_time::parse);
                let until = until.ok_or_else(|| bad("HOLDUNTIL=date-time, such as 2030-01-31T12:00:00Z"))?;
                hold(mail, Hold::Until(until))?;
            }
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

    fn holds(&self) -> bool {
        self.config.hold_seconds_max > 0 && self.serves_account()
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

fn ret(value: &str) -> Option<Ret> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Headers),
        _ => None,
    }
}

/// xtext that stands for printable ASCII (RFC 3461 §4.4), which reports can carry.
pub(super) fn dsn_text(value: &str, octets_max: usize) -> Option<String> {
    let text = xtext::decode(value)?;
    let fits = (1..=octets_max).contains(&text.len());
    (fits && text.bytes().all(|b| (b' '..=b'~').contains(&b))).then_some(text)
}

/// RFC 2852 §4: `by-time ";" by-mode [by-trace]`.
fn by(value: &str) -> Option<By> {
    let (seconds, mode) = value.split_once(';')?;
    let digits = seconds.strip_prefix(['-', '+']).unwrap_or(seconds);
    let is_number = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let seconds = seconds.parse().ok().filter(|_| is_number)?;
    let (mode, trace) = match mode.to_ascii_uppercase().as_str() {
        "R" => (ByMode::Return, false),
        "RT" => (ByMode::Return, true),
        "N" => (ByMode::Notify, false),
        "NT" => (ByMode::Notify, true),
        _ => return None,
    };
    Some(By { seconds, mode, trace })
}

/// RFC 4865 §4.1: one of the two, once.
fn hold(mail: &mut Mail, hold: Hold) -> Result<(), Refusal> {
    match mail.hold.replace(hold) {
        None => Ok(()),
        Some(_) => Err((501, (5, 5, 4), "HOLDFOR and HOLDUNTIL exclude each other".into())),
    }
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
