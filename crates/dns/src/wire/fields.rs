//! What the data of each record type is made of: one table for reading and writing presentation format, for
//! taking records out of messages and for checking octets given as `\#` (RFC 3597 section 5).
//!
//! A type that is not in the table is opaque: RFC 3597's generic form is its only presentation. SVCB and
//! HTTPS are read and written by hickory-proto (`text.rs`).

use super::{Name, Rtype};

/// One field of record data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    U8,
    U16,
    U32,
    /// Seconds in 32 bits; in text with units (`1h30m`).
    Seconds,
    /// A domain name, uncompressed.
    Name,
    Ipv4,
    Ipv6,
    /// A length octet and up to 255 octets.
    CharString,
    /// One or more character strings up to the end.
    CharStrings,
    /// A character string of letters and digits, never quoted (CAA's tag, RFC 8659 section 4.1).
    Tag,
    /// Octets up to the end, written as one quoted string.
    Text,
    /// Octets up to the end, at least one, in hexadecimal; spaces allowed.
    Hex,
    /// Octets up to the end, at least one, in base64; spaces allowed.
    Base64,
    /// As many octets, written as hexadecimal pairs with hyphens (RFC 7043).
    Eui(usize),
}

/// The fields of a type's data; `None` for types that are opaque to this server.
pub fn fields(rtype: Rtype) -> Option<&'static [Field]> {
    use Field::*;
    Some(match rtype {
        Rtype::A => &[Ipv4],
        Rtype::AAAA => &[Ipv6],
        Rtype::NS | Rtype::CNAME | Rtype::PTR | Rtype::DNAME | Rtype::MB | Rtype::MG | Rtype::MR => &[Name],
        Rtype::SOA => &[Name, Name, U32, Seconds, Seconds, Seconds, Seconds],
        Rtype::MINFO | Rtype::RP => &[Name, Name],
        Rtype::MX | Rtype::AFSDB | Rtype::KX => &[U16, Name],
        Rtype::SRV => &[U16, U16, U16, Name],
        Rtype::NAPTR => &[U16, U16, CharString, CharString, CharString, Name],
        Rtype::HINFO => &[CharString, CharString],
        Rtype::TXT | Rtype::SPF => &[CharStrings],
        Rtype::CAA => &[U8, Tag, Text],
        Rtype::URI => &[U16, U16, Text],
        Rtype::TLSA | Rtype::SMIMEA => &[U8, U8, U8, Hex],
        Rtype::SSHFP => &[U8, U8, Hex],
        Rtype::DS | Rtype::CDS => &[U16, U8, U8, Hex],
        Rtype::DNSKEY | Rtype::CDNSKEY | Rtype::KEY => &[U16, U8, U8, Base64],
        Rtype::ZONEMD => &[U32, U8, U8, Hex],
        Rtype::CERT => &[U16, U16, U8, Base64],
        Rtype::OPENPGPKEY | Rtype::DHCID => &[Base64],
        Rtype::EUI48 => &[Eui(6)],
        Rtype::EUI64 => &[Eui(8)],
        _ => return None,
    })
}

/// Takes the octets of one field from the front of `rdata`. `None`: they do not fit the field.
pub(super) fn take_field(field: Field, rdata: &[u8]) -> Option<(&[u8], &[u8])> {
    match field {
        Field::U8 => rdata.split_at_checked(1),
        Field::U16 => rdata.split_at_checked(2),
        Field::U32 | Field::Seconds | Field::Ipv4 => rdata.split_at_checked(4),
        Field::Ipv6 => rdata.split_at_checked(16),
        Field::Eui(octets) => rdata.split_at_checked(octets),
        Field::Name => {
            let (name, _) = Name::from_wire_prefix(rdata).ok()?;
            rdata.split_at_checked(name.as_wire().len())
        }
        Field::CharString => rdata.split_at_checked(1 + usize::from(*rdata.first()?)),
        Field::Tag => {
            let (tag, rest) = rdata.split_at_checked(1 + usize::from(*rdata.first()?))?;
            let letters = tag.get(1..)?;
            (!letters.is_empty() && letters.iter().all(u8::is_ascii_alphanumeric)).then_some((tag, rest))
        }
        Field::CharStrings => {
            let mut rest = rdata;
            while let Some(&length) = rest.first() {
                rest = rest.get(1 + usize::from(length)..)?;
            }
            (!rdata.is_empty()).then_some((rdata, rest))
        }
        Field::Text => Some((rdata, &[])),
        Field::Hex | Field::Base64 => (!rdata.is_empty()).then_some((rdata, &[])),
    }
}

/// True when `rdata` is whole and of the form its type asks for. Opaque types allow every form.
pub fn validate_rdata(rtype: Rtype, rdata: &[u8]) -> bool {
    let Some(fields) = fields(rtype) else { return true };
    let mut rest = rdata;
    for &field in fields {
        match take_field(field, rest) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}
