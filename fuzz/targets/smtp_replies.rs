//! The client machine under whatever a server sends: it never panics, and each message has exactly one outcome with a
//! word about each recipient; a positive one only if the server's octets hold a positive reply.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use postroad_types::{Address, Notify};
use postroad_wire_smtp::client::{Client, Config, Message, Output, To};

fn message() -> Message {
    let to = |text: &str| To::from(text.parse::<Address>().unwrap());
    let success = Notify::On { success: true, failure: true, delay: false };
    let recipients = vec![to("c@mx.test"), To { notify: success, ..to("d@mx.test") }];
    Message {
        octets: 7,
        envelope_id: Some("a+b".into()),
        priority: 3,
        ..Message::new("a@b.test".parse().unwrap(), recipients)
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((settings, octets)) = input.split_first() else { return };
    let now = Instant::now();
    let hello = "client.test".parse().unwrap();
    let lmtp = settings & 0x80 != 0;
    let base = if lmtp { Config::lmtp(hello) } else { Config::smtp(hello) };
    let mut client = Client::new(Arc::new(Config { chunking: settings & 0x40 != 0, ..base }), false, now);
    let (mut sent, mut finished) = (0, 0);
    let mut pieces = octets.chunks(usize::from(settings & 0x3f).max(1));
    loop {
        while let Some(output) = client.poll_output() {
            match output {
                Output::Ready => match client.send(now, message()) {
                    Ok(()) => sent += 1,
                    Err(_) => return,
                },
                Output::WantBody if finished < sent => {
                    client.body_chunk(now, Bytes::from_static(b".text\r\n"));
                    client.body_end(now);
                }
                Output::Finished(outcome) => {
                    finished += 1;
                    assert_eq!(outcome.recipients.len(), 2);
                    let positive = outcome.recipients.iter().any(|to| to.reply.is_positive());
                    assert!(!positive || octets.contains(&b'2'), "nobody said yes");
                    match outcome.reusable && sent < 50 {
                        true if client.send(now, message()).is_ok() => sent += 1,
                        _ => client.quit(now),
                    }
                }
                Output::Closed(_) => {
                    assert_eq!(sent, finished, "a message without an outcome");
                    return;
                }
                _ => {}
            }
        }
        match pieces.next() {
            Some(piece) => client.receive(now, piece),
            None => break,
        }
    }
    client.end_of_input(now);
    while let Some(output) = client.poll_output() {
        if let Output::Finished(_) = output {
            finished += 1;
        }
    }
    assert_eq!(sent, finished, "a message without an outcome");
});
