//! Names that the resolver does not look for from the root downwards: what is asked of servers of one's own, what is
//! answered here, and what is blocked.

use std::path::PathBuf;

use postroad_types::Domain;
use serde::{Deserialize, Serialize};

use crate::Recursion;
use crate::dns_peer::{DnsPeer, same_name};
use crate::document::Document;
use crate::units::dns_peers;

/// What follows when the servers of a forward zone do not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardMode {
    /// They are asked first; then the zone's own servers, from the root downwards.
    #[default]
    First,
    /// Nobody else is asked.
    Only,
}

/// `[[dns.recursion.forward]]`: a domain, with all below it, that other resolvers are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// `corp.example`, or `.` for all names.
    pub zone: String,
    /// Resolvers: `"192.0.2.53"`, `"[2001:db8::53]:5353"`.
    #[serde(with = "dns_peers")]
    pub servers: Vec<DnsPeer>,
    /// `first` or `only`.
    #[serde(default)]
    pub mode: ForwardMode,
}

/// `[[dns.recursion.stub]]`: a domain whose own name servers are named here, whoever it is delegated to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stub {
    pub zone: String,
    /// Name servers of the zone.
    #[serde(with = "dns_peers")]
    pub servers: Vec<DnsPeer>,
}

/// What the names of a local zone are answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalKind {
    /// The records as they stand; other names of the zone do not exist.
    #[default]
    Static,
    /// The zone's own records, for every name below it too.
    Redirect,
}

/// `[[dns.recursion.local]]`: a domain that is answered here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalZone {
    pub zone: String,
    /// `static` or `redirect`.
    #[serde(default)]
    pub kind: LocalKind,
    /// Lines of a zone file, names relative to the zone: `["@ A 192.0.2.1", "www CNAME @"]`. Empty: none of its names exist.
    #[serde(default)]
    pub records: Vec<String>,
}

/// What blocked names are answered with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockAnswer {
    /// They do not exist.
    #[default]
    Nxdomain,
    /// The addresses 0.0.0.0 and ::, and no other records.
    Null,
}

/// `[[dns.recursion.block]]`: a file of domains that are not looked for, nor any name below them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockList {
    /// One name a line, or lines of a hosts file (an address and names). `#` begins a comment.
    pub file: PathBuf,
    /// `nxdomain` or `null`.
    #[serde(default)]
    pub answer: BlockAnswer,
}

/// What is wrong with these zones, each said at its place.
pub(crate) fn check(recursion: &Recursion, document: &mut Document<'_>) {
    let forward = recursion.forward.iter().enumerate();
    let forward = forward.map(|(index, it)| ("forward", index, &it.zone, Some(&it.servers)));
    let stub = recursion.stub.iter().enumerate();
    let stub = stub.map(|(index, it)| ("stub", index, &it.zone, Some(&it.servers)));
    let local = recursion.local.iter().enumerate().map(|(index, it)| ("local", index, &it.zone, None));
    let mut seen: Vec<&str> = Vec::new();
    for (list, index, zone, servers) in forward.chain(stub).chain(local) {
        let at = index.to_string();
        if zone != "."
            && let Err(error) = zone.parse::<Domain>()
        {
            let message = format!("{zone:?}: {error}; expected a domain, or \".\" for all names");
            document.problem(&["dns", "recursion", list, &at, "zone"], message);
        }
        if seen.iter().any(|other| same_name(other, zone)) {
            let message = format!("{zone} is forwarded, a stub or local already; expected each zone once");
            document.problem(&["dns", "recursion", list, &at, "zone"], message);
        }
        seen.push(zone);
        let Some(servers) = servers else { continue };
        if servers.is_empty() {
            let message = format!("nobody is named who could be asked for {zone}; expected servers");
            document.problem(&["dns", "recursion", list, &at, "servers"], message);
        }
        if servers.iter().any(|server| server.key.is_some()) {
            let message = "questions are not signed; expected addresses without key:";
            document.problem(&["dns", "recursion", list, &at, "servers"], message);
        }
    }
}
