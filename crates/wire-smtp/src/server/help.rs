//! HELP (RFC 5321 §4.1.1.8).
//!
//! 214 2.0.0.

use super::Server;

impl Server {
    pub(super) fn help(&mut self) {
        if self.idle_command() {
            let text = "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT\nSTARTTLS AUTH VRFY HELP\n\
                        https://www.rfc-editor.org/rfc/rfc5321";
            self.say(214, (2, 0, 0), text);
        }
    }
}
