//! Sections of IMAP's BODY[…] (RFC 3501 §6.4.5) as octet ranges of the message.

use std::collections::HashSet;
use std::ops::Range;

use crate::header::Fields;
use crate::structure::{Body, PartId, Structure};

/// What stands between the brackets of `BODY[…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Part numbers, counted from 1; empty for the message itself.
    pub path: Vec<u32>,
    /// `None`: all of the message, or the body of the part.
    pub text: Option<SectionText>,
}

/// The last word of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    Header,
    /// HEADER.FIELDS
    Fields(Vec<Vec<u8>>),
    /// HEADER.FIELDS.NOT
    FieldsNot(Vec<Vec<u8>>),
    Text,
    /// Only behind part numbers.
    Mime,
}

/// Where a section's octets stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// The section is this range, which may be empty.
    Whole(Range<usize>),
    /// The section is those fields of the header in this range that [`Section::select_fields`] picks.
    FieldsOf(Range<usize>),
}

impl Section {
    /// Whether the message's own header is all it takes, without a look at the structure.
    pub fn needs_header_only(&self) -> bool {
        use SectionText::{Fields, FieldsNot, Header};
        self.path.is_empty() && matches!(self.text, Some(Header | Fields(_) | FieldsNot(_)))
    }

    /// Whether the structure must be known; without part numbers the end of the header is enough.
    pub fn needs_structure(&self) -> bool {
        !self.path.is_empty()
    }

    /// Where the section is; `None` if the message has no such part.
    pub fn locate(&self, structure: &Structure) -> Option<Located> {
        let root = structure.part(Structure::ROOT);
        let part = match self.path.split_first() {
            None => {
                return Some(match &self.text {
                    None => Located::Whole(0..structure.size()),
                    Some(SectionText::Text) => Located::Whole(root.body.clone()),
                    Some(SectionText::Header | SectionText::Mime) => Located::Whole(root.header.clone()),
                    Some(_) => Located::FieldsOf(root.header.clone()),
                });
            }
            Some((first, rest)) => {
                let mut id = child_of_message(structure, Structure::ROOT, *first)?;
                for number in rest {
                    id = match &structure.part(id).inside {
                        Body::Multipart(children) => nth(children, *number)?,
                        Body::Message(inner) => child_of_message(structure, *inner, *number)?,
                        Body::Leaf => return None,
                    };
                }
                structure.part(id)
            }
        };
        let message = || match part.inside {
            Body::Message(inner) => Some(structure.part(inner)),
            _ => None,
        };
        Some(match &self.text {
            None => Located::Whole(part.body.clone()),
            Some(SectionText::Mime) => Located::Whole(part.header.clone()),
            Some(SectionText::Header) => Located::Whole(message()?.header.clone()),
            Some(SectionText::Text) => Located::Whole(message()?.body.clone()),
            Some(SectionText::Fields(_) | SectionText::FieldsNot(_)) => {
                Located::FieldsOf(message()?.header.clone())
            }
        })
    }

    /// The section's octets out of a whole message; `None` if the message has no such part.
    pub fn extract(&self, message: &[u8], structure: &Structure) -> Option<Vec<u8>> {
        Some(match self.locate(structure)? {
            Located::Whole(range) => message.get(range).unwrap_or_default().to_vec(),
            Located::FieldsOf(range) => self.select_fields(message.get(range).unwrap_or_default()),
        })
    }

    /// Of a header those fields that HEADER.FIELDS or HEADER.FIELDS.NOT ask for, in their order, exactly as
    /// they stand, and the empty line where there is one.
    pub fn select_fields(&self, header: &[u8]) -> Vec<u8> {
        let (names, wanted) = match &self.text {
            Some(SectionText::Fields(names)) => (names.as_slice(), true),
            Some(SectionText::FieldsNot(names)) => (names.as_slice(), false),
            _ => (&[][..], false),
        };
        // Both lists come from outside and may be long: each name is looked up, not all compared.
        let names: HashSet<Vec<u8>> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut out = Vec::new();
        let mut end = 0;
        for field in Fields::new(header) {
            if names.contains(&field.name.to_ascii_lowercase()) == wanted {
                out.extend_from_slice(header.get(field.range.clone()).unwrap_or_default());
            }
            end = field.range.end;
        }
        out.extend_from_slice(header.get(end..).unwrap_or_default());
        out
    }
}

/// Part `number` of a message: of its multipart, or 1 for the body of one that is none.
fn child_of_message(structure: &Structure, message: PartId, number: u32) -> Option<PartId> {
    match &structure.part(message).inside {
        Body::Multipart(children) => nth(children, number),
        _ => (number == 1).then_some(message),
    }
}

fn nth(children: &[PartId], number: u32) -> Option<PartId> {
    children.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::pieces;
    use proptest::prelude::*;

    const MESSAGE: &str = "From: a@x\r\nSubject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        pre\r\n--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
        Subject: inner\r\nTo: z@x\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n\
        --c\r\n\r\ntwo one\r\n--c\r\nContent-Type: text/html\r\n\r\n<p>\r\n--c--\r\n--b--\r\n";

    fn section(path: &[u32], text: Option<SectionText>) -> Option<String> {
        let structure = Structure::parse(MESSAGE.as_bytes());
        let section = Section { path: path.to_vec(), text };
        section.extract(MESSAGE.as_bytes(), &structure).map(|s| String::from_utf8(s).unwrap())
    }

    #[test]
    fn sections_are_the_exact_octets() {
        let fields = |names: &[&str]| names.iter().map(|n| n.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(section(&[], None).unwrap(), MESSAGE);
        assert!(section(&[], Some(SectionText::Header)).unwrap().ends_with("boundary=b\r\n\r\n"));
        assert!(section(&[], Some(SectionText::Text)).unwrap().starts_with("pre\r\n"));
        assert_eq!(section(&[1], None).unwrap(), "one");
        assert_eq!(section(&[1], Some(SectionText::Mime)).unwrap(), "Content-Type: text/plain\r\n\r\n");
        assert_eq!(section(&[1], Some(SectionText::Header)), None);
        assert_eq!(section(&[2, 1], None).unwrap(), "two one");
        assert_eq!(section(&[2, 1], Some(SectionText::Mime)).unwrap(), "\r\n");
        assert_eq!(section(&[2, 2], None).unwrap(), "<p>");
        assert!(section(&[2], None).unwrap().starts_with("Subject: inner"));
        assert_eq!(
            section(&[2], Some(SectionText::Fields(fields(&["subject", "to"])))).unwrap(),
            "Subject: inner\r\nTo: z@x\r\n\r\n"
        );
        assert_eq!(
            section(&[], Some(SectionText::FieldsNot(fields(&["CONTENT-TYPE", "from"])))).unwrap(),
            "Subject: outer\r\n\r\n"
        );
        assert!(section(&[2], Some(SectionText::Text)).unwrap().starts_with("--c\r\n"));
        for path in [&[3][..], &[0], &[1, 1], &[2, 3], &[2, 1, 1]] {
            assert_eq!(section(path, None), None, "{path:?}");
        }
    }

    #[test]
    fn a_message_without_parts_has_part_1() {
        let message = b"Subject: x\r\n\r\nbody";
        let structure = Structure::parse(message);
        let one = Section { path: vec![1], text: None };
        assert_eq!(one.extract(message, &structure).unwrap(), b"body");
        let mime = Section { path: vec![1], text: Some(SectionText::Mime) };
        assert_eq!(mime.extract(message, &structure).unwrap(), b"Subject: x\r\n\r\n");
    }

    proptest! {
        #[test]
        fn sections_lie_in_the_message(
            message in pieces(),
            path in proptest::collection::vec(1u32..4, 0..4),
            text in prop_oneof![
                Just(None),
                Just(Some(SectionText::Header)),
                Just(Some(SectionText::Text)),
                Just(Some(SectionText::Mime)),
                Just(Some(SectionText::Fields(vec![b"subject".to_vec()]))),
            ],
        ) {
            let structure = Structure::parse(&message);
            match (Section { path, text }).locate(&structure) {
                Some(Located::Whole(range) | Located::FieldsOf(range)) => prop_assert!(message.get(range).is_some()),
                None => {}
            }
        }

        #[test]
        fn fields_and_the_others_are_the_whole_header(message in pieces()) {
            let header = &message[..crate::header::body_offset(&message)];
            let names = vec![b"subject".to_vec()];
            let with = Section { path: vec![], text: Some(SectionText::Fields(names.clone())) }.select_fields(header);
            let without = Section { path: vec![], text: Some(SectionText::FieldsNot(names)) }.select_fields(header);
            let blank = header.len() - Fields::new(header).last().map_or(0, |f| f.range.end);
            prop_assert_eq!(with.len() + without.len(), header.len() + blank);
        }
    }
}
