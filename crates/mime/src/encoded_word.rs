//! Encoded-words in header fields (RFC 2047) to UTF-8.

use crate::{charset, transfer};

/// All of a header field's value as text: encoded-words decoded, white space between two of them dropped.
///
/// Octets of neighbouring words in one charset are decoded together, because careless senders split a
/// character between two words.
pub fn decode(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut pending: Option<(&[u8], Vec<u8>)> = None;
    let mut rest = value;
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        let (before, behind) = rest.split_at(at);
        let Some(word) = Word::parse(behind) else {
            // Not a word: the two octets are text, and the search goes on behind them.
            flush(&mut out, &mut pending);
            out.push_str(&charset::decode(None, rest.get(..at + 2).unwrap_or_default()));
            rest = rest.get(at + 2..).unwrap_or_default();
            continue;
        };
        if pending.is_none() || !before.trim_ascii().is_empty() {
            flush(&mut out, &mut pending);
            out.push_str(&charset::decode(None, before));
        }
        let octets = word.octets();
        match pending.as_mut() {
            Some((charset, text)) if charset.eq_ignore_ascii_case(word.charset) => text.extend(octets),
            _ => {
                flush(&mut out, &mut pending);
                pending = Some((word.charset, octets));
            }
        }
        rest = behind.get(word.length..).unwrap_or_default();
    }
    flush(&mut out, &mut pending);
    out.push_str(&charset::decode(None, rest));
    out
}

fn flush(out: &mut String, pending: &mut Option<(&[u8], Vec<u8>)>) {
    if let Some((charset, text)) = pending.take() {
        out.push_str(&charset::decode(Some(charset), &text));
    }
}

/// `=?charset*language?Q?text?=`
struct Word<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
    length: usize,
}

impl<'a> Word<'a> {
    fn parse(from: &'a [u8]) -> Option<Self> {
        let body = from.strip_prefix(b"=?")?;
        // No charset's name is longer; so failed words cost no more than this each.
        let question = memchr::memchr(b'?', body.get(..body.len().min(64))?)?;
        let charset = body.get(..question)?;
        if charset.is_empty() || charset.iter().any(|b| b.is_ascii_whitespace() || *b == b'=') {
            return None;
        }
        let (base64, text) = match body.get(question + 1..)? {
            [b'B' | b'b', b'?', text @ ..] => (true, text),
            [b'Q' | b'q', b'?', text @ ..] => (false, text),
            _ => return None,
        };
        let end = memchr::memchr(b'?', text)?;
        if text.get(end + 1) != Some(&b'=') {
            return None;
        }
        let charset = charset.split(|b| *b == b'*').next().unwrap_or(charset);
        Some(Word { charset, base64, text: text.get(..end)?, length: 2 + question + 1 + 2 + end + 2 })
    }

    fn octets(&self) -> Vec<u8> {
        if self.base64 {
            return transfer::base64(self.text);
        }
        let spaced: Vec<u8> = self.text.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
        let mut out = Vec::with_capacity(spaced.len());
        transfer::escapes(&spaced, b'=', &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_decoded_and_joined() {
        for (raw, text) in [
            ("plain", "plain"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?= c", "a b c"),
            ("x =?UTF-8*de?B?SsO2?= y", "x Jö y"),
            ("=?utf-8?q?J=C3?=\r\n =?utf-8?q?=B6?=", "Jö"),
            ("=?utf-8?q?open", "=?utf-8?q?open"),
            ("=?x?z?text?=", "=?x?z?text?="),
            ("a=?=?utf-8?q?b?=", "a=?b"),
        ] {
            assert_eq!(decode(raw.as_bytes()), text, "{raw}");
        }
    }

    #[test]
    fn a_header_full_of_marks_takes_linear_time() {
        let text = b"=?a?q?".repeat(200_000);
        assert!(decode(&text).len() >= text.len());
        let question = [&b"=?"[..], &b"x".repeat(2_000_000)].concat();
        assert_eq!(decode(&question).len(), question.len());
    }

    proptest! {
        #[test]
        fn any_octets_are_taken(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            decode(&value);
        }
    }
}
