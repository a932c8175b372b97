//! IMAP clients: commands and literals in packets of any size; how they are cut makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_wire_imap::{Ask, Code, Config, Output, Server, Status};

// The first octet is the size of packets.
fuzz_target!(|octets: &[u8]| {
    let Some((packet, dialogue)) = octets.split_first() else { return };
    let whole = talk(dialogue, dialogue.len().max(1));
    let pieces = talk(dialogue, usize::from(*packet) + 1);
    assert_eq!(whole, pieces);
});

/// What was asked of the driver, and what was written.
fn talk(dialogue: &[u8], packet: usize) -> (Vec<String>, Vec<u8>) {
    let config = Config {
        host: "mail.test".into(),
        append_octets_max: 1000,
        starttls: false,
        plaintext_login: true,
        mechanisms: vec!["PLAIN".into()],
    };
    let mut server = Server::new(config, false);
    let (mut asked, mut written, mut closed) = (Vec::new(), Vec::new(), false);
    let mut pieces = dialogue.chunks(packet);
    loop {
        while let Some(output) = server.poll_output() {
            assert!(!closed, "{output:?} behind Close");
            match output {
                Output::Write(octets) => written.extend_from_slice(&octets),
                Output::Ask(ask) => {
                    asked.push(format!("{ask:?}"));
                    match ask {
                        Ask::Authenticate(_) => server.challenge(b""),
                        Ask::Login(_) => server.authenticated(None),
                        Ask::Select(_) => {
                            server.selected();
                            server.finish(Status::ok("selected").with(Code::ReadWrite));
                        }
                        Ask::Append(_) => server.append_accept(),
                        Ask::Idle => {}
                        _ => server.finish(Status::ok("done")),
                    }
                }
                Output::SaslResponse(_) => server.authenticated(None),
                Output::AppendEnd | Output::IdleDone => server.finish(Status::ok("done")),
                Output::Close => closed = true,
                _ => {}
            }
        }
        if closed {
            return (asked, written);
        }
        match pieces.next() {
            Some(piece) => server.receive(piece),
            None => {
                server.receive_eof();
                while server.poll_output().is_some() {}
                return (asked, written);
            }
        }
    }
}
