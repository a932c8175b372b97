//! `$GENERATE`, as BIND has it: many records out of one line.
//!
//! ```text
//! $GENERATE 1-254 $ PTR host-$.alpha.test.        1 PTR host-1.alpha.test. … 254 PTR host-254.alpha.test.
//! $GENERATE 0-10/2 h${1,3} A 192.0.2.${1}         h001 A 192.0.2.1, h003 A 192.0.2.3 … h011 A 192.0.2.11
//! $GENERATE 1-9 $ MX "10 mx$"                     data of several words, in quotation marks or without them
//! ```
//!
//! `$` stands for the number, `${offset,width,base}` for the number plus offset, filled up with zeros; the base is `d`
//! (the default), `o`, `x` or `X`, and `n` or `N` for hexadecimal digits in reverse with dots between them, as names
//! below ip6.arpa need them. `$$` and `\$` stand for the sign itself.

use super::lexer::{Entry, Lexer};
use crate::wire::Word;

/// The numbers of a range `start-stop` or `start-stop/step`, each from 0 to 2^31 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    start: u32,
    stop: u32,
    step: u32,
}

const NUMBER_MAX: u32 = 0x7fff_ffff;

impl Range {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (range, step) = text.split_once('/').unwrap_or((text, "1"));
        let (start, stop) = range.split_once('-')?;
        let number = |text: &str| {
            let digits = text.bytes().all(|octet| octet.is_ascii_digit());
            text.parse::<u32>().ok().filter(|number| digits && *number <= NUMBER_MAX)
        };
        let range = Self { start: number(start)?, stop: number(stop)?, step: number(step)? };
        (range.start <= range.stop && range.step > 0).then_some(range)
    }

    /// How many numbers it has.
    pub(super) fn count(self) -> u64 {
        u64::from((self.stop - self.start) / self.step) + 1
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = u32> {
        (self.start..=self.stop).step_by(self.step as usize)
    }
}

/// What is wrong: the index of the word, and what was expected.
pub(super) type TemplateError = (usize, &'static str);

/// The record that `words` (owner, TTL, class, type, data) become for a number.
pub(super) fn entry(line: &Entry, words: &[Word], number: u32) -> Result<Entry, TemplateError> {
    let mut out = Vec::with_capacity(words.len() + 1);
    for (index, word) in words.iter().enumerate() {
        let text = expand(&word.text, number).map_err(|expected| (index, expected))?;
        // Data in quotation marks as one word is the text of the data, which has its own quotation marks escaped.
        if word.quoted && index + 1 == words.len() {
            out.extend(lexed(&text, word).ok_or((index, "the data of a record"))?);
        } else {
            out.push(Word { text, ..word.clone() });
        }
    }
    Ok(Entry { words: out, continues_owner: false, line: line.line, end: line.end })
}

/// The words of a text, all said to stand where it stands.
fn lexed(text: &[u8], word: &Word) -> Option<Vec<Word>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut octets = text.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match (octet, octets.peek()) {
            (b'\\', Some(b'"')) => plain.extend(octets.next()),
            (b'\\', _) => {
                plain.push(octet);
                plain.extend(octets.next());
            }
            _ => plain.push(octet),
        }
    }
    let mut lexer = Lexer::new(&plain);
    let words = lexer.entry().ok()?.map(|entry| entry.words).unwrap_or_default();
    let only = lexer.entry().ok()?.is_none();
    let there = |inner: Word| Word { line: word.line, column: word.column, ..inner };
    only.then(|| words.into_iter().map(there).collect())
}

/// A word with its `$` replaced; other escapes stay as they are.
fn expand(text: &[u8], number: u32) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match (octet, after) {
            (b'\\', [next, after @ ..]) => {
                out.extend_from_slice(&[octet, *next]);
                rest = after;
            }
            (b'$', [b'$', after @ ..]) => {
                out.push(b'$');
                rest = after;
            }
            (b'$', [b'{', after @ ..]) => {
                let end = after.iter().position(|octet| *octet == b'}');
                let modifier = end.and_then(|end| Modifier::parse(after.get(..end)?)).ok_or(
                    "a modifier such as ${0,3,d}: an offset, a width from 0 to 255, one of d o x X n N",
                )?;
                out.extend(
                    modifier.show(number).ok_or("an offset that keeps the number from 0 to 2147483647")?,
                );
                rest = end.and_then(|end| after.get(end + 1..)).unwrap_or_default();
            }
            (b'$', _) => out.extend(number.to_string().into_bytes()),
            _ => out.push(octet),
        }
    }
    Ok(out)
}

/// `offset,width,base`, the last two or the last one left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Modifier {
    offset: i64,
    width: usize,
    base: u8,
}

impl Modifier {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split(',');
        let offset: i32 = parts.next()?.trim().parse().ok()?;
        let width: u8 = parts.next().map_or(Some(0), |width| width.trim().parse().ok())?;
        let base = match parts.next().map_or("d", str::trim).as_bytes() {
            [base @ (b'd' | b'o' | b'x' | b'X' | b'n' | b'N')] => *base,
            _ => return None,
        };
        let modifier = Self { offset: offset.into(), width: width.into(), base };
        parts.next().is_none().then_some(modifier)
    }

    fn show(self, number: u32) -> Option<Vec<u8>> {
        let value =
            u32::try_from(i64::from(number) + self.offset).ok().filter(|value| *value <= NUMBER_MAX)?;
        let width = self.width;
        let text = match self.base {
            b'o' => format!("{value:0width$o}"),
            b'x' => format!("{value:0width$x}"),
            b'X' => format!("{value:0width$X}"),
            b'n' | b'N' => nibbles(value, width, self.base == b'N'),
            _ => format!("{value:0width$}"),
        };
        Some(text.into_bytes())
    }
}

/// Hexadecimal digits from the last to the first with dots between them; the width counts the dots.
fn nibbles(mut value: u32, width: usize, upper: bool) -> String {
    let mut text = String::new();
    loop {
        let digit = char::from_digit(value & 0xf, 16).unwrap_or('0');
        text.push(if upper { digit.to_ascii_uppercase() } else { digit });
        value >>= 4;
        if value == 0 && text.len() >= width {
            return text;
        }
        text.push('.');
        if value == 0 && text.len() >= width {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str, number: u32) -> String {
        expand(text.as_bytes(), number).map_or_else(str::to_owned, |text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn ranges() {
        let numbers =
            |text: &str| Range::parse(text.as_bytes()).map(|range| range.numbers().collect::<Vec<_>>());
        assert_eq!(numbers("1-3"), Some(vec![1, 2, 3]));
        assert_eq!(numbers("0-10/4"), Some(vec![0, 4, 8]));
        assert_eq!(numbers("7-7"), Some(vec![7]));
        assert_eq!(Range::parse(b"0-2147483647").map(Range::count), Some(1 << 31));
        assert_eq!(Range::parse(b"0-10/4").map(Range::count), Some(3));
        for wrong in ["", "1", "3-1", "1-3/0", "-1-3", "1-2147483648", "1-3/", "+1-3", "a-b"] {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn signs_offsets_widths_and_bases() {
        for (text, number, expected) in [
            ("host-$.x", 7, "host-7.x"),
            ("$-$$-\\$", 7, "7-$-\\$"),
            ("${0}${-2}${2}", 7, "759"),
            ("${0,3}", 7, "007"),
            ("${0,3,d}.${0,4,x}.${0,0,X}.${0,3,o}", 250, "250.00fa.FA.372"),
            ("${0,8,n}", 0xab, "b.a.0.0."),
            ("${0,7,n}", 0xab, "b.a.0.0"),
            ("${0,1,N}", 0xab, "B.A"),
            ("${0,0,n}", 0, "0"),
        ] {
            assert_eq!(expanded(text, number), expected, "{text}");
        }
        for wrong in ["${", "${}", "${x}", "${0,256}", "${0,1,q}", "${0,1,d,1}", "${-8}"] {
            assert!(expand(wrong.as_bytes(), 7).is_err(), "{wrong}");
        }
    }
}
