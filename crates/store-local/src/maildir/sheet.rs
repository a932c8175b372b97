//! `postroad-folder`: the numbers of a folder that must never go down, beside its mail.
//!
//! The index may be lost, or lose its last commits in a power cut. So UIDs and MODSEQs are taken in blocks:
//! before the first of a block is used, its end is durable here. Who can't be sure of the index goes on
//! behind the block's end; that leaves a gap, which IMAP allows, and gives no number twice.

use std::path::Path;

use postroad_store::StoreError;

use super::{read_if_there, replace_file};

const FILE: &str = "postroad-folder";
/// UIDs in a block. There are 2^32, and a crash may lose one block.
const UID_BLOCK: u32 = 1000;
const MOD_SEQ_BLOCK: u64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    pub uid_validity: u32,
    /// No UID from here on was ever given.
    pub uid_reserved: u32,
    pub mod_seq_reserved: u64,
    pub special_use: Option<String>,
}

impl Sheet {
    pub fn new(uid_validity: u32, special_use: Option<&str>) -> Self {
        let special_use = special_use.map(str::to_owned);
        Sheet { uid_validity, uid_reserved: 1, mod_seq_reserved: 1, special_use }
    }

    /// The folder's sheet; `None` when there is none or it can't be understood.
    pub fn read(folder: &Path) -> Result<Option<Sheet>, StoreError> {
        let octets = read_if_there(&folder.join(FILE))?;
        Ok(octets.and_then(|octets| Sheet::parse(&String::from_utf8_lossy(&octets))))
    }

    /// Durable when it returns.
    pub fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let special_use = self.special_use.as_deref().unwrap_or("-");
        let text = format!(
            "# Numbers of this folder that must never go down. Do not change or remove this file.\n\
             version 1\nuid-validity {}\nuid-reserved {}\nmod-seq-reserved {}\nspecial-use {special_use}\n",
            self.uid_validity, self.uid_reserved, self.mod_seq_reserved,
        );
        replace_file(&folder.join(FILE), text.as_bytes())
    }

    /// Makes sure that UIDs below `uid_next` and MODSEQs up to `mod_seq` are within durable blocks.
    pub fn reserve(&mut self, folder: &Path, uid_next: u32, mod_seq: u64) -> Result<(), StoreError> {
        if uid_next <= self.uid_reserved && mod_seq < self.mod_seq_reserved {
            return Ok(());
        }
        let mut wider = self.clone();
        if uid_next > self.uid_reserved {
            wider.uid_reserved = uid_next.saturating_add(UID_BLOCK);
        }
        if mod_seq >= self.mod_seq_reserved {
            wider.mod_seq_reserved = mod_seq.saturating_add(MOD_SEQ_BLOCK);
        }
        wider.write(folder)?;
        *self = wider;
        Ok(())
    }

    fn parse(text: &str) -> Option<Sheet> {
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned)
        };
        if value("version")? != "1" {
            return None;
        }
        let sheet = Sheet {
            uid_validity: value("uid-validity")?.parse().ok()?,
            uid_reserved: value("uid-reserved")?.parse().ok()?,
            mod_seq_reserved: value("mod-seq-reserved")?.parse().ok()?,
            special_use: value("special-use").filter(|text| text != "-"),
        };
        (sheet.uid_validity > 0 && sheet.uid_reserved > 0).then_some(sheet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_comes_back_and_blocks_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Sheet::read(dir.path()).unwrap(), None);
        let mut sheet = Sheet::new(1_790_000_000, Some("\\Sent"));
        sheet.reserve(dir.path(), 2, 1).unwrap();
        assert_eq!(Sheet::read(dir.path()).unwrap(), Some(sheet.clone()));
        assert_eq!((sheet.uid_reserved, sheet.mod_seq_reserved), (1002, 10_001));
        let written = std::fs::metadata(dir.path().join(FILE)).unwrap().modified().unwrap();
        sheet.reserve(dir.path(), 1002, 10_000).unwrap();
        assert_eq!(std::fs::metadata(dir.path().join(FILE)).unwrap().modified().unwrap(), written);
        sheet.reserve(dir.path(), 1003, 10_000).unwrap();
        assert_eq!((sheet.uid_reserved, sheet.mod_seq_reserved), (2003, 10_001));
    }

    #[test]
    fn a_sheet_that_makes_no_sense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for text in
            ["", "version 1\n", "version 2\nuid-validity 1\nuid-reserved 1\nmod-seq-reserved 1\n", "\0\0\0"]
        {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(Sheet::read(dir.path()).unwrap(), None, "{text:?}");
        }
    }
}
