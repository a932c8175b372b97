//! Carries a login between client and directory.

use metrics::counter;
use postroad_wire_pop3::{Mechanism, Refusal, SaslAnswer, SaslMessage};

use crate::login::{self, LoginAnswer, LoginStart};

use super::driver::{Driver, now};

impl Driver {
    pub(super) async fn start_login(&mut self, mechanism: Mechanism, initial: Option<SaslMessage>) {
        let start = LoginStart {
            mechanism: mechanism.name().to_owned(),
            initial: initial.map(|message| login::SaslMessage(message.0)),
            service: self.conn.protocol().name(),
            remote_ip: self.conn.peer().ip(),
        };
        let (answer, exchange) = self.context.logins.start(start).await;
        self.exchange = Some(exchange);
        self.login_answered(answer);
    }

    pub(super) async fn respond(&mut self, response: SaslMessage) {
        let answer = match &mut self.exchange {
            Some(exchange) => exchange.respond(login::SaslMessage(response.0)).await,
            None => LoginAnswer::Refused(login::Refusal::Temporary),
        };
        self.login_answered(answer);
    }

    fn login_answered(&mut self, answer: LoginAnswer) {
        let answer = match answer {
            LoginAnswer::Challenge(challenge) => SaslAnswer::Challenge(SaslMessage(challenge.0)),
            LoginAnswer::Success(mut login) => {
                self.exchange = None;
                let server_data = login.server_data.take().map(|data| SaslMessage(data.0));
                tracing::info!(user = login.address, tls = self.conn.tls().is_some(), "logged in");
                self.count_login("success");
                self.login = Some(login);
                SaslAnswer::Success { server_data }
            }
            LoginAnswer::Refused(why) => {
                self.exchange = None;
                tracing::info!(reason = ?why, "login refused");
                self.count_login(why.name());
                SaslAnswer::Refused(match why {
                    login::Refusal::Credentials => Refusal::Credentials,
                    login::Refusal::MechanismUnknown => Refusal::MechanismUnknown,
                    login::Refusal::Protocol => Refusal::Protocol,
                    login::Refusal::Temporary => Refusal::Temporary,
                })
            }
        };
        self.session.answer_sasl(answer, now());
    }

    fn count_login(&self, result: &'static str) {
        let protocol = self.conn.protocol().name();
        counter!("postroad_mra_logins_total", "protocol" => protocol, "result" => result).increment(1);
    }
}
