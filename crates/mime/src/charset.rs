//! Charsets to UTF-8, by the labels of the WHATWG Encoding Standard, which covers what mail uses.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// What `text` says in `charset`. Without a charset, or with an unknown one, it is read as UTF-8 where it is
/// valid UTF-8 and as windows-1252 else, which most such mail is in.
pub fn decode<'a>(charset: Option<&[u8]>, text: &'a [u8]) -> Cow<'a, str> {
    let named = charset.map(<[u8]>::trim_ascii).filter(|label| !label.eq_ignore_ascii_case(b"us-ascii"));
    match named.and_then(Encoding::for_label_no_replacement) {
        Some(encoding) => encoding.decode_without_bom_handling(text).0,
        None => match UTF_8.decode_without_bom_handling_and_without_replacement(text) {
            Some(text) => text,
            None => WINDOWS_1252.decode_without_bom_handling(text).0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_and_unnamed() {
        assert_eq!(decode(Some(b"ISO-8859-1"), b"J\xF6"), "Jö");
        assert_eq!(decode(Some(b"koi8-r"), b"\xF4\xC5\xD3\xD4"), "Тест");
        assert_eq!(decode(Some(b"iso-2022-jp"), b"\x1b$B$\"\x1b(B"), "あ");
        assert_eq!(decode(None, "Jö".as_bytes()), "Jö");
        assert_eq!(decode(Some(b"no-such"), b"J\xF6"), "Jö");
        assert_eq!(decode(Some(b"us-ascii"), "Jö".as_bytes()), "Jö");
    }
}
