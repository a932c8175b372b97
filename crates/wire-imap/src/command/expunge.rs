//! `UID EXPUNGE set` (RFC 4315 §2.1).

use crate::reader::{Parsed, Reader};
use crate::sequence::SequenceSet;

pub(super) fn parse_uids(reader: &mut Reader<'_>) -> Parsed<SequenceSet> {
    reader.sequence_set()
}
