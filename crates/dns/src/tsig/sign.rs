//! Signing, and checking requests (RFC 8945 sections 5.1 to 5.3).

use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};

use super::record::{self, Tsig, six};
use super::{Algorithm, FUDGE_SECONDS, Key, Keys, error};
use crate::wire::Name;

/// Signs the messages of one side of one exchange.
#[derive(Debug, Clone)]
pub struct Signer {
    key: Arc<Key>,
    /// The signature that this one follows: the request's, or that of the message before.
    previous: Option<Vec<u8>>,
    /// A message has been signed: later ones of the same response sign less (RFC 8945 section 5.3.1).
    continued: bool,
}

/// What the signature of a request is worth.
#[derive(Debug)]
pub enum Checked {
    /// It is right; the response is to be signed.
    Right(Signer),
    /// The request is answered with NOTAUTH, and with what [`Refusal::finish`] adds.
    Wrong(Refusal),
    /// The request is answered with FORMERR.
    Malformed,
}

/// Why a request's signature is not taken.
#[derive(Debug)]
pub struct Refusal {
    /// [`error`].
    pub code: u16,
    /// The name of the key that was named.
    pub key: Name,
    algorithm: Name,
    /// Of the request: its time, for BADTIME.
    time: u64,
    /// The refusal is signed where the request's signature was right.
    signer: Option<Signer>,
}

impl Keys {
    /// Checks the signature of a request, whose TSIG record begins at `at`, at `now` seconds.
    pub fn check(&self, request: &[u8], at: usize, now: u64) -> Checked {
        let Ok(tsig) = Tsig::read(request, at) else { return Checked::Malformed };
        let refuse = |code, signer| {
            let (key, algorithm, time) = (tsig.key.clone(), tsig.algorithm.clone(), tsig.time);
            Checked::Wrong(Refusal { code, key, algorithm, time, signer })
        };
        let known = self.get(&tsig.key).filter(|key| names(&tsig.algorithm, key.algorithm));
        let Some(key) = known else { return refuse(error::BADKEY, None) };
        let whole = key.algorithm.octets();
        // RFC 8945 section 5.2.2.1: what is longer, or shorter than half, is malformed.
        if tsig.mac.len() > whole || tsig.mac.len() < whole / 2 {
            return Checked::Malformed;
        }
        let Ok((header, rest)) = tsig.unsigned(request, at) else { return Checked::Malformed };
        let mut context = hmac::Context::with_key(&key.secret);
        for octets in [&header[..], rest, &tsig.variables()] {
            context.update(octets);
        }
        if !is_right(context, &tsig.mac) {
            return refuse(error::BADSIG, None);
        }
        let signer = Signer { key: Arc::clone(key), previous: Some(tsig.mac.clone()), continued: false };
        if tsig.time.abs_diff(now) > u64::from(tsig.fudge) {
            return refuse(error::BADTIME, Some(signer));
        }
        if tsig.mac.len() < whole {
            return refuse(error::BADTRUNC, Some(signer));
        }
        Checked::Right(signer)
    }
}

/// Compares a signature, or the part of it that was sent, in constant time.
pub(super) fn is_right(context: hmac::Context, mac: &[u8]) -> bool {
    let tag = context.sign();
    let part = tag.as_ref().get(..mac.len()).unwrap_or_default();
    !mac.is_empty() && constant_time::verify_slices_are_equal(part, mac).is_ok()
}

pub(super) fn names(name: &Name, algorithm: Algorithm) -> bool {
    name.as_wire().eq_ignore_ascii_case(algorithm.wire())
}

impl Signer {
    /// For a request of ours.
    pub fn request(key: Arc<Key>) -> Self {
        Self { key, previous: None, continued: false }
    }

    /// The key's name.
    pub fn key_name(&self) -> &Name {
        &self.key.name
    }

    pub(super) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// The last signature that was made or taken; empty before a request is signed.
    pub(super) fn into_previous(self) -> Vec<u8> {
        self.previous.unwrap_or_default()
    }

    /// Octets that must be left in a message for the signature.
    pub fn octets(&self) -> usize {
        record::octets(&self.key.name, self.key.algorithm)
    }

    /// Signs a message and appends the signature.
    pub fn sign(&mut self, message: &mut Vec<u8>, now: u64) {
        self.append(message, now, 0, Vec::new());
    }

    fn append(&mut self, message: &mut Vec<u8>, time: u64, error: u16, other: Vec<u8>) {
        let Ok(algorithm) = Name::from_wire(self.key.algorithm.wire()) else { return };
        let original_id = message.first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id));
        let mut tsig = Tsig {
            key: self.key.name.clone(),
            algorithm,
            time,
            fudge: FUDGE_SECONDS,
            mac: Vec::new(),
            original_id,
            error,
            other,
        };
        let mut context = hmac::Context::with_key(&self.key.secret);
        if let Some(previous) = &self.previous {
            context.update(&(previous.len() as u16).to_be_bytes());
            context.update(previous);
        }
        context.update(message);
        if self.continued {
            context.update(&tsig.timers());
        } else {
            context.update(&tsig.variables());
        }
        tsig.mac = context.sign().as_ref().to_vec();
        tsig.append(message);
        (self.previous, self.continued) = (Some(tsig.mac), true);
    }
}

impl Refusal {
    /// Octets that must be left in the response.
    pub fn octets(&self) -> usize {
        let unsigned = self.key.as_wire().len() + 10 + self.algorithm.as_wire().len() + 16;
        self.signer.as_ref().map_or(unsigned, Signer::octets)
    }

    /// Appends the TSIG record to the response: unsigned where the key or the signature was wrong (RFC 8945 sections
    /// 5.2.1 and 5.2.2), signed and with our time where only the time was (section 5.2.3).
    pub fn finish(mut self, message: &mut Vec<u8>, now: u64) {
        if let Some(signer) = &mut self.signer {
            let other = if self.code == error::BADTIME { six(now).to_vec() } else { Vec::new() };
            signer.append(message, self.time, self.code, other);
            return;
        }
        let original_id = message.first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id));
        let tsig = Tsig {
            key: self.key,
            algorithm: self.algorithm,
            time: self.time,
            fudge: FUDGE_SECONDS,
            mac: Vec::new(),
            original_id,
            error: self.code,
            other: Vec::new(),
        };
        tsig.append(message);
    }
}
