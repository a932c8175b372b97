//! Scenes with hosts that behave well and badly, over loopback.

mod faults;
mod host;
mod require_tls;
mod terms;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postroad_service::{SystemClock, TraceLog};
use postroad_types::{Address, BodyKind, DeliveryResult, TraceId};
use postroad_wire_smtp::client::Timeouts;

use super::{Settings, SmtpRelay, TlsTrust};
use crate::consignment::{Consignment, Recipient, Relay, Report};
use crate::queue::Contact;
use crate::route::{Destination, MxHost, Terms, TlsPolicy};
use crate::testing::content;
use host::{HELLO, Host, MESSAGE, PIPELINING, QUIT, SOON, STARTTLS, certificate};

fn settings() -> Settings {
    Settings {
        hello: "me.test".parse().unwrap(),
        source: Vec::new(),
        tls: TlsPolicy::Opportunistic,
        connect_timeout: Duration::from_secs(5),
        timeouts: Timeouts { command: SOON, mail: SOON, data_end: SOON, ..Timeouts::default() },
        reuse_idle: Duration::from_secs(60),
        idle_per_host_max: 5,
    }
}

fn relay(settings: Settings) -> SmtpRelay {
    let trust = TlsTrust::public().unwrap();
    SmtpRelay::new(settings, trust, Arc::new(SystemClock::new()), TraceLog::disabled())
}

fn message(to: &[&str], octets: &str) -> Consignment {
    let content = content(octets);
    Consignment {
        id: content.id.clone(),
        trace: TraceId::random(),
        reverse_path: "ann@a.test".parse().unwrap(),
        recipients: to.iter().map(|to| Recipient::from(to.parse::<Address>().unwrap())).collect(),
        body: BodyKind::SevenBit,
        smtputf8: false,
        envelope_id: None,
        options: Default::default(),
        accepted_at: 0,
        content,
    }
}

/// Hosts in the order of their preference, all on the first one's port.
fn to(hosts: &[(&str, SocketAddr)]) -> Destination {
    let host = |(preference, (name, address)): (usize, &(&str, SocketAddr))| MxHost {
        preference: preference as u16,
        name: (*name).into(),
        addresses: vec![address.ip()],
    };
    Destination {
        key: "test".into(),
        hosts: hosts.iter().enumerate().map(host).collect(),
        port: hosts.first().map_or(0, |(_, address)| address.port()),
        terms: Arc::new(Terms::usual()),
        secure: false,
    }
}

fn beside(host: &Host, ip: [u8; 4]) -> SocketAddr {
    SocketAddr::new(IpAddr::from(ip), host.address.port())
}

async fn send(relay: &SmtpRelay, what: &Consignment, destination: &Destination) -> Report {
    tokio::time::timeout(SOON, relay.relay(what, destination)).await.expect("an attempt that ends")
}

/// `delivered 250 ok`, one for each recipient.
fn results(report: &Report) -> Vec<String> {
    let shown = |outcome: &crate::consignment::Outcome| match &outcome.result {
        DeliveryResult::Delivered(reply) => format!("delivered {reply}"),
        DeliveryResult::Deferred(reply) => format!("deferred {reply}"),
        DeliveryResult::Rejected(reply) => format!("rejected {reply}"),
        DeliveryResult::Expanded(_) => "expanded".to_owned(),
    };
    report.outcomes.iter().map(shown).collect()
}

#[tokio::test]
async fn a_connection_serves_one_message_after_the_other() {
    let host = Host::start(vec![[HELLO, MESSAGE, MESSAGE, QUIT].concat()]).await;
    let relay = relay(settings());
    let there = to(&[("mx.b.test", host.address)]);
    let one = send(&relay, &message(&["bob@b.test"], ".one\r\n"), &there).await;
    assert_eq!(results(&one), ["delivered 250 queued"]);
    assert_eq!(one.outcomes[0].host, format!("mx.b.test [127.0.0.1]:{}", host.address.port()));
    assert_eq!(one.contact, Contact::Reached);
    assert_eq!(relay.pool().len(), 1);
    let two = send(&relay, &message(&["bob@b.test"], "two\r\n"), &there).await;
    assert_eq!(results(&two), ["delivered 250 queued"]);
    relay.close_idle().await;
    assert_eq!(host.done(1).await, [".one\r\n", "two\r\n"]);
}

#[tokio::test]
async fn a_connection_that_waits_too_long_is_ended_politely() {
    let host = Host::start(vec![[HELLO, MESSAGE, QUIT].concat()]).await;
    let relay = relay(Settings { reuse_idle: Duration::from_millis(30), ..settings() });
    send(&relay, &message(&["bob@b.test"], "x\r\n"), &to(&[("mx.b.test", host.address)])).await;
    host.done(1).await;
    assert!(relay.pool().is_empty());
}

#[tokio::test]
async fn a_connection_that_died_while_it_waited_costs_nothing() {
    for farewell in [&["close"][..], &["C: MAIL", "close"], &["C: MAIL", "S: 421 too late", "close"]] {
        let host =
            Host::start(vec![[HELLO, MESSAGE, farewell].concat(), [HELLO, MESSAGE, QUIT].concat()]).await;
        let relay = relay(settings());
        let there = to(&[("mx.b.test", host.address)]);
        for _ in 0..2 {
            let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &there).await;
            assert_eq!(results(&report), ["delivered 250 queued"], "{farewell:?}");
        }
        relay.close_idle().await;
        assert_eq!(host.done(2).await.len(), 2);
    }
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered_whoever_gave_the_certificate() {
    let (tls, roots) = certificate();
    let inside = ["tls", "C: EHLO me.test", "S: 250 mx"];
    let part = [STARTTLS, &["C: STARTTLS", "S: 220 go"], &inside, MESSAGE, QUIT].concat();
    let any = "127.0.0.1:0".parse().unwrap();
    let host = Host::at(any, vec![part.clone(), part], Some(tls)).await;
    let there = to(&[("mx.b.test", host.address)]);

    let stranger = relay(settings());
    let report = send(&stranger, &message(&["bob@b.test"], "x\r\n"), &there).await;
    assert_eq!(results(&report), ["delivered 250 queued"]);
    let hop = there.hops(&mut rand::rng()).remove(0);
    let session = stranger.pool().take(&hop).unwrap();
    let facts = session.facts().tls.clone().unwrap();
    assert_eq!(facts.version, "TLSv1.3");
    assert!(facts.untrusted.unwrap().contains("UnknownIssuer"));
    session.quit().await;

    let trust = TlsTrust::new(roots).unwrap();
    let settings = Settings { tls: TlsPolicy::Require, ..settings() };
    let friend = SmtpRelay::new(settings, trust, Arc::new(SystemClock::new()), TraceLog::disabled());
    let report = send(&friend, &message(&["bob@b.test"], "x\r\n"), &there).await;
    assert_eq!(results(&report), ["delivered 250 queued"]);
    let session = friend.pool().take(&hop).unwrap();
    assert_eq!(session.facts().tls.clone().unwrap().untrusted, None);
    session.quit().await;
    host.done(2).await;
}

#[tokio::test]
async fn broken_tls_is_done_without_and_remembered() {
    let host = Host::start(vec![
        [STARTTLS, &["C: STARTTLS", "S: 220 go", "no tls"]].concat(),
        [STARTTLS, MESSAGE, QUIT].concat(),
        [STARTTLS, MESSAGE, QUIT].concat(),
    ])
    .await;
    let relay = relay(Settings { reuse_idle: Duration::ZERO, ..settings() });
    let there = to(&[("mx.b.test", host.address)]);
    for _ in 0..2 {
        let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &there).await;
        assert_eq!(results(&report), ["delivered 250 queued"]);
    }
    assert_eq!(host.done(3).await.len(), 2);
}

#[tokio::test]
async fn a_server_too_busy_for_tls_gets_no_plaintext_for_it() {
    let host = Host::start(vec![[STARTTLS, &["C: STARTTLS", "S: 421 4.3.2 busy", "close"]].concat()]).await;
    let relay = relay(settings());
    let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &to(&[("mx", host.address)])).await;
    assert_eq!(results(&report), ["deferred 421 4.3.2 busy"]);
    host.done(1).await;
}

#[tokio::test]
async fn where_tls_is_demanded_nothing_goes_without() {
    let (tls, _) = certificate();
    let host = Host::at(
        "127.0.0.1:0".parse().unwrap(),
        vec![
            [HELLO, QUIT].concat(),
            [STARTTLS, &["C: STARTTLS", "S: 454 4.7.0 not now"], QUIT].concat(),
            [STARTTLS, &["C: STARTTLS", "S: 220 go", "tls", "refused"]].concat(),
        ],
        Some(tls),
    )
    .await;
    let relay = relay(Settings { tls: TlsPolicy::Require, ..settings() });
    let there = to(&[("mx.b.test", host.address)]);
    for why in [
        "4.7.0 mx.b.test [127.0.0.1]:PORT: TLS is demanded, and the server does not offer STARTTLS",
        "4.7.0 mx.b.test [127.0.0.1]:PORT: TLS is demanded, and the server refuses it now: 454 4.7.0 not now",
        "4.7.5 mx.b.test [127.0.0.1]:PORT: TLS is demanded, and the handshake failed: ",
    ] {
        let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &there).await;
        let why = why.replace("PORT", &host.address.port().to_string());
        assert!(results(&report)[0].starts_with(&format!("deferred 451 {why}")), "{:?}", results(&report));
    }
    host.done(3).await;
}

#[tokio::test]
async fn each_recipient_is_decided_on_its_own_and_the_next_host_gets_the_undecided() {
    let first = Host::start(vec![
        [
            PIPELINING,
            &[
                "C: MAIL FROM:<ann@a.test>",
                "C: RCPT TO:<bob@b.test>",
                "C: RCPT TO:<nobody@b.test>",
                "C: RCPT TO:<later@b.test>",
                "C: DATA",
                "S: 250 ok",
                "S: 250 ok",
                "S: 550 5.1.1 no such user",
                "S: 450 4.2.0 later",
                "S: 354 go",
                "body",
                "S: 250 ok",
            ],
            QUIT,
        ]
        .concat(),
    ])
    .await;
    let second = Host::at(
        beside(&first, [127, 0, 0, 2]),
        vec![
            [
                HELLO,
                &["C: MAIL", "S: 250 ok", "C: RCPT TO:<later@b.test>", "S: 451 4.2.0 not here either"],
                QUIT,
            ]
            .concat(),
        ],
        None,
    )
    .await;
    let relay = relay(settings());
    let there = to(&[("mx1.b.test", first.address), ("mx2.b.test", second.address)]);
    let what = message(&["bob@b.test", "nobody@b.test", "later@b.test"], "x\r\n");
    let report = send(&relay, &what, &there).await;
    assert_eq!(
        results(&report),
        ["delivered 250 ok", "rejected 550 5.1.1 no such user", "deferred 451 4.2.0 not here either"]
    );
    assert!(report.outcomes[2].host.starts_with("mx2.b.test"));
    relay.close_idle().await;
    first.done(1).await;
    second.done(1).await;
}

#[tokio::test]
async fn hosts_that_do_not_answer_are_passed_over() {
    let last = Host::at("127.0.0.3:0".parse().unwrap(), vec![[HELLO, MESSAGE, QUIT].concat()], None).await;
    let away = Host::at(beside(&last, [127, 0, 0, 2]), vec![vec!["S: 421 full", "close"]], None).await;
    let nobody = beside(&last, [127, 0, 0, 1]);
    let relay = relay(settings());
    let there = to(&[("mx1", nobody), ("mx2", away.address), ("mx3", last.address)]);
    let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &there).await;
    assert_eq!(results(&report), ["delivered 250 queued"]);
    assert!(report.outcomes[0].host.starts_with("mx3 "));
    relay.close_idle().await;
    last.done(1).await;
}

#[tokio::test]
async fn a_destination_without_an_answer_is_unreachable() {
    let host = Host::start(vec![vec!["close"]]).await;
    let nobody = beside(&host, [127, 0, 0, 9]);
    let relay = relay(settings());
    let there = to(&[("mx1", host.address), ("mx2", nobody)]);
    let report = send(&relay, &message(&["bob@b.test", "eve@b.test"], "x\r\n"), &there).await;
    let port = host.address.port();
    let refused = format!("deferred 451 4.4.1 mx2 [127.0.0.9]:{port}: cannot connect: Connection refused");
    assert!(results(&report).iter().all(|r| r.starts_with(&refused)), "{:?}", results(&report));
    let Contact::Unreachable(seen) = report.contact else { panic!("{:?}", report.contact) };
    assert_eq!(seen.host, format!("mx2 [127.0.0.9]:{port}"));
}

#[tokio::test]
async fn only_hosts_that_all_refuse_for_good_make_a_bounce() {
    let never = vec!["S: 554 5.7.1 never", "C: QUIT", "close"];
    let host = Host::start(vec![never.clone(), never]).await;
    let relay = relay(settings());
    let what = message(&["bob@b.test"], "x\r\n");
    let report = send(&relay, &what, &to(&[("mx1", host.address)])).await;
    assert_eq!(results(&report), ["rejected 554 5.7.1 never"]);
    assert_eq!(report.contact, Contact::Reached);
    let nobody = beside(&host, [127, 0, 0, 9]);
    let report = send(&relay, &what, &to(&[("mx1", nobody), ("mx2", host.address)])).await;
    assert_eq!(results(&report), ["deferred 554 5.7.1 never"]);
    host.done(2).await;
}

#[tokio::test]
async fn a_message_that_may_have_been_taken_is_not_offered_to_another_host() {
    let first = Host::start(vec![[HELLO, MESSAGE.split_last().unwrap().1, &["close"]].concat()]).await;
    let second = Host::at(beside(&first, [127, 0, 0, 2]), vec![[HELLO, MESSAGE].concat()], None).await;
    let relay = relay(settings());
    let there = to(&[("mx1", first.address), ("mx2", second.address)]);
    let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &there).await;
    let port = first.address.port();
    assert_eq!(
        results(&report),
        [format!(
            "deferred 451 4.4.2 mx1 [127.0.0.1]:{port}: the server closed the connection before the reply to the message"
        )]
    );
    assert_eq!(first.done(1).await.len(), 1);
    second.done(0).await;
}

#[tokio::test]
async fn a_host_that_breaks_off_is_tried_at_its_other_address() {
    for broken in [&["C: MAIL", "S: 250 ok", "C: RCPT", "close"][..], &["C: MAIL", "S: 421 busy", "close"]] {
        let first = Host::start(vec![[HELLO, broken].concat()]).await;
        let parts = vec![[HELLO, MESSAGE, QUIT].concat()];
        let second = Host::at(beside(&first, [127, 0, 0, 2]), parts, None).await;
        let relay = relay(settings());
        let there = to(&[("mx", first.address), ("mx", second.address)]);
        let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &there).await;
        assert_eq!(results(&report), ["delivered 250 queued"], "{broken:?}");
        relay.close_idle().await;
        first.done(1).await;
        second.done(1).await;
    }
}

#[tokio::test]
async fn a_host_that_hangs_up_was_not_reached() {
    let host = Host::start(vec![[HELLO, &["C: MAIL", "close"]].concat()]).await;
    let relay = relay(settings());
    let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &to(&[("mx", host.address)])).await;
    let Contact::Unreachable(seen) = report.contact else { panic!("{:?}", report.contact) };
    assert_eq!(seen.host, format!("mx [127.0.0.1]:{}", host.address.port()));
    assert!(seen.reply.text.contains("closed the connection before the reply to MAIL"), "{}", seen.reply);
}

#[tokio::test]
async fn a_host_may_refuse_a_message_before_it_has_it_whole() {
    let begin = MESSAGE.split_at(6).0;
    let host = Host::start(vec![[HELLO, begin, &["half", "S: 552 5.3.4 enough", "listen"]].concat()]).await;
    let relay = relay(settings());
    let much = "0123456789012345678901234567890123456789\r\n".repeat(500_000);
    let report = send(&relay, &message(&["bob@b.test"], &much), &to(&[("mx1", host.address)])).await;
    assert_eq!(results(&report), ["rejected 552 5.3.4 enough"]);
    assert!(relay.pool().is_empty());
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_not_sent_in_part() {
    let begin = MESSAGE.split_at(6).0;
    let host = Host::start(vec![[HELLO, begin, &["listen"]].concat()]).await;
    let relay = relay(settings());
    let mut what = message(&["bob@b.test"], "only this\r\n");
    what.content.size_octets = 100;
    let report = send(&relay, &what, &to(&[("mx1", host.address)])).await;
    assert_eq!(
        results(&report),
        ["deferred 451 4.3.0 the message cannot be read: damaged: a message ends after 11 of 100 octets"]
    );
    host.done(1).await;
}

#[tokio::test]
async fn a_slow_host_is_given_up() {
    let host = Host::start(vec![[HELLO, &["C: MAIL", "listen"]].concat()]).await;
    let mut settings = settings();
    settings.timeouts.mail = Duration::from_millis(50);
    let relay = relay(settings);
    let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &to(&[("mx1", host.address)])).await;
    let port = host.address.port();
    let slow =
        format!("deferred 451 4.4.2 mx1 [127.0.0.1]:{port}: the server took too long for the reply to MAIL");
    assert_eq!(results(&report), [slow]);
    host.done(1).await;
}
