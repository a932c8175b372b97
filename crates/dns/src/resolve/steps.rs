//! How an answer was found: who was asked, what was answered, how long it took.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;

use super::cache::{Entry, Hit};
use super::evidence::{Evidence, Proven};
use super::reply::{Owned, Reply};
use super::security::{Failure, Security};
use crate::serve::rcode;
use crate::wire::{Name, RrSet, Rtype, display_rdata};

/// Where a step's answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Tls(SocketAddr),
    Cache,
    /// A zone of our own.
    Zone,
    /// Nobody was asked: what came was validated.
    Validation,
}

impl Source {
    /// `udp`, `tcp`, `tls`, `cache`, `zone` or `dnssec`.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Udp(_) => "udp",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Cache => "cache",
            Self::Zone => "zone",
            Self::Validation => "dnssec",
        }
    }

    /// The server that was asked.
    pub fn server(self) -> Option<SocketAddr> {
        match self {
            Self::Udp(server) | Self::Tcp(server) | Self::Tls(server) => Some(server),
            Self::Cache | Self::Zone | Self::Validation => None,
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
    pub outcome: Cow<'static, str>,
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
    /// What validation said of it; of a SOA: of there being nothing.
    pub security: Security,
    pub evidence: Option<Arc<Evidence>>,
}

impl Held {
    pub(super) fn fetched((owner, rrset): Owned, ttl: u32, proven: &Proven) -> Self {
        let Proven { security, evidence, lifetime } = proven.clone();
        Self { owner, rrset, ttl: ttl.min(lifetime), age: None, security, evidence }
    }

    pub(super) fn cached((owner, rrset): Owned, hit: &Hit) -> Self {
        let evidence = hit.evidence.clone();
        Self { owner, rrset, ttl: hit.ttl, age: Some(hit.age), security: hit.security, evidence }
    }

    /// The RRSIG records of the set.
    pub fn signatures(&self) -> Option<&RrSet> {
        self.evidence.as_ref()?.signatures.as_ref()
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
    /// Why there is no answer, with SERVFAIL or REFUSED.
    pub failure: Option<Failure>,
    /// Its time is over, and nobody could be asked for a newer one (RFC 8767).
    pub stale: bool,
    /// What validation said of all of it.
    pub security: Security,
    /// It is ours, because the name is on a block list.
    pub blocked: bool,
}

impl Answer {
    pub(super) fn failed(failure: impl Into<Failure>) -> Self {
        let failure = failure.into();
        Self {
            rcode: if failure.is_blocked() { rcode::REFUSED } else { rcode::SERVFAIL },
            records: Vec::new(),
            authority: None,
            security: if failure.is_bogus() { Security::Bogus } else { Security::Indeterminate },
            failure: Some(failure),
            stale: false,
            blocked: false,
        }
    }

    /// The same, because the name is on a block list.
    pub(super) fn into_blocked(self) -> Self {
        Self { blocked: true, ..self }
    }

    pub(super) fn positive(records: Vec<Held>) -> Self {
        let security = Self::security_of(&records);
        Self {
            rcode: rcode::NOERROR,
            records,
            authority: None,
            failure: None,
            stale: false,
            security,
            blocked: false,
        }
    }

    /// Aliases, and that there is nothing where they lead, of which validation `said` this. A server may leave out the SOA
    /// (against RFC 2308 section 3) and prove it all the same.
    pub(super) fn negative(rcode: u16, records: Vec<Held>, authority: Option<Held>, said: Security) -> Self {
        let security = if records.is_empty() { said } else { Self::security_of(&records).and(said) };
        Self { rcode, records, authority, failure: None, stale: false, security, blocked: false }
    }

    fn security_of(records: &[Held]) -> Security {
        records.iter().map(|held| held.security).reduce(Security::and).unwrap_or(Security::Indeterminate)
    }

    /// The mnemonic of the response code.
    pub fn rcode_name(&self) -> &'static str {
        match self.rcode {
            rcode::NOERROR => "NOERROR",
            rcode::NXDOMAIN => "NXDOMAIN",
            rcode::YXDOMAIN => "YXDOMAIN",
            rcode::REFUSED => "REFUSED",
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

/// What the cache holds, in words.
pub(super) fn describe_hit(hit: &Hit) -> Cow<'static, str> {
    let what = match &hit.entry {
        Entry::Positive(rrset) if rrset.rtype == Rtype::CNAME => "alias".into(),
        Entry::Positive(_) => "answer".into(),
        Entry::NoData(..) => "no such records".into(),
        Entry::NxDomain(_) => "NXDOMAIN".into(),
        Entry::Delegation(delegation) => format!("referral to {}", delegation.zone).into(),
        Entry::Failure(_, failures) => format!("failed a moment ago: {}", failures.last).into(),
        Entry::Trust(_) => "chain of trust".into(),
    };
    match hit.security {
        Security::Indeterminate | Security::Unchecked => what,
        security => format!("{what}, {security}").into(),
    }
}

/// A reply in words.
pub(super) fn describe(reply: &Reply) -> Cow<'static, str> {
    match reply {
        Reply::Answer(_) => "answer".into(),
        Reply::Alias(_, target) => format!("alias to {target}").into(),
        Reply::NoData(..) => "no such records".into(),
        Reply::NxDomain(..) => "NXDOMAIN".into(),
        Reply::Referral(delegation) => format!("referral to {}", delegation.zone).into(),
        Reply::Truncated => "truncated".into(),
        Reply::NotUnderstood(code) | Reply::Refused(code) => code_name(*code),
        Reply::Lame(reason) => format!("lame: {reason}").into(),
    }
}

fn code_name(code: ResponseCode) -> Cow<'static, str> {
    match code {
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        other => format!("RCODE {}", u16::from(other)).into(),
    }
}
