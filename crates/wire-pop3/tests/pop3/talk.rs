//! A driver for sessions without a socket: answers what they ask out of a small maildrop, and writes down
//! what they do.

use std::time::{Duration, Instant};

use postroad_wire_pop3::{
    Ask, BodyError, Config, DeleteError, MaildropError, Message, Output, Refusal, SaslAnswer, SaslMessage,
    Session, Snapshot,
};

pub const UID_VALIDITY: u32 = 1_790_000_000;

pub fn config() -> Config {
    Config {
        host: "mx.beta.test".to_owned(),
        offers_tls: true,
        allows_plaintext_auth: false,
        idle_timeout: Duration::from_secs(600),
        login_timeout: Duration::from_secs(60),
    }
}

/// What is outside of the session.
pub struct World {
    pub messages: Vec<(u32, Vec<u8>)>,
    /// Body chunks are cut to this size.
    pub chunk_octets: usize,
    pub maildrop_is_down: bool,
    pub directory_is_down: bool,
    /// Uids whose body can't be had, and why.
    pub lost: Vec<(u32, BodyError)>,
    /// Breaks each body after so many chunks.
    pub breaks_after_chunks: Option<usize>,
    pub delete_fails: bool,
}

impl World {
    pub fn new(messages: &[(u32, &str)]) -> Self {
        World {
            messages: messages.iter().map(|(uid, text)| (*uid, text.as_bytes().to_vec())).collect(),
            chunk_octets: 5,
            maildrop_is_down: false,
            directory_is_down: false,
            lost: Vec::new(),
            breaks_after_chunks: None,
            delete_fails: false,
        }
    }
}

/// What a session did, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Deed {
    Wrote(String),
    StartedTls,
    Deleted(Vec<u32>),
    CancelledLogin,
    Closed,
}

pub struct Talk {
    pub session: Session,
    pub world: World,
    pub now: Instant,
    mechanism: String,
    deeds: Vec<Deed>,
}

impl Talk {
    pub fn new(config: Config, tls: bool, world: World) -> Self {
        let now = Instant::now();
        let mut talk = Talk {
            session: Session::new(config, tls, now),
            world,
            now,
            mechanism: String::new(),
            deeds: Vec::new(),
        };
        talk.settle();
        talk
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.session.receive(octets, self.now);
        self.settle();
    }

    pub fn end(&mut self) {
        self.session.receive_end();
        self.settle();
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.session.timeout(self.now);
        self.settle();
    }

    /// What happened since it was asked last; writes that follow each other are one.
    pub fn deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    pub fn settle(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Write(octets) => self.wrote(&octets),
                Output::StartTls => {
                    self.deeds.push(Deed::StartedTls);
                    self.session.tls_started(self.now);
                }
                Output::Ask(ask) => self.answer(ask),
                Output::StopBody => {}
                Output::Close => self.deeds.push(Deed::Closed),
            }
        }
    }

    fn wrote(&mut self, octets: &[u8]) {
        let text = std::str::from_utf8(octets).unwrap();
        match self.deeds.last_mut() {
            Some(Deed::Wrote(before)) => before.push_str(text),
            _ => self.deeds.push(Deed::Wrote(text.to_owned())),
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Authenticate { mechanism, initial } => {
                self.mechanism = mechanism.name().to_owned();
                let answer = self.directory(initial);
                self.session.answer_sasl(answer, self.now);
            }
            Ask::Respond(response) => {
                let answer = self.directory(Some(response));
                self.session.answer_sasl(answer, self.now);
            }
            Ask::CancelAuthentication => self.deeds.push(Deed::CancelledLogin),
            Ask::Maildrop => {
                let answer =
                    if self.world.maildrop_is_down { Err(MaildropError) } else { Ok(self.snapshot()) };
                self.session.answer_maildrop(answer, self.now);
            }
            Ask::Body { uid, .. } => self.body(uid),
            Ask::Delete { uid_validity, uids } => {
                assert_eq!(uid_validity, UID_VALIDITY);
                let answer = if self.world.delete_fails {
                    Err(DeleteError)
                } else {
                    self.deeds.push(Deed::Deleted(uids));
                    Ok(())
                };
                self.session.answer_delete(answer);
            }
        }
    }

    /// Knows bob with the password `pass word`; its SCRAM is a stand-in of two messages.
    fn directory(&mut self, message: Option<SaslMessage>) -> SaslAnswer {
        let said = |text: &str| SaslMessage(text.as_bytes().to_vec());
        let success = |server_data| SaslAnswer::Success { server_data };
        let Some(SaslMessage(message)) = message else {
            return SaslAnswer::Challenge(said(""));
        };
        if self.world.directory_is_down {
            return SaslAnswer::Refused(Refusal::Temporary);
        }
        match (self.mechanism.as_str(), message.as_slice()) {
            ("PLAIN", b"\0bob\0pass word") => success(None),
            ("PLAIN", message) if !message.starts_with(b"\0") => SaslAnswer::Refused(Refusal::Protocol),
            ("SCRAM-SHA-256", b"first") => SaslAnswer::Challenge(said("salt")),
            ("SCRAM-SHA-256", b"proof") => success(Some(said("v=proved"))),
            _ => SaslAnswer::Refused(Refusal::Credentials),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            uid_validity: UID_VALIDITY,
            messages: self
                .world
                .messages
                .iter()
                .map(|(uid, octets)| Message { uid: *uid, size: octets.len() as u64 })
                .collect(),
        }
    }

    fn body(&mut self, uid: u32) {
        if let Some((_, why)) = self.world.lost.iter().find(|(lost, _)| *lost == uid) {
            return self.session.answer_body(Err(*why), self.now);
        }
        let messages = &self.world.messages;
        let (_, octets) = messages.iter().find(|(u, _)| *u == uid).unwrap().clone();
        self.session.answer_body(Ok(()), self.now);
        for (count, chunk) in octets.chunks(self.world.chunk_octets).enumerate() {
            if self.world.breaks_after_chunks == Some(count) {
                return self.session.body_broken();
            }
            self.session.body_chunk(chunk, self.now);
            if self.has_enough() {
                return;
            }
        }
        self.session.body_end(self.now);
    }

    /// Writes what is there; true if the session wants no more of the message.
    fn has_enough(&mut self) -> bool {
        loop {
            match self.session.poll_output() {
                Some(Output::Write(octets)) => self.wrote(&octets),
                Some(Output::StopBody) => return true,
                Some(other) => panic!("{other:?} in the middle of a message"),
                None => return false,
            }
        }
    }
}
