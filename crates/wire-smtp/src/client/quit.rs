//! QUIT (RFC 5321 §4.1.1.10).

use std::time::Instant;

use super::{Awaited, Client, Ending, Phase};

impl Client {
    /// Ends the session: politely between messages, else at once. `Closed` follows.
    pub fn quit(&mut self, now: Instant) {
        self.now = now;
        if self.is_ready() {
            self.phase = Phase::Quitting;
            self.command("QUIT", Awaited::Quit);
        } else if !matches!(self.phase, Phase::Quitting) {
            self.end(Ending::Quit);
        }
    }
}
