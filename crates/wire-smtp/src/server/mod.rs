//! The server: one machine per connection.
//!
//! ```text
//!             AskGreeting        HELO/EHLO            MAIL               RCPT
//!  connected ------------> greeted -------> ready ----------> transaction ----+
//!                                            ^  ^                |  ^  |      |
//!                              STARTTLS, AUTH+  |  RSET, EHLO    |  |  +------+
//!                                               +----------------+  |
//!                                               |                   | BDAT (each chunk 250)
//!                                               |   250/4xx/5xx     v
//!                                               +-------------- body (DATA to the dot, BDAT to LAST)
//! ```
//!
//! A driver's loop:
//!
//! ```text
//! loop {
//!     while let Some(output) = server.poll_output() { carry it out }     // answers may be given at once
//!     select {
//!         octets from the socket, if server.wants_read() => server.receive(now, octets)
//!         end of the stream                              => server.end_of_input(now)
//!         sleep until server.poll_timeout()              => server.timed_out(now)
//!         an answer                                      => server.answer…(now, …)
//!         the service shuts down                         => server.shutdown(now)
//!     }
//! }
//! ```
//!
//! Replies are gathered while commands of the same packet are worked off, and written at once when the machine
//! must wait for the client (RFC 2920 §3.2). Only the reply that accepts a message is not held back behind a
//! question about the next one, because until the client has read it, it may send the message again.
//!
//! Every command's file says which replies it gives. A command that is wrong in itself costs one of
//! [`SMTP_ERRORS_MAX`](postroad_types::limits::SMTP_ERRORS_MAX) errors; a recipient that policy refuses does not,
//! since how many of those are too many is policy's own question.

mod auth;
mod bdat;
mod body;
mod command;
mod config;
mod data;
mod ehlo;
mod helo;
mod help;
mod mail;
mod noop;
mod output;
mod quit;
mod rcpt;
mod rset;
mod session;
mod starttls;
mod vrfy;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use postroad_types::{EnhancedCode, Reply, limits};

use crate::codec::line::LineReader;
use crate::codec::reply;
pub use config::{Config, Mechanism, Role, Timeouts, Tls, Verify};
pub use output::{
    Anomaly, Answer, AuthAnswer, AuthStep, By, Hello, Hold, Mail, Output, Recipient, SaslMessage,
};
pub use session::Session;

use body::Body;
use session::{Chunks, Transaction};

/// The server's side of one SMTP connection.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    session: Session,
    transaction: Option<Transaction>,
    phase: Phase,

    input: BytesMut,
    lines: LineReader,
    input_ended: bool,
    replies: BytesMut,
    /// The gathered replies hold one that took over a message.
    replies_are_urgent: bool,
    outputs: VecDeque<Output>,

    now: Instant,
    deadline: Option<Instant>,
    draining: bool,
    /// SCRAM-SHA-256-PLUS can be offered.
    binds_channel: bool,
    errors: u32,
    auth_failures: u32,
    idle_commands: u32,
    /// Messages that came whole.
    messages: u32,
}

/// What the next octets, or the next answer, mean.
#[derive(Debug)]
enum Phase {
    /// `AskGreeting` is open; octets are those of a client that talks first.
    Greeting,
    Command,
    /// The client's response to a SASL challenge.
    AuthResponse,
    /// The body of DATA, or what is left of a chunk of BDAT.
    Body(Body),
    /// A question is open.
    Asked(Question),
    TlsHandshake,
    Closed,
}

#[derive(Debug)]
enum Question {
    Hello(Hello),
    Mail {
        smtputf8: bool,
        binary: bool,
    },
    Verify,
    Recipient,
    Auth,
    /// The body that comes, if the driver agrees.
    Body(Body),
    /// The message is whole; is it taken over?
    Message,
}

impl Server {
    /// For a connection that was just accepted; `tls` is `Active` where TLS comes before the first octet.
    pub fn new(config: Arc<Config>, tls: Tls, now: Instant) -> Self {
        Server {
            session: Session::new(tls),
            config,
            transaction: None,
            phase: Phase::Greeting,
            input: BytesMut::new(),
            lines: LineReader::default(),
            input_ended: false,
            replies: BytesMut::new(),
            replies_are_urgent: false,
            outputs: VecDeque::from([Output::AskGreeting]),
            now,
            deadline: None,
            draining: false,
            binds_channel: false,
            errors: 0,
            auth_failures: 0,
            idle_commands: 0,
            messages: 0,
        }
    }

    /// Who the client is, as far as the dialogue has told.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Takes octets off the connection.
    pub fn receive(&mut self, now: Instant, octets: &[u8]) {
        self.now = now;
        match self.phase {
            Phase::Closed => {}
            Phase::Greeting => self.anomaly(Anomaly::TalkedFirst { octets: octets.len() }),
            Phase::TlsHandshake => self.anomaly(Anomaly::PlaintextAfterStartTls { octets: octets.len() }),
            _ => self.input.extend_from_slice(octets),
        }
    }

    /// The client will send no more. What it sent is still worked off.
    pub fn end_of_input(&mut self, now: Instant) {
        self.now = now;
        self.input_ended = true;
    }

    /// Whether more octets are welcome; if not, leave them in the socket, so that TCP slows the client down.
    pub fn wants_read(&self) -> bool {
        !self.input_ended
            && !matches!(self.phase, Phase::TlsHandshake | Phase::Closed)
            && self.input.len() < limits::SMTP_INPUT_OCTETS_MAX
    }

    /// When [`timed_out`](Self::timed_out) is due. None while the driver itself has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The client was too slow: 421 4.4.2 and the end. Does nothing before [`poll_timeout`](Self::poll_timeout).
    pub fn timed_out(&mut self, now: Instant) {
        self.now = now;
        if self.deadline.is_none_or(|due| now < due) {
            return;
        }
        if matches!(self.phase, Phase::TlsHandshake) {
            self.close();
        } else {
            let text = format!("{} waited too long for you", self.config.hostname.ascii());
            self.abandon(421, (4, 4, 2), &text);
        }
    }

    /// The service shuts down: a body that is coming is taken in and answered, everything else ends with
    /// 421 4.3.2.
    pub fn shutdown(&mut self, now: Instant) {
        self.now = now;
        self.draining = true;
    }

    /// The TLS handshake is done: the client starts anew with EHLO (RFC 3207 §4.2).
    pub fn tls_established(&mut self, now: Instant) {
        self.now = now;
        if matches!(self.phase, Phase::TlsHandshake) {
            self.session = Session::new(Tls::Active);
            self.transaction = None;
            self.phase = Phase::Command;
            self.deadline = None;
        }
    }

    /// The connection's TLS has a channel binding, which the driver gives to whoever checks SCRAM-SHA-256-PLUS.
    pub fn binds_channel(&mut self, able: bool) {
        self.binds_channel = able;
    }

    /// Answers the open question. An answer that nobody waits for any more is dropped.
    pub fn answer(&mut self, now: Instant, answer: Answer) {
        self.now = now;
        match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Greeting => self.answer_greeting(answer),
            Phase::Asked(Question::Hello(hello)) => self.answer_hello(hello, answer),
            Phase::Asked(Question::Mail { smtputf8, binary }) => self.answer_mail(smtputf8, binary, answer),
            Phase::Asked(Question::Recipient) => self.answer_recipient(answer),
            Phase::Asked(Question::Body(body)) => self.answer_body(body, answer),
            other => self.phase = other,
        }
    }

    /// Answers `AskVerify`: 250 with an address, 252, 550, 553 …
    pub fn answer_verify(&mut self, now: Instant, reply: Reply) {
        self.now = now;
        if matches!(self.phase, Phase::Asked(Question::Verify)) {
            self.phase = Phase::Command;
            self.reply(&reply);
        }
    }

    /// Answers `BodyEnd`: 250 with the queue id once the message is durable, else 4xx or 5xx.
    pub fn answer_message(&mut self, now: Instant, reply: Reply) {
        self.now = now;
        if matches!(self.phase, Phase::Asked(Question::Message)) {
            self.phase = Phase::Command;
            self.transaction = None;
            self.idle_commands = 0;
            self.messages += 1;
            self.replies_are_urgent = true;
            self.reply(&reply);
        }
    }

    /// The body that is coming in cannot be kept (disk full, policy): it is read to its end, and refused with
    /// this. Neither `BodyAbort` nor `BodyEnd` follows.
    pub fn refuse_body(&mut self, now: Instant, reply: Reply) {
        self.now = now;
        self.outputs.retain(|output| !matches!(output, Output::Body(_) | Output::BodyEnd));
        match (&mut self.phase, &mut self.transaction) {
            (Phase::Body(body), _) => body.refuse(reply),
            (Phase::Asked(Question::Message), _) => self.answer_message(now, reply),
            (_, Some(transaction)) => {
                if let Chunks::Begun(body) = &mut transaction.chunks {
                    body.refuse(reply);
                }
            }
            _ => {}
        }
    }

    fn answer_greeting(&mut self, answer: Answer) {
        if self.draining {
            let text = format!("{} is shutting down, come back soon", self.config.hostname.ascii());
            return self.abandon(421, (4, 3, 2), &text);
        }
        match answer {
            Answer::Accept => {
                let text = format!("{} {}", self.config.hostname.ascii(), self.config.banner);
                self.say_plain(220, &text);
            }
            Answer::Refuse(reply) if reply.code == 554 => {
                self.session.refused = true;
                self.reply(&reply);
            }
            Answer::Refuse(reply) => {
                self.reply(&reply);
                self.close();
            }
        }
    }

    /// The next thing to do, or `None` until there is input, an answer or a timeout.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if self.replies_are_urgent && !self.outputs.is_empty() && !self.replies.is_empty() {
                return Some(self.take_replies());
            }
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if !self.step() {
                break;
            }
        }
        let may_gather = matches!(self.phase, Phase::Asked(_) | Phase::Greeting);
        if !self.replies.is_empty() && (!may_gather || self.replies_are_urgent) {
            return Some(self.take_replies());
        }
        self.await_client();
        None
    }

    /// Works on what is buffered; whether that led anywhere.
    fn step(&mut self) -> bool {
        match self.phase {
            Phase::Command | Phase::AuthResponse if self.draining && !self.is_between_chunks() => {
                let text = format!("{} is shutting down, come back soon", self.config.hostname.ascii());
                self.abandon(421, (4, 3, 2), &text);
                true
            }
            Phase::Command => self.step_command(),
            Phase::AuthResponse => self.step_auth_response(),
            Phase::Body(_) => self.step_body(),
            Phase::Greeting if self.input_ended => {
                self.close();
                true
            }
            Phase::Greeting | Phase::Asked(_) | Phase::TlsHandshake | Phase::Closed => false,
        }
    }

    /// Nothing to do until the client says something: sets its deadline, and gives memory back.
    fn await_client(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 4096 {
            self.input = BytesMut::new();
        }
        if self.replies.capacity() > 4096 {
            self.replies = BytesMut::new();
        }
        let patience = match self.phase {
            Phase::Command | Phase::AuthResponse | Phase::TlsHandshake => self.config.timeouts.command,
            Phase::Body(_) => self.config.timeouts.data_block,
            Phase::Greeting | Phase::Asked(_) | Phase::Closed => {
                self.deadline = None;
                return;
            }
        };
        if self.deadline.is_none() {
            self.deadline = self.now.checked_add(patience);
        }
    }

    fn ask(&mut self, question: Question, output: Output) {
        self.phase = Phase::Asked(question);
        self.deadline = None;
        self.outputs.push_back(output);
    }

    fn anomaly(&mut self, anomaly: Anomaly) {
        self.outputs.push_back(Output::Anomaly(anomaly));
    }

    /// Adds a reply with an enhanced code.
    fn say(&mut self, code: u16, (class, subject, detail): (u8, u16, u16), text: &str) {
        let enhanced = Some(EnhancedCode::new(class, subject, detail));
        let utf8 = self.speaks_utf8();
        reply::write(&mut self.replies, code, enhanced, text, utf8);
    }

    /// Adds a reply that has no enhanced code (RFC 2034 §4).
    fn say_plain(&mut self, code: u16, text: &str) {
        let utf8 = self.speaks_utf8();
        reply::write(&mut self.replies, code, None, text, utf8);
    }

    /// Adds the driver's reply; 421 ends the session.
    fn reply(&mut self, given: &Reply) {
        let utf8 = self.speaks_utf8();
        reply::write(&mut self.replies, given.code, given.enhanced, &given.text, utf8);
        if given.code == 421 {
            self.close();
        }
    }

    /// Refuses a wrong command, and ends the session at the last one that is borne with.
    fn fault(&mut self, code: u16, enhanced: (u8, u16, u16), text: &str) {
        self.errors += 1;
        if self.errors >= limits::SMTP_ERRORS_MAX {
            self.abandon(421, (4, 7, 0), "too many errors");
        } else {
            self.say(code, enhanced, text);
        }
    }

    /// Says why, and closes.
    fn abandon(&mut self, code: u16, enhanced: (u8, u16, u16), text: &str) {
        self.say(code, enhanced, text);
        self.close();
    }

    /// Drops what is under way, writes what is left to say, and closes.
    fn close(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => return,
            Phase::Body(body) if body.is_wanted() => self.outputs.push_back(Output::BodyAbort),
            Phase::AuthResponse => self.outputs.push_back(Output::AuthAborted),
            _ => {}
        }
        self.drop_transaction();
        self.input = BytesMut::new();
        self.deadline = None;
        if !self.replies.is_empty() {
            let write = self.take_replies();
            self.outputs.push_back(write);
        }
        self.outputs.push_back(Output::Close);
    }

    fn take_replies(&mut self) -> Output {
        self.replies_are_urgent = false;
        let octets: Bytes = self.replies.split().freeze();
        Output::Write(octets)
    }

    fn is_between_chunks(&self) -> bool {
        let transaction = self.transaction.as_ref();
        transaction.is_some_and(|t| matches!(t.chunks, Chunks::Begun(_)))
    }

    fn speaks_utf8(&self) -> bool {
        self.transaction.as_ref().is_some_and(|t| t.smtputf8)
    }
}
