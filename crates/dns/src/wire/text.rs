//! Record data in presentation format (RFC 1035 section 5, RFC 3597 section 5), both ways.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use postroad_types::limits::DNS_TTL_S_MAX;

use super::fields::{Field, fields, take_field, validate_rdata};
use super::name::unescape;
use super::{Name, Rtype, svcb};

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
    if matches!(rtype, Rtype::SVCB | Rtype::HTTPS) {
        return parse_by_hickory(rtype, words);
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
        let word = self.words.get(self.next).ok_or_else(|| RdataError {
            word: self.words.len(),
            message: format!("the record ends too early; expected {expected}"),
        })?;
        self.next += 1;
        Ok(word)
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
        }
        Ok(())
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

fn parse_by_hickory(rtype: Rtype, words: &[Word]) -> Result<Vec<u8>, RdataError> {
    let wrong = |message: String| RdataError { word: 0, message };
    let mut text = String::new();
    for word in words {
        let plain = std::str::from_utf8(&word.text).map_err(|_| wrong("expected UTF-8".to_owned()))?;
        let quote = if word.quoted { "\"" } else { "" };
        let _ = write!(text, "{quote}{plain}{quote} ");
    }
    let data = RData::try_from_str(RecordType::from(rtype), &text)
        .map_err(|error| wrong(format!("{rtype} data does not parse: {error}")))?;
    rdata_to_wire(&data).ok_or_else(|| wrong(format!("{rtype} data does not fit into a record")))
}

/// hickory's record data in uncompressed wire form.
pub(crate) fn rdata_to_wire(data: &RData) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(wire)
}

/// Shows record data in presentation format, generic (RFC 3597) where the type is opaque.
pub fn display_rdata(rtype: Rtype, rdata: &[u8]) -> String {
    let mut text = String::new();
    if matches!(rtype, Rtype::SVCB | Rtype::HTTPS)
        && let Some(text) = svcb::display(rdata)
    {
        return text;
    }
    let known = fields(rtype).filter(|_| validate_rdata(rtype, rdata));
    let Some(fields) = known else {
        let _ = write!(text, "\\# {}", rdata.len());
        if !rdata.is_empty() {
            text.push(' ');
            push_hex(&mut text, rdata);
        }
        return text;
    };
    let mut rest = rdata;
    for &field in fields {
        let Some((octets, after)) = take_field(field, rest) else { break };
        rest = after;
        if !text.is_empty() {
            text.push(' ');
        }
        display_field(&mut text, field, octets);
    }
    text
}

fn display_field(text: &mut String, field: Field, octets: &[u8]) {
    match field {
        Field::U8 | Field::U16 | Field::U32 | Field::Seconds => {
            let number = octets.iter().fold(0u32, |number, octet| (number << 8) | u32::from(*octet));
            let _ = write!(text, "{number}");
        }
        Field::Name => {
            if let Ok(name) = Name::from_wire(octets) {
                let _ = write!(text, "{name}");
            }
        }
        Field::Ipv4 => {
            if let Ok(octets) = <[u8; 4]>::try_from(octets) {
                let _ = write!(text, "{}", Ipv4Addr::from(octets));
            }
        }
        Field::Ipv6 => {
            if let Ok(octets) = <[u8; 16]>::try_from(octets) {
                let _ = write!(text, "{}", Ipv6Addr::from(octets));
            }
        }
        Field::CharString => push_quoted(text, octets.get(1..).unwrap_or_default()),
        Field::CharStrings => {
            let mut rest = octets;
            while let Some((&length, after)) = rest.split_first() {
                let Some((string, after)) = after.split_at_checked(usize::from(length)) else { break };
                if rest.len() != octets.len() {
                    text.push(' ');
                }
                push_quoted(text, string);
                rest = after;
            }
        }
        Field::Tag => text.push_str(&String::from_utf8_lossy(octets.get(1..).unwrap_or_default())),
        Field::Text => push_quoted(text, octets),
        Field::Hex => push_hex(text, octets),
        Field::Base64 => push_base64(text, octets),
        Field::Eui(_) => {
            for (index, octet) in octets.iter().enumerate() {
                let _ = write!(text, "{}{octet:02x}", if index == 0 { "" } else { "-" });
            }
        }
    }
}

pub(super) fn push_quoted(text: &mut String, octets: &[u8]) {
    text.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(octet));
            }
            0x20..=0x7e => text.push(char::from(octet)),
            _ => {
                let _ = write!(text, "\\{octet:03}");
            }
        }
    }
    text.push('"');
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
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

fn push_hex(text: &mut String, octets: &[u8]) {
    for octet in octets {
        let _ = write!(text, "{octet:02X}");
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let value = |digit: u8| char::from(digit).to_digit(16);
    pairs.iter().map(|[high, low]| Some((value(*high)? << 4 | value(*low)?) as u8)).collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn push_base64(text: &mut String, octets: &[u8]) {
    for chunk in octets.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, octet| (bits << 8) | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let sextet = (bits >> (18 - 6 * index)) as usize & 63;
            let letter = BASE64.get(sextet).filter(|_| index <= chunk.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
}

pub(crate) fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, []) = text.as_chunks::<4>() else { return None };
    let mut out = Vec::with_capacity(groups.len() * 3);
    for (index, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|letter| **letter == b'=').count();
        if padding > 2 || (padding > 0 && index + 1 != groups.len()) {
            return None;
        }
        let mut bits = 0u32;
        for &letter in group.get(..4 - padding)? {
            bits = bits << 6 | BASE64.iter().position(|known| *known == letter)? as u32;
        }
        bits <<= 6 * padding;
        out.extend_from_slice(bits.to_be_bytes().get(1..4 - padding)?);
    }
    Some(out)
}

impl fmt::Display for RdataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Word> {
        let mut words = Vec::new();
        for (index, part) in text.split('"').enumerate() {
            let quoted = index % 2 == 1;
            let parts: Vec<&str> = if quoted { vec![part] } else { part.split_whitespace().collect() };
            words.extend(parts.iter().map(|part| Word {
                text: part.as_bytes().to_vec(),
                quoted,
                line: 1,
                column: 1,
            }));
        }
        words
    }

    fn round_trip(rtype: &str, text: &str) -> String {
        let rtype: Rtype = rtype.parse().unwrap();
        let origin: Name = "alpha.test".parse().unwrap();
        display_rdata(rtype, &parse_rdata(rtype, &words(text), Some(&origin)).unwrap())
    }

    #[test]
    fn data_of_every_known_type_is_read_and_shown_again() {
        for (rtype, text, shown) in [
            ("A", "192.0.2.1", "192.0.2.1"),
            ("AAAA", "2001:DB8:0::1", "2001:db8::1"),
            ("NS", "ns1", "ns1.alpha.test."),
            ("SOA", "ns1 host.other. 7 1h 15m 1w 1d", "ns1.alpha.test. host.other. 7 3600 900 604800 86400"),
            ("MX", "0 .", "0 ."),
            ("TXT", "\"v=spf1 -all\" plain \"a\\034b\\000\"", "\"v=spf1 -all\" \"plain\" \"a\\\"b\\000\""),
            ("SRV", "0 5 993 mail", "0 5 993 mail.alpha.test."),
            ("CAA", "128 issue \"ca.example; x=y\"", "128 issue \"ca.example; x=y\""),
            ("TLSA", "3 1 1 abCD 01", "3 1 1 ABCD01"),
            ("SSHFP", "4 2 00ff", "4 2 00FF"),
            (
                "NAPTR",
                "10 20 \"u\" \"E2U+sip\" \"!^.*$!sip:x!\" .",
                "10 20 \"u\" \"E2U+sip\" \"!^.*$!sip:x!\" .",
            ),
            ("DNAME", "other.test.", "other.test."),
            ("HINFO", "PC Linux", "\"PC\" \"Linux\""),
            ("OPENPGPKEY", "AAEC Aw==", "AAECAw=="),
            ("URI", "1 2 \"https://x/\"", "1 2 \"https://x/\""),
            ("EUI48", "00-11-22-33-44-ff", "00-11-22-33-44-ff"),
            ("DS", "60485 5 1 2BB183AF", "60485 5 1 2BB183AF"),
            ("TYPE65280", "\\# 3 00 0102", "\\# 3 000102"),
            ("TYPE65280", "\\# 0", "\\# 0"),
            ("A", "\\# 4 C0000201", "192.0.2.1"),
        ] {
            assert_eq!(round_trip(rtype, text), shown, "{rtype} {text}");
        }
        assert_eq!(round_trip("HTTPS", "1 . alpn=h2,h3 port=8443"), "1 . alpn=\"h2,h3\" port=8443");
    }

    #[test]
    fn wrong_data_is_refused_at_the_word_that_is_wrong() {
        for (rtype, text, word) in [
            ("A", "192.0.2.256", 0),
            ("A", "192.0.2.1 x", 1),
            ("MX", "10", 1),
            ("MX", "65536 mail", 0),
            ("MX", "+1 mail", 0),
            ("SOA", "ns1 host 7 1h 15x 1w 1d", 4),
            ("TLSA", "3 1 1 abc", 3),
            ("OPENPGPKEY", "AAE", 0),
            ("OPENPGPKEY", "AA==AAAA", 0),
            ("CAA", "0 is-sue \"x\"", 1),
            ("TYPE65280", "x", 0),
            ("TYPE65280", "\\# 2 00", 1),
            ("A", "\\# 3 000000", 2),
            ("EUI48", "00-11-22-33-44", 0),
            ("NS", "a..b", 0),
        ] {
            let rtype: Rtype = rtype.parse().unwrap();
            let error = parse_rdata(rtype, &words(text), Some(&Name::root())).unwrap_err();
            assert_eq!(error.word, word, "{rtype} {text}: {error}");
        }
    }

    #[test]
    fn periods_of_time() {
        assert_eq!(parse_ttl(b"1w2d3h4m5s"), Some(604_800 + 2 * 86_400 + 3 * 3600 + 4 * 60 + 5));
        assert_eq!(parse_ttl(b"1h30"), Some(3630));
        assert_eq!(parse_ttl(b"2147483647"), Some(2_147_483_647));
        for wrong in [&b""[..], b"h", b"1x", b"2147483648", b"-1", b"99999w"] {
            assert_eq!(parse_ttl(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
