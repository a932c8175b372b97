//! DNS over TCP (RFC 7766): several questions per connection, answered as they get ready, out of order if one has to
//! wait for other servers.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use postroad_service::{Conn, Drain, Gate, Listener};
use postroad_types::limits::DNS_TCP_PIPELINE_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Engine, Outcome, Transport};

/// Answers leave when there are so many octets of them, whatever else was asked.
const LEAVING_OCTETS_MAX: usize = 32 * 1024;

/// Serves a listener until the drain begins; open connections then finish what was asked on them.
pub async fn serve(listener: Listener, engine: Arc<Engine>, gate: Gate, idle: Duration, drain: Drain) {
    let sessions = drain.clone();
    let session = move |conn: Conn| {
        let (engine, drain) = (Arc::clone(&engine), sessions.clone());
        async move {
            let client = conn.peer();
            if let Err(error) = session(conn, client.ip(), Transport::Tcp, &engine, idle, &drain).await {
                tracing::debug!(%client, %error, "a DNS connection ended early");
            }
        }
    };
    // Nothing can be said to a client that is beyond the bounds but by closing.
    listener.serve(gate, Bytes::new(), drain, session).await;
}

/// Answers what comes over a connection, plain or encrypted, until it is over.
pub(super) async fn session(
    connection: impl AsyncRead + AsyncWrite,
    client: IpAddr,
    transport: Transport,
    engine: &Engine,
    idle: Duration,
    drain: &Drain,
) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(connection);
    let mut received = BytesMut::with_capacity(1024);
    let mut response = Vec::with_capacity(1024);
    // Answers to questions that came together leave together.
    let mut leaving = Vec::new();
    let mut waiting = FuturesUnordered::new();
    let mut deadline = Instant::now() + idle;
    let mut asks = true;
    loop {
        while asks && waiting.len() < DNS_TCP_PIPELINE_MAX {
            let Some(request) = next_message(&mut received) else { break };
            deadline = Instant::now() + idle;
            match engine.answer(&request, client, transport, &mut response) {
                Outcome::Reply(_) => {
                    frame(&response, &mut leaving)?;
                    if leaving.len() >= LEAVING_OCTETS_MAX {
                        send(&mut to, &mut leaving, idle).await?;
                    }
                }
                Outcome::Later(pending) => waiting.push(engine.complete(pending)),
                Outcome::Stream(mut stream) => {
                    while stream.next(&mut response).map_err(io::Error::other)? {
                        frame(&response, &mut leaving)?;
                        send(&mut to, &mut leaving, idle).await?;
                    }
                    deadline = Instant::now() + idle;
                }
                // What sends responses or less than a header is no client.
                Outcome::Drop => return send(&mut to, &mut leaving, idle).await,
            }
        }
        send(&mut to, &mut leaving, idle).await?;
        if !asks && waiting.is_empty() {
            return to.shutdown().await;
        }
        tokio::select! {
            read = from.read_buf(&mut received), if asks && waiting.len() < DNS_TCP_PIPELINE_MAX => {
                asks = read? > 0;
            }
            Some(response) = waiting.next(), if !waiting.is_empty() => {
                if let Some(response) = response {
                    frame(&response, &mut leaving)?;
                    send(&mut to, &mut leaving, idle).await?;
                }
                deadline = Instant::now() + idle;
            }
            () = sleep_until(deadline), if waiting.is_empty() => return to.shutdown().await,
            () = drain.stopping(), if asks => asks = false,
        }
    }
}

/// Takes the next whole message (two octets of length, then the message: RFC 1035 section 4.2.2).
fn next_message(received: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::from(u16::from_be_bytes(*received.first_chunk::<2>()?));
    if received.len() < 2 + length {
        received.reserve(2 + length - received.len());
        return None;
    }
    received.advance(2);
    Some(received.split_to(length))
}

/// Puts a response behind those that leave next.
fn frame(response: &[u8], leaving: &mut Vec<u8>) -> io::Result<()> {
    let length = u16::try_from(response.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    leaving.extend_from_slice(&length.to_be_bytes());
    leaving.extend_from_slice(response);
    Ok(())
}

/// Sends what leaves. A client that does not read its answers is given up.
async fn send(
    to: &mut (impl AsyncWriteExt + Unpin),
    leaving: &mut Vec<u8>,
    within: Duration,
) -> io::Result<()> {
    if leaving.is_empty() {
        return Ok(());
    }
    let sent = timeout(within, to.write_all(leaving)).await;
    leaving.clear();
    sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
