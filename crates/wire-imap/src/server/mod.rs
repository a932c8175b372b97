//! A session as a machine (RFC 3501 §3).
//!
//! | phase      | input               | what happens                                             | next                |
//! |------------|---------------------|----------------------------------------------------------|---------------------|
//! | Command    | part of a command   | kept; `+ …` for a literal that waits for it              | Command             |
//! | Command    | whole command       | answered here, or asked of the driver                    | Executing and others |
//! | Command    | APPEND's message    | the driver is asked whether it wants it                  | AppendAsked         |
//! | Command    | too long, too big   | thrown away, then tagged BAD or NO                       | Skip, Command       |
//! | Executing  | anything            | waits (pipelining): the driver is carrying out a command | on `finish`: Command |
//! | Sasl       | a line              | base64 undone, to the driver                             | Executing           |
//! | AppendAsked| anything            | waits                                                    | on `append_accept`: AppendBody |
//! | AppendBody | octets              | to the driver                                            | AppendTail          |
//! | AppendTail | line end            | the driver is told that the message is whole             | Executing           |
//! | Idle       | `DONE`              | the driver is told                                       | Executing           |
//! | Tls        | –                   | plaintext behind STARTTLS is thrown away (RFC 2595 §2.1)  | on `tls_started`: Command |
//!
//! One command is carried out at a time; what came behind it waits in the machine, up to a bound that
//! [`Server::wants_input`] tells.

mod dispatch;
mod input;

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postroad_types::limits::IMAP_ERRORS_MAX;

use crate::command::{
    Append, Authenticate, Copy, Create, Fetch, List, Login, Lsub, Rename, Search, Select, Store,
};
use crate::response::{Code, Condition, Status, Untagged};
use crate::sequence::SequenceSet;

/// What a session is allowed and says of itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in the greeting.
    pub host: String,
    /// The octets of the largest message that APPEND takes.
    pub append_octets_max: u64,
    /// STARTTLS can be given.
    pub starttls: bool,
    /// Passwords are taken without TLS: for loopback, when the operator says so.
    pub plaintext_login: bool,
    /// SASL mechanisms that the directory knows, in upper case, best first.
    pub mechanisms: Vec<String>,
}

/// What the driver does next, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Write(Vec<u8>),
    /// Hand the connection to TLS, then [`Server::tls_started`].
    StartTls,
    /// Carry this out, then [`Server::finish`] or what the question says. No other question comes before.
    Ask(Ask),
    /// The client's next SASL message. Answer as for [`Ask::Authenticate`].
    SaslResponse(SaslOctets),
    /// The client gave the SASL exchange up; the machine has answered it.
    SaslCancelled,
    /// Octets of the message that is appended.
    AppendChunk(Vec<u8>),
    /// The message is whole: store it and [`Server::finish`].
    AppendEnd,
    /// The message will not become whole: forget it. The machine has answered.
    AppendBroken,
    /// The client ended IDLE: [`Server::finish`].
    IdleDone,
    /// All is said.
    Close,
}

/// May hold a password; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslOctets(pub Vec<u8>);

impl std::fmt::Debug for SaslOctets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SaslOctets({} octets)", self.0.len())
    }
}

/// A command for the driver. Unless said otherwise it answers with untagged responses and
/// [`Server::finish`].
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Answer with [`Server::challenge`], [`Server::authenticated`] or `finish` with NO.
    Authenticate(Authenticate),
    /// Answer with [`Server::authenticated`] or `finish` with NO.
    Login(Login),
    /// On success [`Server::selected`] before `finish`; a mailbox that was selected is given up in any case.
    Select(Select),
    Create(Create),
    Delete(String),
    Rename(Rename),
    Subscribe {
        mailbox: String,
        subscribed: bool,
    },
    List(List),
    Lsub(Lsub),
    Status(crate::command::Status),
    /// Answer with [`Server::append_accept`] or `finish` with NO. After accepting, chunks come, and `finish`
    /// is due after [`Output::AppendEnd`], or before it with NO.
    Append(Append),
    /// News of the mailbox may be told until [`Output::IdleDone`].
    Idle,
    GetQuota(Vec<u8>),
    GetQuotaRoot(String),
    /// NOOP or CHECK: tell the news.
    Noop,
    /// Expunge silently if the mailbox is open for writing; it is given up after `finish`.
    Close,
    Unselect,
    Expunge(Option<SequenceSet>),
    Search(Search),
    Fetch(Fetch),
    Store(Store),
    Copy(Copy),
    Move(Copy),
}

impl Ask {
    /// The command's name, for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Ask::Authenticate(_) => "authenticate",
            Ask::Login(_) => "login",
            Ask::Select(_) => "select",
            Ask::Create(_) => "create",
            Ask::Delete(_) => "delete",
            Ask::Rename(_) => "rename",
            Ask::Subscribe { .. } => "subscribe",
            Ask::List(_) => "list",
            Ask::Lsub(_) => "lsub",
            Ask::Status(_) => "status",
            Ask::Append(_) => "append",
            Ask::Idle => "idle",
            Ask::GetQuota(_) => "getquota",
            Ask::GetQuotaRoot(_) => "getquotaroot",
            Ask::Noop => "noop",
            Ask::Close => "close",
            Ask::Unselect => "unselect",
            Ask::Expunge(_) => "expunge",
            Ask::Search(_) => "search",
            Ask::Fetch(_) => "fetch",
            Ask::Store(_) => "store",
            Ask::Copy(_) => "copy",
            Ask::Move(_) => "move",
        }
    }
}

/// How far the client has come (RFC 3501 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotAuthenticated,
    Authenticated,
    Selected,
}

#[derive(Debug)]
enum Phase {
    Command,
    Executing,
    Sasl,
    /// The mechanism's last word is on its way; an empty response ends the exchange.
    SaslLast,
    AppendAsked {
        size: u64,
        synchronising: bool,
    },
    AppendBody {
        left: u64,
    },
    AppendTail,
    Idle,
    /// Throws `left` octets of a literal away, then the rest of its line; then says `reply`.
    Skip {
        left: u64,
        skipped: u64,
        tail: Vec<u8>,
        reply: Vec<u8>,
    },
    Tls,
    Closed,
}

/// Octets that wait while a command is carried out, before reading should stop.
const WAITING_OCTETS_MAX: usize = 64 * 1024;

/// The server's side of one connection.
#[derive(Debug)]
pub struct Server {
    config: Config,
    tls: bool,
    state: State,
    condstore: bool,
    phase: Phase,
    /// What came and was not looked at; `read` octets of it are done with.
    input: Vec<u8>,
    read: usize,
    /// The command at hand, literals included.
    command: Vec<u8>,
    /// Where its line at hand begins.
    line_start: usize,
    /// Of the literal at hand.
    literal_left: usize,
    tag: Vec<u8>,
    /// The command at hand gives the mailbox up.
    leaves_mailbox: bool,
    errors: u32,
    shutting_down: bool,
    /// `process` is at work: what it calls must not begin it again, or many small commands would nest.
    processing: bool,
    outputs: VecDeque<Output>,
}

impl Server {
    /// Greets at once. `tls`: the connection is inside TLS already (port 993).
    pub fn new(config: Config, tls: bool) -> Self {
        let mut server = Server {
            config,
            tls,
            state: State::NotAuthenticated,
            condstore: false,
            phase: Phase::Command,
            input: Vec::new(),
            read: 0,
            command: Vec::new(),
            line_start: 0,
            literal_left: 0,
            tag: Vec::new(),
            leaves_mailbox: false,
            errors: 0,
            shutting_down: false,
            processing: false,
            outputs: VecDeque::new(),
        };
        let greeting = Status::ok(format!("{} IMAP4rev1 ready", server.config.host));
        let capabilities = Code::Capability(server.capabilities());
        server.write_status(b"*", greeting.with(capabilities));
        server
    }

    /// What the driver has to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Octets from the client.
    pub fn receive(&mut self, octets: &[u8]) {
        if matches!(self.phase, Phase::Closed | Phase::Tls) {
            return;
        }
        self.input.extend_from_slice(octets);
        self.process();
    }

    /// The client will send no more.
    pub fn receive_eof(&mut self) {
        if matches!(self.phase, Phase::AppendBody { .. } | Phase::AppendTail) {
            self.outputs.push_back(Output::AppendBroken);
        }
        self.close();
    }

    /// Whether reading goes on: not while too much waits behind a command that is carried out.
    pub fn wants_input(&self) -> bool {
        !matches!(self.phase, Phase::Closed | Phase::Tls) && self.input.len() - self.read < WAITING_OCTETS_MAX
    }

    /// Before that, the driver bounds the time to log in; after it, the time of silence, at least 30 minutes
    /// (RFC 3501 §5.4). Then [`Server::timed_out`].
    pub fn is_authenticated(&self) -> bool {
        self.state != State::NotAuthenticated
    }

    /// The driver is carrying a command out.
    pub fn is_executing(&self) -> bool {
        matches!(self.phase, Phase::Executing | Phase::AppendAsked { .. })
    }

    pub fn timed_out(&mut self) {
        self.bye(Status::bye("autologout: you said nothing for too long"));
    }

    /// Ends the session: the mailbox that is selected is no more what it was (RFC 3501 §7.1.5).
    pub fn mailbox_lost(&mut self) {
        self.bye(Status::bye("the mailbox was removed or made anew, connect again"));
    }

    /// The service is going down: the session ends with BYE, after the command at hand.
    pub fn shut_down(&mut self) {
        self.shutting_down = true;
        if matches!(self.phase, Phase::Command | Phase::Idle | Phase::Sasl | Phase::SaslLast) {
            self.bye(Status::bye("the server is shutting down, come back soon").with(Code::Unavailable));
        }
    }

    /// TLS stands: the client begins anew (RFC 3501 §6.2.1).
    pub fn tls_started(&mut self) {
        if matches!(self.phase, Phase::Tls) {
            self.tls = true;
            self.phase = Phase::Command;
        }
    }

    /// A challenge for the client; its answer comes as [`Output::SaslResponse`].
    pub fn challenge(&mut self, octets: &[u8]) {
        self.write(format!("+ {}\r\n", STANDARD.encode(octets)).into_bytes());
        self.phase = Phase::Sasl;
        self.process();
    }

    /// The client is who it says. `last`: the mechanism's last word to it, told before the OK.
    pub fn authenticated(&mut self, last: Option<&[u8]>) {
        self.state = State::Authenticated;
        if let Some(last) = last {
            self.write(format!("+ {}\r\n", STANDARD.encode(last)).into_bytes());
            self.phase = Phase::SaslLast;
            return self.process();
        }
        self.welcome();
    }

    fn welcome(&mut self) {
        let code = Code::Capability(self.capabilities());
        self.finish(Status::ok("logged in").with(code));
    }

    /// A mailbox is selected; from now on its commands are allowed.
    pub fn selected(&mut self) {
        self.state = State::Selected;
        self.leaves_mailbox = false;
    }

    /// Mod-sequences are wanted by the client (RFC 7162 §3.1).
    pub fn condstore(&self) -> bool {
        self.condstore
    }

    /// Switches CONDSTORE on, as commands that use it do.
    pub fn enable_condstore(&mut self) {
        self.condstore = true;
    }

    /// The tag of the command at hand, for ESEARCH.
    pub fn tag(&self) -> &[u8] {
        &self.tag
    }

    /// The driver wants the message that APPEND announced.
    pub fn append_accept(&mut self) {
        if let Phase::AppendAsked { size, synchronising } = self.phase {
            if synchronising {
                self.write(b"+ send the message\r\n".to_vec());
            }
            self.phase = Phase::AppendBody { left: size };
            self.process();
        }
    }

    pub fn untagged(&mut self, response: &Untagged) {
        let mut out = Vec::new();
        response.write_to(&mut out);
        self.write(out);
    }

    /// Octets of responses that were written elsewhere ([`crate::FetchWriter`]).
    pub fn write(&mut self, octets: Vec<u8>) {
        match self.outputs.back_mut() {
            Some(Output::Write(last)) if last.len() + octets.len() <= WAITING_OCTETS_MAX => {
                last.extend_from_slice(&octets);
            }
            _ if octets.is_empty() => {}
            _ => self.outputs.push_back(Output::Write(octets)),
        }
    }

    /// Ends the command at hand.
    pub fn finish(&mut self, status: Status) {
        match status.condition {
            Condition::Ok => self.errors = 0,
            Condition::Bad => self.errors += 1,
            Condition::No if self.state == State::NotAuthenticated => self.errors += 1,
            Condition::No | Condition::Bye => {}
        }
        if std::mem::take(&mut self.leaves_mailbox) {
            self.state = State::Authenticated;
        }
        let tag = std::mem::take(&mut self.tag);
        let mut reply = Vec::new();
        status.write_to(&mut reply, &tag);
        match self.phase {
            // The message that nobody wants any more is still on its way.
            Phase::AppendAsked { size, synchronising: false } => self.skip(size, reply),
            Phase::AppendBody { left } => self.skip(left, reply),
            Phase::AppendTail => self.skip(0, reply),
            Phase::Closed => {}
            _ => {
                self.write(reply);
                self.next_command();
            }
        }
        self.process();
    }

    fn next_command(&mut self) {
        self.phase = Phase::Command;
        self.command.clear();
        self.line_start = 0;
        self.literal_left = 0;
        if self.errors >= IMAP_ERRORS_MAX {
            self.bye(Status::bye("too many wrong commands"));
        } else if self.shutting_down {
            self.shut_down();
        }
    }

    fn write_status(&mut self, tag: &[u8], status: Status) {
        let mut out = Vec::new();
        status.write_to(&mut out, tag);
        self.write(out);
    }

    fn bye(&mut self, status: Status) {
        if matches!(self.phase, Phase::AppendBody { .. } | Phase::AppendTail) {
            self.outputs.push_back(Output::AppendBroken);
        }
        if !matches!(self.phase, Phase::Closed) {
            self.write_status(b"*", status);
            self.close();
        }
    }

    fn close(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            self.phase = Phase::Closed;
            self.outputs.push_back(Output::Close);
        }
        self.input = Vec::new();
        self.read = 0;
    }

    /// What CAPABILITY says in this state.
    fn capabilities(&self) -> String {
        let mut words = String::from("IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE");
        if self.state == State::NotAuthenticated {
            if self.config.starttls && !self.tls {
                words += " STARTTLS";
            }
            if self.login_allowed() {
                for mechanism in &self.config.mechanisms {
                    words += " AUTH=";
                    words += mechanism;
                }
            } else {
                words += " LOGINDISABLED";
            }
        } else {
            words += " NAMESPACE CHILDREN UIDPLUS UNSELECT MOVE SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED \
                      LIST-STATUS ESEARCH CONDSTORE STATUS=SIZE QUOTA QUOTA=RES-STORAGE";
        }
        words
    }

    fn login_allowed(&self) -> bool {
        self.tls || self.config.plaintext_login
    }
}
