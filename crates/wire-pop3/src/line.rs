//! Cuts what the client sends into lines (RFC 1939 §3: CRLF ends a command).
//!
//! A line that is too long is thrown away as it comes and reported once, at its end; the next line is read
//! as if nothing had been. A bare LF ends a line too, but the line is reported as wrong and not obeyed, so
//! that client and server never disagree about where a command starts.

use postroad_types::limits::POP3_LINE_OCTETS_MAX;

/// One line, without its end.
#[derive(PartialEq, Eq)]
pub(crate) enum Line {
    Text(String),
    TooLong,
    /// Ended by LF without CR.
    BareLf,
    /// With a NUL or a CR inside.
    Control,
    NotUtf8,
}

#[derive(Default)]
pub(crate) struct LineReader {
    octets: Vec<u8>,
    /// Octets before this are behind us.
    start: usize,
    /// Octets before this have no LF.
    searched: usize,
    /// In the middle of a line that is too long.
    skipping: bool,
}

impl LineReader {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        if self.start > 0 {
            self.octets.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.octets.extend_from_slice(octets);
    }

    /// Forgets everything that was not taken yet.
    pub(crate) fn clear(&mut self) {
        *self = LineReader::default();
    }

    pub(crate) fn next(&mut self) -> Option<Line> {
        let unread = self.octets.get(self.searched..).unwrap_or_default();
        let Some(at) = unread.iter().position(|&b| b == b'\n') else {
            self.searched = self.octets.len();
            if self.skipping || self.octets.len() - self.start > POP3_LINE_OCTETS_MAX {
                *self = LineReader { skipping: true, ..LineReader::default() };
            }
            return None;
        };
        let end = self.searched + at + 1;
        let line = self.octets.get(self.start..end).unwrap_or_default();
        let line =
            if self.skipping || line.len() > POP3_LINE_OCTETS_MAX { Line::TooLong } else { read(line) };
        self.skipping = false;
        self.start = end;
        self.searched = end;
        Some(line)
    }
}

/// Reads a line that ends with LF.
fn read(line: &[u8]) -> Line {
    let Some(text) = line.strip_suffix(b"\r\n") else {
        return Line::BareLf;
    };
    if text.iter().any(|&b| b == 0 || b == b'\r') {
        return Line::Control;
    }
    match std::str::from_utf8(text) {
        Ok(text) => Line::Text(text.to_owned()),
        Err(_) => Line::NotUtf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(reader: &mut LineReader) -> Vec<Line> {
        std::iter::from_fn(|| reader.next()).collect()
    }

    /// Lines may hold passwords and have no Debug: compared with `==` only.
    fn read_all(octets: &[u8]) -> Vec<Line> {
        let mut reader = LineReader::default();
        reader.push(octets);
        lines(&mut reader)
    }

    #[test]
    fn only_crlf_ends_a_line_well() {
        let text = |s: &str| Line::Text(s.to_owned());
        assert!(read_all(b"NOOP\r\nQUIT\r\nrest") == [text("NOOP"), text("QUIT")]);
        assert!(read_all(b"NOOP\nQUIT\r\n") == [Line::BareLf, text("QUIT")]);
        assert!(read_all(b"NO\rOP\r\n\0\r\n\r\r\n") == [Line::Control, Line::Control, Line::Control]);
        assert!(read_all(b"\xff\r\n\r\n") == [Line::NotUtf8, text("")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once_and_not_kept() {
        let mut reader = LineReader::default();
        for _ in 0..1000 {
            reader.push(&[b'x'; 1024]);
            assert!(reader.next().is_none());
            assert!(reader.octets.len() <= POP3_LINE_OCTETS_MAX + 1024);
        }
        reader.push(b"x\r\nNOOP\r\n");
        assert!(lines(&mut reader) == [Line::TooLong, Line::Text("NOOP".to_owned())]);
    }

    #[test]
    fn the_longest_line_is_as_long_as_promised() {
        let line = |octets: usize| [vec![b'x'; octets - 2], b"\r\n".to_vec()].concat();
        assert!(matches!(read_all(&line(POP3_LINE_OCTETS_MAX))[..], [Line::Text(_)]));
        assert!(read_all(&line(POP3_LINE_OCTETS_MAX + 1)) == [Line::TooLong]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_octets_arrive(
            octets in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0..200_usize, 0..8),
        ) {
            let whole = read_all(&octets);
            let mut reader = LineReader::default();
            let mut got = Vec::new();
            let mut rest = octets.as_slice();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                reader.push(now);
                got.extend(lines(&mut reader));
                rest = later;
            }
            reader.push(rest);
            got.extend(lines(&mut reader));
            prop_assert!(got == whole);
        }
    }
}
