//! [`DnsLookup`] over hickory's stub resolver, which asks our dns role.
//!
//! Questions have the AD bit, so that a resolver that validates says when it has (RFC 6840 §5.7); its word counts, so
//! it must be reached over a path that can be trusted. SERVFAIL is asked again with checking disabled (RFC 4035
//! §3.2.2): data that come only then are there but bogus.
//!
//! No cache of its own: the resolver behind it has one with all its rules, and a second one would only make
//! changes slower to arrive. A resolver that is given by name (in containers) is looked up again when
//! questions fail, because the container may have come back with another address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::xfer::{DnsHandle, RetryDnsHandle};
use hickory_net::{DnsError, NetError};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::time::Instant;

use super::dns::{DnsAnswer, DnsLookup, Failure, Family, Mx};

/// A question with all its repetitions takes at most so long.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);
/// One packet is waited for so long; our resolver may have to walk from the root.
const PACKET_TIMEOUT: Duration = Duration::from_secs(5);
/// A packet is sent again so often.
const ATTEMPTS: usize = 2;
/// Resolvers given by name are looked up again at most this often.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// A resolver as the configuration names it: host (name or address) and port.
pub type ResolverName = (String, u16);

/// Asks the configured resolvers in order.
pub struct HickoryLookup {
    names: Vec<ResolverName>,
    current: Mutex<Option<Current>>,
}

type Stub = RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>;

struct Current {
    stub: Stub,
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

    /// The stub in use; made at the first question, and again after failures if a resolver was given by name.
    async fn stub(&self, failed: bool) -> Result<Stub, String> {
        let by_name = self.names.iter().any(|(host, _)| host.parse::<IpAddr>().is_err());
        if let Ok(current) = self.current.lock()
            && let Some(current) = current.as_ref()
            && (!failed || !by_name || current.since.elapsed() < REFRESH_EVERY)
        {
            return Ok(current.stub.clone());
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
        options.try_tcp_on_error = true;
        options.max_active_requests = 1024;
        let tls = TlsConfig::new().map_err(|error| format!("no stub resolver could be made: {error}"))?;
        let context = PoolContext::new(options, tls).into();
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        let stub = RetryDnsHandle::new(pool, ATTEMPTS);
        if let Ok(mut current) = self.current.lock() {
            *current = Some(Current { stub: stub.clone(), since: Instant::now() });
        }
        Ok(stub)
    }

    async fn ask<T>(
        &self,
        name: &str,
        rtype: RecordType,
        pick: impl Fn(&Record) -> Option<T>,
    ) -> DnsAnswer<T> {
        let failed = |why| DnsAnswer::Failed(Failure::Other(why));
        let stub = match self.stub(false).await {
            Ok(stub) => stub,
            Err(why) => return failed(why),
        };
        let name = match Name::from_ascii(name) {
            Ok(name) => name.to_lowercase(),
            Err(error) => return failed(format!("{name} can not be asked for: {error}")),
        };
        let until = Instant::now() + QUESTION_TIMEOUT;
        let answer = match tokio::time::timeout_at(until, exchange(&stub, &name, rtype, false)).await {
            Ok(answer) => self::answer(answer, pick),
            Err(_) => failed(format!("no answer within {} s", QUESTION_TIMEOUT.as_secs())),
        };
        if !matches!(answer, DnsAnswer::Failed(_)) {
            return answer;
        }
        // For the next question; this one's mail is deferred.
        let _ = self.stub(true).await;
        if matches!(answer, DnsAnswer::Failed(Failure::ServFail)) {
            let unchecked = tokio::time::timeout_at(until, exchange(&stub, &name, rtype, true)).await;
            if let Ok(unchecked) = unchecked
                && !matches!(self::answer(unchecked, |_| Some(())), DnsAnswer::Failed(_))
            {
                return DnsAnswer::Failed(Failure::Bogus);
            }
        }
        answer
    }
}

async fn exchange(
    stub: &Stub,
    name: &Name,
    rtype: RecordType,
    checking_disabled: bool,
) -> Result<DnsResponse, NetError> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true;
    message.metadata.checking_disabled = checking_disabled;
    let options = DnsRequestOptions::default();
    message.edns.get_or_insert_with(Edns::new).set_max_payload(options.edns_payload_len);
    // A name with its final dot: no search list.
    let mut name = name.clone();
    name.set_fqdn(true);
    message.add_query(Query::query(name, rtype));
    match stub.send(DnsRequest::new(message, options)).next().await {
        Some(answer) => answer,
        None => Err(NetError::NoConnections),
    }
}

fn answer<T>(answer: Result<DnsResponse, NetError>, pick: impl Fn(&Record) -> Option<T>) -> DnsAnswer<T> {
    let response = match answer {
        Ok(response) => response,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => return negative(none.response_code),
        Err(NetError::Dns(DnsError::ResponseCode(code))) => return negative(code),
        Err(error) => return DnsAnswer::Failed(Failure::Other(error.to_string())),
    };
    let records: Vec<T> = response.answers.iter().filter_map(pick).collect();
    if records.is_empty() {
        // An alias without a target of this type, or without a target at all.
        return negative(response.metadata.response_code);
    }
    let ttl = response.answers.iter().map(|record| record.ttl).min().unwrap_or(0);
    let secure = response.metadata.authentic_data;
    DnsAnswer::Records { records, ttl: Duration::from_secs(ttl.into()), secure }
}

fn negative<T>(code: ResponseCode) -> DnsAnswer<T> {
    match code {
        ResponseCode::NXDomain => DnsAnswer::NoSuchDomain,
        ResponseCode::NoError => DnsAnswer::NoRecords,
        ResponseCode::ServFail => DnsAnswer::Failed(Failure::ServFail),
        code => DnsAnswer::Failed(Failure::Other(code.to_string())),
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

    /// A resolver on loopback that knows `beta.test`, and that it is signed; `broken.test` is SERVFAIL,
    /// `bogus.test` too unless checking is disabled, and all else does not exist.
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
        answer.metadata.authentic_data = question.metadata.authentic_data;
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
            ("bogus.test.", _) if question.metadata.checking_disabled => negative(&mut answer),
            ("broken.test." | "bogus.test.", _) => answer.metadata.response_code = ResponseCode::ServFail,
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
        let DnsAnswer::Records { records, ttl, secure } = dns.mx("beta.test").await else {
            panic!("no records")
        };
        assert!(secure, "the resolver was asked whether it validates, and says so");
        let shown: Vec<String> = records.iter().map(ToString::to_string).collect();
        assert_eq!(
            (shown, ttl.as_secs()),
            (vec!["10 mx1.beta.test.".into(), "20 mx2.beta.test.".into()], 300)
        );
        let a = dns.addresses("beta.test", Family::A).await;
        assert_eq!(a.to_string(), "192.0.2.1 (secure)");
        assert_eq!(dns.addresses("beta.test", Family::Aaaa).await, DnsAnswer::NoRecords);
        assert_eq!(dns.texts("beta.test").await.to_string(), "two strings (secure)");
        assert_eq!(dns.names("192.0.2.1".parse().unwrap()).await.to_string(), "host.beta.test (secure)");
        assert_eq!(dns.names("2001:db8::1".parse().unwrap()).await, DnsAnswer::NoSuchDomain);
        assert_eq!(dns.mx("nowhere.test").await, DnsAnswer::NoSuchDomain);
        assert_eq!(dns.mx("broken.test").await, DnsAnswer::Failed(Failure::ServFail));
        assert_eq!(dns.mx("bogus.test").await, DnsAnswer::Failed(Failure::Bogus));
    }
}
