//! `DELE msg` (RFC 1939 §5): marks a message; QUIT deletes it, RSET or a lost connection does not.

use crate::session::Session;

impl Session {
    pub(crate) fn dele(&mut self, number: u32) {
        if self.maildrop.mark(number) {
            self.ok(format_args!("message {number} will be deleted by QUIT"));
        } else {
            self.err(format_args!("there is no message {number}"));
        }
    }
}
