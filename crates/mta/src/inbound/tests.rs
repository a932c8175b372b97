//! Sessions over real sockets: a client says its lines, and what it hears and what is queued is looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use postroad_config::{CheckAction, Config as Configuration, OnFailure};
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
    let policy = policy_with(settings, dns, world.cached.clone(), Arc::new(world.clock));
    let inbound = Arc::new(Inbound {
        policy: Arc::new(policy),
        directory: world.cached.clone(),
        queue: world.queue.clone(),
        clock: Arc::new(world.clock),
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
    Scene { world, drain, closed, smtp, submission, submissions, roots, _dir: dir }
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

/// Loopback is as strange as anyone.
fn strict() -> postroad_config::Policy {
    postroad_config::Policy { exempt_networks: Vec::new(), ..Default::default() }
}

/// `client.test` is what every client here should be: its address has a name that leads back.
fn well_kept() -> FakeDns {
    FakeDns::new()
        .ptr("127.0.0.1", "client.test")
        .a("client.test", "127.0.0.1")
        .mx("beta.test", "mx.beta.test")
}

#[tokio::test]
async fn a_listed_client_is_refused_before_it_says_a_word() {
    let dnsbl = postroad_config::Dnsbl {
        zone: "bl.test".into(),
        weight: 1,
        codes: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let settings = postroad_config::Policy { dnsbl: vec![dnsbl.clone()], ..strict() };
    // 127.0.0.1 may not be listed by a list that is well: the client comes from elsewhere on loopback.
    let dns = || well_kept().dnsbl("bl.test").txt("7.0.0.127.bl.test", "see https://bl.test/");
    let scene = scene_with(settings, Arc::new(dns().a("7.0.0.127.bl.test", "127.0.0.4"))).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
    let mut client = Lines(socket.connect(scene.smtp).await.unwrap());
    let greeting = client.hear().await;
    let expected = "554 5.7.1 127.0.0.7 is listed by bl.test: see https://bl.test/\r\n";
    assert_eq!(greeting.replacen("554 mx.alpha.test ", "554 ", 1), expected);
    client.talk(&[("EHLO client.test", "503"), ("QUIT", "221")]).await;
    // Submission asks for a password, and not where it comes from.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
    Lines(socket.connect(scene.submission).await.unwrap()).talk(&[("", "220"), ("QUIT", "221")]).await;
    Lines::connect(scene.smtp).await.talk(&[("", "220"), ("QUIT", "221")]).await;
}

#[tokio::test]
async fn who_talks_before_the_greeting_is_not_obeyed_and_by_setting_not_greeted() {
    let patient = |early_talker| postroad_config::Policy {
        greet_delay: Duration::from_millis(300),
        early_talker,
        ..strict()
    };
    let scene = scene_with(patient(CheckAction::Refuse), Arc::new(well_kept())).await;
    let mut client = Lines::connect(scene.smtp).await;
    client.say("EHLO early.test\r\nMAIL FROM:<>\r\n").await;
    client.talk(&[("", "554"), ("QUIT", "221")]).await;
    let mut client = Lines::connect(scene.smtp).await;
    client.talk(&[("", "220"), ("EHLO client.test", "250"), ("QUIT", "221")]).await;

    let scene = scene_with(patient(CheckAction::Off), Arc::new(well_kept())).await;
    let mut client = Lines::connect(scene.smtp).await;
    client.say("EHLO early.test\r\nMAIL FROM:<>\r\n").await;
    // An answer to the early commands would come first.
    client
        .talk(&[("", "220"), ("NOOP", "250"), ("RCPT TO:<alice@alpha.test>", "503"), ("QUIT", "221")])
        .await;
}

#[tokio::test]
async fn marks_stand_in_the_header_and_every_check_in_the_timeline() {
    let scene = scene_with(strict(), Arc::new(well_kept().a("mail.test", "192.0.2.1"))).await;
    let mut client = Lines::connect(scene.smtp).await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO mx.alpha.test", "550 5.7.1"),
            ("EHLO box", "250"),
            ("EHLO nowhere.test", "250"),
            ("MAIL FROM:<carol@nowhere.test>", "550 5.1.8"),
            ("MAIL FROM:<alice@alpha.test>", "550 5.7.1"),
            ("MAIL FROM:<carol@beta.test>", "250"),
            ("RCPT TO:<alice@alpha.test>", "250"),
            ("DATA", "354"),
            ("Subject: a\r\nSubject: b\r\n\r\nhi\r\n.", "250"),
        ])
        .await;
    let (_, _, octets) = scene.queued().await.remove(0);
    let marks = "Postroad-Policy: score=3;\r\n\thelo-resolves (nowhere.test has no address in DNS);\r\n\t\
                 header-missing (the message has no field Date, From, see RFC 5322 section 3.6);\r\n\t\
                 header-duplicated (the message has more than one field Subject, see RFC 5322 section 3.6)\r\n";
    assert!(octets.contains(marks), "{octets}");
    assert!(octets.starts_with("Received: from nowhere.test (client.test [127.0.0.1])\r\n"), "{octets}");
    assert!(octets.ends_with("\r\nSubject: a\r\nSubject: b\r\n\r\nhi\r\n"), "{octets}");
    let id = scene.world.messages().await.remove(0).id;
    let steps = ["connected", "policy", "mail", "rcpt", "policy", "policy", "accepted"];
    assert_eq!(scene.world.steps(&id), steps);
}

#[tokio::test]
async fn attachments_that_run_are_refused_and_the_session_goes_on() {
    let scene = scene_with(strict(), Arc::new(well_kept())).await;
    let mut client = Lines::connect(scene.smtp).await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO client.test", "250"),
            ("MAIL FROM:<carol@beta.test>", "250"),
            ("RCPT TO:<alice@alpha.test>", "250"),
            ("DATA", "354"),
            ("Content-Type: application/pdf; name=\"bill.pdf.exe\"\r\n\r\nMZ\r\n.", "552 5.7.1"),
            ("MAIL FROM:<carol@beta.test>", "250"),
            ("QUIT", "221"),
        ])
        .await;
    assert!(scene.queued().await.is_empty());
}

#[tokio::test]
async fn an_account_writes_in_its_own_name_and_is_not_told_where_it_sits() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.submissions).await.start_tls(&scene).await;
    let begin = [("MAIL FROM:<bob@alpha.test>", "250"), ("RCPT TO:<x@beta.test>", "250"), ("DATA", "354")];
    client
        .talk(&[("", "220"), ("EHLO laptop.test", "250"), (&plain("bob@alpha.test", "b-secret"), "235")])
        .await;
    client.talk(&begin).await;
    client.talk(&[("From: alice@alpha.test\r\n\r\nhi\r\n.", "550 5.7.1")]).await;
    client.talk(&begin).await;
    client.talk(&[("From: Bob <bob@alpha.test>\r\n\r\nhi\r\n.", "250"), ("QUIT", "221")]).await;
    let (_, _, octets) = scene.queued().await.remove(0);
    assert!(octets.starts_with("Received: from authenticated.invalid\r\n"), "{octets}");
    assert!(!octets.contains("127.0.0.1") && !octets.contains("laptop"), "{octets}");
}

/// rspamd on loopback: answers each request with the next of these, and keeps what it was asked.
async fn rspamd(answers: Vec<&'static str>) -> (SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = asked.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            loop {
                tcp.read_buf(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.expect("a length").parse::<usize>().unwrap() {
                    break;
                }
            }
            kept.lock().unwrap().push(String::from_utf8(request).unwrap());
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}",
                answer.len()
            );
            tcp.write_all(format!("{head}\r\n\r\n{answer}").as_bytes()).await.unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn rspamd_decides_what_becomes_of_a_message() {
    let (address, asked) = rspamd(vec![
        r#"{"action": "no action", "score": 0.1, "required_score": 15}"#,
        r#"{"action": "add header", "score": 7, "required_score": 15,
            "milter": {"add_headers": {"X-Spamd-Bar": "++"}, "remove_headers": {"X-Forged": 0}}}"#,
        r#"{"action": "rewrite subject", "subject": "[spam] hi"}"#,
        r#"{"action": "soft reject", "messages": {"smtp_message": "Try again later"}}"#,
        r#"{"action": "reject"}"#,
    ])
    .await;
    let mut settings = strict();
    settings.rspamd.server = vec![address.into()];
    let scene = scene_with(settings, Arc::new(well_kept())).await;
    let mut client = Lines::connect(scene.smtp).await;
    client.talk(&[("", "220"), ("EHLO client.test", "250")]).await;
    let message = "Date: x\r\nFrom: carol@beta.test\r\nX-Forged: ham\r\nSubject: hi\r\n\r\n";
    // Large enough for a file.
    let body = "0123456789abcdef\r\n".repeat(1 << 15);
    for expected in ["250", "250", "250", "451 4.7.1 Try again later", "554 5.7.1"] {
        client
            .talk(&[
                ("MAIL FROM:<carol@beta.test>", "250"),
                ("RCPT TO:<alice@alpha.test>", "250"),
                ("RCPT TO:<bob@alpha.test>", "250"),
                ("DATA", "354"),
                (&format!("{message}{body}."), expected),
            ])
            .await;
    }
    let asked = asked.lock().unwrap().clone();
    let (head, sent) = asked[0].split_once("\r\n\r\n").unwrap();
    for expected in [
        "POST /checkv2 HTTP/1.1\r\n",
        "ip: 127.0.0.1\r\n",
        "helo: client.test\r\n",
        "hostname: client.test\r\n",
        "from: carol@beta.test\r\n",
        "rcpt: alice@alpha.test\r\n",
        "rcpt: bob@alpha.test\r\n",
    ] {
        assert!(format!("{head}\r\n").contains(expected), "{expected:?} is not in {head}");
    }
    assert!(sent == format!("{message}{body}"), "it sees what the client sent");
    let queued: Vec<String> = scene.queued().await.into_iter().map(|(_, _, octets)| octets).collect();
    assert_eq!(queued.len(), 3);
    let with = |what: &str| queued.iter().filter(|octets| octets.contains(what)).count();
    assert!(queued.iter().all(|octets| octets.ends_with(&format!("\r\n\r\n{body}"))));
    assert_eq!((with("X-Spam: Yes\r\n"), with("X-Spamd-Bar: ++\r\n"), with("X-Forged: ham\r\n")), (1, 1, 2));
    assert_eq!((with("Subject: [spam] hi\r\n"), with("Subject: hi\r\n")), (1, 2));
}

#[tokio::test]
async fn without_rspamd_mail_passes_or_is_put_off_by_setting() {
    // A port that nobody listens on any more.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // And one that takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (on_failure, expected) in [(OnFailure::Accept, "250"), (OnFailure::Defer, "451 4.7.1")] {
        let mut settings = strict();
        settings.rspamd.server = vec![gone.into(), silent.local_addr().unwrap().into()];
        settings.rspamd.timeout = Duration::from_millis(400);
        settings.rspamd.on_failure = on_failure;
        let scene = scene_with(settings, Arc::new(well_kept())).await;
        let mut client = Lines::connect(scene.smtp).await;
        client
            .talk(&[
                ("", "220"),
                ("EHLO client.test", "250"),
                ("MAIL FROM:<carol@beta.test>", "250"),
                ("RCPT TO:<alice@alpha.test>", "250"),
                ("DATA", "354"),
                ("Subject: x\r\n\r\nhi\r\n.", expected),
            ])
            .await;
    }
}

#[tokio::test]
async fn greylisting_asks_to_come_again() {
    let mut settings = strict();
    settings.greylist.enabled = true;
    settings.greylist.delay = Duration::from_secs(1);
    let scene = scene_with(settings, Arc::new(well_kept())).await;
    let mut client = Lines::connect(scene.smtp).await;
    client.talk(&[("", "220"), ("EHLO client.test", "250"), ("MAIL FROM:<carol@beta.test>", "250")]).await;
    client.talk(&[("RCPT TO:<bob@alpha.test>", "451 4.7.1 greylisted")]).await;
    let passes = async {
        loop {
            client.say("RCPT TO:<bob@alpha.test>\r\n").await;
            match client.hear().await {
                reply if reply.starts_with("250") => return,
                reply => assert!(reply.starts_with("451"), "{reply}"),
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    };
    tokio::time::timeout(PATIENCE, passes).await.expect("it passes");
}

#[tokio::test]
async fn behind_a_load_balancer_the_client_is_who_its_header_says() {
    let dns = || {
        Arc::new(
            FakeDns::new()
                .ptr("192.0.2.9", "mail.beta.test")
                .a("mail.beta.test", "192.0.2.9")
                .mx("beta.test", "mail.beta.test"),
        )
    };
    let scene = scene_behind(vec!["127.0.0.0/8".parse().unwrap()], strict(), dns()).await;
    let mut client = Lines::connect(scene.smtp).await;
    client.say("PROXY TCP4 192.0.2.9 192.0.2.25 4711 25\r\n").await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO mail.beta.test", "250"),
            ("MAIL FROM:<carol@beta.test>", "250"),
            ("RCPT TO:<alice@alpha.test>", "250"),
            ("DATA", "354"),
            ("Subject: x\r\n\r\nhi\r\n.", "250"),
            ("QUIT", "221"),
        ])
        .await;
    let (_, _, octets) = scene.queued().await.remove(0);
    let expected = "Received: from mail.beta.test (mail.beta.test [192.0.2.9])\r\n";
    assert!(octets.starts_with(expected), "{octets}");
    // TLS follows the header at once.
    let mut client = Lines::connect(scene.submissions).await;
    client.say("PROXY UNKNOWN\r\n").await;
    client.start_tls(&scene).await.talk(&[("", "220"), ("QUIT", "221")]).await;
    // Two at a time of one client, as the gate of this test has it.
    let mut crowd = Vec::new();
    for expected in ["220", "220", "421 4.7.0"] {
        let mut client = Lines::connect(scene.smtp).await;
        client.say("PROXY TCP4 192.0.2.9 192.0.2.25 4711 25\r\n").await;
        client.talk(&[("", expected)]).await;
        crowd.push(client);
    }
    // Without the header nobody is served.
    let mut client = Lines::connect(scene.smtp).await;
    client.say("EHLO client.test\r\n").await;
    assert_eq!(client.hear().await, "");
    // And from elsewhere a header is a wrong command.
    let scene = scene_with(postroad_config::Policy::default(), dns()).await;
    let mut client = Lines::connect(scene.smtp).await;
    client.talk(&[("", "220"), ("PROXY TCP4 192.0.2.9 192.0.2.25 4711 25", "500"), ("QUIT", "221")]).await;
}

#[tokio::test]
async fn accounts_may_ask_who_is_behind_an_address() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.submissions).await.start_tls(&scene).await;
    client
        .talk(&[
            ("", "220"),
            ("EHLO c.test", "250"),
            ("VRFY bob@alpha.test", "252 2.0.0"),
            (&plain("alice@alpha.test", "a-secret"), "235"),
            ("VRFY <bob@alpha.test>", "250 2.1.5 <bob@alpha.test>"),
            ("VRFY nobody@alpha.test", "550 5.1.1"),
            ("VRFY x@gamma.test", "252 2.0.0"),
            ("VRFY bob", "553 5.1.3"),
            ("EXPN list@alpha.test", "250-2.1.5 <bob@alpha.test>\r\n250 2.1.5 <carol@beta.test>\r\n"),
        ])
        .await;
    scene.world.directory.set_down(true);
    client.talk(&[("VRFY dora@alpha.test", "451 4.3.0"), ("QUIT", "221")]).await;
}
