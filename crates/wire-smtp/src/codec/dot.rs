//! The body of DATA: dots before lines that begin with one, and the line with a dot alone that ends it
//! (RFC 5321 §4.5.2, §4.1.1.4).
//!
//! The receiver's table; the CRLF of the reply 354 counts as the line end before the body:
//!
//! | where          | octets          | what follows                                   |
//! | -------------- | --------------- | ---------------------------------------------- |
//! | start of line  | `.` CR LF       | the message ends                               |
//! | start of line  | `.` other       | the dot is dropped, the other octet is text    |
//! | start of line  | other           | text                                           |
//! | text           | CR LF           | start of line                                  |
//! | text           | CR or LF alone  | by rule refused or made CRLF, but still *text* |
//!
//! The last row is what defeats smuggling: behind anything but CRLF a dot is a dot.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr2, memmem};

use super::line_ends::BareLineEnds;

/// What one look at the buffer gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Unstuffed {
    /// The next octets of the message; may be empty.
    pub body: Bytes,
    /// The end of data was read; what the buffer still has are commands.
    pub end: bool,
}

/// The receiver's side. Copies nothing while no dot has to be dropped.
#[derive(Debug)]
pub struct Unstuffer {
    rule: BareLineEnds,
    line_start: bool,
    bare: bool,
}

impl Unstuffer {
    pub fn new(rule: BareLineEnds) -> Self {
        Unstuffer { rule, line_start: true, bare: false }
    }

    /// Whether a bare CR or LF was seen, which [`BareLineEnds::Refuse`] refuses.
    pub fn has_bare(&self) -> bool {
        self.bare
    }

    /// Takes what can be told apart off the buffer's front; at most two octets (`.` CR) stay for the next time.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Unstuffed {
        let mut out = BytesMut::new();
        // buffer[kept..at] has been looked through and is to be given out.
        let (mut kept, mut at) = (0, 0);
        let mut end = 0;
        loop {
            if self.line_start {
                match (buffer.get(at), buffer.get(at + 1), buffer.get(at + 2)) {
                    (None, ..) | (Some(b'.'), None, _) | (Some(b'.'), Some(b'\r'), None) => break,
                    (Some(b'.'), Some(b'\r'), Some(b'\n')) => {
                        end = 3;
                        break;
                    }
                    (Some(b'.'), ..) => {
                        out.extend_from_slice(buffer.get(kept..at).unwrap_or_default());
                        at += 1;
                        kept = at;
                    }
                    _ => {}
                }
                self.line_start = false;
            }
            let Some(offset) = memchr2(b'\r', b'\n', buffer.get(at..).unwrap_or_default()) else {
                at = buffer.len();
                break;
            };
            at += offset;
            match (buffer.get(at), buffer.get(at + 1)) {
                (Some(b'\r'), None) => break,
                (Some(b'\r'), Some(b'\n')) => {
                    at += 2;
                    self.line_start = true;
                }
                _ => {
                    self.bare = true;
                    if self.rule == BareLineEnds::Normalise {
                        out.extend_from_slice(buffer.get(kept..at).unwrap_or_default());
                        out.extend_from_slice(b"\r\n");
                        kept = at + 1;
                    }
                    at += 1;
                }
            }
        }
        let body = if out.is_empty() {
            buffer.advance(kept);
            buffer.split_to(at - kept).freeze()
        } else {
            out.extend_from_slice(buffer.get(kept..at).unwrap_or_default());
            buffer.advance(at);
            out.freeze()
        };
        buffer.advance(end);
        Unstuffed { body, end: end > 0 }
    }
}

/// The sender's side: adds a dot before each line that begins with one, and changes nothing else.
#[derive(Debug)]
pub struct Stuffer {
    line_start: bool,
    after_cr: bool,
}

impl Default for Stuffer {
    fn default() -> Self {
        Stuffer { line_start: true, after_cr: false }
    }
}

impl Stuffer {
    /// The chunk as it is sent: the same octets, not copied, if no line in it begins with a dot.
    pub fn take(&mut self, chunk: Bytes) -> Bytes {
        let (Some(&first), Some(&last)) = (chunk.first(), chunk.last()) else {
            return chunk;
        };
        let mut out = BytesMut::new();
        let mut kept = 0;
        if self.after_cr && first == b'\n' && chunk.get(1) == Some(&b'.') {
            out.extend_from_slice(b"\n.");
            kept = 1;
        } else if self.line_start && first == b'.' {
            out.extend_from_slice(b".");
        }
        for at in memmem::find_iter(&chunk, b"\r\n.") {
            if out.is_empty() {
                out.reserve(chunk.len() + 64);
            }
            out.extend_from_slice(chunk.get(kept..at + 2).unwrap_or_default());
            out.extend_from_slice(b".");
            kept = at + 2;
        }
        self.line_start = chunk.ends_with(b"\r\n") || (chunk.len() == 1 && self.after_cr && last == b'\n');
        self.after_cr = last == b'\r';
        if out.is_empty() {
            return chunk;
        }
        out.extend_from_slice(chunk.get(kept..).unwrap_or_default());
        out.freeze()
    }

    /// The end of data. A body that does not end with CRLF gets one, since otherwise the end would not be seen.
    pub fn finish(&self) -> &'static [u8] {
        if self.line_start { b".\r\n" } else { b"\r\n.\r\n" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unstuff(rule: BareLineEnds, octets: &[u8], chunk: usize) -> (Vec<u8>, bool, bool, Vec<u8>) {
        let (mut unstuffer, mut buffer, mut body, mut end) =
            (Unstuffer::new(rule), BytesMut::new(), Vec::new(), false);
        for piece in octets.chunks(chunk.max(1)) {
            buffer.extend_from_slice(piece);
            if !end {
                let got = unstuffer.take(&mut buffer);
                body.extend_from_slice(&got.body);
                end = got.end;
            }
        }
        (body, end, unstuffer.has_bare(), buffer.to_vec())
    }

    fn stuff(body: &[u8], chunk: usize) -> Vec<u8> {
        let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
        for piece in body.chunks(chunk.max(1)) {
            out.extend_from_slice(&stuffer.take(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(stuffer.finish());
        out
    }

    #[test]
    fn the_table() {
        for (sent, body) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b".a\r\n...b\r\n.\r\n", b"a\r\n..b\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
            (b"a.\r\n.\r\n", b"a.\r\n"),
        ] {
            for chunk in 1..=sent.len() {
                let want = (body.to_vec(), true, false, Vec::new());
                assert_eq!(unstuff(BareLineEnds::Refuse, sent, chunk), want, "{sent:?} by {chunk}");
            }
        }
    }

    #[test]
    fn no_other_line_end_ends_a_message() {
        for ending in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r\n.\r",
            b"\r\n.\r\r\n",
            b"\r\n.\0\r\n",
            b"\r.\r\n",
            b"\r.\r",
            b"\n.\r",
            b"\r\n. \r\n",
        ] {
            let sent = [b"text", ending, b"MAIL FROM:<a@b>\r\n"].concat();
            for rule in [BareLineEnds::Refuse, BareLineEnds::Normalise] {
                for chunk in 1..=sent.len() {
                    let (_, end, bare, _) = unstuff(rule, &sent, chunk);
                    assert!(!end, "{ending:?} ended a message, by {chunk}");
                    let clean = ending == b"\r\n.\0\r\n" || ending == b"\r\n. \r\n";
                    assert_eq!(bare, !clean, "{ending:?}");
                }
            }
        }
    }

    #[test]
    fn normalised_bodies_have_crlf_only() {
        for chunk in 1..12 {
            let (body, end, bare, rest) =
                unstuff(BareLineEnds::Normalise, b"a\n.\nb\r.c\r\n.\r\nQUIT\r\n", chunk);
            assert_eq!(body, b"a\r\n.\r\nb\r\n.c\r\n");
            assert!(end && bare);
            assert_eq!(rest, b"QUIT\r\n");
        }
    }

    fn octet() -> impl Strategy<Value = u8> {
        prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a')]
    }

    fn crlf_body() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec("[.a\u{0}é]{0,4}", 0..12)
            .prop_map(|lines| lines.iter().flat_map(|l| format!("{l}\r\n").into_bytes()).collect())
    }

    proptest! {
        #[test]
        fn what_is_stuffed_is_unstuffed(body in crlf_body(), out in 1usize..9, back in 1usize..9) {
            let sent = stuff(&body, out);
            prop_assert_eq!(&sent, &stuff(&body, 4096));
            prop_assert_eq!(unstuff(BareLineEnds::Refuse, &sent, back), (body, true, false, Vec::new()));
        }

        #[test]
        fn splitting_changes_nothing(sent in proptest::collection::vec(octet(), 0..60), chunk in 1usize..7) {
            for rule in [BareLineEnds::Refuse, BareLineEnds::Normalise] {
                let (body, end, bare, rest) = unstuff(rule, &sent, chunk);
                prop_assert_eq!((body, end, bare, rest), unstuff(rule, &sent, 1000));
            }
        }

        #[test]
        fn a_body_of_any_octets_cannot_end_itself(body in proptest::collection::vec(octet(), 0..60)) {
            let sent = stuff(&body, 5);
            let (_, end, _, rest) = unstuff(BareLineEnds::Refuse, &sent, 3);
            prop_assert!(end && rest.is_empty());
        }
    }
}
