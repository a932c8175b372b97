//! Parameters of SVCB and HTTPS records (RFC 9460 section 2.1 and appendix A), both ways. Keys without a form of their
//! own are written as `keyNNNNN="…"`, which every reader takes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::query::u16_at;
use super::radix::{push_base64, unbase64};
use super::show::push_quoted;
use super::text::{Word, unescaped};

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;

const KEYS: [(&str, u16); 9] = [
    ("mandatory", MANDATORY),
    ("alpn", ALPN),
    ("no-default-alpn", NO_DEFAULT_ALPN),
    ("port", PORT),
    ("ipv4hint", IPV4HINT),
    ("ech", ECH),
    ("ipv6hint", IPV6HINT),
    ("dohpath", DOHPATH),
    ("ohttp", OHTTP),
];

/// Reads parameters, and says which word is wrong and what is expected there.
pub(super) fn parse(words: &[Word]) -> Result<Vec<u8>, (usize, &'static str)> {
    let mut parameters: BTreeMap<u16, (usize, Vec<u8>)> = BTreeMap::new();
    for (index, word) in words.iter().enumerate() {
        let (name, value) = split(word).ok_or((index, "a parameter such as alpn=h2 or port=443"))?;
        let key = key_number(name).ok_or((index, "a known key such as alpn, or keyNNNNN"))?;
        let known = KEYS.iter().any(|(known, _)| *known == name);
        let octets = match (known, value) {
            (true, value) => octets(key, value).ok_or((index, expected(key)))?,
            (false, value) => value.unwrap_or_default(),
        };
        if parameters.insert(key, (index, octets)).is_some() {
            return Err((index, "each key once only"));
        }
    }
    let mandatory = parameters.get(&MANDATORY).map(|(index, _)| *index);
    let mut out = Vec::new();
    for (key, (index, octets)) in parameters {
        let length = u16::try_from(octets.len()).map_err(|_| (index, "a shorter value"))?;
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend(octets);
    }
    match mandatory {
        Some(index) if !is_valid(&out) => Err((index, "keys that the record has, without mandatory itself")),
        _ => Ok(out),
    }
}

/// The key of a word, and the octets of its value if it has one.
fn split(word: &Word) -> Option<(&str, Option<Vec<u8>>)> {
    if word.quoted {
        return None;
    }
    let Some(at) = word.text.iter().position(|octet| *octet == b'=') else {
        return Some((std::str::from_utf8(&word.text).ok()?, None));
    };
    let (name, value) = (word.text.get(..at)?, word.text.get(at + 1..)?);
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    Some((std::str::from_utf8(name).ok()?, Some(unescaped(value)?)))
}

fn key_number(name: &str) -> Option<u16> {
    let known = KEYS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let digits = name.strip_prefix("key").filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()));
    known.or_else(|| digits?.parse().ok())
}

fn expected(key: u16) -> &'static str {
    match key {
        MANDATORY => "different keys such as alpn,port",
        ALPN => "protocols of 1 to 255 octets such as h2,h3",
        NO_DEFAULT_ALPN | OHTTP => "no value for this key",
        PORT => "a port from 0 to 65535",
        IPV4HINT => "IPv4 addresses such as 192.0.2.1,192.0.2.2",
        ECH => "base64 (RFC 4648)",
        IPV6HINT => "IPv6 addresses such as 2001:db8::1,2001:db8::2",
        _ => "a path such as /dns-query{?dns}",
    }
}

/// The octets of a known key's value.
fn octets(key: u16, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
    if matches!(key, NO_DEFAULT_ALPN | OHTTP) {
        return value.is_none_or(|value| value.is_empty()).then(Vec::new);
    }
    let value = value.filter(|value| !value.is_empty())?;
    let text = std::str::from_utf8(&value);
    let mut out = Vec::new();
    match key {
        MANDATORY => {
            let mut keys = text.ok()?.split(',').map(key_number).collect::<Option<Vec<u16>>>()?;
            keys.sort_unstable();
            if keys.windows(2).any(|pair| pair.first() == pair.last()) {
                return None;
            }
            keys.iter().for_each(|key| out.extend_from_slice(&key.to_be_bytes()));
        }
        ALPN => {
            for id in list(&value)? {
                out.push(u8::try_from(id.len()).ok().filter(|length| *length > 0)?);
                out.extend(id);
            }
        }
        PORT => {
            let digits = text.ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()))?;
            out.extend_from_slice(&digits.parse::<u16>().ok()?.to_be_bytes());
        }
        IPV4HINT => {
            for address in text.ok()?.split(',') {
                out.extend_from_slice(&address.parse::<Ipv4Addr>().ok()?.octets());
            }
        }
        IPV6HINT => {
            for address in text.ok()?.split(',') {
                out.extend_from_slice(&address.parse::<Ipv6Addr>().ok()?.octets());
            }
        }
        ECH => out = unbase64(&value)?,
        _ => out = text.is_ok().then_some(value)?,
    }
    Some(out)
}

/// The items of a list between commas; `\,` and `\\` stand for a comma and a backslash (appendix A.1).
fn list(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = vec![Vec::new()];
    let mut octets = value.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b',' => items.push(Vec::new()),
            b'\\' => items.last_mut()?.push(*octets.next().filter(|next| matches!(next, b',' | b'\\'))?),
            octet => items.last_mut()?.push(octet),
        }
    }
    Some(items)
}

/// True when `parameters` are whole, their keys increase (RFC 9460 section 2.2), and those that are mandatory are
/// there (section 8).
pub(super) fn is_valid(parameters: &[u8]) -> bool {
    keys_and_mandatory(parameters).is_some_and(|(keys, mandatory)| {
        mandatory.is_sorted_by(|left, right| left < right)
            && mandatory.iter().all(|key| *key != MANDATORY && keys.contains(key))
    })
}

fn keys_and_mandatory(mut parameters: &[u8]) -> Option<(Vec<u16>, Vec<u16>)> {
    let (mut keys, mut mandatory) = (Vec::new(), Vec::new());
    while !parameters.is_empty() {
        let (key, length) = (u16_at(parameters, 0)?, usize::from(u16_at(parameters, 2)?));
        let value = parameters.get(4..4 + length)?;
        if keys.last().is_some_and(|before| *before >= key) {
            return None;
        }
        if key == MANDATORY {
            let (pairs, []) = value.as_chunks::<2>() else { return None };
            mandatory = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            if mandatory.is_empty() {
                return None;
            }
        }
        keys.push(key);
        parameters = parameters.get(4 + length..)?;
    }
    Some((keys, mandatory))
}

/// Shows parameters that are valid.
pub(super) fn push(text: &mut String, mut parameters: &[u8]) {
    let mut first = true;
    while let (Some(key), Some(length)) = (u16_at(parameters, 0), u16_at(parameters, 2)) {
        let end = 4 + usize::from(length);
        let value = parameters.get(4..end).unwrap_or_default();
        if !std::mem::take(&mut first) {
            text.push(' ');
        }
        match own_form(key, value) {
            Some(shown) => text.push_str(&shown),
            None => generic(text, key, value),
        }
        parameters = parameters.get(end..).unwrap_or_default();
    }
}

/// A value in its key's own form, if it has one that reads back to the same octets.
fn own_form(key: u16, value: &[u8]) -> Option<String> {
    if value.is_empty() {
        return match key {
            NO_DEFAULT_ALPN => Some("no-default-alpn".to_owned()),
            OHTTP => Some("ohttp".to_owned()),
            _ => None,
        };
    }
    let items: Vec<String> = match key {
        MANDATORY => {
            let (pairs, []) = value.as_chunks::<2>() else { return None };
            pairs.iter().map(|pair| key_name(u16::from_be_bytes(*pair))).collect()
        }
        ALPN => {
            let mut ids = Vec::new();
            let mut rest = value;
            while let Some((&length, after)) = rest.split_first() {
                let (id, after) = after.split_at_checked(usize::from(length))?;
                // A comma or backslash inside of an id needs two levels of escapes: the generic form is clearer.
                let plain = |octet: &u8| octet.is_ascii_graphic() && !matches!(octet, b',' | b'\\' | b'"');
                if id.is_empty() || !id.iter().all(plain) {
                    return None;
                }
                ids.push(String::from_utf8_lossy(id).into_owned());
                rest = after;
            }
            return Some(format!("alpn=\"{}\"", ids.join(",")));
        }
        PORT => vec![u16::from_be_bytes(value.try_into().ok()?).to_string()],
        IPV4HINT => {
            let (addresses, []) = value.as_chunks::<4>() else { return None };
            addresses.iter().map(|address| Ipv4Addr::from(*address).to_string()).collect()
        }
        IPV6HINT => {
            let (addresses, []) = value.as_chunks::<16>() else { return None };
            addresses.iter().map(|address| Ipv6Addr::from(*address).to_string()).collect()
        }
        ECH => {
            let mut text = String::new();
            push_base64(&mut text, value);
            vec![text]
        }
        DOHPATH => {
            std::str::from_utf8(value).ok()?;
            let mut text = "dohpath=".to_owned();
            push_quoted(&mut text, value);
            return Some(text);
        }
        _ => return None,
    };
    Some(format!("{}={}", key_name(key), items.join(",")))
}

fn key_name(key: u16) -> String {
    let known = KEYS.iter().find(|(_, number)| *number == key);
    known.map_or_else(|| format!("key{key}"), |(name, _)| (*name).to_owned())
}

fn generic(text: &mut String, key: u16, value: &[u8]) {
    let _ = write!(text, "key{key}");
    if !value.is_empty() {
        text.push('=');
        push_quoted(text, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Word> {
        let words = text.split(' ').filter(|word| !word.is_empty());
        words.map(|word| Word { text: word.as_bytes().to_vec(), quoted: false, line: 1, column: 1 }).collect()
    }

    #[test]
    fn parameters_are_sorted_and_shown_in_their_own_form() {
        for (text, expected) in [
            ("port=8443 alpn=h2,h3", "alpn=\"h2,h3\" port=8443"),
            ("key3=\"\\032\\251\"", "port=8443"),
            ("alpn=\"f\\\\\\\\oo\\\\,bar,h2\"", "key1=\"\\008f\\\\oo,bar\\002h2\""),
            ("ipv6hint=2001:DB8::1 mandatory=ipv6hint", "mandatory=ipv6hint ipv6hint=2001:db8::1"),
            ("no-default-alpn ohttp ech=AAEC", "no-default-alpn ech=AAEC ohttp"),
            ("key667=hello\\210qoo key668", "key667=\"hello\\210qoo\" key668"),
            ("dohpath=/dns-query{?dns}", "dohpath=\"/dns-query{?dns}\""),
            ("", ""),
        ] {
            let mut shown = String::new();
            let octets = parse(&words(text)).unwrap();
            assert!(is_valid(&octets));
            push(&mut shown, &octets);
            assert_eq!(shown, expected, "{text}");
            assert_eq!(parse(&words(&shown)), Ok(octets));
        }
    }

    #[test]
    fn what_rfc_9460_appendix_d_3_calls_failures_is_refused() {
        for (text, word) in [
            ("key123=abc key123=def", 1),
            ("mandatory", 0),
            ("alpn", 0),
            ("port", 0),
            ("ipv4hint", 0),
            ("no-default-alpn=abc", 0),
            ("mandatory=key123", 0),
            ("mandatory=mandatory", 0),
            ("mandatory=key123,key123 key123=abc", 0),
            ("port=65536", 0),
            ("foo=1", 0),
        ] {
            assert_eq!(parse(&words(text)).map_err(|(word, _)| word), Err(word), "{text}");
        }
        assert!(!is_valid(&[0, 3, 0, 0, 0, 1, 0, 0]) && !is_valid(&[0, 3, 0, 1]) && !is_valid(&[0]));
    }
}
