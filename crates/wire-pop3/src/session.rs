//! The session: which command is allowed when, what it waits for, and what it says.
//!
//! Work is done when output is asked for, and only so much that a few replies wait to be written: a client
//! that sends a thousand commands and reads no reply is stopped by its own socket. A command whose answer
//! comes from outside holds up the ones behind it, so that replies keep their order (RFC 2449 §6.6).

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use postroad_types::limits;

use crate::body::BodyWriter;
use crate::command::Command;
use crate::line::{Line, LineReader};
use crate::maildrop::{Maildrop, Message, Snapshot};
use crate::output::{Ask, BodyError, DeleteError, MaildropError, Output, Scope};
use crate::reply::{Code, err, err_code, ok};
use crate::sasl::SaslAnswer;

/// What holds for every session of a listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name, for the greeting.
    pub host: String,
    /// STLS can be done: there is a certificate, and the connection has no TLS yet.
    pub offers_tls: bool,
    /// Passwords may cross a connection without TLS: for loopback and tests.
    pub allows_plaintext_auth: bool,
    /// Silence before a client that has logged in is cut off; at least ten minutes by RFC 1939 §3.
    pub idle_timeout: Duration,
    /// Time that a client has to log in, from the connection's start or TLS's.
    pub login_timeout: Duration,
}

pub(crate) enum State {
    /// AUTHORIZATION of RFC 1939. `user` was said, PASS is to come.
    Authorization {
        user: Option<String>,
    },
    /// The client's next line belongs to a SASL exchange. `last`: it can only be empty, the login stands.
    SaslResponse {
        last: bool,
    },
    /// The directory is asked. `challenges`: the client can be asked back, which PASS can't.
    Authenticating {
        challenges: bool,
    },
    StartingTls,
    OpeningMaildrop,
    Transaction,
    /// A list is written, from this message number on.
    Listing {
        list: List,
        next: u32,
    },
    /// Whether the message is there is asked.
    OpeningBody {
        number: u32,
        scope: Scope,
    },
    WritingBody(BodyWriter),
    /// UPDATE of RFC 1939.
    Deleting {
        count: usize,
    },
    Closed,
}

#[derive(Clone, Copy)]
pub(crate) enum List {
    Sizes,
    UniqueIds,
}

/// One client's session. Its contract stands at the head of the crate.
pub struct Session {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) tls: bool,
    pub(crate) maildrop: Maildrop,
    input: LineReader,
    ended: bool,
    leaving: bool,
    outputs: VecDeque<Output>,
    errors: u32,
    logins_refused: u32,
    login_since: Instant,
    last_sign: Instant,
}

impl Session {
    /// A session over a connection that was just accepted; `tls` if TLS is on already (port 995).
    pub fn new(config: Config, tls: bool, now: Instant) -> Self {
        let mut session = Session {
            state: State::Authorization { user: None },
            tls,
            maildrop: Maildrop::default(),
            input: LineReader::default(),
            ended: false,
            leaving: false,
            outputs: VecDeque::new(),
            errors: 0,
            logins_refused: 0,
            login_since: now,
            last_sign: now,
            config,
        };
        let greeting = ok(format_args!("{} POP3 ready", session.config.host));
        session.write(greeting.as_bytes());
        session
    }

    /// Octets that the client sent.
    pub fn receive(&mut self, octets: &[u8], now: Instant) {
        match self.state {
            // What came with STLS or behind it in the clear is nobody's.
            State::StartingTls | State::Closed => {}
            _ => {
                // RFC 1939 §3 has any command push the deadline out; half a line is none.
                if octets.contains(&b'\n') {
                    self.last_sign = now;
                }
                self.input.push(octets);
            }
        }
    }

    /// The client sends no more. Commands that came whole are still obeyed, QUIT among them.
    pub fn receive_end(&mut self) {
        self.ended = true;
    }

    /// TLS is on.
    pub fn tls_started(&mut self, now: Instant) {
        if matches!(self.state, State::StartingTls) {
            self.tls = true;
            self.login_since = now;
            self.state = State::Authorization { user: None };
        }
    }

    /// The deadline has passed. RFC 1939 §3: the connection is closed without a word, nothing is deleted.
    pub fn timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.close();
        }
    }

    /// This server goes down: the session ends as soon as no reply is half written.
    pub fn shutdown(&mut self) {
        self.leaving = true;
    }

    /// When to call [`Session::timeout`]; none while the session itself waits for an answer.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Authorization { .. } | State::SaslResponse { .. } => {
                self.login_since.checked_add(self.config.login_timeout)
            }
            State::Transaction => self.last_sign.checked_add(self.config.idle_timeout),
            _ => None,
        }
    }

    /// Whether to read from the client. Asked when there is no output left.
    pub fn wants_input(&self) -> bool {
        self.takes_lines() && !self.ended
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        while self.may_go_on() && self.go_on() {}
        self.outputs.pop_front()
    }

    /// To [`Ask::Authenticate`] and [`Ask::Respond`].
    pub fn answer_sasl(&mut self, answer: SaslAnswer, now: Instant) {
        if let State::Authenticating { challenges } = self.state {
            self.last_sign = now;
            self.sasl_answered(answer, challenges);
        }
    }

    /// To [`Ask::Maildrop`].
    pub fn answer_maildrop(&mut self, answer: Result<Snapshot, MaildropError>, now: Instant) {
        if !matches!(self.state, State::OpeningMaildrop) {
            return;
        }
        self.last_sign = now;
        match answer {
            Ok(snapshot) => {
                self.maildrop = Maildrop::new(snapshot);
                self.state = State::Transaction;
                let text = self.messages_and_octets();
                self.ok(text);
            }
            Err(MaildropError) => {
                self.state = State::Authorization { user: None };
                self.err_code(Code::SysTemp, "the mailbox can't be opened now, try later");
            }
        }
    }

    /// To [`Ask::Body`].
    pub fn answer_body(&mut self, answer: Result<(), BodyError>, now: Instant) {
        if let State::OpeningBody { number, scope } = self.state {
            self.last_sign = now;
            self.body_answered(answer, number, scope);
        }
    }

    /// Octets of the message that was asked for.
    pub fn body_chunk(&mut self, octets: &[u8], now: Instant) {
        if let State::WritingBody(writer) = &mut self.state {
            self.last_sign = now;
            let mut out = Vec::with_capacity(octets.len() + octets.len() / 64 + 8);
            let enough = writer.write(octets, &mut out);
            self.write_owned(out);
            if enough {
                self.outputs.push_back(Output::StopBody);
                self.body_end(now);
            }
        }
    }

    /// All octets of the message were brought.
    pub fn body_end(&mut self, now: Instant) {
        if let State::WritingBody(writer) = &self.state {
            self.last_sign = now;
            let mut end = Vec::new();
            writer.finish(&mut end);
            self.write_owned(end);
            self.state = State::Transaction;
        }
    }

    /// The rest of the message can't be had. Half of it is written, and POP3 has no way to take it back:
    /// the connection is closed, so that no client takes the half for the whole.
    pub fn body_broken(&mut self) {
        if matches!(self.state, State::WritingBody(_)) {
            self.close();
        }
    }

    /// To [`Ask::Delete`].
    pub fn answer_delete(&mut self, answer: Result<(), DeleteError>) {
        if let State::Deleting { count } = self.state {
            self.delete_answered(answer, count);
        }
    }

    fn takes_lines(&self) -> bool {
        matches!(self.state, State::Authorization { .. } | State::SaslResponse { .. } | State::Transaction)
    }

    /// Whether what waits to be done and written leaves room for more.
    fn may_go_on(&self) -> bool {
        self.outputs.len() <= 1
            && self.outputs.iter().all(|output| match output {
                Output::Write(octets) => octets.len() < limits::POP3_REPLIES_OCTETS_MAX,
                _ => false,
            })
    }

    /// Takes one step. False if there is nothing to do before something comes in.
    fn go_on(&mut self) -> bool {
        if let State::Listing { list, next } = self.state {
            self.list_more(list, next);
            return true;
        }
        if !self.takes_lines() {
            return false;
        }
        if self.leaving {
            self.err_code(Code::SysTemp, "the server is going down, come back later");
            self.close();
            return true;
        }
        match self.input.next() {
            Some(line) => self.obey_line(line),
            None if self.ended => {
                if matches!(self.state, State::SaslResponse { last: false }) {
                    self.ask(Ask::CancelAuthentication);
                }
                self.close();
            }
            None => return false,
        }
        true
    }

    fn obey_line(&mut self, line: Line) {
        if let State::SaslResponse { last } = self.state {
            return self.sasl_response(line, last);
        }
        let text = match line {
            Line::Text(text) => text,
            bad => return self.error(bad_line(&bad)),
        };
        let command = match Command::parse(&text) {
            Ok(command) => command,
            Err(error) => return self.error(error),
        };
        match (&self.state, command) {
            (_, Command::Capa) => self.capa(),
            (_, Command::Quit) => self.quit(),
            (State::Authorization { .. }, command) => match command {
                Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
                Command::Pass(password) => self.pass(password),
                Command::Stls => self.stls(),
                Command::User(name) => self.user(name),
                Command::Utf8 => self.utf8(),
                _ => self.error("log in first"),
            },
            (_, command) => match command {
                Command::Dele(number) => self.dele(number),
                Command::List(number) => self.list(number),
                Command::Noop => self.ok("still here"),
                Command::Retr(number) => self.retr(number, Scope::Whole),
                Command::Rset => self.rset(),
                Command::Stat => self.stat(),
                Command::Top { number, lines } => self.retr(number, Scope::Top { lines }),
                Command::Uidl(number) => self.uidl(number),
                _ => self.error("you are logged in already"),
            },
        }
    }
}

/// What the verbs share.
impl Session {
    pub(crate) fn ask(&mut self, ask: Ask) {
        self.outputs.push_back(Output::Ask(ask));
    }

    pub(crate) fn start_tls(&mut self) {
        self.input.clear();
        self.state = State::StartingTls;
        self.outputs.push_back(Output::StartTls);
    }

    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.input.clear();
        self.outputs.push_back(Output::Close);
    }

    pub(crate) fn write(&mut self, octets: &[u8]) {
        match self.outputs.back_mut() {
            Some(Output::Write(written)) => written.extend_from_slice(octets),
            _ => self.outputs.push_back(Output::Write(octets.to_vec())),
        }
    }

    fn write_owned(&mut self, octets: Vec<u8>) {
        match self.outputs.back_mut() {
            Some(Output::Write(written)) => written.extend_from_slice(&octets),
            _ if octets.is_empty() => {}
            _ => self.outputs.push_back(Output::Write(octets)),
        }
    }

    pub(crate) fn ok(&mut self, text: impl fmt::Display) {
        self.write(ok(text).as_bytes());
    }

    pub(crate) fn err(&mut self, text: impl fmt::Display) {
        self.write(err(text).as_bytes());
    }

    pub(crate) fn err_code(&mut self, code: Code, text: impl fmt::Display) {
        self.write(err_code(code, text).as_bytes());
    }

    /// Answers a command that can't be understood or stands in the wrong place; ends the session when the
    /// client sends nothing better.
    pub(crate) fn error(&mut self, text: impl fmt::Display) {
        self.err(text);
        self.errors += 1;
        if self.errors >= limits::POP3_ERRORS_MAX {
            self.err("too many errors, good bye");
            self.close();
        }
    }

    /// Answers a login that was refused; ends the session of who goes on guessing.
    pub(crate) fn login_refused(&mut self, reply: &str) {
        self.state = State::Authorization { user: None };
        self.write(reply.as_bytes());
        self.logins_refused += 1;
        if self.logins_refused >= limits::POP3_LOGINS_REFUSED_MAX {
            self.close();
        }
    }

    /// `2 messages (320 octets)` of what is not marked as deleted.
    pub(crate) fn messages_and_octets(&self) -> String {
        let count = self.maildrop.count();
        let noun = if count == 1 { "message" } else { "messages" };
        format!("{count} {noun} ({} octets)", self.maildrop.octets())
    }

    /// The message of that number; if there is none, the client is told so.
    pub(crate) fn message(&mut self, number: u32) -> Option<Message> {
        let message = self.maildrop.get(number);
        if message.is_none() {
            self.err(format_args!("there is no message {number}"));
        }
        message
    }
}

/// What is wrong with a line that has no text.
pub(crate) fn bad_line(line: &Line) -> &'static str {
    match line {
        Line::TooLong => "the line is too long",
        Line::BareLf => "a line ends with CR LF, this one has LF alone",
        Line::Control => "the line has a NUL or a CR in it",
        Line::NotUtf8 | Line::Text(_) => "the line is not UTF-8",
    }
}

/// Without the input, which may hold a password.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Authorization { .. } => "authorization",
            State::SaslResponse { .. } => "waiting for a SASL response",
            State::Authenticating { .. } => "waiting for the directory",
            State::StartingTls => "starting TLS",
            State::OpeningMaildrop => "waiting for the maildrop",
            State::Transaction => "transaction",
            State::Listing { .. } => "listing",
            State::OpeningBody { .. } => "waiting for a message",
            State::WritingBody(_) => "writing a message",
            State::Deleting { .. } => "waiting for the deletion",
            State::Closed => "closed",
        };
        f.debug_struct("Session")
            .field("state", &state)
            .field("tls", &self.tls)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}
