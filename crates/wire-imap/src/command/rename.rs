//! `RENAME from to` (RFC 3501 §6.3.5).

use crate::reader::{Parsed, Reader};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    pub from: String,
    pub to: String,
}

pub(super) fn parse(reader: &mut Reader<'_>) -> Parsed<Rename> {
    let from = reader.mailbox()?;
    reader.space()?;
    let mut to = reader.mailbox()?;
    if to.len() > 1 && to.ends_with('/') {
        to.pop();
    }
    Ok(Rename { from, to })
}
