//! DNS for tests of the checks.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::route::{DnsAnswer, DnsLookup, Failure, Family, Mx};

/// What is not in it does not exist.
#[derive(Debug, Default)]
pub struct FakeDns {
    addresses: HashMap<String, Vec<IpAddr>>,
    mx: HashMap<String, Vec<Mx>>,
    names: HashMap<IpAddr, Vec<String>>,
    texts: HashMap<String, String>,
    fails: HashSet<String>,
    hangs: HashSet<String>,
}

impl FakeDns {
    pub fn new() -> Self {
        FakeDns::default()
    }

    pub fn a(mut self, name: &str, address: &str) -> Self {
        self.addresses.entry(name.into()).or_default().push(address.parse().unwrap());
        self
    }

    pub fn mx(mut self, name: &str, exchange: &str) -> Self {
        let mx = Mx { preference: 10, exchange: exchange.into() };
        self.mx.entry(name.into()).or_default().push(mx);
        self
    }

    pub fn ptr(mut self, address: &str, name: &str) -> Self {
        self.names.entry(address.parse().unwrap()).or_default().push(name.into());
        self
    }

    pub fn txt(mut self, name: &str, text: &str) -> Self {
        self.texts.insert(name.into(), text.into());
        self
    }

    pub fn fails(mut self, name: &str) -> Self {
        self.fails.insert(name.into());
        self
    }

    pub fn hangs(mut self, name: &str) -> Self {
        self.hangs.insert(name.into());
        self
    }

    /// A list that is well.
    pub fn dnsbl(self, zone: &str) -> Self {
        self.a(&format!("2.0.0.127.{zone}"), "127.0.0.2")
    }

    async fn answer<T: Clone>(&self, name: &str, found: Option<Vec<T>>) -> DnsAnswer<T> {
        if self.hangs.contains(name) {
            std::future::pending::<()>().await;
        }
        if self.fails.contains(name) {
            return DnsAnswer::Failed(Failure::ServFail);
        }
        match found {
            Some(records) if !records.is_empty() => {
                DnsAnswer::Records { records, ttl: Duration::from_secs(60), secure: false }
            }
            _ if self.addresses.contains_key(name) || self.mx.contains_key(name) => DnsAnswer::NoRecords,
            _ => DnsAnswer::NoSuchDomain,
        }
    }
}

#[async_trait]
impl DnsLookup for FakeDns {
    async fn mx(&self, domain: &str) -> DnsAnswer<Mx> {
        self.answer(domain, self.mx.get(domain).cloned()).await
    }

    async fn addresses(&self, host: &str, family: Family) -> DnsAnswer<IpAddr> {
        let fits = |ip: &IpAddr| ip.is_ipv6() == (family == Family::Aaaa);
        let found = self.addresses.get(host).map(|all| all.iter().copied().filter(fits).collect());
        self.answer(host, found).await
    }

    async fn names(&self, address: IpAddr) -> DnsAnswer<String> {
        self.answer(&address.to_string(), self.names.get(&address).cloned()).await
    }

    async fn texts(&self, name: &str) -> DnsAnswer<String> {
        self.answer(name, self.texts.get(name).map(|text| vec![text.clone()])).await
    }
}
