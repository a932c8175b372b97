//! `LIST [(options)] reference patterns [RETURN (options)]` (RFC 3501 §6.3.8, RFC 5258, RFC 5819, RFC 6154)
//! and `LSUB reference pattern` (RFC 3501 §6.3.9).

use postroad_types::limits::IMAP_LIST_PATTERNS_MAX;

use super::status::{StatusItem, parse_items};
use crate::reader::{Parsed, Reader, Refusal, expected};
use crate::response::Code;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Put in front of each pattern.
    pub reference: String,
    /// With `%` and `*`; never empty.
    pub patterns: Vec<String>,
    /// Only folders that are …
    pub select_subscribed: bool,
    pub select_special_use: bool,
    /// … or that have such ones below.
    pub recursive_match: bool,
    pub return_subscribed: bool,
    pub return_special_use: bool,
    /// RETURN (STATUS (…)): a STATUS response for each folder.
    pub return_status: Vec<StatusItem>,
    /// The command has options: answers follow RFC 5258.
    pub extended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lsub {
    pub reference: String,
    pub pattern: String,
}

pub(super) fn parse(reader: &mut Reader<'_>) -> Parsed<List> {
    let mut list = List::default();
    if reader.eat(b'(') {
        list.extended = true;
        parse_selection(reader, &mut list)?;
        reader.space()?;
    }
    list.reference = parse_reference(reader)?;
    reader.space()?;
    if reader.eat(b'(') {
        list.extended = true;
        while !reader.eat(b')') {
            if list.patterns.len() >= IMAP_LIST_PATTERNS_MAX {
                return Err(Refusal::No(Some(Code::Limit), "too many patterns in one LIST".into()));
            }
            list.patterns.push(reader.list_mailbox()?);
            if reader.peek() != Some(b')') {
                reader.space()?;
            }
        }
        if list.patterns.is_empty() {
            return expected("expected at least one pattern");
        }
    } else {
        list.patterns.push(reader.list_mailbox()?);
    }
    if reader.eat(b' ') {
        list.extended = true;
        if !reader.eat_word("RETURN") {
            return expected("expected RETURN and its options");
        }
        reader.space()?;
        parse_return(reader, &mut list)?;
    }
    list.return_subscribed |= list.select_subscribed;
    Ok(list)
}

pub(super) fn parse_lsub(reader: &mut Reader<'_>) -> Parsed<Lsub> {
    let reference = parse_reference(reader)?;
    reader.space()?;
    Ok(Lsub { reference, pattern: reader.list_mailbox()? })
}

fn parse_reference(reader: &mut Reader<'_>) -> Parsed<String> {
    let raw = reader.astring("expected a reference name, most often \"\"")?;
    Ok(crate::mutf7::decode(&raw).unwrap_or_else(|| String::from_utf8_lossy(&raw).into_owned()))
}

/// Behind the opening parenthesis.
fn parse_selection(reader: &mut Reader<'_>, list: &mut List) -> Parsed<()> {
    while !reader.eat(b')') {
        match () {
            () if reader.eat_word("SUBSCRIBED") => list.select_subscribed = true,
            () if reader.eat_word("SPECIAL-USE") => list.select_special_use = true,
            () if reader.eat_word("RECURSIVEMATCH") => list.recursive_match = true,
            // There are no remote folders, so that all of them is none more.
            () if reader.eat_word("REMOTE") => {}
            () => return expected("expected SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE"),
        }
        if reader.peek() != Some(b')') {
            reader.space()?;
        }
    }
    if list.recursive_match && !list.select_subscribed {
        return expected("RECURSIVEMATCH goes with SUBSCRIBED only");
    }
    Ok(())
}

fn parse_return(reader: &mut Reader<'_>, list: &mut List) -> Parsed<()> {
    reader.expect(b'(', "expected options in parentheses behind RETURN")?;
    while !reader.eat(b')') {
        match () {
            () if reader.eat_word("SUBSCRIBED") => list.return_subscribed = true,
            () if reader.eat_word("SPECIAL-USE") => list.return_special_use = true,
            // Told always.
            () if reader.eat_word("CHILDREN") => {}
            () if reader.eat_word("STATUS") => {
                reader.space()?;
                list.return_status = parse_items(reader)?;
            }
            () => return expected("expected SUBSCRIBED, CHILDREN, SPECIAL-USE or STATUS"),
        }
        if reader.peek() != Some(b')') {
            reader.space()?;
        }
    }
    Ok(())
}
