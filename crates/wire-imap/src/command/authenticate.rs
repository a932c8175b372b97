//! `AUTHENTICATE mechanism [initial-response]` (RFC 3501 §6.2.2, RFC 4959).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::reader::{Parsed, Reader, expected};

#[derive(Clone, PartialEq, Eq)]
pub struct Authenticate {
    /// In upper case.
    pub mechanism: String,
    /// The initial response, base64 undone; an empty one is not the same as none.
    pub initial: Option<Vec<u8>>,
}

/// The response may hold a password.
impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("mechanism", &self.mechanism)
            .field("initial", &self.initial.as_ref().map(|_| "(hidden)"))
            .finish()
    }
}

pub(super) fn parse(reader: &mut Reader<'_>) -> Parsed<Authenticate> {
    let mechanism = reader.atom("expected the name of a SASL mechanism")?.to_ascii_uppercase();
    let mut initial = None;
    if reader.eat(b' ') {
        let text = reader.rest();
        *reader = Reader::new(&[]);
        // RFC 4959 §3: `=` is the empty response.
        initial = Some(match text {
            b"=" => Vec::new(),
            b"" => return expected("expected the initial response in base64"),
            text => STANDARD.decode(text).or_else(|_| expected("the initial response is not base64"))?,
        });
    }
    Ok(Authenticate { mechanism, initial })
}
