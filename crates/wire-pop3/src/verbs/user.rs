//! `USER name` and `PASS string` (RFC 1939 §7): to the directory, a SASL PLAIN login.

use super::auth::TLS_FIRST;
use crate::output::Ask;
use crate::sasl::{Mechanism, SaslMessage};
use crate::session::{Session, State};

impl Session {
    /// Says yes to every name: whether there is one is no stranger's business.
    pub(crate) fn user(&mut self, name: &str) {
        if !self.may_log_in() {
            return self.error(TLS_FIRST);
        }
        self.state = State::Authorization { user: Some(name.to_owned()) };
        self.ok("and the password?");
    }

    pub(crate) fn pass(&mut self, password: &str) {
        let State::Authorization { user } = &mut self.state else {
            return;
        };
        let Some(user) = user.take() else {
            return self.error("say USER first");
        };
        self.state = State::Authenticating { challenges: false };
        self.ask(Ask::Authenticate {
            mechanism: Mechanism::Plain,
            initial: Some(SaslMessage::plain(&user, password)),
        });
    }
}
