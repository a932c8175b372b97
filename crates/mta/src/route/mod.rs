//! Stage three of a mail's way: which hosts take the mail of a domain.
//!
//! Whether a domain is ours is the directory's word and decided before; here is the outside world. A route is
//! kept for a short while, so that a busy destination costs no questions per message.

mod destination;
mod dns;
mod hickory;
mod mx;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postroad_types::{Domain, Host, Reply, limits};
use tokio::time::Instant;

pub use destination::{Destination, Hop, MxHost};
pub use dns::{DnsAnswer, DnsLookup, Family, Mx, Question};
pub use hickory::{HickoryLookup, ResolverName};

/// Where a domain's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Hosts(Arc<Destination>),
    /// Permanent: bounce with this.
    Rejected(Reply),
    /// Temporary: try again.
    Deferred(Reply),
}

/// A route with how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    pub route: Route,
    pub questions: Vec<Question>,
    /// It may be used for so long.
    pub ttl: Duration,
}

/// A route as it is handed out.
#[derive(Clone, Debug)]
pub struct Found {
    pub routed: Arc<Routed>,
    /// It was found so long ago, for another message; `None`: just now.
    pub known_for: Option<Duration>,
}

/// How we would find ourselves in someone's MX records.
#[derive(Clone, Debug)]
pub struct OwnHost {
    pub name: Domain,
    /// Where we listen for other hosts' mail; unspecified addresses left out.
    pub addresses: Vec<IpAddr>,
}

impl OwnHost {
    fn is(&self, name: &str, addresses: &[IpAddr]) -> bool {
        self.name.ascii() == name || addresses.iter().any(|ip| self.addresses.contains(ip))
    }
}

/// Finds routes, and keeps them for a while.
pub struct Router {
    dns: Arc<dyn DnsLookup>,
    own: OwnHost,
    port: u16,
    kept: Mutex<HashMap<Box<str>, Kept>>,
}

/// A route that may be used again.
#[derive(Debug)]
struct Kept {
    routed: Arc<Routed>,
    found: Instant,
    until: Instant,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("own", &self.own).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Router {
    /// `port` is the one that other hosts take mail on: 25.
    pub fn new(dns: Arc<dyn DnsLookup>, own: OwnHost, port: u16) -> Self {
        Router { dns, own, port, kept: Mutex::new(HashMap::new()) }
    }

    /// The route of a host, if it was found a short while ago.
    pub fn kept(&self, host: &Host) -> Option<Found> {
        let domain = host.domain()?;
        let kept = self.kept.lock().ok()?;
        let Kept { routed, found, until } = kept.get(domain.ascii())?;
        let known = || Found { routed: routed.clone(), known_for: Some(found.elapsed()) };
        (*until > Instant::now()).then(known)
    }

    /// Finds the route of a host. A literal is its own route (RFC 5321 §4.1.3).
    pub async fn find(&self, host: &Host) -> Found {
        let now = |routed| Found { routed, known_for: None };
        let domain = match host {
            Host::Domain(domain) => domain,
            Host::Literal(ip) => return now(Arc::new(self.literal(host, *ip))),
        };
        if let Some(kept) = self.kept(host) {
            return kept;
        }
        let bound = Duration::from_secs(limits::ROUTE_SECONDS_MAX);
        let routed = match tokio::time::timeout(bound, mx::find(&*self.dns, &self.own, domain, self.port))
            .await
        {
            Ok(routed) => Arc::new(routed),
            Err(_) => {
                let text =
                    format!("the mail hosts of {domain} could not be looked up in {} s", bound.as_secs());
                let reply = Reply::new(451, postroad_types::EnhancedCode::new(4, 4, 3), text);
                Arc::new(Routed { route: Route::Deferred(reply), questions: Vec::new(), ttl: Duration::ZERO })
            }
        };
        let ttl = routed.ttl.min(Duration::from_secs(limits::ROUTE_CACHE_SECONDS_MAX));
        if !ttl.is_zero()
            && let Ok(mut kept) = self.kept.lock()
        {
            let found = Instant::now();
            if kept.len() >= limits::ROUTE_CACHE_ENTRIES_MAX {
                kept.retain(|_, kept| kept.until > found);
            }
            if kept.len() < limits::ROUTE_CACHE_ENTRIES_MAX {
                let entry = Kept { routed: routed.clone(), found, until: found + ttl };
                kept.insert(domain.ascii().into(), entry);
            }
        }
        now(routed)
    }

    fn literal(&self, host: &Host, ip: IpAddr) -> Routed {
        let route = if self.own.is("", &[ip]) {
            let text = format!("mail for {host} loops back to this host");
            Route::Rejected(Reply::new(554, postroad_types::EnhancedCode::new(5, 4, 6), text))
        } else {
            let name = Arc::from(host.to_string());
            let host = MxHost { preference: 0, name, addresses: vec![ip] };
            Route::Hosts(Arc::new(Destination::new(vec![host], self.port)))
        };
        Routed { route, questions: Vec::new(), ttl: Duration::ZERO }
    }
}
