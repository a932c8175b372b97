//! Messages that may go over TLS alone (RFC 8689 section 4.2.1).

use super::host::certificate;
use super::*;

fn secret() -> Consignment {
    let mut message = message(&["bob@b.test"], "x\r\n");
    message.options.require_tls = true;
    message
}

fn trusting(roots: rustls::RootCertStore) -> SmtpRelay {
    let trust = TlsTrust::new(roots).unwrap();
    SmtpRelay::new(settings(), trust, Arc::new(SystemClock::new()), TraceLog::disabled())
}

#[tokio::test]
async fn hosts_whose_names_dns_does_not_vouch_for_are_not_even_connected_to() {
    // Nobody would answer: had it been asked, the mail would wait.
    let report =
        send(&relay(settings()), &secret(), &to(&[("mx.b.test", "127.0.0.1:9".parse().unwrap())])).await;
    let why =
        "rejected 550 5.7.30 the message may go over TLS alone, and DNS does not vouch for its mail hosts";
    assert_eq!(results(&report), [why]);
}

#[tokio::test]
async fn hosts_of_a_secure_answer_are_told_and_their_certificates_looked_at() {
    let (tls, roots) = certificate();
    let begin = [STARTTLS, &["C: STARTTLS", "S: 220 go", "tls"]].concat();
    let offers =
        ["C: EHLO me.test", "S: 250-mx", "S: 250 REQUIRETLS", "C: MAIL FROM:<ann@a.test> REQUIRETLS"];
    let taken = [&begin[..], &offers, &MESSAGE[1..], QUIT].concat();
    let does_not_offer = [&begin[..], &["C: EHLO me.test", "S: 250 mx"], QUIT].concat();
    let refused = [&begin[..], &["refused"]].concat();
    let any = "127.0.0.1:0".parse().unwrap();
    let host = Host::at(any, vec![taken, does_not_offer, refused], Some(tls)).await;
    let there = to(&[("mx.b.test", host.address)]).secure(true);

    let friend = trusting(roots);
    let report = send(&friend, &secret(), &there).await;
    assert_eq!(results(&report), ["delivered 250 queued"]);
    friend.close_idle().await;
    let report = send(&friend, &secret(), &there).await;
    assert!(results(&report)[0].starts_with("rejected 550 5.7.30 "), "{:?}", results(&report));
    friend.close_idle().await;
    // The same host, whose certificate is nobody's.
    let report = send(&relay(settings()), &secret(), &there).await;
    assert!(
        results(&report)[0].contains("TLS is demanded, and the handshake failed"),
        "{:?}",
        results(&report)
    );
    assert_eq!(host.done(3).await, ["x\r\n"]);
}

#[tokio::test]
async fn a_host_without_starttls_gets_nothing() {
    let host = Host::start(vec![[HELLO, QUIT].concat()]).await;
    let report = send(&relay(settings()), &secret(), &to(&[("mx.b.test", host.address)]).secure(true)).await;
    assert!(results(&report)[0].contains("TLS is demanded"), "{:?}", results(&report));
    assert!(host.done(1).await.is_empty());
}
