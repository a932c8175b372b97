//! `RSET` (RFC 1939 §5).

use crate::session::Session;

impl Session {
    pub(crate) fn rset(&mut self) {
        self.maildrop.unmark();
        let text = self.messages_and_octets();
        self.ok(text);
    }
}
