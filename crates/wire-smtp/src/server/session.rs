//! What a session remembers of the client, and of the message it is about to send.

use super::body::Body;
use super::config::Tls;
use super::output::Hello;
use super::{Output, Server};

/// Who the client is, as far as the dialogue has told.
#[derive(Debug)]
pub struct Session {
    pub(super) tls: Tls,
    pub(super) hello: Option<Hello>,
    pub(super) account: Option<String>,
    /// The greeting was 554: nothing but QUIT is served.
    pub(super) refused: bool,
}

impl Session {
    pub(super) fn new(tls: Tls) -> Self {
        Session { tls, hello: None, account: None, refused: false }
    }

    /// What the client called itself in its last accepted HELO or EHLO.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// The account that AUTH has proved.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    pub fn is_tls(&self) -> bool {
        self.tls == Tls::Active
    }

    /// Whether the client said EHLO, not HELO.
    pub fn is_extended(&self) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.extended)
    }

    /// The word behind `with` in Received (RFC 3848, RFC 6531 §4.3): `SMTP`, `ESMTPSA`, `UTF8SMTPS` …
    pub fn protocol(&self, smtputf8: bool) -> &'static str {
        let authenticated = self.account.is_some();
        match (self.is_extended(), smtputf8, self.is_tls(), authenticated) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, false) => "ESMTPS",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

/// What was agreed on since MAIL.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) smtputf8: bool,
    /// BODY=BINARYMIME: the body comes in chunks, and its octets mean nothing.
    pub(super) binary: bool,
    /// Recipients that were accepted.
    pub(super) recipients: usize,
    pub(super) chunks: Chunks,
}

/// Where BDAT stands between its chunks (RFC 3030 §2).
#[derive(Debug)]
pub(super) enum Chunks {
    None,
    /// So far; more will come.
    Begun(Body),
    /// A chunk was refused: only RSET and its like help.
    Failed,
}

impl Server {
    /// Ends the transaction without a message; tells the driver if it has part of a body.
    pub(super) fn drop_transaction(&mut self) {
        if let Some(transaction) = self.transaction.take()
            && let Chunks::Begun(body) = transaction.chunks
            && body.is_wanted()
        {
            self.outputs.push_back(Output::BodyAbort);
        }
    }
}
