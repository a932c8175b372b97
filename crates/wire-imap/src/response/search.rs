//! SEARCH and ESEARCH responses (RFC 3501 §7.2.5, RFC 4731, RFC 7162 §3.1.5).

use super::write::{string, text};
use crate::command::search::SearchReturn;
use crate::sequence::Compact;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchResult {
    /// Rising message numbers, or uids.
    pub found: Vec<u32>,
    /// Of the ESEARCH response that was asked for: its tag, options, and whether the numbers are uids.
    pub extended: Option<Extended>,
    /// The highest mod-sequence among what was found, if the search asked for mod-sequences.
    pub mod_seq: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extended {
    pub tag: Vec<u8>,
    pub options: SearchReturn,
    pub by_uid: bool,
}

impl SearchResult {
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        match &self.extended {
            None => self.write_plain(out),
            Some(extended) => self.write_extended(out, extended),
        }
        out.extend_from_slice(b"\r\n");
    }

    fn write_plain(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"* SEARCH");
        for number in &self.found {
            text(out, format_args!(" {number}"));
        }
        if let (Some(mod_seq), false) = (self.mod_seq, self.found.is_empty()) {
            text(out, format_args!(" (MODSEQ {mod_seq})"));
        }
    }

    fn write_extended(&self, out: &mut Vec<u8>, extended: &Extended) {
        out.extend_from_slice(b"* ESEARCH (TAG ");
        string(out, &extended.tag);
        out.push(b')');
        if extended.by_uid {
            out.extend_from_slice(b" UID");
        }
        let options = extended.options;
        if let (true, Some(min)) = (options.min, self.found.first()) {
            text(out, format_args!(" MIN {min}"));
        }
        if let (true, Some(max)) = (options.max, self.found.last()) {
            text(out, format_args!(" MAX {max}"));
        }
        if options.all && !self.found.is_empty() {
            text(out, format_args!(" ALL {}", Compact(&self.found)));
        }
        if options.count {
            text(out, format_args!(" COUNT {}", self.found.len()));
        }
        if let (Some(mod_seq), false) = (self.mod_seq, self.found.is_empty()) {
            text(out, format_args!(" MODSEQ {mod_seq}"));
        }
    }
}
