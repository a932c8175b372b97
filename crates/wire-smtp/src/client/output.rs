//! What goes into the client machine and what comes out of it.

use std::fmt;

use bytes::Bytes;
use postroad_types::{Address, BodyKind, Notify, Reply, Ret, ReversePath};

use crate::codec::reply::ReplyError;
use crate::server::By;

/// A message to send. Its body follows chunk by chunk, when it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub reverse_path: ReversePath,
    /// Not empty, else there is nothing to do and the outcome is empty too.
    pub recipients: Vec<To>,
    /// Of the body as it is stored, told to servers that know SIZE.
    pub octets: u64,
    /// What the body has in it.
    pub body: BodyKind,
    /// Headers have UTF-8, or the message came with SMTPUTF8.
    pub smtputf8: bool,
    /// ENVID, to servers that know DSN (RFC 3461).
    pub envelope_id: Option<String>,
    /// RET, likewise.
    pub ret: Option<Ret>,
    /// Only to servers that know REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// To servers that know MT-PRIORITY (RFC 6710), if not 0.
    pub priority: i8,
    /// To servers that know DELIVERBY (RFC 2852): what is left of its time now.
    pub deliver_by: Option<By>,
}

impl Message {
    /// An ASCII message without any wishes.
    pub fn new(reverse_path: ReversePath, recipients: Vec<To>) -> Self {
        Message {
            reverse_path,
            recipients,
            octets: 0,
            body: BodyKind::SevenBit,
            smtputf8: false,
            envelope_id: None,
            ret: None,
            require_tls: false,
            priority: 0,
            deliver_by: None,
        }
    }
}

/// A recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    pub address: Address,
    /// NOTIFY, to servers that know DSN.
    pub notify: Notify,
    /// ORCPT as `type;address`, likewise.
    pub original: Option<String>,
}

impl From<Address> for To {
    fn from(address: Address) -> Self {
        To { address, notify: Notify::Unsaid, original: None }
    }
}

/// One step for the driver. Outputs are to be carried out in order.
#[derive(Debug)]
pub enum Output {
    /// Write these octets to the connection and flush it.
    Write(Bytes),
    /// The server has been greeted, also anew after TLS: say what is next with
    /// [`start_tls`](super::Client::start_tls), [`authenticate`](super::Client::authenticate),
    /// [`send`](super::Client::send) or [`quit`](super::Client::quit).
    Ready,
    /// Do the client's side of a TLS handshake, then call [`tls_established`](super::Client::tls_established),
    /// or drop the connection.
    StartTls,
    /// The server offers STARTTLS but will not do it now. The session goes on without, if the driver wants that.
    StartTlsRefused(Reply),
    Authenticated,
    AuthRefused(AuthRefusal),
    /// Give the next chunk with [`body_chunk`](super::Client::body_chunk), or end the body with
    /// [`body_end`](super::Client::body_end) or [`body_failed`](super::Client::body_failed).
    WantBody,
    /// What became of the message.
    Finished(Outcome),
    /// Close the connection; there are no more outputs.
    Closed(Ending),
}

/// Why AUTH did not succeed. The session goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthRefusal {
    #[error("there is no TLS on this connection, and a password does not go without")]
    NoTls,
    #[error("the server offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoMechanism,
    #[error("the server refused the credentials: {0}")]
    Reply(Reply),
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// One for each recipient, in the message's order.
    pub recipients: Vec<RecipientOutcome>,
    /// The connection can take another message.
    pub reusable: bool,
    /// The server knows DSN: who asked for a report of success will have it from there.
    pub dsn: bool,
}

/// What became of one recipient: taken over if `reply` is positive, else to be tried again or given up as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientOutcome {
    /// What the reply answers.
    pub stage: Stage,
    pub cause: Cause,
    /// The server's words; ours, where the server said nothing.
    pub reply: Reply,
}

/// Who decided about a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server, by `reply`.
    Server,
    /// The connection ended before the server decided.
    Connection,
    /// The server lacks what this message needs; nothing was sent.
    Obstacle(Obstacle),
}

/// What a message needs and a server lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    #[error("the message has 8-bit text and the server does not offer 8BITMIME")]
    NoEightBitMime,
    #[error("the message has binary parts and the server does not offer BINARYMIME")]
    NoBinaryMime,
    #[error("the message may go over TLS alone and the server does not offer REQUIRETLS")]
    NoRequireTls,
    #[error("the server takes {0} recipients at a time")]
    TooManyRecipients(usize),
    #[error("the message is to be returned when its time is over and the server does not offer DELIVERBY")]
    NoDeliverBy,
    #[error("the message needs SMTPUTF8 and the server does not offer it")]
    NoSmtputf8,
    #[error("the server takes messages up to {0} octets, and this one is larger")]
    TooLarge(u64),
}

/// Where in the dialogue something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Greeting,
    Hello,
    StartTls,
    Auth,
    /// Between messages.
    Idle,
    Reset,
    Mail,
    Recipient,
    DataStart,
    /// While the body was sent.
    Body,
    /// Behind the body: only now has the server the message.
    DataEnd,
    Quit,
}

impl fmt::Display for Stage {
    /// Fits behind "while waiting for".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Greeting => "the greeting",
            Stage::Hello => "the reply to EHLO",
            Stage::StartTls => "the reply to STARTTLS",
            Stage::Auth => "the reply to AUTH",
            Stage::Idle => "the next message",
            Stage::Reset => "the reply to RSET",
            Stage::Mail => "the reply to MAIL",
            Stage::Recipient => "the reply to RCPT",
            Stage::DataStart => "the reply to DATA",
            Stage::Body => "the body to be sent",
            Stage::DataEnd => "the reply to the message",
            Stage::Quit => "the reply to QUIT",
        })
    }
}

/// Why the session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    #[error("said QUIT")]
    Quit,
    #[error("the server ended the session instead of {stage}: {reply}")]
    Refused { stage: Stage, reply: Reply },
    #[error("the server closed the connection before {stage}")]
    Disconnected { stage: Stage },
    #[error("the server took too long for {stage}")]
    TimedOut { stage: Stage },
    #[error("the server does not keep to SMTP before {stage}: {error}")]
    Protocol { stage: Stage, error: ProtocolError },
    /// [`body_failed`](super::Client::body_failed): a body that has begun can only be taken back by closing.
    #[error("the message could not be read on")]
    BodyFailed,
}

/// What a server must not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("{0}")]
    Reply(#[from] ReplyError),
    #[error("the reply {0} answers nothing")]
    Unasked(Reply),
    #[error("the reply {0} is none to this command")]
    Unfitting(Reply),
    /// RFC 3207 §6: what comes in plaintext behind the reply to STARTTLS would be taken for a reply under TLS.
    #[error("it sent plaintext behind its reply to STARTTLS")]
    Injected,
}

/// The call does not fit the state of the session: a second message before the first is finished, or a session
/// that has ended meanwhile, which the next outputs tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SMTP session is not ready for this")]
pub struct NotReady;
