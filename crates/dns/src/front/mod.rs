//! Requests in, responses out: what every transport shares.
//!
//! [`Engine::answer`] decides in the transport's own loop, without a task and without waiting, whatever our zones and
//! the cache can answer; only a question that other servers must be asked for becomes [`Pending`].
//!
//! - Octets that are no request are dropped: a response that is answered makes two servers talk for ever.
//! - What cannot be read gets FORMERR, other opcodes NOTIMP, both as a bare header, shorter than the request.
//! - Names that are not ours: recursion for the networks that may have it and ask for it, REFUSED for all others.

mod bind;
mod hickory;
mod tcp;
mod udp;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
pub use bind::{Bound, bind_all};
pub use hickory::HickoryHandler;
use ipnet::IpNet;
use metrics::{Counter, counter};
use postroad_types::limits::DNS_UDP_OCTETS_PLAIN;
pub use tcp::serve as serve_tcp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
pub use udp::serve as serve_udp;

use crate::resolve::{Answer, Resolver};
use crate::serve::{self, Rotation, Served, rcode};
use crate::wire::{Name, Request, RequestError, Rtype, Section, Writer, header_only};
use crate::zone::Zones;

const CLASS_IN: u16 = 1;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Recursion, and who may have it.
#[derive(Debug)]
pub struct Recursion {
    pub resolver: Arc<Resolver>,
    pub allow: Vec<IpNet>,
    /// Questions of clients that wait at a time; more get SERVFAIL at once.
    pub waiting_max: usize,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// The response is in the buffer.
    Reply,
    /// Nothing is answered.
    Drop,
    /// Other servers must be asked.
    Later(Pending),
}

/// A question that waits for other servers.
#[derive(Debug)]
pub struct Pending {
    request: Vec<u8>,
    name: Name,
    rtype: Rtype,
    transport: Transport,
    resolver: Arc<Resolver>,
    _permit: OwnedSemaphorePermit,
}

/// Answers requests, whatever they came over.
#[derive(Debug)]
pub struct Engine {
    zones: Arc<ArcSwap<Zones>>,
    recursion: Option<Recursion>,
    waiting: Arc<Semaphore>,
    rotation: Rotation,
    udp_octets_max: u16,
    counters: Counters,
}

/// Handles of the counters, so that counting costs one addition.
#[derive(Debug)]
struct Counters {
    udp: Vec<Counter>,
    tcp: Vec<Counter>,
    cache_hits: Counter,
    dropped: Counter,
}

const RCODES: [&str; 7] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other"];

impl Counters {
    fn new() -> Self {
        let by_rcode = |transport: &'static str| {
            let counter =
                |rcode| counter!("postroad_dns_queries_total", "transport" => transport, "rcode" => rcode);
            RCODES.iter().map(|rcode| counter(*rcode)).collect()
        };
        Self {
            udp: by_rcode("udp"),
            tcp: by_rcode("tcp"),
            cache_hits: counter!("postroad_dns_cache_hits_total"),
            dropped: counter!("postroad_dns_dropped_total"),
        }
    }

    fn count(&self, transport: Transport, rcode: u16) {
        let counters = if transport == Transport::Udp { &self.udp } else { &self.tcp };
        if let Some(counter) = counters.get(usize::from(rcode).min(RCODES.len() - 1)) {
            counter.increment(1);
        }
    }
}

impl Engine {
    pub fn new(
        zones: Arc<ArcSwap<Zones>>,
        recursion: Option<Recursion>,
        rotation: Rotation,
        udp_octets_max: u16,
    ) -> Self {
        let waiting = recursion.as_ref().map_or(0, |recursion| recursion.waiting_max);
        Self {
            zones,
            recursion,
            waiting: Arc::new(Semaphore::new(waiting)),
            rotation,
            udp_octets_max: udp_octets_max.max(DNS_UDP_OCTETS_PLAIN as u16),
            counters: Counters::new(),
        }
    }

    /// The recursion that `client` may have.
    fn recursion_for(&self, client: IpAddr) -> Option<&Recursion> {
        let client = client.to_canonical();
        self.recursion
            .as_ref()
            .filter(|recursion| recursion.allow.iter().any(|network| network.contains(&client)))
    }

    /// The greatest response that the asker takes.
    fn limit(&self, request: &Request<'_>, transport: Transport) -> usize {
        match (transport, request.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => DNS_UDP_OCTETS_PLAIN,
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_octets.min(self.udp_octets_max)),
        }
    }

    /// Answers a request that `client` sent, into `buffer`, as far as nobody else must be asked.
    pub fn answer(
        &self,
        octets: &[u8],
        client: IpAddr,
        transport: Transport,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        let request = match Request::parse(octets) {
            Ok(request) => request,
            Err(RequestError::NoRequest) => {
                self.counters.dropped.increment(1);
                return Outcome::Drop;
            }
            Err(error) => {
                let code = if error == RequestError::Malformed { rcode::FORMERR } else { rcode::NOTIMP };
                header_only(buffer, octets, code as u8);
                self.counters.count(transport, code);
                return Outcome::Reply;
            }
        };
        let recursion = self.recursion_for(client);
        let mut writer = Writer::new(buffer, &request, self.limit(&request, transport));
        writer.recursion_available = recursion.is_some();
        if let Some(code) = refusal(&request) {
            writer.rcode = code;
            return self.reply(writer, &request, transport);
        }
        let recursion = recursion.filter(|_| request.recursion_desired);
        let served = serve::answer(&self.zones.load(), &request, &mut writer, self.rotation);
        let recursion = match (served, recursion) {
            (Served::Answered, _) | (Served::Incomplete, None) => {
                return self.reply(writer, &request, transport);
            }
            (Served::NotHosted, None) => {
                writer.rcode = rcode::REFUSED;
                return self.reply(writer, &request, transport);
            }
            (Served::NotHosted | Served::Incomplete, Some(recursion)) => recursion,
        };
        writer.restart(&request);
        let Ok(name) = Name::from_wire(request.question.name) else { return Outcome::Drop };
        let rtype = request.question.rtype;
        if served == Served::NotHosted
            && let Some(answer) = recursion.resolver.cached(&name, rtype)
        {
            self.counters.cache_hits.increment(1);
            self.write(&answer, &mut writer);
            return self.reply(writer, &request, transport);
        }
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
            writer.rcode = rcode::SERVFAIL;
            return self.reply(writer, &request, transport);
        };
        let resolver = Arc::clone(&recursion.resolver);
        Outcome::Later(Pending {
            request: octets.to_vec(),
            name,
            rtype,
            transport,
            resolver,
            _permit: permit,
        })
    }

    fn reply(&self, writer: Writer<'_>, request: &Request<'_>, transport: Transport) -> Outcome {
        self.counters.count(transport, writer.rcode);
        writer.finish(request, self.udp_octets_max);
        Outcome::Reply
    }

    /// Waits for other servers and gives the response; `None` only if the request cannot be read any more.
    pub async fn complete(&self, pending: Pending) -> Option<Vec<u8>> {
        let explained = pending.resolver.resolve(&pending.name, pending.rtype, false).await;
        let request = Request::parse(&pending.request).ok()?;
        let mut buffer = Vec::with_capacity(DNS_UDP_OCTETS_PLAIN);
        let mut writer = Writer::new(&mut buffer, &request, self.limit(&request, pending.transport));
        writer.recursion_available = true;
        self.write(&explained.answer, &mut writer);
        self.reply(writer, &request, pending.transport);
        Some(buffer)
    }

    fn write(&self, answer: &Answer, writer: &mut Writer<'_>) {
        writer.rcode = answer.rcode;
        for held in &answer.records {
            let first = self.rotation.first(&held.rrset);
            if !writer.rrset(Section::Answer, held.owner.as_wire(), &held.rrset, held.ttl, first) {
                writer.truncated = true;
                return;
            }
        }
        if let Some(soa) = &answer.authority
            && !writer.rrset(Section::Authority, soa.owner.as_wire(), &soa.rrset, soa.ttl, 0)
        {
            writer.truncated = true;
        }
    }
}

/// The code for questions that are answered by a code alone, whoever asks.
fn refusal(request: &Request<'_>) -> Option<u16> {
    if request.edns.is_some_and(|edns| edns.version > 0) {
        return Some(rcode::BADVERS);
    }
    if request.question.class != CLASS_IN {
        return Some(rcode::REFUSED);
    }
    match request.question.rtype {
        Rtype::ANY => None,
        // Zone transfers are for those whom a zone allows them; no zone does yet.
        Rtype::AXFR | Rtype::IXFR => Some(rcode::REFUSED),
        Rtype::OPT | Rtype(0) => Some(rcode::FORMERR),
        rtype if rtype.is_meta() => Some(rcode::NOTIMP),
        _ => None,
    }
}
