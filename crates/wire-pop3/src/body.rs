//! Writes a message as a multi-line reply (RFC 1939 §3): dot-stuffed, closed by a line with a dot, and cut
//! after some lines for TOP. Chunks may be cut anywhere.
//!
//! A line ends with CRLF, and whoever undoes the stuffing by that rule gets every octet back. Messages that
//! came over SMTP have no other line ends; those that another program put into the Maildir may. There a dot
//! after a bare LF is stuffed as well: a client that takes LF for a line end would otherwise read `LF . CRLF`
//! as the end of the message and what follows, which the sender of the message wrote, as our replies.

use crate::output::Scope;

pub(crate) struct BodyWriter {
    /// Lines of the text that may still go out; None without bound.
    lines_left: Option<u64>,
    in_header: bool,
    /// Of the line that is being written.
    line_octets: u64,
    last: u8,
    before_last: u8,
}

impl BodyWriter {
    pub(crate) fn new(scope: Scope) -> Self {
        BodyWriter {
            lines_left: match scope {
                Scope::Whole => None,
                Scope::Top { lines } => Some(lines),
            },
            in_header: true,
            line_octets: 0,
            // As if a line had ended before, which the reply's first line has.
            last: b'\n',
            before_last: b'\r',
        }
    }

    /// Appends what goes over the wire for a chunk. True when no more is wanted.
    pub(crate) fn write(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) -> bool {
        while let Some(&first) = chunk.first() {
            if self.line_octets == 0 && first == b'.' {
                out.push(b'.');
            }
            let line_end = chunk.iter().position(|&b| b == b'\n').map(|at| at + 1);
            let (piece, rest) = chunk.split_at(line_end.unwrap_or(chunk.len()));
            out.extend_from_slice(piece);
            self.remember(piece);
            if line_end.is_some() && self.line_ended() {
                return true;
            }
            chunk = rest;
        }
        false
    }

    /// Appends the end of the reply.
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        if (self.before_last, self.last) != (b'\r', b'\n') {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }

    fn remember(&mut self, piece: &[u8]) {
        self.line_octets += piece.len() as u64;
        match piece {
            [.., before_last, last] => (self.before_last, self.last) = (*before_last, *last),
            [last] => (self.before_last, self.last) = (self.last, *last),
            [] => {}
        }
    }

    /// True when it was the last line that is wanted.
    fn line_ended(&mut self) -> bool {
        let is_empty = self.line_octets == 1 || (self.line_octets == 2 && self.before_last == b'\r');
        self.line_octets = 0;
        let Some(lines_left) = &mut self.lines_left else {
            return false;
        };
        if !self.in_header {
            *lines_left -= 1;
        } else if is_empty {
            self.in_header = false;
        }
        !self.in_header && *lines_left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(scope: Scope, chunks: &[&[u8]]) -> Vec<u8> {
        let mut writer = BodyWriter::new(scope);
        let mut out = Vec::new();
        let _ = chunks.iter().any(|chunk| writer.write(chunk, &mut out));
        writer.finish(&mut out);
        out
    }

    /// What a client does, by the letter of RFC 1939 §3.
    fn unstuffed(wire: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = wire;
        loop {
            let end = rest.windows(2).position(|w| w == b"\r\n").expect("a line end") + 2;
            let (line, later) = rest.split_at(end);
            if line == b".\r\n" {
                assert!(later.is_empty(), "octets after the end");
                return out;
            }
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            rest = later;
        }
    }

    #[test]
    fn dots_at_line_starts_are_stuffed() {
        for (message, wire) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("a\r\n..b.\r\n.c\r\n", "a\r\n...b.\r\n..c\r\n.\r\n"),
            ("no end", "no end\r\n.\r\n"),
            ("cr\r", "cr\r\r\n.\r\n"),
            ("lf\n", "lf\n\r\n.\r\n"),
            ("a\n.\r\n+OK me\r\n", "a\n..\r\n+OK me\r\n.\r\n"),
        ] {
            assert_eq!(
                String::from_utf8(written(Scope::Whole, &[message.as_bytes()])).unwrap(),
                wire,
                "{message:?}"
            );
        }
    }

    #[test]
    fn top_gives_the_header_and_so_many_lines() {
        let message = b"A: 1\r\nB: 2\r\n\r\none\r\n.two\r\nthree\r\n";
        for (lines, wire) in [
            (0, "A: 1\r\nB: 2\r\n\r\n.\r\n"),
            (1, "A: 1\r\nB: 2\r\n\r\none\r\n.\r\n"),
            (2, "A: 1\r\nB: 2\r\n\r\none\r\n..two\r\n.\r\n"),
            (99, "A: 1\r\nB: 2\r\n\r\none\r\n..two\r\nthree\r\n.\r\n"),
        ] {
            for size in 1..message.len() {
                let chunks: Vec<&[u8]> = message.chunks(size).collect();
                let got = written(Scope::Top { lines }, &chunks);
                assert_eq!(String::from_utf8(got).unwrap(), wire, "{lines} lines in {size}");
            }
        }
        assert_eq!(written(Scope::Top { lines: 0 }, &[b"A: 1\r\n"]), b"A: 1\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn what_is_stuffed_is_read_back(
            lines in proptest::collection::vec("\\.{0,3}[a-z\r.]{0,5}", 0..10),
            cuts in proptest::collection::vec(1..6_usize, 1..50),
        ) {
            let message: Vec<u8> = lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect();
            let mut chunks = Vec::new();
            let mut rest = message.as_slice();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                chunks.push(now);
                rest = later;
            }
            chunks.push(rest);
            let wire = written(Scope::Whole, &chunks);
            prop_assert_eq!(&wire, &written(Scope::Whole, &[&message]));
            prop_assert_eq!(unstuffed(&wire), message);
        }

        #[test]
        fn no_reader_of_either_line_end_sees_the_end_too_early(
            message in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'x')], 0..60),
        ) {
            let wire = written(Scope::Whole, &[&message]);
            for lines in [split_at(&wire, b"\r\n"), split_at(&wire, b"\n")] {
                let end = lines.iter().position(|l| l.strip_suffix(b"\r").unwrap_or(l) == b".");
                prop_assert_eq!(end, Some(lines.len() - 2), "{:?}", String::from_utf8_lossy(&wire));
            }
        }
    }

    fn split_at<'a>(mut wire: &'a [u8], end: &[u8]) -> Vec<&'a [u8]> {
        let mut lines = Vec::new();
        while let Some(at) = wire.windows(end.len()).position(|w| w == end) {
            lines.push(&wire[..at]);
            wire = &wire[at + end.len()..];
        }
        lines.push(wire);
        lines
    }
}
