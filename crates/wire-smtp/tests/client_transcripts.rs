//! Dialogues in `transcripts/client`: what a server says, what the client sends, what its driver is told.
//!
//! `S: text` is sent to the client with CRLF, `S! text` as it stands with \r \n undone; several in a row are one
//! packet. `C: text` is a line of the client, `-- …` an event. `>> …` is what the driver does: `send`, `tls`,
//! `tls done`, `auth NAME PASSWORD`, `quit`, `hang up`, `wait SECONDS`.
//! `send` takes `from=…`, `to=…,…`, `8bit`, `utf8`, `octets=…`, and `body=CHUNK|CHUNK…` or `body=!` for one that
//! cannot be read. Each dialogue is played as written and octet by octet.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postroad_types::{Address, BodyKind, ByMode, Notify, Ret, ReversePath};
use postroad_wire_smtp::client::{Client, Config, Credentials, Message, Output, To};
use postroad_wire_smtp::server::By;

#[test]
fn dialogues_go_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts/client");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // `one-packet`: that it comes in one packet is what the dialogue is about.
        let sizes = if text.contains("one-packet") { &[usize::MAX][..] } else { &[usize::MAX, 1, 4] };
        for &packet_octets in sizes {
            play(&text, packet_octets, &path.display().to_string());
        }
        played += 1;
    }
    assert!(played >= 10, "only {played} transcripts found");
}

struct Scene {
    client: Client,
    now: Instant,
    events: Vec<String>,
    /// A line of the client that is not ended yet.
    begun: String,
    body: Option<VecDeque<String>>,
}

impl Scene {
    fn new(words: &str) -> Self {
        let hello = "me.test".parse().unwrap();
        let mut config = match words.split_whitespace().next() {
            Some("lmtp") => Config::lmtp(hello),
            _ => Config::smtp(hello),
        };
        config.chunking = words.contains("chunking");
        config.allow_plaintext_auth = words.contains("plaintext-auth");
        let now = Instant::now();
        let client = Client::new(Arc::new(config), false, now);
        Scene { client, now, events: Vec::new(), begun: String::new(), body: None }
    }

    fn run(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Write(octets) => {
                    let text = String::from_utf8(octets.to_vec()).unwrap();
                    self.begun += &text;
                    while let Some((line, rest)) = self.begun.split_once("\r\n") {
                        self.events.push(format!("C: {line}"));
                        self.begun = rest.to_owned();
                    }
                }
                Output::WantBody => match self.body.as_mut().map(VecDeque::pop_front) {
                    Some(Some(chunk)) if chunk == "!" => self.client.body_failed(self.now),
                    Some(Some(chunk)) => self.client.body_chunk(self.now, Bytes::from(chunk)),
                    Some(None) => self.client.body_end(self.now),
                    None => self.events.push("-- want body".into()),
                },
                Output::Finished(outcome) => {
                    for to in &outcome.recipients {
                        self.events.push(format!("-- {:?} {:?} {}", to.stage, to.cause, to.reply));
                    }
                    let word = if outcome.reusable { "finished" } else { "finished, not reusable" };
                    self.events.push(format!("-- {word}"));
                }
                Output::Closed(ending) => self.events.push(format!("-- closed: {ending}")),
                Output::Ready => self.events.push("-- ready".into()),
                Output::StartTls => self.events.push("-- tls".into()),
                Output::StartTlsRefused(reply) => self.events.push(format!("-- no tls: {reply}")),
                Output::Authenticated => self.events.push("-- authenticated".into()),
                Output::AuthRefused(why) => self.events.push(format!("-- not authenticated: {why}")),
            }
        }
    }

    fn act(&mut self, action: &str) {
        let now = self.now;
        let mut words = action.split(' ');
        match words.next().unwrap() {
            "send" => {
                let message = self.message(words);
                self.client.send(now, message).unwrap();
            }
            "tls" if words.next().is_some() => self.client.tls_established(now),
            "tls" => self.client.start_tls(now).unwrap(),
            "auth" => {
                let (name, password) = (words.next().unwrap().into(), words.next().unwrap().into());
                self.client.authenticate(now, &Credentials { name, password }).unwrap();
            }
            "quit" => self.client.quit(now),
            "hang" => self.client.end_of_input(now),
            "wait" => {
                self.now += Duration::from_secs(words.next().unwrap().parse().unwrap());
                self.client.timed_out(self.now);
            }
            other => panic!("{other}"),
        }
        self.run();
    }

    fn message<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> Message {
        let mut message = Message { octets: 10, ..Message::new(ReversePath::Null, Vec::new()) };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("from", path) => message.reverse_path = path.parse().unwrap(),
                ("to", list) => {
                    let to = |a: &str| To::from(a.parse::<Address>().unwrap());
                    message.recipients = list.split(',').map(to).collect();
                }
                ("octets", n) => message.octets = n.parse().unwrap(),
                ("8bit", _) => message.body = BodyKind::EightBitMime,
                ("binary", _) => message.body = BodyKind::BinaryMime,
                ("envid", id) => message.envelope_id = Some(id.to_owned()),
                ("hdrs", _) => message.ret = Some(Ret::Headers),
                ("require-tls", _) => message.require_tls = true,
                ("priority", n) => message.priority = n.parse().unwrap(),
                (by @ ("by" | "told-by"), n) => {
                    let mode = if by == "by" { ByMode::Return } else { ByMode::Notify };
                    message.deliver_by = Some(By { seconds: n.parse().unwrap(), mode, trace: true });
                }
                // For all recipients so far.
                ("success", _) => {
                    let notify = Notify::On { success: true, failure: true, delay: false };
                    message.recipients.iter_mut().for_each(|to| to.notify = notify);
                }
                ("orcpt", original) => {
                    message.recipients.iter_mut().for_each(|to| to.original = Some(original.to_owned()));
                }
                ("utf8", _) => message.smtputf8 = true,
                ("body", text) => {
                    let chunks = text.replace("\\r", "\r").replace("\\n", "\n");
                    self.body = Some(chunks.split('|').map(str::to_owned).collect());
                }
                (other, _) => panic!("{other}"),
            }
        }
        message
    }
}

fn play(text: &str, packet_octets: usize, name: &str) {
    let mut lines = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).peekable();
    let mut scene = Scene::new(lines.next().unwrap().strip_prefix("config: ").unwrap());
    let mut wanted: Vec<String> = Vec::new();
    while let Some(line) = lines.next() {
        let rest = line.get(3..).unwrap_or_default();
        match line.get(..2).unwrap() {
            "C:" | "--" => {
                wanted.push(line.to_owned());
                let more = lines.peek().is_some_and(|l| l.starts_with('C') || l.starts_with("--"));
                if !more {
                    assert_eq!(scene.events, wanted, "\nin {name}, by {packet_octets}");
                }
            }
            "S:" | "S!" => {
                let mut octets = server_octets(line);
                while let Some(next) = lines.next_if(|next| next.starts_with('S')) {
                    octets.extend(server_octets(next));
                }
                for piece in octets.chunks(packet_octets) {
                    scene.client.receive(scene.now, piece);
                    scene.run();
                }
            }
            ">>" => scene.act(rest),
            _ => panic!("{name}: {line}"),
        }
    }
    assert_eq!(scene.events, wanted, "\nat the end of {name}, by {packet_octets}");
}

fn server_octets(line: &str) -> Vec<u8> {
    let rest = line.get(3..).unwrap_or_default();
    if line.starts_with("S:") {
        return format!("{rest}\r\n").into_bytes();
    }
    rest.replace("\\r", "\r").replace("\\n", "\n").into_bytes()
}
