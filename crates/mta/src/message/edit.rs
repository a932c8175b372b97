//! Changing a header section before a message is accepted: fields taken out, the subject replaced. What is not
//! meant stays as it came, octet for octet.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::header;

/// Octets of UTF-8 in one encoded-word: with its frame, and `Subject:` before the first, a line stays within RFC
/// 2047's 76 characters.
const WORD_OCTETS: usize = 39;

/// Takes fields out: by name, and which of them (0 all, 1 the first, -1 the last).
pub fn without(head: &[u8], remove: &[(String, i32)]) -> Vec<u8> {
    let count = |name: &str| header::fields(head).filter(|field| field.is(name)).count();
    let mut gone: Vec<(usize, usize)> = Vec::new();
    for (name, which) in remove {
        let all = i64::try_from(count(name)).unwrap_or(i64::MAX);
        let wanted = if *which < 0 { all + 1 + i64::from(*which) } else { i64::from(*which) };
        for (number, field) in (1i64..).zip(header::fields(head).filter(|field| field.is(name))) {
            if *which == 0 || number == wanted {
                gone.push((field.offset, field.offset + field.whole.len()));
            }
        }
    }
    gone.sort_unstable();
    gone.dedup();
    let (mut out, mut at) = (Vec::with_capacity(head.len()), 0);
    for (from, to) in gone {
        out.extend_from_slice(head.get(at..from).unwrap_or_default());
        at = to;
    }
    out.extend_from_slice(head.get(at..).unwrap_or_default());
    out
}

/// Puts another subject in the place of the first one, or at the end.
pub fn with_subject(head: &[u8], subject: &str) -> Vec<u8> {
    let field = format!("Subject: {}\r\n", encoded(subject));
    let (from, to) = match header::fields(head).find(|field| field.is("Subject")) {
        Some(old) => (old.offset, old.offset + old.whole.len()),
        None => (head.len(), head.len()),
    };
    let parts = [head.get(..from).unwrap_or_default(), field.as_bytes(), head.get(to..).unwrap_or_default()];
    parts.concat()
}

/// A text as a field's value: ASCII as it is, else in encoded-words (RFC 2047), one on each line.
fn encoded(text: &str) -> String {
    if text.bytes().all(|b| (32..127).contains(&b)) {
        return text.to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    let mut piece = String::new();
    for c in text.chars() {
        if piece.len() + c.len_utf8() > WORD_OCTETS {
            words.push(std::mem::take(&mut piece));
        }
        piece.push(c);
    }
    words.push(piece);
    let words: Vec<String> =
        words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_are_named_go_and_no_other_octet() {
        let head = b"A: 1\r\nX: first\r\n\tfolded\r\nB: 2\r\nx: second\r\nX: third\r\nodd line\r\n";
        let shown = |remove: &[(&str, i32)]| {
            let remove: Vec<_> = remove.iter().map(|(name, which)| ((*name).to_owned(), *which)).collect();
            String::from_utf8(without(head, &remove)).unwrap()
        };
        assert_eq!(shown(&[]).as_bytes(), head);
        assert_eq!(shown(&[("X", 0), ("x", 1)]), "A: 1\r\nB: 2\r\nodd line\r\n");
        assert_eq!(shown(&[("X", 1), ("X", -1)]), "A: 1\r\nB: 2\r\nx: second\r\nodd line\r\n");
        assert_eq!(shown(&[("X", 4), ("X", -4), ("C", 0)]).as_bytes(), head);
    }

    #[test]
    fn a_subject_is_replaced_and_its_words_are_encoded() {
        let replaced = with_subject(b"Subject: a\r\n b\r\nTo: x\r\n", "***SPAM*** a");
        assert_eq!(replaced, b"Subject: ***SPAM*** a\r\nTo: x\r\n");
        assert_eq!(with_subject(b"To: x\r\n", "new"), b"To: x\r\nSubject: new\r\n");
        let long = "\u{e4}".repeat(40);
        let replaced = with_subject(b"", &long);
        let value = replaced.strip_prefix(b"Subject: ").unwrap();
        assert!(replaced.split(|b| *b == b'\n').all(|line| line.len() <= 77));
        assert_eq!(postroad_mime::encoded_word::decode(value).trim(), long);
    }
}
