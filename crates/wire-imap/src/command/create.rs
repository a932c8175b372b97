//! `CREATE mailbox [(USE (attributes))]` (RFC 3501 §6.3.3, RFC 6154 §3).

use crate::reader::{Parsed, Reader, Refusal, expected};
use crate::response::Code;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Without the hierarchy separator that some clients put behind a name that is to have children.
    pub mailbox: String,
    /// `\Sent` …, at most one.
    pub special_use: Option<String>,
}

/// Attributes of RFC 6154 that a folder can be given; `\All` and `\Flagged` are views that are not kept.
const SPECIAL_USES: [&str; 5] = ["\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"];

pub(super) fn parse(reader: &mut Reader<'_>) -> Parsed<Create> {
    let mut mailbox = reader.mailbox()?;
    if mailbox.len() > 1 && mailbox.ends_with('/') {
        mailbox.pop();
    }
    let mut special_use = None;
    if reader.eat(b' ') {
        const WHAT: &str = "expected (USE (\\Sent)) or the like";
        reader.expect(b'(', WHAT)?;
        if !reader.eat_word("USE") {
            return expected(WHAT);
        }
        reader.space()?;
        reader.expect(b'(', WHAT)?;
        if !reader.eat(b')') {
            reader.expect(b'\\', WHAT)?;
            let name = format!("\\{}", reader.atom(WHAT)?);
            let known = SPECIAL_USES.iter().find(|known| known.eq_ignore_ascii_case(&name));
            let (Some(known), true) = (known, reader.eat(b')')) else {
                let code = Some(Code::UseAttr);
                return Err(Refusal::No(
                    code,
                    "a folder takes one of \\Archive \\Drafts \\Junk \\Sent \\Trash".into(),
                ));
            };
            special_use = Some((*known).to_owned());
        }
        reader.expect(b')', WHAT)?;
    }
    Ok(Create { mailbox, special_use })
}
