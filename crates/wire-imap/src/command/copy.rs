//! `COPY set mailbox` (RFC 3501 §6.4.7) and `MOVE set mailbox` (RFC 6851).

use crate::reader::{Parsed, Reader};
use crate::sequence::SequenceSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub messages: SequenceSet,
    /// The set is of uids.
    pub by_uid: bool,
    pub mailbox: String,
}

pub(super) fn parse(reader: &mut Reader<'_>, by_uid: bool) -> Parsed<Copy> {
    let messages = reader.sequence_set()?;
    reader.space()?;
    Ok(Copy { messages, by_uid, mailbox: reader.mailbox()? })
}
