//! POP3 over loopback sockets, with a mailbox in memory.

use std::sync::atomic::Ordering;
use std::time::Duration;

use postroad_config::Config;
use postroad_service::tracelog::Query;
use postroad_types::TraceId;

use crate::conn::Protocol;
use crate::mailbox::MailboxClient;
use crate::testing::{Client, FakeLogins, TestServer};

const BOB: postroad_types::AccountId = FakeLogins::ACCOUNT;

async fn server() -> TestServer {
    TestServer::start(Protocol::Pop3, |_| {}).await
}

/// Over TLS, logged in.
async fn bob(server: &TestServer) -> Client {
    let mut client = server.connect_tls().await;
    assert_eq!(client.line().await, "+OK mx.beta.test POP3 ready");
    assert_eq!(client.say("USER bob@beta.test").await, "+OK and the password?");
    assert!(client.say("PASS secret").await.starts_with("+OK "));
    client
}

/// The lines of a multi-line reply, behind its first.
async fn lines(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match client.line().await {
            end if end == "." => return lines,
            line => lines.push(line),
        }
    }
}

async fn left(server: &TestServer) -> Vec<u32> {
    let folder = server.mailbox.open_folder(BOB, "INBOX", false).await.unwrap();
    folder.messages.iter().map(|message| message.uid).collect()
}

#[tokio::test]
async fn a_message_is_read_and_deleted() {
    let server = server().await;
    let trace = TraceId::random();
    let text = "Subject: one\r\n\r\n.dot\r\nlast\r\n";
    let first = server.mailbox.deliver_traced(BOB, "INBOX", text, Some(trace)).await;
    let second = server.mailbox.deliver(BOB, "INBOX", "Subject: two\r\n\r\n").await;

    let mut client = bob(&server).await;
    assert_eq!(client.say("STAT").await, format!("+OK 2 {}", text.len() + 16));
    assert!(client.say("UIDL").await.starts_with("+OK"));
    let ids = lines(&mut client).await;
    let validity = server.mailbox.folder_status(BOB, "INBOX").await.unwrap().uid_validity;
    assert_eq!(ids, [format!("1 {validity}.{first}"), format!("2 {validity}.{second}")]);
    assert_eq!(client.say("RETR 1").await, format!("+OK {} octets", text.len()));
    assert_eq!(lines(&mut client).await, ["Subject: one", "", "..dot", "last"]);
    assert!(client.say("TOP 1 0").await.starts_with("+OK"));
    assert_eq!(lines(&mut client).await, ["Subject: one", ""]);
    assert!(client.say("TOP 1 1").await.starts_with("+OK"));
    assert_eq!(lines(&mut client).await, ["Subject: one", "", "..dot"]);
    assert!(client.say("TOP 1 99999999").await.starts_with("+OK"));
    assert_eq!(lines(&mut client).await, ["Subject: one", "", "..dot", "last"]);
    assert!(client.say("DELE 1").await.starts_with("+OK"));
    assert_eq!(left(&server).await, [first, second]);
    assert!(client.say("QUIT").await.starts_with("+OK"));
    assert_eq!(client.rest().await, "");
    assert_eq!(left(&server).await, [second]);

    let query = Query { trace_id: Some(trace), ..Query::default() };
    let steps = server.traces.find(&query).unwrap();
    // RETR and the TOP of all lines.
    assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["fetched", "fetched"]);
    assert!(steps[0].fields.contains(&("protocol".to_owned(), "pop3".to_owned())));
    assert!(steps[0].fields.contains(&("octets".to_owned(), text.len().to_string())));
}

#[tokio::test]
async fn stls_comes_before_the_password_and_forgets_what_came_with_it() {
    let server = server().await;
    server.mailbox.deliver(BOB, "INBOX", "Subject: one\r\n\r\n").await;
    let mut client = server.connect().await;
    client.line().await;
    assert!(client.say("USER bob@beta.test").await.starts_with("-ERR say STLS first"));
    client.send("STLS\r\nDELE 1\r\nQUIT\r\n").await;
    assert_eq!(client.line().await, "+OK start TLS");
    let mut client = server.start_tls(client).await;
    assert_eq!(client.say("DELE 1").await, "-ERR log in first");
    assert!(client.say("AUTH PLAIN AGJvYkBiZXRhLnRlc3QAc2VjcmV0").await.starts_with("+OK 1 message"));
    let started = server.logins.started.lock().unwrap();
    assert_eq!(started.len(), 1);
    assert_eq!((started[0].service, started[0].remote_ip.to_string()), ("pop3", "127.0.0.1".to_owned()));
}

#[tokio::test]
async fn on_loopback_a_password_may_go_in_the_clear_if_the_operator_says_so() {
    let allow = |config: &mut Config| {
        config.mra.allow_plaintext_auth = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let server = TestServer::start(Protocol::Pop3, allow).await;
    let mut client = server.connect().await;
    client.line().await;
    assert!(client.say("USER bob@beta.test").await.starts_with("+OK"));
    assert!(client.say("PASS secret").await.starts_with("+OK 0 messages"));
}

#[tokio::test]
async fn every_mechanism_is_carried_to_the_directory() {
    let server = server().await;
    for talk in [
        &[("AUTH PLAIN", "+ "), ("AGJvYkBiZXRhLnRlc3QAc2VjcmV0", "+OK 0 messages (0 octets)")][..],
        &[
            ("AUTH LOGIN", "+ VXNlcm5hbWU6"),
            ("Ym9iQGJldGEudGVzdA==", "+ UGFzc3dvcmQ6"),
            ("c2VjcmV0", "+OK 0 messages (0 octets)"),
        ][..],
        &[
            ("AUTH SCRAM-SHA-256 Zmlyc3Q=", "+ Y2hhbGxlbmdl"),
            ("cHJvb2Y=", "+ dj1wcm92ZWQ="),
            ("", "+OK 0 messages (0 octets)"),
        ][..],
        &[("AUTH PLAIN AGJvYkBiZXRhLnRlc3QAd3Jvbmc=", "-ERR [AUTH] user name or password is wrong")][..],
    ] {
        let mut client = server.connect_tls().await;
        client.line().await;
        for (said, answer) in talk {
            assert_eq!(client.say(said).await, *answer, "{said:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_deletes_nothing() {
    let server = server().await;
    let uid = server.mailbox.deliver(BOB, "INBOX", "Subject: one\r\n\r\n").await;
    let mut client = bob(&server).await;
    assert!(client.say("DELE 1").await.starts_with("+OK"));
    drop(client);
    server.drain.stop();
    assert_eq!(server.drain.finish().await, 0);
    assert_eq!(left(&server).await, [uid]);
}

#[tokio::test]
async fn a_mailbox_that_does_not_delete_is_said_and_nothing_is_gone() {
    let server = server().await;
    let uid = server.mailbox.deliver(BOB, "INBOX", "Subject: one\r\n\r\n").await;
    let mut client = bob(&server).await;
    assert!(client.say("DELE 1").await.starts_with("+OK"));
    server.mailbox.is_read_only.store(true, Ordering::Relaxed);
    assert!(client.say("QUIT").await.starts_with("-ERR [SYS/TEMP]"));
    assert_eq!(left(&server).await, [uid]);
}

#[tokio::test]
async fn what_others_did_meanwhile_is_met_message_by_message() {
    let server = server().await;
    let mut uids = Vec::new();
    for text in ["Subject: gone\r\n\r\n", "Subject: damaged\r\n\r\n", "Subject: well\r\n\r\nbody\r\n"] {
        uids.push(server.mailbox.deliver(BOB, "INBOX", text).await);
    }
    let mut client = bob(&server).await;
    let mut other = bob(&server).await;
    assert!(other.say("DELE 1").await.starts_with("+OK"));
    assert!(other.say("QUIT").await.starts_with("+OK"));
    server.mailbox.damaged.lock().unwrap().push(uids[1]);
    server.mailbox.deliver(BOB, "INBOX", "Subject: new\r\n\r\n").await;

    assert_eq!(client.say("RETR 1").await, "-ERR message 1 was deleted by another session");
    assert_eq!(client.say("RETR 2").await, "-ERR [SYS/PERM] message 2 can't be read");
    assert_eq!(client.say("RETR 3").await, "+OK 23 octets");
    assert_eq!(lines(&mut client).await, ["Subject: well", "", "body"]);
    assert_eq!(client.say("RETR 4").await, "-ERR there is no message 4");
    server.mailbox.is_down.store(true, Ordering::Relaxed);
    assert_eq!(client.say("RETR 3").await, "-ERR [SYS/TEMP] the mailbox does not answer, try later");
    server.mailbox.is_down.store(false, Ordering::Relaxed);
    assert!(client.say("DELE 1").await.starts_with("+OK"));
    assert!(client.say("DELE 3").await.starts_with("+OK"));
    assert_eq!(client.say("QUIT").await, "+OK 2 deleted, good bye");
}

#[tokio::test]
async fn a_message_that_breaks_off_closes_the_connection_without_an_end() {
    let server = server().await;
    let uid = server.mailbox.deliver(BOB, "INBOX", "Subject: long enough for two chunks\r\n\r\n").await;
    let mut client = bob(&server).await;
    server.mailbox.breaking.lock().unwrap().push(uid);
    assert!(client.say("RETR 1").await.starts_with("+OK"));
    let rest = client.rest().await;
    assert!(rest.starts_with("Subject") && !rest.contains("\r\n.\r\n"), "{rest:?}");
}

#[tokio::test]
async fn a_service_that_goes_down_says_so() {
    let server = server().await;
    let uid = server.mailbox.deliver(BOB, "INBOX", "Subject: one\r\n\r\n").await;
    let mut client = bob(&server).await;
    assert!(client.say("DELE 1").await.starts_with("+OK"));
    server.drain.stop();
    assert_eq!(client.rest().await, "-ERR [SYS/TEMP] the server is going down, come back later\r\n");
    assert_eq!(server.drain.finish().await, 0);
    assert_eq!(left(&server).await, [uid]);
}

#[tokio::test]
async fn a_silent_stranger_is_let_go() {
    let hasty = |config: &mut Config| config.mra.login_timeout = Duration::from_millis(100);
    let server = TestServer::start(Protocol::Pop3, hasty).await;
    let mut client = server.connect_tls().await;
    client.line().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn one_too_many_is_told_and_the_others_go_on() {
    let narrow = |config: &mut Config| config.mra.connections_per_ip_max = 1;
    let server = TestServer::start(Protocol::Pop3, narrow).await;
    let mut first = server.connect().await;
    first.line().await;
    let mut second = server.connect().await;
    assert_eq!(second.rest().await, "-ERR [SYS/TEMP] too many connections, come back later\r\n");
    assert!(first.say("CAPA").await.starts_with("+OK"));
}
