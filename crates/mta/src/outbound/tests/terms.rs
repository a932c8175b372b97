//! Hosts of the operator's rules: LMTP, TLS from the first octet, AUTH.

use postroad_config::Protocol;
use postroad_wire_smtp::client::Credentials;

use super::host::{Host, PIPELINING, QUIT, certificate};
use super::*;

fn on(host: &Host, terms: Terms) -> Destination {
    Destination { terms: Arc::new(terms), ..to(&[("mx.b.test", host.address)]) }
}

fn password() -> Option<Credentials> {
    Some(Credentials { name: "me".to_owned(), password: "secret".to_owned() })
}

#[tokio::test]
async fn an_lmtp_server_answers_for_each_recipient() {
    let host = Host::start(vec![
        [
            &[
                "S: 220 mail LMTP",
                "C: LHLO me.test",
                "S: 250 mail",
                "C: MAIL FROM:<ann@a.test>",
                "S: 250 ok",
                "C: RCPT TO:<bob@b.test>",
                "S: 250 ok",
                "C: RCPT TO:<cat@b.test>",
                "S: 250 ok",
                "C: DATA",
                "S: 354 go",
                "body",
                "S: 250 2.0.0 bob has it",
                "S: 452 4.2.2 cat's mailbox is full",
            ][..],
            QUIT,
        ]
        .concat(),
    ])
    .await;
    let terms = Terms { name: "rule 1".into(), protocol: Protocol::Lmtp, ..Terms::usual() };
    let relay = relay(settings());
    let report = send(&relay, &message(&["bob@b.test", "cat@b.test"], "x\r\n"), &on(&host, terms)).await;
    assert_eq!(
        results(&report),
        ["delivered 250 2.0.0 bob has it", "deferred 452 4.2.2 cat's mailbox is full"]
    );
    relay.close_idle().await;
    assert_eq!(host.done(1).await, ["x\r\n"]);
}

#[tokio::test]
async fn a_smarthost_hears_the_password_under_tls() {
    let (tls, roots) = certificate();
    // Base 64 of NUL, me, NUL, secret.
    let login = ["C: AUTH PLAIN AG1lAHNlY3JldA==", "S: 235 2.7.0 welcome"];
    let inside = ["tls", "S: 220 mx ESMTP", "C: EHLO me.test", "S: 250-mx", "S: 250 AUTH PLAIN"];
    let part = [&inside[..], &login, MESSAGE, QUIT].concat();
    let host = Host::at("127.0.0.1:0".parse().unwrap(), vec![part], Some(tls)).await;
    let terms = Terms {
        name: "rule 1".into(),
        protocol: Protocol::Smtps,
        tls: Some(TlsPolicy::Require),
        credentials: password(),
        ..Terms::usual()
    };
    let trust = TlsTrust::new(roots).unwrap();
    let relay = SmtpRelay::new(settings(), trust, Arc::new(SystemClock::new()), TraceLog::disabled());
    let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &on(&host, terms)).await;
    assert_eq!(results(&report), ["delivered 250 queued"]);
    relay.close_idle().await;
    host.done(1).await;
}

#[tokio::test]
async fn a_password_never_goes_in_the_clear() {
    let part = ["S: 220 mx ESMTP", "C: EHLO me.test", "S: 250-mx", "S: 250 AUTH PLAIN", "close"].to_vec();
    let host = Host::start(vec![part]).await;
    let terms = Terms {
        name: "rule 1".into(),
        tls: Some(TlsPolicy::Opportunistic),
        credentials: password(),
        ..Terms::usual()
    };
    let report = send(&relay(settings()), &message(&["bob@b.test"], "x\r\n"), &on(&host, terms)).await;
    let said = results(&report).remove(0);
    assert!(said.starts_with("deferred 451 4.7.8") && said.contains("does not go without"), "{said}");
    host.done(1).await;
}

#[tokio::test]
async fn connections_of_different_terms_are_not_mixed() {
    let host =
        Host::start(vec![[PIPELINING, MESSAGE, QUIT].concat(), [PIPELINING, MESSAGE, QUIT].concat()]).await;
    let relay = relay(settings());
    let rule = Terms { name: "rule 1".into(), ..Terms::usual() };
    for there in [on(&host, Terms::usual()), on(&host, rule)] {
        let report = send(&relay, &message(&["bob@b.test"], "x\r\n"), &there).await;
        assert_eq!(results(&report), ["delivered 250 queued"]);
    }
    assert_eq!(relay.pool().len(), 2);
    relay.close_idle().await;
    host.done(2).await;
}
