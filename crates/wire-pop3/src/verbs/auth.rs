//! `AUTH mechanism [initial-response]` (RFC 1734, RFC 5034).

use crate::line::Line;
use crate::output::Ask;
use crate::reply::{Code, err, err_code};
use crate::sasl::{Mechanism, Refusal, SaslAnswer, SaslMessage};
use crate::session::{Session, State, bad_line};

pub(super) const TLS_FIRST: &str = "say STLS first: no password is taken over a connection without TLS";

impl Session {
    /// Whether a login may be tried on this connection as it is.
    pub(super) fn may_log_in(&self) -> bool {
        self.tls || self.config.allows_plaintext_auth
    }

    pub(crate) fn auth(&mut self, mechanism: Option<&str>, initial: Option<&str>) {
        let Some(mechanism) = mechanism else {
            return self.list_mechanisms();
        };
        if !self.may_log_in() {
            return self.error(TLS_FIRST);
        }
        let Some(mechanism) = Mechanism::parse(mechanism) else {
            return self.error("this mechanism is not offered, see CAPA");
        };
        let initial = match initial.map(SaslMessage::decode) {
            Some(None) => return self.error("the initial response is not base64"),
            Some(decoded) => decoded,
            None => None,
        };
        self.state = State::Authenticating { challenges: true };
        self.ask(Ask::Authenticate { mechanism, initial });
    }

    fn list_mechanisms(&mut self) {
        self.ok("mechanisms follow");
        if self.may_log_in() {
            for mechanism in Mechanism::ALL {
                self.write(format!("{}\r\n", mechanism.name()).as_bytes());
            }
        }
        self.write(b".\r\n");
    }

    /// The client's next word in the exchange. `last`: all is said but that it has heard.
    pub(crate) fn sasl_response(&mut self, line: Line, last: bool) {
        let wrong = match &line {
            Line::Text(text) if text == "*" => "login cancelled",
            Line::Text(text) if last => match text.as_str() {
                "" | "=" => return self.open_maildrop(),
                _ => "nothing more was asked for, the login is not made",
            },
            Line::Text(text) => match SaslMessage::decode(text) {
                Some(response) => {
                    self.state = State::Authenticating { challenges: true };
                    return self.ask(Ask::Respond(response));
                }
                None => "the response is not base64",
            },
            bad => bad_line(bad),
        };
        self.state = State::Authorization { user: None };
        self.ask(Ask::CancelAuthentication);
        self.error(wrong);
    }

    pub(crate) fn sasl_answered(&mut self, answer: SaslAnswer, challenges: bool) {
        match answer {
            SaslAnswer::Challenge(challenge) if challenges => {
                self.state = State::SaslResponse { last: false };
                self.write(format!("+ {}\r\n", challenge.encode()).as_bytes());
            }
            SaslAnswer::Challenge(_) => {
                self.ask(Ask::CancelAuthentication);
                self.login_refused(&refusal(Refusal::Temporary));
            }
            // POP3 has no place for it in +OK: it goes as a challenge with an empty response (RFC 5034 §4).
            SaslAnswer::Success { server_data: Some(data) } if challenges => {
                self.state = State::SaslResponse { last: true };
                self.write(format!("+ {}\r\n", data.encode()).as_bytes());
            }
            SaslAnswer::Success { .. } => self.open_maildrop(),
            SaslAnswer::Refused(why) => self.login_refused(&refusal(why)),
        }
    }

    fn open_maildrop(&mut self) {
        self.state = State::OpeningMaildrop;
        self.ask(Ask::Maildrop);
    }
}

fn refusal(why: Refusal) -> String {
    match why {
        Refusal::Credentials => err_code(Code::Auth, "user name or password is wrong"),
        Refusal::MechanismUnknown => err("this mechanism is not offered, see CAPA"),
        Refusal::Protocol => err("the response does not follow the mechanism"),
        Refusal::Temporary => err_code(Code::SysTemp, "logins can't be checked now, try later"),
    }
}
