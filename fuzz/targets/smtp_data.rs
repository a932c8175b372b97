//! DATA against the simplest reader there could be: a message ends at CRLF.CRLF and nowhere else, dots are undone,
//! bare line ends refuse it.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use postroad_wire_smtp::server::{Answer, Config, Output, Server, Tls};

/// The message of a body that began behind DATA, and what is left behind its end; `None` if it never ends.
fn read(octets: &[u8]) -> Option<(Option<Vec<u8>>, &[u8])> {
    let framed = [b"\r\n", octets].concat();
    let end = framed.windows(5).position(|five| five == b"\r\n.\r\n")?;
    let text = &framed[2..(end + 2).max(2)];
    let bare = |at: usize| match text[at] {
        b'\n' => at == 0 || text[at - 1] != b'\r',
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    let is_clean = !(0..text.len()).any(bare);
    let message = is_clean.then(|| {
        let mut message = Vec::new();
        for line in text.split_inclusive(|octet| *octet == b'\n') {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        message
    });
    Some((message, &octets[end + 3..]))
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, octets)) = input.split_first() else { return };
    let now = Instant::now();
    let mut server = Server::new(Arc::new(Config::relay("mx.test".parse().unwrap())), Tls::Unavailable, now);
    let opening = b"HELO a.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@mx.test>\r\nDATA\r\n";
    let (mut message, mut taken, mut refused) = (Vec::new(), false, false);
    let mut pieces = [&opening[..]].into_iter().chain(octets.chunks(usize::from(*piece).max(1)));
    while !taken && !refused {
        match server.poll_output() {
            Some(
                Output::AskGreeting
                | Output::AskHello(_)
                | Output::AskMail(_)
                | Output::AskRecipient(_)
                | Output::AskBody,
            ) => server.answer(now, Answer::Accept),
            Some(Output::Body(chunk)) => message.extend_from_slice(&chunk),
            Some(Output::BodyEnd) => taken = true,
            Some(Output::BodyAbort) => refused = true,
            Some(Output::Close) => return,
            Some(_) => {}
            None => match pieces.next() {
                Some(piece) => server.receive(now, piece),
                None => break,
            },
        }
    }
    match read(octets) {
        None => assert!(!taken, "a message without an end was taken"),
        Some((None, _)) => assert!(!taken, "a bare line end was taken"),
        Some((Some(expected), _)) => {
            assert!(taken && !refused, "a clean message was not taken");
            assert_eq!(message, expected);
        }
    }
});
