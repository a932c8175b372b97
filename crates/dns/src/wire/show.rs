//! Shows record data in presentation format (RFC 1035 section 5, RFC 3597 section 5): what is shown reads back to the
//! same octets.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::fields::{Field, fields, take_field, validate_rdata};
use super::radix::{push_base32hex, push_base64, push_hex};
use super::{Name, Rtype, loc, parts, svcb, time};

/// Shows record data in presentation format, generic (RFC 3597) where the type is opaque.
pub fn display_rdata(rtype: Rtype, rdata: &[u8]) -> String {
    let mut text = String::new();
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
        let before = text.len();
        if !text.is_empty() {
            text.push(' ');
        }
        let start = text.len();
        display_field(&mut text, field, octets);
        // A list without items, or a key that is not there.
        if text.len() == start {
            text.truncate(before);
        }
    }
    text
}

fn display_field(text: &mut String, field: Field, octets: &[u8]) {
    match field {
        Field::U8 | Field::U16 | Field::U32 | Field::Seconds | Field::Algorithm | Field::Certificate => {
            let _ = write!(text, "{}", number(octets));
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
        Field::Base64 | Field::KeyOrNothing => push_base64(text, octets),
        Field::Eui(_) => {
            for (index, octet) in octets.iter().enumerate() {
                let _ = write!(text, "{}{octet:02x}", if index == 0 { "" } else { "-" });
            }
        }
        Field::Type => {
            let _ = write!(text, "{}", Rtype(number(octets) as u16));
        }
        Field::Types => {
            let types = parts::types_of(octets).unwrap_or_default();
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            text.push_str(&types.join(" "));
        }
        Field::Time => time::push(text, number(octets)),
        Field::Salt => match octets {
            [_, salt @ ..] if !salt.is_empty() => push_hex(text, salt),
            _ => text.push('-'),
        },
        Field::Hash => push_base32hex(text, octets.get(1..).unwrap_or_default()),
        Field::Groups => parts::push_groups(text, octets),
        Field::Prefixes => text.push_str(&parts::prefixes(octets).unwrap_or_default()),
        Field::Gateway => {
            let _ = parts::push_gateway(text, octets);
        }
        Field::Location => text.push_str(&loc::display(octets).unwrap_or_default()),
        Field::Parameters => svcb::push(text, octets),
    }
}

/// Up to four octets as a number.
fn number(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |number, octet| (number << 8) | u32::from(*octet))
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
