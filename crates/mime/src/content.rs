//! What a part's own header says of it: Content-Type and its companions (RFC 2045, RFC 2183, RFC 3282).

use postroad_types::limits::MIME_PARAMETERS_MAX;

use crate::header::{Fields, unfold};

/// A parameter as it was sent: RFC 2231's `name*0*` forms are the client's to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: Vec<u8>,
    /// Without quotes.
    pub value: Vec<u8>,
}

/// Content-Disposition (RFC 2183).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    pub kind: Vec<u8>,
    pub parameters: Vec<Parameter>,
}

/// The Content-* fields of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// `text` of `text/plain`, as it was sent; never empty.
    pub kind: Vec<u8>,
    /// `plain` of `text/plain`.
    pub subkind: Vec<u8>,
    pub parameters: Vec<Parameter>,
    pub id: Option<Vec<u8>>,
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding; `7BIT` where the part says nothing.
    pub encoding: Vec<u8>,
    pub md5: Option<Vec<u8>>,
    pub disposition: Option<Disposition>,
    pub language: Vec<Vec<u8>>,
    pub location: Option<Vec<u8>>,
}

impl Content {
    /// Reads a part's header. `in_digest`: the part stands in a multipart/digest, where message/rfc822
    /// is the default type (RFC 2046 §5.1.5).
    pub fn parse(header: &[u8], in_digest: bool) -> Self {
        let mut content = Content { encoding: b"7BIT".to_vec(), ..Default::default() };
        for field in Fields::new(header) {
            let Some(name) = field.name.get(8..) else { continue };
            if !field.name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")) {
                continue;
            }
            let text = || Some(field.unfolded().into_owned()).filter(|t| !t.is_empty());
            match name.to_ascii_lowercase().as_slice() {
                b"type" if content.kind.is_empty() => content.read_type(field.value),
                b"transfer-encoding" => {
                    if let Some(token) = Scanner::new(&unfold(field.value)).token() {
                        content.encoding = token;
                    }
                }
                b"id" => content.id = text(),
                b"description" => content.description = text(),
                b"md5" => content.md5 = text(),
                b"location" => content.location = text(),
                b"disposition" => content.disposition = disposition(field.value),
                b"language" => content.language = languages(field.value),
                _ => {}
            }
        }
        if content.kind.is_empty() {
            let (kind, subkind) = if in_digest { ("MESSAGE", "RFC822") } else { ("TEXT", "PLAIN") };
            content.kind = kind.into();
            content.subkind = subkind.into();
            if !in_digest {
                content.parameters.push(Parameter { name: b"CHARSET".to_vec(), value: b"US-ASCII".to_vec() });
            }
        }
        content
    }

    /// A type that cannot be read leaves the default, as RFC 2045 §5.2 advises.
    fn read_type(&mut self, value: &[u8]) {
        let mut scanner = Scanner::new(value);
        if let (Some(kind), true, Some(subkind)) = (scanner.token(), scanner.eat(b'/'), scanner.token()) {
            self.kind = kind;
            self.subkind = subkind;
            self.parameters = scanner.parameters();
        }
    }

    pub fn is(&self, kind: &str, subkind: &str) -> bool {
        self.is_kind(kind) && self.subkind.eq_ignore_ascii_case(subkind.as_bytes())
    }

    pub fn is_kind(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
    }

    /// A parameter of Content-Type; one in RFC 2231 pieces is joined.
    pub fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        parameter(&self.parameters, name)
    }
}

/// The value of `name`, or of `name*0 name*1 …` and `name*` joined with their %XX undone (RFC 2231); the
/// charset in front is left out.
pub fn parameter(parameters: &[Parameter], name: &str) -> Option<Vec<u8>> {
    if let Some(plain) = parameters.iter().find(|p| p.name.eq_ignore_ascii_case(name.as_bytes())) {
        return Some(plain.value.clone());
    }
    let mut pieces: Vec<(usize, bool, &[u8])> = parameters.iter().filter_map(|p| piece(p, name)).collect();
    pieces.sort_by_key(|piece| piece.0);
    let mut joined = None;
    for (index, (number, encoded, value)) in pieces.into_iter().enumerate() {
        if number != index {
            break;
        }
        let value = match encoded && index == 0 {
            true => value.splitn(3, |b| *b == b'\'').last().unwrap_or_default(),
            false => value,
        };
        let out = joined.get_or_insert_with(Vec::new);
        if encoded { percent_decode(value, out) } else { out.extend_from_slice(value) }
    }
    joined
}

/// `name*`, `name*2` or `name*2*`: its number, whether it is %-encoded, its value.
fn piece<'a>(p: &'a Parameter, name: &str) -> Option<(usize, bool, &'a [u8])> {
    let (start, rest) = p.name.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    let rest = rest.strip_prefix(b"*")?;
    if rest.is_empty() {
        return Some((0, true, &p.value));
    }
    let (digits, encoded) = rest.strip_suffix(b"*").map_or((rest, false), |digits| (digits, true));
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, encoded, &p.value))
}

fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text.iter();
    while let Some(&b) = rest.next() {
        let hex = rest.as_slice().get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match (b, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(octet)) => {
                out.push(octet);
                rest = rest.as_slice().get(2..).unwrap_or_default().iter();
            }
            _ => out.push(b),
        }
    }
}

fn disposition(value: &[u8]) -> Option<Disposition> {
    let mut scanner = Scanner::new(value);
    let kind = scanner.token()?;
    Some(Disposition { kind, parameters: scanner.parameters() })
}

fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let mut scanner = Scanner::new(value);
    let mut found = Vec::new();
    while found.len() < MIME_PARAMETERS_MAX {
        found.extend(scanner.token());
        if !scanner.eat(b',') {
            break;
        }
    }
    found
}

/// Tokens, quoted strings and comments of RFC 2045 §5.1.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        let mut depth = 0usize;
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.at += 1,
                _ if depth > 0 => {}
                _ => return,
            }
            self.at += 1;
        }
    }

    fn eat(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn token(&mut self) -> Option<Vec<u8>> {
        self.skip_space();
        let rest = self.text.get(self.at..)?;
        let ends = |b: &u8| b.is_ascii_control() || b" ()<>@,;:\\\"/[]?=".contains(b);
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).filter(|token| !token.is_empty()).map(<[u8]>::to_vec)
    }

    /// A token or quoted string; unquoted values with characters that want quotes are common and taken.
    fn value(&mut self) -> Vec<u8> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let length = rest.iter().position(|b| b" \t\r\n;(".contains(b)).unwrap_or(rest.len());
            self.at += length;
            return rest.get(..length).unwrap_or_default().to_vec();
        }
        self.at += 1;
        let mut out = Vec::new();
        while let Some(b) = self.peek() {
            self.at += 1;
            match b {
                b'"' => break,
                b'\\' => {
                    out.extend(self.peek());
                    self.at += 1;
                }
                b'\r' | b'\n' => {}
                b => out.push(b),
            }
        }
        out
    }

    fn parameters(&mut self) -> Vec<Parameter> {
        let mut found = Vec::new();
        while found.len() < MIME_PARAMETERS_MAX {
            // What cannot be read is skipped up to the next semicolon.
            if !self.eat(b';') {
                match memchr::memchr(b';', self.text.get(self.at..).unwrap_or_default()) {
                    Some(distance) => self.at += distance + 1,
                    None => break,
                }
            }
            if let Some(name) = self.token()
                && self.eat(b'=')
            {
                found.push(Parameter { name, value: self.value() });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(header: &str) -> Content {
        Content::parse(header.as_bytes(), false)
    }

    #[test]
    fn a_full_header() {
        let content = parsed(
            "Content-Type: Text/HTML; charset=\"utf-8\" (really);\r\n format = flowed ;x*0*=utf-8''a%20; x*1=b\r\n\
             Content-Transfer-Encoding: quoted-printable (a comment)\r\nContent-ID: <1@x>\r\n\
             Content-Disposition: attachment; filename=a b.txt; size=3\r\nContent-Language: en, de\r\n\
             Content-Location: http://x/\r\nContent-MD5: Q2hlY2s=\r\n\r\n",
        );
        assert!(content.is("text", "html"));
        assert_eq!(content.kind, b"Text");
        assert_eq!(content.parameter("CHARSET").unwrap(), b"utf-8");
        assert_eq!(content.parameter("format").unwrap(), b"flowed");
        assert_eq!(content.parameter("x").unwrap(), b"a b");
        assert_eq!(content.parameters.len(), 4);
        assert_eq!(content.encoding, b"quoted-printable");
        let disposition = content.disposition.unwrap();
        assert_eq!(disposition.kind, b"attachment");
        assert_eq!(parameter(&disposition.parameters, "size").unwrap(), b"3");
        assert_eq!(content.language, [b"en".to_vec(), b"de".to_vec()]);
        assert_eq!(content.md5.unwrap(), b"Q2hlY2s=");
    }

    #[test]
    fn defaults_and_broken_types() {
        assert!(parsed("Subject: x\r\n\r\n").is("text", "plain"));
        assert!(Content::parse(b"", true).is("message", "rfc822"));
        assert!(parsed("Content-Type: text\r\n").is("text", "plain"));
        assert!(parsed("Content-Type: ;;;=\r\n").is("text", "plain"));
        assert_eq!(parsed("Content-Type: a/b; =x;; c=d").parameters.len(), 1);
        assert_eq!(parsed(&format!("Content-Type: a/b{}", ";c=d".repeat(9999))).parameters.len(), 64);
    }
}
