//! Items of a FETCH response, by what they are made from.

use postroad_mime::{Envelope, Section, SectionText, Structure, header};
use postroad_wire_imap::FetchWriter;
use postroad_wire_imap::command::FetchItem;
use postroad_wire_imap::command::fetch::Partial;
use postroad_wire_imap::view::Message;
use time::OffsetDateTime;

/// What the view knows. `seen_now`: this FETCH has set `\Seen`, which is told with it.
pub(super) fn known_items(
    writer: &mut FetchWriter,
    items: &[FetchItem],
    message: &Message,
    seen_now: bool,
    condstore: bool,
) {
    for item in items {
        match item {
            FetchItem::Uid => writer.uid(message.uid),
            FetchItem::Flags => writer.flags(&message.flags, message.recent),
            FetchItem::ModSeq => writer.mod_seq(message.mod_seq),
            FetchItem::Rfc822Size => writer.size(message.size),
            FetchItem::InternalDate => writer.internal_date(date(message.internal_date_us)),
            _ => {}
        }
    }
    if seen_now && !items.contains(&FetchItem::Flags) {
        writer.flags(&message.flags, message.recent);
    }
    if seen_now && condstore && !items.contains(&FetchItem::ModSeq) {
        writer.mod_seq(message.mod_seq);
    }
}

fn date(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Items that the header answers.
pub(super) fn header_items(writer: &mut FetchWriter, items: &[FetchItem], octets: &[u8]) {
    let octets = octets.get(..header::body_offset(octets)).unwrap_or_default();
    for item in items {
        match item {
            FetchItem::Envelope => writer.envelope(&Envelope::parse(octets)),
            FetchItem::Rfc822Header => writer.rfc822("RFC822.HEADER", octets),
            FetchItem::Section(wanted) if wanted.section.needs_header_only() => {
                let text = match &wanted.section.text {
                    Some(SectionText::Fields(_) | SectionText::FieldsNot(_)) => {
                        wanted.section.select_fields(octets)
                    }
                    _ => octets.to_vec(),
                };
                writer.section(wanted, Some(cut(&text, wanted.partial)));
            }
            _ => {}
        }
    }
}

/// Announces the message, or the range of it, that follows in chunks.
pub(super) fn begin_through(writer: &mut FetchWriter, items: &[FetchItem], size: u64) {
    for item in items {
        match item {
            FetchItem::Rfc822 => return writer.begin_rfc822("RFC822", size),
            FetchItem::Section(wanted) => return writer.begin_section(wanted, size),
            _ => {}
        }
    }
}

/// Items that the whole message answers.
pub(super) fn all_items(writer: &mut FetchWriter, items: &[FetchItem], octets: &[u8], structure: &Structure) {
    let text = |text| Section { path: Vec::new(), text }.extract(octets, structure).unwrap_or_default();
    for item in items {
        match item {
            FetchItem::Body => writer.body(structure),
            FetchItem::BodyStructure => writer.body_structure(structure),
            FetchItem::Rfc822 => writer.rfc822("RFC822", octets),
            FetchItem::Rfc822Text => writer.rfc822("RFC822.TEXT", &text(Some(SectionText::Text))),
            FetchItem::Section(wanted) if !wanted.section.needs_header_only() => {
                let found = wanted.section.extract(octets, structure);
                writer.section(wanted, found.as_deref().map(|found| cut(found, wanted.partial)));
            }
            _ => {}
        }
    }
    header_items(writer, items, octets);
}

/// A partial fetch's octets; beyond the end there are none (RFC 3501 §6.4.5).
pub(super) fn cut(octets: &[u8], partial: Option<Partial>) -> &[u8] {
    let Some(Partial { first, count }) = partial else { return octets };
    let first = (first as usize).min(octets.len());
    let last = first.saturating_add(count as usize).min(octets.len());
    octets.get(first..last).unwrap_or_default()
}
