//! The whole role in its surroundings: it starts on an empty spool, answers clients while mda is away, and stops
//! when it is told to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use postroad_config::Config;
use postroad_service::{Drain, Node, SystemClock};
use postroad_types::Role;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(30);

async fn reply(client: &mut BufReader<TcpStream>) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, client.read_line(&mut line)).await.expect("a reply in time").unwrap();
        let last = line.as_bytes().get(3) != Some(&b'-');
        all.push_str(&line);
        if last {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_starts_answers_and_drains() {
    postroad_service::tls::install_provider();
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new("mx.alpha.test", dir.path());
    for listen in [
        &mut config.mta.smtp_listen,
        &mut config.mta.submission_listen,
        &mut config.mta.submissions_listen,
        &mut config.mta.rpc_listen,
        &mut config.mta.admin_listen,
    ] {
        *listen = vec!["127.0.0.1:0".parse().unwrap()];
    }
    config.rpc.connect_timeout = Duration::from_millis(200);
    let (front, back) = (Drain::new(PATIENCE), Drain::new(PATIENCE));
    let clock = Arc::new(SystemClock::new());
    let node = Node::together(Arc::new(config), clock, &front, &back).unwrap().remove(&Role::Mta).unwrap();
    let running = tokio::spawn(postroad_mta::run(node.clone()));

    let bound = async {
        loop {
            match node.addresses("SMTP").first() {
                Some(address) => return *address,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let address = tokio::time::timeout(PATIENCE, bound).await.expect("a port in time");
    let mut client = BufReader::new(TcpStream::connect(address).await.unwrap());
    assert!(reply(&mut client).await.starts_with("220 mx.alpha.test"));
    for (line, expected) in [
        ("EHLO client.test", "250"),
        ("MAIL FROM:<carol@beta.test>", "250"),
        // mda is not there: nobody is told that a recipient does not exist.
        ("RCPT TO:<bob@alpha.test>", "451 4.3.0"),
    ] {
        client.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        let said = reply(&mut client).await;
        assert!(said.starts_with(expected), "to {line}: {said}");
    }
    assert!(!node.readiness.look().0, "without mda it is not ready");

    front.stop();
    assert!(reply(&mut client).await.starts_with("421 4.3.2"));
    let ended = tokio::time::timeout(PATIENCE, running).await.expect("an end in time").unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}
