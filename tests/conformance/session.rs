//! A check against a server: its dialogue is carried out line by line over a socket of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::script::{Act, Check, Door, Pattern, octets};
use super::subject::Subject;

/// A reply comes within this.
const PATIENCE: Duration = Duration::from_secs(15);
/// What does not come within this does not come.
const SILENCE: Duration = Duration::from_millis(500);

/// What a check led to.
#[derive(Clone, Debug)]
pub struct Finding {
    pub verdict: Verdict,
    /// The last reply; of a failure also the step that it does not fit.
    pub answer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passes,
    Fails,
    /// The server does not offer what the check is about, or has no such door.
    Lacks,
}

/// Carries out a check.
pub fn run(check: &Check, subject: &Subject) -> Finding {
    let mut session: Option<Session> = None;
    for step in &check.steps {
        let outcome = match (&step.act, &mut session) {
            (Act::Connect(door), _) => match subject.door(*door) {
                None => return lacks("no such port"),
                Some(at) => Session::connect(at, *door).map(|new| session = Some(new)),
            },
            (_, None) => panic!("{}: {}: not connected", check.name, step.line),
            (Act::Needs(keyword), Some(session)) if !session.lists(keyword) => {
                return lacks(&format!("no {keyword}"));
            }
            (act, Some(session)) => session.act(act, subject),
        };
        if let Err(why) = outcome {
            let last = session.map(|session| session.last).unwrap_or_default();
            let answer = format!("`{}`: {why}{}", step.line, if last.is_empty() { "" } else { ", " });
            return Finding { verdict: Verdict::Fails, answer: answer + last_line(&last) };
        }
    }
    let last = session.map(|session| session.last).unwrap_or_default();
    Finding { verdict: Verdict::Passes, answer: last_line(&last).to_owned() }
}

fn lacks(what: &str) -> Finding {
    Finding { verdict: Verdict::Lacks, answer: what.to_owned() }
}

fn last_line(reply: &str) -> &str {
    reply.lines().next_back().unwrap_or_default()
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

struct Session {
    stream: Option<Stream>,
    buffer: Vec<u8>,
    /// The last reply, whole.
    last: String,
    /// The last reply to EHLO.
    extensions: Vec<String>,
    greeted: bool,
}

impl Session {
    fn connect(at: SocketAddr, door: Door) -> Result<Session, String> {
        let tcp = TcpStream::connect_timeout(&at, PATIENCE).map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut session = Session {
            stream: Some(Stream::Plain(tcp)),
            buffer: Vec::new(),
            last: String::new(),
            extensions: Vec::new(),
            greeted: false,
        };
        if door == Door::Submissions {
            session.start_tls()?;
        }
        Ok(session)
    }

    fn act(&mut self, act: &Act, subject: &Subject) -> Result<(), String> {
        match act {
            Act::Connect(_) | Act::Needs(_) => Ok(()),
            Act::Send(text) => {
                let octets = octets(text, &subject.variables());
                // A server that has closed by now is seen when its reply is missing.
                let _ = self.write(&octets);
                Ok(())
            }
            Act::Expect(pattern) => self.expect(pattern),
            Act::ExpectMany(count, pattern) => (0..*count).try_for_each(|_| self.expect(pattern)),
            Act::Lists(words) if self.lists(words) => Ok(()),
            Act::Lists(words) => Err(format!("{words} is not listed")),
            Act::Tls => self.start_tls(),
            Act::Login => self.login(subject),
            Act::Silence => match self.fill(Instant::now() + SILENCE) {
                Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
                _ => Err(format!("it says {:?}", String::from_utf8_lossy(&self.buffer))),
            },
            Act::Alive => {
                self.write(b"NOOP\r\n").map_err(|error| error.to_string())?;
                self.reply()?;
                if self.last.starts_with("250") { Ok(()) } else { Err("got".to_owned()) }
            }
            Act::Closed => loop {
                match self.fill(Instant::now() + PATIENCE) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::TimedOut => {
                        return Err("it stays open".to_owned());
                    }
                    Err(_) => return Ok(()),
                }
            },
        }
    }

    fn expect(&mut self, pattern: &Pattern) -> Result<(), String> {
        self.reply()?;
        match pattern.fits(&self.last, self.lists("ENHANCEDSTATUSCODES")) {
            true => Ok(()),
            false => Err("got".to_owned()),
        }
    }

    /// Reads a whole reply.
    fn reply(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let mut whole = String::new();
        loop {
            while let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let Some(line) = line.strip_suffix(b"\r\n") else {
                    return Err("a reply line does not end with CRLF".to_owned());
                };
                let line = String::from_utf8_lossy(line).into_owned();
                let goes_on = line.as_bytes().get(3) == Some(&b'-');
                whole.push_str(&line);
                whole.push('\n');
                if !goes_on {
                    self.take(whole);
                    return Ok(());
                }
            }
            self.fill(until).map_err(|error| match error.kind() {
                ErrorKind::TimedOut => "no reply".to_owned(),
                _ => "it closes the connection".to_owned(),
            })?;
        }
    }

    fn take(&mut self, reply: String) {
        // Only EHLO has such replies: 250, more than one line, behind the greeting.
        if self.greeted && reply.starts_with("250-") {
            self.extensions =
                reply.lines().skip(1).filter_map(|line| line.get(4..)).map(str::to_owned).collect();
        }
        self.greeted |= reply.starts_with("220");
        self.last = reply;
    }

    fn lists(&self, words: &str) -> bool {
        let mut wanted = words.split_whitespace();
        let keyword = wanted.next().unwrap_or_default();
        let wanted: Vec<&str> = wanted.collect();
        self.extensions.iter().any(|line| {
            let mut has = line.split_whitespace();
            has.next().is_some_and(|first| first.eq_ignore_ascii_case(keyword)) && {
                let has: Vec<&str> = has.collect();
                wanted.iter().all(|word| has.iter().any(|has| has.eq_ignore_ascii_case(word)))
            }
        })
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Some(Stream::Plain(tcp)) => tcp.write_all(octets),
            Some(Stream::Tls(tls)) => tls.write_all(octets).and_then(|()| tls.flush()),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Reads what comes until then. `TimedOut`: nothing; any other error: the end.
    fn fill(&mut self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut chunk = [0; 4096];
        let read = match &mut self.stream {
            Some(Stream::Plain(tcp)) => {
                tcp.set_read_timeout(Some(left))?;
                tcp.read(&mut chunk)
            }
            Some(Stream::Tls(tls)) => {
                tls.sock.set_read_timeout(Some(left))?;
                tls.read(&mut chunk)
            }
            None => return Err(ErrorKind::NotConnected.into()),
        };
        match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(ErrorKind::TimedOut.into())
            }
            Err(error) => Err(error),
        }
    }

    fn start_tls(&mut self) -> Result<(), String> {
        let Some(Stream::Plain(tcp)) = self.stream.take() else { return Err("TLS is up already".to_owned()) };
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody))
                .with_no_client_auth();
        // Some servers refuse a name that they do not have.
        config.enable_sni = false;
        let name = ServerName::try_from("server.invalid").map_err(|error| error.to_string())?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
        tcp.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let mut tls = StreamOwned::new(connection, tcp);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).map_err(|error| format!("TLS: {error}"))?;
        }
        self.stream = Some(Stream::Tls(Box::new(tls)));
        self.extensions.clear();
        Ok(())
    }

    fn login(&mut self, subject: &Subject) -> Result<(), String> {
        let say = |session: &mut Session, line: String, code: &str| {
            session.write(format!("{line}\r\n").as_bytes()).map_err(|error| error.to_string())?;
            session.reply()?;
            if session.last.starts_with(code) { Ok(()) } else { Err("got".to_owned()) }
        };
        if matches!(self.stream, Some(Stream::Plain(_))) {
            say(self, "STARTTLS".to_owned(), "220")?;
            self.start_tls()?;
        }
        say(self, format!("EHLO {}", subject.client), "250")?;
        let secret = format!("\0{}\0{}", subject.account, subject.password);
        let secret = base64::engine::general_purpose::STANDARD.encode(secret);
        say(self, format!("AUTH PLAIN {secret}"), "235")
    }
}

/// Certificates are another matter.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
