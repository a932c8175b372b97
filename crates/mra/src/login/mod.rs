//! Logging in: a client of the directory's SASL exchange (RFC 4422).
//!
//! A session carries messages between its client and the directory and understands none of them: mra holds
//! no password and no key. The directory answers a wrong password and an unknown user alike, and later and
//! later to those who guess, for which it is told the client's address.

mod grpc;
#[cfg(test)]
mod grpc_tests;

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use postroad_types::AccountId;

pub use grpc::GrpcDirectory;

/// Octets of a SASL message; they may hold a password and are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslMessage(pub Vec<u8>);

impl fmt::Debug for SaslMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaslMessage({} octets)", self.0.len())
    }
}

/// How an exchange starts.
#[derive(Clone, Debug)]
pub struct LoginStart {
    /// PLAIN, LOGIN or SCRAM-SHA-256.
    pub mechanism: String,
    /// The client's initial response; an empty one is not the same as none.
    pub initial: Option<SaslMessage>,
    /// imap or pop3.
    pub service: &'static str,
    pub remote_ip: IpAddr,
}

/// Who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub account: AccountId,
    pub address: String,
    /// The directory's last word to the client, which proves that it knows the password too (SCRAM).
    pub server_data: Option<SaslMessage>,
}

/// Why a login failed, as far as the client may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong password, unknown user, disabled account.
    Credentials,
    MechanismUnknown,
    /// The client's message does not follow the mechanism.
    Protocol,
    /// The directory does not answer: try later.
    Temporary,
}

impl Refusal {
    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Credentials => "credentials",
            Refusal::MechanismUnknown => "mechanism",
            Refusal::Protocol => "protocol",
            Refusal::Temporary => "temporary",
        }
    }
}

/// The directory's answer to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginAnswer {
    /// For the client; its response goes to [`LoginExchange::respond`].
    Challenge(SaslMessage),
    Success(Login),
    Refused(Refusal),
}

/// One exchange. Dropping it cancels the login.
#[async_trait]
pub trait LoginExchange: Send {
    /// Carries the client's response over, and the directory's answer back.
    async fn respond(&mut self, response: SaslMessage) -> LoginAnswer;
}

/// Who checks logins.
#[async_trait]
pub trait LoginClient: Send + Sync + 'static {
    /// Starts an exchange; its first answer comes with it.
    async fn start(&self, start: LoginStart) -> (LoginAnswer, Box<dyn LoginExchange>);
}
