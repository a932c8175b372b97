//! What is known of data's truth (RFC 4033 section 5), and why there is no answer (RFC 8914).

use std::fmt;
use std::sync::Arc;

use crate::wire::options::extended;

/// What validation says of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// A chain of signatures leads to it from a trust anchor.
    Secure,
    /// It is shown that no chain leads to it.
    Insecure(Unsigned),
    /// No trust anchor is above it, or nothing is validated here.
    Indeterminate,
    /// It was not looked at; good for finding name servers only.
    Unchecked,
    /// It should be signed, and is not as it should be. Given only to those who check themselves (CD).
    Bogus,
}

/// Why data need not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsigned {
    /// The zone above says that there is no DS.
    NoDs,
    /// The zone above leaves delegations without DS out of its proofs (RFC 5155 section 6).
    OptOut,
    /// All keys are of algorithms that are not known here.
    Algorithm,
    /// All DS are of digest types that are not known here.
    Digest,
    /// The proof needs more iterations of the hash than are computed (RFC 9276).
    Iterations,
    /// A setting says so (RFC 7646).
    Setting,
    /// It is below a zone of our own.
    OwnZone,
}

impl Unsigned {
    fn words(self) -> &'static str {
        match self {
            Self::NoDs => "the zone above has no DS for it",
            Self::OptOut => "the zone above leaves it out (opt-out)",
            Self::Algorithm => "its algorithms are not known here",
            Self::Digest => "the digests of its DS are not known here",
            Self::Iterations => "its NSEC3 records have too many iterations",
            Self::Setting => "by setting",
            Self::OwnZone => "below a zone of our own",
        }
    }

    /// What a client is told of it.
    pub fn extended_error(self) -> Option<u16> {
        match self {
            Self::Algorithm => Some(extended::UNSUPPORTED_ALGORITHM),
            Self::Digest => Some(extended::UNSUPPORTED_DIGEST),
            Self::Iterations => Some(extended::UNSUPPORTED_ITERATIONS),
            Self::NoDs | Self::OptOut | Self::Setting | Self::OwnZone => None,
        }
    }
}

impl Security {
    /// `secure`, `insecure`, `indeterminate` or `bogus`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secure => "secure",
            Self::Insecure(_) => "insecure",
            Self::Indeterminate | Self::Unchecked => "indeterminate",
            Self::Bogus => "bogus",
        }
    }

    /// Of two pieces of one answer, what holds for both.
    pub fn and(self, other: Self) -> Self {
        let rank = |security| match security {
            Self::Secure => 0,
            Self::Insecure(_) => 1,
            Self::Indeterminate => 2,
            Self::Unchecked => 3,
            Self::Bogus => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insecure(why) => write!(f, "insecure: {}", why.words()),
            other => f.write_str(other.word()),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Arc<str>,
    /// See [`extended`].
    pub extended_error: u16,
}

impl Failure {
    pub fn new(extended_error: u16, reason: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into(), extended_error }
    }

    /// Whether nobody is asked, by setting.
    pub fn is_blocked(&self) -> bool {
        self.extended_error == extended::BLOCKED
    }

    /// Whether there is data that did not stand validation.
    pub fn is_bogus(&self) -> bool {
        matches!(self.extended_error, extended::INDETERMINATE..=extended::NSEC_MISSING)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Self::new(extended::NO_REACHABLE_AUTHORITY, reason)
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::new(extended::NO_REACHABLE_AUTHORITY, reason)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_good_as_its_worst_part() {
        let insecure = Security::Insecure(Unsigned::NoDs);
        for (one, other, both) in [
            (Security::Secure, Security::Secure, Security::Secure),
            (Security::Secure, insecure, insecure),
            (insecure, Security::Indeterminate, Security::Indeterminate),
            (Security::Bogus, Security::Secure, Security::Bogus),
        ] {
            assert_eq!((one.and(other), other.and(one)), (both, both));
        }
    }

    #[test]
    fn what_did_not_stand_validation_is_told_from_what_nobody_answered() {
        assert!(Failure::new(extended::SIGNATURE_EXPIRED, "late").is_bogus());
        assert!(!Failure::from("timeout").is_bogus());
        assert_eq!(Security::Insecure(Unsigned::Setting).to_string(), "insecure: by setting");
        assert_eq!(Unsigned::Iterations.extended_error(), Some(27));
    }
}
