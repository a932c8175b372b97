//! Ports, and a session for each connection.

use std::sync::Arc;

use bytes::Bytes;
use metrics::counter;
use postroad_service::{BindError, Conn, Gate, Listener, Node};

use crate::conn::{ClientConn, Protocol};
use crate::context::Context;
use crate::{imap, pop3};

/// A port that is listened on, and what is spoken on it.
#[derive(Debug)]
pub struct Port {
    listener: Listener,
    protocol: Protocol,
    /// TLS from the first octet (RFC 8314).
    tls_first: bool,
}

impl Port {
    pub fn new(listener: Listener, protocol: Protocol, tls_first: bool) -> Self {
        Port { listener, protocol, tls_first }
    }

    /// All ports of the configuration, or none. Bound as `IMAP`, `IMAPS`, `POP3` and `POP3S`.
    pub fn bind_all(node: &Node) -> Result<Vec<Port>, BindError> {
        let config = &node.config.mra;
        let wanted = [
            ("IMAP", &config.imap_listen, Protocol::Imap, false),
            ("IMAPS", &config.imaps_listen, Protocol::Imap, true),
            ("POP3", &config.pop3_listen, Protocol::Pop3, false),
            ("POP3S", &config.pop3s_listen, Protocol::Pop3, true),
        ];
        let mut ports = Vec::new();
        for (what, addresses, protocol, tls_first) in wanted {
            let listeners = node.listen(what, addresses)?;
            ports.extend(listeners.into_iter().map(|listener| Port::new(listener, protocol, tls_first)));
        }
        Ok(ports)
    }

    /// What is said to a client that is one too many. Over TLS nothing can be said before the handshake.
    fn refusal(&self) -> Bytes {
        Bytes::from_static(match (self.protocol, self.tls_first) {
            (_, true) => b"",
            (Protocol::Pop3, false) => b"-ERR [SYS/TEMP] too many connections, come back later\r\n",
            (Protocol::Imap, false) => b"* BYE [UNAVAILABLE] too many connections, come back later\r\n",
        })
    }
}

/// Serves on all ports until the drain begins. Sessions are tasks of the drain's.
pub async fn serve(ports: Vec<Port>, context: Arc<Context>) {
    let gate = Gate::new(context.config.connections_max, context.config.connections_per_ip_max);
    let serving = ports.into_iter().map(|port| {
        let (refusal, drain, context) = (port.refusal(), context.drain.clone(), context.clone());
        let Port { listener, protocol, tls_first } = port;
        listener.serve(gate.clone(), refusal, drain, move |conn| {
            session(conn, protocol, tls_first, context.clone())
        })
    });
    futures_util::future::join_all(serving).await;
}

async fn session(conn: Conn, protocol: Protocol, tls_first: bool, context: Arc<Context>) {
    let mut conn = ClientConn::new(conn, protocol);
    if tls_first && let Err(error) = conn.start_tls(&context.tls).await {
        counter!("postroad_mra_tls_failures_total", "protocol" => protocol.name()).increment(1);
        tracing::debug!(client = %conn.peer(), protocol = protocol.name(), %error, "the TLS handshake failed");
        return;
    }
    match protocol {
        Protocol::Pop3 => pop3::serve(conn, context).await,
        Protocol::Imap => imap::serve(conn, context).await,
    }
}
