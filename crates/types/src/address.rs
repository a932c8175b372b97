//! Mailboxes: `Local-part "@" ( Domain / address-literal )` (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! A quoted local part is carried exactly as it was written, because what it means is the business of
//! the host that owns it alone; only comparison looks through the quoting.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::domain::{Domain, DomainError, Host};
use crate::limits;

/// Why a text is no mail address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("no @ between local part and domain")]
    NoAt,
    #[error("the local part is empty")]
    EmptyLocalPart,
    #[error("the local part is longer than {} octets", limits::LOCAL_PART_OCTETS_MAX)]
    LocalPartTooLong,
    #[error("the local part is neither a dot-string nor a quoted-string (RFC 5321 section 4.1.2)")]
    LocalPartSyntax,
    #[error("{0}")]
    Domain(#[from] DomainError),
}

/// The part before the `@`, exactly as written, quotes included.
#[derive(Clone, Debug)]
pub struct LocalPart(Box<str>);

impl LocalPart {
    /// As it goes over the wire.
    pub fn written(&self) -> &str {
        &self.0
    }

    /// What it means: without the quotes and backslashes of a quoted-string.
    pub fn unquoted(&self) -> Cow<'_, str> {
        let Some(inner) = self.0.strip_prefix('"').and_then(|s| s.strip_suffix('"')) else {
            return Cow::Borrowed(&self.0);
        };
        let mut out = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            out.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        Cow::Owned(out)
    }
}

impl FromStr for LocalPart {
    type Err = AddressError;

    fn from_str(s: &str) -> Result<Self, AddressError> {
        if s.is_empty() {
            return Err(AddressError::EmptyLocalPart);
        }
        if s.len() > limits::LOCAL_PART_OCTETS_MAX {
            return Err(AddressError::LocalPartTooLong);
        }
        let fine = if let Some(rest) = s.strip_prefix('"') { is_quoted_rest(rest) } else { is_dot_string(s) };
        if fine { Ok(LocalPart(s.into())) } else { Err(AddressError::LocalPartSyntax) }
    }
}

/// `Dot-string` over `atext`, with UTF-8 beyond ASCII allowed as RFC 6531 extends it.
fn is_dot_string(s: &str) -> bool {
    let atext = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
    };
    s.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext))
}

/// The rest of a `Quoted-string` behind its opening quote; the closing quote must be its last character.
fn is_quoted_rest(rest: &str) -> bool {
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.next().is_none(),
            '\\' => match chars.next() {
                Some(' '..='~') => {}
                _ => return false,
            },
            ' '..='~' => {}
            c if !c.is_ascii() && !c.is_control() => {}
            _ => return false,
        }
    }
    false
}

impl PartialEq for LocalPart {
    fn eq(&self, other: &Self) -> bool {
        self.unquoted() == other.unquoted()
    }
}
impl Eq for LocalPart {}
impl Hash for LocalPart {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.unquoted().hash(state)
    }
}

/// A mailbox: who a mail is from or for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub local: LocalPart,
    pub host: Host,
}

impl Address {
    pub fn new(local: LocalPart, host: Host) -> Self {
        Address { local, host }
    }

    /// The domain, unless the address has a literal.
    pub fn domain(&self) -> Option<&Domain> {
        self.host.domain()
    }

    /// Whether sending it needs SMTPUTF8 (RFC 6531).
    pub fn is_internationalised(&self) -> bool {
        !self.local.0.is_ascii() || self.domain().is_some_and(Domain::is_internationalised)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(s: &str) -> Result<Self, AddressError> {
        // A quoted local part may hold an @; a domain never does: the last one separates.
        let at = s.rfind('@').ok_or(AddressError::NoAt)?;
        let (local, host) = (&s[..at], &s[at + 1..]);
        Ok(Address { local: local.parse()?, host: host.parse()? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local.0, self.host)
    }
}

/// Where a bounce goes: a mailbox, or nowhere for mail that is itself a notice (RFC 5321 §4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    Null,
    Address(Address),
}

impl ReversePath {
    pub fn address(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Address(a) => Some(a),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, ReversePath::Null)
    }
}

/// Without angle brackets; the null path is the empty text.
impl FromStr for ReversePath {
    type Err = AddressError;

    fn from_str(s: &str) -> Result<Self, AddressError> {
        if s.is_empty() { Ok(ReversePath::Null) } else { s.parse().map(ReversePath::Address) }
    }
}

/// Without angle brackets; the null path is the empty text.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => Ok(()),
            ReversePath::Address(a) => a.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quoted_local_parts_are_carried_exactly() {
        let a: Address = r#""x> SIZE=1 <y"@e.org"#.parse().unwrap();
        assert_eq!(a.to_string(), r#""x> SIZE=1 <y"@e.org"#);
        let b: Address = r#""a@b"@e.org"#.parse().unwrap();
        assert_eq!(b.local.unquoted(), "a@b");
        assert_eq!(r#""joe"@e.org"#.parse::<Address>().unwrap(), "joe@E.ORG".parse().unwrap());
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in
            ["", "a", "@b", "a@", "a b@c", "a..b@c", "\"a@c", "\"a\"b@c", "a@b\r\n", "a\u{7f}@b", "<a@b>"]
        {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn utf8_is_known_as_such() {
        assert!("δοκιμή@παράδειγμα.gr".parse::<Address>().unwrap().is_internationalised());
        assert!(!"a@[192.0.2.1]".parse::<Address>().unwrap().is_internationalised());
    }

    proptest! {
        #[test]
        fn what_parses_is_shown_as_it_was(text in "\\PC{0,80}") {
            if let Ok(a) = text.parse::<Address>() {
                let shown = a.to_string();
                prop_assert_eq!(shown.trim_end_matches('.'), text.trim_end_matches('.'));
            }
        }
    }
}
