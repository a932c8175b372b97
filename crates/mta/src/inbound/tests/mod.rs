//! Sessions over real sockets: a client says its lines, and what it hears and what is queued is looked at.

mod policy;
mod storage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use postroad_config::Config as Configuration;
use postroad_service::{ClientTls, Drain, Gate, Listener};
use postroad_store::spool::{Filter, Order, Spool};
use postroad_types::BodyKind;
use postroad_wire_smtp::server::{Config, Timeouts, Verify};
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Door, Inbound, serve};
use crate::policy::fake::FakeDns;
use crate::route::DnsLookup;
use crate::testing::{World, policy_with, world};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    world: World,
    inbound: Arc<Inbound>,
    drain: Drain,
    closed: CancellationToken,
    smtp: SocketAddr,
    submission: SocketAddr,
    submissions: SocketAddr,
    roots: rustls::RootCertStore,
    _dir: tempfile::TempDir,
}

/// A server for `alpha.test` on three ports. Its queue accepts and delivers nothing: every message is held.
async fn scene() -> Scene {
    scene_with(postroad_config::Policy::default(), Arc::new(crate::testing::FakeDns)).await
}

async fn scene_with(settings: postroad_config::Policy, dns: Arc<dyn DnsLookup>) -> Scene {
    scene_behind(Vec::new(), settings, dns).await
}

async fn scene_behind(
    proxy_from: Vec<ipnet::IpNet>,
    settings: postroad_config::Policy,
    dns: Arc<dyn DnsLookup>,
) -> Scene {
    postroad_service::tls::install_provider();
    let world = world().await;
    world.queue.stop(Duration::ZERO).await;
    let dir = tempfile::tempdir().unwrap();
    let configuration = Configuration::new("mx.alpha.test", dir.path());
    let tls = ClientTls::load(&configuration, std::time::SystemTime::now()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let ca = std::fs::read(configuration.pki_dir().join("ca.pem")).unwrap();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();

    let hostname: postroad_types::Domain = "mx.alpha.test".parse().unwrap();
    let timeouts = Timeouts { command: PATIENCE, data_block: PATIENCE };
    let relay = Config { message_octets_max: 1 << 20, timeouts, ..Config::relay(hostname.clone()) };
    let submission = Config { timeouts, verify: Verify::Ask, ..Config::submission(hostname) };
    let policy = policy_with(settings, dns, world.cached.clone(), Arc::new(world.clock.clone()));
    let inbound = Arc::new(Inbound {
        policy: Arc::new(policy),
        directory: world.cached.clone(),
        queue: world.queue.clone(),
        clock: Arc::new(world.clock.clone()),
        trace_log: world.trace_log.clone(),
        tls: Some(tls),
        proxy_from,
        behind_proxies: Gate::new(100, 2),
        allow_plaintext_auth: Vec::new(),
        adopt_trace: true,
        relay: Arc::new(relay),
        plaintext_submission: Arc::new(Config { allow_plaintext_auth: true, ..submission.clone() }),
        submission: Arc::new(submission),
    });
    let drain = Drain::new(PATIENCE);
    let closed = CancellationToken::new();
    let gate = Gate::new(100, 100);
    let open = |door: Door| {
        let listener = Listener::bind(door.name(), "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        tokio::spawn(serve(inbound.clone(), door, listener, gate.clone(), drain.clone(), closed.clone()));
        address
    };
    let (smtp, submission, submissions) =
        (open(Door::Relay), open(Door::Submission), open(Door::Submissions));
    Scene { world, inbound, drain, closed, smtp, submission, submissions, roots, _dir: dir }
}

impl Scene {
    fn connector(&self) -> tokio_rustls::TlsConnector {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        Arc::new(config).into()
    }

    /// What is queued: sender, recipients and octets.
    async fn queued(&self) -> Vec<(String, Vec<String>, String)> {
        let mut all = Vec::new();
        for message in self.world.messages().await {
            let octets = self.world.spool.read(&message.id, 0, usize::MAX).await.unwrap();
            let to = message.recipients.iter().map(|r| r.address.to_string()).collect();
            all.push((message.reverse_path.to_string(), to, String::from_utf8(octets.to_vec()).unwrap()));
        }
        all
    }
}

/// A client that talks in lines.
struct Lines<S>(S);

impl Lines<TcpStream> {
    async fn connect(address: SocketAddr) -> Self {
        Lines(TcpStream::connect(address).await.unwrap())
    }

    async fn start_tls(self, scene: &Scene) -> Lines<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = "mx.alpha.test".try_into().unwrap();
        Lines(scene.connector().connect(name, self.0).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    /// One reply, with all its lines.
    async fn hear(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                let octet = tokio::time::timeout(PATIENCE, self.0.read_u8()).await.expect("a reply in time");
                match octet {
                    Ok(octet) => line.push(octet),
                    Err(_) => return reply,
                }
            }
            let last = line.get(3) != Some(&b'-');
            reply.push_str(std::str::from_utf8(&line).unwrap());
            if last {
                return reply;
            }
        }
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Says each line, and expects each reply to begin like that.
    async fn talk(&mut self, dialogue: &[(&str, &str)]) {
        for (line, expected) in dialogue {
            if !line.is_empty() {
                self.say(&format!("{line}\r\n")).await;
            }
            let reply = self.hear().await;
            assert!(reply.starts_with(expected), "to {line:?}: {reply:?}, expected {expected:?}");
        }
    }

    async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("an end in time").is_ok()
            && rest.is_empty()
    }
}

fn plain(user: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"));
    format!("AUTH PLAIN {encoded}")
}

#[tokio::test]
async fn mail_for_our_users_is_queued_as_it_came_behind_our_received() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.smtp).await;
    client.talk(&[("", "220 mx.alpha.test"), ("EHLO client.test", "250")]).await;
    client
        .say("MAIL FROM:<carol@beta.test> BODY=8BITMIME\r\nRCPT TO:<alice@alpha.test>\r\nRCPT TO:<nobody@alpha.test>\r\nRCPT TO:<Alice@alpha.test>\r\nDATA\r\n")
        .await;
    for expected in ["250", "250", "550 5.1.1"] {
        assert!(client.hear().await.starts_with(expected));
    }
    // The directory of this test tells letter cases apart.
    assert!(client.hear().await.starts_with("550"));
    assert!(client.hear().await.starts_with("354"));
    client.say("Subject: x\r\n\r\n..dot\r\n\u{e9}\r\n.\r\nQUIT\r\n").await;
    let accepted = client.hear().await;
    assert!(accepted.starts_with("250 2.0.0 queued as "), "{accepted}");
    assert!(client.hear().await.starts_with("221"));

    let id = accepted.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let (from, to, octets) = scene.queued().await.remove(0);
    assert_eq!((from.as_str(), to), ("carol@beta.test", vec!["alice@alpha.test".to_owned()]));
    let (received, rest) = octets.split_at(octets.find("Subject").unwrap());
    assert_eq!(rest, "Subject: x\r\n\r\n.dot\r\n\u{e9}\r\n");
    for expected in ["from client.test ([127.0.0.1])\r\n", "with ESMTP id ", "for <alice@alpha.test>; "] {
        assert!(received.contains(expected), "{expected:?} is missing in {received}");
    }
    let message = scene.world.spool.get(&id).await.unwrap();
    assert_eq!(message.body, BodyKind::EightBitMime);
    assert_eq!(scene.world.steps(&id), ["connected", "mail", "rcpt", "rcpt", "rcpt", "accepted"]);
}

#[tokio::test]
async fn strangers_do_not_relay() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.smtp).await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO client.test", "250"),
            ("MAIL FROM:<alice@alpha.test>", "550 5.7.1"),
            ("MAIL FROM:<alice@beta.test>", "250"),
            ("RCPT TO:<x@gamma.test>", "550 5.7.1"),
            ("RCPT TO:<@alpha.test:x@gamma.test>", "550 5.7.1"),
            ("RCPT TO:<\"x@gamma.test\"@alpha.test>", "550 5.1.1"),
            ("DATA", "5"),
            ("AUTH PLAIN AGEAYg==", "5"),
            ("QUIT", "221"),
        ])
        .await;
    assert!(scene.queued().await.is_empty());
}

#[tokio::test]
async fn a_password_is_taken_only_under_tls_and_mail_only_after_it() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.submission).await;
    client.talk(&[("", "220")]).await;
    client.say("EHLO client.test\r\n").await;
    let offers = client.hear().await;
    assert!(offers.contains("STARTTLS") && !offers.contains("AUTH"), "{offers}");
    client
        .talk(&[
            (&plain("alice@alpha.test", "a-secret"), "538 5.7.11"),
            ("MAIL FROM:<alice@alpha.test>", "530"),
            ("STARTTLS", "220"),
        ])
        .await;
    let mut client = client.start_tls(&scene).await;
    client
        .talk(&[
            ("MAIL FROM:<alice@alpha.test>", "503"),
            ("EHLO client.test", "250"),
            (&plain("alice@alpha.test", "wrong"), "535 5.7.8"),
            (&plain("alice@alpha.test", "a-secret"), "235"),
            ("MAIL FROM:<bob@alpha.test>", "553 5.7.1"),
            ("MAIL FROM:<alice@alpha.test>", "250"),
            ("RCPT TO:<carol@beta.test>", "250"),
            ("RCPT TO:<carol@beta.test>", "250"),
            ("DATA", "354"),
            ("From: alice@alpha.test\r\nBcc: secret@beta.test\r\n\r\nhi\r\n.", "250"),
        ])
        .await;
    let (from, to, octets) = scene.queued().await.remove(0);
    assert_eq!((from.as_str(), to), ("alice@alpha.test", vec!["carol@beta.test".to_owned()]));
    for expected in ["with ESMTPSA id", "(using TLSv1.3 with cipher TLS_", "\r\nDate: ", "\r\nMessage-ID: <"]
    {
        assert!(octets.contains(expected), "{expected:?} is missing in {octets}");
    }
    assert!(!octets.contains("secret@beta.test"));
}

#[tokio::test]
async fn port_465_speaks_tls_from_the_first_octet() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.submissions).await.start_tls(&scene).await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO c.test", "250"),
            (&plain("bob@alpha.test", "b-secret"), "235"),
            ("QUIT", "221"),
        ])
        .await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn what_is_sent_behind_starttls_in_clear_is_never_obeyed() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.submission).await;
    client.talk(&[("", "220"), ("EHLO c.test", "250")]).await;
    client.say("STARTTLS\r\nEHLO injected.test\r\nMAIL FROM:<alice@alpha.test>\r\n").await;
    assert!(client.hear().await.starts_with("220"));
    let mut client = client.start_tls(&scene).await;
    // An answer to the injected commands would come first.
    client.talk(&[("NOOP", "250"), ("EHLO c.test", "250"), ("QUIT", "221")]).await;
}

#[tokio::test]
async fn smuggled_ends_of_data_end_nothing() {
    let scene = scene().await;
    for smuggled in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r"] {
        let mut client = Lines::connect(scene.smtp).await;
        client
            .talk(&[
                ("", "220"),
                ("EHLO c.test", "250"),
                ("MAIL FROM:<>", "250"),
                ("RCPT TO:<alice@alpha.test>", "250"),
                ("DATA", "354"),
            ])
            .await;
        client.say(&format!("Subject: x\r\n\r\na{smuggled}MAIL FROM:<evil@beta.test>\r\n.\r\n")).await;
        let reply = client.hear().await;
        assert!(reply.starts_with('5'), "{smuggled:?}: {reply}");
        client.talk(&[("QUIT", "221")]).await;
    }
    assert!(scene.queued().await.is_empty());
}

#[tokio::test]
async fn a_body_by_bdat_is_kept_and_its_last_line_ended() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.smtp).await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO c.test", "250"),
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<alice@alpha.test>", "250"),
        ])
        .await;
    client.say("BDAT 16\r\nSubject: x\r\n\r\n.aBDAT 8 LAST\r\n\r\n.\r\nend").await;
    client.talk(&[("", "250"), ("", "250 2.0.0 queued")]).await;
    let (_, _, octets) = scene.queued().await.remove(0);
    assert!(octets.ends_with("\r\nSubject: x\r\n\r\n.a\r\n.\r\nend\r\n"), "{octets:?}");
}

#[tokio::test]
async fn a_message_in_a_loop_or_too_large_is_refused_and_the_session_goes_on() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.smtp).await;
    let begin = [("MAIL FROM:<>", "250"), ("RCPT TO:<alice@alpha.test>", "250"), ("DATA", "354")];
    client.talk(&[("", "220"), ("EHLO c.test", "250"), ("MAIL FROM:<> SIZE=99999999", "552")]).await;
    client.talk(&begin).await;
    client.say(&format!("{}\r\nbody\r\n.\r\n", "Received: from a by b; now\r\n".repeat(100))).await;
    assert!(client.hear().await.starts_with("554 5.4.6"));
    client.talk(&begin).await;
    client.say(&format!("Subject: x\r\n\r\n{}.\r\n", "0123456789abcdef\r\n".repeat(1 << 16))).await;
    assert!(client.hear().await.starts_with("552"));
    client.talk(&begin).await;
    client.talk(&[("Subject: fits\r\n\r\n.", "250"), ("QUIT", "221")]).await;
    assert_eq!(scene.queued().await.len(), 1);
}

#[tokio::test]
async fn while_the_directory_is_down_mail_is_put_off() {
    let scene = scene().await;
    scene.world.directory.set_down(true);
    let mut client = Lines::connect(scene.smtp).await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO c.test", "250"),
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<alice@alpha.test>", "451 4.3.0"),
            ("QUIT", "221"),
        ])
        .await;
}

#[tokio::test]
async fn a_drain_takes_in_what_is_coming_and_turns_others_away() {
    let scene = scene().await;
    let mut idle = Lines::connect(scene.smtp).await;
    idle.talk(&[("", "220"), ("EHLO c.test", "250")]).await;
    let mut sending = Lines::connect(scene.smtp).await;
    sending
        .talk(&[
            ("", "220"),
            ("EHLO c.test", "250"),
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<alice@alpha.test>", "250"),
            ("DATA", "354"),
        ])
        .await;
    sending.say("Subject: last\r\n\r\n").await;
    scene.drain.stop();
    assert!(idle.hear().await.starts_with("421 4.3.2"));
    assert!(idle.is_closed().await);
    let mut late = Lines::connect(scene.smtp).await;
    assert!(late.hear().await.starts_with("421 4.3.2"));
    sending.say("body\r\n.\r\n").await;
    assert!(sending.hear().await.starts_with("250 2.0.0"));
    assert!(sending.hear().await.starts_with("421 4.3.2"));
    assert_eq!(scene.drain.finish().await, 0);
    scene.closed.cancel();
    assert_eq!(scene.queued().await.len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_leaves_nothing() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.smtp).await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO c.test", "250"),
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<alice@alpha.test>", "250"),
            ("DATA", "354"),
        ])
        .await;
    client.say("Subject: half\r\n\r\nhalf of it").await;
    drop(client);
    let gone = async {
        while scene.drain.running() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the session ends");
    assert!(scene.queued().await.is_empty());
    let all = Filter::default();
    assert!(scene.world.spool.order(&all, Order::Retry, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_session_that_waits_is_small() {
    let scene = scene().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, _client) = tokio::join!(listener.accept(), client);
    let conn = postroad_service::Conn::plain(accepted.unwrap().0).unwrap();
    let session = super::session::serve(scene.inbound.clone(), Door::Relay, conn, scene.drain.clone());
    assert!(size_of_val(&session) < 4096, "{} octets", size_of_val(&session));
}
