//! `GETQUOTA root` (RFC 9208 §4.1).

use super::Command;
use crate::reader::{Parsed, Reader};

pub(super) fn parse_root(reader: &mut Reader<'_>) -> Parsed<Command> {
    Ok(Command::GetQuota(reader.astring("expected the name of a quota root")?.into_owned()))
}
