//! How an answer was found: who was asked, what was answered, how long it took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::reply::Owned;
use crate::serve::rcode;
use crate::wire::{Name, RrSet, Rtype, display_rdata};

/// Where a step's answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Cache,
    /// A zone of our own.
    Zone,
}

impl Source {
    /// `udp`, `tcp`, `cache` or `zone`.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Udp(_) => "udp",
            Self::Tcp(_) => "tcp",
            Self::Cache => "cache",
            Self::Zone => "zone",
        }
    }

    /// The server that was asked.
    pub fn server(self) -> Option<SocketAddr> {
        match self {
            Self::Udp(server) | Self::Tcp(server) => Some(server),
            Self::Cache | Self::Zone => None,
        }
    }
}

/// One step of a resolution.
#[derive(Debug, Clone)]
pub struct Step {
    pub source: Source,
    /// The zone whose server was asked.
    pub zone: Name,
    pub name: Name,
    pub rtype: Rtype,
    /// "referral to test.", "answer", "NXDOMAIN", "timeout" …
    pub outcome: String,
    pub took: Duration,
}

/// A record set as it is given to a client.
#[derive(Debug, Clone)]
pub struct Held {
    pub owner: Name,
    pub rrset: Arc<RrSet>,
    /// Seconds that are left.
    pub ttl: u32,
    /// How long it has been in the cache; `None` when it was fetched for this answer.
    pub age: Option<Duration>,
}

impl Held {
    pub(super) fn fetched(owned: Owned, max_ttl: Duration) -> Self {
        let (owner, rrset) = owned;
        let ttl = rrset.ttl.min(u32::try_from(max_ttl.as_secs()).unwrap_or(u32::MAX));
        Self { owner, rrset, ttl, age: None }
    }

    /// The records in presentation format (RFC 1035 section 5).
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let rtype = self.rrset.rtype;
        let show =
            move |rdata| format!("{} {} IN {rtype} {}", self.owner, self.ttl, display_rdata(rtype, rdata));
        self.rrset.iter().map(show)
    }
}

/// What a client is told.
#[derive(Debug, Clone)]
pub struct Answer {
    /// See [`rcode`].
    pub rcode: u16,
    /// Aliases in the order they lead on, then the records asked for.
    pub records: Vec<Held>,
    /// The SOA of a negative answer.
    pub authority: Option<Held>,
    /// Why there is no answer, with SERVFAIL.
    pub failure: Option<Arc<str>>,
    /// Its time is over, and nobody could be asked for a newer one (RFC 8767).
    pub stale: bool,
}

impl Answer {
    pub(super) fn failed(reason: impl Into<Arc<str>>) -> Self {
        Self {
            rcode: rcode::SERVFAIL,
            records: Vec::new(),
            authority: None,
            failure: Some(reason.into()),
            stale: false,
        }
    }

    /// The mnemonic of the response code.
    pub fn rcode_name(&self) -> &'static str {
        match self.rcode {
            rcode::NOERROR => "NOERROR",
            rcode::NXDOMAIN => "NXDOMAIN",
            rcode::YXDOMAIN => "YXDOMAIN",
            _ => "SERVFAIL",
        }
    }

    /// Whether one of its records has less than a tenth of its time left: time to ask again, if it is in use.
    pub fn is_nearly_over(&self) -> bool {
        !self.stale && self.records.iter().any(|held| held.age.is_some() && held.ttl <= held.rrset.ttl / 10)
    }

    /// Age of the oldest record that came from the cache; `None` when all was fetched.
    pub fn age(&self) -> Option<Duration> {
        self.records.iter().chain(&self.authority).filter_map(|held| held.age).max()
    }
}

/// An answer and how it was found.
#[derive(Debug, Clone)]
pub struct Explained {
    pub answer: Answer,
    pub steps: Vec<Step>,
    pub took: Duration,
}
