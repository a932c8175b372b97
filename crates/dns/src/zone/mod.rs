//! A zone in memory: an ordered tree of names, built aside from a file and never changed afterwards.
//!
//! Names are keyed so that the octet order of keys is the canonical order of names ([`crate::wire::KeyBuf`]).
//! Empty non-terminals (RFC 4592 section 2.2.2) are nodes of their own. So a walk from the apex down to the first label
//! that is missing ([`index`]) finds everything an answer depends on: the name itself, its closest encloser, and the
//! zone cut or DNAME above it, as each node knows the topmost one at or above itself. The tree gives the order of names
//! for transfers, and neighbours.

mod build;
mod check;
mod commit;
mod delta;
mod draft;
mod export;
mod generate;
mod grow;
mod hashed;
mod hosted;
mod index;
mod lexer;
mod node;
mod ordered;
mod parser;
mod proofs;
mod received;
pub mod serial;
mod set;
mod summary;
mod update;
mod version;
mod walk;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use build::{check_zone_text, load_zone_file, zone_from_text};
pub use commit::{Commit, CommitError, difference, zone_replaced};
pub use delta::{Change, Delta, History};
pub use export::save_zone;
pub use hosted::{ChangeError, Hosted, LoadError, ReloadError, SigningError, ZoneSource};
pub use node::{Node, Owner};
pub(crate) use ordered::NodeChanges;
pub(crate) use parser::parse_records;
pub use parser::{ZoneError, ZoneErrors};
pub use proofs::Proof;
pub use received::{Changes, zone_from_records, zone_with_changes};
pub use set::Zones;
pub(crate) use summary::Summary;
pub use update::Update;
pub use walk::RecordPlace;

use crate::dnssec::hashed::hash_of_owner;
use crate::wire::{KeyBuf, Name, RrSet, Rtype, SoaTemplate};

/// What a zone says about a name.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'z> {
    /// The name exists and is authoritative.
    Found(&'z Node),
    /// The name does not exist; this wildcard answers for it (RFC 4592).
    Wildcard(&'z Node),
    /// The name is at or below a zone cut: this node holds the NS records.
    Delegated(&'z Node),
    /// The name is below this node, which holds a DNAME (RFC 6672).
    Dname(&'z Node),
    /// The name does not exist.
    Missing,
}

/// A zone that can be served.
#[derive(Debug)]
pub struct Zone {
    apex: Name,
    /// Octets of an absolute key that come before the part relative to the apex.
    apex_key: Box<[u8]>,
    /// Some name in it is a wildcard.
    has_wildcards: bool,
    /// By the part of the key after the apex's.
    nodes: ordered::Ordered,
    index: index::Index,
    /// NSEC3 records: their owners are no names that anybody could ask for (RFC 5155 section 7.2.8).
    hashed: hashed::Hashed,
    denial: hashed::Denial,
    records: u64,
    names: u64,
    /// Seconds that negative answers may be kept (RFC 2308 section 3).
    negative_ttl: u32,
    negative_soa: Option<SoaTemplate>,
    serial: u32,
    file: PathBuf,
    loaded_at: SystemTime,
    warnings: Vec<ZoneError>,
    history: History,
    /// When the file was changed last, as it was read or written.
    file_time: Option<SystemTime>,
    /// The zone can be answered from.
    available: bool,
}

impl Zone {
    /// A zone that should be served and cannot be: it has not come yet, or its copy is too old (RFC 1034 section
    /// 4.3.5).
    pub fn unavailable(apex: Name, file: PathBuf) -> Self {
        Self {
            apex_key: apex.key().as_bytes().into(),
            apex,
            has_wildcards: false,
            index: index::Index::of(&ordered::Ordered::default()),
            negative_soa: None,
            nodes: ordered::Ordered::default(),
            hashed: hashed::Hashed::default(),
            denial: hashed::Denial::Plain,
            records: 0,
            names: 0,
            negative_ttl: 0,
            serial: 0,
            file,
            loaded_at: SystemTime::now(),
            warnings: Vec::new(),
            history: History::default(),
            file_time: None,
            available: false,
        }
    }

    /// False for a zone that should be served and cannot be; it has no records, and questions for it fail.
    pub fn is_available(&self) -> bool {
        self.available
    }

    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The SOA's serial number.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Number of records.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Number of names that own records.
    pub fn names(&self) -> u64 {
        self.names
    }

    /// The file it was read from; empty for a zone from a text.
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn loaded_at(&self) -> SystemTime {
        self.loaded_at
    }

    /// What is allowed but probably not meant.
    pub fn warnings(&self) -> &[ZoneError] {
        &self.warnings
    }

    /// The least of the SOA's TTL and its minimum field, in seconds: what a negative answer's SOA carries.
    pub fn negative_ttl(&self) -> u32 {
        self.negative_ttl
    }

    /// The SOA of negative answers, made ready.
    pub fn negative_soa(&self) -> Option<&SoaTemplate> {
        self.negative_soa.as_ref()
    }

    /// What has changed since earlier versions, as far as it is kept.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The zone's SOA.
    pub fn soa(&self) -> Option<&RrSet> {
        self.apex_node()?.rrset(Rtype::SOA)
    }

    /// The node of the apex, which has SOA and NS.
    pub fn apex_node(&self) -> Option<&Node> {
        self.index.exact(&[]).map(|node| &**node)
    }

    /// All names with records: in canonical order, and behind them the hashed ones by their hashes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        let names = self.nodes.iter().map(|node| &**node).filter(|node| !node.is_empty());
        names.chain(self.hashed.nodes().iter().map(|node| &**node))
    }

    /// Whether the zone is signed: its SOA has a signature.
    pub fn is_signed(&self) -> bool {
        self.apex_node().is_some_and(|apex| apex.signatures(Rtype::SOA).is_some())
    }

    /// The node that holds the set of `owner` and `rtype`, be it below a zone cut, or a hashed name's.
    pub fn node(&self, owner: &Name, rtype: Rtype) -> Option<&Node> {
        if rtype == Rtype::NSEC3 {
            return self.hashed.exact(&hash_of_owner(owner, &self.apex)?);
        }
        self.glue(&owner.key())
    }

    fn relative<'k>(&self, key: &'k KeyBuf) -> Option<&'k [u8]> {
        key.as_bytes().strip_prefix(&self.apex_key[..])
    }

    /// What the zone says about the name of `key` when it is asked for `rtype`. DS records belong to the upper side
    /// of a zone cut (RFC 4035 section 3.1.4.1). A name outside the zone is `Missing`.
    pub fn lookup(&self, key: &KeyBuf, rtype: Rtype) -> Lookup<'_> {
        let Some(name) = self.relative(key) else { return Lookup::Missing };
        let Some((encloser, node)) = self.index.closest(name) else { return Lookup::Missing };
        let exact = encloser == name.len();
        let cut = usize::from(node.cut);
        let dname = usize::from(node.dname).checked_sub(1);
        let has_cut = cut > 0 && cut <= encloser;
        // What lies below a cut is not this zone's: a DNAME counts only above it.
        if let Some(dname) = dname.filter(|length| *length <= encloser && *length < name.len())
            && !(has_cut && cut <= dname)
            && let Some(node) = self.index.exact(&name[..dname])
        {
            return Lookup::Dname(node);
        }
        if has_cut && !(rtype == Rtype::DS && cut == name.len()) {
            return self.index.exact(&name[..cut]).map_or(Lookup::Missing, |node| Lookup::Delegated(node));
        }
        if exact {
            return Lookup::Found(node);
        }
        if !self.has_wildcards {
            return Lookup::Missing;
        }
        let wildcard = key.clone().truncated(self.apex_key.len() + encloser).wildcard_child();
        match self.relative(&wildcard).and_then(|wildcard| self.index.exact(wildcard)) {
            Some(node) => Lookup::Wildcard(node),
            None => Lookup::Missing,
        }
    }

    /// The node of exactly this name, be it below a zone cut: for glue.
    pub fn glue(&self, key: &KeyBuf) -> Option<&Node> {
        self.index.exact(self.relative(key)?).map(|node| &**node)
    }
}

#[cfg(test)]
mod tests;
