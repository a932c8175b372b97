//! Base 64 of SASL exchanges (RFC 4954 §4): padded, no line ends, no other alphabet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// The octets, or `None` if `text` is no strict base 64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
