//! What holds for whatever a client sends, however the network cuts it.

use crate::talk::{Deed, Talk, World, config};
use postroad_wire_pop3::Config;
use proptest::prelude::*;

/// Lines that clients send, good and bad.
fn line() -> impl Strategy<Value = String> {
    let good = prop::sample::select(vec![
        "CAPA",
        "USER bob",
        "PASS pass word",
        "AUTH PLAIN AGJvYgBwYXNzIHdvcmQ=",
        "AUTH PLAIN",
        "AGJvYgBwYXNzIHdvcmQ=",
        "AUTH SCRAM-SHA-256 Zmlyc3Q=",
        "cHJvb2Y=",
        "*",
        "",
        "STAT",
        "LIST",
        "LIST 1",
        "UIDL",
        "UIDL 2",
        "RETR 1",
        "RETR 2",
        "TOP 1 0",
        "TOP 2 1",
        "DELE 1",
        "DELE 3",
        "RSET",
        "NOOP",
        "QUIT",
        "UTF8",
        "STLS",
    ]);
    prop_oneof![6 => good.prop_map(str::to_owned), 1 => "\\PC{0,20}"]
}

fn world(chunk_octets: usize) -> World {
    World {
        chunk_octets,
        ..World::new(&[
            (3, "Subject: one\r\n\r\n.\r\n..\r\nlast"),
            (8, "Subject: two\r\n\r\nsecond\r\nthird\r\n"),
            (9, ""),
        ])
    }
}

proptest! {
    #[test]
    fn how_octets_are_cut_changes_nothing(
        lines in prop::collection::vec(line(), 1..30),
        tls in any::<bool>(),
        size in 1..40_usize,
        chunk_octets in 1..40_usize,
    ) {
        // STLS drops what came with it in one packet, which is the only thing that may depend on packets.
        let lines: Vec<_> = lines.into_iter().filter(|l| tls || l != "STLS").collect();
        let sent = lines.iter().map(|l| format!("{l}\r\n")).collect::<String>();
        let config = Config { allows_plaintext_auth: true, ..config() };

        let mut whole = Talk::new(config.clone(), tls, world(1000));
        whole.send(sent.as_bytes());
        let mut cut = Talk::new(config, tls, world(chunk_octets));
        for piece in sent.as_bytes().chunks(size) {
            cut.send(piece);
        }
        prop_assert_eq!(whole.deeds(), cut.deeds());
    }

    #[test]
    fn only_quit_deletes(lines in prop::collection::vec(line(), 1..40)) {
        let mut talk = Talk::new(config(), true, world(7));
        talk.send(b"USER bob\r\nPASS pass word\r\n");
        for line in lines.iter().filter(|l| *l != "QUIT") {
            talk.send(format!("{line}\r\n").as_bytes());
        }
        talk.end();
        prop_assert!(!talk.deeds().iter().any(|deed| matches!(deed, Deed::Deleted(_))));
    }

    #[test]
    fn any_octets_are_survived(octets in prop::collection::vec(any::<u8>(), 0..2000), tls in any::<bool>()) {
        let mut talk = Talk::new(config(), tls, world(7));
        talk.send(&octets);
        talk.end();
        let ends = talk.deeds().iter().filter(|deed| **deed == Deed::Closed).count();
        prop_assert_eq!(ends, 1);
    }
}
