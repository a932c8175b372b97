//! Names that no server of the Internet can answer for, answered here: localhost and names that never exist (RFC 6761,
//! 6762, 7686, 9476), and the reverse trees of networks that are everybody's (RFC 6303, 6598). Asked further they would
//! tell strangers what is looked up inside, and load servers that have nothing to say.
//!
//! Zones of one's own go before them.

use std::sync::Arc;

use crate::wire::Name;
use crate::zone::{Zone, Zones, zone_from_text};

/// RFC 6303 section 3: an empty zone is its own name server.
const EMPTY: &str = "$TTL 3h\n@ SOA @ nobody.invalid. 1 1h 20m 1w 3h\n@ NS @\n";
const LOCALHOST: &str = "@ A 127.0.0.1\n@ AAAA ::1\n* A 127.0.0.1\n* AAAA ::1\n";

/// Special whatever root is asked.
const ALWAYS: [&str; 2] = ["invalid", "onion"];
/// Special below the Internet's root; a root of one's own may delegate them.
const ON_THE_INTERNET: [&str; 24] = [
    "alt",
    "home.arpa",
    "local",
    "test",
    "0.in-addr.arpa",
    "10.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "168.192.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "0.0.1.f.f.3.ip6.arpa",
    "resolver.arpa",
];

/// The zones of these names.
pub fn zones(internet: bool) -> Zones {
    let private = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa"));
    let shared = (64..128).map(|octet| format!("{octet}.100.in-addr.arpa"));
    let reverse = private.chain(shared).chain(ON_THE_INTERNET.iter().map(|name| (*name).to_owned()));
    let empty = ALWAYS.iter().map(|name| (*name).to_owned()).chain(reverse.filter(|_| internet));
    let localhost = zone("localhost", &format!("{EMPTY}{LOCALHOST}"));
    Zones::new(empty.filter_map(|name| zone(&name, EMPTY)).chain(localhost))
}

/// The texts above are right, as the test below shows.
fn zone(name: &str, text: &str) -> Option<Arc<Zone>> {
    let origin: Name = name.parse().ok()?;
    zone_from_text(&origin, text).ok().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::local;
    use crate::resolve::reply::Reply;
    use crate::wire::Rtype;

    #[test]
    fn all_of_them_are_zones() {
        assert_eq!(zones(true).iter().count(), 1 + ALWAYS.len() + ON_THE_INTERNET.len() + 16 + 64);
        assert_eq!(zones(false).iter().count(), 3);
    }

    #[test]
    fn what_they_say() {
        let (internet, own_root) = (zones(true), zones(false));
        let ask = |zones, name: &str, rtype| {
            let name: Name = name.parse().unwrap();
            local::look_up(zones, &name, &name.key(), rtype)
        };
        for name in ["localhost", "any.localhost"] {
            assert!(matches!(ask(&own_root, name, Rtype::AAAA), Some(Reply::Answer(_))), "{name}");
            assert!(matches!(ask(&internet, name, Rtype::MX), Some(Reply::NoData(..))), "{name}");
        }
        for name in
            ["x.onion", "y.invalid", "1.2.168.192.in-addr.arpa", "printer.local", "1.1.31.172.in-addr.arpa"]
        {
            let reply = ask(&internet, name, Rtype::PTR);
            assert!(matches!(reply, Some(Reply::NxDomain(_, Some(_)))), "{name}");
        }
        for name in ["example.com", "1.1.32.172.in-addr.arpa", "1.2.0.193.in-addr.arpa"] {
            assert!(ask(&internet, name, Rtype::PTR).is_none(), "{name}");
        }
        assert!(ask(&own_root, "beta.test", Rtype::MX).is_none(), "a root of one's own may have it");
    }
}
