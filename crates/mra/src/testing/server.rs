//! Ports of a protocol over loopback, and a client that speaks line by line.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use postroad_config::Config;
use postroad_service::pki::Ca;
use postroad_service::{ClientTls, Drain, Listener, SystemClock, TraceLog};
use postroad_types::Role;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{FakeLogins, FakeMailbox};
use crate::conn::Protocol;
use crate::context::Context;
use crate::serve::{Port, serve};

const HOST: &str = "mx.beta.test";
/// Longer than anything in a test takes.
const WITHIN: Duration = Duration::from_secs(20);

/// A running service without mda.
pub(crate) struct TestServer {
    pub(crate) mailbox: Arc<FakeMailbox>,
    pub(crate) logins: Arc<FakeLogins>,
    pub(crate) drain: Drain,
    pub(crate) traces: TraceLog,
    /// STARTTLS or STLS.
    pub(crate) plain: SocketAddr,
    /// TLS from the first octet.
    pub(crate) tls: SocketAddr,
    state: TempDir,
}

impl TestServer {
    pub(crate) async fn start(protocol: Protocol, change: impl FnOnce(&mut Config)) -> TestServer {
        postroad_service::tls::install_provider();
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::new(HOST, state.path());
        change(&mut config);
        let drain = Drain::new(Duration::from_secs(5));
        let (mailbox, logins) = (Arc::new(FakeMailbox::new()), Arc::new(FakeLogins::default()));
        let traces = TraceLog::open(&config.trace_dir(), 1 << 20, Role::Mra, HOST).unwrap();
        let context = Context {
            host: HOST.to_owned(),
            tls: ClientTls::load(&config, SystemTime::now()).unwrap(),
            config: config.mra,
            logins: logins.clone(),
            mailbox: mailbox.clone(),
            traces: traces.clone(),
            clock: Arc::new(SystemClock::new()),
            drain: drain.clone(),
        };
        let listen = || Listener::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
        let (plain, tls) = (listen(), listen());
        let (plain_address, tls_address) = (plain.address(), tls.address());
        let ports = vec![Port::new(plain, protocol, false), Port::new(tls, protocol, true)];
        drain.spawn(serve(ports, Arc::new(context)));
        TestServer { mailbox, logins, drain, traces, plain: plain_address, tls: tls_address, state }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.plain).await.unwrap())
    }

    pub(crate) async fn connect_tls(&self) -> Client {
        let tcp = TcpStream::connect(self.tls).await.unwrap();
        Client::new(handshake(self.state.path(), tcp).await)
    }

    /// A client that goes over to TLS, after its STARTTLS or STLS was answered.
    pub(crate) async fn start_tls(&self, client: Client) -> Client {
        let tcp = client.stream.into_inner();
        Client::new(handshake(self.state.path(), tcp).await)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    state: &Path,
    stream: S,
) -> tokio_rustls::client::TlsStream<S> {
    let ca = Ca::open(&state.join("pki"), HOST, SystemTime::now()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connected = connector.connect(HOST.try_into().unwrap(), stream);
    tokio::time::timeout(WITHIN, connected).await.unwrap().unwrap()
}

/// A mail program.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

impl Client {
    fn new(stream: impl Stream + 'static) -> Self {
        Client { stream: BufReader::new(Box::new(stream)) }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next line, without its CRLF.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        tokio::time::timeout(WITHIN, read).await.expect("a line in time").unwrap();
        let line = String::from_utf8(line).unwrap();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no whole line: {line:?}")).to_owned()
    }

    /// Sends a line; the answer's first line.
    pub(crate) async fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n")).await;
        self.line().await
    }

    /// All that comes until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = String::new();
        let read = self.stream.read_to_string(&mut text);
        tokio::time::timeout(WITHIN, read).await.expect("an end in time").unwrap();
        text
    }
}
