//! Conversations, line by line. `C:` the client says, `S:` the server answers, `*` something happens.

use std::time::Duration;

use crate::talk::{Deed, Talk, World, config};
use postroad_wire_pop3::{BodyError, Config, Output, Session};

const MAIL: &[(u32, &str)] =
    &[(3, "Subject: one\r\n\r\nfirst\r\n.dot\r\n"), (8, "Subject: two\r\n\r\nsecond\r\n"), (9, "no body")];

/// Over TLS, with the mail above.
fn over_tls() -> Talk {
    Talk::new(config(), true, World::new(MAIL))
}

/// Plays a transcript and compares it line by line.
fn play(talk: &mut Talk, transcript: &str) {
    let mut got = String::new();
    let tell = |talk: &mut Talk, got: &mut String| {
        for deed in talk.deeds() {
            match deed {
                Deed::Wrote(text) => {
                    assert!(text.ends_with("\r\n"), "half a line: {text:?}");
                    for line in text.split_terminator("\r\n") {
                        got.push_str(&format!("S: {line}\n"));
                    }
                }
                Deed::StartedTls => got.push_str("* TLS\n"),
                Deed::Deleted(uids) => got.push_str(&format!("* deleted {uids:?}\n")),
                Deed::CancelledLogin => got.push_str("* login cancelled\n"),
                Deed::Closed => got.push_str("* closed\n"),
            }
        }
    };
    tell(talk, &mut got);
    let mut wanted = String::new();
    for line in transcript.trim().lines().map(str::trim_start) {
        wanted.push_str(&format!("{line}\n"));
        if let Some(said) = line.strip_prefix("C: ") {
            got.push_str(&format!("{line}\n"));
            talk.send(format!("{said}\r\n").as_bytes());
        } else if line == "* the client is gone" {
            got.push_str(&format!("{line}\n"));
            talk.end();
        }
        tell(talk, &mut got);
    }
    assert_eq!(got, wanted);
}

const LOGIN: &str = "
    S: +OK mx.beta.test POP3 ready
    C: USER bob
    S: +OK and the password?
    C: PASS pass word
    S: +OK 3 messages (60 octets)
";

/// A transcript after login.
fn play_logged_in(world: World, transcript: &str) {
    let mut talk = Talk::new(config(), true, world);
    play(&mut talk, LOGIN);
    play(&mut talk, transcript);
}

#[test]
fn a_whole_session() {
    play_logged_in(
        World::new(MAIL),
        "C: STAT
         S: +OK 3 60
         C: LIST
         S: +OK 3 messages (60 octets)
         S: 1 29
         S: 2 24
         S: 3 7
         S: .
         C: list 2
         S: +OK 2 24
         C: UIDL
         S: +OK unique ids follow
         S: 1 1790000000.3
         S: 2 1790000000.8
         S: 3 1790000000.9
         S: .
         C: UIDL 3
         S: +OK 3 1790000000.9
         C: RETR 1
         S: +OK 29 octets
         S: Subject: one
         S: 
         S: first
         S: ..dot
         S: .
         C: RETR 3
         S: +OK 7 octets
         S: no body
         S: .
         C: TOP 1 1
         S: +OK the top of the message follows
         S: Subject: one
         S: 
         S: first
         S: .
         C: NOOP
         S: +OK still here
         C: QUIT
         S: +OK good bye
         * closed",
    );
}

#[test]
fn deletion_is_made_by_quit() {
    play_logged_in(
        World::new(MAIL),
        "C: DELE 1
         S: +OK message 1 will be deleted by QUIT
         C: DELE 1
         S: -ERR there is no message 1
         C: RETR 1
         S: -ERR there is no message 1
         C: LIST 1
         S: -ERR there is no message 1
         C: STAT
         S: +OK 2 31
         C: LIST
         S: +OK 2 messages (31 octets)
         S: 2 24
         S: 3 7
         S: .
         C: RSET
         S: +OK 3 messages (60 octets)
         C: DELE 2
         S: +OK message 2 will be deleted by QUIT
         C: DELE 3
         S: +OK message 3 will be deleted by QUIT
         C: LIST
         S: +OK 1 message (29 octets)
         S: 1 29
         S: .
         C: QUIT
         * deleted [8, 9]
         S: +OK 2 deleted, good bye
         * closed",
    );
}

#[test]
fn a_lost_connection_deletes_nothing() {
    play_logged_in(
        World::new(MAIL),
        "C: DELE 1
         S: +OK message 1 will be deleted by QUIT
         * the client is gone
         * closed",
    );
}

#[test]
fn a_deletion_that_fails_is_said() {
    let world = World { delete_fails: true, ..World::new(MAIL) };
    play_logged_in(
        world,
        "C: DELE 1
         S: +OK message 1 will be deleted by QUIT
         C: QUIT
         S: -ERR [SYS/TEMP] the messages marked as deleted were not deleted
         * closed",
    );
}

#[test]
fn before_tls_no_password_is_taken() {
    play(
        &mut Talk::new(config(), false, World::new(MAIL)),
        "S: +OK mx.beta.test POP3 ready
         C: CAPA
         S: +OK capabilities follow
         S: TOP
         S: UIDL
         S: RESP-CODES
         S: AUTH-RESP-CODE
         S: PIPELINING
         S: STLS
         S: UTF8 USER
         S: IMPLEMENTATION Postroad
         S: .
         C: USER bob
         S: -ERR say STLS first: no password is taken over a connection without TLS
         C: AUTH PLAIN AGJvYgBwYXNzIHdvcmQ=
         S: -ERR say STLS first: no password is taken over a connection without TLS
         C: PASS pass word
         S: -ERR say USER first
         C: STLS
         S: +OK start TLS
         * TLS
         C: CAPA
         S: +OK capabilities follow
         S: TOP
         S: UIDL
         S: RESP-CODES
         S: AUTH-RESP-CODE
         S: PIPELINING
         S: USER
         S: SASL SCRAM-SHA-256 PLAIN LOGIN
         S: UTF8 USER
         S: IMPLEMENTATION Postroad
         S: .
         C: STLS
         S: -ERR TLS is on already
         C: UTF8
         S: +OK UTF-8 it is
         C: AUTH PLAIN AGJvYgBwYXNzIHdvcmQ=
         S: +OK 3 messages (60 octets)
         C: STLS
         S: -ERR you are logged in already",
    );
}

#[test]
fn without_a_certificate_stls_is_not_offered() {
    let config = Config { offers_tls: false, allows_plaintext_auth: true, ..config() };
    play(
        &mut Talk::new(config, false, World::new(&[])),
        "S: +OK mx.beta.test POP3 ready
         C: CAPA
         S: +OK capabilities follow
         S: TOP
         S: UIDL
         S: RESP-CODES
         S: AUTH-RESP-CODE
         S: PIPELINING
         S: USER
         S: SASL SCRAM-SHA-256 PLAIN LOGIN
         S: UTF8 USER
         S: IMPLEMENTATION Postroad
         S: .
         C: STLS
         S: -ERR TLS is not set up here
         C: USER bob
         S: +OK and the password?
         C: PASS pass word
         S: +OK 0 messages (0 octets)
         C: LIST
         S: +OK 0 messages (0 octets)
         S: .
         C: UIDL
         S: +OK unique ids follow
         S: .",
    );
}

#[test]
fn what_stands_behind_stls_is_not_obeyed_after_it() {
    let mut talk = Talk::new(config(), false, World::new(MAIL));
    talk.deeds();
    talk.send(b"STLS\r\nUSER bob\r\nPASS pass word\r\nDELE 1\r\nQUIT\r\n");
    assert_eq!(talk.deeds(), [Deed::Wrote("+OK start TLS\r\n".to_owned()), Deed::StartedTls]);
    play(
        &mut talk,
        "C: PASS pass word
         S: -ERR say USER first",
    );
}

#[test]
fn octets_in_the_clear_during_the_handshake_are_thrown_away() {
    let now = std::time::Instant::now();
    let mut session = Session::new(config(), false, now);
    session.receive(b"STLS\r\n", now);
    while session.poll_output().is_some() {}
    assert!(!session.wants_input());
    session.receive(b"QUIT\r\n", now);
    session.tls_started(now);
    assert_eq!(session.poll_output(), None);
    assert!(session.wants_input());
}

#[test]
fn sasl_with_and_without_an_initial_response() {
    play(
        &mut over_tls(),
        "S: +OK mx.beta.test POP3 ready
         C: AUTH
         S: +OK mechanisms follow
         S: SCRAM-SHA-256
         S: PLAIN
         S: LOGIN
         S: .
         C: AUTH PLAIN
         S: + 
         C: AGJvYgBwYXNzIHdvcmQ=
         S: +OK 3 messages (60 octets)",
    );
}

#[test]
fn scram_says_its_last_word_before_ok() {
    play(
        &mut over_tls(),
        "S: +OK mx.beta.test POP3 ready
         C: auth scram-sha-256 Zmlyc3Q=
         S: + c2FsdA==
         C: cHJvb2Y=
         S: + dj1wcm92ZWQ=
         C: 
         S: +OK 3 messages (60 octets)",
    );
}

#[test]
fn a_scram_client_that_does_not_believe_the_server_is_not_logged_in() {
    play(
        &mut over_tls(),
        "S: +OK mx.beta.test POP3 ready
         C: AUTH SCRAM-SHA-256 Zmlyc3Q=
         S: + c2FsdA==
         C: cHJvb2Y=
         S: + dj1wcm92ZWQ=
         C: *
         * login cancelled
         S: -ERR login cancelled
         C: STAT
         S: -ERR log in first",
    );
}

#[test]
fn sasl_that_goes_wrong() {
    play(
        &mut over_tls(),
        "S: +OK mx.beta.test POP3 ready
         C: AUTH GSSAPI
         S: -ERR this mechanism is not offered, see CAPA
         C: AUTH PLAIN not!base64
         S: -ERR the initial response is not base64
         C: AUTH PLAIN
         S: + 
         C: *
         * login cancelled
         S: -ERR login cancelled
         C: AUTH PLAIN
         S: + 
         C: not!base64
         * login cancelled
         S: -ERR the response is not base64
         C: AUTH PLAIN
         S: + 
         * the client is gone
         * login cancelled
         * closed",
    );
}

#[test]
fn wrong_passwords_and_unknown_users_get_one_answer_and_then_none() {
    play(
        &mut over_tls(),
        "S: +OK mx.beta.test POP3 ready
         C: USER bob
         S: +OK and the password?
         C: PASS wrong
         S: -ERR [AUTH] user name or password is wrong
         C: USER nobody
         S: +OK and the password?
         C: PASS pass word
         S: -ERR [AUTH] user name or password is wrong
         C: AUTH PLAIN PQ==
         S: -ERR the response does not follow the mechanism
         * closed",
    );
}

#[test]
fn a_directory_or_mailbox_that_is_down_is_no_wrong_password() {
    let world = World { directory_is_down: true, ..World::new(MAIL) };
    let mut talk = Talk::new(config(), true, world);
    play(
        &mut talk,
        "S: +OK mx.beta.test POP3 ready
         C: USER bob
         S: +OK and the password?
         C: PASS pass word
         S: -ERR [SYS/TEMP] logins can't be checked now, try later",
    );
    talk.world.directory_is_down = false;
    talk.world.maildrop_is_down = true;
    play(
        &mut talk,
        "C: USER bob
         S: +OK and the password?
         C: PASS pass word
         S: -ERR [SYS/TEMP] the mailbox can't be opened now, try later
         C: STAT
         S: -ERR log in first",
    );
}

#[test]
fn messages_that_can_not_be_had() {
    let world = World {
        lost: vec![(3, BodyError::Gone), (8, BodyError::Damaged), (9, BodyError::Temporary)],
        ..World::new(MAIL)
    };
    play_logged_in(
        world,
        "C: RETR 1
         S: -ERR message 1 was deleted by another session
         C: RETR 2
         S: -ERR [SYS/PERM] message 2 can't be read
         C: TOP 3 0
         S: -ERR [SYS/TEMP] the mailbox does not answer, try later
         C: RETR 4
         S: -ERR there is no message 4
         C: NOOP
         S: +OK still here",
    );
}

#[test]
fn half_a_message_is_never_closed_as_a_whole_one() {
    let world = World { breaks_after_chunks: Some(2), ..World::new(MAIL) };
    let mut talk = Talk::new(config(), true, world);
    play(&mut talk, LOGIN);
    talk.send(b"RETR 1\r\nSTAT\r\n");
    assert_eq!(talk.deeds(), [Deed::Wrote("+OK 29 octets\r\nSubject: o".to_owned()), Deed::Closed]);
}

#[test]
fn wrong_lines_are_answered_and_the_session_goes_on() {
    let mut talk = over_tls();
    play(&mut talk, LOGIN);
    talk.send(&[vec![b'x'; 100_000], b"\r\nNOOP\nNO\0OP\r\n\xff\r\nNOOP\r\n".to_vec()].concat());
    let wanted = "-ERR the line is too long\r\n\
        -ERR a line ends with CR LF, this one has LF alone\r\n\
        -ERR the line has a NUL or a CR in it\r\n\
        -ERR the line is not UTF-8\r\n\
        +OK still here\r\n";
    assert_eq!(talk.deeds(), [Deed::Wrote(wanted.to_owned())]);
}

#[test]
fn commands_in_the_wrong_place() {
    play(
        &mut over_tls(),
        "S: +OK mx.beta.test POP3 ready
         C: STAT
         S: -ERR log in first
         C: XTND XMIT
         S: -ERR unknown command
         C: PASS pass word
         S: -ERR say USER first
         C: NOOP 1
         S: -ERR NOOP takes no argument
         C: QUIT
         S: +OK good bye
         * closed",
    );
}

#[test]
fn who_sends_only_nonsense_is_sent_away() {
    let mut talk = over_tls();
    talk.send("GET / HTTP/1.1\r\n".repeat(50).as_bytes());
    let deeds = talk.deeds();
    let [Deed::Wrote(text), Deed::Closed] = &deeds[..] else { panic!("{deeds:?}") };
    assert_eq!(text.matches("-ERR unknown command").count(), 20);
    assert!(text.ends_with("-ERR too many errors, good bye\r\n"));
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let mut talk = over_tls();
    talk.deeds();
    talk.send(b"USER bob\r\nPASS pass word\r\nSTAT\r\nTOP 2 0\r\nDELE 3\r\nQUIT\r\n");
    let wanted = "+OK and the password?\r\n+OK 3 messages (60 octets)\r\n+OK 3 60\r\n\
        +OK the top of the message follows\r\nSubject: two\r\n\r\n.\r\n\
        +OK message 3 will be deleted by QUIT\r\n";
    assert_eq!(
        talk.deeds(),
        [
            Deed::Wrote(wanted.to_owned()),
            Deed::Deleted(vec![9]),
            Deed::Wrote("+OK 1 deleted, good bye\r\n".to_owned()),
            Deed::Closed
        ]
    );
}

#[test]
fn a_silent_client_is_cut_off_without_a_word_and_nothing_is_deleted() {
    let mut talk = over_tls();
    talk.deeds();
    talk.wait(config().login_timeout - Duration::from_secs(1));
    talk.send(b"USER bob\r\nPASS pass word\r\nDELE 1\r\n");
    talk.deeds();
    talk.wait(Duration::from_secs(599));
    assert_eq!(talk.deeds(), []);
    // Half a command is no sign of life.
    talk.send(b"NOO");
    talk.wait(Duration::from_secs(1));
    assert_eq!(talk.deeds(), [Deed::Closed]);
    assert_eq!(talk.session.deadline(), None);
}

#[test]
fn a_client_that_does_not_log_in_is_cut_off_however_much_it_talks() {
    let mut talk = over_tls();
    talk.wait(config().login_timeout - Duration::from_secs(1));
    talk.send(b"CAPA\r\n");
    talk.deeds();
    talk.wait(Duration::from_secs(1));
    assert_eq!(talk.deeds(), [Deed::Closed]);
}

#[test]
fn a_shutdown_is_said_and_deletes_nothing() {
    let mut talk = over_tls();
    play(&mut talk, LOGIN);
    talk.send(b"DELE 1\r\n");
    talk.deeds();
    talk.session.shutdown();
    talk.settle();
    assert_eq!(
        talk.deeds(),
        [
            Deed::Wrote("-ERR [SYS/TEMP] the server is going down, come back later\r\n".to_owned()),
            Deed::Closed
        ]
    );
}

#[test]
fn a_shutdown_lets_a_message_be_read_to_its_end() {
    let now = std::time::Instant::now();
    let mut session = Session::new(config(), true, now);
    session.receive(b"USER bob\r\nPASS pass word\r\nRETR 1\r\n", now);
    let mut text = Vec::new();
    let drain = |session: &mut Session, text: &mut Vec<u8>| {
        let mut last = None;
        while let Some(output) = session.poll_output() {
            match output {
                Output::Write(octets) => text.extend(octets),
                other => last = Some(other),
            }
        }
        last
    };
    drain(&mut session, &mut text);
    let success = postroad_wire_pop3::SaslAnswer::Success { server_data: None };
    session.answer_sasl(success, now);
    drain(&mut session, &mut text);
    let snapshot = postroad_wire_pop3::Snapshot {
        uid_validity: 1,
        messages: vec![postroad_wire_pop3::Message { uid: 5, size: 6 }],
    };
    session.answer_maildrop(Ok(snapshot), now);
    drain(&mut session, &mut text);
    session.answer_body(Ok(()), now);
    text.clear();
    session.shutdown();
    session.body_chunk(b"abcd\r\n", now);
    assert_eq!(drain(&mut session, &mut text), None);
    session.body_end(now);
    assert_eq!(drain(&mut session, &mut text), Some(Output::Close));
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "+OK 6 octets\r\nabcd\r\n.\r\n-ERR [SYS/TEMP] the server is going down, come back later\r\n"
    );
}

#[test]
fn quit_before_the_end_of_the_connection_counts() {
    let mut talk = over_tls();
    play(&mut talk, LOGIN);
    talk.session.receive(b"DELE 1\r\nQUIT\r\n", talk.now);
    talk.session.receive_end();
    talk.settle();
    assert!(talk.deeds().contains(&Deed::Deleted(vec![3])));
}

#[test]
fn a_client_that_reads_nothing_does_not_fill_memory() {
    let now = std::time::Instant::now();
    let mut session = Session::new(config(), true, now);
    session.receive("CAPA\r\n".repeat(10_000).as_bytes(), now);
    let mut total = 0;
    while let Some(Output::Write(octets)) = session.poll_output() {
        assert!(octets.len() < 64 * 1024);
        total += octets.len();
    }
    assert!(total > 1_000_000);
}
