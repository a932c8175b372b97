//! The attempt to get an answer from one zone's servers: who they are, which was asked how often, whom to ask next.

use std::borrow::Cow;
use std::sync::Arc;

use postroad_types::limits::DNS_LOOKUP_ASKS_PER_ZONE_MAX;

use super::cache::Entry;
use super::delegation::address;
use super::iterate::Context;
use super::minimise::Shown;
use super::routes::{Route, RouteKind};
use super::{Delegation, Endpoint};
use crate::wire::{Name, Rtype};

/// Questions that one address is asked in one round.
pub(super) const TRIES_MAX: u32 = 2;

#[derive(Debug)]
pub(super) struct Address {
    pub at: Endpoint,
    pub tries: u32,
}

/// A name server of the zone that is being asked.
#[derive(Debug)]
pub(super) struct Candidate {
    pub name: Name,
    pub addresses: Vec<Address>,
    /// Address types that need not be looked up any more.
    pub looked_up: Vec<Rtype>,
}

/// The attempt to get an answer from one zone's servers.
#[derive(Debug)]
pub(super) struct Round {
    pub delegation: Arc<Delegation>,
    /// How the zone is asked for, if not as the zone above says.
    pub route: Option<Arc<Route>>,
    pub candidates: Vec<Candidate>,
    pub shown: Shown,
    pub asks: usize,
    pub glueless: usize,
    pub last_problem: Cow<'static, str>,
}

impl Candidate {
    pub fn add(&mut self, addresses: impl IntoIterator<Item = impl Into<Endpoint>>) {
        for at in addresses.into_iter().map(Into::into) {
            if !self.addresses.iter().any(|address| address.at == at) {
                self.addresses.push(Address { at, tries: 0 });
            }
        }
    }
}

/// Questions of one resolution for addresses of name servers, by the zone whose servers were asked: one stranger's zone
/// is not asked on and on for names that others have made up.
#[derive(Debug, Default)]
pub(super) struct Lookups(Vec<(Name, usize)>);

impl Lookups {
    pub fn may_ask(&self, zone: &Name) -> bool {
        self.0.iter().all(|(asked, count)| asked != zone || *count < DNS_LOOKUP_ASKS_PER_ZONE_MAX)
    }

    /// Counts a question that led to no other zone.
    pub fn count(&mut self, zone: &Name) {
        match self.0.iter_mut().find(|(asked, _)| asked == zone) {
            Some((_, count)) => *count += 1,
            None => self.0.push((zone.clone(), 1)),
        }
    }
}

impl Round {
    pub fn new(delegation: &Arc<Delegation>, context: Context<'_>) -> Self {
        let mut candidates = Vec::with_capacity(delegation.servers.len());
        for server in &delegation.servers {
            let mut candidate =
                Candidate { name: server.name.clone(), addresses: Vec::new(), looked_up: Vec::new() };
            candidate.add(server.addresses.iter().copied());
            for rtype in [Rtype::A, Rtype::AAAA] {
                let hit = context.cache.unchecked_answer(&server.name, rtype, context.now);
                match hit.map(|hit| hit.entry) {
                    Some(Entry::Positive(rrset)) if rrset.rtype == rtype => {
                        candidate.add(rrset.iter().filter_map(address));
                    }
                    Some(Entry::NoData(..) | Entry::NxDomain(_)) => candidate.looked_up.push(rtype),
                    _ => {}
                }
            }
            if !context.rules.ipv6 {
                candidate.looked_up.push(Rtype::AAAA);
            }
            candidates.push(candidate);
        }
        let last_problem = Cow::Borrowed("none has a known address that serves it");
        let route = context.rules.routes.of(delegation);
        if let Some(route) = &route {
            let mut named =
                Candidate { name: delegation.zone.clone(), addresses: Vec::new(), looked_up: Vec::new() };
            named.add(route.servers());
            candidates.push(named);
        }
        let mut shown = Shown::new(&delegation.zone);
        if route.as_ref().is_some_and(|route| route.kind.is_forward()) {
            shown.show_all();
        }
        Self { delegation: delegation.clone(), route, candidates, shown, asks: 0, glueless: 0, last_problem }
    }

    /// Whether its servers are resolvers.
    pub fn is_forward(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.kind.is_forward())
    }

    /// Whether, when all has failed, the zone's own servers are to be asked.
    pub fn is_first(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.kind == RouteKind::ForwardFirst)
    }

    /// The zone.
    pub fn zone(&self) -> &Name {
        &self.delegation.zone
    }

    /// What the configuration names is asked wherever it is.
    fn may_ask(&self, at: Endpoint, context: Context<'_>) -> bool {
        self.route.is_some() || context.rules.allows(at.ip)
    }

    pub fn address(&mut self, at: Endpoint) -> Option<&mut Address> {
        self.candidates
            .iter_mut()
            .flat_map(|candidate| &mut candidate.addresses)
            .find(|address| address.at == at)
    }

    /// The address to ask next, and whether it is one that did not answer lately, or not for this zone.
    pub fn best(&self, context: Context<'_>) -> Option<(Endpoint, bool)> {
        let addresses = self.candidates.iter().flat_map(|candidate| &candidate.addresses);
        let usable =
            addresses.filter(|address| address.tries < TRIES_MAX && self.may_ask(address.at, context));
        let ranked = usable.map(|address| {
            let rank = context.servers.rank(address.at, self.zone(), rand::random(), context.now);
            ((rank.is_last(), address.tries, rank), address.at)
        });
        ranked.min().map(|((last, ..), at)| (at, last))
    }
}
