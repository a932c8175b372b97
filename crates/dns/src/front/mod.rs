//! Requests in, responses out: what every transport shares.
//!
//! [`Engine::answer`] decides in the transport's own loop, without a task and without waiting, whatever our zones and
//! the cache can answer; only a question that other servers must be asked for becomes [`Pending`].
//!
//! - Octets that are no request are dropped: a response that is answered makes two servers talk for ever.
//! - What cannot be read gets FORMERR, other opcodes NOTIMP, both as a bare header, shorter than the request.
//! - A signature (TSIG) is checked before anything else, and what is answered to it is signed.
//! - Names that are not ours: recursion for the networks that may have it and ask for it, REFUSED for all others.

mod bind;
mod hickory;
mod tcp;
mod transfers;
mod udp;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwap;
pub use bind::{Bound, bind_all};
pub use hickory::HickoryHandler;
use ipnet::IpNet;
use metrics::{Counter, counter};
use postroad_service::{Clock, SystemClock};
use postroad_types::limits::DNS_UDP_OCTETS_PLAIN;
pub use tcp::serve as serve_tcp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transfers::Streams;
pub use transfers::{Agreed, RecordTooLong, Stream};
pub use udp::serve as serve_udp;

use crate::resolve::{Answer, Resolver};
use crate::serve::{self, Rotation, Served, rcode};
use crate::tsig::{Checked, Refusal, Signer};
use crate::wire::{
    Name, OPCODE_NOTIFY, OPCODE_UPDATE, Request, RequestError, Rtype, Section, Writer, header_only,
};
use crate::zone::{Hosted, Zones};

const CLASS_IN: u16 = 1;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    /// By another's listener, which takes one response of any length.
    Whole,
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
    /// Other servers must be asked, or files be written.
    Later(Pending),
    /// The response is more than one message. Over TCP only.
    Stream(Box<Stream>),
}

/// A request whose answer takes time.
#[derive(Debug)]
pub struct Pending {
    request: Vec<u8>,
    transport: Transport,
    task: Task,
    /// The response is signed.
    signer: Option<Signer>,
    _permit: OwnedSemaphorePermit,
}

/// What is to be done for an answer.
#[derive(Debug)]
enum Task {
    /// Other servers are asked.
    Resolve(Name, Rtype, Arc<Resolver>),
    /// A zone is changed, and its file written.
    Update(Arc<Hosted>),
}

/// Answers requests, whatever they came over.
#[derive(Debug)]
pub struct Engine {
    zones: Arc<ArcSwap<Zones>>,
    recursion: Option<Recursion>,
    waiting: Arc<Semaphore>,
    rotation: Rotation,
    udp_octets_max: u16,
    agreed: Agreed,
    streams: Streams,
    clock: Arc<dyn Clock>,
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
            agreed: Agreed::nothing(),
            streams: Streams::new(),
            clock: Arc::new(SystemClock::new()),
            counters: Counters::new(),
        }
    }

    /// With what is agreed with other name servers, and the clock by which they sign.
    pub fn with_agreed(self, agreed: Agreed, clock: Arc<dyn Clock>) -> Self {
        Self { agreed, clock, ..self }
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
            (Transport::Tcp | Transport::Whole, _) => usize::from(u16::MAX),
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
        let Some(at) = request.tsig else {
            return self.answer_request(octets, &request, client, transport, None, buffer);
        };
        let now = seconds(&*self.clock);
        let mut signer = match self.agreed.keys.check(octets, at, now) {
            Checked::Right(signer) => signer,
            Checked::Wrong(refusal) => {
                let what = format!("the signature with key {}, error {}", refusal.key, refusal.code);
                self.streams.refused(&*self.clock, client, request.question.name, &what);
                return self.refuse_signature(&request, refusal, transport, now, buffer);
            }
            Checked::Malformed => {
                header_only(buffer, octets, rcode::FORMERR as u8);
                self.counters.count(transport, rcode::FORMERR);
                return Outcome::Reply;
            }
        };
        let mut outcome = self.answer_request(octets, &request, client, transport, Some(&signer), buffer);
        match &mut outcome {
            Outcome::Reply => signer.sign(buffer, now),
            Outcome::Drop => {}
            Outcome::Later(pending) => pending.signer = Some(signer),
            Outcome::Stream(stream) => stream.signer = Some(signer),
        }
        outcome
    }

    /// NOTAUTH, with the reason in the response's own TSIG record (RFC 8945 section 5.2).
    fn refuse_signature(
        &self,
        request: &Request<'_>,
        refusal: Refusal,
        transport: Transport,
        now: u64,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        let limit = self.limit(request, transport).saturating_sub(refusal.octets());
        let mut writer = Writer::new(buffer, request, limit);
        writer.rcode = rcode::NOTAUTH;
        let outcome = self.reply(writer, request, transport);
        refusal.finish(buffer, now);
        outcome
    }

    /// Answers a request whose signature, if it has one, is right.
    fn answer_request(
        &self,
        octets: &[u8],
        request: &Request<'_>,
        client: IpAddr,
        transport: Transport,
        signer: Option<&Signer>,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        let limit = self.limit(request, transport).saturating_sub(signer.map_or(0, Signer::octets));
        let recursion = self.recursion_for(client);
        let mut writer = Writer::new(buffer, request, limit);
        writer.recursion_available = recursion.is_some();
        if let Some(code) = refusal(request) {
            writer.rcode = code;
            return self.reply(writer, request, transport);
        }
        let key = signer.map(Signer::key_name);
        match request.opcode {
            OPCODE_NOTIFY => return self.notified(request, client, transport, key, writer),
            OPCODE_UPDATE => return self.update(octets, request, client, transport, key, writer),
            _ => {}
        }
        if matches!(request.question.rtype, Rtype::AXFR | Rtype::IXFR) {
            return self.transfer(octets, request, client, transport, key, writer);
        }
        let recursion = recursion.filter(|_| request.recursion_desired);
        let served = serve::answer(&self.zones.load(), request, &mut writer, self.rotation);
        let recursion = match (served, recursion) {
            (Served::Answered, _) | (Served::Incomplete, None) => {
                return self.reply(writer, request, transport);
            }
            (Served::NotHosted, None) => {
                writer.rcode = rcode::REFUSED;
                return self.reply(writer, request, transport);
            }
            (Served::NotHosted | Served::Incomplete, Some(recursion)) => recursion,
        };
        writer.restart(request);
        let Ok(name) = Name::from_wire(request.question.name) else { return Outcome::Drop };
        let rtype = request.question.rtype;
        if served == Served::NotHosted
            && let Some(answer) = recursion.resolver.cached(&name, rtype)
        {
            self.counters.cache_hits.increment(1);
            self.write(&answer, &mut writer);
            return self.reply(writer, request, transport);
        }
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
            writer.rcode = rcode::SERVFAIL;
            return self.reply(writer, request, transport);
        };
        let resolver = Arc::clone(&recursion.resolver);
        let task = Task::Resolve(name, rtype, resolver);
        Outcome::Later(Pending { request: octets.to_vec(), transport, task, signer: None, _permit: permit })
    }

    fn reply(&self, writer: Writer<'_>, request: &Request<'_>, transport: Transport) -> Outcome {
        self.counters.count(transport, writer.rcode);
        writer.finish(request, self.udp_octets_max);
        Outcome::Reply
    }

    /// Does what a request waits for and gives the response; `None` only if the request cannot be read any more.
    pub async fn complete(&self, pending: Pending) -> Option<Vec<u8>> {
        let Pending { request: octets, transport, task, signer, _permit } = pending;
        let done = match task {
            Task::Resolve(name, rtype, resolver) => Ok(resolver.resolve(&name, rtype, false).await),
            Task::Update(hosted) => Err(transfers::update(hosted, &octets, signer.as_ref()).await),
        };
        let request = Request::parse(&octets).ok()?;
        let mut buffer = Vec::with_capacity(DNS_UDP_OCTETS_PLAIN);
        let signature = signer.as_ref().map_or(0, Signer::octets);
        let limit = self.limit(&request, transport).saturating_sub(signature);
        let mut writer = Writer::new(&mut buffer, &request, limit);
        match done {
            Ok(explained) => {
                writer.recursion_available = true;
                self.write(&explained.answer, &mut writer);
            }
            Err(code) => writer.rcode = code,
        }
        self.reply(writer, &request, transport);
        if let Some(mut signer) = signer {
            signer.sign(&mut buffer, seconds(&*self.clock));
        }
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
        Rtype::ANY | Rtype::AXFR | Rtype::IXFR => None,
        Rtype::OPT | Rtype(0) => Some(rcode::FORMERR),
        rtype if rtype.is_meta() => Some(rcode::NOTIMP),
        _ => None,
    }
}

/// Seconds since 1970, as signatures count time.
fn seconds(clock: &dyn Clock) -> u64 {
    clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
