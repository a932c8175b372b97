//! Domains that are not looked for from the root downwards: stub zones, whose own servers are named in the configuration,
//! forward zones, for which other resolvers are asked, and domains for which nobody is asked.

use std::collections::HashSet;
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use postroad_config::{DnsServer, TlsServer};

use super::reply::Reply;
use super::security::Failure;
use super::{Delegation, Endpoint};
use crate::wire::options::extended;
use crate::wire::{Name, Rtype};
use crate::zone::Zones;

/// Who is asked, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// Name servers of the zone; deeper delegations go before them.
    Stub,
    /// Resolvers; when they fail the zone's own servers are asked.
    ForwardFirst,
    /// Resolvers, and nobody else.
    ForwardOnly,
}

impl RouteKind {
    /// Whether the servers are resolvers.
    pub fn is_forward(self) -> bool {
        self != Self::Stub
    }
}

/// A domain and the servers that are asked for it.
#[derive(Debug, Clone)]
pub struct Route {
    pub kind: RouteKind,
    /// Of the zone alone: its servers are named here, and have no names.
    delegation: Arc<Delegation>,
    servers: Vec<(Endpoint, Option<Arc<TlsServer>>)>,
}

impl Route {
    pub fn new(zone: &Name, kind: RouteKind, servers: &[DnsServer]) -> Self {
        let endpoint = |server: &DnsServer| {
            let address = server.address();
            let at = Endpoint { ip: address.ip(), port: Some(address.port()), tls: server.is_tls() };
            let tls = if let DnsServer::Tls(server) = server { Some(Arc::new(server.clone())) } else { None };
            (at, tls)
        };
        let delegation = Arc::new(Delegation::new(zone.clone(), 0, [], []));
        Self { kind, delegation, servers: servers.iter().map(endpoint).collect() }
    }

    /// Where the servers are asked.
    pub fn servers(&self) -> impl Iterator<Item = Endpoint> {
        self.servers.iter().map(|(at, _)| *at)
    }

    /// The server there, if it is asked over TLS.
    pub fn tls(&self, at: Endpoint) -> Option<Arc<TlsServer>> {
        self.servers.iter().find(|(known, _)| *known == at)?.1.clone()
    }
}

/// All such domains.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    routes: Vec<Arc<Route>>,
    /// Domains that nobody is asked for.
    refused: HashSet<Name>,
}

impl Routes {
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self { routes: routes.into_iter().map(Arc::new).collect(), refused: HashSet::new() }
    }

    /// With domains that nobody is asked for, nor for any name below them.
    pub fn refusing(self, zones: impl IntoIterator<Item = Name>) -> Self {
        Self { refused: zones.into_iter().collect(), ..self }
    }

    /// Why nobody is asked for a name, if that is so. Zones of our `own` at or below the refused domain are answered all the
    /// same, and those that are answered here (`special`) below it.
    pub fn refusal(&self, name: &Name, own: &Zones, special: &Zones) -> Option<Failure> {
        if self.refused.is_empty() {
            return None;
        }
        let mut above = std::iter::successors(Some(name.clone()), Name::parent);
        let depth = above.find(|name| self.refused.contains(name))?.label_count();
        let deepest = |zones: &Zones| Some(zones.find(&name.key(), Rtype::A)?.apex().label_count());
        if deepest(own).is_some_and(|own| own >= depth) || deepest(special).is_some_and(|here| here > depth) {
            return None;
        }
        Some(Failure::new(extended::BLOCKED, "refused by setting"))
    }

    /// The servers to ask for `name`, when `known` is the deepest delegation that is known: those of the deepest forward
    /// zone, else those of a stub zone at or below the known one.
    pub fn find(&self, name: &Name, known: &Delegation, forward: bool) -> Option<Arc<Delegation>> {
        let above = self.routes.iter().filter(|route| name.is_at_or_below(&route.delegation.zone));
        let usable = above.filter(|route| {
            if route.kind.is_forward() { forward } else { route.delegation.zone.is_at_or_below(&known.zone) }
        });
        let deepest = usable.max_by_key(|route| route.delegation.zone.label_count())?;
        Some(deepest.delegation.clone())
    }

    /// The route that a delegation was made for.
    pub fn of(&self, delegation: &Arc<Delegation>) -> Option<Arc<Route>> {
        self.routes.iter().find(|route| Arc::ptr_eq(&route.delegation, delegation)).cloned()
    }
}

/// What a resolver's message means where [`super::reply::read`] thinks of a name server: it has no authority, and gives no
/// referrals.
pub fn forwarded(reply: Reply, message: &Message) -> Reply {
    match reply {
        Reply::Referral(_) | Reply::Lame(_) => {
            let answers = message.metadata.recursion_available
                && message.metadata.response_code == ResponseCode::NoError
                && message.answers.is_empty();
            if answers { Reply::NoData(Vec::new(), None) } else { Reply::Lame("it is no resolver") }
        }
        reply => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_way_is_taken() {
        let route =
            |zone: &str, kind| Route::new(&zone.parse().unwrap(), kind, &["192.0.2.9:5353".parse().unwrap()]);
        let routes = Routes::new([
            route(".", RouteKind::ForwardFirst),
            route("corp.test", RouteKind::Stub),
            route("lab.corp.test", RouteKind::ForwardOnly),
        ]);
        let delegation = |zone: &str| Delegation::new(zone.parse().unwrap(), 60, [], []);
        let found = |name: &str, known: &str, forward| {
            let found = routes.find(&name.parse().unwrap(), &delegation(known), forward)?;
            Some((found.zone.to_string(), routes.of(&found)?.servers().next()?.to_string()))
        };
        let at = |zone: &str| Some((zone.to_owned(), "192.0.2.9:5353".to_owned()));
        assert_eq!(found("a.example", ".", true), at("."));
        assert_eq!(found("a.example", ".", false), None);
        assert_eq!(found("a.corp.test", "test", true), at("corp.test."));
        assert_eq!(found("a.corp.test", "corp.test", false), at("corp.test."));
        assert_eq!(found("a.b.corp.test", "b.corp.test", false), None, "a deeper delegation is known");
        assert_eq!(found("a.lab.corp.test", "lab.corp.test", true), at("lab.corp.test."));
        assert!(routes.of(&Arc::new(delegation("."))).is_none());
    }

    #[test]
    fn servers_of_one_address_are_told_apart() {
        let servers =
            ["192.0.2.9", "192.0.2.9:5353", "tls://192.0.2.9#a.test", "tls://192.0.2.9:8853#b.test"];
        let servers = servers.map(|server| server.parse().unwrap());
        let route = Route::new(&Name::root(), RouteKind::ForwardOnly, &servers);
        let name = |at| route.tls(at).and_then(|server| server.name.clone()).unwrap_or_default();
        let shown: Vec<String> = route.servers().map(|at| format!("{at} {}", name(at))).collect();
        let expected =
            ["192.0.2.9:53 ", "192.0.2.9:5353 ", "tls://192.0.2.9:853 a.test", "tls://192.0.2.9:8853 b.test"];
        assert_eq!(shown, expected);
        let unknown = Endpoint { tls: false, ..route.servers().last().unwrap() };
        assert!(route.tls(unknown).is_none());
    }
}
