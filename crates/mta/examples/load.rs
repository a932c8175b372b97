//! Gives messages to an SMTP server as fast as it takes them: `load ADDRESS MESSAGES SESSIONS OCTETS TO [reuse]`.
//!
//! As smtp-source of Postfix does it, a command at a time, but without Nagle's algorithm: with it, servers that
//! acknowledge late look forty times as slow as they are. Few wait for a greeting at once, because OpenSMTPD listens
//! with a backlog of five and a client beyond that waits for seconds. Ends when the last 250 is heard; fails if a reply
//! is another.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Sessions that may wait for their greeting at once.
static GREETED: Semaphore = Semaphore::const_new(4);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: load ADDRESS MESSAGES SESSIONS OCTETS TO [reuse]");
    let address: SocketAddr = next()?.parse()?;
    let (messages, sessions, octets): (usize, usize, usize) =
        (next()?.parse()?, next()?.parse()?, next()?.parse()?);
    let to = next()?;
    let reuse = next().is_ok_and(|word| word == "reuse");
    let left = Arc::new(AtomicUsize::new(messages));
    let body: Arc<str> = message(octets).into();
    let running: Vec<_> = (0..sessions)
        .map(|_| tokio::spawn(session(address, left.clone(), body.clone(), to.clone(), reuse)))
        .collect();
    for one in running {
        one.await??;
    }
    Ok(())
}

/// Lines of text, about so many octets.
fn message(octets: usize) -> String {
    let mut message =
        "From: <load@elsewhere.test>\r\nTo: <bench@bench.test>\r\nSubject: load\r\n\r\n".to_owned();
    while message.len() < octets {
        message.push_str("A line of a message that is given to a server to see how fast it is.\r\n");
    }
    message
}

async fn session(
    address: SocketAddr,
    left: Arc<AtomicUsize>,
    body: Arc<str>,
    to: String,
    reuse: bool,
) -> Result<(), Failure> {
    let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let mut more = take();
    while more {
        let turn = GREETED.acquire().await?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let mut server = Client(BufReader::new(tcp));
        server.reply("220").await?;
        drop(turn);
        server.say("EHLO load.test\r\n", "250").await?;
        loop {
            server.say("MAIL FROM:<load@elsewhere.test>\r\n", "250").await?;
            server.say(&format!("RCPT TO:<{to}>\r\n"), "250").await?;
            server.say("DATA\r\n", "354").await?;
            server.say(&format!("{body}.\r\n"), "250").await?;
            more = take();
            if !more || !reuse {
                break;
            }
        }
        // The next session need not wait for the farewell, which Exim holds back for 200 ms (TCP_CORK).
        server.0.write_all(b"QUIT\r\n").await?;
        tokio::spawn(async move { server.reply("221").await });
    }
    Ok(())
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn say(&mut self, text: &str, expected: &str) -> Result<(), Failure> {
        self.0.write_all(text.as_bytes()).await?;
        self.reply(expected).await
    }

    async fn reply(&mut self, expected: &str) -> Result<(), Failure> {
        let mut line = String::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).await?;
            match line.as_bytes().get(3) {
                Some(b'-') => {}
                _ if line.starts_with(expected) => return Ok(()),
                _ => return Err(format!("{line:?} where {expected} was due").into()),
            }
        }
    }
}
