//! Where a mail goes next: a set of MX hosts with their addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use postroad_types::limits;
use rand::seq::SliceRandom;

use super::transport::Terms;

/// The hosts that take a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Names the MX set: domains with the same hosts share it, and so share connections and limits.
    pub key: Arc<str>,
    /// By preference, best first; each with at least one address.
    pub hosts: Vec<MxHost>,
    pub port: u16,
    pub terms: Arc<Terms>,
    /// The operator names these hosts, or DNSSEC vouches for their names.
    pub secure: bool,
}

/// One host of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxHost {
    pub preference: u16,
    /// The MX host's name; of a literal, the literal.
    pub name: Arc<str>,
    pub addresses: Vec<IpAddr>,
}

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Checked against the certificate where policy asks for it.
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub terms: Arc<Terms>,
}

impl Destination {
    pub fn new(mut hosts: Vec<MxHost>, port: u16, terms: Arc<Terms>) -> Self {
        hosts.sort_by(|a, b| (a.preference, &a.name).cmp(&(b.preference, &b.name)));
        let mut key = format!("{}: ", terms.name);
        for host in &hosts {
            // Only the order of preferences matters, not their numbers.
            let rank = hosts.iter().filter(|other| other.preference < host.preference).count();
            key.push_str(&format!("{rank}:{} ", host.name));
        }
        key.push_str(&port.to_string());
        Destination { key: key.into(), hosts, port, terms, secure: false }
    }

    pub fn secure(self, secure: bool) -> Self {
        Destination { secure, ..self }
    }

    /// The addresses in the order of this attempt: by preference, equal ones shuffled (RFC 5321 §5.1), within
    /// a host IPv6 and IPv4 in turn so that a dead family costs one time-out and not many.
    pub fn hops(&self, rng: &mut impl rand::Rng) -> Vec<Hop> {
        let mut hops = Vec::with_capacity(limits::MX_ADDRESSES_MAX);
        for equal in self.hosts.chunk_by(|a, b| a.preference == b.preference) {
            let mut equal: Vec<&MxHost> = equal.iter().collect();
            equal.shuffle(rng);
            for host in equal {
                let (mut v6, mut v4): (Vec<IpAddr>, Vec<IpAddr>) =
                    host.addresses.iter().partition(|ip| ip.is_ipv6());
                v6.shuffle(rng);
                v4.shuffle(rng);
                let turns = v6.len().max(v4.len());
                for i in 0..turns {
                    for ip in [v6.get(i), v4.get(i)].into_iter().flatten() {
                        let address = SocketAddr::new(*ip, self.port);
                        let (name, terms) = (host.name.clone(), self.terms.clone());
                        hops.push(Hop { name, address, terms });
                    }
                }
            }
        }
        hops.truncate(limits::MX_ADDRESSES_MAX);
        hops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn usual() -> Arc<Terms> {
        Arc::new(Terms::usual())
    }

    fn host(preference: u16, name: &str, addresses: &[&str]) -> MxHost {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        MxHost { preference, name: name.into(), addresses }
    }

    #[test]
    fn better_preferences_come_first_and_equal_ones_take_turns() {
        let destination = Destination::new(
            vec![
                host(20, "last", &["192.0.2.9"]),
                host(10, "b", &["192.0.2.2"]),
                host(10, "a", &["192.0.2.1"]),
            ],
            25,
            usual(),
        );
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..32 {
            let hops = destination.hops(&mut rand::rngs::StdRng::seed_from_u64(seed));
            assert_eq!(hops.len(), 3);
            assert_eq!(&*hops[2].name, "last");
            firsts.insert(hops[0].name.clone());
        }
        assert_eq!(firsts.len(), 2, "both equal hosts are tried first now and then");
    }

    #[test]
    fn a_hosts_families_alternate_and_the_number_is_bounded() {
        let many: Vec<String> = (0..30).map(|i| format!("192.0.2.{i}")).collect();
        let mut addresses: Vec<&str> = many.iter().map(String::as_str).collect();
        addresses.extend(["2001:db8::1", "2001:db8::2"]);
        let destination = Destination::new(vec![host(0, "a", &addresses)], 25, usual());
        let hops = destination.hops(&mut rand::rngs::StdRng::seed_from_u64(1));
        assert_eq!(hops.len(), limits::MX_ADDRESSES_MAX);
        let v6: Vec<bool> = hops.iter().take(4).map(|h| h.address.is_ipv6()).collect();
        assert_eq!(v6, [true, false, true, false]);
    }

    #[test]
    fn domains_with_the_same_hosts_have_the_same_key() {
        let one =
            Destination::new(vec![host(10, "a", &["192.0.2.1"]), host(20, "b", &["192.0.2.2"])], 25, usual());
        let two =
            Destination::new(vec![host(5, "b", &["192.0.2.2"]), host(1, "a", &["192.0.2.1"])], 25, usual());
        let reversed =
            Destination::new(vec![host(5, "a", &["192.0.2.2"]), host(1, "b", &["192.0.2.1"])], 25, usual());
        assert_eq!(one.key, two.key);
        assert_ne!(one.key, reversed.key);
    }
}
