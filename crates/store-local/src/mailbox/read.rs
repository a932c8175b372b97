//! Questions that change nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::mailbox::{Changes, FolderName, FolderNumbers, MessageInfo, UidRange, header_length};
use rusqlite::Connection;

use super::account::Writer;
use crate::index::messages::MessageRow;
use crate::index::{self, FolderRow, messages};
use crate::maildir::keywords::Keywords;
use crate::maildir::listing;
use crate::maildir::place::path_of;

/// A header is read in pieces of so many octets.
const HEADER_PIECE: usize = 16 * 1024;

type Opened = (FolderNumbers, Vec<MessageInfo>);

fn infos_of(rows: Vec<MessageRow>) -> Vec<MessageInfo> {
    rows.into_iter().map(|row| row.info).collect()
}

pub fn open(db: &Connection, row: &FolderRow) -> Result<Opened, StoreError> {
    Ok((row.numbers(), infos_of(messages::all(db, row.id)?)))
}

pub fn open_taking_recent(w: &mut Writer, name: &FolderName) -> Result<Opened, StoreError> {
    let row = w.fresh_folder(name)?;
    if row.first_recent_uid != row.uid_next {
        let taken = FolderRow { first_recent_uid: row.uid_next, ..row.clone() };
        w.index()?.commit(|db| index::put_folder(db, &taken))?;
    }
    open(w.db()?, &row)
}

pub fn changes(
    db: &Connection,
    row: &FolderRow,
    uid_validity: u32,
    since_mod_seq: u64,
) -> Result<Changes, StoreError> {
    row.check_validity(uid_validity)?;
    Ok(Changes {
        numbers: row.numbers(),
        changed: infos_of(messages::changed_since(db, row.id, since_mod_seq)?),
        expunged: messages::expunged_since(db, row, since_mod_seq)?,
    })
}

pub fn infos(
    db: &Connection,
    row: &FolderRow,
    uid_validity: u32,
    uids: &[UidRange],
) -> Result<Vec<MessageInfo>, StoreError> {
    row.check_validity(uid_validity)?;
    Ok(infos_of(messages::chosen(db, row.id, uids)?))
}

/// An open message. Its octets stay readable while it is expunged.
#[derive(Debug)]
pub struct MessageFile {
    file: File,
    size_octets: u64,
    what: String,
}

impl MessageFile {
    pub fn open(folder: &Path, name: &FolderName, message: &MessageRow) -> Result<Self, StoreError> {
        let what = format!("message {} in {name}", message.info.uid);
        let letters =
            if message.in_new { String::new() } else { Keywords::read(folder)?.letters(&message.info.flags) };
        let expected = path_of(folder, &message.base, message.in_new, &letters);
        let file = match File::open(&expected) {
            // Another program renamed it.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => match listing::find(folder, &message.base)?
            {
                Some(path) => File::open(path),
                None => return Err(StoreError::NotFound(format!("{what}: its file is gone"))),
            },
            opened => opened,
        };
        let failed = |e| StoreError::io(&what, &e);
        let file = file.map_err(failed)?;
        let size_octets = file.metadata().map_err(failed)?.len();
        if size_octets != message.info.size_octets {
            return Err(StoreError::Damaged(format!(
                "{what}: its file {} has {size_octets} octets instead of {}",
                expected.display(),
                message.info.size_octets
            )));
        }
        Ok(MessageFile { file, size_octets, what })
    }

    pub fn octets(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let left = usize::try_from(self.size_octets.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut octets = vec![0; length.min(left)];
        self.file
            .read_exact_at(&mut octets, offset)
            .map_err(|e| StoreError::Damaged(format!("{}: reading it: {e}", self.what)))?;
        Ok(octets.into())
    }

    pub fn header(&self) -> Result<Bytes, StoreError> {
        let mut octets = Vec::new();
        loop {
            let piece = self.octets(octets.len() as u64, HEADER_PIECE)?;
            octets.extend_from_slice(&piece);
            if let Some(length) = header_length(&octets) {
                octets.truncate(length);
                return Ok(octets.into());
            }
            if piece.is_empty() {
                return Ok(octets.into());
            }
        }
    }
}
