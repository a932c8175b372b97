//! A client's connection: plain TCP or TLS, with the change from one to the other in place (STARTTLS, STLS).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take for the TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(30);

/// What was agreed on in the TLS handshake, for Received headers and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The name that the client asked for.
    pub server_name: Option<String>,
}

/// A client's connection.
#[derive(Debug)]
pub struct Conn {
    stream: Stream,
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<TlsInfo>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed: nothing goes over this connection any more.
    Lost,
}

impl Conn {
    /// Over a TCP connection that was accepted.
    pub fn plain(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let (peer, local) = (tcp.peer_addr()?, tcp.local_addr()?);
        Ok(Conn { stream: Stream::Plain(tcp), peer: unmapped(peer), local: unmapped(local), tls: None })
    }

    /// The client's address; an IPv4 client is IPv4, also on a socket for both.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What was agreed on, if TLS is on.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// `tls-exporter` of this connection (RFC 9266), under TLS 1.3: earlier versions bind only with an extension that
    /// not every client uses.
    pub fn channel_binding(&self) -> Option<[u8; 32]> {
        let Stream::Tls(stream) = &self.stream else { return None };
        let session = stream.get_ref().1;
        if session.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            return None;
        }
        session.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()
    }

    /// Takes the client's TLS handshake on this connection, at its beginning or after STARTTLS.
    ///
    /// The caller must have dropped what it had read and not looked at (RFC 3207 section 6): it came before
    /// the handshake, from whoever. After an error the connection is of no use any more.
    pub async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        let tcp = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Plain(tcp) => tcp,
            already => {
                self.stream = already;
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is on already"));
            }
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
        let stream = tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(tcp)).await.map_err(late)??;
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLS",
        };
        let cipher =
            session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        self.tls = Some(TlsInfo {
            version,
            // rustls writes TLS 1.3's suites as TLS13_…; the registry's names begin with TLS_.
            cipher: cipher.replacen("TLS13_", "TLS_", 1),
            server_name: session.server_name().map(str::to_owned),
        });
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }
}

/// IPv4 in IPv6 (::ffff:192.0.2.1) as IPv4.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the TLS handshake had failed")
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            // A client that goes without close_notify has gone all the same; the protocols know their own ends.
            Stream::Tls(tls) => match Pin::new(tls).poll_read(cx, buf) {
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                other => other,
            },
            Stream::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
            Stream::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
            Stream::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
            Stream::Lost => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Stream::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::Lost => Poll::Ready(Ok(())),
        }
    }
}
