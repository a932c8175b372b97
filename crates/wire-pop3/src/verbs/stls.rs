//! `STLS` (RFC 2595 §4). What the client said before in the clear, or sent behind STLS without waiting, is
//! forgotten: it may be another's words.

use crate::session::Session;

impl Session {
    pub(super) fn may_start_tls(&self) -> bool {
        self.config.offers_tls && !self.tls
    }

    pub(crate) fn stls(&mut self) {
        if self.tls {
            return self.error("TLS is on already");
        }
        if !self.may_start_tls() {
            return self.error("TLS is not set up here");
        }
        self.ok("start TLS");
        self.start_tls();
    }
}
