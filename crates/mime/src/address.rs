//! Address lists of header fields (RFC 5322 §3.4) as IMAP's ENVELOPE wants them (RFC 3501 §7.4.2).
//!
//! The reader follows the obsolete syntax too (routes, white space and comments anywhere) and never
//! refuses: what is no address becomes one with an empty host, so that a client can show it. Encoded-words
//! stay as they were sent; clients decode them.

use postroad_types::limits::ENVELOPE_ADDRESSES_MAX;

/// One entry of an ENVELOPE address list.
///
/// A group is told by its two ends: at its begin `host` is `None` and `mailbox` is its name, at its end
/// both are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeAddress {
    pub name: Option<Vec<u8>>,
    /// The source route (RFC 822 §6.1), without its colon.
    pub route: Option<Vec<u8>>,
    pub mailbox: Option<Vec<u8>>,
    pub host: Option<Vec<u8>>,
}

impl EnvelopeAddress {
    fn group_start(name: Vec<u8>) -> Self {
        EnvelopeAddress { mailbox: Some(name), ..Default::default() }
    }

    pub fn is_group_start(&self) -> bool {
        self.host.is_none() && self.mailbox.is_some()
    }

    pub fn is_group_end(&self) -> bool {
        self.host.is_none() && self.mailbox.is_none()
    }
}

/// Reads a field's value, at most [`ENVELOPE_ADDRESSES_MAX`] entries of it.
pub fn parse_list(value: &[u8]) -> Vec<EnvelopeAddress> {
    let mut list =
        List { tokens: Tokens { text: value, at: 0, spaced: false }, found: Vec::new(), in_group: false };
    list.read();
    list.found
}

struct List<'a> {
    tokens: Tokens<'a>,
    found: Vec<EnvelopeAddress>,
    in_group: bool,
}

impl List<'_> {
    fn read(&mut self) {
        let mut entry = Entry::default();
        while self.found.len() < ENVELOPE_ADDRESSES_MAX {
            match self.tokens.next() {
                None => break,
                Some(Token::Special(b',')) => self.close(std::mem::take(&mut entry)),
                Some(Token::Special(b';')) => {
                    self.close(std::mem::take(&mut entry));
                    self.end_group();
                }
                Some(Token::Special(b':')) if !self.in_group => {
                    let name = std::mem::take(&mut entry).phrase();
                    self.found.push(EnvelopeAddress::group_start(name));
                    self.in_group = true;
                }
                Some(Token::Special(b'<')) => {
                    entry.name = Some(entry.take_phrase());
                    self.read_angle(&mut entry);
                }
                Some(Token::Special(b'@')) if entry.host.is_none() && entry.angle.is_none() => {
                    entry.host = Some(Vec::new());
                }
                Some(Token::Comment(text)) => entry.comment = Some(text),
                Some(token) => entry.push(token, self.tokens.spaced),
            }
        }
        self.close(entry);
        if self.in_group {
            self.end_group();
        }
    }

    /// `[route ":"] local "@" host ">"`, as far as it goes.
    fn read_angle(&mut self, entry: &mut Entry) {
        let mut local = Vec::new();
        let mut host: Option<Vec<u8>> = None;
        let mut route = None;
        while let Some(token) = self.tokens.next() {
            match token {
                Token::Special(b'>') => break,
                Token::Special(b'@') if host.is_none() => host = Some(Vec::new()),
                Token::Special(b'@') => {
                    if let Some(host) = host.as_mut() {
                        host.push(b'@');
                    }
                }
                Token::Special(b':') if local.is_empty() && route.is_none() => {
                    let mut text = b"@".to_vec();
                    text.extend(host.take().unwrap_or_default());
                    route = Some(text);
                }
                Token::Comment(_) => {}
                token => token.write_to(host.as_mut().unwrap_or(&mut local)),
            }
        }
        entry.angle = Some(AngleAddress { route, local, host: host.unwrap_or_default() });
    }

    fn close(&mut self, entry: Entry) {
        self.found.extend(entry.finish());
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.found.push(EnvelopeAddress::default());
        }
    }
}

/// What stood between angle brackets.
struct AngleAddress {
    route: Option<Vec<u8>>,
    local: Vec<u8>,
    host: Vec<u8>,
}

/// What was read since the last comma.
#[derive(Default)]
struct Entry {
    /// Words of a display name, or of a local part: only what follows tells which.
    words: Vec<u8>,
    /// The same as it is in a local part: no white space between words.
    local: Vec<u8>,
    host: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    angle: Option<AngleAddress>,
    comment: Option<Vec<u8>>,
}

impl Entry {
    fn push(&mut self, token: Token, spaced: bool) {
        if let Some(host) = self.host.as_mut() {
            token.write_to(host);
            return;
        }
        if spaced && !self.words.is_empty() {
            self.words.push(b' ');
        }
        token.write_to(&mut self.words);
        token.write_to(&mut self.local);
    }

    fn take_phrase(&mut self) -> Vec<u8> {
        // `a@b <c@d>`: the unquoted @ belongs to the name then.
        let mut words = std::mem::take(&mut self.words);
        if let Some(host) = self.host.take() {
            words.push(b'@');
            words.extend(host);
        }
        words
    }

    fn phrase(mut self) -> Vec<u8> {
        self.take_phrase()
    }

    fn finish(self) -> Option<EnvelopeAddress> {
        let named = |name: Option<Vec<u8>>| name.filter(|n| !n.is_empty());
        if let Some(AngleAddress { route, local, host }) = self.angle {
            let name = named(self.name).or(named(self.comment));
            return Some(EnvelopeAddress { name, route, mailbox: Some(local), host: Some(host) });
        }
        if self.local.is_empty() && self.host.is_none() {
            return None;
        }
        let host = Some(self.host.unwrap_or_default());
        Some(EnvelopeAddress { name: named(self.comment), route: None, mailbox: Some(self.local), host })
    }
}

enum Token {
    Atom(Vec<u8>),
    Quoted(Vec<u8>),
    Comment(Vec<u8>),
    Special(u8),
}

impl Token {
    fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Token::Atom(text) | Token::Quoted(text) | Token::Comment(text) => out.extend_from_slice(text),
            Token::Special(b) => out.push(*b),
        }
    }
}

struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    /// White space stood in front of the last token.
    spaced: bool,
}

impl Tokens<'_> {
    fn next(&mut self) -> Option<Token> {
        let before = self.at;
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.at += 1;
        }
        self.spaced = self.at > before;
        let first = *self.text.get(self.at)?;
        match first {
            b'"' => {
                self.at += 1;
                Some(Token::Quoted(self.quoted()))
            }
            b'(' => {
                self.at += 1;
                Some(Token::Comment(self.comment()))
            }
            b'[' => Some(Token::Atom(self.literal())),
            b',' | b';' | b':' | b'<' | b'>' | b'@' | b'.' => {
                self.at += 1;
                Some(Token::Special(first))
            }
            _ => Some(Token::Atom(self.atom())),
        }
    }

    fn atom(&mut self) -> Vec<u8> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |b: &u8| b" \t\r\n\"(,;:<>@.".contains(b);
        // At least one octet, so that every call moves on.
        let length = rest.iter().skip(1).position(ends).map_or(rest.len(), |n| n + 1);
        self.at += length;
        rest.get(..length).unwrap_or_default().to_vec()
    }

    /// Behind the opening quote: the content without quotes, backslashes and line ends.
    fn quoted(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(&b) = self.text.get(self.at) {
            self.at += 1;
            match b {
                b'"' => break,
                b'\\' => {
                    out.extend(self.text.get(self.at));
                    self.at += 1;
                }
                b'\r' | b'\n' => {}
                b => out.push(b),
            }
        }
        out
    }

    /// Behind the opening parenthesis: the text without the outermost ones.
    fn comment(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut depth = 1usize;
        while let Some(&b) = self.text.get(self.at) {
            self.at += 1;
            match b {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => {
                    out.extend(self.text.get(self.at));
                    self.at += 1;
                    continue;
                }
                b'\r' | b'\n' => continue,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            out.push(b);
        }
        out.trim_ascii().to_vec()
    }

    /// `[192.0.2.1]` with its brackets.
    fn literal(&mut self) -> Vec<u8> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(b']', rest).map_or(rest.len(), |n| n + 1);
        self.at += length;
        rest.get(..length).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|route|mailbox|host`, a dash for NIL.
    fn shown(value: &str) -> Vec<String> {
        let part =
            |p: &Option<Vec<u8>>| p.as_ref().map_or("-".into(), |p| String::from_utf8_lossy(p).into_owned());
        parse_list(value.as_bytes())
            .iter()
            .map(|a| format!("{}|{}|{}|{}", part(&a.name), part(&a.route), part(&a.mailbox), part(&a.host)))
            .collect()
    }

    #[test]
    fn the_usual_forms() {
        assert_eq!(shown("joe@example.org"), ["-|-|joe|example.org"]);
        assert_eq!(shown("Joe Q. Public <john.q@example.com>"), ["Joe Q. Public|-|john.q|example.com"]);
        assert_eq!(shown("\"Giant; \\\"Big\\\" Box\" <g@e.net>"), ["Giant; \"Big\" Box|-|g|e.net"]);
        assert_eq!(shown("<boss@nil.test>, a@b"), ["-|-|boss|nil.test", "-|-|a|b"]);
        assert_eq!(shown("pete(A wise \\) chap) @silly.test(his host)"), ["his host|-|pete|silly.test"]);
        assert_eq!(shown("\"a@b\"@c.test"), ["-|-|a@b|c.test"]);
        assert_eq!(shown("=?utf-8?q?J=C3=B6?= <j@e.org>"), ["=?utf-8?q?J=C3=B6?=|-|j|e.org"]);
        assert_eq!(shown("a@[192.0.2.1]"), ["-|-|a|[192.0.2.1]"]);
        assert_eq!(shown("<@a.test,@b.test:x@y.test>"), ["-|@a.test,@b.test|x|y.test"]);
    }

    #[test]
    fn groups_have_a_begin_and_an_end() {
        assert_eq!(
            shown("A Group:Chris <c@a.test>,joe@w.test;, x@y"),
            ["-|-|A Group|-", "Chris|-|c|a.test", "-|-|joe|w.test", "-|-|-|-", "-|-|x|y"]
        );
        assert_eq!(shown("Undisclosed recipients:;"), ["-|-|Undisclosed recipients|-", "-|-|-|-"]);
        assert_eq!(shown("open: a@b"), ["-|-|open|-", "-|-|a|b", "-|-|-|-"]);
    }

    #[test]
    fn what_is_no_address_is_shown_still() {
        assert_eq!(shown("root"), ["-|-|root|"]);
        assert_eq!(shown("Name <root>"), ["Name|-|root|"]);
        assert_eq!(shown(" , ,"), Vec::<String>::new());
        assert_eq!(shown("x@y <z@w.test>"), ["x@y|-|z|w.test"]);
        assert_eq!(shown("\"open"), ["-|-|open|"]);
        assert_eq!(shown("<"), ["-|-||"]);
    }

    #[test]
    fn hostile_lists_are_bounded() {
        assert_eq!(parse_list(&b"a@b,".repeat(50_000)).len(), ENVELOPE_ADDRESSES_MAX);
        assert_eq!(parse_list(&b"(".repeat(1_000_000)), []);
        assert_eq!(parse_list(&b"<@".repeat(100_000)).len(), 1);
    }
}
