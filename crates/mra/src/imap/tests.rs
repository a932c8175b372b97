//! IMAP over loopback sockets, with a mailbox in memory.

use std::sync::atomic::Ordering;
use std::time::Duration;

use postroad_config::Config;
use postroad_service::tracelog::Query;
use postroad_types::{AccountId, TraceId};

use crate::conn::Protocol;
use crate::mailbox::MailboxClient;
use crate::testing::{Client, FakeLogins, TestServer};

const BOB: AccountId = FakeLogins::ACCOUNT;

const PLAIN: &str =
    "From: Alice <alice@alpha.test>\r\nTo: bob@beta.test\r\nSubject: one\r\n\r\nfirst\r\nlast\r\n";

const MIXED: &str = "Subject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n\
    Content-Type: application/x; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n";

async fn server() -> TestServer {
    TestServer::start(Protocol::Imap, |_| {}).await
}

/// Over TLS, logged in.
async fn bob(server: &TestServer) -> Client {
    let mut client = server.connect_tls().await;
    assert!(client.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
    assert!(client.say("l LOGIN bob@beta.test secret").await.starts_with("l OK [CAPABILITY "));
    client
}

/// With a mailbox selected.
async fn bob_in(server: &TestServer, mailbox: &str) -> Client {
    let mut client = bob(server).await;
    let said = talk(&mut client, &format!("SELECT {mailbox}")).await;
    assert!(said.last().unwrap().starts_with("t OK [READ-WRITE]"), "{said:?}");
    client
}

/// Says a command; all lines up to its tagged answer.
async fn talk(client: &mut Client, command: &str) -> Vec<String> {
    client.send(&format!("t {command}\r\n")).await;
    answer(client).await
}

async fn answer(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        lines.push(client.line().await);
        if lines.last().is_some_and(|line| line.starts_with("t ")) {
            return lines;
        }
    }
}

#[tokio::test]
async fn a_message_is_found_and_read() {
    let server = server().await;
    let trace = TraceId::random();
    server.mailbox.deliver_traced(BOB, "INBOX", PLAIN, Some(trace)).await;
    let uid = server.mailbox.deliver(BOB, "INBOX", MIXED).await;
    let validity = server.mailbox.folder_status(BOB, "INBOX").await.unwrap().uid_validity;
    let mut client = bob(&server).await;

    let said = talk(&mut client, "SELECT inbox").await;
    assert_eq!(said[0], "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)");
    assert_eq!(said[1..3], ["* 2 EXISTS", "* 2 RECENT"]);
    assert!(said.contains(&format!("* OK [UIDVALIDITY {validity}] uids are valid")), "{said:?}");
    assert!(said.contains(&format!("* OK [UIDNEXT {}] the next uid", uid + 1)), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("* OK [UNSEEN 1]")), "{said:?}");

    let said = talk(&mut client, "FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)").await;
    let size = PLAIN.len();
    assert_eq!(
        said[0],
        format!(
            "* 1 FETCH (FLAGS (\\Recent) INTERNALDATE \"21-Sep-2026 14:13:20 +0000\" RFC822.SIZE {size} \
             ENVELOPE (NIL \"one\" ((\"Alice\" NIL \"alice\" \"alpha.test\")) ((\"Alice\" NIL \"alice\" \
             \"alpha.test\")) ((\"Alice\" NIL \"alice\" \"alpha.test\")) ((NIL NIL \"bob\" \"beta.test\")) NIL NIL \
             NIL NIL))"
        )
    );
    assert_eq!(said.len(), 3);

    let said = talk(&mut client, &format!("UID FETCH {} (BODY[])", uid - 1)).await;
    assert_eq!(said[0], format!("* 1 FETCH (UID {} FLAGS (\\Seen \\Recent) BODY[] {{{size}}}", uid - 1));
    assert_eq!(said[1..said.len() - 2].join("\r\n") + "\r\n", PLAIN);
    assert_eq!(said[said.len() - 2..], [")", "t OK fetched"]);
    let steps = server.traces.find(&Query { trace_id: Some(trace), ..Query::default() }).unwrap();
    assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["fetched"]);

    let said =
        talk(&mut client, "FETCH 2 (BODYSTRUCTURE BODY.PEEK[2.MIME] BODY.PEEK[1]<1.2> BODY.PEEK[3])").await;
    assert!(said[0].starts_with("* 2 FETCH (BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" "), "{said:?}");
    assert!(said[0].ends_with("BODY[2.MIME] {74}"), "{said:?}");
    assert_eq!(said[4], " BODY[1]<1> \"ex\" BODY[3] NIL)");
    let said =
        talk(&mut client, "FETCH 2 (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT]<0.3> FLAGS)").await;
    assert!(said[0].starts_with("* 2 FETCH (FLAGS (\\Recent) BODY[TEXT]<0> \"--b\""), "{said:?}");
}

#[tokio::test]
async fn large_messages_are_passed_through_in_parts() {
    let server = server().await;
    let attachment = "0123456789abcdef".repeat(80_000);
    let message = format!(
        "Subject: big\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n\
         Content-Type: application/x\r\n\r\n{attachment}\r\n--b--\r\n"
    );
    server.mailbox.deliver(BOB, "INBOX", &message).await;
    server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    let mut client = bob_in(&server, "INBOX").await;
    let said = talk(&mut client, "FETCH 1:2 (BODYSTRUCTURE BODY.PEEK[1] BODY.PEEK[2]<16.8>)").await;
    // A small one first; the order is the server's to choose.
    assert!(said[0].starts_with("* 2 FETCH (BODYSTRUCTURE (\"TEXT\" "), "{said:?}");
    let large = said.iter().position(|line| line.starts_with("* 1 FETCH")).unwrap();
    assert!(said[large].ends_with("BODY[1] {4}"), "{said:?}");
    assert_eq!(said[large + 1..large + 3], ["text BODY[2]<16> {8}", "01234567)"]);
    let said =
        talk(&mut client, "FETCH 1 (BODY.PEEK[2] BODY.PEEK[HEADER.FIELDS (subject)] RFC822.HEADER)").await;
    assert_eq!(said[0], format!("* 1 FETCH (BODY[2] {{{}}}", attachment.len()));
    assert!(said[1].starts_with(&attachment) && said[1].contains(" BODY[HEADER.FIELDS (subject)] {16}"));
    let said = talk(&mut client, "FETCH 1 (RFC822 BODY.PEEK[])").await;
    assert_eq!(said.join("\r\n").matches(&attachment).count(), 2);
    let said = talk(&mut client, "FETCH 1 BODY.PEEK[]<9.4>").await;
    assert_eq!(said[..2], ["* 1 FETCH (BODY[]<9> {4}", "big\r)"].map(str::to_owned)[..2].to_vec());
}

#[tokio::test]
async fn flags_are_stored_and_messages_expunged() {
    let server = server().await;
    for _ in 0..4 {
        server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    }
    let mut client = bob_in(&server, "INBOX").await;
    let said = talk(&mut client, "STORE 2:3 +FLAGS (\\Deleted $Junk)").await;
    assert_eq!(
        said,
        [
            "* 2 FETCH (UID 2 FLAGS (\\Deleted $Junk \\Recent))",
            "* 3 FETCH (UID 3 FLAGS (\\Deleted $Junk \\Recent))",
            "t OK stored"
        ]
    );
    assert_eq!(talk(&mut client, "UID STORE 4 FLAGS.SILENT \\Seen").await, ["t OK stored"]);
    assert_eq!(
        talk(&mut client, "STORE 1 -FLAGS \\Seen").await,
        ["* 1 FETCH (UID 1 FLAGS (\\Recent))", "t OK stored"]
    );
    assert_eq!(talk(&mut client, "UID EXPUNGE 3:9").await, ["* 3 EXPUNGE", "t OK expunged"]);
    assert_eq!(talk(&mut client, "SEARCH DELETED").await, ["* SEARCH 2", "t OK that is what was found"]);
    assert_eq!(talk(&mut client, "CLOSE").await, ["t OK mailbox closed"]);
    assert_eq!(server.mailbox.folder_status(BOB, "INBOX").await.unwrap().messages, 2);
    let said = talk(&mut client, "EXAMINE INBOX").await;
    assert!(said.contains(&"* OK [PERMANENTFLAGS ()] flags that are kept".to_owned()), "{said:?}");
    assert!(said.last().unwrap().starts_with("t OK [READ-ONLY]"));
    for command in ["STORE 1 +FLAGS \\Seen", "EXPUNGE", "MOVE 1 INBOX"] {
        assert!(talk(&mut client, command).await[0].starts_with("t NO [READ-ONLY]"), "{command}");
    }
    // Reading does not set \Seen there.
    talk(&mut client, "FETCH 1 BODY[]").await;
    assert_eq!(talk(&mut client, "FETCH 1 FLAGS").await[0], "* 1 FETCH (FLAGS ())");
}

#[tokio::test]
async fn messages_are_copied_moved_and_appended() {
    let server = server().await;
    for _ in 0..3 {
        server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    }
    let mut client = bob_in(&server, "INBOX").await;
    assert!(talk(&mut client, "COPY 1 Kept").await[0].starts_with("t NO [TRYCREATE]"));
    assert!(talk(&mut client, "CREATE Kept").await[0].starts_with("t OK"));
    let validity = server.mailbox.folder_status(BOB, "Kept").await.unwrap().uid_validity;
    let said = talk(&mut client, "COPY 1:2 Kept").await;
    assert_eq!(said, [format!("t OK [COPYUID {validity} 1:2 1:2] copied")]);
    let said = talk(&mut client, "UID MOVE 2:3 Kept").await;
    assert_eq!(
        said,
        [&format!("* OK [COPYUID {validity} 2:3 3:4] moved"), "* 2 EXPUNGE", "* 2 EXPUNGE", "t OK moved"]
    );
    client.send("t APPEND Nowhere {5}\r\n").await;
    assert!(answer(&mut client).await[0].starts_with("t NO [TRYCREATE]"));
    client.send("t APPEND INBOX (\\Seen) \"01-Feb-2024 10:00:00 +0100\" {17}\r\n").await;
    assert!(client.line().await.starts_with("+ "));
    client.send("Subject: app\r\n\r\nx\r\n").await;
    let said = answer(&mut client).await;
    let inbox = server.mailbox.folder_status(BOB, "INBOX").await.unwrap().uid_validity;
    assert_eq!(said, ["* 2 EXISTS", "* 2 RECENT", &format!("t OK [APPENDUID {inbox} 4] message stored")]);
    let said = talk(&mut client, "FETCH 2 (FLAGS INTERNALDATE BODY.PEEK[TEXT])").await;
    assert_eq!(
        said[0],
        "* 2 FETCH (FLAGS (\\Seen \\Recent) INTERNALDATE \" 1-Feb-2024 09:00:00 +0000\" BODY[TEXT] \"x\")"
    );
}

#[tokio::test]
async fn an_append_that_breaks_off_stores_nothing() {
    let server = server().await;
    let mut client = bob(&server).await;
    client.send("t APPEND INBOX {100+}\r\nSubject: half\r\n").await;
    drop(client);
    server.drain.stop();
    server.drain.finish().await;
    assert_eq!(server.mailbox.folder_status(BOB, "INBOX").await.unwrap().messages, 0);
}

#[tokio::test]
async fn idle_hears_of_everything_at_once() {
    let server = server().await;
    server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    let mut client = bob_in(&server, "INBOX").await;
    let mut other = bob_in(&server, "INBOX").await;
    assert_eq!(client.say("t IDLE").await, "+ idling");
    server.mailbox.deliver(BOB, "INBOX", MIXED).await;
    assert_eq!(client.line().await, "* 2 EXISTS");
    assert!(client.line().await.ends_with(" RECENT"));
    talk(&mut other, "STORE 1 +FLAGS (\\Deleted)").await;
    assert!(client.line().await.starts_with("* 1 FETCH (UID 1 FLAGS (\\Deleted"));
    talk(&mut other, "EXPUNGE").await;
    assert_eq!(client.line().await, "* 1 EXPUNGE");
    client.send("DONE\r\n").await;
    assert_eq!(client.line().await, "t OK IDLE is done");
}

#[tokio::test]
async fn expunged_messages_keep_their_number_until_it_may_be_told() {
    let server = server().await;
    for _ in 0..3 {
        server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    }
    let mut client = bob_in(&server, "INBOX").await;
    let mut other = bob_in(&server, "INBOX").await;
    talk(&mut other, "STORE 1 +FLAGS.SILENT \\Deleted").await;
    talk(&mut other, "EXPUNGE").await;
    // Neither FETCH nor STORE nor SEARCH shift the numbers (RFC 3501 section 7.4.1).
    let said = talk(&mut client, "FETCH 1:3 (UID BODY.PEEK[TEXT])").await;
    assert!(said.iter().all(|line| !line.contains("EXPUNGE]") || line.starts_with("t NO")), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("* 3 FETCH (UID 3 ")), "{said:?}");
    assert!(said.last().unwrap().starts_with("t NO [EXPUNGEISSUED]"), "{said:?}");
    assert_eq!(talk(&mut client, "SEARCH UID 2").await[0], "* SEARCH 2");
    assert_eq!(talk(&mut client, "NOOP").await, ["* 1 EXPUNGE", "t OK nothing more is new"]);
    assert_eq!(talk(&mut client, "SEARCH UID 2").await[0], "* SEARCH 1");
    assert!(talk(&mut client, "FETCH 3 FLAGS").await[0].starts_with("t BAD there is no message 3"));
    assert_eq!(talk(&mut client, "UID FETCH 1 FLAGS").await, ["t OK no such message, nothing fetched"]);
}

#[tokio::test]
async fn searches_are_answered_in_numbers_and_uids() {
    let server = server().await;
    for text in [PLAIN, MIXED, PLAIN] {
        server.mailbox.deliver(BOB, "INBOX", text).await;
    }
    let mut client = bob_in(&server, "INBOX").await;
    talk(&mut client, "STORE 1 +FLAGS (\\Seen \\Deleted)").await;
    talk(&mut client, "EXPUNGE").await;
    talk(&mut client, "STORE 2 +FLAGS \\Seen").await;
    for (command, found) in [
        ("SEARCH ALL", "* SEARCH 1 2"),
        ("UID SEARCH ALL", "* SEARCH 2 3"),
        ("UID SEARCH UNSEEN", "* SEARCH 2"),
        ("SEARCH NOT 1", "* SEARCH 2"),
        ("SEARCH OR UNSEEN 2", "* SEARCH 1 2"),
        ("SEARCH SUBJECT two", "* SEARCH 1"),
        ("UID SEARCH CHARSET UTF-8 FROM alice SEEN", "* SEARCH 3"),
        ("SEARCH KEYWORD none", "* SEARCH"),
        ("SEARCH NEW", "* SEARCH 1"),
        ("SEARCH RETURN (MIN MAX COUNT) ALL", "* ESEARCH (TAG \"t\") MIN 1 MAX 2 COUNT 2"),
        ("UID SEARCH RETURN () ALL", "* ESEARCH (TAG \"t\") UID ALL 2:3"),
    ] {
        assert_eq!(talk(&mut client, command).await[0], found, "{command}");
    }
    assert!(talk(&mut client, "SEARCH 7").await[0].starts_with("t BAD there is no message 7"));
}

#[tokio::test]
async fn folders_are_made_listed_and_removed() {
    let server = server().await;
    let mut client = bob(&server).await;
    for command in ["CREATE Archive/2024", "CREATE Entw&APw-rfe", "SUBSCRIBE Archive/2024"] {
        let said = talk(&mut client, command).await;
        assert!(said[0].starts_with("t OK"), "{command} {said:?}");
    }
    assert!(talk(&mut client, "CREATE Archive/2024").await[0].starts_with("t NO [ALREADYEXISTS]"));
    assert!(talk(&mut client, "DELETE INBOX").await[0].starts_with("t NO [CANNOT]"));
    assert!(talk(&mut client, "SELECT Nowhere").await[0].starts_with("t NO [NONEXISTENT]"));
    let said = talk(&mut client, "LIST \"\" *").await;
    assert!(said[0].starts_with("* LIST (\\HasNoChildren) \"/\" INBOX"), "{said:?}");
    assert!(said.contains(&"* LIST (\\HasNoChildren) \"/\" Archive/2024".to_owned()), "{said:?}");
    assert!(said.contains(&"* LIST (\\HasNoChildren) \"/\" Entw&APw-rfe".to_owned()), "{said:?}");
    let said = talk(&mut client, "LSUB \"\" *").await;
    assert!(said.contains(&"* LSUB () \"/\" Archive/2024".to_owned()), "{said:?}");
    assert_eq!(talk(&mut client, "LIST \"\" \"\"").await[0], "* LIST (\\Noselect) \"/\" \"\"");
    server.mailbox.deliver(BOB, "Archive/2024", PLAIN).await;
    let said =
        talk(&mut client, "LIST \"\" Archive/% RETURN (STATUS (MESSAGES UNSEEN SIZE) SUBSCRIBED)").await;
    assert_eq!(
        said[..2],
        [
            "* LIST (\\HasNoChildren \\Subscribed) \"/\" Archive/2024".to_owned(),
            format!("* STATUS Archive/2024 (MESSAGES 1 UNSEEN 1 SIZE {})", PLAIN.len())
        ]
    );
    let said = talk(&mut client, "STATUS Archive/2024 (UIDNEXT RECENT)").await;
    assert_eq!(said[0], "* STATUS Archive/2024 (UIDNEXT 2 RECENT 1)");
    // The open mailbox goes on under its new name.
    talk(&mut client, "SELECT Archive/2024").await;
    assert!(talk(&mut client, "RENAME Archive Old").await[0].starts_with("t OK"));
    assert!(talk(&mut client, "FETCH 1 BODY.PEEK[TEXT]").await[0].starts_with("* 1 FETCH (BODY[TEXT] "));
    assert!(talk(&mut client, "DELETE Old/2024").await[0].starts_with("t OK"));
    // And the one that was removed ends the session.
    client.send("t NOOP\r\n").await;
    assert!(client.rest().await.starts_with("* BYE the mailbox was removed"));
}

#[tokio::test]
async fn condstore_tells_mod_seqs_and_keeps_what_others_changed() {
    let server = server().await;
    server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    let mut client = bob(&server).await;
    assert_eq!(talk(&mut client, "ENABLE CONDSTORE X").await[0], "* ENABLED CONDSTORE");
    let said = talk(&mut client, "SELECT INBOX (CONDSTORE)").await;
    let highest: u64 = said
        .iter()
        .find_map(|line| line.strip_prefix("* OK [HIGHESTMODSEQ ")?.split(']').next()?.parse().ok())
        .unwrap();
    let mut other = bob_in(&server, "INBOX").await;
    talk(&mut other, "STORE 1 +FLAGS \\Flagged").await;
    let said =
        talk(&mut client, &format!("STORE 1:2 (UNCHANGEDSINCE {highest}) +FLAGS.SILENT (\\Seen)")).await;
    assert!(said.last().unwrap().starts_with("t OK [MODIFIED 1]"), "{said:?}");
    assert!(
        said.iter().any(|line| line.starts_with("* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent) MODSEQ (")),
        "{said:?}"
    );
    let said = talk(&mut client, "STORE 1:2 (UNCHANGEDSINCE 0) +FLAGS (\\Draft)").await;
    assert!(said[0].starts_with("t OK [MODIFIED 1:2]"), "{said:?}");
    let said = talk(&mut client, &format!("FETCH 1:2 (FLAGS) (CHANGEDSINCE {highest})")).await;
    assert_eq!(said.len(), 3, "{said:?}");
    let said = talk(&mut client, &format!("SEARCH MODSEQ {}", highest + 100)).await;
    assert_eq!(said[0], "* SEARCH");
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_the_rest_is_sent() {
    let server = server().await;
    let first = server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
    server.mailbox.damaged.lock().unwrap().push(first);
    let mut client = bob_in(&server, "INBOX").await;
    for items in ["BODY.PEEK[]", "ENVELOPE", "BODYSTRUCTURE"] {
        let said = talk(&mut client, &format!("FETCH 1:2 {items}")).await;
        assert!(said[0].starts_with("* 2 FETCH ("), "{said:?}");
        assert!(
            said.last().unwrap().starts_with("t NO [SERVERBUG] 1 of the messages can't be read"),
            "{said:?}"
        );
    }
    server.mailbox.is_down.store(true, Ordering::Relaxed);
    for command in
        ["FETCH 2 ENVELOPE", "STORE 1 +FLAGS x", "SELECT INBOX", "LIST \"\" *", "STATUS INBOX (UNSEEN)"]
    {
        let said = talk(&mut client, command).await;
        assert!(said.last().unwrap().starts_with("t NO [UNAVAILABLE]"), "{command} {said:?}");
    }
    server.mailbox.is_down.store(false, Ordering::Relaxed);
    assert!(talk(&mut client, "SELECT INBOX").await.last().unwrap().starts_with("t OK"));
    // Inside a literal nothing can be said any more: the connection ends.
    server.mailbox.breaking.lock().unwrap().push(2);
    client.send("t FETCH 2 BODY.PEEK[]\r\n").await;
    let rest = client.rest().await;
    assert!(!rest.contains("t OK") && !rest.contains("t NO"), "{rest}");
}

#[tokio::test]
async fn logins_and_tls() {
    let server = server().await;
    let mut client = server.connect().await;
    assert!(client.line().await.contains("STARTTLS LOGINDISABLED"));
    assert!(client.say("a LOGIN bob@beta.test secret").await.starts_with("a NO [PRIVACYREQUIRED]"));
    client.send("b STARTTLS\r\nc LOGIN bob@beta.test secret\r\n").await;
    assert!(client.line().await.starts_with("b OK"));
    let mut client = server.start_tls(client).await;
    assert!(client.say("d LOGIN bob@beta.test wrong").await.starts_with("d NO [AUTHENTICATIONFAILED]"));
    for (said, heard) in [
        ("e AUTHENTICATE SCRAM-SHA-256 Zmlyc3Q=", "+ Y2hhbGxlbmdl"),
        ("cHJvb2Y=", "+ dj1wcm92ZWQ="),
        ("", "e OK [CAPABILITY IMAP4rev1 "),
    ] {
        assert!(client.say(said).await.starts_with(heard), "{said}");
    }
    assert_eq!(server.logins.started.lock().unwrap().len(), 2);
    assert!(client.say("f LOGOUT").await.starts_with("* BYE"));
    assert_eq!(client.rest().await, "f OK logged out\r\n");
}

#[tokio::test]
async fn who_says_nothing_is_let_go_and_a_drain_says_bye() {
    let short = |config: &mut Config| config.mra.login_timeout = Duration::from_millis(50);
    let server = TestServer::start(Protocol::Imap, short).await;
    let mut client = server.connect().await;
    client.line().await;
    assert!(client.rest().await.starts_with("* BYE autologout"));
    let mut client = bob_in(&server, "INBOX").await;
    client.say("t IDLE").await;
    server.drain.stop();
    assert!(client.rest().await.starts_with("* BYE [UNAVAILABLE]"));
    assert_eq!(server.drain.finish().await, 0);
}

#[tokio::test]
async fn envelopes_of_ten_thousand_messages_take_one_question() {
    let server = server().await;
    for _ in 0..10_000 {
        server.mailbox.deliver(BOB, "INBOX", "Subject: x\r\n\r\n").await;
    }
    let mut client = bob_in(&server, "INBOX").await;
    let said = talk(&mut client, "FETCH 1:* (UID FLAGS ENVELOPE)").await;
    assert_eq!(said.len(), 10_001);
    assert!(said[9_999].starts_with("* 10000 FETCH (UID 10000 FLAGS (\\Recent) ENVELOPE (NIL \"x\" "));
}

/// A mail program that keeps count as RFC 3501 asks of it: the uids by number, `None` where it was not told.
struct Counting {
    client: Client,
    uids: Vec<Option<u32>>,
}

impl Counting {
    async fn talk(&mut self, command: &str) {
        // Numbers may shift only where the RFC allows it (section 7.4.1).
        let keeps_numbers = ["FETCH", "STORE", "SEARCH"].iter().any(|name| command.starts_with(name));
        let said = talk(&mut self.client, command).await;
        let last = said.last().unwrap();
        assert!(last.starts_with("t OK") || last.starts_with("t NO [EXPUNGEISSUED]"), "{command}: {said:?}");
        for line in &said {
            let words: Vec<&str> = line.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
            match words[..] {
                ["*", count, "EXISTS"] => {
                    let count: usize = count.parse().unwrap();
                    assert!(count >= self.uids.len(), "{command}: {said:?}");
                    self.uids.resize(count, None);
                }
                ["*", number, "EXPUNGE"] => {
                    assert!(!keeps_numbers, "{command}: {said:?}");
                    self.uids.remove(number.parse::<usize>().unwrap() - 1);
                }
                ["*", number, "FETCH", "UID", uid, ..] => {
                    let slot = &mut self.uids[number.parse::<usize>().unwrap() - 1];
                    let uid = uid.parse().unwrap();
                    assert_eq!(*slot.get_or_insert(uid), uid, "{command}: {said:?}");
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn sessions_that_change_one_mailbox_count_the_same() {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    for seed in 0..8 {
        let server = server().await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(Counting { client: bob_in(&server, "INBOX").await, uids: Vec::new() });
        }
        let mut chance = SmallRng::seed_from_u64(seed);
        for _ in 0..150 {
            let which = chance.random_range(0..clients.len());
            let client = &mut clients[which];
            let number = client.uids.len().checked_sub(1).map_or(1, |last| chance.random_range(0..=last) + 1);
            let uid = chance.random_range(1..80);
            let command = match chance.random_range(0..12) {
                0..3 => {
                    server.mailbox.deliver(BOB, "INBOX", PLAIN).await;
                    "NOOP".to_owned()
                }
                _ if client.uids.is_empty() => "NOOP".to_owned(),
                3 | 4 => format!("STORE {number} +FLAGS (\\Deleted)"),
                5 => format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"),
                6 => "EXPUNGE".to_owned(),
                7 => format!("FETCH {number} (UID ENVELOPE)"),
                8 => "FETCH 1:* (UID FLAGS)".to_owned(),
                9 => format!("UID MOVE {uid} INBOX"),
                10 => format!("SEARCH UID {uid}:*"),
                _ => format!("UID FETCH {uid}:* (FLAGS)"),
            };
            client.talk(&command).await;
        }
        let folder = server.mailbox.open_folder(BOB, "INBOX", false).await.unwrap();
        let uids: Vec<Option<u32>> = folder.messages.iter().map(|message| Some(message.uid)).collect();
        for client in &mut clients {
            client.talk("NOOP").await;
            client.talk("UID FETCH 1:* (FLAGS)").await;
            assert_eq!(client.uids, uids, "seed {seed}");
        }
    }
}
