//! VRFY (RFC 5321 §4.1.1.6): whether an address exists is told at RCPT only, where policy counts the questions
//! (RFC 5321 §3.5.3, §7.3).
//!
//! 252 2.0.0 | 501 5.5.4.

use super::Server;

impl Server {
    pub(super) fn vrfy(&mut self, argument: &str) {
        if argument.is_empty() {
            return self.fault(501, (5, 5, 4), "VRFY address");
        }
        if self.idle_command() {
            self.say(252, (2, 0, 0), "send mail and see");
        }
    }
}
