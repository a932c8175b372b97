//! The octets of DNS: names, record types, record sets, requests in and responses out.
//!
//! Own code beside hickory-proto because the path of an answer from a zone or from the cache must neither
//! decode nor allocate: a record set is kept as the wire's octets (uncompressed) and is copied into the
//! response, names compressed on the way. hickory's types carry the messages to and from other servers
//! (`resolve::upstream`) and everything that is not on that path. No sockets, no clock.

mod fields;
mod key;
mod loc;
mod name;
pub mod options;
mod parts;
mod query;
mod radix;
mod reader;
mod rrset;
mod rtype;
mod show;
mod svcb;
mod template;
mod text;
mod time;
mod writer;

pub(crate) use fields::take_field;
pub use fields::{Field, fields, validate_rdata};
pub use key::KeyBuf;
pub(crate) use name::hash_wire;
pub use name::{Name, NameError};
pub(crate) use parts::{algorithm_name, type_map, types_of};
pub use query::{
    Edns, OPCODE_NOTIFY, OPCODE_QUERY, OPCODE_UPDATE, Question, Request, RequestError, lifetime, pad_query,
};
pub(crate) use radix::{push_base32hex, unbase32hex, unbase64};
pub use reader::{Header, Malformed, Reader, Record};
pub use rrset::{RrSet, RrSetBuilder};
pub use rtype::Rtype;
pub use show::display_rdata;
pub use template::SoaTemplate;
pub(crate) use text::rdata_to_wire;
pub use text::{RdataError, Word, parse_rdata, parse_ttl};
pub(crate) use time::{shown_time, time_of, utc};
pub use writer::{Section, TTL_PLACES_MAX, Writer, header_only, question_only};
