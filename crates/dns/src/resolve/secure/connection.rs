//! One connection to a server: made for the first question, ended when it is idle or broken.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use postroad_config::TlsServer;
use postroad_types::limits::{DNS_HANDSHAKE_SECONDS, DNS_UPSTREAM_PIPELINE_MAX};
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::debug;

use crate::resolve::upstream::AskError;

/// A question and who waits for its answer.
#[derive(Debug)]
pub(super) struct Job {
    pub query: Vec<u8>,
    pub reply: oneshot::Sender<Result<Vec<u8>, Ended>>,
}

/// How long a connection is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Without a question.
    pub idle: Duration,
    /// Without any answer, with questions under way.
    pub silence: Duration,
}

/// Why a connection gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It never gave any.
    Fresh(AskError),
    /// It did before: the server may have closed it when the question was on its way.
    Reused(AskError),
}

/// Who waits for which id, and the id that the question came with.
type Waiting = HashMap<u16, ([u8; 2], oneshot::Sender<Result<Vec<u8>, Ended>>)>;

/// Makes the connection and serves `jobs` until it is idle or broken.
pub(super) async fn run(
    server: TlsServer,
    connector: TlsConnector,
    source: Option<SocketAddr>,
    mut jobs: mpsc::Receiver<Job>,
    limits: Limits,
) {
    let within = Duration::from_secs(DNS_HANDSHAKE_SECONDS);
    let connected = timeout(within, connect(&server, &connector, source)).await;
    let mut waiting = Waiting::new();
    let mut answered = false;
    let ended = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => serve(stream, &mut jobs, &mut waiting, &mut answered, limits).await,
        Err(error) => Err(error),
    };
    // From now on questions find that there is no connection.
    jobs.close();
    let why = ended.err().map_or(AskError::Unreachable(io::ErrorKind::ConnectionReset), |error| {
        debug!(server = %server, %error, "a connection to a resolver over TLS ended");
        reason(&error)
    });
    let why = if answered { Ended::Reused(why) } else { Ended::Fresh(why) };
    // Whoever waits no longer is not told.
    for (_, reply) in waiting.into_values() {
        let _ = reply.send(Err(why));
    }
    while let Ok(job) = jobs.try_recv() {
        let _ = job.reply.send(Err(why));
    }
}

/// What an operator is told of a connection that ended.
fn reason(error: &io::Error) -> AskError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    AskError::Tls(match tls {
        None => return AskError::Unreachable(error.kind()),
        Some(rustls::Error::InvalidCertificate(fault)) => match fault {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::UnknownIssuer => "its certificate comes from nobody who is trusted",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            _ => "its certificate is not valid",
        },
        Some(rustls::Error::InvalidMessage(_)) => "what it speaks is not TLS",
        Some(rustls::Error::AlertReceived(_)) => "it refuses the handshake",
        Some(_) => "the handshake fails",
    })
}

async fn connect(
    server: &TlsServer,
    connector: &TlsConnector,
    source: Option<SocketAddr>,
) -> io::Result<TlsStream<TcpStream>> {
    let socket = if server.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = source {
        socket.bind(source)?;
    }
    let tcp = socket.connect(server.address).await?;
    tcp.set_nodelay(true)?;
    let name = match &server.name {
        Some(name) => {
            ServerName::try_from(name.clone()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?
        }
        None => ServerName::IpAddress(server.address.ip().into()),
    };
    connector.connect(name, tcp).await
}

/// Asks and hands out answers. `Ok`: it was idle, or nobody will ask any more.
async fn serve(
    stream: TlsStream<TcpStream>,
    jobs: &mut mpsc::Receiver<Job>,
    waiting: &mut Waiting,
    answered: &mut bool,
    Limits { idle, silence }: Limits,
) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut received = BytesMut::with_capacity(2048);
    let mut deadline = Instant::now() + idle;
    // Whoever has gone without a word is noticed here, long before the system gives up.
    let mut silent_since = None;
    loop {
        if waiting.len() >= DNS_UPSTREAM_PIPELINE_MAX {
            waiting.retain(|_, (_, reply)| !reply.is_closed());
        }
        let broken = silent_since.unwrap_or(deadline) + silence;
        tokio::select! {
            job = jobs.recv(), if waiting.len() < DNS_UPSTREAM_PIPELINE_MAX => {
                let Some(job) = job else { return Ok(()) };
                if let Some(framed) = enter(job, waiting) {
                    silent_since.get_or_insert_with(Instant::now);
                    timeout(idle, to.write_all(&framed)).await??;
                }
            }
            read = from.read_buf(&mut received) => {
                if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                while let Some(response) = next_message(&mut received) {
                    *answered |= hand_out(response, waiting);
                }
                silent_since = (!waiting.is_empty()).then(Instant::now);
            }
            () = sleep_until(broken), if silent_since.is_some() => return Err(io::ErrorKind::TimedOut.into()),
            () = sleep_until(deadline) => {
                // Those who have given up are not waited for, and answers to them may still come.
                waiting.retain(|_, (_, reply)| !reply.is_closed());
                if waiting.is_empty() {
                    return timeout(idle, to.shutdown()).await?;
                }
            }
        }
        deadline = Instant::now() + idle;
    }
}

/// Gives a question an id that no other one under way has, and frames it; `None` for what is no question.
fn enter(job: Job, waiting: &mut Waiting) -> Option<Vec<u8>> {
    let Job { mut query, reply } = job;
    let length = u16::try_from(query.len()).ok()?;
    let own = query.first_chunk_mut::<2>()?;
    let id = std::iter::repeat_with(rand::random::<u16>).find(|id| !waiting.contains_key(id))?;
    let before = std::mem::replace(own, id.to_be_bytes());
    waiting.insert(id, (before, reply));
    Some([&length.to_be_bytes()[..], &query].concat())
}

/// Takes the next whole message.
fn next_message(received: &mut BytesMut) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*received.first_chunk::<2>()?));
    if received.len() < 2 + length {
        return None;
    }
    received.advance(2);
    Some(received.split_to(length).to_vec())
}

/// Gives a response to who waits for it; false when nobody does.
fn hand_out(mut response: Vec<u8>, waiting: &mut Waiting) -> bool {
    let Some(id) = response.first_chunk_mut::<2>() else { return false };
    let Some((before, reply)) = waiting.remove(&u16::from_be_bytes(*id)) else { return false };
    *id = before;
    // Who has given up gets none.
    let _ = reply.send(Ok(response));
    true
}
