//! Parts of a message that is too large to be held: its structure is found in one pass without keeping it,
//! then each part is passed through by its range. Structures are remembered, as clients ask for the parts one
//! by one.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use postroad_mime::section::Located;
use postroad_mime::{Structure, StructureParser};
use postroad_types::TraceId;
use postroad_types::limits::IMAP_STRUCTURES_MAX;
use postroad_wire_imap::FetchWriter;
use postroad_wire_imap::command::FetchItem;
use postroad_wire_imap::command::fetch::FetchSection;
use postroad_wire_imap::view::Numbered;

use super::stream::Octets;
use super::{BUFFER_OCTETS, Fetching, broken_off};
use crate::imap::driver::{Driver, Failure};
use crate::mailbox::Part;

/// Structures of large messages, by uid; a message never changes.
#[derive(Debug, Default)]
pub(in crate::imap) struct Structures(VecDeque<(u32, Arc<Large>)>);

/// What is kept of a large message.
#[derive(Debug)]
struct Large {
    structure: Structure,
    size: u64,
    trace: Option<TraceId>,
}

impl Structures {
    fn get(&self, uid: u32) -> Option<Arc<Large>> {
        self.0.iter().find(|(known, _)| *known == uid).map(|(_, large)| large.clone())
    }

    fn put(&mut self, uid: u32, large: Arc<Large>) {
        if self.0.len() >= IMAP_STRUCTURES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((uid, large));
    }
}

impl Driver {
    pub(super) async fn fetch_large(
        &mut self,
        fetching: &mut Fetching,
        message: Numbered,
    ) -> Result<(), Failure> {
        let Some(large) = self.large(fetching, message).await? else { return Ok(()) };
        let Some(mut writer) = self.begin(fetching, message.uid) else { return Ok(()) };
        let root = large.structure.part(Structure::ROOT);
        for item in fetching.plan.items.clone() {
            match &item {
                FetchItem::Envelope => {
                    if let Some(envelope) = &root.envelope {
                        writer.envelope(envelope);
                    }
                }
                FetchItem::Body => writer.body(&large.structure),
                FetchItem::BodyStructure => writer.body_structure(&large.structure),
                FetchItem::Rfc822 => {
                    self.range(&mut writer, message, 0..large.structure.size(), &item).await?
                }
                FetchItem::Rfc822Header => {
                    self.range(&mut writer, message, root.header.clone(), &item).await?
                }
                FetchItem::Rfc822Text => self.range(&mut writer, message, root.body.clone(), &item).await?,
                FetchItem::Section(wanted) => {
                    self.section(&mut writer, message, &large.structure, wanted).await?
                }
                _ => {}
            }
        }
        fetching.out = writer.finish();
        fetching.answered += 1;
        if fetching.plan.has_whole_message {
            self.trace_fetch(large.trace, message.uid, large.size);
        }
        self.write_if_full(fetching).await
    }

    /// The message's structure, found now if it is not known; `None` if it is gone or can't be read.
    async fn large(
        &mut self,
        fetching: &mut Fetching,
        message: Numbered,
    ) -> Result<Option<Arc<Large>>, Failure> {
        if let Some(known) = self.selected_mut()?.structures.get(message.uid) {
            return Ok(Some(known));
        }
        let mut stream = self.open(&[message], Part::Full, 0, 0).await?;
        let Some(info) = stream.next_message().await? else { return Ok(None) };
        let mut parser = StructureParser::new();
        loop {
            match stream.next_octets().await? {
                Octets::Chunk(chunk) => parser.push(&chunk),
                Octets::End => break,
                Octets::Damaged(why) => {
                    self.report_damaged(fetching, message.uid, &why);
                    return Ok(None);
                }
            }
        }
        let large = Arc::new(Large { structure: parser.finish(), size: info.size, trace: info.trace });
        self.selected_mut()?.structures.put(message.uid, large.clone());
        Ok(Some(large))
    }

    async fn section(
        &mut self,
        writer: &mut FetchWriter,
        message: Numbered,
        structure: &Structure,
        wanted: &FetchSection,
    ) -> Result<(), Failure> {
        match wanted.section.locate(structure) {
            None => writer.section(wanted, None),
            Some(Located::FieldsOf(range)) => {
                let header = self.read_range(message, range).await?;
                let fields = wanted.section.select_fields(&header);
                writer.section(wanted, Some(super::write::cut(&fields, wanted.partial)));
            }
            Some(Located::Whole(range)) => {
                let range = match wanted.partial {
                    Some(partial) => {
                        let first = range.start.saturating_add(partial.first as usize).min(range.end);
                        first..first.saturating_add(partial.count as usize).min(range.end)
                    }
                    None => range,
                };
                self.range(writer, message, range, &FetchItem::Section(wanted.clone())).await?;
            }
        }
        Ok(())
    }

    /// Announces a range of the message as `item`, and passes it through.
    async fn range(
        &mut self,
        writer: &mut FetchWriter,
        message: Numbered,
        range: Range<usize>,
        item: &FetchItem,
    ) -> Result<(), Failure> {
        let size = range.len() as u64;
        match item {
            FetchItem::Rfc822 => writer.begin_rfc822("RFC822", size),
            FetchItem::Rfc822Header => writer.begin_rfc822("RFC822.HEADER", size),
            FetchItem::Rfc822Text => writer.begin_rfc822("RFC822.TEXT", size),
            FetchItem::Section(wanted) => writer.begin_section(wanted, size),
            _ => return Ok(()),
        }
        if size == 0 {
            return Ok(());
        }
        let broken = |error: crate::mailbox::MailboxError| broken_off(&error.to_string());
        let mut stream = self.open(&[message], Part::Full, range.start as u64, size).await?;
        if stream.next_message().await.map_err(broken)?.is_none() {
            return Err(broken_off("it was expunged in between"));
        }
        loop {
            match stream.next_octets().await.map_err(broken)? {
                Octets::Chunk(chunk) => writer.chunk(&chunk),
                Octets::End => break,
                Octets::Damaged(why) => return Err(broken_off(&why)),
            }
            if writer.buffered() >= BUFFER_OCTETS {
                self.conn.write(&writer.take()).await?;
            }
        }
        match writer.missing() {
            0 => Ok(()),
            _ => Err(broken_off("the message is shorter than it was")),
        }
    }

    /// A header inside the message, in memory.
    async fn read_range(&mut self, message: Numbered, range: Range<usize>) -> Result<Vec<u8>, Failure> {
        let mut octets = Vec::with_capacity(range.len());
        if range.is_empty() {
            return Ok(octets);
        }
        let mut stream = self.open(&[message], Part::Full, range.start as u64, range.len() as u64).await?;
        if stream.next_message().await?.is_some() {
            loop {
                match stream.next_octets().await? {
                    Octets::Chunk(chunk) => octets.extend_from_slice(&chunk),
                    Octets::End => break,
                    Octets::Damaged(why) => return Err(broken_off(&why)),
                }
            }
        }
        Ok(octets)
    }
}
