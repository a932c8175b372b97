//! A host that plays its part of a dialogue as written, well or badly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use postroad_service::ClientTls;
use postroad_service::pki::Ca;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Scenes end within this.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// One line of a part:
/// `S: text` says it; `C: text` hears a line that begins so; `body` hears a message up to its dot; `half` hears some
/// of one; `tls` does the handshake; `no tls` spoils it; `close` hangs up; `listen` hears whatever comes until the
/// other side hangs up.
pub(super) type Part = Vec<&'static str>;

/// EHLO without any extension.
pub(super) const HELLO: &[&str] = &["S: 220 mx ESMTP", "C: EHLO me.test", "S: 250 mx"];
pub(super) const PIPELINING: &[&str] =
    &["S: 220 mx ESMTP", "C: EHLO me.test", "S: 250-mx", "S: 250 PIPELINING"];
pub(super) const STARTTLS: &[&str] = &["S: 220 mx ESMTP", "C: EHLO me.test", "S: 250-mx", "S: 250 STARTTLS"];
/// A whole transaction with one recipient.
pub(super) const MESSAGE: &[&str] = &[
    "C: MAIL FROM:<ann@a.test>",
    "S: 250 ok",
    "C: RCPT TO:<bob@b.test>",
    "S: 250 ok",
    "C: DATA",
    "S: 354 go",
    "body",
    "S: 250 queued",
];
pub(super) const QUIT: &[&str] = &["C: QUIT", "S: 221 bye", "close"];

#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) connections: usize,
    pub(super) finished: usize,
    pub(super) messages: Vec<String>,
    /// What was not as written.
    pub(super) wrong: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

impl Host {
    /// Plays `parts` one after the other, one for each connection.
    pub(super) async fn start(parts: Vec<Part>) -> Host {
        Host::at("127.0.0.1:0".parse().unwrap(), parts, None).await
    }

    pub(super) async fn at(address: SocketAddr, parts: Vec<Part>, tls: Option<ClientTls>) -> Host {
        let listener = TcpListener::bind(address).await.unwrap();
        let host = Host { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = host.heard.clone();
        tokio::spawn(async move {
            for part in parts {
                let (tcp, _) = listener.accept().await.unwrap();
                heard.lock().unwrap().connections += 1;
                let (heard, tls) = (heard.clone(), tls.clone());
                tokio::spawn(async move {
                    let wrong = play(tcp, &part, &heard, tls).await.err();
                    let mut heard = heard.lock().unwrap();
                    heard.wrong.extend(wrong);
                    heard.finished += 1;
                });
            }
        });
        host
    }

    /// What was heard, once `connections` are over.
    pub(super) async fn done(&self, connections: usize) -> Vec<String> {
        let over = async {
            while self.heard.lock().unwrap().finished < connections {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let late = tokio::time::timeout(SOON, over).await.is_err();
        let heard = self.heard.lock().unwrap();
        assert!(!late, "{} of {connections} connections are over: {heard:?}", heard.finished);
        assert_eq!(heard.wrong, Vec::<String>::new());
        assert_eq!(heard.connections, connections);
        heard.messages.clone()
    }
}

async fn play(
    tcp: TcpStream,
    part: &[&str],
    heard: &Mutex<Heard>,
    tls: Option<ClientTls>,
) -> Result<(), String> {
    if let Some(at) = part.iter().position(|line| *line == "tls" || *line == "no tls") {
        let (before, after) = part.split_at(at);
        let mut plain = BufReader::new(tcp);
        speak(&mut plain, before, heard).await?;
        if after.first() == Some(&"no tls") {
            // Reads the ClientHello first: closing over unread octets would be a reset.
            let _ = tokio::time::timeout(SOON, plain.fill_buf()).await;
            return plain.write_all(b"this is no TLS\r\n").await.map_err(|error| error.to_string());
        }
        assert!(plain.buffer().is_empty(), "plaintext behind STARTTLS");
        let tls = tls.expect("a certificate").acceptor();
        let stream = tls.accept(plain.into_inner()).await;
        let stream = stream.map_err(|error| format!("handshake: {error}"));
        return match (stream, after.get(1)) {
            (Ok(stream), _) => speak(&mut BufReader::new(stream), after.get(1..).unwrap(), heard).await,
            (Err(_), Some(&"refused")) => Ok(()),
            (Err(error), _) => Err(error),
        };
    }
    speak(&mut BufReader::new(tcp), part, heard).await
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    part: &[&str],
    heard: &Mutex<Heard>,
) -> Result<(), String> {
    for line in part {
        let io = |error: std::io::Error| format!("at {line:?}: {error}");
        match *line {
            "close" => break,
            "body" => {
                let body = body(stream).await.map_err(io)?;
                heard.lock().unwrap().messages.push(body);
            }
            "half" => {
                let mut some = String::new();
                stream.read_line(&mut some).await.map_err(io)?;
            }
            "listen" => loop {
                let octets = stream.fill_buf().await.map_err(io)?.len();
                if octets == 0 {
                    break;
                }
                stream.consume(octets);
            },
            _ => match line.split_at(3) {
                ("S: ", text) => {
                    stream.write_all(format!("{text}\r\n").as_bytes()).await.map_err(io)?;
                    stream.flush().await.map_err(io)?;
                }
                (_, text) => {
                    let mut got = String::new();
                    stream.read_line(&mut got).await.map_err(io)?;
                    if !got.starts_with(text) || !got.ends_with("\r\n") {
                        return Err(format!("heard {got:?} where {text:?} was due"));
                    }
                }
            },
        }
    }
    Ok(())
}

async fn body<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> std::io::Result<String> {
    let mut body = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.strip_prefix('.') {
            Some("\r\n") => return Ok(body),
            Some(rest) => body.push_str(rest),
            None => body.push_str(&line),
        }
    }
}

/// A certificate for `mx.b.test` with the authority that gave it.
pub(super) fn certificate() -> (ClientTls, RootCertStore) {
    let now = SystemTime::now();
    let (ca, _) = Ca::new("a test", now).unwrap();
    let issued = ca.issue_host(&["mx.b.test"], now).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("host.pem"), dir.path().join("host.key"));
    std::fs::write(&cert, issued.chain_pem).unwrap();
    std::fs::write(&key, issued.key_pem).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    (ClientTls::from_files(&cert, &key).unwrap(), roots)
}
