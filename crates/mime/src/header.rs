//! Header fields (RFC 5322 §2.2) and where they stand.

use std::borrow::Cow;
use std::ops::Range;

/// One field of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Without colon; empty where a line has none and continues nothing.
    pub name: &'a [u8],
    /// All behind the colon, folds included, without the last line end.
    pub value: &'a [u8],
    /// The whole field with its last line end, as offsets into the header.
    pub range: Range<usize>,
}

impl<'a> Field<'a> {
    /// Field names are compared without regard to case.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value on one line, without white space around it.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        unfold(self.value)
    }
}

/// The fields of a header from its first octet on; ends at the empty line or at the end of `header`.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    header: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub fn new(header: &'a [u8]) -> Self {
        Fields { header, at: 0 }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.at;
        let rest = self.header.get(start..)?;
        if rest.is_empty() || blank_line(rest).is_some() {
            return None;
        }
        let mut length = line_length(rest);
        while let Some(b' ' | b'\t') = rest.get(length) {
            length += line_length(rest.get(length..).unwrap_or_default());
        }
        self.at = start + length;
        let whole = without_line_end(rest.get(..length).unwrap_or_default());
        let (name, value) = match memchr::memchr(b':', whole) {
            Some(colon) if !matches!(whole.first(), Some(b' ' | b'\t')) => {
                let (name, rest) = whole.split_at(colon);
                (name.trim_ascii_end(), rest.get(1..).unwrap_or_default())
            }
            _ => (&whole[..0], whole),
        };
        Some(Field { name, value, range: start..self.at })
    }
}

/// The first field of that name.
pub fn find<'a>(header: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
    Fields::new(header).find(|field| field.is(name))
}

/// Where the body begins: behind the header's empty line, or at the end where there is none.
pub fn body_offset(message: &[u8]) -> usize {
    let mut at = 0;
    while let Some(rest) = message.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(length) = blank_line(rest) {
            return at + length;
        }
        at += line_length(rest);
    }
    message.len()
}

/// Line ends taken out (RFC 5322 §2.2.3), white space around trimmed.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect())
}

/// The length of the empty line that `text` begins with.
pub(crate) fn blank_line(text: &[u8]) -> Option<usize> {
    match text {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// The length of the first line, its end included.
fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_with_their_folds() {
        let header = b"Subject: one\r\n two\r\nX: y\r\nto : a\r\n\r\nSubject: body";
        let fields: Vec<_> = Fields::new(header).collect();
        assert_eq!(fields.len(), 3);
        assert_eq!(&*fields[0].unfolded(), b"one two");
        assert_eq!(fields[0].range, 0..20);
        assert_eq!(find(header, b"TO").unwrap().range, 26..34);
        assert_eq!(body_offset(header), 36);
    }

    #[test]
    fn lines_that_are_no_fields_do_not_hide_the_others() {
        let header = b" odd: continuation\nno colon\nA:b\n\nrest";
        let names: Vec<_> = Fields::new(header).map(|f| f.name).collect();
        assert_eq!(names, [&b""[..], b"", b"A"]);
        assert_eq!(body_offset(b"A: b\r\nC: d"), 10);
        assert_eq!(body_offset(b"\r\nbody"), 2);
    }
}
