//! What a session wants of whoever drives it, and the words of the answers.

use crate::sasl::{Mechanism, SaslMessage};

/// What the session wants done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// To be sent to the client.
    Write(Vec<u8>),
    /// Send what was written, then start TLS as a server, then call [`crate::Session::tls_started`]. Nothing may be
    /// read in between other than by TLS.
    StartTls,
    Ask(Ask),
    /// Enough of the message that was asked for: no more of it may be brought, not even its end.
    StopBody,
    /// Send what was written, then close the connection.
    Close,
}

/// What the session can't know itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Start a SASL exchange: [`crate::Session::answer_sasl`].
    Authenticate {
        mechanism: Mechanism,
        /// An empty one is not the same as none.
        initial: Option<SaslMessage>,
    },
    /// Carry on the exchange with the client's response: [`crate::Session::answer_sasl`].
    Respond(SaslMessage),
    /// The client gave up the exchange. No answer.
    CancelAuthentication,
    /// List the inbox of who just logged in: [`crate::Session::answer_maildrop`].
    Maildrop,
    /// Fetch a message: [`crate::Session::answer_body`], and if it is there [`crate::Session::body_chunk`] for its octets
    /// and [`crate::Session::body_end`], or [`crate::Session::body_broken`].
    Body { number: u32, uid_validity: u32, uid: u32, scope: Scope },
    /// Delete these messages, all or none: [`crate::Session::answer_delete`].
    Delete { uid_validity: u32, uids: Vec<u32> },
}

/// How much of a message is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Whole,
    /// The header and so many lines of the text.
    Top {
        lines: u64,
    },
}

/// The mailbox can't be opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaildropError;

/// Why a message can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Another session has deleted it since.
    Gone,
    /// It can't be read.
    Damaged,
    /// The mailbox does not answer.
    Temporary,
}

/// The marked messages were not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteError;
