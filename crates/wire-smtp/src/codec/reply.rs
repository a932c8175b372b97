//! Replies: written by the server, read by the client (RFC 5321 §4.2, RFC 2034).

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use postroad_types::{EnhancedCode, Reply, limits};

use super::line::{Line, LineReader};

/// Octets of text per line, so that code, enhanced code and CRLF fit into RFC 5321 §4.5.3.1.5's 512.
const TEXT_OCTETS_MAX: usize = 490;

/// Writes a reply, a line for each line of its text, the enhanced code on each.
///
/// What could not go over the wire is replaced by `?`: controls always, UTF-8 unless `utf8` (RFC 6531 §3.7.4.2
/// allows it once a client has said SMTPUTF8). Over-long lines are broken.
pub fn write(out: &mut BytesMut, code: u16, enhanced: Option<EnhancedCode>, text: &str, utf8: bool) {
    let mut lines = text.split('\n').flat_map(broken).peekable();
    while let Some(line) = lines.next() {
        let separator = if lines.peek().is_some() { '-' } else { ' ' };
        // Writing into a growing buffer cannot fail.
        let _ = write!(out, "{code:03}{separator}");
        if let Some(enhanced) = enhanced {
            let _ = write!(out, "{enhanced} ");
        }
        if line.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            out.extend_from_slice(line.as_bytes());
        } else {
            let fit = |c: char| !c.is_control() && (utf8 || c.is_ascii());
            for c in line.chars() {
                let _ = out.write_char(if fit(c) { c } else { '?' });
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// `line` in pieces that fit; one empty piece for an empty line.
fn broken(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        if text.len() <= TEXT_OCTETS_MAX {
            return Some(text);
        }
        let (piece, more) = text.split_at(text.floor_char_boundary(TEXT_OCTETS_MAX));
        rest = Some(more);
        Some(piece)
    })
}

/// Why what a server sent is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("a reply line does not begin with a code from 200 to 559 and a space or hyphen")]
    Syntax,
    #[error("the lines of one reply have different codes")]
    MixedCodes,
    #[error("a reply line has a CR or LF on its own")]
    BareLineEnd,
    #[error("a reply line is longer than {} octets", limits::SMTP_REPLY_LINE_OCTETS_MAX)]
    LineTooLong,
    #[error("a reply has more than {} lines", limits::SMTP_REPLY_LINES_MAX)]
    TooManyLines,
}

/// Takes replies off the front of a buffer that grows at its end.
#[derive(Debug, Default)]
pub struct ReplyReader {
    lines: LineReader,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    code: u16,
    texts: Vec<Bytes>,
}

impl ReplyReader {
    /// The next whole reply, or `None` if more octets are needed. After an error the dialogue is beyond repair.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        while let Some(line) = self.lines.next(buffer, limits::SMTP_REPLY_LINE_OCTETS_MAX) {
            let line = match line {
                Line::Text(line) => line,
                Line::BareLineEnd => return Err(ReplyError::BareLineEnd),
                Line::TooLong => return Err(ReplyError::LineTooLong),
            };
            let (code, last, text) = split(&line)?;
            let begun = self.begun.get_or_insert_with(|| Begun { code, texts: Vec::new() });
            if begun.code != code {
                return Err(ReplyError::MixedCodes);
            }
            if begun.texts.len() >= limits::SMTP_REPLY_LINES_MAX {
                return Err(ReplyError::TooManyLines);
            }
            begun.texts.push(text);
            if last && let Some(whole) = self.begun.take() {
                return Ok(Some(assemble(&whole)));
            }
        }
        Ok(None)
    }

    /// Whether a reply has begun that is not whole yet.
    pub fn is_inside(&self) -> bool {
        self.begun.is_some()
    }
}

/// Code, whether this is the reply's last line, and the text.
fn split(line: &Bytes) -> Result<(u16, bool, Bytes), ReplyError> {
    let Some(&[a @ b'2'..=b'5', b @ b'0'..=b'5', c @ b'0'..=b'9']) = line.first_chunk::<3>() else {
        return Err(ReplyError::Syntax);
    };
    let digit = |d: u8| u16::from(d - b'0');
    let code = digit(a) * 100 + digit(b) * 10 + digit(c);
    match line.get(3) {
        // The text with its space is optional (RFC 5321 §4.2).
        None => Ok((code, true, Bytes::new())),
        Some(b' ') => Ok((code, true, line.slice(4..))),
        Some(b'-') => Ok((code, false, line.slice(4..))),
        Some(_) => Err(ReplyError::Syntax),
    }
}

fn assemble(whole: &Begun) -> Reply {
    let mut enhanced = None;
    let mut text = String::new();
    for (n, line) in whole.texts.iter().enumerate() {
        let line = String::from_utf8_lossy(line);
        let mut shown = line.as_ref();
        let (word, rest) = shown.split_once(' ').unwrap_or((shown, ""));
        if let Ok(code) = word.parse::<EnhancedCode>()
            && u16::from(code.class) == whole.code / 100
            && (n == 0 || enhanced == Some(code))
        {
            enhanced = Some(code);
            shown = rest;
        }
        if n > 0 {
            text.push('\n');
        }
        // A peer's controls must not reach a terminal or a log.
        text.extend(shown.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }));
    }
    Reply { code: whole.code, enhanced, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8], chunk: usize) -> Result<Vec<Reply>, ReplyError> {
        let (mut reader, mut buffer, mut out) = (ReplyReader::default(), BytesMut::new(), vec![]);
        for piece in octets.chunks(chunk) {
            buffer.extend_from_slice(piece);
            while let Some(reply) = reader.next(&mut buffer)? {
                out.push(reply);
            }
        }
        Ok(out)
    }

    #[test]
    fn replies_round_trip_at_any_split() {
        let replies = [
            Reply::new(250, EnhancedCode::new(2, 1, 0), "one\ntwo\n"),
            Reply::plain(354, "go on"),
            Reply::plain(250, ""),
        ];
        let mut out = BytesMut::new();
        for r in &replies {
            write(&mut out, r.code, r.enhanced, &r.text, false);
        }
        for chunk in 1..=out.len() {
            assert_eq!(read(&out, chunk).unwrap(), replies);
        }
    }

    #[test]
    fn nothing_gets_out_of_a_reply_line() {
        let mut out = BytesMut::new();
        write(&mut out, 550, None, "a\r\u{0}é\n250 ok", false);
        assert_eq!(&out[..], b"550-a???\r\n550 250 ok\r\n");
        out.clear();
        write(&mut out, 550, None, &"é".repeat(600), true);
        let text = std::str::from_utf8(&out).unwrap();
        assert!(text.lines().all(|l| l.len() <= 510), "{text}");
        assert_eq!(text.matches('é').count(), 600);
    }

    #[test]
    fn refuses_what_is_no_reply() {
        for (octets, why) in [
            (&b"250-a\r\n550 b\r\n"[..], ReplyError::MixedCodes),
            (b"25 a\r\n", ReplyError::Syntax),
            (b"150 a\r\n", ReplyError::Syntax),
            (b"670 a\r\n", ReplyError::Syntax),
            (b"250a\r\n", ReplyError::Syntax),
            (b"HTTP/1.1 200 OK\r\n", ReplyError::Syntax),
            (b"250 a\nb\r\n", ReplyError::BareLineEnd),
        ] {
            for chunk in 1..=octets.len() {
                assert_eq!(read(octets, chunk), Err(why), "{octets:?}");
            }
        }
        assert_eq!(read(&[b'2'; 5000], 100), Err(ReplyError::LineTooLong));
        assert_eq!(read(&b"250-a\r\n".repeat(200), 100), Err(ReplyError::TooManyLines));
    }

    #[test]
    fn an_enhanced_code_counts_only_in_its_class() {
        let got = read(b"550 5.1.1\r\n", 64).unwrap();
        assert_eq!(got, [Reply::new(550, EnhancedCode::new(5, 1, 1), "")]);
        let got = read(b"250 5.1.1 x\r\n", 64).unwrap();
        assert_eq!(got, [Reply::plain(250, "5.1.1 x")]);
    }
}
