//! What to do about a CR or LF on its own inside a body (RFC 5321 §2.3.8, §4.1.1.4).

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// A receiver's rule for CR without LF and LF without CR in a body. Neither ever ends a line of the dialogue
/// or a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareLineEnds {
    /// The message is read to its end and refused.
    #[default]
    Refuse,
    /// Each becomes a CRLF. It breaks signatures over the body: only for old programs of one's own.
    Normalise,
}

/// Looks after the line ends of a body that comes by length (BDAT), chunk after chunk.
#[derive(Debug, Default)]
pub struct LineEnds {
    rule: BareLineEnds,
    bare: bool,
    after_cr: bool,
    after_crlf: bool,
}

impl LineEnds {
    pub fn new(rule: BareLineEnds) -> Self {
        LineEnds { rule, ..LineEnds::default() }
    }

    /// Whether a bare CR or LF was seen, which [`BareLineEnds::Refuse`] refuses.
    pub fn has_bare(&self) -> bool {
        self.bare
    }

    /// The chunk as it goes on: the same octets, or with CRLF for bare line ends where that is the rule.
    pub fn take(&mut self, chunk: Bytes) -> Bytes {
        let mut out = BytesMut::new();
        let mut kept = 0;
        let mut at = 0;
        if self.after_cr && !chunk.is_empty() {
            self.after_cr = false;
            if chunk.first() == Some(&b'\n') {
                at = 1;
                self.after_crlf = true;
            } else {
                // The CR went out with the chunk before.
                self.bare = true;
                if self.rule == BareLineEnds::Normalise {
                    out.extend_from_slice(b"\n");
                    self.after_crlf = true;
                }
            }
        }
        while let Some(offset) = memchr2(b'\r', b'\n', chunk.get(at..).unwrap_or_default()) {
            let end = at + offset;
            self.after_crlf = false;
            match (chunk.get(end), chunk.get(end + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    at = end + 2;
                    self.after_crlf = true;
                }
                (Some(b'\r'), None) => {
                    at = end + 1;
                    self.after_cr = true;
                }
                _ => {
                    at = end + 1;
                    self.bare = true;
                    if self.rule == BareLineEnds::Normalise {
                        out.extend_from_slice(chunk.get(kept..end).unwrap_or_default());
                        out.extend_from_slice(b"\r\n");
                        kept = at;
                        self.after_crlf = true;
                    }
                }
            }
        }
        if at < chunk.len() {
            self.after_crlf = false;
        }
        if out.is_empty() && kept == 0 {
            return chunk;
        }
        out.extend_from_slice(chunk.get(kept..).unwrap_or_default());
        out.freeze()
    }

    /// What is missing at the body's end: a body ends with a line end, or is empty.
    pub fn finish(&mut self, body_is_empty: bool) -> &'static [u8] {
        if self.after_cr {
            self.bare = true;
            return b"\n";
        }
        if self.after_crlf || body_is_empty { b"" } else { b"\r\n" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rule: BareLineEnds, octets: &[u8], chunk: usize) -> (Vec<u8>, bool) {
        let mut ends = LineEnds::new(rule);
        let mut out = Vec::new();
        for piece in octets.chunks(chunk) {
            out.extend_from_slice(&ends.take(Bytes::copy_from_slice(piece)));
        }
        let rest = ends.finish(out.is_empty());
        out.extend_from_slice(rest);
        (out, ends.has_bare())
    }

    #[test]
    fn clean_bodies_pass_unchanged_at_any_split() {
        let body = b"\r\na\r\n\r\nbc\r\n";
        for chunk in 1..=body.len() {
            assert_eq!(run(BareLineEnds::Refuse, body, chunk), (body.to_vec(), false));
        }
        assert_eq!(run(BareLineEnds::Refuse, b"", 1), (Vec::new(), false));
    }

    #[test]
    fn the_last_line_is_ended() {
        for chunk in 1..4 {
            assert_eq!(run(BareLineEnds::Refuse, b"a\r\nb", chunk), (b"a\r\nb\r\n".to_vec(), false));
        }
    }

    #[test]
    fn bare_ends_are_seen_or_replaced_at_any_split() {
        for (body, fixed) in [
            (&b"a\nb\r\n"[..], &b"a\r\nb\r\n"[..]),
            (b"a\rb\r\n", b"a\r\nb\r\n"),
            (b"\r\r\n", b"\r\n\r\n"),
            (b"a\r\n\nb", b"a\r\n\r\nb\r\n"),
            (b"a\r", b"a\r\n"),
            (b"a\n", b"a\r\n"),
        ] {
            for chunk in 1..=body.len() {
                assert_eq!(
                    run(BareLineEnds::Normalise, body, chunk),
                    (fixed.to_vec(), true),
                    "{body:?} by {chunk}"
                );
                assert!(run(BareLineEnds::Refuse, body, chunk).1);
            }
        }
    }
}
