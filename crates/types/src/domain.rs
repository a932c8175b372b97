//! Domain names of mail (RFC 5321 §2.3.5, RFC 5890) and address literals (RFC 5321 §4.1.3).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::limits;

/// A fully qualified domain name without its final dot.
///
/// Kept twice: as it was written (a reply or a header shows what the user typed) and as lower-case
/// A-labels, which is what is compared, hashed and looked up.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Where it differs.
    written: Option<Box<str>>,
    ascii: Box<str>,
}

/// Why a text is no domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    #[error("the domain is empty")]
    Empty,
    #[error("the domain is longer than {} octets", limits::DOMAIN_OCTETS_MAX)]
    TooLong,
    #[error("a label of the domain is empty or longer than 63 octets")]
    Label,
    #[error("the domain has a character that is not allowed in a host name")]
    Character,
    #[error("the domain is not valid under IDNA (RFC 5891)")]
    Idna,
    #[error("the address literal is not [IPv4], [IPv6:…] (RFC 5321 section 4.1.3)")]
    Literal,
}

impl Domain {
    /// Lower-case A-label form: `xn--bcher-kva.example`.
    pub fn ascii(&self) -> &str {
        &self.ascii
    }

    /// The form it was written in, U-labels and letter case kept.
    pub fn written(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.ascii)
    }

    /// Whether the written form needs SMTPUTF8 (RFC 6531) to be sent.
    pub fn is_internationalised(&self) -> bool {
        !self.written().is_ascii()
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    /// Takes LDH labels and underscores (seen in the wild), or U-labels that IDNA accepts.
    /// One trailing dot is dropped.
    fn from_str(s: &str) -> Result<Self, DomainError> {
        let s = s.strip_suffix('.').unwrap_or(s);
        if s.is_empty() {
            return Err(DomainError::Empty);
        }
        let ascii = if s.is_ascii() {
            s.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii_strict(s).map_err(|_| DomainError::Idna)?
        };
        if ascii.len() > limits::DOMAIN_OCTETS_MAX {
            return Err(DomainError::TooLong);
        }
        for label in ascii.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(DomainError::Label);
            }
            let ldh = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if !label.bytes().all(ldh) || label.starts_with('-') || label.ends_with('-') {
                return Err(DomainError::Character);
            }
        }
        let written = (s != ascii).then(|| s.into());
        Ok(Domain { written, ascii: ascii.into() })
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.ascii == other.ascii
    }
}
impl Eq for Domain {}
impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ascii.hash(state)
    }
}
impl PartialOrd for Domain {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Domain {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.ascii.cmp(&other.ascii)
    }
}
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written())
    }
}

/// What stands behind the `@`, or in HELO: a domain or an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    Domain(Domain),
    Literal(IpAddr),
}

impl Host {
    /// The domain, unless this is an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Host::Domain(d) => Some(d),
            Host::Literal(_) => None,
        }
    }
}

impl FromStr for Host {
    type Err = DomainError;

    fn from_str(s: &str) -> Result<Self, DomainError> {
        let Some(inner) = s.strip_prefix('[') else {
            return s.parse().map(Host::Domain);
        };
        let inner = inner.strip_suffix(']').ok_or(DomainError::Literal)?;
        let tagged = inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        let ip = if tagged {
            inner.get(5..).and_then(|rest| rest.parse::<Ipv6Addr>().ok()).map(IpAddr::V6)
        } else {
            inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        };
        ip.map(Host::Literal).ok_or(DomainError::Literal)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Domain(d) => d.fmt(f),
            Host::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Host::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_as_a_labels_and_shows_as_written() {
        let a: Domain = "Bücher.Example".parse().unwrap();
        let b: Domain = "xn--bcher-kva.example.".parse().unwrap();
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "Bücher.Example");
        assert!(a.is_internationalised() && !b.is_internationalised());
    }

    #[test]
    fn refuses_what_is_no_domain() {
        for (text, why) in [
            ("", DomainError::Empty),
            ("a..b", DomainError::Label),
            ("-a.b", DomainError::Character),
            ("a b", DomainError::Character),
        ] {
            assert_eq!(text.parse::<Domain>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn literals_round_trip() {
        for text in ["[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
        assert_eq!("[192.0.2]".parse::<Host>(), Err(DomainError::Literal));
        assert_eq!("[x".parse::<Host>(), Err(DomainError::Literal));
    }
}
