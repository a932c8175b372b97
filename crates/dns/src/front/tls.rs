//! DNS over TLS (RFC 7858): TCP's sessions inside of TLS, zone transfers among them (RFC 9103).
//!
//! The certificate is looked at by the client alone. Session tickets spare clients that come again the costly part of
//! the handshake; data before the handshake's end (0-RTT), which others could send again, is not taken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postroad_service::{Conn, Drain, Gate, Listener, ProtocolTls};
use postroad_types::limits::DNS_HANDSHAKE_SECONDS;
use tokio::time::timeout;

use super::{Engine, Transport, tcp};

/// The protocol's name in the handshake (RFC 7858 section 8, IANA's registry).
pub const PROTOCOL: &[u8] = b"dot";

/// Serves a listener until the drain begins; open connections then finish what was asked on them.
pub async fn serve(
    listener: Listener,
    tls: ProtocolTls,
    engine: Arc<Engine>,
    gate: Gate,
    idle: Duration,
    drain: Drain,
) {
    let sessions = drain.clone();
    let session = move |conn: Conn| {
        let (tls, engine, drain) = (tls.clone(), Arc::clone(&engine), sessions.clone());
        async move {
            let client = conn.peer();
            let session = async {
                let conn = handshake(conn, &tls).await?;
                tcp::session(conn, client.ip(), Transport::Tls, &engine, idle, &drain).await
            };
            if let Err(error) = session.await {
                tracing::debug!(%client, %error, "a DNS connection over TLS ended early");
            }
        }
    };
    listener.serve(gate, Bytes::new(), drain, session).await;
}

/// The same connection with TLS on.
pub(super) async fn handshake(mut conn: Conn, tls: &ProtocolTls) -> io::Result<Conn> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
    let within = Duration::from_secs(DNS_HANDSHAKE_SECONDS);
    timeout(within, conn.start_tls(&tls.acceptor())).await.map_err(late)??;
    Ok(conn)
}
