//! Parts of record data that have a structure of their own: lists of types and of prefixes, gateways, mnemonics of
//! numbers. Each is read from words, measured in octets and shown; what is shown reads back to the same octets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Name, Rtype};

/// Algorithms of keys and signatures (RFC 4034 appendix A.1 and IANA's registry).
pub(super) const ALGORITHMS: &[(&str, u16)] = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// Kinds of certificates (RFC 4398 section 2.1).
pub(super) const CERTIFICATES: &[(&str, u16)] = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

/// The mnemonic of an algorithm.
pub(crate) fn algorithm_name(number: u8) -> Option<&'static str> {
    ALGORITHMS.iter().find(|(_, known)| *known == u16::from(number)).map(|(name, _)| *name)
}

/// The number of a mnemonic, in any case of letters.
pub(super) fn mnemonic(table: &[(&str, u16)], word: &[u8]) -> Option<u16> {
    table.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, number)| *number)
}

/// The type bit maps of NSEC, NSEC3 and CSYNC (RFC 4034 section 4.1.2).
pub(crate) fn type_map(types: impl IntoIterator<Item = Rtype>) -> Vec<u8> {
    let mut windows: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
    for Rtype(number) in types {
        let [window, bit] = number.to_be_bytes();
        windows.entry(window).or_default().insert(bit);
    }
    let mut out = Vec::new();
    for (window, bits) in windows {
        let mut map = vec![0u8; bits.last().map_or(0, |last| usize::from(last / 8) + 1)];
        for bit in bits {
            if let Some(octet) = map.get_mut(usize::from(bit / 8)) {
                *octet |= 0x80 >> (bit % 8);
            }
        }
        out.extend_from_slice(&[window, map.len() as u8]);
        out.extend(map);
    }
    out
}

/// The types of such maps; `None` when windows are out of order, empty or longer than they need to be.
pub(crate) fn types_of(mut maps: &[u8]) -> Option<Vec<Rtype>> {
    let mut types = Vec::new();
    let mut before = None;
    while let [window, length, rest @ ..] = maps {
        let (map, rest) = rest.split_at_checked(usize::from(*length))?;
        if before >= Some(*window) || map.len() > 32 || map.last().is_none_or(|last| *last == 0) {
            return None;
        }
        let bits = (0u8..=255).take(map.len() * 8);
        types.extend(bits.filter_map(|bit| {
            let set = map.get(usize::from(bit / 8))? & (0x80 >> (bit % 8)) != 0;
            set.then(|| Rtype(u16::from_be_bytes([*window, bit])))
        }));
        (before, maps) = (Some(*window), rest);
    }
    maps.is_empty().then_some(types)
}

/// One item of an APL record, such as `!1:192.168.32.0/21` (RFC 3123 section 5), in wire form.
pub(super) fn prefix(word: &str) -> Option<Vec<u8>> {
    let (negated, word) = word.strip_prefix('!').map_or((0, word), |word| (0x80, word));
    let (family, rest) = word.split_once(':')?;
    let (address, prefix) = rest.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let (number, octets, longest) = match address {
        IpAddr::V4(address) => (1, address.octets().to_vec(), 32),
        IpAddr::V6(address) => (2, address.octets().to_vec(), 128),
    };
    let plain = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    let prefix: u8 = prefix.parse().ok().filter(|length| *length <= longest && plain(prefix))?;
    if family != ["1", "2"][usize::from(number == 2)] {
        return None;
    }
    // Zeros at the end are left out (section 4).
    let length = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    let mut out = vec![0, number, prefix, negated | length as u8];
    out.extend_from_slice(octets.get(..length)?);
    Some(out)
}

/// Shows the items of an APL record; `None` when one is not of the form or not of IPv4 or IPv6.
pub(super) fn prefixes(mut rdata: &[u8]) -> Option<String> {
    let mut items = Vec::new();
    while let [0, family, prefix, length, rest @ ..] = rdata {
        let (given, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if given.last() == Some(&0) {
            return None;
        }
        let mut octets = [0; 16];
        octets.get_mut(..given.len())?.copy_from_slice(given);
        let (longest, address) = match (family, given.len()) {
            (1, 0..=4) => (32, IpAddr::from(*octets.first_chunk::<4>()?)),
            (2, 0..=16) => (128, IpAddr::from(octets)),
            _ => return None,
        };
        if *prefix > longest {
            return None;
        }
        let negated = if length & 0x80 != 0 { "!" } else { "" };
        items.push(format!("{negated}{family}:{address}/{prefix}"));
        rdata = rest;
    }
    rdata.is_empty().then(|| items.join(" "))
}

/// Gateway of an IPSECKEY record in wire form, by its kind (RFC 4025 section 2.3).
pub(super) fn gateway(kind: u8, word: &[u8], origin: Option<&Name>) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(word).ok();
    match kind {
        0 => (word == b".").then(Vec::new),
        1 => text?.parse::<Ipv4Addr>().ok().map(|address| address.octets().to_vec()),
        2 => text?.parse::<Ipv6Addr>().ok().map(|address| address.octets().to_vec()),
        3 => Name::from_text(word, origin).ok().map(|name| name.as_wire().to_vec()),
        _ => None,
    }
}

/// Octets of an IPSECKEY record's kind of gateway, algorithm and gateway at the start of `rdata`.
pub(super) fn gateway_octets(rdata: &[u8]) -> Option<usize> {
    Some(match rdata.first()? {
        0 => 2,
        1 => 2 + 4,
        2 => 2 + 16,
        3 => 2 + Name::from_wire_prefix(rdata.get(2..)?).ok()?.0.as_wire().len(),
        _ => return None,
    })
}

/// Shows the same.
pub(super) fn push_gateway(text: &mut String, octets: &[u8]) -> Option<()> {
    let [kind, algorithm, gateway @ ..] = octets else { return None };
    let shown = match kind {
        0 => ".".to_owned(),
        1 => Ipv4Addr::from(*gateway.first_chunk::<4>()?).to_string(),
        2 => Ipv6Addr::from(*gateway.first_chunk::<16>()?).to_string(),
        _ => Name::from_wire(gateway).ok()?.to_string(),
    };
    write!(text, "{kind} {algorithm} {shown}").ok()
}

/// 64 bits as four groups of hexadecimal digits (RFC 6742 section 2.1.2).
pub(super) fn groups(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(8);
    for group in text.split(':') {
        let fits = (1..=4).contains(&group.len()) && group.bytes().all(|octet| octet.is_ascii_hexdigit());
        let value = u16::from_str_radix(group, 16).ok().filter(|_| fits)?;
        out.extend_from_slice(&value.to_be_bytes());
    }
    (out.len() == 8).then_some(out)
}

/// Shows the same.
pub(super) fn push_groups(text: &mut String, octets: &[u8]) {
    for (index, pair) in octets.chunks(2).enumerate() {
        let value = pair.iter().fold(0u16, |value, octet| value << 8 | u16::from(*octet));
        let _ = write!(text, "{}{value:04x}", if index == 0 { "" } else { ":" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_maps_as_in_rfc_4034_section_4_3() {
        let types = [Rtype(1234), Rtype::NSEC, Rtype::A, Rtype::RRSIG, Rtype::MX, Rtype::A];
        let map = type_map(types);
        let mut expected = vec![0, 6, 0x40, 1, 0, 0, 0, 3, 4, 27];
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(map, expected);
        let shown: Vec<String> = types_of(&map).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["A", "MX", "RRSIG", "NSEC", "TYPE1234"]);
        assert_eq!(types_of(&[]), Some(vec![]));
        for wrong in [&[0][..], &[0, 0], &[0, 1, 0], &[0, 2, 1], &[1, 1, 1, 0, 1, 1], &[0, 1, 1, 0, 1, 1]] {
            assert_eq!(types_of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn prefixes_as_in_rfc_3123() {
        for (text, octets) in [
            ("1:192.168.32.0/21", vec![0, 1, 21, 3, 192, 168, 32]),
            ("!1:192.168.38.0/28", vec![0, 1, 28, 0x83, 192, 168, 38]),
            ("2:ff00::/8", vec![0, 2, 8, 1, 255]),
            ("1:0.0.0.0/0", vec![0, 1, 0, 0]),
        ] {
            assert_eq!(prefix(text), Some(octets.clone()), "{text}");
            assert_eq!(prefixes(&octets).as_deref(), Some(text));
        }
        for wrong in ["1:192.168.32.0", "2:192.168.32.0/21", "3:1.2.3.4/5", "1:1.2.3.4/33", "1:1.2.3.4/+3"] {
            assert_eq!(prefix(wrong), None, "{wrong}");
        }
        for wrong in [&[0, 1, 21, 3, 1, 2, 0][..], &[0, 1, 33, 0], &[0, 3, 1, 0], &[0, 1, 8], &[0, 1, 8, 1]] {
            assert_eq!(prefixes(wrong), None, "{wrong:?}");
        }
    }
}
