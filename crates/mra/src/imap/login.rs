//! Carries a login between client and directory.

use metrics::counter;
use postroad_wire_imap::{Code, Status, command};

use super::driver::Driver;
use crate::login::{LoginAnswer, LoginStart, Refusal, SaslMessage};

/// SASL mechanisms that the directory knows, best first.
pub(super) const MECHANISMS: [&str; 3] = ["SCRAM-SHA-256", "PLAIN", "LOGIN"];

impl Driver {
    pub(super) async fn authenticate(&mut self, command: command::Authenticate) {
        self.start_login(command.mechanism, command.initial).await;
    }

    /// LOGIN is PLAIN by another name.
    pub(super) async fn login(&mut self, command: command::Login) {
        let response = [&b"\0"[..], &command.user, b"\0", &command.password].concat();
        self.start_login("PLAIN".to_owned(), Some(response)).await;
    }

    async fn start_login(&mut self, mechanism: String, initial: Option<Vec<u8>>) {
        let start = LoginStart {
            mechanism,
            initial: initial.map(SaslMessage),
            service: self.conn.protocol().name(),
            remote_ip: self.conn.peer().ip(),
        };
        let (answer, exchange) = self.context.logins.start(start).await;
        self.exchange = Some(exchange);
        self.login_answered(answer);
    }

    pub(super) async fn sasl_response(&mut self, response: Vec<u8>) {
        let answer = match &mut self.exchange {
            Some(exchange) => exchange.respond(SaslMessage(response)).await,
            None => LoginAnswer::Refused(Refusal::Temporary),
        };
        self.login_answered(answer);
    }

    pub(super) fn sasl_cancelled(&mut self) {
        self.exchange = None;
        self.login = None;
    }

    fn login_answered(&mut self, answer: LoginAnswer) {
        match answer {
            LoginAnswer::Challenge(challenge) => self.server.challenge(&challenge.0),
            LoginAnswer::Success(mut login) => {
                self.exchange = None;
                let last = login.server_data.take();
                tracing::info!(user = login.address, tls = self.conn.tls().is_some(), "logged in");
                self.count_login("success");
                self.login = Some(login);
                self.server.authenticated(last.as_ref().map(|last| last.0.as_slice()));
            }
            LoginAnswer::Refused(why) => {
                self.exchange = None;
                tracing::info!(reason = ?why, "login refused");
                self.count_login(why.name());
                self.server.finish(match why {
                    Refusal::Credentials => {
                        Status::no("user or password is wrong").with(Code::AuthenticationFailed)
                    }
                    Refusal::MechanismUnknown => {
                        Status::no("this SASL mechanism is not known").with(Code::Cannot)
                    }
                    Refusal::Protocol => Status::bad("the response does not follow the mechanism"),
                    Refusal::Temporary => {
                        Status::no("logins can't be checked now, try again later").with(Code::Unavailable)
                    }
                });
            }
        }
    }

    fn count_login(&self, result: &'static str) {
        let protocol = self.conn.protocol().name();
        counter!("postroad_mra_logins_total", "protocol" => protocol, "result" => result).increment(1);
    }
}
