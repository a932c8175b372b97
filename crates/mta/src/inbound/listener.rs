//! The ports. While the service drains, whoever still connects is told so with 421.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postroad_service::{Drain, Gate, Listener};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{Inbound, session};

/// How long a client that is turned away may take to hear it.
const FAREWELL: Duration = Duration::from_secs(5);

/// What kind of port it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// 25: other hosts.
    Relay,
    /// 587: our users, STARTTLS first.
    Submission,
    /// 465: our users, TLS from the first octet (RFC 8314).
    Submissions,
}

impl Door {
    pub fn name(self) -> &'static str {
        match self {
            Door::Relay => "smtp",
            Door::Submission => "submission",
            Door::Submissions => "submissions",
        }
    }

    pub fn submits(self) -> bool {
        self != Door::Relay
    }

    /// To a client beyond the bounds.
    pub(super) fn crowded(self, host: &str) -> Bytes {
        self.refusal(&format!("4.7.0 {host} has too many connections, come back later"))
    }

    /// In clear; where TLS comes first a client could not read it.
    fn refusal(self, text: &str) -> Bytes {
        match self {
            Door::Submissions => Bytes::new(),
            _ => Bytes::from(format!("421 {text}\r\n")),
        }
    }
}

/// Serves a port until the drain's first step, then turns away whoever comes until `closed` is done.
pub async fn serve(
    inbound: Arc<Inbound>,
    door: Door,
    listener: Listener,
    gate: Gate,
    drain: Drain,
    closed: tokio_util::sync::CancellationToken,
) {
    let spare = listener.try_clone();
    let host = inbound.relay.hostname.to_string();
    let sessions = drain.clone();
    let crowded = door.crowded(&host);
    listener
        .serve(gate, crowded, drain, move |conn| {
            session::serve(inbound.clone(), door, conn, sessions.clone())
        })
        .await;
    let stopping = door.refusal(&format!("4.3.2 {host} is shutting down, come back soon"));
    match spare {
        Ok(spare) => {
            tokio::select! {
                () = closed.cancelled() => {}
                () = turn_away(spare, &stopping) => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "clients that connect now find the port closed instead of a 421")
        }
    }
}

async fn turn_away(listener: TcpListener, refusal: &Bytes) {
    while let Ok((mut tcp, _)) = listener.accept().await {
        let refusal = refusal.clone();
        tokio::spawn(async move {
            let farewell = async {
                tcp.write_all(&refusal).await?;
                tcp.shutdown().await
            };
            // Whether it is read is the client's business.
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
        });
    }
}
