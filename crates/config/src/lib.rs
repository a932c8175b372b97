//! One `postroad.toml`, a section per role, read once and checked whole before a port is bound.
//!
//! [`Config::load`] reads the file, lets environment variables (`POSTROAD_MTA__SMTP_PORT=2525` sets
//! `mta.smtp_port`) override it, takes relative paths from the file's own folder, and checks the whole:
//! unknown keys, values of the wrong kind, addresses that clash, files that are not there. Every fault is
//! reported with file, line, column, what is wrong and what is expected; no fault hides another section's.
//!
//! Every option is described at its field here and in [`EXAMPLE`], which is what `postroad config example` prints.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod check;
mod dns;
mod dns_peer;
mod dns_routes;
mod dns_signing;
mod document;
mod error;
mod mda;
mod mra;
mod mta;
mod node;
mod policy;
mod tls_server;
mod transport;
pub mod units;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use postroad_types::Role;
use serde::Serialize;

pub use dns::{Dns, QueryLogClients, Recursion, Rotation, Zone};
pub use dns_peer::{DnsKey, DnsPeer, DnsRule, KeyAlgorithm};
pub use dns_routes::{BlockAnswer, BlockList, Forward, ForwardMode, LocalKind, LocalZone, Stub};
pub use dns_signing::{DenialOfExistence, KeyRoles, Signing, SigningAlgorithm};
pub use error::{ConfigError, Place, Problem};
pub use mda::{FullMailbox, Mda};
pub use mra::Mra;
pub use mta::{BareNewline, Mta, TlsOutbound};
pub use node::{Log, LogFormat, Node, Peers, Rpc, Tls, Trace};
pub use policy::{
    CheckAction, Dnsbl, Greylist, OnFailure, Policy, Rates, Rewrite, RewriteSide, Rspamd, Verify,
};
pub use tls_server::TlsServer;
pub use transport::{Pattern, Protocol, Transport, Via};
pub use units::{HostPort, PeerUrl, Rate};

/// A commented file with every option; the options that have a default are commented out and show it.
pub const EXAMPLE: &str = include_str!("../example.toml");

/// The whole configuration of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub node: Node,
    pub log: Log,
    pub trace: Trace,
    pub tls: Tls,
    pub rpc: Rpc,
    pub dns: Dns,
    pub mta: Mta,
    pub mda: Mda,
    pub mra: Mra,
}

impl Config {
    /// A configuration with all defaults for a host of this name.
    pub fn new(node_name: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        let drain = std::time::Duration::from_secs(30);
        Config {
            node: Node { name: node_name.into(), state_dir: state_dir.into(), drain },
            log: Log::default(),
            trace: Trace::default(),
            tls: Tls::default(),
            rpc: Rpc::default(),
            dns: Dns::default(),
            mta: Mta::default(),
            mda: Mda::default(),
            mra: Mra::default(),
        }
    }

    /// Reads and checks `path`, with the process's environment on top.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        // A variable that is no UTF-8 is none of ours; vars() would panic on it.
        let env =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Config::parse_with(&path.display().to_string(), &text, env)
    }

    /// The same for a text that is already there; `name` stands for the file in errors and for relative paths.
    pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
        Config::parse_with(name, text, [])
    }

    /// The same with an environment that is given.
    pub fn parse_with(
        name: &str,
        text: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let sources = document::Sources::new(name, text, env);
        let mut document = document::Document::new(&sources);
        document.check_sections(&["node", "log", "trace", "tls", "rpc", "dns", "mta", "mda", "mra"]);
        let mut config = Config::new("", "");
        match document.section("node") {
            Some(node) => config.node = node,
            None if !document.has("node") => {
                document.problem(
                    &[],
                    "the section [node] is missing; expected [node] with name = \"mx1.example.org\"",
                );
            }
            None => {}
        }
        config.log = document.section("log").unwrap_or_default();
        config.trace = document.section("trace").unwrap_or_default();
        config.tls = document.section("tls").unwrap_or_default();
        config.rpc = document.section("rpc").unwrap_or_default();
        config.dns = document.section("dns").unwrap_or_default();
        config.mta = document.section("mta").unwrap_or_default();
        config.mda = document.section("mda").unwrap_or_default();
        config.mra = document.section("mra").unwrap_or_default();
        config.take_paths_from(Path::new(name).parent().unwrap_or(Path::new("")));
        check::check(&config, &mut document);
        if document.problems.is_empty() { Ok(config) } else { Err(ConfigError::Wrong(document.problems)) }
    }

    /// The configuration as a file that [`Config::parse`] reads back.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }

    /// Relative paths are relative to the folder of the file they stand in.
    fn take_paths_from(&mut self, folder: &Path) {
        let Config { node, trace, tls, rpc, dns, mta, mda, .. } = self;
        let optional = [
            &mut trace.dir,
            &mut tls.cert_file,
            &mut tls.key_file,
            &mut tls.extra_ca_file,
            &mut rpc.ca_file,
            &mut rpc.cert_file,
            &mut rpc.key_file,
            &mut dns.query_log_file,
            &mut dns.recursion.root_hints,
            &mut dns.recursion.trust_anchors_file,
            &mut dns.recursion.cache_file,
            &mut dns.key_dir,
            &mut mta.spool_dir,
            &mut mda.mailbox_dir,
            &mut mda.directory_file,
        ];
        let zones = dns.zones.iter_mut().filter_map(|zone| zone.file.as_mut());
        let secrets = dns.keys.iter_mut().map(|key| &mut key.secret_file);
        let passwords = mta.transport.iter_mut().filter_map(|rule| rule.password_file.as_mut());
        let given = optional.into_iter().filter_map(Option::as_mut);
        for path in given.chain(zones).chain(secrets).chain(passwords).chain([&mut node.state_dir]) {
            *path = folder.join(&*path);
        }
    }

    /// The directory of the services' own CA and certificates.
    pub fn pki_dir(&self) -> PathBuf {
        self.node.state_dir.join("pki")
    }

    /// The directory of timelines.
    pub fn trace_dir(&self) -> PathBuf {
        self.trace.dir.clone().unwrap_or_else(|| self.node.state_dir.join("trace"))
    }

    /// The directory of the queue.
    pub fn spool_dir(&self) -> PathBuf {
        self.mta.spool_dir.clone().unwrap_or_else(|| self.node.state_dir.join("spool"))
    }

    /// The directory of the keys that zones are signed with.
    pub fn key_dir(&self) -> PathBuf {
        self.dns.key_dir.clone().unwrap_or_else(|| self.node.state_dir.join("dns-keys"))
    }

    /// The file that the resolver's cache lies in while the server does not run.
    pub fn dns_cache_file(&self) -> PathBuf {
        self.dns.recursion.cache_file.clone().unwrap_or_else(|| self.node.state_dir.join("dns-cache"))
    }

    /// The directory of the mailboxes.
    pub fn mailbox_dir(&self) -> PathBuf {
        self.mda.mailbox_dir.clone().unwrap_or_else(|| self.node.state_dir.join("mail"))
    }

    /// The database of domains, accounts and aliases.
    pub fn directory_file(&self) -> PathBuf {
        self.mda.directory_file.clone().unwrap_or_else(|| self.node.state_dir.join("directory.sqlite"))
    }

    /// Where `role` serves gRPC on this machine.
    pub fn rpc_listen(&self, role: Role) -> &[SocketAddr] {
        match role {
            Role::Dns => &self.dns.rpc_listen,
            Role::Mta => &self.mta.rpc_listen,
            Role::Mda => &self.mda.rpc_listen,
            Role::Mra => &self.mra.rpc_listen,
            Role::Operator => &[],
        }
    }

    /// Where `role` serves metrics and health on this machine.
    pub fn admin_listen(&self, role: Role) -> &[SocketAddr] {
        match role {
            Role::Dns => &self.dns.admin_listen,
            Role::Mta => &self.mta.admin_listen,
            Role::Mda => &self.mda.admin_listen,
            Role::Mra => &self.mra.admin_listen,
            Role::Operator => &[],
        }
    }

    /// Where `role` is reached: its peers, or else this machine. Empty if it serves nowhere.
    pub fn peers(&self, role: Role) -> Vec<HostPort> {
        let given = match role {
            Role::Dns => &self.rpc.peers.dns,
            Role::Mta => &self.rpc.peers.mta,
            Role::Mda => &self.rpc.peers.mda,
            Role::Mra => &self.rpc.peers.mra,
            Role::Operator => return Vec::new(),
        };
        if given.is_empty() {
            self.rpc_listen(role).iter().map(|address| reachable(*address).into()).collect()
        } else {
            given.iter().map(|url| url.0.clone()).collect()
        }
    }

    /// The recursive resolvers to ask: those given for the mta, or else this node's own.
    pub fn resolvers(&self) -> Vec<HostPort> {
        if self.mta.resolver.is_empty() {
            self.dns.listen.iter().map(|address| reachable(*address).into()).collect()
        } else {
            self.mta.resolver.clone()
        }
    }
}

/// An address to connect to for one that is listened on: the unspecified one is not reachable, loopback is.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        address.set_ip(loopback);
    }
    address
}

/// All IPv4 and all IPv6 addresses of the machine.
fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

fn loopback(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::LOCALHOST, port).into()]
}

fn loopback_networks() -> Vec<IpNet> {
    let v4 = Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).map(IpNet::V4);
    let v6 = Ipv6Net::new(Ipv6Addr::LOCALHOST, 128).map(IpNet::V6);
    v4.into_iter().chain(v6).collect()
}
