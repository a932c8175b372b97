//! What a driver is asked, when, and what happens to the octets that come meanwhile.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use postroad_types::{EnhancedCode, Reply, limits};
use postroad_wire_smtp::server::{
    Anomaly, Answer, AuthAnswer, AuthStep, Config, Mechanism, Output, SaslMessage, Server, Tls,
};

fn server(config: Config) -> (Server, Instant) {
    let now = Instant::now();
    (Server::new(Arc::new(config), Tls::Unavailable, now), now)
}

fn relay() -> Config {
    Config::relay("mx.test".parse().unwrap())
}

/// All outputs until the machine waits; texts of writes.
fn poll(server: &mut Server) -> Vec<Output> {
    std::iter::from_fn(|| server.poll_output()).collect()
}

fn text(output: &Output) -> String {
    match output {
        Output::Write(octets) => String::from_utf8(octets.to_vec()).unwrap(),
        other => panic!("{other:?} where a write was due"),
    }
}

/// Says yes to everything until `stop` says otherwise; returns what it stopped at.
fn agree(server: &mut Server, now: Instant, stop: impl Fn(&Output) -> bool) -> (String, Option<Output>) {
    let mut said = String::new();
    while let Some(output) = server.poll_output() {
        if stop(&output) {
            return (said, Some(output));
        }
        match output {
            Output::Write(_) => said.push_str(&text(&output)),
            Output::AskGreeting
            | Output::AskHello(_)
            | Output::AskMail(_)
            | Output::AskRecipient(_)
            | Output::AskBody => server.answer(now, Answer::Accept),
            Output::BodyEnd => server.answer_message(now, queued()),
            _ => {}
        }
    }
    (said, None)
}

fn queued() -> Reply {
    Reply::new(250, EnhancedCode::new(2, 0, 0), "queued")
}

const ENVELOPE: &[u8] = b"HELO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n";

#[test]
fn who_talks_first_is_not_listened_to() {
    let (mut server, now) = server(relay());
    assert!(matches!(poll(&mut server)[..], [Output::AskGreeting]));
    server.receive(now, b"HELO a\r\nQUIT\r\n");
    let outputs = poll(&mut server);
    assert!(matches!(outputs[..], [Output::Anomaly(Anomaly::TalkedFirst { octets: 14 })]), "{outputs:?}");
    server.answer(now, Answer::Accept);
    let outputs = poll(&mut server);
    assert_eq!(outputs.len(), 1);
    assert_eq!(text(&outputs[0]), "220 mx.test ESMTP Postroad\r\n");
}

#[test]
fn a_refused_greeting_leaves_quit_or_nothing() {
    let (mut refused, now) = server(relay());
    poll(&mut refused);
    refused.answer(now, Answer::Refuse(Reply::new(554, EnhancedCode::new(5, 7, 1), "not you")));
    refused.receive(now, b"EHLO a\r\nQUIT\r\n");
    let (said, _) = agree(&mut refused, now, |_| false);
    assert_eq!(
        said,
        "554 5.7.1 not you\r\n503 5.5.1 you are not served here; QUIT\r\n221 2.0.0 mx.test closes the connection\r\n"
    );
    let (mut full, now) = server(relay());
    poll(&mut full);
    full.answer(now, Answer::Refuse(Reply::new(421, EnhancedCode::new(4, 3, 2), "full")));
    assert!(matches!(poll(&mut full)[..], [Output::Write(_), Output::Close]));
}

#[test]
fn a_shutdown_before_the_greeting_is_the_greeting() {
    let (mut server, now) = server(relay());
    poll(&mut server);
    server.shutdown(now);
    server.answer(now, Answer::Accept);
    let outputs = poll(&mut server);
    assert!(text(&outputs[0]).starts_with("421 4.3.2 "));
    assert!(matches!(outputs[1], Output::Close));
}

#[test]
fn nothing_behind_an_open_question_is_looked_at() {
    let (mut server, now) = server(relay());
    server.receive(now, b"");
    let (_, _) = agree(&mut server, now, |_| false);
    server.receive(now, b"HELO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nNOOP\r\n");
    let (_, asked) = agree(&mut server, now, |o| matches!(o, Output::AskMail(_)));
    assert!(asked.is_some());
    assert!(poll(&mut server).is_empty());
    assert!(server.poll_timeout().is_none(), "the client is not to blame for our slowness");
    let mut taken = 0;
    while server.wants_read() {
        server.receive(now, &[b'x'; 1000]);
        taken += 1000;
        assert!(poll(&mut server).is_empty());
    }
    assert!((limits::SMTP_INPUT_OCTETS_MAX..limits::SMTP_INPUT_OCTETS_MAX + 1000).contains(&(taken + 40)));
    server.answer(now, Answer::Refuse(Reply::new(450, EnhancedCode::new(4, 7, 1), "later")));
    let (said, _) = agree(&mut server, now, |_| false);
    let codes: Vec<&str> = said.lines().map(|l| l.split_at(3).0).collect();
    assert_eq!(codes, ["250", "450", "503", "250", "500"]);
    assert!(server.wants_read());
}

#[test]
fn replies_to_one_packet_are_one_write_but_a_taken_message_is_told_at_once() {
    let (mut server, now) = server(relay());
    agree(&mut server, now, |_| false);
    server.receive(now, ENVELOPE);
    let (said, _) = agree(&mut server, now, |o| matches!(o, Output::Write(_)));
    assert_eq!(said, "");
    server.receive(now, b"x\r\n.\r\nNOOP\r\nMAIL FROM:<a@b.test>\r\nNOOP\r\nNOOP\r\n");
    let (said, asked) = agree(&mut server, now, |o| matches!(o, Output::AskMail(_)));
    assert_eq!(said, "250 2.0.0 queued\r\n250 2.0.0 ok\r\n");
    assert!(asked.is_some());
    server.answer(now, Answer::Accept);
    let writes = poll(&mut server);
    assert_eq!(writes.len(), 1);
    assert_eq!(text(&writes[0]).lines().count(), 3);
}

#[test]
fn answers_that_nobody_waits_for_are_dropped() {
    let (mut server, now) = server(relay());
    agree(&mut server, now, |_| false);
    server.answer(now, Answer::Accept);
    server.answer_message(now, queued());
    server.answer_auth(now, AuthAnswer::Success { account: "evil".into() });
    server.refuse_body(now, queued());
    server.tls_established(now);
    assert!(poll(&mut server).is_empty());
    assert!(server.session().account().is_none() && !server.session().is_tls());
}

#[test]
fn a_body_that_trickles_is_no_progress() {
    let (mut server, mut now) = server(relay());
    server.receive(now, b"");
    agree(&mut server, now, |_| false);
    server.receive(now, ENVELOPE);
    agree(&mut server, now, |_| false);
    for _ in 0..4 {
        now += Duration::from_secs(60);
        server.receive(now, b"x");
        agree(&mut server, now, |_| false);
        server.timed_out(now);
        assert!(poll(&mut server).is_empty());
    }
    now += Duration::from_secs(60);
    server.timed_out(now);
    let outputs = poll(&mut server);
    assert!(matches!(outputs[..], [Output::BodyAbort, Output::Write(_), Output::Close]), "{outputs:?}");
    assert!(text(&outputs[1]).starts_with("421 4.4.2 "));
}

#[test]
fn a_body_that_flows_may_take_long() {
    let (mut server, mut now) = server(relay());
    agree(&mut server, now, |_| false);
    server.receive(now, ENVELOPE);
    agree(&mut server, now, |_| false);
    for _ in 0..20 {
        now += Duration::from_secs(200);
        server.timed_out(now);
        server.receive(now, &[b'x'; 2000]);
        agree(&mut server, now, |_| false);
    }
    server.receive(now, b"\r\n.\r\n");
    assert_eq!(agree(&mut server, now, |_| false).0, "250 2.0.0 queued\r\n");
}

#[test]
fn a_refused_body_is_not_read_for_ever() {
    let (mut server, now) = server(Config { message_octets_max: 1000, ..relay() });
    agree(&mut server, now, |_| false);
    server.receive(now, b"HELO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 99999999999 LAST\r\n");
    agree(&mut server, now, |_| false);
    let chunk = vec![b'x'; 64 * 1024];
    let mut read = 0;
    let mut said = String::new();
    while server.wants_read() {
        server.receive(now, &chunk);
        read += chunk.len() as u64;
        said.push_str(&agree(&mut server, now, |o| matches!(o, Output::Body(_))).0);
    }
    assert!(read <= limits::SMTP_DRAIN_OCTETS_MAX + 2 * chunk.len() as u64);
    assert_eq!(said, "552 5.3.4 the message is larger than 1000 octets\r\n");
}

#[test]
fn a_late_tls_handshake_is_ended_without_a_word() {
    let mut now = Instant::now();
    let mut server = Server::new(Arc::new(relay()), Tls::Available, now);
    agree(&mut server, now, |_| false);
    server.receive(now, b"EHLO a\r\nSTARTTLS\r\n");
    agree(&mut server, now, |o| matches!(o, Output::StartTls));
    assert!(!server.wants_read());
    assert!(poll(&mut server).is_empty());
    now += Duration::from_secs(301);
    server.timed_out(now);
    assert!(matches!(poll(&mut server)[..], [Output::Close]));
}

#[test]
fn tls_forgets_who_the_client_was() {
    let now = Instant::now();
    let config = Config {
        mechanisms: vec![Mechanism::Plain],
        allow_plaintext_auth: true,
        ..Config::submission("mx.test".parse().unwrap())
    };
    let mut server = Server::new(Arc::new(config), Tls::Available, now);
    agree(&mut server, now, |_| false);
    server.receive(now, b"EHLO a\r\nAUTH PLAIN AGEAYg==\r\n");
    let (_, step) = agree(&mut server, now, |o| matches!(o, Output::AskAuth(_)));
    let Some(Output::AskAuth(AuthStep::Start { mechanism: Mechanism::Plain, initial: Some(initial) })) = step
    else {
        panic!("{step:?}");
    };
    assert_eq!(initial, SaslMessage(b"\0a\0b".to_vec()));
    assert!(!format!("{initial:?}").contains('b'), "{initial:?}");
    server.answer_auth(now, AuthAnswer::Success { account: "ann".into() });
    assert!(text(&poll(&mut server)[0]).ends_with("\r\n235 2.7.0 welcome\r\n"));
    assert_eq!(server.session().protocol(false), "ESMTPA");
    server.receive(now, b"STARTTLS\r\n");
    agree(&mut server, now, |o| matches!(o, Output::StartTls));
    server.tls_established(now);
    assert!(server.session().account().is_none() && server.session().hello().is_none());
    assert!(server.session().is_tls());
}

#[test]
fn auth_lines_may_be_longer_than_others_up_to_their_own_bound() {
    let config = Config { mechanisms: vec![Mechanism::Plain], allow_plaintext_auth: true, ..relay() };
    let (mut server, now) = server(config);
    agree(&mut server, now, |_| false);
    let line = |octets: usize| {
        let base64 = octets - b"AUTH PLAIN \r\n".len();
        format!("AUTH PLAIN {}\r\n", "A".repeat(base64 / 4 * 4))
    };
    server.receive(now, b"EHLO a\r\n");
    agree(&mut server, now, |_| false);
    server.receive(now, line(limits::SMTP_AUTH_LINE_OCTETS_MAX).as_bytes());
    let (_, step) = agree(&mut server, now, |o| matches!(o, Output::AskAuth(_)));
    assert!(step.is_some());
    server.answer_auth(now, AuthAnswer::Challenge(SaslMessage(b"?".to_vec())));
    server.receive(now, format!("{}\r\nNOOP\r\n", "A".repeat(limits::SMTP_AUTH_LINE_OCTETS_MAX)).as_bytes());
    let (said, _) = agree(&mut server, now, |_| false);
    assert_eq!(said, "334 Pw==\r\n500 5.5.6 the line is too long\r\n250 2.0.0 ok\r\n");
}

#[test]
fn a_long_line_costs_one_reply() {
    let (mut server, now) = server(relay());
    agree(&mut server, now, |_| false);
    for _ in 0..100 {
        server.receive(now, &[b'x'; 1000]);
        let (said, _) = agree(&mut server, now, |_| false);
        assert!(said.is_empty() || said == "500 5.5.2 the line is too long\r\n");
    }
    server.receive(now, b"\r\nNOOP\r\n");
    assert_eq!(agree(&mut server, now, |_| false).0, "250 2.0.0 ok\r\n");
}

#[test]
fn a_client_without_a_message_is_let_go_in_the_end() {
    let (mut server, now) = server(relay());
    agree(&mut server, now, |_| false);
    server.receive(now, &b"NOOP\r\n".repeat(limits::SMTP_IDLE_COMMANDS_MAX as usize + 1));
    let (said, _) = agree(&mut server, now, |_| false);
    assert_eq!(said.matches("250 ").count(), limits::SMTP_IDLE_COMMANDS_MAX as usize);
    assert!(said.ends_with("421 4.7.0 too many commands without a message\r\n"));
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Server>() <= 1024, "{} octets", size_of::<Server>());
}
