//! Command and reply lines: CRLF ends a line, and nothing else does (RFC 5321 §2.3.8).
//!
//! A bare CR or LF is an attack or a broken peer: two hosts that disagree about where a line ends let a
//! stranger smuggle commands past the first one. The whole line up to the next CRLF is refused, once.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

/// One line of the peer, without its CRLF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Text(Bytes),
    /// It has a CR without LF or an LF without CR; what follows, to the next CRLF, is dropped.
    BareLineEnd,
    /// It is longer than the limit; what follows, to the next CRLF, is dropped.
    TooLong,
}

/// Takes lines off the front of a buffer that grows at its end. The same octets give the same lines
/// however they were split on their way.
#[derive(Debug, Default)]
pub struct LineReader {
    /// Octets at the front of the buffer that hold no line end.
    scanned: usize,
    /// The rest of a refused line is being dropped.
    skipping: bool,
}

impl LineReader {
    /// The next line, or `None` if more octets are needed. `octets_max` counts the line with its CRLF.
    pub fn next(&mut self, buffer: &mut BytesMut, octets_max: usize) -> Option<Line> {
        if self.skipping && !self.skip(buffer) {
            return None;
        }
        let text_max = octets_max.saturating_sub(2);
        let unscanned = buffer.get(self.scanned..).unwrap_or_default();
        let Some(offset) = memchr2(b'\r', b'\n', unscanned) else {
            self.scanned = buffer.len();
            if buffer.len() > text_max {
                return Some(self.refuse(buffer, buffer.len(), Line::TooLong));
            }
            return None;
        };
        let end = self.scanned + offset;
        if end > text_max {
            return Some(self.refuse(buffer, end, Line::TooLong));
        }
        match (buffer.get(end), buffer.get(end + 1)) {
            (Some(b'\r'), None) => {
                self.scanned = end;
                None
            }
            (Some(b'\r'), Some(b'\n')) => {
                self.scanned = 0;
                let text = buffer.split_to(end).freeze();
                buffer.advance(2);
                Some(Line::Text(text))
            }
            _ => Some(self.refuse(buffer, end + 1, Line::BareLineEnd)),
        }
    }

    /// Forgets a line that has begun, because the buffer was cleared.
    pub fn reset(&mut self) {
        *self = LineReader::default();
    }

    fn refuse(&mut self, buffer: &mut BytesMut, octets: usize, why: Line) -> Line {
        buffer.advance(octets);
        self.scanned = 0;
        self.skipping = true;
        why
    }

    /// Drops octets to the next CRLF; whether it was found.
    fn skip(&mut self, buffer: &mut BytesMut) -> bool {
        if let Some(at) = memchr::memmem::find(buffer, b"\r\n") {
            buffer.advance(at + 2);
            self.skipping = false;
            return true;
        }
        // A CR at the end may be the first half of the CRLF that ends the line.
        let keep = usize::from(buffer.last() == Some(&b'\r'));
        buffer.advance(buffer.len() - keep);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(octets: &[u8], chunk: usize, octets_max: usize) -> Vec<Line> {
        let (mut reader, mut buffer, mut out) = (LineReader::default(), BytesMut::new(), Vec::new());
        for piece in octets.chunks(chunk.max(1)) {
            buffer.extend_from_slice(piece);
            while let Some(line) = reader.next(&mut buffer, octets_max) {
                out.push(line);
            }
        }
        out
    }

    fn text(s: &'static str) -> Line {
        Line::Text(Bytes::from_static(s.as_bytes()))
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(
            lines(b"NOOP\r\n\r\nA\nB\r\nC\rD\r\nE\r\r\nF\r\n", 64, 512),
            [text("NOOP"), text(""), Line::BareLineEnd, Line::BareLineEnd, Line::BareLineEnd, text("F")]
        );
    }

    #[test]
    fn a_long_line_is_refused_once_and_the_next_one_is_read() {
        let mut octets = vec![b'x'; 100_000];
        octets.extend_from_slice(b"\r\nNOOP\r\n");
        assert_eq!(lines(&octets, 1000, 512), [Line::TooLong, text("NOOP")]);
        let mut fits = vec![b'x'; 510];
        fits.extend_from_slice(b"\r\n");
        assert!(matches!(lines(&fits, 512, 512)[..], [Line::Text(_)]));
        fits.insert(0, b'x');
        assert_eq!(lines(&fits, 513, 512), [Line::TooLong]);
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(octets in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(0u8)], 0..80), chunk in 1usize..7) {
            prop_assert_eq!(lines(&octets, chunk, 8), lines(&octets, 1000, 8));
        }
    }
}
