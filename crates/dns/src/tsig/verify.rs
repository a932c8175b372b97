//! Checking the responses to a request of ours (RFC 8945 sections 5.3.1 and 5.4).

use std::sync::Arc;

use aws_lc_rs::hmac;
use postroad_types::limits::DNS_TSIG_UNSIGNED_MAX;

use super::record::Tsig;
use super::sign::{is_right, names};
use super::{Key, Signer, error};
use crate::wire::{Malformed, Reader, Rtype};

/// Why a response is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("it is not signed, or not as often as it must be")]
    Unsigned,
    #[error("it is signed with another key")]
    OtherKey,
    #[error("the signature is wrong: is the secret the same on both sides?")]
    BadSignature,
    #[error("its time is more than five minutes from ours: are both clocks right?")]
    BadTime,
    /// The server's own verdict on our request, which it could not sign.
    #[error("the server does not know the key (BADKEY): are its name and algorithm the same on both sides?")]
    KeyUnknown,
    #[error("the server finds our signature wrong (BADSIG): is the secret the same on both sides?")]
    Refused,
}

/// Checks the messages of one response in their order.
#[derive(Debug, Clone)]
pub struct Verifier {
    key: Arc<Key>,
    /// What the next signature signs, so far.
    pending: hmac::Context,
    first: bool,
    /// Messages since the last that was signed.
    unsigned: usize,
}

/// Where the TSIG record of a message begins; `None` where it has none. It must be the last.
fn tsig_at(message: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut reader = Reader::new(message)?;
    let [questions, answers, authorities, additionals] = reader.header().counts;
    for _ in 0..questions {
        reader.question()?;
    }
    let before = usize::from(answers) + usize::from(authorities);
    let records = before + usize::from(additionals);
    for index in 0..records {
        let at = reader.position();
        if reader.skip_record()? == Rtype::TSIG {
            return if index >= before && index + 1 == records { Ok(Some(at)) } else { Err(Malformed) };
        }
    }
    Ok(None)
}

fn after(key: &Key, previous: &[u8]) -> hmac::Context {
    let mut context = hmac::Context::with_key(&key.secret);
    context.update(&(previous.len() as u16).to_be_bytes());
    context.update(previous);
    context
}

impl Verifier {
    /// For the response to the request that `signer` has signed.
    pub fn new(signer: Signer) -> Self {
        let key = Arc::clone(signer.key());
        let pending = after(&key, &signer.into_previous());
        Self { key, pending, first: true, unsigned: 0 }
    }

    /// Checks the next message, at `now` seconds. The first must be signed; of later ones 99 in a row may not be.
    pub fn check(&mut self, message: &[u8], now: u64) -> Result<(), VerifyError> {
        let Some(at) = tsig_at(message)? else {
            self.pending.update(message);
            self.unsigned += 1;
            let allowed = !self.first && self.unsigned <= DNS_TSIG_UNSIGNED_MAX;
            return if allowed { Ok(()) } else { Err(VerifyError::Unsigned) };
        };
        let tsig = Tsig::read(message, at)?;
        match (tsig.error, tsig.mac.is_empty()) {
            (error::BADKEY, true) => return Err(VerifyError::KeyUnknown),
            (error::BADSIG, true) => return Err(VerifyError::Refused),
            _ => {}
        }
        if tsig.key != self.key.name || !names(&tsig.algorithm, self.key.algorithm) {
            return Err(VerifyError::OtherKey);
        }
        let (header, rest) = tsig.unsigned(message, at)?;
        let mut context = self.pending.clone();
        context.update(&header);
        context.update(rest);
        if self.first {
            context.update(&tsig.variables());
        } else {
            context.update(&tsig.timers());
        }
        if tsig.mac.len() != self.key.algorithm.octets() || !is_right(context, &tsig.mac) {
            return Err(VerifyError::BadSignature);
        }
        if tsig.error == error::BADTIME || tsig.time.abs_diff(now) > u64::from(tsig.fudge) {
            return Err(VerifyError::BadTime);
        }
        self.pending = after(&self.key, &tsig.mac);
        (self.first, self.unsigned) = (false, 0);
        Ok(())
    }

    /// True when the message checked last was signed, as the last one of a response must be.
    pub fn is_complete(&self) -> bool {
        !self.first && self.unsigned == 0
    }
}
