//! Strings on the wire: quoted where that is allowed, else as a literal (RFC 3501 §4.3).

use std::fmt;
use std::io::Write as _;

use crate::flag::Flags;
use crate::mutf7;

pub(crate) fn text(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = out.write_fmt(text);
}

/// Longest string that is quoted; a longer one as a literal is cheaper to read.
const QUOTED_OCTETS_MAX: usize = 1000;

pub(crate) fn string(out: &mut Vec<u8>, octets: &[u8]) {
    let plain = |b: &u8| matches!(b, b' '..=b'~');
    if octets.len() <= QUOTED_OCTETS_MAX && octets.iter().all(plain) {
        out.push(b'"');
        for b in octets {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*b);
        }
        out.push(b'"');
    } else {
        text(out, format_args!("{{{}}}\r\n", octets.len()));
        out.extend_from_slice(octets);
    }
}

pub(crate) fn nstring(out: &mut Vec<u8>, octets: Option<&[u8]>) {
    match octets {
        Some(octets) => string(out, octets),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// A folder's name in modified UTF-7: an atom where it can be one, as clients like best.
pub(crate) fn mailbox(out: &mut Vec<u8>, name: &str) {
    let name = mutf7::encode(name);
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"/-_.+&,=!$#'@".contains(&b);
    if !name.is_empty() && name.bytes().all(atom) && !name.eq_ignore_ascii_case("NIL") {
        out.extend_from_slice(name.as_bytes());
    } else {
        string(out, name.as_bytes());
    }
}

/// `(\Seen $x)`
pub(crate) fn flags(out: &mut Vec<u8>, flags: &Flags, recent: bool) {
    out.push(b'(');
    let mut space = "";
    for name in flags.names().chain(recent.then_some("\\Recent")) {
        text(out, format_args!("{space}{name}"));
        space = " ";
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_take_the_form_that_their_octets_allow() {
        let shown = |octets: &[u8]| {
            let mut out = Vec::new();
            string(&mut out, octets);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(b""), "\"\"");
        assert_eq!(shown(br#"a "b" \c"#), r#""a \"b\" \\c""#);
        assert_eq!(shown("ö".as_bytes()), "{2}\r\nö");
        assert_eq!(shown(b"a\r\nb"), "{4}\r\na\r\nb");
        assert!(shown(&[b'x'; 2000]).starts_with("{2000}\r\n"));
        let mut out = Vec::new();
        mailbox(&mut out, "Entwürfe");
        assert_eq!(out, b"Entw&APw-rfe");
        out.clear();
        mailbox(&mut out, "nil");
        assert_eq!(out, b"\"nil\"");
    }
}
