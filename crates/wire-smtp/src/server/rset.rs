//! RSET (RFC 5321 §4.1.1.5): drops the message that has begun; who the client is stays known.
//!
//! 250 2.0.0 | 501 5.5.4.

use super::Server;

impl Server {
    pub(super) fn rset(&mut self, argument: &str) {
        if self.refuse_argument(argument) || !self.idle_command() {
            return;
        }
        self.drop_transaction();
        self.say(250, (2, 0, 0), "ok");
    }
}
