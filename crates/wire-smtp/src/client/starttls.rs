//! STARTTLS (RFC 3207).

use std::time::Instant;

use postroad_types::Reply;

use super::{Awaited, Client, NotReady, Output, Phase, ProtocolError, Stage};

impl Client {
    /// Asks for TLS. `StartTls` or `StartTlsRefused` follows. Only where it is offered and not yet on.
    pub fn start_tls(&mut self, now: Instant) -> Result<(), NotReady> {
        self.now = now;
        if !self.is_ready() || self.tls || !self.capabilities.starttls {
            return Err(NotReady);
        }
        self.phase = Phase::StartTls;
        self.command("STARTTLS", Awaited::StartTls);
        Ok(())
    }

    pub(super) fn on_starttls(&mut self, reply: Reply) {
        match reply.code {
            // Octets behind the reply came in plaintext. Kept, they would be read as replies under TLS.
            200..300 if !self.input.is_empty() => self.break_off(ProtocolError::Injected),
            200..300 => {
                self.phase = Phase::TlsHandshake;
                self.rearm();
                self.outputs.push_back(Output::StartTls);
            }
            300..400 => self.unfitting(Stage::StartTls, reply),
            _ => {
                self.phase = Phase::Ready;
                self.outputs.push_back(Output::StartTlsRefused(reply));
            }
        }
    }

    /// The handshake is done; `Ready` follows again. A handshake that failed ends the connection: drop it.
    pub fn tls_established(&mut self, now: Instant) {
        self.now = now;
        if matches!(self.phase, Phase::TlsHandshake) {
            self.tls = true;
            self.say_hello();
        }
    }
}
