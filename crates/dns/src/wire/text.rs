//! Reads record data in presentation format (RFC 1035 section 5, RFC 3597 section 5).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::RData;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use postroad_types::limits::DNS_TTL_S_MAX;

use super::fields::{Field, fields, validate_rdata};
use super::name::unescape;
use super::radix::{unbase32hex, unbase64, unhex};
use super::{Name, Rtype, loc, parts, svcb, time};

/// One word of a zone file's entry, its escapes still in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: Vec<u8>,
    /// It stood in quotation marks.
    pub quoted: bool,
    /// From 1.
    pub line: u32,
    /// In octets, from 1.
    pub column: u32,
}

/// What is wrong with record data, and at which word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdataError {
    /// Index of the word; the number of words when something is missing at the end.
    pub word: usize,
    pub message: String,
}

/// A period of time as zone files write it: seconds, or numbers with the units s, m, h, d, w, and at most
/// 2^31 - 1 in all (RFC 2181 section 8).
pub fn parse_ttl(text: &[u8]) -> Option<u32> {
    let mut total = 0u32;
    let mut number: Option<u32> = None;
    for &octet in text {
        if octet.is_ascii_digit() {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u32::from(octet - b'0'))?);
            continue;
        }
        let unit = match octet.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    if text.is_empty() {
        return None;
    }
    Some(total.checked_add(number.unwrap_or(0))?).filter(|seconds| *seconds <= DNS_TTL_S_MAX)
}

/// Reads the data of a record of type `rtype` into its uncompressed wire form. Relative names end in `origin`.
pub fn parse_rdata(rtype: Rtype, words: &[Word], origin: Option<&Name>) -> Result<Vec<u8>, RdataError> {
    if words.first().is_some_and(|word| word.text == b"\\#" && !word.quoted) {
        return parse_generic(rtype, words);
    }
    let Some(fields) = fields(rtype) else {
        return Err(RdataError {
            word: 0,
            message: format!("the data of type {rtype} can only be given as \\# LENGTH HEX (RFC 3597)"),
        });
    };
    let mut reader = Reader { words, next: 0, origin, out: Vec::with_capacity(32) };
    for &field in fields {
        reader.field(field)?;
    }
    if reader.next < words.len() {
        return Err(RdataError {
            word: reader.next,
            message: format!("expected the end of the {rtype} record here"),
        });
    }
    if reader.out.len() > usize::from(u16::MAX) {
        return Err(RdataError {
            word: 0,
            message: "the data of one record is longer than 65535 octets".to_owned(),
        });
    }
    Ok(reader.out)
}

struct Reader<'a> {
    words: &'a [Word],
    next: usize,
    origin: Option<&'a Name>,
    out: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn word(&mut self, expected: &str) -> Result<&'a Word, RdataError> {
        let word = self.words.get(self.next).ok_or_else(|| self.missing(expected))?;
        self.next += 1;
        Ok(word)
    }

    fn missing(&self, expected: &str) -> RdataError {
        RdataError {
            word: self.words.len(),
            message: format!("the record ends too early; expected {expected}"),
        }
    }

    /// An error at the word that was just taken.
    fn wrong(&self, expected: &str) -> RdataError {
        let word = self.next.saturating_sub(1);
        let text = self.words.get(word).map(|word| word.text.escape_ascii().to_string()).unwrap_or_default();
        RdataError { word, message: format!("\"{text}\": expected {expected}") }
    }

    fn number(&mut self, max: u32) -> Result<u32, RdataError> {
        let expected = format!("a number from 0 to {max}");
        let word = self.word(&expected)?;
        let number =
            std::str::from_utf8(&word.text).ok().filter(|text| text.bytes().all(|o| o.is_ascii_digit()));
        number
            .and_then(|text| text.parse().ok())
            .filter(|number| *number <= max)
            .ok_or_else(|| self.wrong(&expected))
    }

    fn char_string(&mut self) -> Result<(), RdataError> {
        let word = self.word("a character string")?;
        let text = unescaped(&word.text).ok_or_else(|| self.wrong("escapes as \\X or \\DDD"))?;
        let length = u8::try_from(text.len()).map_err(|_| RdataError {
            word: self.next - 1,
            message: format!(
                "the string has {} octets; a character string holds 255 at most, split it",
                text.len()
            ),
        })?;
        self.out.push(length);
        self.out.extend_from_slice(&text);
        Ok(())
    }

    /// All words that are left, joined.
    fn rest(&mut self, expected: &str) -> Result<Vec<u8>, RdataError> {
        self.word(expected)?;
        let words = self.words.get(self.next - 1..).unwrap_or_default();
        self.next = self.words.len();
        Ok(words.iter().flat_map(|word| word.text.iter().copied()).collect())
    }

    fn field(&mut self, field: Field) -> Result<(), RdataError> {
        match field {
            Field::U8 => {
                let number = self.number(u8::MAX.into())?;
                self.out.push(number as u8);
            }
            Field::U16 => {
                let number = self.number(u16::MAX.into())?;
                self.out.extend_from_slice(&(number as u16).to_be_bytes());
            }
            Field::U32 => {
                let number = self.number(u32::MAX)?;
                self.out.extend_from_slice(&number.to_be_bytes());
            }
            Field::Seconds => {
                let expected = "a period of time such as 3600 or 1h30m, at most 2147483647 seconds";
                let word = self.word(expected)?;
                let seconds = parse_ttl(&word.text).ok_or_else(|| self.wrong(expected))?;
                self.out.extend_from_slice(&seconds.to_be_bytes());
            }
            Field::Name => {
                let word = self.word("a domain name")?;
                let name = Name::from_text(&word.text, self.origin)
                    .map_err(|error| self.wrong(&format!("a domain name; {error}")))?;
                self.out.extend_from_slice(name.as_wire());
            }
            Field::Ipv4 => {
                let address: Ipv4Addr = self.parsed("an IPv4 address such as 192.0.2.1")?;
                self.out.extend_from_slice(&address.octets());
            }
            Field::Ipv6 => {
                let address: Ipv6Addr = self.parsed("an IPv6 address such as 2001:db8::1")?;
                self.out.extend_from_slice(&address.octets());
            }
            Field::CharString => self.char_string()?,
            Field::CharStrings => {
                self.char_string()?;
                while self.next < self.words.len() {
                    self.char_string()?;
                }
            }
            Field::Tag => {
                let word = self.word("a tag such as issue")?;
                let fits =
                    (1..=255).contains(&word.text.len()) && word.text.iter().all(u8::is_ascii_alphanumeric);
                if !fits {
                    return Err(self.wrong("a tag of letters and digits such as issue"));
                }
                self.out.push(word.text.len() as u8);
                self.out.extend_from_slice(&word.text);
            }
            Field::Text => {
                let word = self.word("a quoted text")?;
                let text = unescaped(&word.text).ok_or_else(|| self.wrong("escapes as \\X or \\DDD"))?;
                self.out.extend_from_slice(&text);
            }
            Field::Hex => {
                let first = self.next;
                let text = self.rest("hexadecimal digits")?;
                let octets = unhex(&text).filter(|octets| !octets.is_empty()).ok_or_else(|| RdataError {
                    word: first,
                    message: "expected pairs of hexadecimal digits".to_owned(),
                })?;
                self.out.extend_from_slice(&octets);
            }
            Field::Base64 => {
                let first = self.next;
                let text = self.rest("base64")?;
                let octets = unbase64(&text).filter(|octets| !octets.is_empty()).ok_or_else(|| {
                    RdataError { word: first, message: "expected base64 (RFC 4648)".to_owned() }
                })?;
                self.out.extend_from_slice(&octets);
            }
            Field::Eui(octets) => {
                let expected = format!("{octets} pairs of hexadecimal digits joined by -");
                let word = self.word(&expected)?;
                let pairs: Option<Vec<Vec<u8>>> = word
                    .text
                    .split(|octet| *octet == b'-')
                    .map(|pair| unhex(pair).filter(|p| p.len() == 1))
                    .collect();
                let pairs =
                    pairs.filter(|pairs| pairs.len() == octets).ok_or_else(|| self.wrong(&expected))?;
                self.out.extend(pairs.concat());
            }
            Field::Algorithm => {
                let expected = "an algorithm as a number from 0 to 255 or a mnemonic such as ECDSAP256SHA256";
                let number = self.number_or(parts::ALGORITHMS, u8::MAX.into(), expected)?;
                self.out.push(number as u8);
            }
            Field::Certificate => {
                let expected = "a kind of certificate as a number from 0 to 65535 or a mnemonic such as PKIX";
                let number = self.number_or(parts::CERTIFICATES, u16::MAX, expected)?;
                self.out.extend_from_slice(&number.to_be_bytes());
            }
            Field::Type => {
                let rtype: Rtype = self.parsed("a type such as A or TYPE65280")?;
                self.out.extend_from_slice(&rtype.0.to_be_bytes());
            }
            Field::Types => {
                let mut types = Vec::new();
                while self.next < self.words.len() {
                    types.push(self.parsed::<Rtype>("a type such as A or TYPE65280")?);
                }
                self.out.extend(parts::type_map(types));
            }
            Field::Time => {
                let expected = "a time as YYYYMMDDHHmmSS or in seconds since 1970";
                let word = self.word(expected)?;
                let seconds = time::parse(&word.text).ok_or_else(|| self.wrong(expected))?;
                self.out.extend_from_slice(&seconds.to_be_bytes());
            }
            Field::Salt => {
                let expected = "a salt of up to 255 octets in hexadecimal, or -";
                let word = self.word(expected)?;
                let salt = if word.text == b"-" { Some(Vec::new()) } else { unhex(&word.text) };
                self.counted(salt, expected)?;
            }
            Field::Hash => {
                let expected = "a hash in base32hex (RFC 4648 section 7)";
                let word = self.word(expected)?;
                self.counted(unbase32hex(&word.text).filter(|hash| !hash.is_empty()), expected)?;
            }
            Field::Groups => {
                let expected = "four groups of hexadecimal digits such as 14:4fff:ff20:ee64";
                let word = self.word(expected)?;
                let octets = std::str::from_utf8(&word.text).ok().and_then(parts::groups);
                self.out.extend(octets.ok_or_else(|| self.wrong(expected))?);
            }
            Field::Prefixes => {
                let expected = "an address prefix such as 1:192.0.2.0/24 or !2:2001:db8::/32";
                while self.next < self.words.len() {
                    let word = self.word(expected)?;
                    let item = std::str::from_utf8(&word.text).ok().and_then(parts::prefix);
                    self.out.extend(item.ok_or_else(|| self.wrong(expected))?);
                }
            }
            Field::Gateway => {
                let kind = self.number(3)? as u8;
                let algorithm = self.number(u8::MAX.into())? as u8;
                let expected = "a gateway of the kind that was named: . or IPv4 or IPv6 or a domain name";
                let word = self.word(expected)?;
                let gateway = parts::gateway(kind, &word.text, self.origin);
                self.out.extend_from_slice(&[kind, algorithm]);
                self.out.extend(gateway.ok_or_else(|| self.wrong(expected))?);
            }
            Field::KeyOrNothing => {
                if self.next < self.words.len() {
                    self.field(Field::Base64)?;
                }
            }
            Field::Location => {
                let first = self.next;
                let words = self.words.get(first..).unwrap_or_default();
                let words: Vec<&str> =
                    words.iter().map(|word| std::str::from_utf8(&word.text).unwrap_or_default()).collect();
                let octets = loc::parse(&words).map_err(|(word, expected)| {
                    self.next = first + word + 1;
                    if word < words.len() { self.wrong(expected) } else { self.missing(expected) }
                })?;
                self.next = self.words.len();
                self.out.extend_from_slice(&octets);
            }
            Field::Parameters => {
                let first = self.next;
                let octets = svcb::parse(self.words.get(first..).unwrap_or_default());
                let octets = octets.map_err(|(word, expected)| {
                    self.next = first + word + 1;
                    self.wrong(expected)
                })?;
                self.next = self.words.len();
                self.out.extend(octets);
            }
        }
        Ok(())
    }

    /// A length octet and the octets.
    fn counted(&mut self, octets: Option<Vec<u8>>, expected: &str) -> Result<(), RdataError> {
        let octets = octets.ok_or_else(|| self.wrong(expected))?;
        let length = u8::try_from(octets.len()).map_err(|_| self.wrong(expected))?;
        self.out.push(length);
        self.out.extend(octets);
        Ok(())
    }

    fn number_or(&mut self, table: &[(&str, u16)], max: u16, expected: &str) -> Result<u16, RdataError> {
        let word = self.word(expected)?;
        if let Some(number) = parts::mnemonic(table, &word.text) {
            return Ok(number);
        }
        self.next -= 1;
        self.number(max.into()).map(|number| number as u16).map_err(|_| self.wrong(expected))
    }

    fn parsed<T: std::str::FromStr>(&mut self, expected: &str) -> Result<T, RdataError> {
        let word = self.word(expected)?;
        let value = std::str::from_utf8(&word.text).ok().and_then(|text| text.parse().ok());
        value.ok_or_else(|| self.wrong(expected))
    }
}

/// `\# LENGTH HEX…`
fn parse_generic(rtype: Rtype, words: &[Word]) -> Result<Vec<u8>, RdataError> {
    let length = words.get(1).and_then(|word| std::str::from_utf8(&word.text).ok()?.parse::<u16>().ok());
    let length = length
        .ok_or_else(|| RdataError { word: 1, message: "expected the length in octets after \\#".into() })?;
    let digits: Vec<u8> = words.iter().skip(2).flat_map(|word| word.text.iter().copied()).collect();
    let octets = unhex(&digits)
        .ok_or_else(|| RdataError { word: 2, message: "expected pairs of hexadecimal digits".to_owned() })?;
    if octets.len() != usize::from(length) {
        return Err(RdataError {
            word: 1,
            message: format!("the length is given as {length}, but {} octets follow", octets.len()),
        });
    }
    if !validate_rdata(rtype, &octets) {
        return Err(RdataError {
            word: 2,
            message: format!("these octets are no valid data of type {rtype}"),
        });
    }
    Ok(octets)
}

/// hickory's record data in uncompressed wire form.
pub(crate) fn rdata_to_wire(data: &RData) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(wire)
}

/// Octets with their escapes resolved; `None` when one is broken.
pub(super) fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        if octet == b'\\' {
            let (octet, after) = unescape(after)?;
            out.push(octet);
            rest = after;
        } else {
            out.push(octet);
            rest = after;
        }
    }
    Some(out)
}

impl fmt::Display for RdataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests;
