//! `STORE set [(UNCHANGEDSINCE n)] [+|-]FLAGS[.SILENT] flags` (RFC 3501 §6.4.6, RFC 7162 §3.1.3).

use crate::flag::Flag;
use crate::reader::{Parsed, Reader, expected};
use crate::sequence::SequenceSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub messages: SequenceSet,
    /// The set is of uids.
    pub by_uid: bool,
    pub mode: StoreMode,
    /// No FETCH of what was changed is wanted.
    pub silent: bool,
    pub flags: Vec<Flag>,
    /// Messages that changed after this mod-sequence are left as they are.
    pub unchanged_since: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    Replace,
    Add,
    Remove,
}

pub(super) fn parse(reader: &mut Reader<'_>, by_uid: bool) -> Parsed<Store> {
    const WHAT: &str = "expected FLAGS, +FLAGS or -FLAGS, with .SILENT or without";
    let messages = reader.sequence_set()?;
    reader.space()?;
    let mut unchanged_since = None;
    if reader.eat(b'(') {
        if !reader.eat_word("UNCHANGEDSINCE") {
            return expected("expected (UNCHANGEDSINCE mod-sequence)");
        }
        reader.space()?;
        unchanged_since = Some(reader.number64("expected a mod-sequence")?);
        reader.expect(b')', "expected ) behind the mod-sequence")?;
        reader.space()?;
    }
    let mode = match () {
        () if reader.eat(b'+') => StoreMode::Add,
        () if reader.eat(b'-') => StoreMode::Remove,
        () => StoreMode::Replace,
    };

    let silent = reader.eat_word("FLAGS.SILENT");
    if !silent && !reader.eat_word("FLAGS") {
        return expected(WHAT);
    }
    reader.space()?;
    Ok(Store { messages, by_uid, mode, silent, flags: reader.flags()?, unchanged_since })
}
