//! Runs a server machine against a policy made of the addresses' names, and notes what happens as lines of text.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use postroad_types::{EnhancedCode, Notify, Reply};
use postroad_wire_smtp::codec::line_ends::BareLineEnds;
use postroad_wire_smtp::codec::path::ForwardPath;
use postroad_wire_smtp::server::{
    Answer, AuthAnswer, AuthStep, Config, Mechanism, Output, SaslMessage, Server, Tls,
};

/// A server with its driver.
pub struct Scene {
    pub server: Server,
    pub now: Instant,
    /// `S: line`, `-- event`, in order.
    pub events: Vec<String>,
    /// Octets written and not yet split into events.
    written: Vec<u8>,
    pub message: Vec<u8>,
    pub messages: Vec<Vec<u8>>,
    pub closed: bool,
    login_name: Option<Vec<u8>>,
}

pub fn reply(code: u16, (class, subject, detail): (u8, u16, u16), text: &str) -> Reply {
    Reply::new(code, EnhancedCode::new(class, subject, detail), text)
}

/// `relay`, `submission`, and words that change it.
pub fn config(words: &str) -> (Config, Tls) {
    let host = "mx.test".parse().unwrap();
    let mut words = words.split_whitespace();
    let mut config = match words.next() {
        Some("submission") => Config::submission(host),
        _ => Config::relay(host),
    };
    let mut tls = Tls::Unavailable;
    for word in words {
        match word {
            "tls" => tls = Tls::Available,
            "tls-on" => tls = Tls::Active,
            "require-tls" => config.require_tls = true,
            "plaintext-auth" => config.allow_plaintext_auth = true,
            "auth" => config.mechanisms = vec![Mechanism::Plain, Mechanism::Login],
            "normalise" => config.bare_line_ends = BareLineEnds::Normalise,
            "small" => config.message_octets_max = 100,
            "two" => config.recipients_max = 2,
            "no-utf8" => config.smtputf8 = false,
            "no-chunking" => config.chunking = false,
            other => panic!("unknown setting {other}"),
        }
    }
    (config, tls)
}

impl Scene {
    pub fn new(words: &str) -> Self {
        let (config, tls) = config(words);
        let now = Instant::now();
        let mut scene = Scene {
            server: Server::new(Arc::new(config), tls, now),
            now,
            events: Vec::new(),
            written: Vec::new(),
            message: Vec::new(),
            messages: Vec::new(),
            closed: false,
            login_name: None,
        };
        scene.run();
        scene
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.server.receive(self.now, octets);
        self.run();
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.timed_out(self.now);
        self.run();
    }

    pub fn hang_up(&mut self) {
        self.server.end_of_input(self.now);
        self.run();
    }

    pub fn shut_down(&mut self) {
        self.server.shutdown(self.now);
        self.run();
    }

    /// What was written since the last call, for a test that plays the client itself.
    pub fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.written)
    }

    /// Events so far, in order.
    pub fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    fn note(&mut self, event: impl Into<String>) {
        let event = event.into();
        if event.starts_with("-- anomaly") && self.events.last() == Some(&event) {
            return;
        }
        self.events.push(event);
    }

    pub fn run(&mut self) {
        while let Some(output) = self.server.poll_output() {
            assert!(!self.closed, "{output:?} behind Close");
            let now = self.now;
            match output {
                Output::Write(octets) => {
                    self.written.extend_from_slice(&octets);
                    let text = String::from_utf8(octets.to_vec()).unwrap();
                    for line in text.strip_suffix("\r\n").unwrap().split("\r\n") {
                        self.note(format!("S: {line}"));
                    }
                }
                Output::AskGreeting | Output::AskBody => self.server.answer(now, Answer::Accept),
                Output::AskHello(hello) => {
                    let answer = refused(&hello.name);
                    self.server.answer(now, answer);
                }
                Output::AskMail(mail) => {
                    self.note(format!("-- mail {}", show_mail(&mail)));
                    let answer = refused(&mail.reverse_path.to_string());
                    self.server.answer(now, answer);
                }
                Output::AskRecipient(recipient) => {
                    let shown = match &recipient.path {
                        ForwardPath::Postmaster => "(postmaster)".to_owned(),
                        ForwardPath::Address(address) => address.to_string(),
                    };
                    let mut event = format!("-- rcpt {shown}");
                    if recipient.notify != Notify::Unsaid {
                        event += &format!(" {:?}", recipient.notify);
                    }
                    if let Some(original) = &recipient.original {
                        event += &format!(" {original}");
                    }
                    self.note(event);
                    self.server.answer(now, refused(&shown));
                }
                Output::AskAuth(step) => {
                    let answer = self.authenticate(step);
                    self.server.answer_auth(now, answer);
                }
                Output::AuthAborted => {
                    self.login_name = None;
                    self.note("-- auth aborted");
                }
                Output::Body(octets) => {
                    assert!(!octets.is_empty());
                    self.message.extend_from_slice(&octets);
                    if self.message.ends_with(b"disk full\r\n") {
                        self.message.clear();
                        let full = reply(452, (4, 3, 1), "disk full");
                        self.server.refuse_body(now, full);
                    }
                }
                Output::BodyEnd => {
                    let message = std::mem::take(&mut self.message);
                    let shown = String::from_utf8_lossy(&message).escape_debug().to_string();
                    self.note(format!("-- message {shown}"));
                    self.messages.push(message);
                    let taken = reply(250, (2, 0, 0), "queued");
                    self.server.answer_message(now, taken);
                }
                Output::BodyAbort => {
                    self.message.clear();
                    self.note("-- abort");
                }
                Output::StartTls => {
                    self.note("-- tls");
                }
                Output::AskVerify { expand, argument } => {
                    self.note(format!("-- {} {argument}", if expand { "expn" } else { "vrfy" }));
                    self.server.answer_verify(now, reply(250, (2, 0, 0), "<ann@mx.test>"));
                }
                Output::Anomaly(anomaly) => {
                    let text = format!("{anomaly:?}");
                    let name = text.split(' ').next().unwrap();
                    self.note(format!("-- anomaly {name}"));
                }
                Output::Close => {
                    self.closed = true;
                    self.note("-- close");
                }
            }
        }
    }

    /// User `ann`, password `secret`, by PLAIN and LOGIN.
    fn authenticate(&mut self, step: AuthStep) -> AuthAnswer {
        let challenge = |text: &str| AuthAnswer::Challenge(SaslMessage(text.into()));
        let check = |fine: bool| match fine {
            true => AuthAnswer::Success { account: "ann".into() },
            false => AuthAnswer::Failure(reply(535, (5, 7, 8), "wrong name or password")),
        };
        match step {
            AuthStep::Start { mechanism: Mechanism::Plain, initial: None } => challenge(""),
            AuthStep::Start { mechanism: Mechanism::Plain, initial: Some(SaslMessage(octets)) } => {
                check(octets == b"\0ann\0secret")
            }
            AuthStep::Start { mechanism: Mechanism::Login, .. } => {
                self.login_name = Some(Vec::new());
                challenge("Username:")
            }
            AuthStep::Start { .. } => check(false),
            AuthStep::Response(SaslMessage(octets)) => match self.login_name.take() {
                None => check(octets == b"\0ann\0secret"),
                Some(name) if name.is_empty() => {
                    self.login_name = Some(octets);
                    challenge("Password:")
                }
                Some(name) => check(name == b"ann" && octets == b"secret"),
            },
        }
    }
}

/// A name says how it is answered.
fn refused(name: &str) -> Answer {
    let refusal = |code, enhanced, text| Answer::Refuse(reply(code, enhanced, text));
    match name.split('@').next().unwrap_or_default() {
        "unknown" => refusal(550, (5, 1, 1), "no such user"),
        "later" => refusal(451, (4, 7, 1), "try again later"),
        "goaway" => refusal(421, (4, 7, 0), "go away"),
        _ => Answer::Accept,
    }
}

fn show_mail(mail: &postroad_wire_smtp::server::Mail) -> String {
    let mut out = format!("<{}>", mail.reverse_path);
    if let Some(octets) = mail.declared_octets {
        out += &format!(" size={octets}");
    }
    if mail.body != postroad_types::BodyKind::SevenBit {
        out += &format!(" {:?}", mail.body);
    }
    if mail.smtputf8 {
        out += " utf8";
    }
    if let Some(submitter) = &mail.submitter {
        out += &format!(" auth=<{submitter}>");
    }
    if let Some(id) = &mail.envelope_id {
        out += &format!(" envid={id}");
    }
    if let Some(ret) = mail.ret {
        out += &format!(" ret={ret:?}");
    }
    if mail.require_tls {
        out += " require-tls";
    }
    if mail.priority != 0 {
        out += &format!(" priority={}", mail.priority);
    }
    if let Some(by) = mail.deliver_by {
        out += &format!(" by={} {:?}{}", by.seconds, by.mode, if by.trace { " trace" } else { "" });
    }
    if let Some(hold) = mail.hold {
        out += &format!(" hold={hold:?}");
    }
    out
}
