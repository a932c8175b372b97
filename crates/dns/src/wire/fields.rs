//! What the data of each record type is made of: one table for reading and writing presentation format, for
//! taking records out of messages and for checking octets given as `\#` (RFC 3597 section 5).
//!
//! A type that is not in the table is opaque: RFC 3597's generic form is its only presentation.

use super::{Name, Rtype, loc, parts, svcb};

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
    /// The algorithm of a key in 8 bits; in text a number or a mnemonic (RFC 4034 appendix A.1).
    Algorithm,
    /// The kind of a certificate in 16 bits; in text a number or a mnemonic (RFC 4398 section 2.1).
    Certificate,
    /// A record type.
    Type,
    /// Record types up to the end, none too, as bit maps (RFC 4034 section 4.1.2).
    Types,
    /// Seconds since 1970 in 32 bits, in text YYYYMMDDHHmmSS (RFC 4034 section 3.2).
    Time,
    /// A length octet and as many octets, in hexadecimal; none is written as a hyphen (RFC 5155 section 3.3).
    Salt,
    /// A length octet and as many octets, at least one, in base32hex (RFC 5155 section 3.3).
    Hash,
    /// 64 bits as four groups of hexadecimal digits (RFC 6742 section 2.1.2).
    Groups,
    /// Address prefixes up to the end, none too (RFC 3123 section 4).
    Prefixes,
    /// Kind of gateway, algorithm and gateway, whose form the kind decides (RFC 4025 section 2.5).
    Gateway,
    /// Octets up to the end in base64, or none at all (RFC 4025 section 2.6).
    KeyOrNothing,
    /// A place on Earth (RFC 1876).
    Location,
    /// Keys and values up to the end (RFC 9460 section 2.2).
    Parameters,
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
        Rtype::DS | Rtype::CDS => &[U16, Algorithm, U8, Hex],
        Rtype::DNSKEY | Rtype::CDNSKEY | Rtype::KEY => &[U16, U8, Algorithm, Base64],
        Rtype::RRSIG | Rtype::SIG => &[Type, Algorithm, U8, U32, Time, Time, U16, Name, Base64],
        Rtype::NSEC => &[Name, Types],
        Rtype::NSEC3 => &[U8, U8, U16, Salt, Hash, Types],
        Rtype::NSEC3PARAM => &[U8, U8, U16, Salt],
        Rtype::CSYNC => &[U32, U16, Types],
        Rtype::ZONEMD => &[U32, U8, U8, Hex],
        Rtype::CERT => &[Certificate, U16, Algorithm, Base64],
        Rtype::IPSECKEY => &[U8, Gateway, KeyOrNothing],
        Rtype::OPENPGPKEY | Rtype::DHCID => &[Base64],
        Rtype::EUI48 => &[Eui(6)],
        Rtype::EUI64 => &[Eui(8)],
        Rtype::LOC => &[Location],
        Rtype::APL => &[Prefixes],
        Rtype::NID | Rtype::L64 => &[U16, Groups],
        Rtype::L32 => &[U16, Ipv4],
        Rtype::LP => &[U16, Name],
        Rtype::SVCB | Rtype::HTTPS => &[U16, Name, Parameters],
        _ => return None,
    })
}

/// Takes the octets of one field from the front of `rdata`. `None`: they do not fit the field.
pub(crate) fn take_field(field: Field, rdata: &[u8]) -> Option<(&[u8], &[u8])> {
    match field {
        Field::U8 | Field::Algorithm => rdata.split_at_checked(1),
        Field::U16 | Field::Certificate | Field::Type => rdata.split_at_checked(2),
        Field::U32 | Field::Seconds | Field::Time | Field::Ipv4 => rdata.split_at_checked(4),
        Field::Ipv6 => rdata.split_at_checked(16),
        Field::Eui(octets) => rdata.split_at_checked(octets),
        Field::Name => {
            let (name, _) = Name::from_wire_prefix(rdata).ok()?;
            rdata.split_at_checked(name.as_wire().len())
        }
        Field::CharString | Field::Salt => rdata.split_at_checked(1 + usize::from(*rdata.first()?)),
        Field::Hash => {
            let length = rdata.first().filter(|length| **length > 0)?;
            rdata.split_at_checked(1 + usize::from(*length))
        }
        Field::Groups => rdata.split_at_checked(8),
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
        Field::Text | Field::KeyOrNothing => Some((rdata, &[])),
        Field::Types => parts::types_of(rdata).map(|_| (rdata, &[][..])),
        Field::Prefixes => parts::prefixes(rdata).map(|_| (rdata, &[][..])),
        Field::Location => loc::display(rdata).map(|_| (rdata, &[][..])),
        Field::Parameters => svcb::is_valid(rdata).then_some((rdata, &[][..])),
        Field::Gateway => rdata.split_at_checked(parts::gateway_octets(rdata)?),
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
