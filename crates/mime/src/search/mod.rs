//! Whether a message holds what IMAP's SEARCH asks for (RFC 3501 §6.4.4): the keys that need the message
//! itself. Keys about flags, numbers, sizes and the internal date belong to whoever keeps those.
//!
//! Strings are found as substrings, without regard to case, in decoded text: transfer encodings, charsets and
//! encoded-words are undone first.

mod text;

use std::cell::OnceCell;

use memchr::memmem::Finder;
use time::Date;

use crate::{date, encoded_word, header};

/// A string that is looked for, case-folded once.
#[derive(Clone, Debug)]
pub struct Needle(Box<Finder<'static>>);

impl Needle {
    pub fn new(text: &str) -> Self {
        Needle(Box::new(Finder::new(&text::fold(text)).into_owned()))
    }

    fn is_in(&self, folded: &str) -> bool {
        self.0.find(folded.as_bytes()).is_some()
    }
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.0.needle() == other.0.needle()
    }
}

/// A search key that the message's octets answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// HEADER, FROM, TO, CC, BCC, SUBJECT: a field of that name whose value holds the string. The empty
    /// string is in every field, but there must be one.
    Header {
        name: String,
        contains: Needle,
    },
    /// BODY: the text parts, and the headers of the parts inside.
    Body(Needle),
    /// TEXT: the header, or what BODY looks at.
    Text(Needle),
    /// The Date field's day, time and zone left aside, is earlier.
    SentBefore(Date),
    SentOn(Date),
    /// That day or later.
    SentSince(Date),
}

impl Key {
    /// Whether the header alone answers it.
    pub fn needs_header_only(&self) -> bool {
        !matches!(self, Key::Body(_) | Key::Text(_))
    }
}

/// A message with what several keys need of it, worked out once.
#[derive(Debug)]
pub struct Searched<'a> {
    message: &'a [u8],
    header: &'a [u8],
    folded_header: OnceCell<String>,
    folded_body: OnceCell<String>,
}

impl<'a> Searched<'a> {
    /// `message` may be its header alone if every key [needs no more](Key::needs_header_only).
    pub fn new(message: &'a [u8]) -> Self {
        let header = message.get(..header::body_offset(message)).unwrap_or_default();
        Searched { message, header, folded_header: OnceCell::new(), folded_body: OnceCell::new() }
    }

    pub fn matches(&self, key: &Key) -> bool {
        match key {
            Key::Header { name, contains } => header::Fields::new(self.header)
                .filter(|field| field.is(name.as_bytes()))
                .any(|field| contains.is_in(&text::fold(&encoded_word::decode(&field.unfolded())))),
            Key::Body(needle) => needle.is_in(self.body()),
            Key::Text(needle) => {
                let header = self.folded_header.get_or_init(|| text::folded_header(self.header));
                needle.is_in(header) || needle.is_in(self.body())
            }
            Key::SentBefore(day) => self.sent().is_some_and(|sent| sent < *day),
            Key::SentOn(day) => self.sent() == Some(*day),
            Key::SentSince(day) => self.sent().is_some_and(|sent| sent >= *day),
        }
    }

    fn body(&self) -> &str {
        self.folded_body.get_or_init(|| text::folded_body(self.message))
    }

    fn sent(&self) -> Option<Date> {
        date::parse(header::find(self.header, b"date")?.value).map(|at| at.date())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::date;

    const MESSAGE: &[u8] = b"From: =?utf-8?q?J=C3=B6rg?= <j@x.test>\r\nSubject: Hello\r\n World\r\n\
        Date: Fri, 21 Nov 1997 23:55:06 -0600\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        preamble secret\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe aus K=\r\n=F6ln\r\n\
        --b\r\nContent-Type: application/x; name=report.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nc2VjcmV0\r\n\
        --b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naW5zaWRl\r\n--b--\r\n";

    fn found(key: Key) -> bool {
        Searched::new(MESSAGE).matches(&key)
    }

    fn header(name: &str, contains: &str) -> bool {
        found(Key::Header { name: name.into(), contains: Needle::new(contains) })
    }

    #[test]
    fn header_keys() {
        assert!(header("FROM", "jÖRG"));
        assert!(header("from", "J@X.TEST"));
        assert!(header("subject", "hello world"));
        assert!(header("subject", ""));
        assert!(!header("cc", ""));
        assert!(!header("to", "j"));
    }

    #[test]
    fn text_keys_see_decoded_text() {
        for text in ["grüße", "GRÜSSE AUS KÖLN".replace("SS", "ß").as_str(), "inside", "report.pdf"] {
            assert!(found(Key::Body(Needle::new(text))), "{text}");
            assert!(found(Key::Text(Needle::new(text))), "{text}");
        }
        assert!(!found(Key::Body(Needle::new("hello"))));
        assert!(found(Key::Text(Needle::new("hello world"))));
        // An attachment's content and a multipart's preamble are no text.
        assert!(!found(Key::Text(Needle::new("secret"))));
    }

    #[test]
    fn date_keys_compare_the_day_as_written() {
        assert!(found(Key::SentOn(date!(1997 - 11 - 21))));
        assert!(found(Key::SentSince(date!(1997 - 11 - 21))));
        assert!(found(Key::SentBefore(date!(1997 - 11 - 22))));
        assert!(!found(Key::SentBefore(date!(1997 - 11 - 21))));
        assert!(!Searched::new(b"\r\n").matches(&Key::SentSince(date!(1970 - 01 - 01))));
    }

    proptest! {
        #[test]
        fn any_octets_are_taken(message in proptest::collection::vec(any::<u8>(), 0..1000)) {
            let searched = Searched::new(&message);
            searched.matches(&Key::Text(Needle::new("x")));
            searched.matches(&Key::SentOn(date!(2020 - 01 - 01)));
        }
    }
}
