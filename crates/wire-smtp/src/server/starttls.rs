//! STARTTLS (RFC 3207).
//!
//! 220 2.0.0, then the handshake | 501 5.5.4 | 502 5.5.1 not offered | 503 5.5.1 out of order, or TLS is on.
//!
//! What the client sent behind STARTTLS in plaintext is dropped: it may be a stranger's, to be taken for the
//! client's own once TLS is up (CVE-2011-0411).

use super::config::Tls;
use super::{Anomaly, Output, Phase, Server};

impl Server {
    pub(super) fn starttls(&mut self, argument: &str) {
        if self.session.tls == Tls::Unavailable {
            return self.fault(502, (5, 5, 1), "command not implemented");
        }
        if self.session.is_tls() {
            return self.fault(503, (5, 5, 1), "TLS is active already");
        }
        if !self.session.is_extended() {
            return self.fault(503, (5, 5, 1), "say EHLO first");
        }
        if self.refuse_argument(argument) || !self.idle_command() {
            return;
        }
        self.drop_transaction();
        if !self.input.is_empty() {
            self.anomaly(Anomaly::PlaintextAfterStartTls { octets: self.input.len() });
            self.input.clear();
        }
        self.say(220, (2, 0, 0), "ready for TLS");
        let write = self.take_replies();
        self.outputs.push_back(write);
        self.outputs.push_back(Output::StartTls);
        self.phase = Phase::TlsHandshake;
    }
}
