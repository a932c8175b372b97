//! Questions to DNS with a deadline and a short memory.
//!
//! A look-up that fails or takes too long is an answer of its own, and no check holds it against a client unless
//! the operator says so. Failures are kept in mind for some seconds too, so that a resolver that is down costs the
//! waiting once and not once per message.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postroad_types::limits::{POLICY_DNS_ENTRIES_MAX, POLICY_DNS_SECONDS_MAX};
use tokio::time::Instant;

use crate::route::{DnsAnswer, DnsLookup, Failure, Family, Mx};

const KEPT_MAX: Duration = Duration::from_secs(POLICY_DNS_SECONDS_MAX);

/// DNS as the checks ask it.
pub struct Lookup {
    dns: Arc<dyn DnsLookup>,
    timeout: Duration,
    mx: Memory<String, Mx>,
    addresses: Memory<(String, bool), IpAddr>,
    names: Memory<IpAddr, String>,
}

type Memory<K, V> = Mutex<HashMap<K, (DnsAnswer<V>, Instant)>>;

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The questions of one stage, which have one deadline together.
#[derive(Clone, Copy, Debug)]
pub struct Questions<'a> {
    lookup: &'a Lookup,
    until: Instant,
}

impl Lookup {
    /// The questions of one stage take at most `timeout` together.
    pub fn new(dns: Arc<dyn DnsLookup>, timeout: Duration) -> Self {
        Lookup { dns, timeout, mx: Memory::default(), addresses: Memory::default(), names: Memory::default() }
    }

    /// A stage begins to ask.
    pub fn begin(&self) -> Questions<'_> {
        Questions { lookup: self, until: Instant::now() + self.timeout }
    }
}

impl Questions<'_> {
    pub async fn mx(&self, domain: &str) -> DnsAnswer<Mx> {
        let Lookup { dns, mx, .. } = self.lookup;
        self.remembered(mx, domain.to_owned(), dns.mx(domain)).await
    }

    pub async fn addresses(&self, host: &str, family: Family) -> DnsAnswer<IpAddr> {
        let Lookup { dns, addresses, .. } = self.lookup;
        let key = (host.to_owned(), family == Family::Aaaa);
        self.remembered(addresses, key, dns.addresses(host, family)).await
    }

    pub async fn names(&self, address: IpAddr) -> DnsAnswer<String> {
        let Lookup { dns, names, .. } = self.lookup;
        self.remembered(names, address, dns.names(address)).await
    }

    pub async fn texts(&self, name: &str) -> DnsAnswer<String> {
        self.bounded(self.lookup.dns.texts(name)).await
    }

    async fn bounded<T>(&self, question: impl Future<Output = DnsAnswer<T>>) -> DnsAnswer<T> {
        let late = || DnsAnswer::Failed(Failure::Other("no answer in time".to_owned()));
        tokio::time::timeout_at(self.until, question).await.unwrap_or_else(|_| late())
    }

    async fn remembered<K: std::hash::Hash + Eq, V: Clone>(
        &self,
        memory: &Memory<K, V>,
        key: K,
        question: impl Future<Output = DnsAnswer<V>>,
    ) -> DnsAnswer<V> {
        if let Ok(known) = memory.lock()
            && let Some((answer, until)) = known.get(&key)
            && Instant::now() < *until
        {
            return answer.clone();
        }
        let answer = self.bounded(question).await;
        let keep = match &answer {
            DnsAnswer::Records { ttl, .. } => (*ttl).min(KEPT_MAX),
            DnsAnswer::NoSuchDomain | DnsAnswer::NoRecords => KEPT_MAX,
            DnsAnswer::Failed(_) => KEPT_MAX / 6,
        };
        if let Ok(mut known) = memory.lock() {
            let now = Instant::now();
            if known.len() >= POLICY_DNS_ENTRIES_MAX {
                known.retain(|_, (_, until)| now < *until);
            }
            if known.len() >= POLICY_DNS_ENTRIES_MAX {
                known.clear();
            }
            known.insert(key, (answer.clone(), now + keep));
        }
        answer
    }
}
