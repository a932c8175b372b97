//! How often an address, and the network around it, may connect.

use std::net::IpAddr;
use std::time::Duration;

use postroad_config::Rates;

use crate::consignment::reply;
use crate::policy::client::network;
use crate::policy::rate::RateLimiter;
use crate::policy::verdict::Finding;

/// The limits of stage connect.
#[derive(Debug)]
pub struct ConnectionRates {
    address: RateLimiter<IpAddr>,
    network: RateLimiter<IpAddr>,
}

impl ConnectionRates {
    pub fn new(rates: &Rates) -> Self {
        ConnectionRates {
            address: RateLimiter::new(rates.connections_per_address),
            network: RateLimiter::new(rates.connections_per_network),
        }
    }

    /// An IPv6 client counts by its /64 in both: it has as many addresses as it likes.
    pub(super) fn check(&self, peer: IpAddr, now: Duration) -> Finding {
        let one = if peer.is_ipv4() { peer } else { network(peer) };
        let limits = [(&self.address, one, "address"), (&self.network, network(peer), "network")];
        for (limiter, key, what) in limits {
            if let Err(wait) = limiter.check(&key, now) {
                let text = format!(
                    "more than {} connections from your {what}, come back in {} s",
                    limiter.rate(),
                    wait.as_secs() + 1
                );
                return Finding::refuse("connection-rate", reply(421, (4, 7, 0), text));
            }
        }
        Finding::clean("connection-rate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_config::Rate;

    #[test]
    fn an_address_and_its_network_have_their_limits() {
        let minute = Duration::from_secs(60);
        let rates = ConnectionRates::new(&Rates {
            connections_per_address: Rate::new(2, minute),
            connections_per_network: Rate::new(3, minute),
            ..Rates::default()
        });
        for (peer, passes) in [
            ("192.0.2.1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
            ("192.0.2.3", false),
            ("198.51.100.1", true),
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::1", true),
        ] {
            let finding = rates.check(peer.parse().unwrap(), minute);
            assert_eq!(finding.verdict.name(), if passes { "pass" } else { "defer" }, "{peer}: {finding:?}");
        }
    }
}
