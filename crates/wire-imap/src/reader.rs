//! The words of IMAP's grammar (RFC 3501 §9), read from a whole command.
//!
//! A command's octets are as they came, literals in their place behind `{n}` CRLF; that they are all there was
//! made sure before. Letter case never counts outside strings.

use std::borrow::Cow;

use postroad_types::limits::{FOLDER_NAME_OCTETS_MAX, IMAP_KEYWORDS_MAX};
use time::{Date, OffsetDateTime, Time, UtcOffset};

use crate::flag::Flag;
use crate::mutf7;
use crate::response::Code;
use crate::sequence::{Number, SequenceSet};

/// Why a command cannot be carried out as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// BAD: it is not in the grammar.
    Syntax(Cow<'static, str>),
    /// NO: it is, and cannot be done.
    No(Option<Code>, Cow<'static, str>),
}

pub(crate) type Parsed<T> = Result<T, Refusal>;

pub(crate) fn expected<T>(what: &'static str) -> Parsed<T> {
    Err(Refusal::Syntax(Cow::Borrowed(what)))
}

#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

/// Not in an atom (`atom-specials`); `]` is allowed because flags and mailbox names in the wild have it.
fn is_atom_octet(b: u8) -> bool {
    b.is_ascii_graphic() && !b"(){%*\"\\".contains(&b)
}

impl<'a> Reader<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Reader { octets, at: 0 }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.octets.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.octets.get(self.at).copied()
    }

    pub(crate) fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// The word, if it stands here and ends here.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let Some(here) = self.rest().get(..word.len()) else { return false };
        let ends = self.rest().get(word.len()).is_none_or(|b| !is_atom_octet(*b) || matches!(b, b'[' | b']'));
        let found = here.eq_ignore_ascii_case(word.as_bytes()) && ends;
        self.at += if found { word.len() } else { 0 };
        found
    }

    pub(crate) fn expect(&mut self, wanted: u8, what: &'static str) -> Parsed<()> {
        if self.eat(wanted) { Ok(()) } else { expected(what) }
    }

    /// Exactly one space stands between two arguments.
    pub(crate) fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "expected a space and a further argument")
    }

    pub(crate) fn end(&self) -> Parsed<()> {
        match self.rest() {
            [] => Ok(()),
            [b' ', ..] => expected("too many arguments, or a space at the end"),
            _ => expected("unexpected characters behind the arguments"),
        }
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|b| !wanted(*b)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// ASCII, never empty.
    pub(crate) fn atom(&mut self, what: &'static str) -> Parsed<&'a str> {
        match std::str::from_utf8(self.take_while(is_atom_octet)) {
            Ok(atom) if !atom.is_empty() => Ok(atom),
            _ => expected(what),
        }
    }

    /// Any characters of a tag: atom characters but `+` (RFC 3501 §9).
    pub(crate) fn tag(&mut self) -> Option<&'a [u8]> {
        let tag = self.take_while(|b| is_atom_octet(b) && b != b'+');
        (!tag.is_empty()).then_some(tag)
    }

    pub(crate) fn number64(&mut self, what: &'static str) -> Parsed<u64> {
        let digits = self.take_while(|b| b.is_ascii_digit());
        match std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()) {
            Some(number) => Ok(number),
            None => expected(what),
        }
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Parsed<u32> {
        let number = self.number64(what)?;
        u32::try_from(number).or_else(|_| expected("a number is above 4294967295"))
    }

    /// A quoted string or a literal.
    pub(crate) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => expected("expected a string"),
        }
    }

    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.at += 1;
        let start = self.at;
        let mut owned: Option<Vec<u8>> = None;
        while let Some(b) = self.peek() {
            let so_far = self.octets.get(start..self.at).unwrap_or_default();
            self.at += 1;
            match b {
                b'"' => return Ok(owned.map_or(Cow::Borrowed(so_far), Cow::Owned)),
                b'\\' => match self.peek() {
                    Some(escaped @ (b'"' | b'\\')) => {
                        self.at += 1;
                        owned.get_or_insert_with(|| so_far.to_vec()).push(escaped);
                    }
                    _ => return expected("only \" and \\ may stand behind a \\ in a quoted string"),
                },
                0 | b'\r' | b'\n' => {
                    return expected("a quoted string holds NUL or a line end; use a literal");
                }
                b => {
                    if let Some(owned) = owned.as_mut() {
                        owned.push(b);
                    }
                }
            }
        }
        expected("a quoted string has no closing quote")
    }

    fn literal(&mut self) -> Parsed<&'a [u8]> {
        self.at += 1;
        let size = self.number64("expected the size of a literal")?;
        self.eat(b'+');
        self.expect(b'}', "expected } behind the size of a literal")?;
        self.eat(b'\r');
        self.expect(b'\n', "expected a line end behind the size of a literal")?;
        let text = usize::try_from(size).ok().and_then(|size| self.rest().get(..size));
        let Some(text) = text else { return expected("a literal is not whole") };
        self.at += text.len();
        if text.contains(&0) {
            return expected("a literal holds NUL");
        }
        Ok(text)
    }

    pub(crate) fn astring(&mut self, what: &'static str) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            // Octets beyond ASCII are taken: careless clients send UTF-8 names and passwords so.
            _ => match self.take_while(|b| is_atom_octet(b) || b >= 0x80) {
                [] => expected(what),
                atom => Ok(Cow::Borrowed(atom)),
            },
        }
    }

    /// An astring that is text: search strings, reference names.
    pub(crate) fn text(&mut self, what: &'static str) -> Parsed<String> {
        utf8(&self.astring(what)?)
    }

    /// A folder's name in UTF-8; INBOX in any case is `INBOX`.
    pub(crate) fn mailbox(&mut self) -> Parsed<String> {
        let raw = self.astring("expected a mailbox name")?;
        mailbox_name(&raw)
    }

    /// A LIST pattern, in UTF-8.
    pub(crate) fn list_mailbox(&mut self) -> Parsed<String> {
        let raw = match self.peek() {
            Some(b'"' | b'{') => self.string()?,
            _ => match self.take_while(|b| is_atom_octet(b) || b >= 0x80 || matches!(b, b'%' | b'*')) {
                [] => return expected("expected a mailbox pattern"),
                atom => Cow::Borrowed(atom),
            },
        };
        // A pattern that is no modified UTF-7 matches nothing that is; as it stands it does no harm.
        Ok(mutf7::decode(&raw).unwrap_or_else(|| String::from_utf8_lossy(&raw).into_owned()))
    }

    pub(crate) fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        let mut ranges = Vec::new();
        loop {
            let first = self.sequence_number()?;
            let last = if self.eat(b':') { self.sequence_number()? } else { first };
            ranges.push((first, last));
            if !self.eat(b',') {
                return Ok(SequenceSet(ranges));
            }
        }
    }

    fn sequence_number(&mut self) -> Parsed<Number> {
        if self.eat(b'*') {
            return Ok(Number::Highest);
        }
        match self.number("expected a sequence set such as 1,3:5,7:*")? {
            0 => expected("message numbers and uids begin with 1"),
            number => Ok(Number::Exact(number)),
        }
    }

    /// `(\Seen $x)` or, without parentheses, `\Seen $x`. `\Recent` is the server's and is left out.
    pub(crate) fn flags(&mut self) -> Parsed<Vec<Flag>> {
        let mut flags = Vec::new();
        let parentheses = self.eat(b'(');
        if parentheses && self.eat(b')') {
            return Ok(flags);
        }
        loop {
            let start = self.at;
            self.eat(b'\\');
            self.atom("expected a flag")?;
            let text = self.octets.get(start..self.at).unwrap_or_default();
            let text = std::str::from_utf8(text).unwrap_or_default();
            if !text.eq_ignore_ascii_case("\\recent") {
                match Flag::parse(text) {
                    Some(flag) if flags.len() < IMAP_KEYWORDS_MAX => flags.push(flag),
                    Some(_) => return Err(Refusal::No(Some(Code::Limit), "too many flags".into())),
                    None => {
                        return expected("unknown system flag, or a keyword that is too long or has ] in it");
                    }
                }
            }
            if !self.eat(b' ') {
                break;
            }
        }
        if parentheses {
            self.expect(b')', "expected ) behind the flags")?;
        }
        Ok(flags)
    }

    /// `1-Feb-1994`, quoted or not.
    pub(crate) fn date(&mut self) -> Parsed<Date> {
        const WHAT: &str = "expected a date such as 1-Feb-1994";
        let quoted = self.eat(b'"');
        let day = self.number(WHAT)?;
        let date = self.month_and_year(day, WHAT)?;
        if quoted {
            self.expect(b'"', WHAT)?;
        }
        Ok(date)
    }

    /// `" 1-Feb-1994 21:52:25 -0800"`
    pub(crate) fn date_time(&mut self) -> Parsed<OffsetDateTime> {
        const WHAT: &str = "expected a date-time such as \"17-Jul-1996 02:44:25 -0700\"";
        self.expect(b'"', WHAT)?;
        self.eat(b' ');
        let day = self.number(WHAT)?;
        let date = self.month_and_year(day, WHAT)?;
        self.expect(b' ', WHAT)?;
        let hour = self.number(WHAT)?;
        self.expect(b':', WHAT)?;
        let minute = self.number(WHAT)?;
        self.expect(b':', WHAT)?;
        let second = self.number(WHAT)?.min(59);
        self.expect(b' ', WHAT)?;
        let sign = if self.eat(b'-') { -1 } else { 1 };
        if sign == 1 {
            self.expect(b'+', WHAT)?;
        }
        let zone = self.number(WHAT)?;
        self.expect(b'"', WHAT)?;
        let small = |n: u32| u8::try_from(n).unwrap_or(u8::MAX);
        let time = Time::from_hms(small(hour), small(minute), small(second));
        let seconds = i32::try_from((zone / 100).saturating_mul(3600).saturating_add(zone % 100 * 60));
        let offset = seconds.ok().and_then(|s| UtcOffset::from_whole_seconds(sign * s).ok());
        match (time, offset) {
            (Ok(time), Some(offset)) => Ok(date.with_time(time).assume_offset(offset)),
            _ => expected(WHAT),
        }
    }

    fn month_and_year(&mut self, day: u32, what: &'static str) -> Parsed<Date> {
        self.expect(b'-', what)?;
        let month = self.take_while(|b| b.is_ascii_alphabetic());
        let month = std::str::from_utf8(month).ok().filter(|m| m.len() == 3);
        let month = month.and_then(postroad_mime::date::month);
        self.expect(b'-', what)?;
        let year = self.number(what)?;
        let (Some(month), Ok(day), Ok(year)) = (month, u8::try_from(day), i32::try_from(year)) else {
            return expected(what);
        };
        if year > 9999 {
            return expected(what);
        }
        Date::from_calendar_date(year, month, day).or_else(|_| expected(what))
    }
}

pub(crate) fn utf8(octets: &[u8]) -> Parsed<String> {
    String::from_utf8(octets.to_vec()).or_else(|_| expected("a string is not valid UTF-8"))
}

/// Modified UTF-7 undone; a name that cannot be is NO, because the command was well formed.
pub(crate) fn mailbox_name(raw: &[u8]) -> Parsed<String> {
    let refuse = |why: &'static str| Err(Refusal::No(Some(Code::Cannot), why.into()));
    match mutf7::decode(raw) {
        None => refuse("the mailbox name is not valid modified UTF-7 (RFC 3501 section 5.1.3)"),
        Some(name) if name.len() > FOLDER_NAME_OCTETS_MAX => refuse("the mailbox name is too long"),
        Some(name) if name.eq_ignore_ascii_case("INBOX") => Ok("INBOX".to_owned()),
        Some(name) => Ok(name),
    }
}
