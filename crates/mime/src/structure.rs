//! The tree of a message's parts (RFC 2045, RFC 2046 §5.1), found in one pass.
//!
//! [`StructureParser`] takes the message in chunks and works line by line. It keeps the header of the part
//! at hand and, of a body line, only what may be a delimiter: a body of any size costs no memory.
//!
//! | state  | line            | what happens                                                            |
//! |--------|-----------------|-------------------------------------------------------------------------|
//! | header | empty           | the header is read: the part becomes a leaf, a multipart or a message    |
//! | header | delimiter       | the part ends here, without a body                                       |
//! | header | other           | kept                                                                     |
//! | body   | delimiter       | all parts inside that multipart end before it; a next one begins, unless the delimiter is closing |
//! | body   | other           | counted                                                                  |
//!
//! A delimiter of an outer multipart ends the inner ones as well, whether they were closed or not. The line
//! end in front of a delimiter belongs to the delimiter.

use std::ops::Range;

use postroad_types::limits::{
    MIME_BOUNDARY_OCTETS_MAX, MIME_HEADER_OCTETS_MAX, MIME_NESTING_MAX, MIME_PARTS_MAX,
};

use crate::content::Content;
use crate::envelope::Envelope;
use crate::header;

/// Names a part of one [`Structure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartId(usize);

/// A part: the message itself, or one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The header with its empty line.
    pub header: Range<usize>,
    /// Behind the empty line up to the line end that belongs to the next delimiter.
    pub body: Range<usize>,
    /// Lines of the body; a last one without a line end counts.
    pub lines: usize,
    pub content: Content,
    /// Of a message (the whole one, or one inside message/rfc822); `None` for other parts.
    pub envelope: Option<Box<Envelope>>,
    pub inside: Body,
}

impl Part {
    /// Octets of the body as it was sent.
    pub fn size(&self) -> usize {
        self.body.len()
    }
}

/// What is inside a part's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing that has a structure, or nothing that is looked into.
    Leaf,
    /// In the order they stand; empty when no delimiter was found.
    Multipart(Vec<PartId>),
    /// message/rfc822: the message inside.
    Message(PartId),
}

/// All parts of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    parts: Vec<Part>,
    size: usize,
}

impl Structure {
    /// Of a whole message in memory.
    pub fn parse(message: &[u8]) -> Self {
        let mut parser = StructureParser::new();
        parser.push(message);
        parser.finish()
    }

    /// The message itself.
    pub const ROOT: PartId = PartId(0);

    /// The part of that id; the root for one of another structure.
    #[allow(clippy::indexing_slicing, reason = "finish() leaves at least the root")]
    pub fn part(&self, id: PartId) -> &Part {
        self.parts.get(id.0).unwrap_or(&self.parts[0])
    }

    /// All parts, the message first, each before what is inside it.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Octets of the message.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Finds the structure of a message that comes in chunks.
#[derive(Debug)]
pub struct StructureParser {
    parts: Vec<Part>,
    /// The parts that are open, the message first.
    open: Vec<Open>,
    /// In the header of the innermost open part; its octets so far, up to the limit.
    header: Option<Vec<u8>>,
    /// Offset of the next octet, of the line at hand, and where the line before ended, its line end apart.
    at: usize,
    line_start: usize,
    previous_end: usize,
    previous_is_empty: bool,
    /// Line ends seen so far.
    line_ends: usize,
    /// The begin of the line at hand, as much as a delimiter can be long.
    line: Vec<u8>,
    /// The last octet before `at` that is still part of the line at hand.
    last: Option<u8>,
    /// The last line that ended did so with CRLF.
    previous_crlf: bool,
}

#[derive(Debug)]
struct Open {
    part: usize,
    /// Of a multipart that has not been closed.
    boundary: Option<Vec<u8>>,
    digest: bool,
    /// `line_ends` where the body began.
    body_line_ends: usize,
}

/// Longest line that can be a delimiter: `--`, boundary, `--`, some white space.
const DELIMITER_OCTETS_MAX: usize = MIME_BOUNDARY_OCTETS_MAX + 64;

impl Default for StructureParser {
    fn default() -> Self {
        Self::new()
    }
}

impl StructureParser {
    pub fn new() -> Self {
        let mut parser = StructureParser {
            parts: Vec::new(),
            open: Vec::new(),
            header: None,
            at: 0,
            line_start: 0,
            previous_end: 0,
            previous_is_empty: true,
            line_ends: 0,
            line: Vec::new(),
            last: None,
            previous_crlf: false,
        };
        parser.begin_part(0, false);
        parser
    }

    /// The next chunk of the message, of any size.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            match memchr::memchr(b'\n', rest) {
                Some(at) => {
                    let (line, behind) = rest.split_at(at + 1);
                    self.take(line);
                    self.end_line();
                    rest = behind;
                }
                None => {
                    self.take(rest);
                    break;
                }
            }
        }
    }

    /// The message has ended.
    pub fn finish(mut self) -> Structure {
        if self.at > self.line_start {
            // A last line without a line end: it may be a delimiter or belong to a header.
            self.end_line();
        }
        self.end_headers(self.at);
        let ends_open = self.previous_end == self.at;
        self.close_to(0, self.at, self.line_ends, ends_open);
        Structure { parts: self.parts, size: self.at }
    }

    /// Octets of the line at hand.
    fn take(&mut self, octets: &[u8]) {
        let starts_line = self.at == self.line_start;
        self.at += octets.len();
        if let Some(header) = self.header.as_mut() {
            let room = MIME_HEADER_OCTETS_MAX.saturating_sub(header.len()).min(octets.len());
            header.extend_from_slice(octets.get(..room).unwrap_or_default());
        }
        // In a body only a line that begins with a hyphen is of interest; in a header the empty one, too.
        let wanted = if starts_line { octets.first() == Some(&b'-') } else { !self.line.is_empty() };
        if wanted || self.header.is_some() {
            let room = (DELIMITER_OCTETS_MAX + 1).saturating_sub(self.line.len()).min(octets.len());
            self.line.extend_from_slice(octets.get(..room).unwrap_or_default());
        }
        if let [.., before, b'\n'] = octets {
            self.previous_crlf = *before == b'\r';
        } else if octets == b"\n" {
            self.previous_crlf = self.last == Some(b'\r');
        }
        self.last = octets.last().copied();
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let start = self.line_start;
        let terminated = self.last == Some(b'\n');
        let delimiter = if line.starts_with(b"--") && line.len() <= DELIMITER_OCTETS_MAX {
            self.match_delimiter(line.trim_ascii_end())
        } else {
            None
        };
        if let Some((depth, closing)) = delimiter {
            self.end_headers(start);
            self.pass_delimiter(depth, closing);
        }
        self.line_ends += usize::from(terminated);
        if delimiter.is_none() && self.header.is_some() && header::blank_line(&line) == Some(line.len()) {
            self.end_header(self.at);
        }
        let line_end = match (terminated, self.previous_crlf) {
            (true, true) => 2,
            (true, false) => 1,
            (false, _) => 0,
        };
        self.previous_end = self.at - line_end;
        self.previous_is_empty = self.previous_end == start;
        self.line_start = self.at;
        self.last = None;
        self.line = line;
        self.line.clear();
    }

    /// The innermost open multipart that this line delimits, and whether it closes it.
    fn match_delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.get(2..)?;
        self.open.iter().enumerate().rev().find_map(|(depth, open)| {
            let rest = text.strip_prefix(open.boundary.as_deref()?)?;
            match rest {
                b"" => Some((depth, false)),
                b"--" => Some((depth, true)),
                _ => None,
            }
        })
    }

    /// The line at hand, which ends at `self.at`, delimits the multipart at `depth`.
    fn pass_delimiter(&mut self, depth: usize, closing: bool) {
        // The line end in front of the delimiter is not of the part, and so not of its lines either.
        let (end, line_ends) = (self.previous_end, self.line_ends.saturating_sub(1));
        self.close_to(depth + 1, end, line_ends, !self.previous_is_empty);
        let Some(open) = self.open.get_mut(depth) else { return };
        let (parent, digest) = (open.part, open.digest);
        if closing {
            open.boundary = None;
        } else if self.parts.len() < MIME_PARTS_MAX {
            let id = self.begin_part(self.at, digest);
            if let Some(Part { inside: Body::Multipart(children), .. }) = self.parts.get_mut(parent) {
                children.push(PartId(id));
            }
        }
    }

    /// A part whose header begins at `start`.
    fn begin_part(&mut self, start: usize, digest: bool) -> usize {
        let id = self.parts.len();
        self.parts.push(Part {
            header: start..start,
            body: start..start,
            lines: 0,
            content: Content::default(),
            envelope: None,
            inside: Body::Leaf,
        });
        self.open.push(Open { part: id, boundary: None, digest, body_line_ends: self.line_ends });
        self.header = Some(Vec::new());
        id
    }

    /// Whatever header is at hand ends at `end` without an empty line; so does the one of a message inside.
    fn end_headers(&mut self, end: usize) {
        while self.header.is_some() {
            self.end_header(end);
        }
    }

    /// The header of the innermost part ends at `end`.
    fn end_header(&mut self, end: usize) {
        let Some(text) = self.header.take() else { return };
        let (depth, next) = (self.open.len(), self.parts.len());
        let inside_message = self.innermost_is_message();
        let in_digest =
            depth > 1 && !inside_message && self.open.get(depth - 2).is_some_and(|open| open.digest);
        let Some(open) = self.open.last_mut() else { return };
        let Some(part) = self.parts.get_mut(open.part) else { return };
        part.header.end = end;
        part.body = end..end;
        part.content = Content::parse(&text, in_digest);
        if open.part == 0 || inside_message {
            part.envelope = Some(Box::new(Envelope::parse(&text)));
        }
        open.body_line_ends = self.line_ends;
        open.digest = false;
        let boundary = part
            .content
            .parameter("boundary")
            .filter(|b| !b.trim_ascii_end().is_empty() && b.len() <= MIME_BOUNDARY_OCTETS_MAX);
        if part.content.is_kind("multipart") {
            match boundary {
                Some(boundary) if depth < MIME_NESTING_MAX => {
                    open.boundary = Some(boundary.trim_ascii_end().to_vec());
                    open.digest = part.content.subkind.eq_ignore_ascii_case(b"digest");
                    part.inside = Body::Multipart(Vec::new());
                }
                // Too deep, or nothing that would tell its parts apart: one opaque part, which must not
                // call itself a multipart.
                Some(_) => opaque(&mut part.content, "APPLICATION", "OCTET-STREAM"),
                None => opaque(&mut part.content, "TEXT", "PLAIN"),
            }
        } else if part.content.is("message", "rfc822") || part.content.is("message", "global") {
            if depth < MIME_NESTING_MAX && next < MIME_PARTS_MAX {
                part.inside = Body::Message(PartId(next));
                self.begin_part(end, false);
            } else {
                opaque(&mut part.content, "APPLICATION", "OCTET-STREAM");
            }
        }
    }

    /// Whether the innermost open part is the message inside a message/rfc822.
    fn innermost_is_message(&self) -> bool {
        let [.., outer, inner] = self.open.as_slice() else { return false };
        self.parts.get(outer.part).is_some_and(|part| part.inside == Body::Message(PartId(inner.part)))
    }

    /// Ends the open parts from `depth` on at `end`, in front of which `line_ends` line ends stand;
    /// `ends_open`: the last octet in front of `end` is no line end.
    fn close_to(&mut self, depth: usize, end: usize, line_ends: usize, ends_open: bool) {
        while self.open.len() > depth {
            let Some(open) = self.open.pop() else { return };
            let Some(part) = self.parts.get_mut(open.part) else { continue };
            part.body.end = end.max(part.body.start);
            if !part.body.is_empty() {
                part.lines = line_ends.saturating_sub(open.body_line_ends) + usize::from(ends_open);
            }
        }
    }
}

/// A part that is not looked into, under a type that promises nothing.
fn opaque(content: &mut Content, kind: &str, subkind: &str) {
    content.kind = kind.into();
    content.subkind = subkind.into();
    content.parameters.clear();
}

#[cfg(test)]
pub(crate) use tests::pieces;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pieces that messages are made of, so that chance builds structure and not only noise.
    pub(crate) fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("Content-Type: multipart/mixed; boundary=a\r\n".to_owned()),
            Just("Content-Type: multipart/digest; boundary=\"b\"\n".to_owned()),
            Just("Content-Type: message/rfc822\r\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            Just("--a\r\n".to_owned()),
            Just("--a--\r\n".to_owned()),
            Just("--b\n".to_owned()),
            Just("--b--".to_owned()),
            Just("Subject: x\r\n y\r\n".to_owned()),
            "\\PC{0,12}",
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
    }

    /// Parts as `type lines [body]`, indented by depth.
    fn shown(message: &str) -> Vec<String> {
        fn walk(s: &Structure, id: PartId, depth: usize, message: &str, out: &mut Vec<String>) {
            let part = s.part(id);
            let content = &part.content;
            let kind =
                String::from_utf8_lossy(&[&content.kind[..], b"/", &content.subkind].concat()).to_lowercase();
            let indent = " ".repeat(depth);
            let body = &message[part.body.clone()];
            match &part.inside {
                Body::Leaf => out.push(format!("{indent}{kind} {} {body:?}", part.lines)),
                Body::Multipart(children) => {
                    out.push(format!("{indent}{kind}"));
                    children.iter().for_each(|child| walk(s, *child, depth + 1, message, out));
                }
                Body::Message(inner) => {
                    out.push(format!("{indent}{kind} {}", part.lines));
                    walk(s, *inner, depth + 1, message, out);
                }
            }
        }
        let mut out = Vec::new();
        walk(&Structure::parse(message.as_bytes()), Structure::ROOT, 0, message, &mut out);
        out
    }

    #[test]
    fn a_nested_message() {
        let message = "Content-Type: multipart/mixed; boundary=\"a b\"\r\n\r\npreamble\r\n--a b\r\n\r\none\r\n\r\n\
            --a b \r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: multipart/digest; \
            boundary=i\r\n\r\n--i\r\n\r\nSubject: d\r\n\r\ntwo\r\n--i--\r\nepilogue\r\n--a b--\r\nend\r\n";
        assert_eq!(
            shown(message),
            [
                "multipart/mixed",
                " text/plain 1 \"one\\r\\n\"",
                " message/rfc822 10",
                "  multipart/digest",
                "   message/rfc822 3",
                "    text/plain 1 \"two\"",
            ]
        );
    }

    #[test]
    fn broken_messages_have_a_structure_still() {
        assert_eq!(shown(""), ["text/plain 0 \"\""]);
        assert_eq!(shown("\r\n"), ["text/plain 0 \"\""]);
        assert_eq!(shown("A: b\r\n\r\nx\r\ny"), ["text/plain 2 \"x\\r\\ny\""]);
        assert_eq!(shown("Content-Type: multipart/mixed\r\n\r\nx"), ["text/plain 1 \"x\""]);
        assert_eq!(shown("Content-Type: multipart/mixed; boundary=b\n\nno part"), ["multipart/mixed"]);
        let bare = "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n\none\n--b\nContent-Type: message/rfc822\n--b--";
        assert_eq!(
            shown(bare),
            ["multipart/mixed", " text/plain 1 \"one\"", " message/rfc822 0", "  text/plain 0 \"\""]
        );
        // An inner multipart that was never closed ends with the outer one.
        let open = "Content-Type: multipart/a; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/b; boundary=oo\r\n\r\n\
            --oo\r\n\r\nin\r\n--o\r\n\r\nout\r\n--oo\r\n--o--";
        assert_eq!(
            shown(open),
            ["multipart/a", " multipart/b", "  text/plain 1 \"in\"", " text/plain 2 \"out\\r\\n--oo\""]
        );
    }

    #[test]
    fn nesting_and_part_count_are_bounded() {
        let mut deep = String::new();
        for n in 0..200 {
            deep += &format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
        }
        let structure = Structure::parse(deep.as_bytes());
        assert_eq!(structure.parts().len(), MIME_NESTING_MAX);
        assert!(structure.parts().last().unwrap().content.is("application", "octet-stream"));
        let wide =
            format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n".repeat(MIME_PARTS_MAX * 2));
        assert_eq!(Structure::parse(wide.as_bytes()).parts().len(), MIME_PARTS_MAX);
        let messages = "Content-Type: message/rfc822\n\n".repeat(20_000);
        assert_eq!(Structure::parse(messages.as_bytes()).parts().len(), MIME_NESTING_MAX);
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_matter(message in pieces(), cuts in proptest::collection::vec(0usize..200, 0..20)) {
            let mut parser = StructureParser::new();
            let mut rest = &message[..];
            for cut in cuts {
                let (chunk, behind) = rest.split_at(cut.min(rest.len()));
                parser.push(chunk);
                rest = behind;
            }
            rest.iter().for_each(|b| parser.push(&[*b]));
            prop_assert_eq!(parser.finish(), Structure::parse(&message));
        }

        #[test]
        fn ranges_lie_in_the_message(message in pieces()) {
            let structure = Structure::parse(&message);
            for part in structure.parts() {
                prop_assert!(part.header.start <= part.header.end);
                prop_assert_eq!(part.header.end, part.body.start);
                prop_assert!(part.body.start <= part.body.end && part.body.end <= message.len());
                let body = &message[part.body.clone()];
                let lines = body.iter().filter(|b| **b == b'\n').count()
                    + usize::from(body.last().is_some_and(|b| *b != b'\n'));
                prop_assert_eq!(part.lines, lines);
            }
        }

        #[test]
        fn any_octets_are_taken(message in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(!Structure::parse(&message).parts().is_empty());
        }
    }
}
