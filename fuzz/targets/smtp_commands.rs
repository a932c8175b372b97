//! The server machine under whatever a client sends: it never panics, never writes anything but whole reply lines,
//! and says the same however the octets are cut.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use postroad_types::Reply;
use postroad_wire_smtp::server::{Answer, AuthAnswer, Config, Output, Server, Tls};

/// Everything that the machine wrote and gave out, in order.
fn run(octets: &[u8], piece: usize, submission: bool) -> (Vec<u8>, Vec<u8>) {
    let now = Instant::now();
    let hostname = "mx.test".parse().unwrap();
    let config = if submission { Config::submission(hostname) } else { Config::relay(hostname) };
    let mut server = Server::new(Arc::new(config), if submission { Tls::Active } else { Tls::Unavailable }, now);
    let (mut said, mut bodies) = (Vec::new(), Vec::new());
    let mut pieces = octets.chunks(piece.max(1));
    loop {
        while let Some(output) = server.poll_output() {
            match output {
                Output::Write(octets) => said.extend_from_slice(&octets),
                Output::AskGreeting
                | Output::AskHello(_)
                | Output::AskMail(_)
                | Output::AskRecipient(_)
                | Output::AskBody => server.answer(now, Answer::Accept),
                Output::AskAuth(_) => {
                    server.answer_auth(now, AuthAnswer::Success { account: "a@mx.test".to_owned() });
                }
                Output::Body(chunk) => bodies.extend_from_slice(&chunk),
                Output::BodyEnd => {
                    bodies.push(b'|');
                    server.answer_message(now, Reply::plain(250, "taken"));
                }
                Output::Close => return (said, bodies),
                _ => {}
            }
        }
        match pieces.next() {
            Some(piece) => server.receive(now, piece),
            None => break,
        }
    }
    (said, bodies)
}

fuzz_target!(|input: &[u8]| {
    let Some((settings, octets)) = input.split_first() else { return };
    let submission = settings & 0x80 != 0;
    let whole = run(octets, octets.len(), submission);
    assert!(whole.0.is_empty() || whole.0.ends_with(b"\r\n"), "half a reply");
    let cut = run(octets, usize::from(settings & 0x1f), submission);
    assert_eq!(whole, cut, "where packets end made a difference");
});
