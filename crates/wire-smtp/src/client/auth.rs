//! AUTH to a smarthost (RFC 4954): PLAIN (RFC 4616), else LOGIN.

use std::fmt;
use std::time::Instant;

use postroad_types::Reply;

use super::{AuthRefusal, Awaited, Client, NotReady, Output, Phase, Stage};
use crate::codec::base64;

/// A name and password at another server. Debug shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub name: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// What is still to be sent, last first; the reply to the last is the verdict.
#[derive(Debug)]
pub(super) struct Exchange {
    left: Vec<Secret>,
}

/// A response in base 64. Debug does not show it.
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Client {
    /// Proves who we are. `Authenticated` or `AuthRefused` follows.
    pub fn authenticate(&mut self, now: Instant, credentials: &Credentials) -> Result<(), NotReady> {
        self.now = now;
        if !self.is_ready() {
            return Err(NotReady);
        }
        if !self.tls && !self.config.allow_plaintext_auth {
            self.outputs.push_back(Output::AuthRefused(AuthRefusal::NoTls));
            return Ok(());
        }
        let Credentials { name, password } = credentials;
        let offers = |mechanism: &str| self.capabilities.auth.iter().any(|m| m == mechanism);
        let (command, left) = if offers("PLAIN") {
            let message = base64::encode(format!("\0{name}\0{password}").as_bytes());
            (format!("AUTH PLAIN {message}"), Vec::new())
        } else if offers("LOGIN") {
            let answer = |text: &str| Secret(base64::encode(text.as_bytes()));
            ("AUTH LOGIN".to_owned(), vec![answer(password), answer(name)])
        } else {
            self.outputs.push_back(Output::AuthRefused(AuthRefusal::NoMechanism));
            return Ok(());
        };
        self.phase = Phase::Auth(Exchange { left });
        self.dialogue.add("C: AUTH …".to_owned());
        self.secret_command(&command, Awaited::Auth);
        Ok(())
    }

    pub(super) fn on_auth(&mut self, reply: Reply) {
        let Phase::Auth(exchange) = &mut self.phase else {
            return self.unfitting(Stage::Auth, reply);
        };
        match (reply.code, exchange.left.pop()) {
            (334, Some(Secret(answer))) => {
                self.dialogue.add("C: …".to_owned());
                self.secret_command(&answer, Awaited::Auth);
            }
            (200..300, None) => {
                self.phase = Phase::Ready;
                self.outputs.push_back(Output::Authenticated);
            }
            (200..400, _) => self.unfitting(Stage::Auth, reply),
            _ => {
                self.phase = Phase::Ready;
                self.outputs.push_back(Output::AuthRefused(AuthRefusal::Reply(reply)));
            }
        }
    }
}
