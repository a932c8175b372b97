//! The lab's mail programs: as little POP3 and IMAP as it takes to find a message and read it.
//! They are clients of the services like any other, over TLS, and know nothing of what lies behind.

use std::sync::Arc;

use base64::Engine;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::plan::{DomainPlan, Person, Plan};

/// Whose mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    pub domain: &'a DomainPlan,
    pub person: &'a Person,
}

/// Largest message that the lab reads.
const MESSAGE_OCTETS_MAX: usize = 64 * 1024 * 1024;

/// The newest message with this Subject, over POP3; `None` when there is none (yet).
pub async fn pop3_find(plan: &Plan, account: Account<'_>, subject: &str) -> Result<Option<Vec<u8>>, String> {
    let mut line = Line::open(plan, account, plan.ports.pop3s, "POP3").await?;
    line.pop3("").await?;
    line.pop3(&format!("AUTH PLAIN {}", sasl_plain(account.person))).await?;
    let stat = line.pop3("STAT").await?;
    let count: u32 = stat.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    for number in (1..=count).rev() {
        line.pop3(&format!("TOP {number} 0")).await?;
        let head = line.multi_line().await?;
        if subject_of(&head).as_deref() == Some(subject) {
            line.pop3(&format!("RETR {number}")).await?;
            let message = line.multi_line().await?;
            line.pop3("QUIT").await?;
            return Ok(Some(message));
        }
    }
    line.pop3("QUIT").await?;
    Ok(None)
}

/// The Subjects of all messages, over POP3, in the order of their numbers.
pub async fn pop3_subjects(plan: &Plan, account: Account<'_>) -> Result<Vec<String>, String> {
    let mut line = Line::open(plan, account, plan.ports.pop3s, "POP3").await?;
    line.pop3("").await?;
    line.pop3(&format!("AUTH PLAIN {}", sasl_plain(account.person))).await?;
    let stat = line.pop3("STAT").await?;
    let count: u32 = stat.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut subjects = Vec::new();
    for number in 1..=count {
        line.pop3(&format!("TOP {number} 0")).await?;
        subjects.extend(subject_of(&line.multi_line().await?));
    }
    line.pop3("QUIT").await?;
    Ok(subjects)
}

/// The newest message with this Subject, over IMAP; `None` when there is none (yet).
pub async fn imap_find(plan: &Plan, account: Account<'_>, subject: &str) -> Result<Option<Vec<u8>>, String> {
    imap_search(plan, account, &format!("HEADER Subject {}", quoted(subject))).await
}

/// The newest message that has both texts anywhere.
pub async fn imap_find_text(
    plan: &Plan,
    account: Account<'_>,
    one: &str,
    two: &str,
) -> Result<Option<Vec<u8>>, String> {
    imap_search(plan, account, &format!("TEXT {} TEXT {}", quoted(one), quoted(two))).await
}

async fn imap_search(plan: &Plan, account: Account<'_>, keys: &str) -> Result<Option<Vec<u8>>, String> {
    let mut line = Line::open(plan, account, plan.ports.imaps, "IMAP").await?;
    line.read_line().await?;
    line.imap(&format!("AUTHENTICATE PLAIN {}", sasl_plain(account.person))).await?;
    line.imap("SELECT INBOX").await?;
    let found = line.imap(&format!("UID SEARCH {keys}")).await?;
    let newest = found
        .iter()
        .filter_map(|reply| reply.text().strip_prefix("* SEARCH").map(str::to_owned))
        .flat_map(|uids| {
            uids.split_whitespace().filter_map(|uid| uid.parse::<u32>().ok()).collect::<Vec<_>>()
        })
        .max();
    let mut message = None;
    if let Some(uid) = newest {
        let replies = line.imap(&format!("UID FETCH {uid} (BODY.PEEK[])")).await?;
        message = replies.into_iter().find_map(|reply| reply.literal);
    }
    line.imap("LOGOUT").await?;
    Ok(message)
}

/// RFC 4616; unlike the plain commands for a login it takes addresses that are not ASCII.
fn sasl_plain(person: &Person) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("\0{}\0{}", person.address, person.password))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn subject_of(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head).replace("\r\n ", " ").replace("\r\n\t", " ");
    text.lines().find_map(|line| line.strip_prefix("Subject: ")).map(|value| value.trim().to_owned())
}

/// An untagged response, with its literal where it has one.
struct Response {
    line: Vec<u8>,
    literal: Option<Vec<u8>>,
}

impl Response {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }
}

/// A connection that speaks lines.
struct Line {
    stream: BufReader<TlsStream<TcpStream>>,
    what: String,
    tag: u32,
}

impl Line {
    async fn open(plan: &Plan, account: Account<'_>, port: u16, protocol: &str) -> Result<Line, String> {
        let to = plan.socket(account.domain.mra, port);
        let what = format!("{protocol} at {to} as {}", account.person.address);
        let failed = |error: &dyn std::fmt::Display| format!("{what}: {error}");
        let mut roots = rustls::RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(plan.ca_file()).map_err(|error| failed(&error))? {
            roots.add(cert.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(account.domain.mail_host()).map_err(|error| failed(&error))?;
        let tcp = TcpStream::connect(to).await.map_err(|error| failed(&error))?;
        let tls =
            TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| failed(&error))?;
        Ok(Line { stream: BufReader::new(tls), what, tag: 0 })
    }

    async fn read_line(&mut self) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(1 << 20).read_until(b'\n', &mut line).await;
        match read {
            Ok(0) => Err(format!("{}: the server closed the connection", self.what)),
            Ok(_) => Ok(line),
            Err(error) => Err(format!("{}: {error}", self.what)),
        }
    }

    async fn write(&mut self, text: &str) -> Result<(), String> {
        let written = async {
            self.stream.get_mut().write_all(text.as_bytes()).await?;
            self.stream.get_mut().flush().await
        };
        written.await.map_err(|error: std::io::Error| format!("{}: {error}", self.what))
    }

    /// One command and its first line; the empty command waits for the greeting.
    async fn pop3(&mut self, command: &str) -> Result<String, String> {
        if !command.is_empty() {
            self.write(&format!("{command}\r\n")).await?;
        }
        let reply = String::from_utf8_lossy(&self.read_line().await?).trim_end().to_owned();
        if reply.starts_with("+OK") {
            return Ok(reply);
        }
        let verb = command.split(' ').next().unwrap_or_default();
        Err(format!("{}: {verb} was answered with {reply}", self.what))
    }

    /// Lines up to the dot, byte-stuffing undone.
    async fn multi_line(&mut self) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        loop {
            let line = self.read_line().await?;
            match line.strip_prefix(b".") {
                Some(b"\r\n") => return Ok(all),
                Some(rest) => all.extend_from_slice(rest),
                None => all.extend_from_slice(&line),
            }
            if all.len() > MESSAGE_OCTETS_MAX {
                return Err(format!("{}: the message is larger than the lab reads", self.what));
            }
        }
    }

    /// One command and all its untagged responses.
    async fn imap(&mut self, command: &str) -> Result<Vec<Response>, String> {
        self.tag += 1;
        let tag = format!("a{} ", self.tag);
        self.write(&format!("{tag}{command}\r\n")).await?;
        let mut responses = Vec::new();
        loop {
            let mut line = self.read_line().await?;
            if line.starts_with(tag.as_bytes()) {
                let reply = String::from_utf8_lossy(&line).trim_end().to_owned();
                let verb = command.split(' ').next().unwrap_or_default();
                return match reply.strip_prefix(&tag) {
                    Some(rest) if rest.starts_with("OK") => Ok(responses),
                    _ => Err(format!("{}: {verb} was answered with {reply}", self.what)),
                };
            }
            let mut literal = None;
            while let Some(size) = literal_size(&line) {
                if size > MESSAGE_OCTETS_MAX {
                    return Err(format!("{}: the message is larger than the lab reads", self.what));
                }
                let mut octets = vec![0; size];
                self.stream
                    .read_exact(&mut octets)
                    .await
                    .map_err(|error| format!("{}: {error}", self.what))?;
                literal = Some(octets);
                line = self.read_line().await?;
            }
            responses.push(Response { line, literal });
        }
    }
}

/// `{123}` at the end of a line.
fn literal_size(line: &[u8]) -> Option<usize> {
    let text = line.strip_suffix(b"}\r\n")?;
    let brace = text.iter().rposition(|&octet| octet == b'{')?;
    std::str::from_utf8(text.get(brace + 1..)?).ok()?.parse().ok()
}
