//! From a domain to its hosts (RFC 5321 §5.1, RFC 7505), by questions to [`DnsLookup`].
//!
//! ```text
//!   MX records        null MX             -> 556 5.1.10, the domain takes no mail
//!                     we are among them   -> the ones at our preference and worse are dropped;
//!                                            nothing left: 5.4.6, a loop
//!                     else                -> their addresses, those that have none are left out
//!   no MX records     the domain's own addresses (implicit MX); none: 5.4.4
//!   no such domain    5.1.2
//!   could not ask     4.4.3
//! ```

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use postroad_config::HostPort;
use postroad_types::{Domain, EnhancedCode, Reply, limits};
use tokio::time::Instant;

use super::OwnHost;
use super::destination::{Destination, MxHost};
use super::dns::{DnsAnswer, DnsLookup, Family, Mx, Question};
use super::{Route, Routed, Terms};

/// Negative answers are asked again soon: a mistake in a zone should not hurt longer than its repair takes.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// What was found for one host.
enum Addresses {
    Found { addresses: Vec<IpAddr>, ttl: Duration },
    None,
    Failed(String),
}

/// Finds the hosts of `domain`.
pub(super) async fn find(
    dns: &dyn DnsLookup,
    own: &OwnHost,
    domain: &Domain,
    port: u16,
    terms: &Arc<Terms>,
) -> Routed {
    let mut questions = Vec::new();
    let asked = Instant::now();
    let answer = dns.mx(domain.ascii()).await;
    note(&mut questions, domain.ascii(), "MX", &answer, asked);

    let (records, ttl, secure) = match answer {
        DnsAnswer::Records { records, ttl, secure } => (records, ttl, secure),
        // The domain is its own mail host: nobody could have put another name in its place.
        DnsAnswer::NoRecords => {
            (vec![Mx { preference: 0, exchange: domain.ascii().into() }], Duration::MAX, true)
        }
        DnsAnswer::NoSuchDomain => {
            return rejected(questions, 550, (5, 1, 2), format!("the domain {domain} does not exist"));
        }
        DnsAnswer::Failed(why) => {
            return deferred(questions, format!("the mail hosts of {domain} could not be looked up: {why}"));
        }
    };
    // RFC 7505 §3: a null MX stands alone. Beside others, it names no host that could be connected to.
    if records.iter().all(|mx| mx.exchange.is_empty()) {
        return rejected(questions, 556, (5, 1, 10), format!("the domain {domain} takes no mail (null MX)"));
    }
    let mut records: Vec<Mx> = records.into_iter().filter(|mx| !mx.exchange.is_empty()).collect();
    records.sort_by(|a, b| (a.preference, &a.exchange).cmp(&(b.preference, &b.exchange)));
    records.dedup_by(|a, b| a.exchange == b.exchange);
    records.truncate(limits::MX_HOSTS_MAX);

    let found = join_all(records.iter().map(|mx| addresses(dns, &mx.exchange))).await;
    let mut ttl = ttl;
    let mut hosts = Vec::new();
    let mut ours = None;
    let mut failure = None;
    for (mx, (asked, outcome)) in records.into_iter().zip(found) {
        questions.extend(asked);
        match outcome {
            Addresses::Found { addresses, ttl: of_host } => {
                if own.is(&mx.exchange, &addresses) {
                    ours = Some(ours.unwrap_or(mx.preference).min(mx.preference));
                }
                ttl = ttl.min(of_host);
                let name = Arc::from(mx.exchange);
                hosts.push(MxHost { preference: mx.preference, name, addresses });
            }
            Addresses::None => {
                if own.is(&mx.exchange, &[]) {
                    ours = Some(ours.unwrap_or(mx.preference).min(mx.preference));
                }
            }
            Addresses::Failed(why) => failure = Some(format!("{}: {why}", mx.exchange)),
        }
    }
    if let Some(ours) = ours {
        hosts.retain(|host| host.preference < ours);
        if hosts.is_empty() && failure.is_none() {
            let text = format!(
                "mail for {domain} loops back to this host: its MX names us, but it is not among our domains"
            );
            return rejected(questions, 554, (5, 4, 6), text);
        }
    }
    if hosts.is_empty() {
        return match failure {
            Some(why) => deferred(questions, format!("no mail host of {domain} could be looked up: {why}")),
            None => {
                let text = format!("no mail host of {domain} has an address");
                rejected(questions, 550, (5, 4, 4), text)
            }
        };
    }
    // A host that could not be looked up now may be the better one: it is asked about again soon.
    let ttl = if failure.is_some() { NEGATIVE_TTL } else { ttl };
    let destination = Destination::new(hosts, port, terms.clone()).secure(secure);
    Routed { route: Route::Hosts(Arc::new(destination)), questions, ttl }
}

/// Finds the addresses of a host that the operator named. Without any, mail waits: the name is not the sender's fault.
pub(super) async fn find_host(dns: &dyn DnsLookup, host: &HostPort, terms: &Arc<Terms>) -> Routed {
    let (questions, outcome) = match host.host.parse::<IpAddr>() {
        Ok(ip) => (Vec::new(), Addresses::Found { addresses: vec![ip], ttl: Duration::MAX }),
        // Names without a dot are this machine's or its containers' business, not that of DNS.
        Err(_) if !host.host.contains('.') => (Vec::new(), local_addresses(host).await),
        Err(_) => addresses(dns, &host.host).await,
    };
    match outcome {
        Addresses::Found { addresses, ttl } => {
            let hosts = vec![MxHost { preference: 0, name: host.host.as_str().into(), addresses }];
            let destination = Destination::new(hosts, host.port, terms.clone()).secure(true);
            Routed { route: Route::Hosts(Arc::new(destination)), questions, ttl }
        }
        Addresses::None => deferred(questions, format!("the host {host} of {} has no address", terms.name)),
        Addresses::Failed(why) => {
            deferred(questions, format!("the host {host} of {} could not be looked up: {why}", terms.name))
        }
    }
}

async fn local_addresses(host: &HostPort) -> Addresses {
    match tokio::net::lookup_host((host.host.as_str(), host.port)).await {
        Ok(found) => {
            let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            if addresses.is_empty() {
                Addresses::None
            } else {
                Addresses::Found { addresses, ttl: NEGATIVE_TTL }
            }
        }
        Err(error) => Addresses::Failed(error.to_string()),
    }
}

async fn addresses(dns: &dyn DnsLookup, host: &str) -> (Vec<Question>, Addresses) {
    let asked = Instant::now();
    let (a, aaaa) = futures_util::join!(dns.addresses(host, Family::A), dns.addresses(host, Family::Aaaa));
    let mut questions = Vec::new();
    note(&mut questions, host, "A", &a, asked);
    note(&mut questions, host, "AAAA", &aaaa, asked);
    let mut addresses = Vec::new();
    let mut least = Duration::MAX;
    let mut failure = None;
    for answer in [a, aaaa] {
        match answer {
            DnsAnswer::Records { records, ttl, .. } => {
                addresses.extend(records);
                least = least.min(ttl);
            }
            DnsAnswer::NoRecords | DnsAnswer::NoSuchDomain => {}
            DnsAnswer::Failed(why) => failure = Some(why.to_string()),
        }
    }
    let outcome = match (addresses.is_empty(), failure) {
        (false, _) => Addresses::Found { addresses, ttl: least },
        (true, Some(why)) => Addresses::Failed(why),
        (true, None) => Addresses::None,
    };
    (questions, outcome)
}

fn note<T: Display>(
    questions: &mut Vec<Question>,
    name: &str,
    rtype: &'static str,
    answer: &DnsAnswer<T>,
    asked: Instant,
) {
    questions.push(Question {
        name: name.to_owned(),
        rtype,
        answer: answer.to_string(),
        took: asked.elapsed(),
    });
}

fn rejected(
    questions: Vec<Question>,
    code: u16,
    (class, subject, detail): (u8, u16, u16),
    text: String,
) -> Routed {
    let reply = Reply::new(code, EnhancedCode::new(class, subject, detail), text);
    Routed { route: Route::Rejected(reply), questions, ttl: NEGATIVE_TTL }
}

fn deferred(questions: Vec<Question>, text: String) -> Routed {
    let reply = Reply::new(451, EnhancedCode::new(4, 4, 3), text);
    Routed { route: Route::Deferred(reply), questions, ttl: Duration::ZERO }
}
