//! What mta asks of the directory, which mda keeps: who lives here, who may send, whether a password is right.
//!
//! The trait is the seam between mta and gRPC: tests put a [`fake`] behind it.

mod cache;
#[cfg(test)]
pub mod fake;
mod grpc;

use std::net::IpAddr;

use async_trait::async_trait;
use postroad_types::{AccountId, Address, RecipientVerdict, TraceId};

pub use cache::CachedDirectory;
pub use grpc::GrpcDirectory;

/// The directory did not answer, or storage behind it did not: the client of ours hears 451 and tries later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the directory does not answer: {0}")]
pub struct DirectoryError(pub String);

/// An account that showed it is who it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub address: String,
}

/// What comes back in a SASL exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslReply {
    Challenge(Vec<u8>),
    /// `server_data` is SCRAM's last word; empty for other mechanisms.
    Success {
        account: Account,
        server_data: Vec<u8>,
    },
    /// Wrong password or unknown user: not told apart.
    WrongCredentials,
    UnknownMechanism,
    /// The client does not follow the mechanism.
    Malformed,
    /// Can't be checked now.
    Unavailable,
}

/// One SASL exchange (RFC 4422) that goes on. Dropping it ends it.
#[async_trait]
pub trait SaslExchange: Send {
    async fn respond(&mut self, response: Vec<u8>) -> Result<SaslReply, DirectoryError>;
}

/// How an exchange begins. Not for logs: the initial response may hold a password.
#[allow(missing_debug_implementations, reason = "it may hold a password")]
pub struct SaslStart {
    pub mechanism: &'static str,
    pub initial: Option<Vec<u8>>,
    pub client: IpAddr,
    /// `tls-exporter` of its connection (RFC 9266); empty where there is none.
    pub channel_binding: Vec<u8>,
}

/// The directory.
#[async_trait]
pub trait DirectoryClient: Send + Sync + 'static {
    /// Who a recipient is.
    async fn resolve(&self, address: &Address, trace: TraceId) -> Result<RecipientVerdict, DirectoryError>;

    /// Whether an account may use an address as its sender.
    async fn may_send(&self, account: AccountId, address: &Address) -> Result<bool, DirectoryError>;

    /// Begins a SASL exchange and gives its first reply.
    async fn authenticate(
        &self,
        start: SaslStart,
    ) -> Result<(Box<dyn SaslExchange>, SaslReply), DirectoryError>;
}
