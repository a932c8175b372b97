//! What policy says on real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postroad_config::{CheckAction, OnFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

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
