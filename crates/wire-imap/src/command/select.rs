//! `SELECT mailbox [(CONDSTORE)]` and `EXAMINE` (RFC 3501 §6.3.1, RFC 7162 §3.1.8).

use crate::reader::{Parsed, Reader, expected};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    pub mailbox: String,
    /// EXAMINE.
    pub read_only: bool,
    /// The client wants mod-sequences from now on.
    pub condstore: bool,
}

pub(super) fn parse(reader: &mut Reader<'_>, read_only: bool) -> Parsed<Select> {
    let mailbox = reader.mailbox()?;
    let mut condstore = false;
    if reader.eat(b' ') {
        const WHAT: &str = "expected (CONDSTORE)";
        reader.expect(b'(', WHAT)?;
        if !reader.eat_word("CONDSTORE") {
            return expected(WHAT);
        }
        reader.expect(b')', WHAT)?;
        condstore = true;
    }
    Ok(Select { mailbox, read_only, condstore })
}
