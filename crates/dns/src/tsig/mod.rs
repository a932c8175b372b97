//! Transaction signatures (TSIG, RFC 8945): messages between two servers that share a secret.
//!
//! ```text
//! request ─► Keys::check ─► Signer ─► signs the response, each message of it
//!                      └──► Refusal ─► NOTAUTH with BADKEY, BADSIG, BADTIME or BADTRUNC
//! Signer::request ─► signs our request ─► Verifier checks the responses
//! ```
//!
//! No clock and no sockets: `now` is given, in seconds since 1970. Signatures are compared in constant time. Cut
//! signatures (RFC 8945 section 5.2.2.1) are not taken: nobody needs them over these transports.

mod record;
mod sign;
mod verify;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
pub use sign::{Checked, Refusal, Signer};
pub use verify::{Verifier, VerifyError};

use crate::wire::{Name, unbase64};

/// Seconds by which two clocks may differ (RFC 8945 section 10).
pub const FUDGE_SECONDS: u16 = 300;

/// Extended response codes of TSIG (RFC 8945 section 3).
pub mod error {
    pub const BADSIG: u16 = 16;
    pub const BADKEY: u16 = 17;
    pub const BADTIME: u16 = 18;
    pub const BADTRUNC: u16 = 22;
}

/// How a key signs (RFC 8945 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

impl Algorithm {
    /// The algorithm's name on the wire, in lower case.
    fn wire(self) -> &'static [u8] {
        match self {
            Self::HmacSha256 => b"\x0bhmac-sha256\x00",
            Self::HmacSha384 => b"\x0bhmac-sha384\x00",
            Self::HmacSha512 => b"\x0bhmac-sha512\x00",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }

    /// Octets of a signature.
    fn octets(self) -> usize {
        self.hmac().tag_len()
    }
}

/// Why a secret cannot be used. The text never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error(
        "expected the secret in base64 and nothing else, such as `head -c 32 /dev/urandom | base64` writes"
    )]
    Base64,
    #[error("a secret of fewer than 16 octets can be guessed; expected 32")]
    Short,
}

/// A secret that is shared with another server.
#[derive(Clone)]
pub struct Key {
    /// In lower case.
    name: Name,
    algorithm: Algorithm,
    secret: hmac::Key,
}

impl Key {
    /// Takes the secret as base64; white space around and in it does not count.
    pub fn from_base64(name: &Name, algorithm: Algorithm, text: &[u8]) -> Result<Self, SecretError> {
        let letters: zeroize::Zeroizing<Vec<u8>> = zeroize::Zeroizing::new(
            text.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect(),
        );
        let secret = zeroize::Zeroizing::new(unbase64(&letters).ok_or(SecretError::Base64)?);
        if secret.len() < 16 {
            return Err(SecretError::Short);
        }
        let secret = hmac::Key::new(algorithm.hmac(), &secret);
        Ok(Self { name: name.to_lowercase(), algorithm, secret })
    }

    pub fn name(&self) -> &Name {
        &self.name
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// All keys of a server.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    by_name: HashMap<Name, Arc<Key>>,
}

impl Keys {
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        Self { by_name: keys.into_iter().map(|key| (key.name.clone(), Arc::new(key))).collect() }
    }

    pub fn get(&self, name: &Name) -> Option<&Arc<Key>> {
        self.by_name.get(name)
    }
}

#[cfg(test)]
mod tests;
