//! A mail program that does exactly what the test says: an SMTP client without any cleverness.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

impl Client {
    /// Without TLS, as another MTA comes.
    pub async fn connect(at: SocketAddr) -> Client {
        let tcp = TcpStream::connect(at).await.expect("SMTP connection");
        Client { stream: BufReader::new(Box::new(tcp)) }
    }

    /// TLS from the first octet.
    pub async fn connect_tls(at: SocketAddr, name: &str, ca_file: &Path) -> Client {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(ca_file).expect("CA file") {
            roots.add(cert.expect("CA certificate")).expect("CA certificate");
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect(at).await.expect("SMTP connection");
        let name = ServerName::try_from(name.to_owned()).expect("host name");
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
        Client { stream: BufReader::new(Box::new(tls)) }
    }

    /// The server's greeting, then EHLO; returns what it can do.
    pub async fn greet(&mut self) -> String {
        let greeting = self.reply().await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        let able = self.command("EHLO client.test.invalid").await;
        assert!(able.starts_with("250"), "{able}");
        able
    }

    pub async fn auth_plain(&mut self, user: &str, password: &str) {
        let secret = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"));
        let reply = self.command(&format!("AUTH PLAIN {secret}")).await;
        assert!(reply.starts_with("235"), "{reply}");
    }

    /// A whole message; returns the reply to its end, or the first that refuses it.
    pub async fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> String {
        let utf8 = if (from.to_owned() + &to.concat()).is_ascii() { "" } else { " SMTPUTF8" };
        let body = if message.is_ascii() { "" } else { " BODY=8BITMIME" };
        let reply = self.command(&format!("MAIL FROM:<{from}>{body}{utf8}")).await;
        if !reply.starts_with("250") {
            return reply;
        }
        for to in to {
            let reply = self.command(&format!("RCPT TO:<{to}>")).await;
            if !reply.starts_with("250") {
                return reply;
            }
        }
        let reply = self.command("DATA").await;
        if !reply.starts_with("354") {
            return reply;
        }
        self.write(&stuffed(message)).await;
        self.write(b".\r\n").await;
        self.reply().await
    }

    pub async fn command(&mut self, line: &str) -> String {
        self.write(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    pub async fn write(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).await.expect("the server reads");
        self.stream.get_mut().flush().await.expect("the server reads");
    }

    /// All lines of a reply.
    pub async fn reply(&mut self) -> String {
        self.try_reply().await.expect("a reply")
    }

    /// `None` when the server has closed the connection.
    pub async fn try_reply(&mut self) -> Option<String> {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(Duration::from_secs(60), self.stream.read_line(&mut line)).await;
            if read.expect("a reply in time").unwrap_or(0) == 0 {
                return None;
            }
            let last = line.as_bytes().get(3) != Some(&b'-');
            all.push_str(&line);
            if last {
                return Some(all.trim_end().to_owned());
            }
        }
    }

    /// Whether the server closes the connection now.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(60), self.stream.read_to_end(&mut rest)).await;
        read.is_ok()
    }
}

/// Byte-stuffing (RFC 5321 section 4.5.2), the plain way.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1024);
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}

/// The queue id in a reply such as `250 2.0.0 queued as …`.
pub fn queue_id(reply: &str) -> String {
    let is_id = |word: &&str| word.parse::<postroad_types::QueueId>().is_ok();
    reply.split_whitespace().find(is_id).unwrap_or_else(|| panic!("no queue id in {reply:?}")).to_owned()
}
