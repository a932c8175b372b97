//! A mail program's connection, as both protocols use it: octets counted, and nobody waited for without end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use postroad_service::{ClientTls, Conn, TlsInfo};
use postroad_types::limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a client may leave what we write unread.
const STALL: Duration = Duration::from_secs(limits::CLIENT_STALL_SECONDS);

/// What a session speaks, as it is called in logs, metrics and to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Imap,
    Pop3,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
        }
    }
}

/// A connection that is a session of a protocol as long as it lives.
pub struct ClientConn {
    conn: Conn,
    protocol: Protocol,
    received: Counter,
    sent: Counter,
    sessions: Gauge,
}

impl ClientConn {
    pub fn new(conn: Conn, protocol: Protocol) -> Self {
        let name = protocol.name();
        let sessions = gauge!("postroad_mra_sessions", "protocol" => name);
        sessions.increment(1);
        counter!("postroad_mra_sessions_total", "protocol" => name).increment(1);
        ClientConn {
            conn,
            protocol,
            received: counter!("postroad_mra_received_octets_total", "protocol" => name),
            sent: counter!("postroad_mra_sent_octets_total", "protocol" => name),
            sessions,
        }
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub fn peer(&self) -> SocketAddr {
        self.conn.peer()
    }

    /// What was agreed on, if TLS is on.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.conn.tls()
    }

    /// Takes the client's TLS handshake. What was written before is flushed first; what was read before must
    /// have been dropped by the caller.
    pub async fn start_tls(&mut self, tls: &ClientTls) -> io::Result<()> {
        self.flush().await?;
        self.conn.start_tls(&tls.acceptor()).await
    }

    /// Octets that the client sent; 0 at its end. Cancelling it loses nothing.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.conn.read(buffer).await?;
        self.received.increment(count as u64);
        Ok(count)
    }

    /// Writes all of it; fails when the client takes nothing for [`limits::CLIENT_STALL_SECONDS`].
    pub async fn write(&mut self, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            let count = tokio::time::timeout(STALL, self.conn.write(octets)).await.map_err(stalled)??;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sent.increment(count as u64);
            octets = octets.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        tokio::time::timeout(STALL, self.conn.flush()).await.map_err(stalled)?
    }

    /// Ends our side in the protocol's order: what was written arrives, TLS says good bye.
    pub async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        tokio::time::timeout(STALL, self.conn.shutdown()).await.map_err(stalled)?
    }
}

fn stalled(_: tokio::time::error::Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")
}

impl Drop for ClientConn {
    fn drop(&mut self) {
        self.sessions.decrement(1);
    }
}
