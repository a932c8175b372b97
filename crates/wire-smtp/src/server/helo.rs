//! HELO (RFC 5321 §4.1.1.1): EHLO of a client that knows no extension.
//!
//! 250 | 501 5.5.4.

use super::Server;

impl Server {
    pub(super) fn helo(&mut self, argument: &str) {
        self.greet_back(argument, false);
    }
}
