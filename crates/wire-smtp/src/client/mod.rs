//! The client: one machine per connection, any number of messages one after the other.
//!
//! ```text
//!  connected --220--> EHLO --250--> ready --STARTTLS--> handshake --> EHLO ...
//!                     | 5xx          ^  |
//!                     +--> HELO -----+  | send
//!                                    |  v
//!          reply to the message ---- | envelope: MAIL, RCPT …, DATA in one packet where PIPELINING is offered
//!                                    |  |  354, somebody accepted     354, nobody accepted
//!                                    |  v                              v
//!                                    | body, dot                      a dot alone (RFC 2920 §3.1)
//! ```
//!
//! The driver writes what [`Client::poll_output`] gives, and must go on reading while it writes: a server may
//! answer, or refuse, before it has everything. Whatever happens, each [`Client::send`] has exactly one
//! [`Output::Finished`], and in it an outcome for each recipient; when the connection is lost, recipients that had
//! their answer keep it.
//!
//! A transaction that ended before its body leaves the server with sender and recipients; RSET goes out with the
//! next message, not on its own, and so costs no round trip.

mod auth;
mod body;
mod capabilities;
mod config;
mod dialogue;
mod envelope;
mod hello;
mod output;
mod quit;
mod starttls;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, BytesMut};
use postroad_types::Reply;

use crate::codec::reply::ReplyReader;
pub use auth::Credentials;
pub use capabilities::Capabilities;
pub use config::{Config, Dialect, Timeouts};
pub use output::{
    AuthRefusal, Cause, Ending, Message, NotReady, Obstacle, Outcome, Output, ProtocolError,
    RecipientOutcome, Stage, To,
};

use auth::Exchange;
use dialogue::Dialogue;
use envelope::Transaction;

/// The client's side of one SMTP or LMTP connection.
#[derive(Debug)]
pub struct Client {
    config: Arc<Config>,
    phase: Phase,
    tls: bool,
    greeting: Option<Reply>,
    capabilities: Capabilities,
    /// The server still has sender and recipients of a message that came to nothing.
    needs_reset: bool,

    input: BytesMut,
    replies: ReplyReader,
    /// What the next replies answer, in order.
    awaited: VecDeque<Awaited>,
    commands: BytesMut,
    outputs: VecDeque<Output>,
    dialogue: Dialogue,

    now: Instant,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Greeting and hello.
    Opening,
    Ready,
    /// STARTTLS was said.
    StartTls,
    TlsHandshake,
    Auth(Exchange),
    Message(Box<Transaction>),
    Quitting,
    Closed,
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Reset,
    Mail,
    Recipient(usize),
    Data,
    /// A chunk of BDAT that is not the last.
    Chunk,
    /// The message, for all recipients that were accepted.
    Message,
    /// The message, for one recipient (LMTP).
    MessageFor(usize),
    /// A body of no lines that nobody gets.
    LoneDot,
    Quit,
}

impl Awaited {
    fn stage(self) -> Stage {
        match self {
            Awaited::Greeting => Stage::Greeting,
            Awaited::Ehlo | Awaited::Helo => Stage::Hello,
            Awaited::StartTls => Stage::StartTls,
            Awaited::Auth => Stage::Auth,
            Awaited::Reset => Stage::Reset,
            Awaited::Mail => Stage::Mail,
            Awaited::Recipient(_) => Stage::Recipient,
            Awaited::Data => Stage::DataStart,
            Awaited::Chunk => Stage::Body,
            Awaited::Message | Awaited::MessageFor(_) | Awaited::LoneDot => Stage::DataEnd,
            Awaited::Quit => Stage::Quit,
        }
    }
}

impl Client {
    /// For a connection that was just made; `tls` if TLS came before the first octet.
    pub fn new(config: Arc<Config>, tls: bool, now: Instant) -> Self {
        let mut client = Client {
            config,
            phase: Phase::Opening,
            tls,
            greeting: None,
            capabilities: Capabilities::default(),
            needs_reset: false,
            input: BytesMut::new(),
            replies: ReplyReader::default(),
            awaited: VecDeque::from([Awaited::Greeting]),
            commands: BytesMut::new(),
            outputs: VecDeque::new(),
            dialogue: Dialogue::default(),
            now,
            deadline: None,
        };
        client.rearm();
        client
    }

    /// What the server can do, from its last reply to EHLO.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The greeting, whatever it was.
    pub fn greeting(&self) -> Option<&Reply> {
        self.greeting.as_ref()
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the session waits to be told what is next.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Commands (`C: …`) and replies (`S: …`) since the last call, the last
    /// [`SMTP_DIALOGUE_LINES_MAX`](postroad_types::limits::SMTP_DIALOGUE_LINES_MAX); without bodies and secrets.
    pub fn take_dialogue(&mut self) -> Vec<String> {
        self.dialogue.take()
    }

    /// What the session waits for, to say where it failed.
    pub fn stage(&self) -> Stage {
        match (self.awaited.front(), &self.phase) {
            (Some(awaited), _) => awaited.stage(),
            (None, Phase::Message(_)) => Stage::Body,
            (None, Phase::StartTls | Phase::TlsHandshake) => Stage::StartTls,
            (None, _) => Stage::Idle,
        }
    }

    /// Takes octets off the connection.
    pub fn receive(&mut self, now: Instant, octets: &[u8]) {
        self.now = now;
        match self.phase {
            Phase::Closed => return,
            Phase::TlsHandshake => return self.break_off(ProtocolError::Injected),
            _ => self.input.extend_from_slice(octets),
        }
        while !matches!(self.phase, Phase::Closed | Phase::TlsHandshake) {
            match self.replies.next(&mut self.input) {
                Ok(Some(reply)) => self.on_reply(reply),
                Ok(None) => break,
                Err(error) => self.break_off(error.into()),
            }
        }
        if self.input.is_empty() && self.input.capacity() > 4096 {
            self.input = BytesMut::new();
        }
    }

    /// The server closed the connection, or it was lost.
    pub fn end_of_input(&mut self, now: Instant) {
        self.now = now;
        let ending = match self.phase {
            Phase::Quitting => Ending::Quit,
            _ => Ending::Disconnected { stage: self.stage() },
        };
        self.end(ending);
    }

    /// When [`timed_out`](Self::timed_out) is due. None between messages.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The server was too slow. Does nothing before [`poll_timeout`](Self::poll_timeout).
    pub fn timed_out(&mut self, now: Instant) {
        self.now = now;
        if self.deadline.is_none_or(|due| now < due) {
            return;
        }
        let ending = match self.phase {
            Phase::Quitting => Ending::Quit,
            _ => Ending::TimedOut { stage: self.stage() },
        };
        self.end(ending);
    }

    /// The next thing to do, or `None` until there is input, a call or a timeout.
    pub fn poll_output(&mut self) -> Option<Output> {
        if !self.commands.is_empty() {
            return Some(Output::Write(self.commands.split().freeze()));
        }
        self.outputs.pop_front()
    }

    fn on_reply(&mut self, reply: Reply) {
        self.dialogue.add(format!("S: {reply}"));
        let Some(awaited) = self.awaited.pop_front() else {
            return self.on_unasked(reply);
        };
        self.rearm();
        if reply.code == 421 && awaited != Awaited::Quit {
            // Also in reply to a command, it means that the server closes (RFC 5321 §3.8).
            if awaited == Awaited::Greeting {
                self.greeting = Some(reply.clone());
            }
            return self.end(Ending::Refused { stage: awaited.stage(), reply });
        }
        match awaited {
            Awaited::Greeting => self.on_greeting(reply),
            Awaited::Ehlo => self.on_ehlo(reply),
            Awaited::Helo => self.on_helo(reply),
            Awaited::StartTls => self.on_starttls(reply),
            Awaited::Auth => self.on_auth(reply),
            Awaited::Reset => self.on_reset(reply),
            Awaited::Mail => self.on_mail(reply),
            Awaited::Recipient(index) => self.on_recipient(index, reply),
            Awaited::Data => self.on_data(reply),
            Awaited::Chunk => self.on_chunk(reply),
            Awaited::Message => self.on_message(reply),
            Awaited::MessageFor(index) => self.on_message_for(index, reply),
            Awaited::LoneDot => self.finish(),
            Awaited::Quit => self.end(Ending::Quit),
        }
    }

    /// A reply to nothing: a server that gives up says 421, or refuses a body that is still coming.
    fn on_unasked(&mut self, reply: Reply) {
        let stage = self.stage();
        if reply.code == 421 || (stage == Stage::Body && !reply.is_positive()) {
            self.end(Ending::Refused { stage, reply });
        } else {
            self.break_off(ProtocolError::Unasked(reply));
        }
    }

    /// Writes a command line and waits for its reply.
    fn command(&mut self, line: &str, awaited: Awaited) {
        self.dialogue.add(format!("C: {line}"));
        self.secret_command(line, awaited);
    }

    /// The same, for a line that must not be seen.
    fn secret_command(&mut self, line: &str, awaited: Awaited) {
        self.commands.put_slice(line.as_bytes());
        self.commands.put_slice(b"\r\n");
        self.awaited.push_back(awaited);
        if self.awaited.len() == 1 {
            self.rearm();
        }
    }

    /// Gives the server its time for the reply that is due next.
    fn rearm(&mut self) {
        let times = &self.config.timeouts;
        let patience: Option<Duration> = match (self.awaited.front().map(|a| a.stage()), &self.phase) {
            (Some(stage), _) => Some(match stage {
                Stage::Greeting => times.greeting,
                Stage::Mail => times.mail,
                Stage::Recipient => times.recipient,
                Stage::DataStart => times.data_start,
                Stage::Body => times.data_block,
                Stage::DataEnd => times.data_end,
                Stage::Hello | Stage::StartTls | Stage::Auth | Stage::Idle | Stage::Reset | Stage::Quit => {
                    times.command
                }
            }),
            (None, Phase::Message(_)) => Some(times.data_block),
            (None, Phase::TlsHandshake) => Some(times.command),
            (None, _) => None,
        };
        self.deadline = patience.and_then(|patience| self.now.checked_add(patience));
    }

    fn unfitting(&mut self, stage: Stage, reply: Reply) {
        let error = ProtocolError::Unfitting(reply);
        self.end(Ending::Protocol { stage, error });
    }

    fn break_off(&mut self, error: ProtocolError) {
        let stage = self.stage();
        self.end(Ending::Protocol { stage, error });
    }

    /// The session is over; so is a message that was under way.
    fn end(&mut self, ending: Ending) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Closed => return,
            Phase::Message(transaction) => {
                let outcome = transaction.broken_off(&ending);
                self.outputs.retain(|output| !matches!(output, Output::WantBody));
                self.outputs.push_back(Output::Finished(outcome));
            }
            _ => {}
        }
        if matches!(ending, Ending::Refused { stage: Stage::Greeting | Stage::Hello, .. }) {
            // RFC 5321 §3.1: a refused client still says QUIT; nobody waits for the reply.
            self.commands.put_slice(b"QUIT\r\n");
        }
        self.awaited.clear();
        self.deadline = None;
        self.outputs.push_back(Output::Closed(ending));
    }
}
