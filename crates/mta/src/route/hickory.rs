//! [`DnsLookup`] over hickory's stub resolver, which asks our dns role.
//!
//! No cache of its own: the resolver behind it has one with all its rules, and a second one would only make
//! changes slower to arrive. A resolver that is given by name (in containers) is looked up again when
//! questions fail, because the container may have come back with another address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::{DnsError, NetError};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use tokio::time::Instant;

use super::dns::{DnsAnswer, DnsLookup, Family, Mx};

/// A question with all its repetitions takes at most so long.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);
/// One packet is waited for so long; our resolver may have to walk from the root.
const PACKET_TIMEOUT: Duration = Duration::from_secs(5);
/// Resolvers given by name are looked up again at most this often.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// A resolver as the configuration names it: host (name or address) and port.
pub type ResolverName = (String, u16);

/// Asks the configured resolvers in order.
pub struct HickoryLookup {
    names: Vec<ResolverName>,
    current: Mutex<Option<Current>>,
}

struct Current {
    resolver: TokioResolver,
    since: Instant,
}

impl std::fmt::Debug for HickoryLookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HickoryLookup").field("names", &self.names).finish_non_exhaustive()
    }
}

impl HickoryLookup {
    /// `names` must not be empty: without a resolver nothing can be routed.
    pub fn new(names: Vec<ResolverName>) -> Self {
        HickoryLookup { names, current: Mutex::new(None) }
    }

    /// The resolver in use; made at the first question, and again after failures if it was given by name.
    async fn resolver(&self, failed: bool) -> Result<TokioResolver, String> {
        let by_name = self.names.iter().any(|(host, _)| host.parse::<IpAddr>().is_err());
        if let Ok(current) = self.current.lock()
            && let Some(current) = current.as_ref()
            && (!failed || !by_name || current.since.elapsed() < REFRESH_EVERY)
        {
            return Ok(current.resolver.clone());
        }
        let mut servers = Vec::new();
        for (host, port) in &self.names {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(found) => servers.extend(found.map(server)),
                Err(error) => {
                    return Err(format!("the resolver {host}:{port} can not be looked up: {error}"));
                }
            }
        }
        let mut options = ResolverOpts::default();
        options.timeout = PACKET_TIMEOUT;
        options.attempts = 2;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.try_tcp_on_error = true;
        options.max_active_requests = 1024;
        let config = ResolverConfig::from_name_servers(servers);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| format!("no stub resolver could be made: {error}"))?;
        if let Ok(mut current) = self.current.lock() {
            *current = Some(Current { resolver: resolver.clone(), since: Instant::now() });
        }
        Ok(resolver)
    }

    async fn ask<T>(
        &self,
        name: &str,
        rtype: RecordType,
        pick: impl Fn(&Record) -> Option<T>,
    ) -> DnsAnswer<T> {
        let resolver = match self.resolver(false).await {
            Ok(resolver) => resolver,
            Err(why) => return DnsAnswer::Failed(why),
        };
        // The final dot keeps search lists out.
        let asked = resolver.lookup(format!("{name}."), rtype);
        let answer = match tokio::time::timeout(QUESTION_TIMEOUT, asked).await {
            Ok(Ok(found)) => {
                let records: Vec<T> = found.answers().iter().filter_map(pick).collect();
                let ttl = found.answers().iter().map(|r| r.ttl).min().unwrap_or(0);
                if records.is_empty() {
                    DnsAnswer::NoRecords
                } else {
                    let secure = found.message().metadata.authentic_data;
                    DnsAnswer::Records { records, ttl: Duration::from_secs(ttl.into()), secure }
                }
            }
            Ok(Err(error)) => negative(&error),
            Err(_) => DnsAnswer::Failed(format!("no answer within {} s", QUESTION_TIMEOUT.as_secs())),
        };
        if matches!(answer, DnsAnswer::Failed(_)) {
            // For the next question; this one's mail is deferred.
            let _ = self.resolver(true).await;
        }
        answer
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(
        address.ip(),
        true,
        vec![port(ConnectionConfig::udp()), port(ConnectionConfig::tcp())],
    )
}

fn negative<T>(error: &NetError) -> DnsAnswer<T> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => DnsAnswer::NoSuchDomain,
            ResponseCode::NoError => DnsAnswer::NoRecords,
            code => DnsAnswer::Failed(code.to_string()),
        },
        error => DnsAnswer::Failed(error.to_string()),
    }
}

#[async_trait]
impl DnsLookup for HickoryLookup {
    async fn mx(&self, domain: &str) -> DnsAnswer<Mx> {
        self.ask(domain, RecordType::MX, |record| match &record.data {
            RData::MX(mx) => {
                let name = mx.exchange.to_ascii().to_ascii_lowercase();
                let exchange = name.strip_suffix('.').unwrap_or(&name).to_owned();
                Some(Mx { preference: mx.preference, exchange })
            }
            _ => None,
        })
        .await
    }

    async fn addresses(&self, host: &str, family: Family) -> DnsAnswer<IpAddr> {
        match family {
            Family::A => {
                self.ask(host, RecordType::A, |record| match &record.data {
                    RData::A(a) => Some(IpAddr::V4(a.0)),
                    _ => None,
                })
                .await
            }
            Family::Aaaa => {
                self.ask(host, RecordType::AAAA, |record| match &record.data {
                    RData::AAAA(a) => Some(IpAddr::V6(a.0)),
                    _ => None,
                })
                .await
            }
        }
    }

    async fn names(&self, address: IpAddr) -> DnsAnswer<String> {
        let name = Name::from(address).to_ascii();
        self.ask(name.trim_end_matches('.'), RecordType::PTR, |record| match &record.data {
            RData::PTR(ptr) => {
                let name = ptr.0.to_ascii().to_ascii_lowercase();
                Some(name.strip_suffix('.').unwrap_or(&name).to_owned())
            }
            _ => None,
        })
        .await
    }

    async fn texts(&self, name: &str) -> DnsAnswer<String> {
        self.ask(name, RecordType::TXT, |record| match &record.data {
            RData::TXT(txt) => {
                let joined: Vec<u8> = txt.txt_data.iter().flat_map(|text| text.iter().copied()).collect();
                Some(String::from_utf8_lossy(&joined).into_owned())
            }
            _ => None,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::rdata::{A, MX};
    use hickory_proto::rr::rdata::{PTR, SOA, TXT};
    use tokio::net::UdpSocket;

    use super::*;

    /// A resolver on loopback that knows `beta.test`; `broken.test` is SERVFAIL, all else does not exist.
    async fn resolver() -> HickoryLookup {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut packet = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut packet).await {
                let answer = answer(&Message::from_vec(&packet[..length]).unwrap());
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        });
        HickoryLookup::new(vec![("127.0.0.1".to_owned(), port)])
    }

    fn answer(question: &Message) -> Message {
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.message_type = MessageType::Response;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let name = query.name().clone();
        let negative = |answer: &mut Message| {
            let soa = SOA::new(Name::from_ascii("test.").unwrap(), Name::root(), 1, 60, 60, 60, 60);
            answer.add_authority(Record::from_rdata(Name::from_ascii("test.").unwrap(), 60, RData::SOA(soa)));
        };
        match (name.to_ascii().to_ascii_lowercase().as_str(), query.query_type()) {
            ("beta.test.", RecordType::MX) => {
                for (preference, host) in [(10, "MX1.beta.test."), (20, "mx2.beta.test.")] {
                    let mx = MX::new(preference, Name::from_ascii(host).unwrap());
                    answer.add_answer(Record::from_rdata(name.clone(), 300, RData::MX(mx)));
                }
            }
            ("beta.test.", RecordType::A) => {
                answer.add_answer(Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, 1))));
            }
            ("beta.test.", RecordType::TXT) => {
                let txt = TXT::new(vec!["two ".to_owned(), "strings".to_owned()]);
                answer.add_answer(Record::from_rdata(name.clone(), 60, RData::TXT(txt)));
            }
            ("1.2.0.192.in-addr.arpa.", RecordType::PTR) => {
                let ptr = PTR(Name::from_ascii("Host.beta.test.").unwrap());
                answer.add_answer(Record::from_rdata(name.clone(), 60, RData::PTR(ptr)));
            }
            ("beta.test.", _) => negative(&mut answer),
            ("broken.test.", _) => answer.metadata.response_code = ResponseCode::ServFail,
            _ => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                negative(&mut answer);
            }
        }
        answer
    }

    #[tokio::test]
    async fn each_answer_is_what_dns_said() {
        let dns = resolver().await;
        let DnsAnswer::Records { records, ttl, .. } = dns.mx("beta.test").await else { panic!("no records") };
        let shown: Vec<String> = records.iter().map(ToString::to_string).collect();
        assert_eq!(
            (shown, ttl.as_secs()),
            (vec!["10 mx1.beta.test.".into(), "20 mx2.beta.test.".into()], 300)
        );
        let a = dns.addresses("beta.test", Family::A).await;
        assert_eq!(a.to_string(), "192.0.2.1");
        assert_eq!(dns.addresses("beta.test", Family::Aaaa).await, DnsAnswer::NoRecords);
        assert_eq!(dns.texts("beta.test").await.to_string(), "two strings");
        assert_eq!(dns.names("192.0.2.1".parse().unwrap()).await.to_string(), "host.beta.test");
        assert_eq!(dns.names("2001:db8::1".parse().unwrap()).await, DnsAnswer::NoSuchDomain);
        assert_eq!(dns.mx("nowhere.test").await, DnsAnswer::NoSuchDomain);
        assert!(matches!(dns.mx("broken.test").await, DnsAnswer::Failed(_)));
    }
}
