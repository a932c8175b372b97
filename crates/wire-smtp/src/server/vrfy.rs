//! VRFY and EXPN (RFC 5321 §4.1.1.6 and §4.1.1.7): whether an address exists is told at RCPT, where policy counts the
//! questions; here only if the operator wants that (RFC 5321 §3.5.3, §7.3).
//!
//! 252 2.0.0 | 502 5.5.1 switched off | what the driver says | 501 5.5.4.

use super::config::Verify;
use super::{Output, Question, Server};

impl Server {
    pub(super) fn vrfy(&mut self, argument: &str) {
        self.verify(argument, false);
    }

    pub(super) fn expn(&mut self, argument: &str) {
        self.verify(argument, true);
    }

    fn verify(&mut self, argument: &str, expand: bool) {
        if argument.is_empty() {
            return self.fault(501, (5, 5, 4), if expand { "EXPN list" } else { "VRFY address" });
        }
        let verify = self.config.verify;
        match verify {
            Verify::Off => self.fault(502, (5, 5, 1), "command not implemented"),
            _ if !self.idle_command() => {}
            // RFC 5321 §3.5.2: EXPN has no answer that says nothing; 252 serves for both.
            Verify::Noncommittal => self.say(252, (2, 0, 0), "send mail and see"),
            Verify::Ask => {
                let argument = argument.to_owned();
                self.ask(Question::Verify, Output::AskVerify { expand, argument });
            }
        }
    }
}
