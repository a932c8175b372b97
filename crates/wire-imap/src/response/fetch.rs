//! `* n FETCH (…)`, item by item; a body is announced by its size and fed in chunks.

use postroad_mime::{Envelope, SectionText, Structure};
use time::OffsetDateTime;

use super::write::{flags, nstring, text};
use super::{body_structure, envelope};
use crate::command::fetch::FetchSection;
use crate::flag::Flags;

/// Writes one FETCH response.
///
/// What is written so far may be [taken](FetchWriter::take) and sent at any time. A literal that was announced
/// must be filled exactly; [`FetchWriter::missing`] tells whether it is.
#[derive(Debug)]
pub struct FetchWriter {
    out: Vec<u8>,
    first: bool,
    missing: u64,
}

impl FetchWriter {
    /// `out` is continued, so that many responses share a buffer.
    pub fn new(mut out: Vec<u8>, number: u32) -> Self {
        text(&mut out, format_args!("* {number} FETCH ("));
        FetchWriter { out, first: true, missing: 0 }
    }

    fn item(&mut self, item: std::fmt::Arguments<'_>) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b' ');
        }
        text(&mut self.out, item);
    }

    pub fn uid(&mut self, uid: u32) {
        self.item(format_args!("UID {uid}"));
    }

    pub fn flags(&mut self, list: &Flags, recent: bool) {
        self.item(format_args!("FLAGS "));
        flags(&mut self.out, list, recent);
    }

    pub fn mod_seq(&mut self, mod_seq: u64) {
        self.item(format_args!("MODSEQ ({mod_seq})"));
    }

    pub fn size(&mut self, octets: u64) {
        self.item(format_args!("RFC822.SIZE {octets}"));
    }

    /// `"17-Jul-1996 02:44:25 -0700"`
    pub fn internal_date(&mut self, at: OffsetDateTime) {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = MONTHS.get(usize::from(u8::from(at.month())) - 1).unwrap_or(&"Jan");
        let (hours, minutes, _) = at.offset().as_hms();
        let sign = if at.offset().is_negative() { '-' } else { '+' };
        self.item(format_args!(
            "INTERNALDATE \"{:2}-{month}-{:04} {:02}:{:02}:{:02} {sign}{:02}{:02}\"",
            at.day(),
            at.year(),
            at.hour(),
            at.minute(),
            at.second(),
            hours.unsigned_abs(),
            minutes.unsigned_abs(),
        ));
    }

    pub fn envelope(&mut self, envelope: &Envelope) {
        self.item(format_args!("ENVELOPE "));
        envelope::write(&mut self.out, envelope);
    }

    pub fn body(&mut self, structure: &Structure) {
        self.item(format_args!("BODY "));
        body_structure::write(&mut self.out, structure, false);
    }

    pub fn body_structure(&mut self, structure: &Structure) {
        self.item(format_args!("BODYSTRUCTURE "));
        body_structure::write(&mut self.out, structure, true);
    }

    /// `RFC822`, `RFC822.HEADER` or `RFC822.TEXT`.
    pub fn rfc822(&mut self, name: &'static str, octets: &[u8]) {
        self.item(format_args!("{name} "));
        nstring(&mut self.out, Some(octets));
    }

    /// `BODY[…]<…>`; `None`: the message has no such part.
    pub fn section(&mut self, section: &FetchSection, octets: Option<&[u8]>) {
        self.section_name(section);
        nstring(&mut self.out, octets);
    }

    /// As [`FetchWriter::section`], with `size` octets to follow in [chunks](FetchWriter::chunk).
    pub fn begin_section(&mut self, section: &FetchSection, size: u64) {
        self.section_name(section);
        text(&mut self.out, format_args!("{{{size}}}\r\n"));
        self.missing = size;
    }

    /// As [`FetchWriter::rfc822`], with `size` octets to follow in [chunks](FetchWriter::chunk).
    pub fn begin_rfc822(&mut self, name: &'static str, size: u64) {
        self.item(format_args!("{name} {{{size}}}\r\n"));
        self.missing = size;
    }

    /// Octets of the literal that was announced; what is beyond its size is left out.
    pub fn chunk(&mut self, octets: &[u8]) {
        let room = usize::try_from(self.missing).unwrap_or(usize::MAX).min(octets.len());
        self.out.extend_from_slice(octets.get(..room).unwrap_or_default());
        self.missing -= room as u64;
    }

    /// Octets that the announced literal still lacks.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Octets that are written and not taken.
    pub fn buffered(&self) -> usize {
        self.out.len()
    }

    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Ends the response; the buffer comes back.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b")\r\n");
        self.out
    }

    fn section_name(&mut self, wanted: &FetchSection) {
        self.item(format_args!("BODY["));
        let mut dot = "";
        for number in &wanted.section.path {
            text(&mut self.out, format_args!("{dot}{number}"));
            dot = ".";
        }
        let word = match &wanted.section.text {
            None => None,
            Some(SectionText::Header) => Some("HEADER"),
            Some(SectionText::Fields(_)) => Some("HEADER.FIELDS"),
            Some(SectionText::FieldsNot(_)) => Some("HEADER.FIELDS.NOT"),
            Some(SectionText::Text) => Some("TEXT"),
            Some(SectionText::Mime) => Some("MIME"),
        };
        if let Some(word) = word {
            text(&mut self.out, format_args!("{dot}{word}"));
        }
        if let Some(SectionText::Fields(names) | SectionText::FieldsNot(names)) = &wanted.section.text {
            for (at, name) in names.iter().enumerate() {
                self.out.extend_from_slice(if at == 0 { b" (" } else { b" " });
                field_name(&mut self.out, name);
            }
            self.out.push(b')');
        }
        self.out.push(b']');
        if let Some(partial) = wanted.partial {
            text(&mut self.out, format_args!("<{}>", partial.first));
        }
        self.out.push(b' ');
    }
}

/// Names are told back as atoms where they can be, as clients sent them and some compare them.
fn field_name(out: &mut Vec<u8>, name: &[u8]) {
    if !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        out.extend_from_slice(name);
    } else {
        super::write::string(out, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn items_of_one_response() {
        let mut fetch = FetchWriter::new(Vec::new(), 12);
        fetch.uid(7);
        fetch.flags(&Flags::from_names(["\\Seen"]), true);
        fetch.internal_date(datetime!(1996-07-07 02:44:25 -07:30));
        let section = FetchSection {
            peek: true,
            section: postroad_mime::Section {
                path: vec![2, 1],
                text: Some(SectionText::Fields(vec![b"From".to_vec(), b"a b".to_vec()])),
            },
            partial: Some(crate::command::fetch::Partial { first: 3, count: 9 }),
        };
        fetch.begin_section(&section, 5);
        fetch.chunk(b"abc");
        assert_eq!(fetch.missing(), 2);
        fetch.chunk(b"defg");
        assert_eq!(fetch.missing(), 0);
        assert_eq!(
            String::from_utf8(fetch.finish()).unwrap(),
            "* 12 FETCH (UID 7 FLAGS (\\Seen \\Recent) INTERNALDATE \" 7-Jul-1996 02:44:25 -0730\" \
             BODY[2.1.HEADER.FIELDS (From \"a b\")]<3> {5}\r\nabcde)\r\n"
        );
    }
}
