//! Questions over TLS to servers of all kinds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use postroad_config::Config;
use postroad_service::pki::Ca;
use postroad_service::{ClientTls, ProtocolTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use super::*;
use crate::wire::{Name, OPCODE_QUERY, Rtype, question_only};

const NAME: &str = "dns.alpha.test";
const SOON: Duration = Duration::from_secs(10);

/// A server of the test's own.
struct Peer {
    server: TlsServer,
    trust: Trust,
    connections: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// `serve` is given each connection and its number.
    async fn new<F, R>(serve: F) -> Peer
    where
        F: Fn(TlsStream<TcpStream>, usize) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(NAME, folder.path());
        let tls = ClientTls::load(&config, SystemTime::now()).unwrap();
        let ca = Ca::open(&config.pki_dir(), NAME, SystemTime::now()).unwrap();
        let file = folder.path().join("ca");
        std::fs::write(&file, ca.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let dot = ProtocolTls::new(&tls, &[b"dot"]);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, Ordering::SeqCst);
                if let Ok(stream) = dot.acceptor().accept(tcp).await {
                    tokio::spawn(serve(stream, number));
                }
            }
        });
        let server = TlsServer { address, name: Some(NAME.to_owned()) };
        Peer { server, trust: Trust::load(Some(&file)).unwrap(), connections, _folder: folder }
    }

    fn upstream(&self, idle: Duration) -> SecureUpstream {
        SecureUpstream::new(self.trust.clone(), &["127.0.0.1".parse().unwrap()], idle)
    }
}

/// A question with an OPT record at its end.
fn query(name: &str) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    let mut query = question_only(7, OPCODE_QUERY, &name, Rtype::A);
    query[11] = 1;
    query.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    query
}

async fn read(stream: &mut TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut octets = vec![0; usize::from(length)];
    stream.read_exact(&mut octets).await.ok()?;
    Some(octets)
}

async fn answer(stream: &mut TlsStream<TcpStream>, query: &[u8]) {
    let mut response = query.to_vec();
    response[2] |= 0x80;
    let framed = [&(response.len() as u16).to_be_bytes(), &response[..]].concat();
    stream.write_all(&framed).await.unwrap();
}

/// Gathers so many questions and answers them the last first, each after rubbish.
async fn backwards(mut stream: TlsStream<TcpStream>, number: usize) {
    let mut queries = Vec::new();
    while queries.len() < number {
        queries.push(read(&mut stream).await.unwrap());
    }
    let ids: std::collections::HashSet<&[u8]> = queries.iter().map(|query| &query[..2]).collect();
    assert_eq!(ids.len(), number, "ids differ");
    for query in queries.iter().rev() {
        assert_eq!(query.len(), 128, "padded");
        stream.write_all(&[0, 1, 9]).await.unwrap();
        answer(&mut stream, query).await;
    }
    read(&mut stream).await;
}

#[tokio::test]
async fn questions_share_a_connection_and_answers_find_them_in_any_order() {
    let peer = Peer::new(|stream, _| backwards(stream, 40)).await;
    let upstream = peer.upstream(SOON);
    let asked = (0..40).map(|i| {
        let (upstream, server) = (upstream.clone(), peer.server.clone());
        async move { (i, upstream.exchange(&server, &query(&format!("h{i}.test")), SOON).await.unwrap()) }
    });
    for (i, response) in futures_util::future::join_all(asked).await {
        let question = query(&format!("h{i}.test"));
        assert_eq!(response[..2], question[..2], "its own id is back");
        let end = question.len() - 11;
        assert_eq!((response[2] & 0x80, &response[12..end]), (0x80, &question[12..end]));
    }
    assert_eq!(peer.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_no_answer() {
    // Answers one question for each connection, and goes.
    let peer = Peer::new(async |mut stream, _| {
        if let Some(query) = read(&mut stream).await {
            answer(&mut stream, &query).await;
        }
    });
    let peer = peer.await;
    let upstream = peer.upstream(SOON);
    for _ in 0..4 {
        upstream.exchange(&peer.server, &query("a.test"), SOON).await.unwrap();
    }
    assert_eq!(peer.connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_made_anew() {
    let peer = Peer::new(async |mut stream, _| {
        while let Some(query) = read(&mut stream).await {
            answer(&mut stream, &query).await;
        }
    });
    let peer = peer.await;
    let upstream = peer.upstream(Duration::from_millis(50));
    let begun = std::time::Instant::now();
    while peer.connections.load(Ordering::SeqCst) < 2 {
        upstream.exchange(&peer.server, &query("a.test"), SOON).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < SOON, "it is never closed");
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_any_more_is_given_up_while_questions_go_on() {
    let peer = Peer::new(async |mut stream, number| {
        let mut answered = 0;
        while let Some(query) = read(&mut stream).await {
            if number > 0 || answered == 0 {
                answer(&mut stream, &query).await;
                answered += 1;
            }
        }
    });
    let peer = peer.await;
    let mut upstream = peer.upstream(SOON);
    upstream.limits.silence = Duration::from_millis(400);
    upstream.exchange(&peer.server, &query("a.test"), SOON).await.unwrap();
    let begun = std::time::Instant::now();
    while upstream.exchange(&peer.server, &query("a.test"), Duration::from_millis(100)).await.is_err() {
        assert!(begun.elapsed() < SOON, "it is never given up");
    }
    assert!(peer.connections.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn silence_is_a_timeout_and_a_server_that_goes_is_not_reached() {
    let silent = Peer::new(async |mut stream, _| while read(&mut stream).await.is_some() {}).await;
    let upstream = silent.upstream(SOON);
    let within = Duration::from_millis(200);
    let error = upstream.exchange(&silent.server, &query("a.test"), within).await.unwrap_err();
    assert_eq!(error, AskError::Timeout);
    let gone = Peer::new(async |_, _| {}).await;
    let error = gone.upstream(SOON).exchange(&gone.server, &query("a.test"), SOON).await.unwrap_err();
    assert!(matches!(error, AskError::Unreachable(_)), "{error}");
    assert_eq!(
        gone.connections.load(Ordering::SeqCst),
        1,
        "a fresh connection that breaks is no reason to try again"
    );
    let nobody = TlsServer { address: "127.0.0.1:9".parse().unwrap(), name: None };
    let error = upstream.exchange(&nobody, &query("a.test"), SOON).await.unwrap_err();
    assert!(matches!(error, AskError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_name_is_checked_if_one_is_given() {
    let serve = async |mut stream: TlsStream<TcpStream>, _| {
        while let Some(query) = read(&mut stream).await {
            answer(&mut stream, &query).await;
        }
    };
    let peer = Peer::new(serve).await;
    let ask = async |upstream: &SecureUpstream, name: Option<&str>| {
        let server = TlsServer { name: name.map(str::to_owned), ..peer.server.clone() };
        upstream.exchange(&server, &query("a.test"), SOON).await
    };
    let known = peer.upstream(SOON);
    assert!(ask(&known, Some(NAME)).await.is_ok());
    assert_eq!(
        ask(&known, Some("dns.beta.test")).await,
        Err(AskError::Tls("its certificate is for another name"))
    );
    let stranger = SecureUpstream::new(Trust::load(None).unwrap(), &[], SOON);
    let from_nobody = AskError::Tls("its certificate comes from nobody who is trusted");
    assert_eq!(ask(&stranger, Some(NAME)).await, Err(from_nobody));
    assert!(ask(&stranger, None).await.is_ok(), "without a name anybody is asked");
    let missing = Trust::load(Some(std::path::Path::new("/nowhere"))).unwrap_err().to_string();
    assert!(missing.contains("/nowhere: "), "{missing}");
}
