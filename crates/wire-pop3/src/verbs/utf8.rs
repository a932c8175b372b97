//! `UTF8` (RFC 6856 §2). Messages are sent as they were delivered, with the command and without it: making a
//! 7-bit surrogate (RFC 6858) for a client that did not ask would change the message, refusing it would hide
//! it, and programs of today read UTF-8 headers whether they ask or not.

use crate::session::Session;

impl Session {
    pub(crate) fn utf8(&mut self) {
        self.ok("UTF-8 it is");
    }
}
