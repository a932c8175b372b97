//! Names that the resolver does not look for from the root downwards: what is asked of servers of one's own, what is
//! answered here, and what is blocked.

use std::path::PathBuf;

use postroad_types::Domain;
use serde::{Deserialize, Serialize};

use crate::Recursion;
use crate::dns_peer::same_name;
use crate::dns_server::DnsServer;
use crate::document::Document;
use crate::units::dns_servers;

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
    /// Resolvers: `"192.0.2.53"`, `"[2001:db8::53]:5353"`, and over TLS alone `"tls://192.0.2.53#dns.example"`.
    #[serde(with = "dns_servers")]
    pub servers: Vec<DnsServer>,
    /// `first` or `only`. Without it: `only` if one of the servers is asked over TLS, so that what was to be hidden is not
    /// asked in the open when that server is down; else `first`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ForwardMode>,
}

impl Forward {
    /// What follows when the servers do not answer.
    pub fn mode(&self) -> ForwardMode {
        let unsaid =
            if self.servers.iter().any(DnsServer::is_tls) { ForwardMode::Only } else { ForwardMode::First };
        self.mode.unwrap_or(unsaid)
    }
}

/// `[[dns.recursion.stub]]`: a domain whose own name servers are named here, whoever it is delegated to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stub {
    pub zone: String,
    /// Name servers of the zone, as for a forward zone.
    #[serde(with = "dns_servers")]
    pub servers: Vec<DnsServer>,
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
    /// Nothing: REFUSED, with the extended error "Blocked" (RFC 8914). Nobody is asked for these names.
    Refuse,
}

/// `[[dns.recursion.local]]`: a domain that is answered here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalZone {
    pub zone: String,
    /// `static`, `redirect` or `refuse`.
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
        for (place, server) in servers.iter().enumerate() {
            let path = ["dns", "recursion", list, &at, "servers", &place.to_string()];
            if matches!(server, DnsServer::Plain(peer) if peer.key.is_some()) {
                document.problem(&path, "questions are not signed; expected addresses without key:");
            }
            let same =
                |other: &&DnsServer| other.address() == server.address() && other.is_tls() == server.is_tls();
            if let Some(other) = servers.iter().take(place).find(same) {
                document.problem(&path, format!("{other} is named already; expected each server once"));
            }
        }
    }
    for (index, zone) in recursion.local.iter().enumerate() {
        if zone.kind == LocalKind::Refuse && !zone.records.is_empty() {
            let message = "a zone that is refused has no records; expected none, or kind = \"static\"";
            document.problem(&["dns", "recursion", "local", &index.to_string(), "records"], message);
        }
    }
}
