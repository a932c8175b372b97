//! What has to be read for a FETCH.

use postroad_wire_imap::command::FetchItem;

pub(super) struct Plan {
    pub(super) items: Vec<FetchItem>,
    pub(super) reads: Reads,
    /// The whole message is among what is asked for.
    pub(super) has_whole_message: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Only what the view knows is asked for.
    Nothing,
    Header,
    /// One item is the message, or a range of it, and no other needs any of it.
    Through(Through),
    /// The message is looked into.
    Whole,
}

/// A range of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Through {
    pub(super) offset: u64,
    /// 0: to the end.
    pub(super) length: u64,
}

impl Through {
    /// Octets of the range in a message of that size.
    pub(super) fn size_of(self, message: u64) -> u64 {
        let left = message.saturating_sub(self.offset);
        if self.length == 0 { left } else { left.min(self.length) }
    }

    pub(super) fn reaches_end(self, message: u64) -> bool {
        self.length == 0 || self.offset.saturating_add(self.length) >= message
    }
}

impl Plan {
    pub(super) fn new(items: Vec<FetchItem>) -> Self {
        let reads = reads(&items);
        let has_whole_message = items.iter().any(|item| whole_message(item).is_some());
        Plan { items, reads, has_whole_message }
    }
}

fn reads(items: &[FetchItem]) -> Reads {
    let mut octet_items = items.iter().filter(|item| !is_known(item)).peekable();
    if octet_items.peek().is_none() {
        return Reads::Nothing;
    }
    if octet_items.clone().all(is_of_header) {
        return Reads::Header;
    }
    match (octet_items.next().and_then(whole_message), octet_items.next()) {
        (Some(through), None) => Reads::Through(through),
        _ => Reads::Whole,
    }
}

/// Answered from the view.
fn is_known(item: &&FetchItem) -> bool {
    use FetchItem::{Flags, InternalDate, ModSeq, Rfc822Size, Uid};
    matches!(item, Uid | Flags | InternalDate | ModSeq | Rfc822Size)
}

fn is_of_header(item: &FetchItem) -> bool {
    match item {
        FetchItem::Envelope | FetchItem::Rfc822Header => true,
        FetchItem::Section(wanted) => wanted.section.needs_header_only(),
        _ => false,
    }
}

fn whole_message(item: &FetchItem) -> Option<Through> {
    match item {
        FetchItem::Rfc822 => Some(Through { offset: 0, length: 0 }),
        FetchItem::Section(wanted) if wanted.section.path.is_empty() && wanted.section.text.is_none() => {
            let (offset, length) = wanted.partial.map_or((0, 0), |p| (p.first.into(), p.count.into()));
            Some(Through { offset, length })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_mime::{Section, SectionText};
    use postroad_wire_imap::command::fetch::{FetchSection, Partial};

    fn section(path: &[u32], text: Option<SectionText>, partial: Option<(u32, u32)>) -> FetchItem {
        let partial = partial.map(|(first, count)| Partial { first, count });
        FetchItem::Section(FetchSection {
            peek: true,
            section: Section { path: path.to_vec(), text },
            partial,
        })
    }

    #[test]
    fn no_more_is_read_than_asked_for() {
        use FetchItem::{BodyStructure, Envelope, Flags, Rfc822, Rfc822Size, Uid};
        let all = Through { offset: 0, length: 0 };
        for (items, wanted) in [
            (vec![Uid, Flags, Rfc822Size], Reads::Nothing),
            (vec![Uid, Envelope, section(&[], Some(SectionText::Header), None)], Reads::Header),
            (vec![Uid, section(&[], None, None)], Reads::Through(all)),
            (vec![Rfc822, Flags], Reads::Through(all)),
            (vec![section(&[], None, Some((5, 9)))], Reads::Through(Through { offset: 5, length: 9 })),
            (vec![Rfc822, Envelope], Reads::Whole),
            (vec![BodyStructure], Reads::Whole),
            (vec![section(&[1], None, None)], Reads::Whole),
            (vec![section(&[], Some(SectionText::Text), None)], Reads::Whole),
        ] {
            assert_eq!(reads(&items), wanted, "{items:?}");
        }
    }

    #[test]
    fn ranges_end_with_the_message() {
        let part = Through { offset: 5, length: 9 };
        assert_eq!((part.size_of(3), part.size_of(10), part.size_of(100)), (0, 5, 9));
        assert!(part.reaches_end(14) && !part.reaches_end(15));
    }
}
