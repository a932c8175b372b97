//! EHLO (RFC 5321 §4.1.1.1): the client's name, and what this server can do.
//!
//! 250 with a line per extension | 501 5.5.4 no name, or one with characters of no name.
//! Any transaction is dropped, as by RSET.

use super::config::{Mechanism, Role, Tls};
use super::{Answer, Hello, Output, Question, Server};
use postroad_types::limits;

impl Server {
    pub(super) fn ehlo(&mut self, argument: &str) {
        self.greet_back(argument, true);
    }

    /// HELO and EHLO alike.
    pub(super) fn greet_back(&mut self, argument: &str, extended: bool) {
        if !self.idle_command() {
            return;
        }
        let name = argument.trim_matches(' ');
        let host = name.is_ascii().then(|| name.parse().ok()).flatten();
        if host.is_none() && !is_harmless(name) {
            return self.fault(501, (5, 5, 4), "give your host's name or address literal");
        }
        self.drop_transaction();
        let hello = Hello { extended, name: name.to_owned(), host };
        let output = Output::AskHello(hello.clone());
        self.ask(Question::Hello(hello), output);
    }

    pub(super) fn answer_hello(&mut self, hello: Hello, answer: Answer) {
        self.session.hello = None;
        match answer {
            Answer::Accept => {
                let mut lines = self.config.hostname.ascii().to_owned();
                if hello.extended {
                    for keyword in self.extensions() {
                        lines.push('\n');
                        lines.push_str(&keyword);
                    }
                }
                self.session.hello = Some(hello);
                self.say_plain(250, &lines);
            }
            Answer::Refuse(reply) => self.reply(&reply),
        }
    }

    /// The extensions that hold on this connection now.
    fn extensions(&self) -> Vec<String> {
        let mut out: Vec<String> = vec![
            "PIPELINING".into(),
            format!("SIZE {}", self.config.message_octets_max),
            "8BITMIME".into(),
            "ENHANCEDSTATUSCODES".into(),
        ];
        if self.config.smtputf8 {
            out.push("SMTPUTF8".into());
        }
        if self.config.chunking {
            out.extend(["CHUNKING".into(), "BINARYMIME".into()]);
        }
        if self.config.dsn {
            out.push("DSN".into());
        }
        if self.offers_require_tls() {
            out.push("REQUIRETLS".into());
        }
        if self.serves_account() {
            if self.config.hold_seconds_max > 0 {
                out.push(format!("FUTURERELEASE {}", self.config.hold_seconds_max));
            }
            if self.config.deliver_by {
                out.push("DELIVERBY".into());
            }
            if self.config.priority {
                out.push("MT-PRIORITY MIXER".into());
            }
        }
        let mut limits = format!("LIMITS RCPTMAX={}", self.config.recipients_max);
        if self.config.messages_max > 0 {
            limits.push_str(&format!(" MAILMAX={}", self.config.messages_max));
        }
        out.push(limits);
        if self.session.tls == Tls::Available {
            out.push("STARTTLS".into());
        }
        if self.offers_auth() {
            let names: Vec<&str> = self.mechanisms().map(Mechanism::name).collect();
            out.push(format!("AUTH {}", names.join(" ")));
        }
        out.push("HELP".into());
        out
    }

    pub(super) fn offers_require_tls(&self) -> bool {
        self.config.require_tls_option && self.session.is_tls()
    }

    /// Whether the extensions for accounts hold: those would let strangers fill the queue, or pass before others.
    pub(super) fn serves_account(&self) -> bool {
        self.session.account.is_some()
    }

    /// The mechanisms that are offered on this connection.
    pub(super) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        let fits = |mechanism: &Mechanism| *mechanism != Mechanism::ScramSha256Plus || self.binds_channel;
        self.config.mechanisms.iter().copied().filter(fits)
    }

    /// Whether AUTH is offered now: never over plaintext, unless that was set.
    pub(super) fn offers_auth(&self) -> bool {
        let safe = self.session.is_tls() || self.config.allow_plaintext_auth;
        safe && !self.config.mechanisms.is_empty()
    }

    /// Whether the client must do something before it may send mail; says what.
    pub(super) fn refuse_unready(&mut self) -> bool {
        if self.session.hello.is_none() {
            self.fault(503, (5, 5, 1), "say EHLO first");
        } else if self.config.require_tls && !self.session.is_tls() {
            self.fault(530, (5, 7, 0), "say STARTTLS first");
        } else if self.config.role == Role::Submission && self.session.account.is_none() {
            let text = if self.offers_auth() {
                "authentication required"
            } else {
                "say STARTTLS first, then authenticate"
            };
            self.fault(530, (5, 7, 0), text);
        } else {
            return false;
        }
        true
    }
}

/// Whether a name that is no host name may be written into a header as it is.
fn is_harmless(name: &str) -> bool {
    let fits = (1..=limits::SMTP_HELLO_OCTETS_MAX).contains(&name.len());
    fits && name.bytes().all(|b| b.is_ascii_graphic() && !br#"()<>@,;\""#.contains(&b))
}
