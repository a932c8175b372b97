//! Looking into a message's header section without changing or copying it.
//!
//! Octets only: a header may hold anything, and mail that is odd must go through as it came.

use memchr::memmem;

/// Where the header section ends: the offset of the empty line, and of what follows it.
/// A message without an empty line is all header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderEnd {
    pub fields: usize,
    pub body: usize,
}

/// Finds the end of the header section, if it is in `octets`; search begins at `from` (what was looked at
/// before ended there).
pub fn end(octets: &[u8], from: usize) -> Option<HeaderEnd> {
    if octets.starts_with(b"\r\n") {
        return Some(HeaderEnd { fields: 0, body: 2 });
    }
    let from = from.saturating_sub(3);
    let at = from + memmem::find(octets.get(from..)?, b"\r\n\r\n")?;
    Some(HeaderEnd { fields: at + 2, body: at + 4 })
}

/// One header field with its folded lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// Behind the colon, with folding and without the last CRLF.
    pub value: &'a [u8],
    /// The whole field, with its last CRLF.
    pub whole: &'a [u8],
    /// Where it begins in the header.
    pub offset: usize,
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header section, in order. A line that is no field is passed over.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = header.get(at..).filter(|rest| !rest.is_empty())?;
            let length = field_length(rest);
            let (offset, whole) = (at, rest.get(..length)?);
            at += length;
            let Some(colon) = memchr::memchr(b':', whole) else { continue };
            let (name, value) = (whole.get(..colon)?.trim_ascii_end(), whole.get(colon + 1..)?);
            // White space inside a name, or none of it: an mbox line or worse, not a field.
            if name.is_empty() || name.iter().any(|b| !(33..=126).contains(b)) {
                continue;
            }
            let value = value.strip_suffix(b"\r\n").unwrap_or(value);
            return Some(Field { name, value, whole, offset });
        }
    })
}

/// Octets of the first field with the lines that are folded into it.
fn field_length(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(end) = rest.get(at..).and_then(|tail| memmem::find(tail, b"\r\n")) {
        at += end + 2;
        if !matches!(rest.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_is_found_however_the_octets_arrive() {
        let message = b"A: 1\r\nB: 2\r\n\r\nbody";
        assert_eq!(end(message, 0), Some(HeaderEnd { fields: 12, body: 14 }));
        for seen in 0..14 {
            assert_eq!(end(message, seen), end(message, 0), "{seen} octets were there before");
        }
        assert_eq!(end(b"A: 1\r\n", 0), None);
        assert_eq!(end(b"\r\nbody", 0), Some(HeaderEnd { fields: 0, body: 2 }));
    }

    #[test]
    fn fields_keep_their_folding_and_odd_lines_are_passed_over() {
        let header = b"From nobody Mon\r\nSubject: a\r\n b: c\r\nX:\r\n: nothing\r\nTo : x\r\n";
        let all: Vec<_> = fields(header).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].name, b"Subject");
        assert_eq!(all[0].value, b" a\r\n b: c");
        assert_eq!(all[1].value, b"");
        assert!(all[2].is("to"));
        assert_eq!(&header[all[2].offset..], all[2].whole);
    }

    proptest! {
        #[test]
        fn any_octets_are_survived(header in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..200)) {
            let mut last = 0;
            for field in fields(&header) {
                prop_assert!(field.offset >= last);
                prop_assert_eq!(&header[field.offset..field.offset + field.whole.len()], field.whole);
                last = field.offset + field.whole.len();
            }
        }
    }
}
