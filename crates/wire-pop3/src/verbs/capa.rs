//! `CAPA` (RFC 2449 §5).

use crate::sasl::Mechanism;
use crate::session::{Session, State};

impl Session {
    pub(crate) fn capa(&mut self) {
        let before_login = matches!(self.state, State::Authorization { .. });
        self.ok("capabilities follow");
        self.write(b"TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n");
        if before_login && self.may_start_tls() {
            self.write(b"STLS\r\n");
        }
        if self.may_log_in() {
            // The list is one line; it is the same before and after login (RFC 2449 §6.3).
            let mechanisms = Mechanism::ALL.map(Mechanism::name).join(" ");
            self.write(format!("USER\r\nSASL {mechanisms}\r\n").as_bytes());
        }
        self.write(b"UTF8 USER\r\nIMPLEMENTATION Postroad\r\n.\r\n");
    }
}
