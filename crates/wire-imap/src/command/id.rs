//! `ID (field value …)` or `ID NIL` (RFC 2971). What the client says of itself is read and not used: it is
//! free text from outside and decides nothing.

use super::Command;
use crate::reader::{Parsed, Reader, expected};

pub(super) fn parse(reader: &mut Reader<'_>) -> Parsed<Command> {
    if reader.eat_word("NIL") {
        return Ok(Command::Id);
    }
    reader.expect(b'(', "expected NIL or a list of fields and values")?;
    let mut first = true;
    while !reader.eat(b')') {
        if !first {
            reader.space()?;
        }
        first = false;
        reader.string()?;
        reader.space()?;
        if !reader.eat_word("NIL") && reader.string().is_err() {
            return expected("expected a field's value as a string or NIL");
        }
    }
    Ok(Command::Id)
}
