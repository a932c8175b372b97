//! Whom to ask about a zone: its name servers as the zone above names them, with glue; and the root's.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use postroad_types::limits::{DNS_ADDRESSES_PER_SERVER_MAX, DNS_SERVERS_PER_ZONE_MAX};

use crate::wire::{Name, Rtype};
use crate::zone::{ZoneError, ZoneErrors, parse_records};

/// A name server of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    pub name: Name,
    /// Glue; empty when the zone above gave none that may be believed.
    pub addresses: Vec<IpAddr>,
}

/// A zone and its name servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    pub zone: Name,
    pub servers: Vec<NameServer>,
    /// Seconds.
    pub ttl: u32,
}

impl Delegation {
    /// Takes name servers and addresses within the bounds of what is looked at.
    pub fn new(
        zone: Name,
        ttl: u32,
        names: impl IntoIterator<Item = Name>,
        glue: impl IntoIterator<Item = (Name, IpAddr)>,
    ) -> Self {
        let mut servers: Vec<NameServer> = Vec::new();
        for name in names {
            if servers.len() < DNS_SERVERS_PER_ZONE_MAX && !servers.iter().any(|server| server.name == name) {
                servers.push(NameServer { name, addresses: Vec::new() });
            }
        }
        for (name, address) in glue {
            let server = servers.iter_mut().find(|server| server.name == name);
            if let Some(server) =
                server.filter(|server| server.addresses.len() < DNS_ADDRESSES_PER_SERVER_MAX)
                && !server.addresses.contains(&address)
            {
                server.addresses.push(address);
            }
        }
        Self { zone, servers, ttl }
    }

    /// The root's servers, of which only the addresses are known.
    pub fn root(addresses: &[IpAddr]) -> Self {
        let root = Name::root();
        let glue =
            addresses.iter().take(DNS_SERVERS_PER_ZONE_MAX).enumerate().filter_map(|(index, address)| {
                Some((root.with_label(format!("hint-{index}").as_bytes()).ok()?, *address))
            });
        let glue: Vec<(Name, IpAddr)> = glue.collect();
        Self::new(root, 0, glue.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), glue)
    }

    /// The Internet's root servers (as of 2026, IANA's named.root).
    pub fn internet_root() -> Self {
        const ROOT_SERVERS: [(&str, &str); 26] = [
            ("a", "198.41.0.4"),
            ("b", "170.247.170.2"),
            ("c", "192.33.4.12"),
            ("d", "199.7.91.13"),
            ("e", "192.203.230.10"),
            ("f", "192.5.5.241"),
            ("g", "192.112.36.4"),
            ("h", "198.97.190.53"),
            ("i", "192.36.148.17"),
            ("j", "192.58.128.30"),
            ("k", "193.0.14.129"),
            ("l", "199.7.83.42"),
            ("m", "202.12.27.33"),
            ("a", "2001:503:ba3e::2:30"),
            ("b", "2801:1b8:10::b"),
            ("c", "2001:500:2::c"),
            ("d", "2001:500:2d::d"),
            ("e", "2001:500:a8::e"),
            ("f", "2001:500:2f::f"),
            ("g", "2001:500:12::d0d"),
            ("h", "2001:500:1::53"),
            ("i", "2001:7fe::53"),
            ("j", "2001:503:c27::2:30"),
            ("k", "2001:7fd::1"),
            ("l", "2001:500:9f::42"),
            ("m", "2001:dc3::35"),
        ];
        let glue: Vec<(Name, IpAddr)> = ROOT_SERVERS
            .iter()
            .filter_map(|(letter, address)| {
                Some((format!("{letter}.root-servers.net.").parse().ok()?, address.parse().ok()?))
            })
            .collect();
        Self::new(Name::root(), 0, glue.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), glue)
    }

    /// The root's servers from a hints file: a zone file with NS records of the root and A and AAAA records of the
    /// hosts they name.
    pub fn root_from_hints(text: &[u8], file: &Path) -> Result<Self, ZoneErrors> {
        let no_include =
            |_: &Path| Err(io::Error::new(io::ErrorKind::Unsupported, "$INCLUDE is not taken in root hints"));
        let records = parse_records(text, file, &Name::root(), &no_include)?;
        let mut names = Vec::new();
        let mut glue: BTreeMap<usize, (Name, IpAddr)> = BTreeMap::new();
        for (index, (owner, rtype, rdata)) in records.into_iter().enumerate() {
            match rtype {
                Rtype::NS if owner.is_root() => names.extend(Name::from_wire(&rdata)),
                Rtype::A | Rtype::AAAA => {
                    if let Some(address) = address(&rdata) {
                        glue.insert(index, (owner, address));
                    }
                }
                _ => {}
            }
        }
        let delegation = Self::new(Name::root(), 0, names, glue.into_values());
        if delegation.servers.iter().all(|server| server.addresses.is_empty()) {
            let message = "expected NS records of the root (\". NS a.root.\") and an address of each server";
            let error = ZoneError { file: file.to_owned(), line: 0, column: 0, message: message.to_owned() };
            return Err(ZoneErrors(vec![error]));
        }
        Ok(delegation)
    }

    /// Memory in octets.
    pub fn octets(&self) -> usize {
        let server = |server: &NameServer| {
            size_of::<NameServer>()
                + server.name.as_wire().len()
                + server.addresses.len() * size_of::<IpAddr>()
        };
        size_of::<Self>() + self.zone.as_wire().len() + self.servers.iter().map(server).sum::<usize>()
    }
}

/// The address in the data of an A or AAAA record.
pub(super) fn address(rdata: &[u8]) -> Option<IpAddr> {
    match rdata.len() {
        4 => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_like_a_zone_file() {
        let text = b"$TTL 1\n. NS a.root.\n. NS b.root.\na.root. A 127.0.0.2\na.root. AAAA ::1\nb.root. A 127.0.0.3\n";
        let root = Delegation::root_from_hints(text, Path::new("hints")).unwrap();
        assert_eq!(root.servers.len(), 2);
        assert_eq!(root.servers[0].addresses.len(), 2);
        let error = Delegation::root_from_hints(b"$TTL 1\n. NS a.root.\n", Path::new("hints")).unwrap_err();
        assert!(error.to_string().starts_with("hints: expected NS records of the root"), "{error}");
        assert!(Delegation::root_from_hints(b"nonsense", Path::new("hints")).is_err());
    }

    #[test]
    fn the_internets_root_has_thirteen_servers() {
        let root = Delegation::internet_root();
        assert_eq!(root.servers.len(), 13);
        assert!(root.servers.iter().all(|server| server.addresses.len() == 2));
    }
}
