//! DNS over TLS, HTTPS and QUIC as clients, good and bad, meet them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::encrypted::{NAME, Scene, answer, framed};
use common::{SOON, data, question};
use futures_util::StreamExt;
use hickory_net::h2::HttpsClientStream;
use hickory_net::quic::QuicClientStream;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tls::tls_exchange;
use hickory_net::xfer::{DnsExchange, DnsHandle};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, Message, ResponseCode};
use postroad_config::Config;
use postroad_service::ClientTls;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn asked(exchange: &DnsExchange<TokioRuntimeProvider>, name: &str, rtype: &str) -> Message {
    let request = DnsRequest::new(question(name, rtype, true), DnsRequestOptions::default());
    timeout(SOON, exchange.send(request).next()).await.unwrap().unwrap().unwrap().into_message()
}

#[tokio::test]
async fn hickorys_client_is_answered_over_all_of_them() {
    let scene = Scene::new();
    let runtime = TokioRuntimeProvider::new();
    let name = NAME.try_into().unwrap();
    let over_tls = tls_exchange(scene.at.tls[0], name, scene.client(b"dot"), SOON, None, runtime.clone());
    let over_https = HttpsClientStream::builder(Arc::new(scene.client(b"h2")), runtime.clone());
    let over_https = over_https.exchange(scene.at.https[0], NAME.into(), "/dns-query".into());
    let over_quic = QuicClientStream::builder().crypto_config(scene.client(b"doq"));
    let over_quic = over_quic.build(scene.at.quic[0], NAME.into()).await.unwrap();
    let (over_quic, background) = DnsExchange::from_stream(over_quic);
    tokio::spawn(background);
    for exchange in [over_tls.await.unwrap(), over_https.await.unwrap(), over_quic] {
        let found = asked(&exchange, "ns.alpha.test.", "A").await;
        assert_eq!((data(&found), found.metadata.authoritative), (vec!["192.0.2.1".to_owned()], true));
        let none = asked(&exchange, "none.alpha.test.", "A").await;
        assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
        let foreign = asked(&exchange, "example.com.", "A").await;
        assert_eq!(foreign.metadata.response_code, ResponseCode::Refused, "no recursion for strangers");
        let exchange = &exchange;
        let many =
            (0..30).map(|i| async move { (i, asked(exchange, &format!("h{i}.alpha.test."), "A").await) });
        for (i, answer) in futures_util::future::join_all(many).await {
            assert_eq!(answer.queries[0].name().to_string(), format!("h{i}.alpha.test."));
            assert_eq!(answer.answers.len(), 1);
        }
    }
}

#[tokio::test]
async fn debians_clients_are_answered_over_all_of_them() {
    let scene = Scene::new();
    let ca = scene.stage.file("ca.pem", &scene.ca_pem);
    let (ca, port) = (ca.to_str().unwrap(), |at: &[SocketAddr]| at[0].port().to_string());
    let (tls, https, quic) = (port(&scene.at.tls), port(&scene.at.https), port(&scene.at.quic));
    let authenticated = [format!("+tls-ca={ca}"), format!("+tls-hostname={NAME}")];
    let authenticated: Vec<&str> = authenticated.iter().map(String::as_str).collect();
    let post = ["+https"];
    let get = ["+https-get"];
    let runs: [(&str, &str, Vec<&str>); 7] = [
        ("kdig", &tls, [&["+tls", "+padding"][..], &authenticated].concat()),
        ("kdig", &https, [&post[..], &authenticated].concat()),
        ("kdig", &https, [&get[..], &authenticated].concat()),
        ("kdig", &quic, vec!["+quic"]),
        ("dig", &tls, [&["+tls"][..], &authenticated].concat()),
        ("dig", &https, [&post[..], &authenticated].concat()),
        ("dig", &https, [&get[..], &authenticated].concat()),
    ];
    for (program, port, flags) in runs {
        let mut command = Command::new(program);
        command.args(["@127.0.0.1", "-p", port, "ns.alpha.test", "A", "+short"]).args(&flags);
        let Ok(output) = tokio::task::spawn_blocking(move || command.output()).await.unwrap() else {
            eprintln!("passed over: there is no {program} here");
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if format!("{text}{error}").contains("QUIC not supported") || error.contains("invalid option: +quic")
        {
            eprintln!("passed over: this {program} speaks no QUIC");
            continue;
        }
        assert_eq!(text.trim(), "192.0.2.1", "{program} {flags:?}: {error}");
    }
}

#[tokio::test]
async fn responses_are_padded_when_the_question_was() {
    let scene = Scene::new();
    let mut stream = scene.connect(scene.at.tls[0], scene.client(b"")).await.unwrap();
    let mut padded = question("ns.alpha.test.", "A", true).to_vec().unwrap();
    // A padding option of five octets in the OPT record, which ends the message.
    let end = padded.len() - 2;
    padded[end..].copy_from_slice(&[0, 9]);
    padded.extend_from_slice(&[0, 12, 0, 5, 0, 0, 0, 0, 0]);
    stream.write_all(&framed(&padded)).await.unwrap();
    let answered = answer(&mut stream).await;
    assert_eq!(answered.len(), 468);
    assert_eq!(data(&Message::from_vec(&answered).unwrap()), ["192.0.2.1"]);
    stream.write_all(&framed(&question("ns.alpha.test.", "A", true).to_vec().unwrap())).await.unwrap();
    assert!(answer(&mut stream).await.len() < 100);
    // Where anybody reads along it would only make answers longer.
    let mut plain = TcpStream::connect(scene.dns.addresses[0]).await.unwrap();
    plain.write_all(&framed(&padded)).await.unwrap();
    assert!(answer(&mut plain).await.len() < 100);
}

#[tokio::test]
async fn a_session_is_taken_up_again_and_new_certificates_are_used() {
    let scene = Scene::new();
    let config = scene.client(b"dot");
    let ask = async |config: &ClientConfig| {
        let mut stream = scene.connect(scene.at.tls[0], config.clone()).await.unwrap();
        let asked = question("ns.alpha.test.", "A", true).to_vec().unwrap();
        stream.write_all(&framed(&asked)).await.unwrap();
        assert_eq!(answer(&mut stream).await[..2], asked[..2]);
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap().to_vec();
        (session.handshake_kind().unwrap(), chain)
    };
    let (first, before) = ask(&config).await;
    let (second, _) = ask(&config).await;
    assert_eq!((first, second), (rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed));
    let node = Config::new(NAME, scene.stage.folder.path().join("state"));
    std::fs::remove_file(node.pki_dir().join("host.pem")).unwrap();
    ClientTls::load(&node, SystemTime::now()).unwrap();
    scene.tls.reload().unwrap();
    let (_, after) = ask(&scene.client(b"dot")).await;
    assert_ne!(before, after);
    let over_quic = scene.quic().await.peer_identity().unwrap();
    let chain = over_quic.downcast::<Vec<CertificateDer<'static>>>().unwrap();
    assert_eq!(*chain, after);
}

#[tokio::test]
async fn other_protocols_are_refused_in_the_handshake() {
    let scene = Scene::new();
    for (at, protocol) in [(scene.at.tls[0], &b"h2"[..]), (scene.at.https[0], b"dot")] {
        assert!(scene.connect(at, scene.client(protocol)).await.is_err(), "{}", protocol.escape_ascii());
    }
}

#[tokio::test]
async fn https_says_what_is_wrong_and_how_long_an_answer_lasts() {
    let scene = Scene::new();
    let message = question("ns.alpha.test.", "TXT", true).to_vec().unwrap();
    let post = "POST /dns-query HTTP/1.1\r\nContent-Type: application/dns-message";
    let (status, head, body) = scene.http(post, &message).await;
    assert_eq!((status, data(&Message::from_vec(&body).unwrap()).len()), (200, 1));
    assert!(head.contains("content-type: application/dns-message") && head.contains("max-age=45"), "{head}");
    let get = |query: &str| format!("GET /dns-query?{query} HTTP/1.1");
    let negative = question("none.alpha.test.", "A", true).to_vec().unwrap();
    let (status, head, _) = scene.http(&get(&format!("dns={}", URL_SAFE_NO_PAD.encode(negative))), b"").await;
    assert!(status == 200 && head.contains("max-age=30"), "the SOA's minimum: {head}");
    let refused = question("example.com.", "A", true).to_vec().unwrap();
    let (status, head, _) = scene.http(post, &refused).await;
    assert!(status == 200 && head.contains("max-age=0"), "{head}");
    let long = vec![0; 70_000];
    let elsewhere = "POST /x HTTP/1.1\r\nContent-Type: application/dns-message";
    let text = "POST /dns-query HTTP/1.1\r\nContent-Type: text/plain";
    for (head, body, expected) in [
        (elsewhere, &message[..], 404),
        (text, &message, 415),
        ("POST /dns-query HTTP/1.1", &message, 415),
        (post, &long, 413),
        (post, b"\0", 400),
        ("PUT /dns-query HTTP/1.1", b"", 405),
        (&get(""), b"", 400),
        (&get("dns=***"), b"", 400),
        (&get("dns=AAAA"), b"", 400),
    ] {
        assert_eq!(scene.http(head, body).await.0, expected, "{head}");
    }
    let transfer = question("alpha.test.", "AXFR", false).to_vec().unwrap();
    let (_, _, body) = scene.http(post, &transfer).await;
    assert_eq!(Message::from_vec(&body).unwrap().metadata.response_code, ResponseCode::Refused);
}

#[tokio::test]
async fn zones_are_transferred_over_tls_and_quic() {
    let scene = Scene::new();
    let mut transfer = question("alpha.test.", "AXFR", false);
    transfer.metadata.id = 0;
    let octets = framed(&transfer.to_vec().unwrap());
    let mut stream = scene.connect(scene.at.tls[0], scene.client(b"dot")).await.unwrap();
    stream.write_all(&octets).await.unwrap();
    let (mut to, mut from) = scene.quic().await.open_bi().await.unwrap();
    to.write_all(&octets).await.unwrap();
    to.finish().unwrap();
    let whole = timeout(SOON, from.read_to_end(1 << 20)).await.unwrap().unwrap();
    let mut over_quic = &whole[..];
    let (mut records, mut messages) = ([0, 0], 0);
    while !over_quic.is_empty() {
        for (place, octets) in [answer(&mut over_quic).await, answer(&mut stream).await].iter().enumerate() {
            records[place] += Message::from_vec(octets).unwrap().answers.len();
        }
        messages += 1;
    }
    assert!(messages > 1 && records == [2005, 2005], "{messages} {records:?}");
}

#[tokio::test]
async fn who_breaks_the_rules_of_quic_is_left() {
    let scene = Scene::new();
    let good = {
        let mut message = question("ns.alpha.test.", "A", true);
        message.metadata.id = 0;
        message.to_vec().unwrap()
    };
    let mut with_id = good.clone();
    with_id[0] = 1;
    let long = framed(&vec![0; 65_535]);
    for wrong in [
        framed(&with_id),
        framed(&good)[..9].to_vec(),
        [framed(&good), framed(&good)].concat(),
        [&long[..], b"x"].concat(),
    ] {
        let connection = scene.quic().await;
        let (mut to, _from) = connection.open_bi().await.unwrap();
        to.write_all(&wrong).await.unwrap();
        to.finish().unwrap();
        let closed = timeout(SOON, connection.closed()).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(closed) = closed else { panic!("{closed}") };
        assert_eq!(closed.error_code, 2u32.into(), "{} octets", wrong.len());
    }
    let connection = scene.quic().await;
    assert!(timeout(Duration::from_millis(50), connection.open_uni()).await.is_err(), "no such streams");
    // A stream that is given up harms no other.
    let (mut to, _from) = connection.open_bi().await.unwrap();
    to.write_all(&good[..5]).await.unwrap();
    to.reset(3u32.into()).unwrap();
    let (mut to, mut from) = connection.open_bi().await.unwrap();
    to.write_all(&framed(&good)).await.unwrap();
    to.finish().unwrap();
    let whole = timeout(SOON, from.read_to_end(1000)).await.unwrap().unwrap();
    assert_eq!(data(&Message::from_vec(&whole[2..]).unwrap()), ["192.0.2.1"]);
}

#[tokio::test]
async fn idle_and_slow_clients_are_left_and_their_number_is_bounded() {
    let scene = Scene::new();
    let mut held = Vec::new();
    for (at, protocol, octets) in [
        (scene.at.tls[0], &b"dot"[..], &b"\0"[..]),
        (scene.at.https[0], b"http/1.1", b"POST /dns-query HTTP/1.1\r\nHo"),
        (scene.at.https[0], b"h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ] {
        let mut stream = scene.connect(at, scene.client(protocol)).await.unwrap();
        stream.write_all(octets).await.unwrap();
        held.push(stream);
    }
    let slow = scene.quic().await;
    let (mut to, _from) = slow.open_bi().await.unwrap();
    to.write_all(b"\0").await.unwrap();
    // A fourth of all is one client's; a fifth connection is beyond it, whatever it is over.
    assert!(scene.connect(scene.at.tls[0], scene.client(b"dot")).await.is_err());
    let beyond = timeout(SOON, scene.quic().await.closed()).await.unwrap();
    let quinn::ConnectionError::ApplicationClosed(closed) = beyond else { panic!("{beyond}") };
    assert_eq!(closed.error_code, 4u32.into());
    for mut stream in held {
        let mut rest = Vec::new();
        timeout(SOON, stream.read_to_end(&mut rest)).await.expect("an idle connection is closed").ok();
    }
    timeout(SOON, slow.closed()).await.expect("an idle QUIC connection is closed");
    assert!(scene.connect(scene.at.tls[0], scene.client(b"dot")).await.is_ok());
}

#[tokio::test]
async fn a_stop_closes_what_is_open() {
    let scene = Scene::new();
    let mut over_tls = scene.connect(scene.at.tls[0], scene.client(b"dot")).await.unwrap();
    let mut over_https = scene.connect(scene.at.https[0], scene.client(b"http/1.1")).await.unwrap();
    let over_quic = scene.quic().await;
    scene.stage.drain.stop();
    assert_eq!(timeout(SOON, scene.stage.drain.finish()).await, Ok(0));
    for stream in [&mut over_tls, &mut over_https] {
        assert_eq!(timeout(SOON, stream.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    }
    timeout(SOON, over_quic.closed()).await.unwrap();
}
