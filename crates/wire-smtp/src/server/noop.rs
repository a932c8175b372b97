//! NOOP (RFC 5321 §4.1.1.9): nothing; an argument is ignored.
//!
//! 250 2.0.0.

use super::Server;

impl Server {
    pub(super) fn noop(&mut self) {
        if self.idle_command() {
            self.say(250, (2, 0, 0), "ok");
        }
    }
}
