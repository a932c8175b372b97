//! The real mda behind the mra, in one process: what is delivered is read back
//! byte for byte over POP3, and deleted for good.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use postroad_config::Config;
use postroad_rpc::v1;
use postroad_rpc::v1::delivery_client::DeliveryClient;
use postroad_rpc::v1::directory_client::DirectoryClient;
use postroad_service::pki::Ca;
use postroad_service::{Drain, Node, SystemClock, node::operator_channel};
use postroad_types::Role;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const HOST: &str = "mx.beta.test";
const WITHIN: Duration = Duration::from_secs(60);

/// mda and mra, with bob's account.
struct Host {
    state: tempfile::TempDir,
    front: Drain,
    back: Drain,
    nodes: HashMap<Role, Node>,
    services: Vec<tokio::task::JoinHandle<()>>,
}

impl Host {
    async fn start() -> Host {
        postroad_service::tls::install_provider();
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::new(HOST, state.path());
        let loopback = || vec!["127.0.0.1:0".parse().unwrap()];
        config.mda.rpc_listen = loopback();
        config.mda.admin_listen = loopback();
        config.mra.rpc_listen = loopback();
        config.mra.admin_listen = loopback();
        config.mra.pop3_listen = loopback();
        config.mra.pop3s_listen = loopback();
        config.mra.imap_listen = loopback();
        config.mra.imaps_listen = loopback();
        let (front, back) = (Drain::new(Duration::from_secs(10)), Drain::new(Duration::from_secs(10)));
        let nodes =
            Node::together(Arc::new(config.clone()), Arc::new(SystemClock::new()), &front, &back).unwrap();
        let (mda, mra) = (nodes[&Role::Mda].clone(), nodes[&Role::Mra].clone());
        let services = vec![
            tokio::spawn(async move { postroad_mda::run(mda).await.unwrap() }),
            tokio::spawn(async move { postroad_mra::run(mra).await.unwrap() }),
        ];
        let host = Host { state, front, back, nodes, services };
        assert!(host.nodes[&Role::Mta].channel(Role::Mda).ready(WITHIN).await);
        config.mda.rpc_listen = host.nodes[&Role::Mda].addresses("gRPC");
        let mut directory = DirectoryClient::new(operator_channel(&config, Role::Mda, WITHIN).unwrap());
        let domain = v1::PutDomainRequest { name: "beta.test".to_owned(), catch_all: None };
        directory.put_domain(domain).await.unwrap();
        let account = v1::PutAccountRequest {
            address: "bob@beta.test".to_owned(),
            password: Some("correct horse".to_owned()),
            ..Default::default()
        };
        directory.put_account(account).await.unwrap();
        host
    }

    async fn deliver(&self, queue_id: &str, text: &[u8]) {
        use v1::deliver_request::Part;
        let mut delivery = DeliveryClient::new(self.nodes[&Role::Mta].channel(Role::Mda));
        let envelope = v1::DeliveryEnvelope {
            queue_id: queue_id.to_owned(),
            reverse_path: "alice@alpha.test".to_owned(),
            recipients: vec!["bob@beta.test".to_owned()],
            size: text.len() as u64,
            received_us: 1_790_000_000_000_000,
            trace_id: postroad_types::TraceId::random().to_string(),
        };
        let chunks = text.chunks(64 * 1024).map(|chunk| Part::Chunk(chunk.to_vec().into()));
        let parts: Vec<_> = std::iter::once(Part::Envelope(envelope)).chain(chunks).collect();
        let requests = parts.into_iter().map(|part| v1::DeliverRequest { part: Some(part) });
        let reply = delivery.deliver(tokio_stream::iter(requests)).await.unwrap().into_inner();
        let outcome = reply.results[0].outcome.as_ref();
        assert!(matches!(outcome, Some(v1::recipient_result::Outcome::Delivered(_))), "{reply:?}");
    }

    fn pop3s(&self) -> SocketAddr {
        self.nodes[&Role::Mra].addresses("POP3S")[0]
    }

    async fn connect(&self) -> Client {
        let ca = Ca::open(&self.state.path().join("pki"), HOST, SystemTime::now()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect(self.pop3s()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(HOST.try_into().unwrap(), tcp).await.unwrap();
        let mut client = Client { stream: BufReader::new(stream) };
        assert!(client.line().await.starts_with(b"+OK"));
        client
    }

    async fn log_in(&self) -> Client {
        let mut client = self.connect().await;
        client.say("USER bob@beta.test").await;
        let answer = client.say("PASS correct horse").await;
        assert!(answer.starts_with("+OK"), "{answer}");
        client
    }

    async fn stop(self) {
        self.front.stop();
        self.back.stop();
        for service in self.services {
            tokio::time::timeout(WITHIN, service).await.unwrap().unwrap();
        }
    }
}

struct Client {
    stream: BufReader<TlsStream<TcpStream>>,
}

impl Client {
    async fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        tokio::time::timeout(WITHIN, read).await.expect("a line in time").unwrap();
        assert!(line.ends_with(b"\r\n"), "{:?}", String::from_utf8_lossy(&line));
        line
    }

    /// Sends a line; the answer's first line.
    async fn say(&mut self, line: &str) -> String {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
        String::from_utf8(self.line().await).unwrap().trim_end().to_owned()
    }

    /// A message, its stuffing undone.
    async fn message(&mut self) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let line = self.line().await;
            if line == b".\r\n" {
                return message;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

/// Three megabytes with dots where they hurt, long lines and octets above 127.
fn large() -> Vec<u8> {
    let mut text = b"Subject: large\r\n\r\n".to_vec();
    let mut n: usize = 0;
    while text.len() < 3 << 20 {
        n += 1;
        text.extend(std::iter::repeat_n(b'.', n % 4));
        text.extend(std::iter::repeat_n(200 + (n % 40) as u8, n * 7919 % 3000));
        text.extend_from_slice(b"\r\n");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delivered_is_read_back_and_deleted_for_good() {
    let host = Host::start().await;
    let large = large();
    host.deliver("01jdaaaaaaaaaaaa", b"Subject: small\r\n\r\n.\r\n").await;
    host.deliver("01jdbbbbbbbbbbbb", &large).await;

    let mut client = host.log_in().await;
    assert!(client.say("RETR 1").await.starts_with("+OK"));
    let small = client.message().await;
    assert!(small.ends_with(b"Subject: small\r\n\r\n.\r\n"), "{}", String::from_utf8_lossy(&small));
    assert!(client.say("RETR 2").await.starts_with("+OK"));
    let read = client.message().await;
    // In front stand the lines that the delivery added.
    assert!(read.ends_with(&large));
    let added = String::from_utf8(read[..read.len() - large.len()].to_vec()).unwrap();
    assert!(added.to_ascii_lowercase().contains("return-path: <alice@alpha.test>"), "{added}");
    assert_eq!(client.say("LIST 2").await, format!("+OK 2 {}", read.len()));
    assert!(client.say("TOP 2 0").await.starts_with("+OK"));
    assert!(client.message().await.ends_with(b"Subject: large\r\n\r\n"));

    let id = client.say("UIDL 2").await;
    assert!(client.say("DELE 1").await.starts_with("+OK"));
    // A connection that breaks deletes nothing.
    drop(client);
    let mut client = host.log_in().await;
    assert!(client.say("STAT").await.starts_with("+OK 2 "));
    assert_eq!(client.say("UIDL 2").await, id);
    assert!(client.say("DELE 1").await.starts_with("+OK"));
    assert_eq!(client.say("QUIT").await, "+OK 1 deleted, good bye");

    let mut client = host.log_in().await;
    assert!(client.say("STAT").await.starts_with("+OK 1 "));
    assert_eq!(client.say("UIDL 1").await, id.replace("+OK 2 ", "+OK 1 "));
    assert!(client.say("RETR 1").await.starts_with("+OK"));
    assert!(client.message().await.ends_with(&large));
    drop(client);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_and_unknown_people_get_the_same_answer() {
    let host = Host::start().await;
    let mut answers = Vec::new();
    for (user, password) in [("bob@beta.test", "wrong"), ("nobody@beta.test", "correct horse"), ("bob", "x")]
    {
        let mut client = host.connect().await;
        client.say(&format!("USER {user}")).await;
        answers.push(client.say(&format!("PASS {password}")).await);
    }
    assert!(
        answers.iter().all(|answer| answer == "-ERR [AUTH] user name or password is wrong"),
        "{answers:?}"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_mda_the_service_says_try_later() {
    let host = Host::start().await;
    let mut client = host.log_in().await;
    host.back.stop();
    host.nodes[&Role::Mda].drain.finish().await;
    assert!(client.say("NOOP").await.starts_with("+OK"));
    let mut stranger = host.connect().await;
    stranger.say("USER bob@beta.test").await;
    assert!(stranger.say("PASS correct horse").await.starts_with("-ERR [SYS/TEMP]"));
    let mut rest = Vec::new();
    drop(client);
    host.front.stop();
    stranger.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"-ERR [SYS/TEMP]"), "{:?}", String::from_utf8_lossy(&rest));
    host.stop().await;
}
