//! Identifiers that cross service borders.

use std::fmt;
use std::str::FromStr;

/// Names a message in one mta's queue, and in every log line and Received header it leaves behind.
///
/// Sixteen lower-case base-32 characters: 10 of the time in microseconds, 6 of chance; so ids sort by
/// arrival and two nodes do not give the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(Box<str>);

/// Follows a message through all services and hosts of ours: 16 octets as 32 hex digits, as in W3C
/// trace context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// Names an account for ever, also when its address changes. Positive, given out by the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u64);

/// The text is no identifier of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct IdError(&'static str);

const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl QueueId {
    /// `micros` since 1970 and 30 bits of chance.
    pub fn new(micros: u64, chance: u32) -> Self {
        let mut text = String::with_capacity(16);
        for shift in (0..10).rev() {
            text.push(BASE32[(micros >> (5 * shift)) as usize & 31] as char);
        }
        for shift in (0..6).rev() {
            text.push(BASE32[(chance >> (5 * shift)) as usize & 31] as char);
        }
        QueueId(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueueId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        if s.len() == 16 && s.bytes().all(|b| BASE32.contains(&b)) {
            Ok(QueueId(s.into()))
        } else {
            Err(IdError("queue id (16 characters of 0-9 and a-z without i, l, o, u)"))
        }
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TraceId {
    /// From 16 octets of chance.
    pub const fn new(octets: [u8; 16]) -> Self {
        TraceId(octets)
    }

    pub fn random() -> Self {
        TraceId(rand::random())
    }
}

impl FromStr for TraceId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        if s.len() != 32 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IdError("trace id (32 hex digits)"));
        }
        u128::from_str_radix(s, 16).map(|n| TraceId(n.to_be_bytes())).map_err(|_| IdError("trace id"))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_ids_sort_by_time_and_parse_back() {
        let early = QueueId::new(1_700_000_000_000_000, u32::MAX);
        let late = QueueId::new(1_700_000_000_000_001, 0);
        assert!(early < late);
        assert_eq!(early.as_str().parse(), Ok(early.clone()));
        assert!("short".parse::<QueueId>().is_err());
    }

    #[test]
    fn trace_ids_are_32_hex_digits() {
        let id = TraceId::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("+0102030405060708090a0b0c0d0e0f0".parse::<TraceId>().is_err());
    }
}
