//! Domains that are not looked for from the root downwards: stub zones, whose own servers are named in the configuration,
//! and forward zones, for which other resolvers are asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};

use super::Delegation;
use super::reply::Reply;
use crate::wire::Name;

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
    delegation: Arc<Delegation>,
    servers: Vec<SocketAddr>,
}

impl Route {
    pub fn new(zone: &Name, kind: RouteKind, servers: Vec<SocketAddr>) -> Self {
        // The servers have no names; each goes by one that nobody can look up.
        let named = servers.iter().enumerate().filter_map(|(index, server)| {
            Some((format!("s{index}.route.invalid.").parse::<Name>().ok()?, server.ip()))
        });
        let named: Vec<(Name, IpAddr)> = named.collect();
        let names = named.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        Self { kind, delegation: Arc::new(Delegation::new(zone.clone(), 0, names, named)), servers }
    }

    /// The port that a server is asked on.
    pub fn port(&self, server: IpAddr) -> Option<u16> {
        self.servers.iter().find(|known| known.ip() == server).map(SocketAddr::port)
    }
}

/// All such domains.
#[derive(Debug, Clone, Default)]
pub struct Routes(Vec<Arc<Route>>);

impl Routes {
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self(routes.into_iter().map(Arc::new).collect())
    }

    /// The servers to ask for `name`, when `known` is the deepest delegation that is known: those of the deepest forward
    /// zone, else those of a stub zone at or below the known one.
    pub fn find(&self, name: &Name, known: &Delegation, forward: bool) -> Option<Arc<Delegation>> {
        let above = self.0.iter().filter(|route| name.is_at_or_below(&route.delegation.zone));
        let usable = above.filter(|route| {
            if route.kind.is_forward() { forward } else { route.delegation.zone.is_at_or_below(&known.zone) }
        });
        let deepest = usable.max_by_key(|route| route.delegation.zone.label_count())?;
        Some(deepest.delegation.clone())
    }

    /// The route that a delegation was made for.
    pub fn of(&self, delegation: &Arc<Delegation>) -> Option<Arc<Route>> {
        self.0.iter().find(|route| Arc::ptr_eq(&route.delegation, delegation)).cloned()
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
        let route = |zone: &str, kind| {
            Route::new(&zone.parse().unwrap(), kind, vec!["192.0.2.9:5353".parse().unwrap()])
        };
        let routes = Routes::new([
            route(".", RouteKind::ForwardFirst),
            route("corp.test", RouteKind::Stub),
            route("lab.corp.test", RouteKind::ForwardOnly),
        ]);
        let delegation = |zone: &str| Delegation::new(zone.parse().unwrap(), 60, [], []);
        let found = |name: &str, known: &str, forward| {
            let found = routes.find(&name.parse().unwrap(), &delegation(known), forward)?;
            Some((found.zone.to_string(), routes.of(&found)?.port(IpAddr::from([192, 0, 2, 9]))?))
        };
        let at = |zone: &str| Some((zone.to_owned(), 5353));
        assert_eq!(found("a.example", ".", true), at("."));
        assert_eq!(found("a.example", ".", false), None);
        assert_eq!(found("a.corp.test", "test", true), at("corp.test."));
        assert_eq!(found("a.corp.test", "corp.test", false), at("corp.test."));
        assert_eq!(found("a.b.corp.test", "b.corp.test", false), None, "a deeper delegation is known");
        assert_eq!(found("a.lab.corp.test", "lab.corp.test", true), at("lab.corp.test."));
        assert!(routes.of(&Arc::new(delegation("."))).is_none());
    }
}
