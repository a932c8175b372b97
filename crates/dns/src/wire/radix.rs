//! Octets as text: hexadecimal, base64 (RFC 4648 section 4) and base32hex without padding (section 7; RFC 5155
//! section 3.3). Reading says `None` where the text is not of the form.

use std::fmt::Write as _;

pub(super) fn push_hex(text: &mut String, octets: &[u8]) {
    for octet in octets {
        let _ = write!(text, "{octet:02X}");
    }
}

pub(super) fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let value = |digit: u8| char::from(digit).to_digit(16);
    pairs.iter().map(|[high, low]| Some((value(*high)? << 4 | value(*low)?) as u8)).collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn push_base64(text: &mut String, octets: &[u8]) {
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

const BASE32HEX: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";

pub(crate) fn push_base32hex(text: &mut String, octets: &[u8]) {
    for chunk in octets.chunks(5) {
        let bits = chunk.iter().fold(0u64, |bits, octet| (bits << 8) | u64::from(*octet));
        let bits = bits << (8 * (5 - chunk.len()));
        // As many letters as the bits of the chunk need: 2, 4, 5, 7 or 8.
        for index in 0..(chunk.len() * 8).div_ceil(5) {
            let quintet = (bits >> (35 - 5 * index)) as usize & 31;
            text.extend(BASE32HEX.get(quintet).map(|letter| char::from(*letter)));
        }
    }
}

pub(crate) fn unbase32hex(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0u32, 0u32);
    for letter in text {
        let letter = letter.to_ascii_uppercase();
        bits = bits << 5 | BASE32HEX.iter().position(|known| *known == letter)? as u32;
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // What is left over must be less than a letter, and zero.
    (held < 5 && bits == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_section_10() {
        for (octets, base64, base32hex) in [
            (&b""[..], "", ""),
            (b"f", "Zg==", "CO"),
            (b"fo", "Zm8=", "CPNG"),
            (b"foo", "Zm9v", "CPNMU"),
            (b"foob", "Zm9vYg==", "CPNMUOG"),
            (b"fooba", "Zm9vYmE=", "CPNMUOJ1"),
            (b"foobar", "Zm9vYmFy", "CPNMUOJ1E8"),
        ] {
            let (mut in64, mut in32) = (String::new(), String::new());
            push_base64(&mut in64, octets);
            push_base32hex(&mut in32, octets);
            assert_eq!((in64.as_str(), in32.as_str()), (base64, base32hex));
            assert_eq!(unbase64(base64.as_bytes()).as_deref(), Some(octets));
            assert_eq!(unbase32hex(base32hex.to_lowercase().as_bytes()).as_deref(), Some(octets));
        }
        for wrong in [&b"C"[..], b"CP", b"CPN", b"CW", b"CO=="] {
            assert_eq!(unbase32hex(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
