//! One connection to another server: drives wire-smtp's client machine over a socket.
//!
//! The machine decides what is said and how long to wait; here octets and TLS are moved, and the body is fetched
//! chunk by chunk as the connection takes it. While writing, the server is listened to: it may refuse a message
//! that it does not have whole, and it would not go on reading if nobody took its replies.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postroad_store::StoreError;
use postroad_types::limits;
use postroad_wire_smtp::client::{self, Client, Ending, Message, NotReady, Outcome, Output};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::stream::Stream;
use super::tls::{TlsFacts, TlsTrust};
use crate::consignment::Content;
use crate::route::{Hop, TlsPolicy};

/// Commands and body chunks are gathered up to so much before they are written.
const GATHER_OCTETS: usize = 64 * 1024;
/// Octets read at a time: replies are short.
const READ_OCTETS: usize = 4096;
/// QUIT is waited for so long.
const QUIT_WITHIN: Duration = Duration::from_secs(5);

/// A message's octets, in order.
pub trait Body: Send {
    /// The next octets; `None` at the end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + Send;
}

/// Reads a message from where it lies.
pub(super) struct ContentBody<'a> {
    content: &'a Content,
    offset: u64,
}

impl<'a> ContentBody<'a> {
    pub(super) fn new(content: &'a Content) -> Self {
        ContentBody { content, offset: 0 }
    }
}

impl Body for ContentBody<'_> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        let chunk = self.content.chunk(self.offset).await?;
        self.offset += chunk.len() as u64;
        if chunk.is_empty() && self.offset < self.content.size_octets {
            let (has, wanted) = (self.offset, self.content.size_octets);
            return Err(StoreError::Damaged(format!("a message ends after {has} of {wanted} octets")));
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

/// For calls that send no message.
struct NoBody;

impl Body for NoBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
}

/// With whom, and how.
#[derive(Clone, Debug)]
pub struct Facts {
    pub hop: Hop,
    /// Our end.
    pub local: SocketAddr,
    pub tls: Option<TlsFacts>,
    /// Why there is no TLS, although it was wanted.
    pub without_tls: Option<String>,
    /// TCP and TLS handshakes, greeting and hello.
    pub opening: Duration,
}

/// A connection that is ready for a message.
#[derive(Debug)]
pub struct Session {
    client: Client,
    stream: Stream,
    outgoing: BytesMut,
    pub(super) facts: Facts,
    began: Instant,
    messages: u32,
    /// Why the body could not be read.
    body_error: Option<StoreError>,
}

impl Session {
    /// Over a TCP connection that was just made. Nothing is said yet.
    pub(super) fn new(
        tcp: TcpStream,
        hop: Hop,
        config: Arc<client::Config>,
        began: Instant,
    ) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let local = tcp.local_addr()?;
        let facts = Facts { hop, local, tls: None, without_tls: None, opening: Duration::ZERO };
        Ok(Session::on(Stream::Plain(tcp), facts, config, began))
    }

    /// Over a connection whose TLS handshake was just done. Nothing is said yet.
    pub(super) fn over_tls(
        tls: TlsStream<TcpStream>,
        agreed: TlsFacts,
        hop: Hop,
        config: Arc<client::Config>,
        began: Instant,
    ) -> io::Result<Self> {
        let tcp = tls.get_ref().0;
        tcp.set_nodelay(true)?;
        let local = tcp.local_addr()?;
        let facts = Facts { hop, local, tls: Some(agreed), without_tls: None, opening: Duration::ZERO };
        Ok(Session::on(Stream::Tls(Box::new(tls)), facts, config, began))
    }

    fn on(stream: Stream, facts: Facts, config: Arc<client::Config>, began: Instant) -> Self {
        Session {
            client: Client::new(config, facts.tls.is_some(), now()),
            stream,
            outgoing: BytesMut::new(),
            facts,
            began,
            messages: 0,
            body_error: None,
        }
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Commands and replies since the last call.
    pub fn take_dialogue(&mut self) -> Vec<String> {
        self.client.take_dialogue()
    }

    /// Whether it has carried a message before.
    pub fn is_reused(&self) -> bool {
        self.messages > 1
    }

    /// Why the last message could not be read to its end.
    pub fn take_body_error(&mut self) -> Option<StoreError> {
        self.body_error.take()
    }

    /// Whether another message may go over it.
    pub fn is_reusable(&self) -> bool {
        let age = self.began.elapsed();
        self.client.is_ready()
            && self.messages < limits::RELAY_MESSAGES_PER_CONNECTION_MAX
            && age < Duration::from_secs(limits::RELAY_CONNECTION_SECONDS_MAX)
    }

    /// Whether the server has said or closed something while the connection waited: then it is of no use.
    pub(super) fn is_stale(&mut self) -> bool {
        let mut octet = [0; 1];
        let mut buffer = ReadBuf::new(&mut octet);
        let mut context = Context::from_waker(std::task::Waker::noop());
        !self.client.is_ready() || Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_ready()
    }

    /// Up to the point where the machine wants to be told what is next.
    pub(super) async fn until_ready(&mut self) -> Result<(), Ending> {
        match self.next(&mut NoBody).await {
            Output::Ready => {
                self.facts.opening = self.began.elapsed();
                Ok(())
            }
            Output::Closed(ending) => Err(ending),
            other => Err(self.misunderstanding(&other)),
        }
    }

    /// STARTTLS and all that belongs to it. After `Err(Failed)` the connection is lost; after `Err(Refused)` it can be
    /// used as it is.
    pub(super) async fn start_tls(
        &mut self,
        trust: &TlsTrust,
        policy: TlsPolicy,
    ) -> Result<(), StartTlsError> {
        let lost = |ending| StartTlsError::Ended(ending);
        self.client.start_tls(now()).map_err(|NotReady| lost(Ending::Quit))?;
        match self.next(&mut NoBody).await {
            Output::StartTls => {}
            Output::StartTlsRefused(reply) => return Err(StartTlsError::Refused(reply.to_string())),
            Output::Closed(ending) => return Err(lost(ending)),
            other => return Err(lost(self.misunderstanding(&other))),
        }
        let Some(tcp) = self.stream.take_plain() else { return Err(lost(Ending::Quit)) };
        let (stream, facts) =
            trust.handshake(policy, &self.facts.hop.name, tcp).await.map_err(StartTlsError::Failed)?;
        self.stream = Stream::Tls(Box::new(stream));
        self.facts.tls = Some(facts);
        self.client.tls_established(now());
        self.until_ready().await.map_err(lost)
    }

    /// Proves who we are; `Err` says why not.
    pub(super) async fn authenticate(&mut self, credentials: &client::Credentials) -> Result<(), String> {
        self.client.authenticate(now(), credentials).map_err(|error| error.to_string())?;
        match self.next(&mut NoBody).await {
            Output::Authenticated => Ok(()),
            Output::AuthRefused(why) => Err(why.to_string()),
            Output::Closed(ending) => Err(ending.to_string()),
            other => Err(self.misunderstanding(&other).to_string()),
        }
    }

    /// Sends a message. Only on a session that [`is_reusable`](Self::is_reusable).
    pub async fn send(&mut self, message: Message, body: &mut impl Body) -> Result<Outcome, NotReady> {
        self.client.send(now(), message)?;
        self.messages += 1;
        loop {
            match self.next(body).await {
                Output::Finished(outcome) => return Ok(outcome),
                // Finished comes before it.
                Output::Closed(_) => return Err(NotReady),
                _ => {}
            }
        }
    }

    /// Says QUIT and closes; does not wait long.
    pub async fn quit(mut self) {
        self.client.quit(now());
        let parting = async {
            while !matches!(self.next(&mut NoBody).await, Output::Closed(_)) {}
            let _ = self.stream.shutdown().await;
        };
        // What the server says to a farewell changes nothing.
        let _ = tokio::time::timeout(QUIT_WITHIN, parting).await;
    }

    /// The machine's next word that is not about moving octets.
    async fn next(&mut self, body: &mut impl Body) -> Output {
        loop {
            match self.client.poll_output() {
                Some(Output::Write(octets)) => {
                    self.outgoing.extend_from_slice(&octets);
                    if self.outgoing.len() >= GATHER_OCTETS {
                        self.flush().await;
                    }
                }
                Some(Output::WantBody) => match body.chunk().await {
                    Ok(Some(chunk)) => self.client.body_chunk(now(), chunk),
                    Ok(None) => self.client.body_end(now()),
                    Err(error) => {
                        self.body_error = Some(error);
                        // Nothing that was gathered may end the message by chance.
                        self.outgoing.clear();
                        self.client.body_failed(now());
                    }
                },
                Some(Output::Closed(ending)) => {
                    if !self.outgoing.is_empty() {
                        let _ =
                            tokio::time::timeout(QUIT_WITHIN, self.stream.write_all(&self.outgoing)).await;
                    }
                    return Output::Closed(ending);
                }
                Some(output) => return output,
                None if !self.outgoing.is_empty() => self.flush().await,
                None => self.read().await,
            }
        }
    }

    /// Writes what was gathered, and listens meanwhile. A failure is told to the machine.
    async fn flush(&mut self) {
        let Session { client, stream, outgoing, .. } = self;
        let due = client.poll_timeout();
        let mut incoming = [0; READ_OCTETS];
        let writing = poll_fn(|cx| poll_write_all(cx, client, stream, outgoing, &mut incoming));
        let written = within(due, writing).await;
        self.outgoing.clear();
        match written {
            Some(Ok(())) => {}
            Some(Err(_)) => self.client.end_of_input(now()),
            None => self.client.timed_out(now()),
        }
    }

    async fn read(&mut self) {
        let mut incoming = [0; READ_OCTETS];
        match within(self.client.poll_timeout(), self.stream.read(&mut incoming)).await {
            Some(Ok(octets)) if octets > 0 => {
                self.client.receive(now(), incoming.get(..octets).unwrap_or_default());
            }
            Some(_) => self.client.end_of_input(now()),
            None => self.client.timed_out(now()),
        }
    }

    /// The machine gave an output that has no place here; the session is ended rather than guessed about.
    fn misunderstanding(&mut self, output: &Output) -> Ending {
        tracing::error!(host = %self.facts.hop.name, ?output, "an SMTP session went wrong on our side");
        self.client.quit(now());
        Ending::Quit
    }
}

/// Why STARTTLS led to nothing.
#[derive(Debug)]
pub(super) enum StartTlsError {
    /// The server does not want to now.
    Refused(String),
    /// The handshake failed, and with it the connection.
    Failed(String),
    /// The session ended.
    Ended(Ending),
}

/// Writes until all is written. What the server says meanwhile goes to the machine; if that ends the session,
/// there is no use in writing on.
fn poll_write_all(
    cx: &mut Context<'_>,
    client: &mut Client,
    stream: &mut Stream,
    outgoing: &mut BytesMut,
    incoming: &mut [u8],
) -> Poll<io::Result<()>> {
    loop {
        if client.is_closed() {
            return Poll::Ready(Ok(()));
        }
        let written = if outgoing.is_empty() {
            match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(flushed) => return Poll::Ready(flushed),
                Poll::Pending => Poll::Pending,
            }
        } else {
            Pin::new(&mut *stream).poll_write(cx, outgoing)
        };
        let failure = match written {
            Poll::Ready(Ok(0)) => Some(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(octets)) => {
                outgoing.advance(octets);
                continue;
            }
            Poll::Ready(Err(error)) => Some(error),
            Poll::Pending => None,
        };
        let mut buffer = ReadBuf::new(incoming);
        match (Pin::new(&mut *stream).poll_read(cx, &mut buffer), failure) {
            (Poll::Ready(Ok(())), _) if !buffer.filled().is_empty() => client.receive(now(), buffer.filled()),
            (_, Some(error)) => return Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), None) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            (Poll::Ready(Err(error)), None) => return Poll::Ready(Err(error)),
            (Poll::Pending, None) => return Poll::Pending,
        }
    }
}

/// `None` if it was not done in time.
async fn within<T>(due: Option<std::time::Instant>, work: impl Future<Output = T>) -> Option<T> {
    match due {
        Some(due) => tokio::time::timeout_at(Instant::from_std(due), work).await.ok(),
        None => Some(work.await),
    }
}

/// tokio's time, which tests may turn, for a machine that knows std's.
pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
