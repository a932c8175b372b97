//! Greeting, EHLO, and HELO for a server that knows no EHLO (RFC 5321 §3.1, §3.2, §4.1.1.1); LHLO (RFC 2033 §4.1).

use postroad_types::Reply;

use super::config::Dialect;
use super::{Awaited, Capabilities, Client, Ending, Output, Phase, Stage};

impl Client {
    pub(super) fn on_greeting(&mut self, reply: Reply) {
        self.greeting = Some(reply.clone());
        match reply.code {
            200..300 => self.say_hello(),
            300..400 => self.unfitting(Stage::Greeting, reply),
            _ => self.end(Ending::Refused { stage: Stage::Greeting, reply }),
        }
    }

    /// Anew, also after TLS: what was known before does not count any more (RFC 3207 §4.2).
    pub(super) fn say_hello(&mut self) {
        self.phase = Phase::Opening;
        self.capabilities = Capabilities::default();
        let verb = match self.config.dialect {
            Dialect::Smtp => "EHLO",
            Dialect::Lmtp => "LHLO",
        };
        self.command(&format!("{verb} {}", self.own_name()), Awaited::Ehlo);
    }

    pub(super) fn on_ehlo(&mut self, reply: Reply) {
        match reply.code {
            200..300 => {
                self.capabilities = Capabilities::of_ehlo(&reply);
                self.ready();
            }
            300..400 => self.unfitting(Stage::Hello, reply),
            500..600 if self.config.dialect == Dialect::Smtp => {
                self.command(&format!("HELO {}", self.own_name()), Awaited::Helo);
            }
            _ => self.end(Ending::Refused { stage: Stage::Hello, reply }),
        }
    }

    pub(super) fn on_helo(&mut self, reply: Reply) {
        match reply.code {
            200..300 => self.ready(),
            300..400 => self.unfitting(Stage::Hello, reply),
            _ => self.end(Ending::Refused { stage: Stage::Hello, reply }),
        }
    }

    fn ready(&mut self) {
        self.phase = Phase::Ready;
        self.outputs.push_back(Output::Ready);
    }

    /// Before SMTPUTF8 is known, a host name goes as A-labels (RFC 6531 §3.7.1).
    fn own_name(&self) -> String {
        match self.config.hello.domain() {
            Some(domain) => domain.ascii().to_owned(),
            None => self.config.hello.to_string(),
        }
    }
}
