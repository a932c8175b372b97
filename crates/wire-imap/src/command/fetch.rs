//! `FETCH set items [(CHANGEDSINCE n)]` (RFC 3501 §6.4.5, RFC 7162 §3.1.4).

use postroad_mime::{Section, SectionText};
use postroad_types::limits::{IMAP_FETCH_ITEMS_MAX, MIME_NESTING_MAX};

use crate::reader::{Parsed, Reader, Refusal, expected};
use crate::response::Code;
use crate::sequence::SequenceSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub messages: SequenceSet,
    /// The set is of uids, and the uid is among the items whether it was asked for or not.
    pub by_uid: bool,
    /// Each once, in the order they were asked for.
    pub items: Vec<FetchItem>,
    /// Only messages that changed after this mod-sequence.
    pub changed_since: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    Uid,
    Flags,
    InternalDate,
    ModSeq,
    Envelope,
    /// BODY: BODYSTRUCTURE without its extension data.
    Body,
    BodyStructure,
    Rfc822,
    Rfc822Header,
    Rfc822Text,
    Rfc822Size,
    Section(FetchSection),
}

/// `BODY[section]<partial>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSection {
    /// BODY.PEEK: `\Seen` is not set.
    pub peek: bool,
    pub section: Section,
    pub partial: Option<Partial>,
}

/// `<first.count>` octets of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    pub first: u32,
    /// Not 0.
    pub count: u32,
}

impl FetchItem {
    /// Whether fetching it sets `\Seen` (RFC 3501 §6.4.5).
    pub fn sets_seen(&self) -> bool {
        match self {
            FetchItem::Rfc822 | FetchItem::Rfc822Text => true,
            FetchItem::Section(section) => !section.peek,
            _ => false,
        }
    }
}

pub(super) fn parse(reader: &mut Reader<'_>, by_uid: bool) -> Parsed<Fetch> {
    let messages = reader.sequence_set()?;
    reader.space()?;
    let mut items = Vec::new();
    if reader.eat(b'(') {
        loop {
            push(&mut items, parse_item(reader)?)?;
            if !reader.eat(b' ') {
                break;
            }
        }
        reader.expect(b')', "expected ) behind the fetch items")?;
    } else if let Some(expanded) = parse_macro(reader) {
        items.extend_from_slice(expanded);
    } else {
        push(&mut items, parse_item(reader)?)?;
    }
    let mut changed_since = None;
    if reader.eat(b' ') {
        const WHAT: &str = "expected (CHANGEDSINCE mod-sequence)";
        reader.expect(b'(', WHAT)?;
        if !reader.eat_word("CHANGEDSINCE") {
            return expected(WHAT);
        }
        reader.space()?;
        changed_since = Some(reader.number64(WHAT)?);
        reader.expect(b')', WHAT)?;
        // RFC 7162 §3.1.4.1: the mod-sequence is told with it.
        push(&mut items, FetchItem::ModSeq)?;
    }
    if by_uid && !items.contains(&FetchItem::Uid) {
        items.insert(0, FetchItem::Uid);
    }
    Ok(Fetch { messages, by_uid, items, changed_since })
}

fn push(items: &mut Vec<FetchItem>, item: FetchItem) -> Parsed<()> {
    if items.len() >= IMAP_FETCH_ITEMS_MAX {
        return Err(Refusal::No(Some(Code::Limit), "too many items in one FETCH".into()));
    }
    if !items.contains(&item) {
        items.push(item);
    }
    Ok(())
}

fn parse_macro(reader: &mut Reader<'_>) -> Option<&'static [FetchItem]> {
    use FetchItem::{Body, Envelope, Flags, InternalDate, Rfc822Size};
    [
        ("ALL", &[Flags, InternalDate, Rfc822Size, Envelope][..]),
        ("FAST", &[Flags, InternalDate, Rfc822Size]),
        ("FULL", &[Flags, InternalDate, Rfc822Size, Envelope, Body]),
    ]
    .into_iter()
    .find_map(|(name, items)| reader.eat_word(name).then_some(items))
}

fn parse_item(reader: &mut Reader<'_>) -> Parsed<FetchItem> {
    let peek = reader.eat_word("BODY.PEEK");
    if peek || reader.eat_word("BODY") {
        return match reader.eat(b'[') {
            true => parse_section(reader, peek).map(FetchItem::Section),
            false if peek => expected("expected [ behind BODY.PEEK"),
            false => Ok(FetchItem::Body),
        };
    }
    let simple = [
        ("UID", FetchItem::Uid),
        ("FLAGS", FetchItem::Flags),
        ("INTERNALDATE", FetchItem::InternalDate),
        ("MODSEQ", FetchItem::ModSeq),
        ("ENVELOPE", FetchItem::Envelope),
        ("BODYSTRUCTURE", FetchItem::BodyStructure),
        ("RFC822", FetchItem::Rfc822),
        ("RFC822.HEADER", FetchItem::Rfc822Header),
        ("RFC822.TEXT", FetchItem::Rfc822Text),
        ("RFC822.SIZE", FetchItem::Rfc822Size),
    ];
    match simple.into_iter().find(|(name, _)| reader.eat_word(name)) {
        Some((_, item)) => Ok(item),
        None => expected("unknown fetch item"),
    }
}

/// Behind the opening bracket.
fn parse_section(reader: &mut Reader<'_>, peek: bool) -> Parsed<FetchSection> {
    let mut section = Section::default();
    while reader.peek().is_some_and(|b| b.is_ascii_digit()) {
        match reader.number("expected a part number")? {
            0 => return expected("part numbers begin with 1"),
            _ if section.path.len() >= MIME_NESTING_MAX => {
                return expected("a part number is nested too deep");
            }
            number => section.path.push(number),
        }
        if !reader.eat(b'.') {
            reader.expect(b']', "expected ] behind a part number")?;
            return Ok(FetchSection { peek, section, partial: parse_partial(reader)? });
        }
        let Some(b'0'..=b'9') = reader.peek() else {
            section.text = Some(parse_text(reader, true)?);
            break;
        };
    }
    if section.path.is_empty() && reader.peek() != Some(b']') {
        section.text = Some(parse_text(reader, false)?);
    }
    reader.expect(b']', "expected ] behind a section")?;
    Ok(FetchSection { peek, section, partial: parse_partial(reader)? })
}

fn parse_text(reader: &mut Reader<'_>, in_part: bool) -> Parsed<SectionText> {
    if reader.eat_word("HEADER.FIELDS.NOT") {
        return Ok(SectionText::FieldsNot(parse_names(reader)?));
    }
    if reader.eat_word("HEADER.FIELDS") {
        return Ok(SectionText::Fields(parse_names(reader)?));
    }
    if reader.eat_word("HEADER") {
        return Ok(SectionText::Header);
    }
    if reader.eat_word("TEXT") {
        return Ok(SectionText::Text);
    }
    if in_part && reader.eat_word("MIME") {
        return Ok(SectionText::Mime);
    }
    expected("expected HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or, behind a part number, MIME")
}

fn parse_names(reader: &mut Reader<'_>) -> Parsed<Vec<Vec<u8>>> {
    reader.space()?;
    reader.expect(b'(', "expected a list of field names in parentheses")?;
    let mut names = Vec::new();
    loop {
        names.push(reader.astring("expected a field name")?.into_owned());
        if !reader.eat(b' ') {
            break;
        }
    }
    reader.expect(b')', "expected ) behind the field names")?;
    Ok(names)
}

fn parse_partial(reader: &mut Reader<'_>) -> Parsed<Option<Partial>> {
    if !reader.eat(b'<') {
        return Ok(None);
    }
    let first = reader.number("expected an octet's number behind <")?;
    reader.expect(b'.', "expected <first.count>")?;
    let count = reader.number("expected a count of octets")?;
    reader.expect(b'>', "expected > behind a count of octets")?;
    if count == 0 {
        return expected("a partial fetch asks for at least one octet");
    }
    Ok(Some(Partial { first, count }))
}
