//! What the server machine wants of its driver, and what the driver answers.

use std::fmt;

use bytes::Bytes;
use postroad_types::{BodyKind, ByMode, Host, Notify, Reply, Ret, ReversePath};

use super::config::Mechanism;
use crate::codec::path::ForwardPath;

/// One step for the driver. Outputs are to be carried out in order, each before the next is polled.
#[derive(Debug)]
pub enum Output {
    /// Write these octets to the connection and flush it.
    Write(Bytes),
    /// A client has connected: may it speak? Answer with [`Server::answer`](super::Server::answer).
    ///
    /// A driver that waits a while before it answers, and goes on reading, finds clients that talk first.
    AskGreeting,
    /// HELO or EHLO. Answer with [`Server::answer`](super::Server::answer).
    AskHello(Hello),
    /// MAIL. Answer with [`Server::answer`](super::Server::answer).
    AskMail(Mail),
    /// RCPT. Answer with [`Server::answer`](super::Server::answer).
    AskRecipient(Recipient),
    /// VRFY or EXPN, where the configuration leaves them to the driver. Answer with
    /// [`Server::answer_verify`](super::Server::answer_verify).
    AskVerify { expand: bool, argument: String },
    /// DATA, or the first BDAT, with at least one recipient: may the body come?
    /// Answer with [`Server::answer`](super::Server::answer); accepted, body chunks follow.
    AskBody,
    /// A message of the client's side of AUTH. Answer with [`Server::answer_auth`](super::Server::answer_auth).
    AskAuth(AuthStep),
    /// The client gave up an AUTH exchange; forget its state. No answer.
    AuthAborted,
    /// The next octets of the message: dots undone, CRLF line ends only.
    Body(Bytes),
    /// The message is whole. Make it durable, then answer with
    /// [`Server::answer_message`](super::Server::answer_message).
    BodyEnd,
    /// The message will not become whole, or is refused; drop what came of it. No answer.
    BodyAbort,
    /// Do the server's side of a TLS handshake, then call [`Server::tls_established`](super::Server::tls_established)
    /// (or drop the connection). Nothing may be read in between.
    StartTls,
    /// Something a well-behaved client never does; for the log and for policy.
    Anomaly(Anomaly),
    /// Close the connection; there are no more outputs.
    Close,
}

/// A client's name for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// EHLO, not HELO.
    pub extended: bool,
    /// As written, printable ASCII without spaces.
    pub name: String,
    /// What it means, where it is a domain or an address literal; RFC 5321 §4.1.4 forbids to refuse mail
    /// because it is neither, but policy may weigh it.
    pub host: Option<Host>,
}

/// A MAIL command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub reverse_path: ReversePath,
    /// SIZE: what the client thinks the message has, in octets (RFC 1870).
    pub declared_octets: Option<u64>,
    pub body: BodyKind,
    /// SMTPUTF8: addresses and headers may hold UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH: who submitted it, says the client (RFC 4954 §5). To be believed from trusted hosts only.
    pub submitter: Option<ReversePath>,
    /// ENVID (RFC 3461 §4.4), xtext undone.
    pub envelope_id: Option<String>,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// MT-PRIORITY (RFC 6710): -9 to 9.
    pub priority: i8,
    /// BY (RFC 2852).
    pub deliver_by: Option<By>,
    /// HOLDFOR or HOLDUNTIL (RFC 4865).
    pub hold: Option<Hold>,
}

/// BY: a message has so many seconds (RFC 2852 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// Not above 0 with [`ByMode::Notify`] means that its time is over already.
    pub seconds: i32,
    pub mode: ByMode,
    /// T: hosts that do not know BY are to be reported.
    pub trace: bool,
}

/// When a message may go (RFC 4865 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// So many seconds from now.
    For(u32),
    /// Seconds since 1970-01-01 UTC.
    Until(i64),
}

/// A RCPT command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub path: ForwardPath,
    /// NOTIFY (RFC 3461 §4.1).
    pub notify: Notify,
    /// ORCPT (RFC 3461 §4.2) as `type;address`, xtext undone.
    pub original: Option<String>,
}

/// The client's next message in a SASL exchange.
#[derive(Debug)]
pub enum AuthStep {
    /// `initial` is the initial response, where one was sent.
    Start { mechanism: Mechanism, initial: Option<SaslMessage> },
    /// The response to a challenge.
    Response(SaslMessage),
}

/// Octets of a SASL message, base 64 undone. Debug shows their number only: they may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslMessage(pub Vec<u8>);

impl fmt::Debug for SaslMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaslMessage({} octets)", self.0.len())
    }
}

/// The answer to `AskGreeting`, `AskHello`, `AskMail`, `AskRecipient` and `AskBody`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The usual positive reply.
    Accept,
    /// This reply, 4xx or 5xx. With 421 the connection is closed behind it (RFC 5321 §3.8); a greeting of 554
    /// leaves the client only QUIT (§3.1), any other refused greeting closes.
    Refuse(Reply),
}

/// The answer to `AskAuth`.
#[derive(Debug)]
pub enum AuthAnswer {
    /// Sent as 334 in base 64; the client's response is asked next.
    Challenge(SaslMessage),
    /// 235; the session now belongs to this account's name.
    Success { account: String },
    /// This reply: 535 5.7.8 for wrong credentials, 454 4.7.0 where they cannot be checked now.
    Failure(Reply),
}

/// What a client should not have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// It sent this many octets before the greeting; they were dropped.
    TalkedFirst { octets: usize },
    /// It sent this many octets behind STARTTLS in plaintext; they were dropped (RFC 3207 §4.2, CVE-2011-0411).
    PlaintextAfterStartTls { octets: usize },
    /// A command line had a CR or LF on its own.
    BareLineEndInCommand,
    /// A body had a CR or LF on its own.
    BareLineEndInBody,
}
