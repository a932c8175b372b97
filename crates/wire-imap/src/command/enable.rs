//! `ENABLE extension …` (RFC 5161). CONDSTORE (RFC 7162) is the one that is known; others are passed over.

use super::Command;
use crate::reader::{Parsed, Reader};

pub(super) fn parse(reader: &mut Reader<'_>) -> Parsed<Command> {
    let mut condstore = false;
    loop {
        let name = reader.atom("expected the name of an extension")?;
        condstore |= name.eq_ignore_ascii_case("CONDSTORE");
        if !reader.eat(b' ') {
            return Ok(Command::Enable { condstore });
        }
    }
}
