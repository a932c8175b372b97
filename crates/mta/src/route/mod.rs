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
mod transport;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postroad_types::{Domain, Host, Reply, limits};
use tokio::time::Instant;

use transport::Goal;

pub use destination::{Destination, Hop, MxHost};
pub use dns::{DnsAnswer, DnsLookup, Failure, Family, Mx, Question};
pub use hickory::{HickoryLookup, ResolverName};
pub use transport::{RuleError, Rules, Terms, TlsPolicy, Wanted, Way};

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
    rules: Rules,
    kept: Mutex<HashMap<String, Kept>>,
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
    pub fn new(dns: Arc<dyn DnsLookup>, own: OwnHost, port: u16, rules: Rules) -> Self {
        Router { dns, own, port, rules, kept: Mutex::new(HashMap::new()) }
    }

    /// The operator's rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A route, if it was found a short while ago.
    pub fn kept(&self, wanted: &Wanted) -> Option<Found> {
        let kept = self.kept.lock().ok()?;
        let Kept { routed, found, until } = kept.get(&wanted.key())?;
        let known = || Found { routed: routed.clone(), known_for: Some(found.elapsed()) };
        (*until > Instant::now()).then(known)
    }

    /// Finds a route. A literal is its own route (RFC 5321 §4.1.3).
    pub async fn find(&self, wanted: &Wanted) -> Found {
        let now = |routed| Found { routed, known_for: None };
        if let Goal::Mx(Host::Literal(ip)) = wanted.goal {
            return now(Arc::new(self.literal(ip, &wanted.terms)));
        }
        if let Some(kept) = self.kept(wanted) {
            return kept;
        }
        let bound = Duration::from_secs(limits::ROUTE_SECONDS_MAX);
        let routed = match tokio::time::timeout(bound, self.look_up(wanted)).await {
            Ok(routed) => Arc::new(routed),
            Err(_) => {
                let text =
                    format!("the way for {} could not be looked up in {} s", wanted.key(), bound.as_secs());
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
                kept.insert(wanted.key(), entry);
            }
        }
        now(routed)
    }

    async fn look_up(&self, wanted: &Wanted) -> Routed {
        match &wanted.goal {
            Goal::Mx(Host::Domain(domain)) => {
                mx::find(&*self.dns, &self.own, domain, self.port, &wanted.terms).await
            }
            Goal::Mx(Host::Literal(ip)) => self.literal(*ip, &wanted.terms),
            Goal::Host(host) => mx::find_host(&*self.dns, host, &wanted.terms).await,
        }
    }

    fn literal(&self, ip: IpAddr, terms: &Arc<Terms>) -> Routed {
        let host = Host::Literal(ip);
        let route = if self.own.is("", &[ip]) {
            let text = format!("mail for {host} loops back to this host");
            Route::Rejected(Reply::new(554, postroad_types::EnhancedCode::new(5, 4, 6), text))
        } else {
            let name = Arc::from(host.to_string());
            let host = MxHost { preference: 0, name, addresses: vec![ip] };
            Route::Hosts(Arc::new(Destination::new(vec![host], self.port, terms.clone()).secure(true)))
        };
        Routed { route, questions: Vec::new(), ttl: Duration::ZERO }
    }
}
