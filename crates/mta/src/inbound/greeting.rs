//! Before the greeting: policy looks at the client, and what the client says meanwhile is heard and dropped.

use std::io;
use std::time::Instant;

use bytes::BytesMut;
use postroad_wire_smtp::server::Answer;
use tokio::io::AsyncReadExt;

use super::session::Session;
use crate::policy::EarlyTalk;

/// What is read at once of a client that talks first.
const EARLY_OCTETS: usize = 2048;

impl Session {
    /// Whether the client is greeted; nothing if it has gone. At least one look is taken at what it has sent
    /// already: that was said before the greeting (RFC 5321 §3.1), and must not be obeyed.
    pub(super) async fn greet(&mut self) -> io::Result<Option<Answer>> {
        let inbound = self.inbound.clone();
        let mut client = self.client.clone();
        let early = EarlyTalk::default();
        let mut read = BytesMut::new();
        let outcome = {
            let judged = inbound.policy.connect(&mut client, &early);
            tokio::pin!(judged);
            loop {
                read.clear();
                read.reserve(EARLY_OCTETS);
                // Reading first, so that what is there is heard before the verdict.
                tokio::select! {
                    biased;
                    octets = self.conn.read_buf(&mut read) => match octets? {
                        0 => {
                            self.server.end_of_input(Instant::now());
                            return Ok(None);
                        }
                        octets => {
                            early.heard(octets);
                            self.server.receive(Instant::now(), &read);
                        }
                    },
                    outcome = &mut judged => break outcome,
                }
            }
        };
        self.client = client;
        Ok(Some(self.conclude_session(outcome)))
    }
}
