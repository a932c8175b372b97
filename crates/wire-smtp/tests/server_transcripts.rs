//! Dialogues in `transcripts/server`: what a client sends, what the server answers, what its driver is told.
//!
//! `C: text` is sent with CRLF, `C! text` as it stands with \r \n \0 \xNN undone; several in a row are one packet.
//! `S: text` is a line of the server; `-- …` is an event: mail, rcpt, message, abort, tls, anomaly, close; and
//! `>> …` something done to the server: `wait SECONDS`, `hang up`, `shut down`, `tls done`.
//! Each dialogue is played as written and octet by octet, and must be the same.

#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use harness::Scene;

#[test]
fn dialogues_go_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts/server");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for packet_octets in [usize::MAX, 1, 3] {
            play(&text, packet_octets, &path.display().to_string());
        }
        played += 1;
    }
    assert!(played >= 10, "only {played} transcripts found");
}

fn play(text: &str, packet_octets: usize, name: &str) {
    let mut lines = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).peekable();
    let words = lines.next().unwrap().strip_prefix("config: ").unwrap();
    let mut scene = Scene::new(words);
    let mut wanted = Vec::new();
    let mut happened = Vec::new();
    while let Some(line) = lines.next() {
        let (kind, rest) = line.split_at(2);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match kind {
            "S:" | "--" => {
                wanted.push(line.to_owned());
                if lines.peek().is_none_or(|next| !next.starts_with("S:") && !next.starts_with("--")) {
                    happened.extend(scene.take_events());
                    if packet_octets == usize::MAX {
                        assert_eq!(happened, wanted, "\nin {name}");
                    }
                    // Split, replies come earlier than the events of commands that share their packet.
                    for kind in ["S:", "-- anomaly", "--"] {
                        let of_kind = |events: &[String]| -> Vec<String> {
                            let is_kind = |e: &&String| {
                                e.starts_with(kind) && (kind != "--" || !e.starts_with("-- anomaly"))
                            };
                            let kept = events.iter().filter(is_kind);
                            let mut kept: Vec<String> = kept.cloned().collect();
                            if kind == "-- anomaly" {
                                kept.dedup();
                            }
                            kept
                        };
                        let (happened, wanted) = (of_kind(&happened), of_kind(&wanted));
                        assert_eq!(happened, wanted, "\nin {name}, by {packet_octets}");
                    }
                }
            }
            "C:" | "C!" => {
                let mut octets = unescape(rest);
                if kind == "C:" {
                    octets = [rest.as_bytes(), b"\r\n"].concat();
                }
                while let Some(next) = lines.next_if(|next| next.starts_with('C')) {
                    match next.split_at(3) {
                        ("C: ", rest) => octets.extend_from_slice(&[rest.as_bytes(), b"\r\n"].concat()),
                        (_, rest) => octets.extend_from_slice(&unescape(rest)),
                    }
                }
                for piece in octets.chunks(packet_octets) {
                    scene.send(piece);
                }
            }
            ">>" => match rest {
                "hang up" => scene.hang_up(),
                "shut down" => scene.shut_down(),
                "tls done" => {
                    scene.server.tls_established(scene.now);
                    scene.run();
                }
                _ => scene.wait(rest.strip_prefix("wait ").unwrap().parse().unwrap()),
            },
            _ => panic!("{name}: {line}"),
        }
    }
    let more = scene.take_events();
    assert!(more.is_empty(), "{name} goes on with {more:?}");
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => match octets.next().unwrap() {
                b'r' => out.push(b'\r'),
                b'n' => out.push(b'\n'),
                b'0' => out.push(0),
                b'x' => {
                    let hex = [octets.next().unwrap(), octets.next().unwrap()];
                    let hex = std::str::from_utf8(&hex).unwrap();
                    out.push(u8::from_str_radix(hex, 16).unwrap());
                }
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    out
}
