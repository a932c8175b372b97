//! `[dns]`: the name server, for our own zones and as resolver of our own hosts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::dns_peer::{DnsKey, DnsPeer, DnsRule};
use crate::dns_routes::{BlockList, Forward, LocalZone, Stub};
use crate::dns_signing::Signing;
use crate::units::{dns_peers, dns_rules, duration, listen, networks, size};

/// In which order the records of one set are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    /// Each answer begins one record later: round robin.
    #[default]
    Cyclic,
    /// By chance.
    Random,
    /// As in the zone file.
    Fixed,
}

/// How much of its clients' addresses the query log tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryLogClients {
    #[default]
    Full,
    /// The network: /24, /56.
    Network,
    /// Nothing.
    None,
}

/// `[[dns.zones]]`: a zone that we answer for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// The zone's name: `alpha.test`, or `.` for a root of one's own.
    pub origin: String,
    /// The zone file (RFC 1035 section 5). With `primaries` it is written by the server, and may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Servers that the zone is had from; empty: it is ours, and stands in `file`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "dns_peers")]
    pub primaries: Vec<DnsPeer>,
    /// Who may have the whole zone (AXFR, IXFR). Empty: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "dns_rules")]
    pub transfer_to: Vec<DnsRule>,
    /// Who may change the zone (RFC 2136); each with a key. Empty: nobody. The server then writes `file`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "dns_rules")]
    pub update_from: Vec<DnsRule>,
    /// Names at or below which the mail roles may put records of their own, such as `_domainkey` or `_25._tcp`: they fit
    /// wherever these labels stand in a name of the zone. Empty: nowhere. The server then writes `file`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mail_names: Vec<String>,
    /// Servers that are told when the zone has changed (RFC 1996).
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "dns_peers")]
    pub notify: Vec<DnsPeer>,
    /// The zone is signed by this policy of `[dns.signing]`; `default` needs none there. Without it: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<String>,
}

impl Zone {
    /// A zone of ours that nobody else has.
    pub fn in_file(origin: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Zone { origin: origin.into(), file: Some(file.into()), ..Zone::default() }
    }
}

/// `[dns]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// DNS over UDP and TCP.
    #[serde(with = "listen")]
    pub listen: Vec<SocketAddr>,
    /// DNS over TLS (RFC 7858), with the certificate of `[tls]`. The usual port is 853.
    #[serde(with = "listen")]
    pub tls_listen: Vec<SocketAddr>,
    /// DNS over HTTPS (RFC 8484), the same way. The usual port is 443.
    #[serde(with = "listen")]
    pub https_listen: Vec<SocketAddr>,
    /// Where DNS is found there; every other path is answered with 404.
    pub https_path: String,
    /// DNS over QUIC (RFC 9250), the same way. The usual port is UDP 853.
    #[serde(with = "listen")]
    pub quic_listen: Vec<SocketAddr>,
    /// gRPC: Zones, Cache, Trace.
    #[serde(with = "listen")]
    pub rpc_listen: Vec<SocketAddr>,
    /// HTTP: /metrics, /healthz, /readyz. It has no access control: keep it off the Internet.
    #[serde(with = "listen")]
    pub admin_listen: Vec<SocketAddr>,
    /// `cyclic`, `random` or `fixed`.
    pub rotation: Rotation,
    /// Connections at a time: TCP, TLS, HTTPS and QUIC together. One client may hold a fourth of them.
    pub connections_max: usize,
    /// A connection without a question for so long is closed.
    #[serde(with = "duration")]
    pub tcp_idle: Duration,
    /// Largest UDP answer, in octets; longer ones are truncated. 1232 passes every path unfragmented.
    pub udp_payload_max: u16,
    /// What the server calls itself to askers that want to know (RFC 5001); empty: nothing.
    pub nsid: String,
    /// Answers a second over UDP to one network (/24, /56) of strangers, with twice as many at once; 0: no bound. Half of
    /// the others are sent empty and truncated, so that who really asked comes back over TCP.
    pub answers_per_second: u32,
    /// Networks whose answers are not counted, beside loopback and those that may have recursion.
    #[serde(with = "networks")]
    pub answers_uncounted: Vec<IpNet>,
    /// File with a line for every question and what became of it. Without it none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_log_file: Option<PathBuf>,
    /// `full`, `network` (/24, /56) or `none`.
    pub query_log_clients: QueryLogClients,
    /// Secrets that are shared with other name servers.
    pub keys: Vec<DnsKey>,
    pub zones: Vec<Zone>,
    /// The keys that zones are signed with. Without it `dns-keys` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_dir: Option<PathBuf>,
    /// Policies of signing, by their names. There is always one named `default`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub signing: BTreeMap<String, Signing>,
    pub recursion: Recursion,
}

impl Dns {
    /// The policy by which a zone is signed; `None` for one that is not, or names a policy that there is not.
    pub fn signing_of(&self, zone: &Zone) -> Option<Signing> {
        let name = zone.sign.as_deref()?;
        let default = || (name == "default").then(Signing::default);
        self.signing.get(name).cloned().or_else(default)
    }
}

impl Default for Dns {
    fn default() -> Self {
        Dns {
            listen: crate::everywhere(53),
            tls_listen: Vec::new(),
            https_listen: Vec::new(),
            https_path: "/dns-query".to_owned(),
            quic_listen: Vec::new(),
            rpc_listen: crate::loopback(7601),
            admin_listen: crate::loopback(7701),
            rotation: Rotation::Cyclic,
            connections_max: 1000,
            tcp_idle: Duration::from_secs(10),
            udp_payload_max: 1232,
            nsid: String::new(),
            answers_per_second: 1000,
            answers_uncounted: Vec::new(),
            query_log_file: None,
            query_log_clients: QueryLogClients::Full,
            keys: Vec::new(),
            zones: Vec::new(),
            key_dir: None,
            signing: BTreeMap::from([("default".to_owned(), Signing::default())]),
            recursion: Recursion::default(),
        }
    }
}

/// `[dns.recursion]`: answering for names of others, by asking from the root downwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recursion {
    /// Networks that may ask; all others are answered from our own zones only. Empty: no recursion at all.
    pub allow: Vec<IpNet>,
    /// Zone file with the root's name servers and their addresses. Without it the Internet's, built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_hints: Option<PathBuf>,
    /// Port that other name servers are asked on.
    pub upstream_port: u16,
    /// Local addresses that questions are sent from, IPv4 and IPv6; empty: as the system chooses.
    pub source: Vec<std::net::IpAddr>,
    /// Networks whose addresses are never asked, however they are delegated to: `["10.0.0.0/8"]`.
    pub deny_servers: Vec<IpNet>,
    /// Networks whose addresses are taken out of answers that come from others, so that a stranger's name never leads
    /// inside: `["10.0.0.0/8", "192.168.0.0/16"]`.
    pub private_addresses: Vec<IpNet>,
    /// Domains that may have such addresses all the same.
    pub private_names: Vec<String>,
    /// Whether answers are validated (DNSSEC), as far as there are trust anchors; without, clients are not given signatures
    /// of others either.
    pub dnssec: bool,
    /// Trust anchors as DS or DNSKEY records of a zone file: `["corp.test. DS 12345 13 2 B4C8…"]`. Those of the Internet's
    /// root are built in and used as long as `root_hints` is not set; anchors for `.` take their place.
    pub trust_anchors: Vec<String>,
    /// A file of such records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_anchors_file: Option<PathBuf>,
    /// Domains that are not validated, with all below them (RFC 7646): `["corp.example"]`.
    pub insecure: Vec<String>,
    /// Bound of the cache in memory.
    #[serde(with = "size")]
    pub cache_bytes: u64,
    /// Whether the cache is written to a file when the server stops, and read back when it starts: under the same settings
    /// of `[dns.recursion]`.
    pub keep_cache: bool,
    /// That file. Without it `dns-cache` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_file: Option<PathBuf>,
    /// An answer is forgotten after so long, however long its TTL is.
    #[serde(with = "duration")]
    pub max_ttl: Duration,
    /// An answer is kept at least so long, however short its TTL is; one that is signed, and was validated, no longer than
    /// its signature says (RFC 4035 section 5.3.3).
    #[serde(with = "duration")]
    pub min_ttl: Duration,
    /// "There is no such name" is forgotten after so long (RFC 2308 section 5 advises 1 to 3 hours).
    #[serde(with = "duration")]
    pub max_negative_ttl: Duration,
    /// An answer whose time is over may still be given for so long, if nobody can be asked (RFC 8767); 0s: not at all.
    #[serde(with = "duration")]
    pub max_stale: Duration,
    /// One question to one name server takes at most so long.
    #[serde(with = "duration")]
    pub query_timeout: Duration,
    /// One question of a client takes at most so long, however many servers are asked.
    #[serde(with = "duration")]
    pub resolve_timeout: Duration,
    /// Questions of clients that are worked on at a time; more are refused with SERVFAIL.
    pub concurrency_max: usize,
    /// Of these, questions of one client (an IPv4 address, an IPv6 /64). Loopback and `answers_uncounted` together, and all
    /// others together, have three quarters of `concurrency_max` at most.
    pub concurrency_per_client_max: usize,
    /// Questions a second of one network of clients (/24, /56) that other servers must be asked for, with twice as many at
    /// once; 0: no bound. Of the others half are answered truncated over UDP and half not at all; over TCP they are
    /// refused. Loopback and `answers_uncounted` are not counted.
    pub questions_per_second: u32,
    pub forward: Vec<Forward>,
    pub stub: Vec<Stub>,
    pub local: Vec<LocalZone>,
    pub block: Vec<BlockList>,
}

impl Default for Recursion {
    fn default() -> Self {
        Recursion {
            allow: crate::loopback_networks(),
            root_hints: None,
            upstream_port: 53,
            source: Vec::new(),
            deny_servers: Vec::new(),
            private_addresses: Vec::new(),
            private_names: Vec::new(),
            dnssec: true,
            trust_anchors: Vec::new(),
            trust_anchors_file: None,
            insecure: Vec::new(),
            cache_bytes: 64 << 20,
            keep_cache: true,
            cache_file: None,
            max_ttl: Duration::from_secs(86_400),
            min_ttl: Duration::ZERO,
            max_negative_ttl: Duration::from_secs(3600),
            max_stale: Duration::from_secs(86_400),
            query_timeout: Duration::from_millis(1500),
            resolve_timeout: Duration::from_secs(10),
            concurrency_max: 1000,
            concurrency_per_client_max: 500,
            questions_per_second: 0,
            forward: Vec::new(),
            stub: Vec::new(),
            local: Vec::new(),
            block: Vec::new(),
        }
    }
}
