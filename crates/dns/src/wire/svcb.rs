//! Presentation of SVCB and HTTPS data (RFC 9460 section 2.1). Keys without a form of their own are written as
//! `keyNNNNN="…"`, which every reader takes.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Name;
use super::query::u16_at;
use super::text::push_quoted;

/// Shows the data; `None` when it is malformed.
pub(super) fn display(rdata: &[u8]) -> Option<String> {
    let (target, mut parameters) = Name::from_wire_prefix(rdata.get(2..)?).ok()?;
    let mut text = format!("{} {target}", u16_at(rdata, 0)?);
    while !parameters.is_empty() {
        let (key, length) = (u16_at(parameters, 0)?, usize::from(u16_at(parameters, 2)?));
        let value = parameters.get(4..4 + length)?;
        text.push(' ');
        parameter(&mut text, key, value)?;
        parameters = parameters.get(4 + length..)?;
    }
    Some(text)
}

fn parameter(text: &mut String, key: u16, value: &[u8]) -> Option<()> {
    let list = |items: Vec<String>| items.join(",");
    match (key, value) {
        (1, _) => {
            let mut ids = Vec::new();
            let mut rest = value;
            while let Some((&length, after)) = rest.split_first() {
                let (id, after) = after.split_at_checked(usize::from(length))?;
                // A comma or backslash inside of an id needs two levels of escapes: the generic form is clearer.
                if id.iter().any(|octet| !octet.is_ascii_graphic() || matches!(octet, b',' | b'\\' | b'"')) {
                    return generic(text, key, value);
                }
                ids.push(String::from_utf8_lossy(id).into_owned());
                rest = after;
            }
            write!(text, "alpn=\"{}\"", list(ids)).ok()
        }
        (2, []) => {
            text.push_str("no-default-alpn");
            Some(())
        }
        (3, &[high, low]) => write!(text, "port={}", u16::from_be_bytes([high, low])).ok(),
        (4, _) => {
            let (addresses, []) = value.as_chunks::<4>() else { return generic(text, key, value) };
            write!(
                text,
                "ipv4hint={}",
                list(addresses.iter().map(|a| Ipv4Addr::from(*a).to_string()).collect())
            )
            .ok()
        }
        (6, _) => {
            let (addresses, []) = value.as_chunks::<16>() else { return generic(text, key, value) };
            write!(
                text,
                "ipv6hint={}",
                list(addresses.iter().map(|a| Ipv6Addr::from(*a).to_string()).collect())
            )
            .ok()
        }
        _ => generic(text, key, value),
    }
}

fn generic(text: &mut String, key: u16, value: &[u8]) -> Option<()> {
    write!(text, "key{key}").ok()?;
    if !value.is_empty() {
        text.push('=');
        push_quoted(text, value);
    }
    Some(())
}
