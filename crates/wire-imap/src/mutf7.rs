//! Modified UTF-7 of folder names (RFC 3501 §5.1.3). Inside, names are UTF-8; only the wire has this.

use base64::Engine as _;
use base64::alphabet::Alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// BASE64 with `,` for `/`, without padding.
#[allow(clippy::expect_used, reason = "a constant, checked when it is compiled")]
const BASE64: GeneralPurpose = {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone);
    match Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,") {
        Ok(alphabet) => GeneralPurpose::new(&alphabet, config),
        Err(_) => panic!("the alphabet has 64 different characters"),
    }
};

pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut run: Vec<u8> = Vec::new();
    let flush = |run: &mut Vec<u8>, out: &mut String| {
        if !run.is_empty() {
            out.push('&');
            BASE64.encode_string(&*run, out);
            out.push('-');
            run.clear();
        }
    };
    for c in name.chars() {
        match c {
            '&' => {
                flush(&mut run, &mut out);
                out.push_str("&-");
            }
            ' '..='~' => {
                flush(&mut run, &mut out);
                out.push(c);
            }
            c => run.extend(c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes())),
        }
    }
    flush(&mut run, &mut out);
    out
}

/// `None` if it is no modified UTF-7. Octets beyond ASCII are taken if they are UTF-8, as careless clients
/// send it.
pub fn decode(raw: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(raw).ok()?;
    let mut out = String::with_capacity(rest.len());
    while let Some((plain, behind)) = rest.split_once('&') {
        out.push_str(plain);
        let (run, behind) = behind.split_once('-')?;
        rest = behind;
        if run.is_empty() {
            out.push('&');
            continue;
        }
        let octets = BASE64.decode(run).ok().filter(|octets| octets.len() % 2 == 0)?;
        let units = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        for c in char::decode_utf16(units) {
            // What can be written plainly must be: else two spellings would name one folder.
            out.push(c.ok().filter(|c| !matches!(c, ' '..='~'))?);
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc() {
        let name = "~peter/mail/台北/日本語";
        assert_eq!(encode(name), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").unwrap(), name);
        assert_eq!(encode("Entwürfe & Co"), "Entw&APw-rfe &- Co");
        for bad in ["&Jjo!", "a&", "&AGE-", "&U,BTF2XlZyyKng-&2AA-", "&A-"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn names_round_trip(name in "\\PC{0,40}") {
            prop_assert_eq!(decode(encode(&name).as_bytes()), Some(name));
        }

        #[test]
        fn any_octets_are_taken(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
            decode(&raw);
        }
    }
}
