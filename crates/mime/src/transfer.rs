//! Content-Transfer-Encoding undone (RFC 2045 §6), as tolerantly as possible: this is for search, where half
//! a text is better than none.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The octets that `body` stands for; unknown encodings are left as they are.
pub fn decode<'a>(encoding: &[u8], body: &'a [u8]) -> Cow<'a, [u8]> {
    if encoding.eq_ignore_ascii_case(b"base64") {
        Cow::Owned(base64(body))
    } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
        Cow::Owned(quoted_printable(body))
    } else {
        Cow::Borrowed(body)
    }
}

/// Characters outside the alphabet are skipped (RFC 2045 §6.8); the text ends at the first padding.
pub fn base64(text: &[u8]) -> Vec<u8> {
    let end = memchr::memchr(b'=', text).unwrap_or(text.len());
    let mut clean: Vec<u8> = text
        .iter()
        .take(end)
        .copied()
        .filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
        .collect();
    // A single character at the end carries no whole octet.
    if clean.len() % 4 == 1 {
        clean.pop();
    }
    BASE64.decode(&clean).unwrap_or_default()
}

/// A `=` that no two hex digits follow stays as it is (RFC 2045 §6.7).
pub fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        let content = line.trim_ascii_end();
        match content.strip_suffix(b"=") {
            Some(soft) => escapes(soft, b'=', &mut out),
            None => {
                escapes(content, b'=', &mut out);
                if line.ends_with(b"\n") {
                    out.extend_from_slice(b"\r\n");
                } else {
                    out.extend_from_slice(line.get(content.len()..).unwrap_or_default());
                }
            }
        }
    }
    out
}

/// `=XX` undone.
pub(crate) fn escapes(text: &[u8], mark: u8, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(mark, rest) {
        let (before, behind) = rest.split_at(at);
        out.extend_from_slice(before);
        match behind {
            [_, high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = behind;
            }
            _ => {
                out.push(mark);
                rest = behind.get(1..).unwrap_or_default();
            }
        }
    }
    out.extend_from_slice(rest);
}

fn hex_digit(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        b => (b | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quoted_printable_lines() {
        assert_eq!(quoted_printable(b"J=C3=B6 =\r\nx  \r\n=zz=\n"), "Jö x\r\n=zz".as_bytes());
        assert_eq!(quoted_printable(b"a=3db"), b"a=b");
    }

    #[test]
    fn base64_with_noise() {
        assert_eq!(base64(b"aGVs\r\nbG8=\r\n"), b"hello");
        assert_eq!(base64(b"aGVsbG8"), b"hello");
        assert_eq!(base64(b"a*G-V.sbG8=ignored"), b"hello");
        assert_eq!(base64(b"aGVsb"), b"hel");
    }

    proptest! {
        #[test]
        fn base64_round_trips(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(base64(BASE64.encode(&octets).as_bytes()), octets);
        }

        #[test]
        fn any_text_is_taken(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(quoted_printable(&text).len() <= text.len() * 2);
            prop_assert!(base64(&text).len() <= text.len());
        }
    }
}
