//! The questions that routing asks DNS, and how their answers are told apart.
//!
//! "No such domain", "no such records" and "could not find out" lead to different fates of a mail, so they are
//! three answers here and never one error.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    pub preference: u16,
    /// Lower case, without a final dot; empty in a null MX (RFC 7505).
    pub exchange: String,
}

/// What DNS says to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsAnswer<T> {
    /// Not empty; may be kept for `ttl`. `secure`: the resolver, which we trust, has validated them (RFC 4035 §3.2.3).
    Records { records: Vec<T>, ttl: Duration, secure: bool },
    /// The name does not exist (NXDOMAIN).
    NoSuchDomain,
    /// The name exists, without records of this type (NODATA).
    NoRecords,
    /// Not known now. Asking later may help.
    Failed(Failure),
}

/// Why DNS gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is one, but its DNSSEC signatures do not hold: it is forged, or its zone is badly kept.
    Bogus,
    /// The resolver could not find out (SERVFAIL).
    ServFail,
    /// The resolver did not answer, refused, or something else.
    Other(String),
}

/// An address record's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    A,
    Aaaa,
}

/// A stub resolver's client side. Implementations bound the time of a question themselves.
#[async_trait]
pub trait DnsLookup: Send + Sync + 'static {
    /// MX records of a domain (lower-case A-labels, no final dot).
    async fn mx(&self, domain: &str) -> DnsAnswer<Mx>;
    /// A or AAAA records of a host.
    async fn addresses(&self, host: &str, family: Family) -> DnsAnswer<IpAddr>;
    /// Names of an address (PTR), lower case, without a final dot.
    async fn names(&self, address: IpAddr) -> DnsAnswer<String>;
    /// TXT records, each with its strings joined; octets that are no UTF-8 are replaced.
    async fn texts(&self, name: &str) -> DnsAnswer<String>;
}

/// A question that was asked, as the timeline shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub name: String,
    pub rtype: &'static str,
    pub answer: String,
    pub took: Duration,
}

impl fmt::Display for Mx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.", self.preference, self.exchange)
    }
}

impl<T: fmt::Display> fmt::Display for DnsAnswer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsAnswer::Records { records, secure, .. } => {
                for (i, record) in records.iter().enumerate() {
                    write!(f, "{}{record}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(if *secure { " (secure)" } else { "" })
            }
            DnsAnswer::NoSuchDomain => f.write_str("NXDOMAIN"),
            DnsAnswer::NoRecords => f.write_str("no records"),
            DnsAnswer::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Bogus => f.write_str("bogus (its DNSSEC signatures do not hold)"),
            Failure::ServFail => f.write_str("SERVFAIL"),
            Failure::Other(why) => f.write_str(why),
        }
    }
}
