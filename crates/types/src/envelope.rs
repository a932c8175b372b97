//! What SMTP says about a message outside of the message (RFC 5321 §2.3.1).

use crate::address::{Address, ReversePath};

/// The BODY parameter of MAIL FROM (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyKind {
    #[default]
    SevenBit,
    EightBitMime,
    BinaryMime,
}

/// Sender and recipients of a message, and what was asked for with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub reverse_path: ReversePath,
    pub recipients: Vec<Address>,
    pub body: BodyKind,
    /// The client said SMTPUTF8 (RFC 6531): the message may only go on to servers that know it.
    pub smtputf8: bool,
    /// ENVID of the client (RFC 3461), xtext undone.
    pub envelope_id: Option<String>,
}

impl Envelope {
    pub fn new(reverse_path: ReversePath, recipients: Vec<Address>) -> Self {
        Envelope { reverse_path, recipients, body: BodyKind::SevenBit, smtputf8: false, envelope_id: None }
    }
}
