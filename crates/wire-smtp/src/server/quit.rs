//! QUIT (RFC 5321 §4.1.1.10).
//!
//! 221 2.0.0 and the end | 501 5.5.4.

use super::Server;

impl Server {
    pub(super) fn quit(&mut self, argument: &str) {
        if self.refuse_argument(argument) {
            return;
        }
        let text = format!("{} closes the connection", self.config.hostname.ascii());
        self.abandon(221, (2, 0, 0), &text);
    }
}
