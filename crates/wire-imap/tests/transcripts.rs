//! Sessions in the style of RFC 3501 §8: what the client says (`C:`), what the server says (`S:`), and what
//! the driver is asked (`A:`), which answers OK unless a line `D:` says otherwise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use postroad_wire_imap::{Ask, Code, Config, Output, Server, Status};
use proptest::prelude::*;

fn config() -> Config {
    Config {
        host: "imap.beta.test".to_owned(),
        append_octets_max: 1000,
        starttls: true,
        plaintext_login: false,
        mechanisms: vec!["SCRAM-SHA-256".to_owned(), "PLAIN".to_owned(), "LOGIN".to_owned()],
    }
}

/// A driver without a mailbox: it writes down what it is asked.
struct Scene {
    server: Server,
    log: Vec<String>,
}

impl Scene {
    fn new(tls: bool) -> Self {
        let mut scene = Scene { server: Server::new(config(), tls), log: Vec::new() };
        scene.drive();
        scene
    }

    fn say(&mut self, octets: impl AsRef<[u8]>) {
        self.server.receive(octets.as_ref());
        self.drive();
    }

    /// What was logged since.
    fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn write(&mut self, text: &str) {
        match self.log.last_mut().filter(|last| last.starts_with("S: ")) {
            Some(last) => last.push_str(text),
            None => self.log.push(format!("S: {text}")),
        }
    }

    fn drive(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Write(octets) => self.write(&String::from_utf8_lossy(&octets)),
                Output::StartTls => {
                    self.log.push("TLS".to_owned());
                    self.server.tls_started();
                }
                Output::Ask(ask) => self.answer(ask),
                Output::SaslResponse(octets) => {
                    self.log.push(format!("A: response {}", String::from_utf8_lossy(&octets.0)));
                    self.server.authenticated(Some(b"v=ok"));
                }
                Output::AppendChunk(octets) => {
                    let text = String::from_utf8_lossy(&octets).into_owned();
                    match self.log.last_mut().filter(|last| last.starts_with("A: octets ")) {
                        Some(last) => last.push_str(&text),
                        None => self.log.push(format!("A: octets {text}")),
                    }
                }
                Output::AppendEnd => {
                    self.log.push("A: whole".to_owned());
                    self.server
                        .finish(Status::ok("stored").with(Code::AppendUid { uid_validity: 9, uid: 3 }));
                }
                Output::IdleDone => self.server.finish(Status::ok("idle done")),
                other => self.log.push(format!("{other:?}")),
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        self.log.push(format!("A: {ask:?}"));
        match ask {
            Ask::Login(login) if login.password == b"secret" => self.server.authenticated(None),
            Ask::Login(_) => {
                self.server.finish(Status::no("wrong").with(Code::AuthenticationFailed));
            }
            Ask::Authenticate(_) => self.server.challenge(b"r=1"),
            Ask::Select(select) if select.mailbox == "none" => {
                self.server.finish(Status::no("no such mailbox"))
            }
            Ask::Select(_) => {
                self.server.selected();
                self.server.finish(Status::ok("selected").with(Code::ReadWrite));
            }
            Ask::Append(append) if append.mailbox == "full" => {
                self.server.finish(Status::no("full").with(Code::OverQuota));
            }
            Ask::Append(_) => self.server.append_accept(),
            Ask::Idle => {}
            _ => self.server.finish(Status::ok("done")),
        }
    }
}

fn logged_in() -> Scene {
    let mut scene = Scene::new(true);
    scene.say("a LOGIN bob secret\r\n");
    scene.heard();
    scene
}

fn selected() -> Scene {
    let mut scene = logged_in();
    scene.say("a SELECT INBOX\r\n");
    scene.heard();
    scene
}

#[test]
fn no_password_before_tls() {
    let mut scene = Scene::new(false);
    assert_eq!(
        scene.heard(),
        ["S: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED] \
          imap.beta.test IMAP4rev1 ready\r\n"]
    );
    scene.say("1 LOGIN bob secret\r\n2 AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n");
    let heard = scene.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(
        heard[0].starts_with("S: 1 NO [PRIVACYREQUIRED]") && heard[0].contains("\r\n2 NO [PRIVACYREQUIRED]")
    );
    // What stands behind STARTTLS in the clear is not carried into TLS.
    scene.say("3 STARTTLS\r\n4 LOGIN eve secret\r\n");
    assert_eq!(scene.heard(), ["S: 3 OK begin TLS now\r\n", "TLS"]);
    scene.say("5 CAPABILITY\r\n6 STARTTLS\r\n");
    let heard = scene.heard();
    assert!(heard[0].contains("AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN\r\n"), "{heard:?}");
    assert!(heard[0].contains("6 BAD TLS is on already"), "{heard:?}");
}

#[test]
fn a_scram_exchange_is_relayed() {
    let mut scene = Scene::new(true);
    scene.heard();
    scene.say("a AUTHENTICATE SCRAM-SHA-256 =\r\n");
    scene.say("Yz1iaXdz\r\n");
    scene.say("\r\n");
    let heard = scene.heard();
    assert_eq!(
        heard[..3],
        [
            "A: Authenticate(Authenticate { mechanism: \"SCRAM-SHA-256\", initial: Some(\"(hidden)\") })",
            "S: + cj0x\r\n",
            "A: response c=biws",
        ]
    );
    assert!(heard[3].starts_with("S: + dj1vaw==\r\na OK [CAPABILITY IMAP4rev1 "), "{heard:?}");
    let mut scene = Scene::new(true);
    scene.heard();
    scene.say("a AUTHENTICATE PLAIN\r\n*\r\n");
    assert_eq!(scene.heard()[1..], ["S: + cj0x\r\n", "SaslCancelled", "S: a BAD cancelled\r\n"]);
}

#[test]
fn passwords_are_not_in_debug_output() {
    let mut scene = Scene::new(true);
    scene.say("a LOGIN {3}\r\nbob {6+}\r\nsecret\r\n");
    let heard = scene.heard();
    assert!(heard.iter().any(|line| line.starts_with("A: Login(Login { user: \"bob\"")), "{heard:?}");
    assert!(!heard.concat().contains("secret"));
}

#[test]
fn states_are_kept_apart() {
    let mut scene = Scene::new(true);
    scene.heard();
    scene.say("1 SELECT INBOX\r\n2 FETCH 1 FLAGS\r\n3 NOOP\r\n");
    let text = scene.heard().concat();
    assert!(text.contains("1 BAD SELECT is not allowed: log in first\r\n2 BAD FETCH"), "{text}");
    assert!(text.contains("3 OK"));
    scene.say("4 LOGIN bob secret\r\n5 LOGIN bob secret\r\n6 FETCH 1 FLAGS\r\n");
    let text = scene.heard().concat();
    assert!(text.contains("5 BAD LOGIN is not allowed any more"), "{text}");
    assert!(text.contains("6 BAD FETCH is not allowed: select a mailbox first"), "{text}");
    // A SELECT that fails leaves no mailbox selected (RFC 3501 section 6.3.1).
    scene.say("7 SELECT INBOX\r\n8 CHECK\r\n9 SELECT none\r\n10 CHECK\r\n");
    let text = scene.heard().concat();
    assert!(text.contains("8 OK done\r\n") && text.contains("10 BAD CHECK is not allowed"), "{text}");
    scene.say("11 SELECT INBOX\r\n12 CLOSE\r\n13 CHECK\r\n14 LOGOUT\r\n15 NOOP\r\n");
    let text = scene.heard().concat();
    assert!(text.contains("13 BAD CHECK"), "{text}");
    assert!(text.ends_with("* BYE see you\r\n14 OK logged out\r\nClose"), "{text}");
}

#[test]
fn wrong_input_gets_a_clear_answer() {
    let mut scene = logged_in();
    for (line, answer) in [
        ("\r\n", "* BAD an empty line is no command\r\n"),
        ("noop\r\n", "* BAD expected a tag, a space and a command\r\n"),
        ("+ NOOP\r\n", "* BAD expected a tag, a space and a command\r\n"),
        ("a FROB\r\n", "a BAD unknown command\r\n"),
        ("a NOOP \r\n", "a BAD NOOP: too many arguments, or a space at the end\r\n"),
        ("a SELECT\r\n", "a BAD SELECT: expected a space and a further argument\r\n"),
        ("a SELECT \"x\r\n", "a BAD SELECT: a quoted string has no closing quote\r\n"),
        ("a DELETE x\0y\r\n", "a BAD DELETE: unexpected characters behind the arguments\r\n"),
        ("a DELETE {3+}\r\na\0b\r\n", "a BAD DELETE: a literal holds NUL\r\n"),
        (
            "a DELETE &x\r\n",
            "a NO [CANNOT] the mailbox name is not valid modified UTF-7 (RFC 3501 section 5.1.3)\r\n",
        ),
        ("a APPEND x\r\n", "a BAD expected APPEND mailbox [(flags)] [date-time] and a literal\r\n"),
    ] {
        scene.say(line);
        assert_eq!(scene.heard(), [format!("S: {answer}")], "{line:?}");
    }
}

#[test]
fn too_much_is_refused_and_the_session_goes_on() {
    let mut scene = logged_in();
    scene.say(format!("a SELECT {}\r\nb NOOP\r\n", "x".repeat(100_000)));
    assert_eq!(
        scene.heard(),
        ["S: a BAD [TOOBIG] the command is too long\r\n", "A: Noop", "S: b OK done\r\n"]
    );
    // A client that waits for `+` sends no literal; one that does not has sent it already.
    scene.say("c DELETE {9999999}\r\nd NOOP\r\n");
    scene.say(format!("e DELETE {{70000+}}\r\n{}\r\nf NOOP\r\n", "x".repeat(70_000)));
    assert_eq!(
        scene.heard(),
        [
            "S: c BAD [TOOBIG] a literal here may have 65536 octets\r\n",
            "A: Noop",
            "S: d OK done\r\ne BAD [TOOBIG] a literal here may have 65536 octets\r\n",
            "A: Noop",
            "S: f OK done\r\n"
        ]
    );
    // The literal that ends an over-long line is passed over with it.
    scene.say(format!("g SELECT {} {{6+}}\r\nx NOOP\r\nh NOOP\r\n", "x".repeat(100_000)));
    assert_eq!(scene.heard().concat().matches("A: Noop").count(), 1);
    scene.say("i DELETE {99999999999999999999+}\r\n");
    assert_eq!(
        scene.heard(),
        [
            "S: i BAD [TOOBIG] a literal here may have 65536 octets\r\n\
             * BYE what was sent is too much to be passed over\r\n",
            "Close"
        ]
    );
}

#[test]
fn twenty_wrong_commands_in_a_row_end_the_session() {
    let mut scene = logged_in();
    scene.say("a FROB\r\n".repeat(19));
    scene.say("a NOOP\r\n");
    scene.say("a FROB\r\n".repeat(30));
    let heard = scene.heard().concat();
    assert_eq!(heard.matches("a BAD").count(), 39);
    assert!(heard.ends_with("* BYE too many wrong commands\r\nClose"), "{heard}");
}

#[test]
fn append_streams_its_message() {
    let mut scene = logged_in();
    scene.say("a APPEND \"Sent\" (\\Seen $x) \"17-Jul-1996 02:44:25 -0700\" {11}\r\n");
    let heard = scene.heard();
    assert!(
        heard[0].starts_with("A: Append(Append { mailbox: \"Sent\", flags: [Seen, Keyword(\"$x\")]"),
        "{heard:?}"
    );
    assert_eq!(heard[1], "S: + send the message\r\n");
    scene.say("A: b\r\n");
    scene.say("\r\nxyz\r\nb NOOP\r\n");
    assert_eq!(
        scene.heard(),
        [
            "A: octets A: b\r\n\r\nxyz",
            "A: whole",
            "S: a OK [APPENDUID 9 3] stored\r\n",
            "A: Noop",
            "S: b OK done\r\n"
        ]
    );
    // The mailbox's name as a literal, the message without waiting.
    scene.say("c APPEND {4+}\r\nSent {3+}\r\nabc\r\n");
    assert_eq!(scene.heard()[1..], ["A: octets abc", "A: whole", "S: c OK [APPENDUID 9 3] stored\r\n"]);
}

#[test]
fn append_is_refused_at_every_point() {
    let mut scene = logged_in();
    // Before the message is sent, and when it has been sent already.
    scene.say("a APPEND full {3}\r\nb APPEND full {3+}\r\nabc\r\nc NOOP\r\n");
    assert_eq!(scene.heard().concat().matches("NO [OVERQUOTA] full\r\n").count(), 2);
    scene.say("d APPEND x {1001}\r\ne APPEND x {0}\r\nf APPEND x {5}\r\nhello {3+}\r\nabc\r\ng NOOP\r\n");
    let heard = scene.heard();
    assert_eq!(
        heard,
        [
            "S: d NO [TOOBIG] the message is larger than 1000 octets\r\ne NO the message is empty\r\n",
            "A: Append(Append { mailbox: \"x\", flags: [], date: None, size: 5 })",
            "S: + send the message\r\n",
            "A: octets hello",
            "AppendBroken",
            "S: f BAD one message in one APPEND\r\n",
            "A: Noop",
            "S: g OK done\r\n"
        ]
    );
    scene.say("h APPEND x {5}\r\nhel");
    scene.server.receive_eof();
    scene.drive();
    assert_eq!(scene.heard()[2..], ["A: octets hel", "AppendBroken", "Close"]);
}

#[test]
fn idle_ends_with_done() {
    let mut scene = selected();
    scene.say("a IDLE\r\n");
    scene.say("done\r\n");
    assert_eq!(scene.heard(), ["S: + idling\r\n", "A: Idle", "S: a OK idle done\r\n"]);
    scene.say("a IDLE\r\n");
    scene.server.shut_down();
    scene.drive();
    assert_eq!(
        scene.heard()[2..],
        ["S: * BYE [UNAVAILABLE] the server is shutting down, come back soon\r\n", "Close"]
    );
}

#[test]
fn commands_are_read_into_words() {
    let mut scene = selected();
    for (line, asked) in [
        ("FETCH 2:4,7,9:* (UID BODY.PEEK[1.2.HEADER.FIELDS (From \"X\")]<0.10> RFC822.SIZE)", "Fetch"),
        ("UID STORE 1:* (UNCHANGEDSINCE 12) -FLAGS.SILENT (\\Deleted kw)", "Store"),
        (
            "SEARCH RETURN (MIN COUNT) CHARSET utf-8 OR (FROM x NOT SEEN) SINCE 1-Feb-1994 HEADER {1+}\r\nA \"\" 1:5",
            "Search",
        ),
        (
            "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% Entw&APw-rfe/*) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))",
            "List",
        ),
        ("UID MOVE 5 inbox", "Move"),
        ("STATUS \"a b\" (MESSAGES HIGHESTMODSEQ)", "Status"),
        ("CREATE Sent/ (USE (\\sent))", "Create"),
        ("UID EXPUNGE 3:5", "Expunge"),
        ("GETQUOTAROOT INBOX", "GetQuotaRoot"),
    ] {
        scene.say(format!("a {line}\r\n"));
        let heard = scene.heard();
        assert!(heard[0].starts_with(&format!("A: {asked}(")), "{line}: {heard:?}");
    }
    for line in [
        "FETCH 0 FLAGS",
        "FETCH 1 (FLAGS",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[]<0.0>",
        "FETCH 1 BODY.PEEK",
        "FETCH 1,2, FLAGS",
        "STORE 1 FLAGS",
        "STORE 1 +-FLAGS (x)",
        "STORE 1 FLAGS (\\Frob)",
        "SEARCH",
        "SEARCH SINCE yesterday",
        "SEARCH ALL)",
        "UID NOOP",
        "LIST (RECURSIVEMATCH) \"\" *",
        "STATUS x ()",
    ] {
        scene.say(format!("a {line}\r\na NOOP\r\n"));
        let heard = scene.heard();
        assert!(heard[0].starts_with("S: a BAD"), "{line}: {heard:?}");
    }
    scene.say(format!("a SEARCH {}ALL{}\r\n", "(".repeat(40), ")".repeat(40)));
    assert!(scene.heard()[0].starts_with("S: a NO [LIMIT]"));
    scene.say("a SEARCH CHARSET koi8-r ALL\r\n");
    assert!(scene.heard()[0].starts_with("S: a NO [BADCHARSET (UTF-8 US-ASCII)]"));
}

#[test]
fn many_commands_at_once_do_not_nest() {
    let mut scene = Scene::new(true);
    scene.say("a NOOP\r\n".repeat(20_000));
    assert_eq!(scene.heard().concat().matches("a OK").count(), 20_000);
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("a LOGIN bob secret\r\n".to_owned()),
        Just("a LOGIN {3}\r\nbob {6+}\r\nsecret\r\n".to_owned()),
        Just("b SELECT INBOX\r\n".to_owned()),
        Just("c APPEND x (\\Seen) {5}\r\nhello\r\n".to_owned()),
        Just("d APPEND {1+}\r\nx {3+}\r\nabc\r\n".to_owned()),
        Just("d APPEND full {3+}\r\nabc\r\n".to_owned()),
        Just("e APPEND x {3+}\r\nabcd\r\n".to_owned()),
        Just("f IDLE\r\n".to_owned()),
        Just("DONE\r\n".to_owned()),
        Just("g AUTHENTICATE PLAIN\r\n".to_owned()),
        Just("YQ==\r\n".to_owned()),
        Just("h DELETE {70000+}\r\n".to_owned()),
        Just("i FETCH 1 (FLAGS BODY[1])\n".to_owned()),
        Just(format!("j SELECT {}\r\n", "x".repeat(66_000))),
        Just("k STARTTLS\r\n".to_owned()),
        "\\PC{0,20}(\r\n)?",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// STARTTLS apart, where what came in one piece with it is dropped, borders of chunks do not matter.
    #[test]
    fn chunk_borders_do_not_matter(input in pieces(), cuts in proptest::collection::vec(0usize..400, 0..60)) {
        let tls = true;
        let mut whole = Scene::new(tls);
        whole.say(&input);
        let mut parts = Scene::new(tls);
        let mut rest = &input[..];
        for cut in cuts {
            let (chunk, behind) = rest.split_at(cut.min(rest.len()));
            parts.say(chunk);
            rest = behind;
        }
        parts.say(rest);
        prop_assert_eq!(parts.heard(), whole.heard());
    }

    #[test]
    fn any_octets_are_taken(input in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut scene = selected();
        scene.say(&input);
        scene.server.receive_eof();
        scene.drive();
        prop_assert!(scene.heard().concat().ends_with("Close"));
    }
}
