//! AUTH (RFC 4954): relays a SASL exchange between the client and whoever knows the passwords.
//!
//! 334 challenge | 235 2.7.0 | 501 5.5.2 bad base 64 | 501 5.7.0 cancelled by the client | 502 5.5.1 not served
//! here | 503 5.5.1 out of order or twice | 504 5.5.4 unknown mechanism | 538 5.7.11 needs TLS
//! | 535 5.7.8, 454 4.7.0 or what else the driver says.

use postroad_types::limits;

use super::{AuthAnswer, AuthStep, Output, Phase, Question, SaslMessage, Server};
use crate::codec::base64;
use crate::codec::line::Line;

impl Server {
    pub(super) fn auth(&mut self, argument: &str) {
        if self.config.mechanisms.is_empty() {
            return self.fault(502, (5, 5, 1), "command not implemented");
        }
        if !self.session.is_extended() {
            return self.fault(503, (5, 5, 1), "say EHLO first");
        }
        if self.session.account.is_some() {
            return self.fault(503, (5, 5, 1), "you are authenticated already");
        }
        if self.transaction.is_some() {
            return self.fault(503, (5, 5, 1), "not while a message is under way");
        }
        if !self.offers_auth() {
            return self.fault(538, (5, 7, 11), "say STARTTLS first");
        }
        let (name, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let Some(mechanism) = self.mechanisms().find(|m| m.name().eq_ignore_ascii_case(name)) else {
            return self.fault(504, (5, 5, 4), "unknown mechanism");
        };
        let initial = match initial.trim_matches(' ') {
            "" => None,
            // An initial response without octets (RFC 4954 §4).
            "=" => Some(SaslMessage(Vec::new())),
            text => match base64::decode(text.as_bytes()) {
                Some(octets) => Some(SaslMessage(octets)),
                None => return self.fault(501, (5, 5, 2), "this is no base 64"),
            },
        };
        let step = AuthStep::Start { mechanism, initial };
        self.ask(Question::Auth, Output::AskAuth(step));
    }

    pub(super) fn step_auth_response(&mut self) -> bool {
        let octets_max = limits::SMTP_AUTH_LINE_OCTETS_MAX;
        let Some(line) = self.lines.next(&mut self.input, octets_max) else {
            if self.input_ended {
                self.close();
            }
            return self.input_ended;
        };
        self.deadline = None;
        self.phase = Phase::Command;
        let (code, enhanced, text) = match line {
            Line::Text(text) if &text[..] == b"*" => (501, (5, 7, 0), "cancelled"),
            Line::Text(text) => match base64::decode(&text) {
                Some(octets) => {
                    let step = AuthStep::Response(SaslMessage(octets));
                    self.ask(Question::Auth, Output::AskAuth(step));
                    return true;
                }
                None => (501, (5, 5, 2), "this is no base 64"),
            },
            Line::BareLineEnd => (500, (5, 5, 2), "a line ends with CR LF and nothing else"),
            Line::TooLong => (500, (5, 5, 6), "the line is too long"),
        };
        self.outputs.push_back(Output::AuthAborted);
        self.fault(code, enhanced, text);
        true
    }

    /// Answers `AskAuth`. An answer that nobody waits for any more is dropped.
    pub fn answer_auth(&mut self, now: std::time::Instant, answer: AuthAnswer) {
        self.now = now;
        if !matches!(self.phase, Phase::Asked(Question::Auth)) {
            return;
        }
        self.phase = Phase::Command;
        match answer {
            AuthAnswer::Challenge(SaslMessage(octets)) => {
                self.say_challenge(&octets);
                self.phase = Phase::AuthResponse;
            }
            AuthAnswer::Success { account } => {
                self.session.account = Some(account);
                self.auth_failures = 0;
                self.say(235, (2, 7, 0), "welcome");
            }
            AuthAnswer::Failure(reply) => {
                self.reply(&reply);
                self.auth_failures += 1;
                let closed = matches!(self.phase, Phase::Closed);
                if self.auth_failures >= limits::SMTP_AUTH_FAILURES_MAX && !closed {
                    self.abandon(421, (4, 7, 0), "too many failed attempts");
                }
            }
        }
    }

    /// A challenge is one line, however long (RFC 4954 §4 allows 12,288 octets).
    fn say_challenge(&mut self, octets: &[u8]) {
        self.replies.extend_from_slice(b"334 ");
        self.replies.extend_from_slice(base64::encode(octets).as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }
}
