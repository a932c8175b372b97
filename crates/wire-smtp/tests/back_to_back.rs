//! Our client talks to our server: whatever the message and however the octets are split, it arrives unchanged.

#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use postroad_types::{Address, BodyKind};
use postroad_wire_smtp::client::{Client, Config, Ending, Message, Outcome, Output};
use proptest::prelude::*;

use harness::Scene;

struct Run {
    messages: Vec<Vec<u8>>,
    outcomes: Vec<Outcome>,
    ending: Option<Ending>,
}

/// Sends `bodies` one after the other over one connection, `packet` octets at a time both ways.
fn run(settings: &str, chunking: bool, recipients: &[&str], bodies: &[Vec<u8>], packet: usize) -> Run {
    let now = Instant::now();
    let mut server = Scene::new(settings);
    let config = Config { chunking, ..Config::smtp("client.test".parse().unwrap()) };
    let mut client = Client::new(Arc::new(config), false, now);
    let mut left = bodies.iter();
    let mut body: Vec<Bytes> = Vec::new();
    let mut run = Run { messages: Vec::new(), outcomes: Vec::new(), ending: None };
    let mut next = |client: &mut Client, body: &mut Vec<Bytes>| match left.next() {
        Some(octets) => {
            *body = octets.chunks(packet * 3).rev().map(Bytes::copy_from_slice).collect();
            let recipients = recipients.iter().map(|r| r.parse::<Address>().unwrap().into()).collect();
            let body = if octets.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBitMime };
            let message = Message {
                octets: octets.len() as u64,
                body,
                ..Message::new("ann@a.test".parse().unwrap(), recipients)
            };
            client.send(now, message).unwrap();
        }
        None => client.quit(now),
    };
    while run.ending.is_none() {
        let mut idle = true;
        while let Some(output) = client.poll_output() {
            idle = false;
            match output {
                Output::Write(octets) => octets.chunks(packet).for_each(|piece| server.send(piece)),
                Output::Ready => next(&mut client, &mut body),
                Output::WantBody => match body.pop() {
                    Some(chunk) => client.body_chunk(now, chunk),
                    None => client.body_end(now),
                },
                Output::Finished(outcome) => {
                    run.outcomes.push(outcome);
                    next(&mut client, &mut body);
                }
                Output::Closed(ending) => run.ending = Some(ending),
                other => panic!("{other:?}"),
            }
        }
        let said = server.take_written();
        assert!(!idle || !said.is_empty() || run.ending.is_some(), "both wait for each other");
        said.chunks(packet).for_each(|piece| client.receive(now, piece));
    }
    assert!(server.closed);
    run.messages = server.messages;
    run
}

#[test]
fn each_recipient_gets_its_own_answer() {
    for chunking in [false, true] {
        let to = ["bob@mx.test", "unknown@mx.test", "later@mx.test", "\"q u\"@[192.0.2.1]"];
        let run = run("relay", chunking, &to, &[b"Hi\r\n".to_vec()], 1000);
        let codes: Vec<u16> = run.outcomes[0].recipients.iter().map(|r| r.reply.code).collect();
        assert_eq!(codes, [250, 550, 451, 250]);
        assert_eq!(run.messages, [b"Hi\r\n"]);
        assert_eq!(run.ending, Some(Ending::Quit));
    }
}

#[test]
fn a_thousand_recipients_fit_in_the_pipeline() {
    let names: Vec<String> = (0..1000).map(|n| format!("user{n}@mx.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = run("relay", false, &names, &[b"Hi\r\n".to_vec(), b"Ho\r\n".to_vec()], 1000);
    assert!(run.outcomes.iter().flat_map(|o| &o.recipients).all(|r| r.reply.code == 250));
    assert_eq!(run.messages.len(), 2);
}

#[test]
fn a_refused_message_does_not_spoil_the_next_one() {
    for chunking in [false, true] {
        let bodies = [vec![b'x'; 98], b"small\r\n".to_vec()];
        let bodies = bodies.map(|b| [b, b"\r\n".to_vec()].concat());
        // Sent first: its line ends are not CRLF.
        let bad = [b"a\nb".to_vec(), b"\r\n".to_vec()].concat();
        let run =
            run("relay small", chunking, &["bob@mx.test"], &[bad, bodies[0].clone(), bodies[1].clone()], 7);
        let codes: Vec<u16> = run.outcomes.iter().map(|o| o.recipients[0].reply.code).collect();
        assert_eq!(codes, [550, 250, 250], "chunking {chunking}");
        assert_eq!(run.messages, bodies);
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec("[.a é\u{0}]{0,6}", 0..20)
        .prop_map(|lines| lines.iter().flat_map(|line| format!("{line}\r\n").into_bytes()).collect())
}

proptest! {
    #[test]
    fn any_message_arrives_unchanged(
        bodies in proptest::collection::vec(body(), 1..4), packet in 1usize..50, chunking: bool,
    ) {
        let run = run("relay", chunking, &["bob@mx.test"], &bodies, packet);
        prop_assert_eq!(run.messages, bodies);
    }

    /// A body that a careless program passed on without looking at its line ends.
    #[test]
    fn no_body_smuggles_a_second_message(
        parts in proptest::collection::vec(prop_oneof![
            Just("\n.\n"), Just("\n.\r\n"), Just("\r\n.\n"), Just("\r\n.\r"), Just("\r\n.\r\r\n"),
            Just("\r\n.\0\r\n"), Just("\r.\r"), Just("\r.\r\n"), Just("text"),
            Just("MAIL FROM:<evil@a.test>\r\n"), Just("RCPT TO:<bob@mx.test>\r\n"), Just("DATA\r\n"),
        ], 0..12),
        packet in 1usize..20, normalise: bool,
    ) {
        let mut octets = b"HELO a\r\nMAIL FROM:<ann@a.test>\r\nRCPT TO:<bob@mx.test>\r\nDATA\r\nx".to_vec();
        // Joined with text, since two of them may make a true end of data together.
        octets.extend_from_slice(parts.join("x").as_bytes());
        octets.extend_from_slice(b"x\r\n.\r\nQUIT\r\n");
        let mut server = Scene::new(if normalise { "relay normalise" } else { "relay" });
        octets.chunks(packet).for_each(|piece| server.send(piece));
        let mails = server.events.iter().filter(|e| e.starts_with("-- mail")).count();
        prop_assert_eq!(mails, 1);
        prop_assert!(server.messages.len() <= 1 && server.closed);
    }

    /// Whatever a stranger sends, at whatever split, the machine neither panics nor stops without having closed.
    #[test]
    fn noise_is_borne(
        parts in proptest::collection::vec(prop_oneof![
            "[ -~\\r\\n]{0,30}", Just("EHLO a\r\n".to_owned()), Just("MAIL FROM:<a@b>\r\n".to_owned()),
            Just("RCPT TO:<a@b>\r\n".to_owned()), Just("DATA\r\n".to_owned()), Just("\r\n.\r\n".to_owned()),
            Just("BDAT 7\r\n".to_owned()), Just("BDAT 3 LAST\r\n".to_owned()), Just("RSET\r\n".to_owned()),
            Just("AUTH LOGIN\r\n".to_owned()), Just("AUTH PLAIN =\r\n".to_owned()), Just("\r\n".to_owned()),
        ], 0..40),
        packet in 1usize..30,
    ) {
        let octets = parts.concat().into_bytes();
        let play = |packet: usize| {
            let mut server = Scene::new("relay auth plaintext-auth");
            octets.chunks(packet).for_each(|piece| server.send(piece));
            server.hang_up();
            assert!(server.closed);
            let replies: Vec<String> = server.events.into_iter().filter(|e| e.starts_with("S:")).collect();
            (replies, server.messages)
        };
        prop_assert_eq!(play(packet), play(usize::MAX));
    }

    #[test]
    fn a_client_bears_noise_too(
        parts in proptest::collection::vec(prop_oneof![
            "[ -~\\r\\n]{0,30}", Just("220 a\r\n".to_owned()), Just("250-a\r\n".to_owned()),
            Just("250 PIPELINING\r\n".to_owned()), Just("354 a\r\n".to_owned()), Just("550 5.1.1 a\r\n".to_owned()),
            Just("421 a\r\n".to_owned()),
        ], 0..20),
        packet in 1usize..30,
    ) {
        let now = Instant::now();
        let octets = parts.concat().into_bytes();
        let mut client = Client::new(Arc::new(Config::smtp("a.test".parse().unwrap())), false, now);
        let (mut sent, mut finished, mut closed) = (0, 0, 0);
        let mut work = |client: &mut Client| while let Some(output) = client.poll_output() {
            match output {
                Output::Ready => {
                    let message = Message::new("a@b.test".parse().unwrap(), vec!["a@b.test".parse::<Address>().unwrap().into(); 3]);
                    // Not ready any more, if the server went wrong in the packet in which it was greeted.
                    sent += usize::from(client.send(now, message).is_ok());
                }
                Output::WantBody => client.body_end(now),
                Output::Finished(outcome) => {
                    assert_eq!(outcome.recipients.len(), 3);
                    finished += 1;
                }
                Output::Closed(_) => closed += 1,
                _ => {}
            }
        };
        for piece in octets.chunks(packet) {
            client.receive(now, piece);
            work(&mut client);
        }
        client.end_of_input(now);
        work(&mut client);
        prop_assert_eq!((sent, closed), (finished, 1));
    }
}
