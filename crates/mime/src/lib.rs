//! What is inside a message, told from its raw octets: header fields, IMAP's ENVELOPE and BODYSTRUCTURE,
//! the octet range of every section, decoded text, and a matcher for IMAP's SEARCH.
//!
//! A message is read as it came over SMTP: lines end with CRLF. A bare LF is taken as a line end too,
//! because Maildirs that other tools wrote hold such messages. Nothing is ever an error here: broken MIME
//! is common, and a client must be able to read what can be read of it. Whatever a message holds, work
//! and memory grow with its size alone; nesting and part count are bounded in `postroad_types::limits`,
//! and what lies beyond the bounds is one opaque part.
//!
//! Ranges are offsets into the message, so that whoever stores it can hand out a section without reading
//! the rest. [`StructureParser`] takes a message in chunks of any size and keeps none of its body.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod address;
pub mod charset;
pub mod content;
pub mod date;
pub mod encoded_word;
pub mod envelope;
pub mod header;
pub mod search;
pub mod section;
pub mod structure;
pub mod transfer;

pub use address::EnvelopeAddress;
pub use content::{Content, Disposition, Parameter};
pub use envelope::Envelope;
pub use section::{Section, SectionText};
pub use structure::{Body, Part, PartId, Structure, StructureParser};
