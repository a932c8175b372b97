//! What a resolution follows: how others are asked, who of them is, and which of their addresses are believed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::delegation::address;
use super::evidence::Proven;
use super::reply::{Reply, useless};
use super::routes::Routes;
use super::security::{Security, Unsigned};
use super::validate::Verdict;
use crate::wire::{Name, RrSetBuilder, Rtype};

/// Settings that the machine follows.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Port that servers are asked on.
    pub port: u16,
    /// Networks whose addresses are never asked.
    pub deny_servers: Vec<IpNet>,
    /// Networks whose addresses are taken out of others' answers, so that a stranger's name never leads inside (DNS
    /// rebinding), but for names at or below these.
    pub private: Vec<IpNet>,
    pub private_names: Vec<Name>,
    pub ipv4: bool,
    pub ipv6: bool,
    /// The longest that one question to one server may take.
    pub query_timeout: Duration,
    /// Domains that are not looked for from the root downwards.
    pub routes: Routes,
    pub max_ttl: Duration,
    /// Signatures and proofs are asked for (DO).
    pub dnssec: bool,
}

impl Rules {
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        let family = if address.is_ipv4() { self.ipv4 } else { self.ipv6 };
        family && !useless(address) && !self.deny_servers.iter().any(|network| network.contains(&address))
    }

    /// Takes addresses of private networks out of an answer; without any left there is no data. What is left is not what
    /// was signed.
    pub(super) fn without_private(&self, reply: Reply, verdict: &mut Verdict) -> Reply {
        let Reply::Answer(mut chain) = reply else { return reply };
        let is_private = |rdata: &[u8]| {
            let address = address(rdata).map(|address| address.to_canonical());
            address.is_some_and(|address| self.private.iter().any(|network| network.contains(&address)))
        };
        let concerned = chain.last().is_some_and(|(owner, set)| {
            matches!(set.rtype, Rtype::A | Rtype::AAAA)
                && set.iter().any(is_private)
                && !self.private_names.iter().any(|name| owner.is_at_or_below(name))
        });
        if !concerned {
            return Reply::Answer(chain);
        }
        let Some((owner, set)) = chain.pop() else { return Reply::Answer(chain) };
        if let Some(proven) = verdict.sets.last_mut() {
            *proven = Proven::not(Security::Insecure(Unsigned::Setting));
        }
        let mut left = RrSetBuilder::new(set.rtype, set.ttl);
        for rdata in set.iter().filter(|rdata| !is_private(rdata)) {
            left.push(rdata);
        }
        match left.build() {
            Some(left) => {
                chain.push((owner, Arc::new(left)));
                Reply::Answer(chain)
            }
            None => Reply::NoData(chain, None),
        }
    }
}
