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
mod cookie;
mod counters;
mod hickory;
mod https;
mod limit;
mod packets;
mod quic;
mod tcp;
mod tls;
mod transfers;
mod udp;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
pub use bind::{Bound, bind_all};
pub use hickory::HickoryHandler;
pub use https::{HttpsDoor, PROTOCOLS as HTTPS_PROTOCOLS, serve as serve_https};
use ipnet::IpNet;
pub use packets::{Keep, Lifetime, Packets, Probe};
use postroad_service::{Clock, SystemClock};
use postroad_types::limits::{
    DNS_NSID_OCTETS_MAX, DNS_PADDED_RESPONSE_OCTETS, DNS_UDP_OCTETS_MAX, DNS_UDP_OCTETS_PLAIN,
};
pub use quic::{PROTOCOL as QUIC_PROTOCOL, QuicDoor, QuicError, serve as serve_quic};
pub use tcp::serve as serve_tcp;
pub use tls::{PROTOCOL as TLS_PROTOCOL, serve as serve_tls};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transfers::Streams;
pub use transfers::{Agreed, RecordTooLong, Stream};
pub use udp::serve as serve_udp;

use crate::resolve::{Answer, Resolver};
use crate::serve::{self, Rotation, Served, rcode};
use crate::tsig::{Checked, Refusal, Signer};
use crate::wire::options::{Padding, ReplyOptions, code, extended};
use crate::wire::{
    Name, OPCODE_NOTIFY, OPCODE_UPDATE, Request, RequestError, Rtype, Section, TTL_PLACES_MAX, Writer,
    header_only,
};
use crate::zone::{Hosted, Zones};
use cookie::Cookies;
use counters::Counters;
use limit::{Allowance, RateLimit};

const CLASS_IN: u16 = 1;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
    /// DNS over QUIC.
    Quic,
    /// By another's listener, which takes one response of any length.
    Whole,
}

impl Transport {
    /// All of them, as they are counted.
    pub const ALL: [Transport; 6] =
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic, Transport::Whole];

    /// `udp`, `tcp`, `tls`, `https`, `quic`, `other`.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Https => "https",
            Transport::Quic => "quic",
            Transport::Whole => "other",
        }
    }

    /// Nobody on the way reads along.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls | Transport::Https | Transport::Quic)
    }

    /// A response may be more than one message.
    pub fn takes_streams(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls | Transport::Quic)
    }
}

/// Recursion, and who may have it.
#[derive(Debug)]
pub struct Recursion {
    pub resolver: Arc<Resolver>,
    pub allow: Vec<IpNet>,
    /// Questions of clients that wait at a time; more get SERVFAIL at once.
    pub waiting_max: usize,
}

/// How requests are answered, whatever they ask.
#[derive(Debug, Clone)]
pub struct Settings {
    pub rotation: Rotation,
    /// Greatest answer over UDP, in octets.
    pub udp_octets_max: u16,
    /// The server's name for itself (RFC 5001); empty: none is told.
    pub nsid: Vec<u8>,
    /// A TCP connection may be idle for so long.
    pub tcp_idle: Duration,
    /// Answers a second over UDP to one network that may not have recursion; 0: as many as it asks for.
    pub answers_per_second: u32,
    /// Networks whose answers are not counted.
    pub uncounted: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rotation: Rotation::default(),
            udp_octets_max: DNS_UDP_OCTETS_MAX,
            nsid: Vec::new(),
            tcp_idle: Duration::from_secs(10),
            answers_per_second: 0,
            uncounted: Vec::new(),
        }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// The response is in the buffer, and may be kept so.
    Reply(Option<Keep>),
    /// Nothing is answered.
    Drop,
    /// Other servers must be asked, or files be written.
    Later(Pending),
    /// The response is more than one message. Over TCP, TLS and QUIC only.
    Stream(Box<Stream>),
}

/// A request whose answer takes time.
#[derive(Debug)]
pub struct Pending {
    request: Vec<u8>,
    transport: Transport,
    client: IpAddr,
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
    settings: Settings,
    cookies: Cookies,
    rate_limit: Option<RateLimit>,
    started: Instant,
    agreed: Agreed,
    streams: Streams,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

impl Engine {
    pub fn new(zones: Arc<ArcSwap<Zones>>, recursion: Option<Recursion>, mut settings: Settings) -> Self {
        let waiting = recursion.as_ref().map_or(0, |recursion| recursion.waiting_max);
        settings.udp_octets_max = settings.udp_octets_max.max(DNS_UDP_OCTETS_PLAIN as u16);
        settings.nsid.truncate(DNS_NSID_OCTETS_MAX);
        let rate = settings.answers_per_second;
        Self {
            zones,
            recursion,
            waiting: Arc::new(Semaphore::new(waiting)),
            cookies: Cookies::new(rand::random()),
            rate_limit: (rate > 0).then(|| RateLimit::new(rate)),
            started: Instant::now(),
            settings,
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
            (Transport::Udp, None) => DNS_UDP_OCTETS_PLAIN,
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_octets.min(self.settings.udp_octets_max)),
            _ => usize::from(u16::MAX),
        }
    }

    /// The options that answer those of a request, with a signature of so many octets behind them. `None`: one of them is
    /// malformed.
    fn options(
        &self,
        request: &Request<'_>,
        client: IpAddr,
        transport: Transport,
        signature: usize,
    ) -> Option<ReplyOptions<'_>> {
        let Some(edns) = request.edns else { return Some(ReplyOptions::default()) };
        let cookie = match edns.option(code::COOKIE) {
            Some(option) => {
                Some(self.cookies.check(option, client, seconds(&*self.clock) as u32).ok()?.reply)
            }
            None => None,
        };
        let nsid = Some(&self.settings.nsid[..]);
        let idle = self.settings.tcp_idle.as_millis() / 100;
        let keeps_alive = matches!(transport, Transport::Tcp | Transport::Tls);
        let idle = Some(u16::try_from(idle).unwrap_or(u16::MAX)).filter(|_| keeps_alive);
        let padded = transport.is_encrypted() && edns.option(code::PADDING).is_some();
        let padding = Padding { block: DNS_PADDED_RESPONSE_OCTETS, signature };
        Some(ReplyOptions {
            nsid: nsid.filter(|nsid| !nsid.is_empty() && edns.option(code::NSID).is_some()),
            keepalive: idle.filter(|_| edns.option(code::TCP_KEEPALIVE).is_some()),
            padding: padded.then_some(padding),
            cookie,
        })
    }

    /// Whether an answer over UDP may go to `client`.
    fn allowance(&self, octets: &[u8], client: IpAddr, recursion_allowed: bool) -> Allowance {
        let Some(limit) = self.rate_limit.as_ref().filter(|_| !recursion_allowed) else {
            return Allowance::Send;
        };
        if self.settings.uncounted.iter().any(|network| network.contains(&client.to_canonical())) {
            return Allowance::Send;
        }
        let allowance = limit.count(client, self.started.elapsed());
        if allowance == Allowance::Send {
            return allowance;
        }
        let shows_our_cookie = Request::parse(octets).ok().and_then(|request| {
            let option = request.edns?.option(code::COOKIE)?;
            self.cookies.check(option, client, seconds(&*self.clock) as u32).ok()
        });
        if shows_our_cookie.is_some_and(|cookie| cookie.is_ours) {
            return Allowance::Send;
        }
        self.counters.limited.increment(1);
        allowance
    }

    /// Nothing but TC, which sends who really asked to TCP.
    fn truncated(&self, octets: &[u8], client: IpAddr, buffer: &mut Vec<u8>) -> Outcome {
        let Ok(request) = Request::parse(octets) else { return Outcome::Drop };
        let mut writer = Writer::new(buffer, &request, DNS_UDP_OCTETS_PLAIN);
        if let Some(options) = self.options(&request, client, Transport::Udp, 0) {
            writer.set_options(options);
        }
        writer.truncated = true;
        self.reply(writer, &request, Transport::Udp)
    }

    /// Answers a request that `client` sent, into `buffer`, as far as nobody else must be asked.
    pub fn answer(
        &self,
        octets: &[u8],
        client: IpAddr,
        transport: Transport,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        self.answer_by(self.settings.rotation, octets, client, transport, buffer)
    }

    fn answer_by(
        &self,
        rotation: Rotation,
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
                return Outcome::Reply(None);
            }
        };
        let Some(at) = request.tsig else {
            return self.answer_request(rotation, octets, &request, client, transport, None, buffer);
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
                return Outcome::Reply(None);
            }
        };
        let mut outcome =
            self.answer_request(rotation, octets, &request, client, transport, Some(&signer), buffer);
        match &mut outcome {
            Outcome::Reply(_) => signer.sign(buffer, now),
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
    #[allow(clippy::too_many_arguments, reason = "they are what came, and belong to nothing else")]
    fn answer_request(
        &self,
        rotation: Rotation,
        octets: &[u8],
        request: &Request<'_>,
        client: IpAddr,
        transport: Transport,
        signer: Option<&Signer>,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        let signature = signer.map_or(0, Signer::octets);
        let limit = self.limit(request, transport).saturating_sub(signature);
        let recursion = self.recursion_for(client);
        let mut writer = Writer::new(buffer, request, limit);
        writer.recursion_available = recursion.is_some();
        match self.options(request, client, transport, signature) {
            Some(options) => writer.set_options(options),
            None => writer.rcode = rcode::FORMERR,
        }
        if writer.rcode == 0 {
            (writer.rcode, writer.extended_error) = refusal(request).unwrap_or((0, None));
        }
        if writer.rcode != 0 {
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
        let served = serve::answer(&self.zones.load(), request, &mut writer, rotation);
        let recursion = match (served, recursion) {
            (Served::Answered, _) | (Served::Incomplete, None) => {
                let keep = self.keep(&writer);
                self.reply(writer, request, transport);
                return Outcome::Reply(keep);
            }
            (Served::NotHosted, None) => {
                writer.rcode = rcode::REFUSED;
                // Whoever may not have recursion has come to the wrong server.
                let wanted = request.recursion_desired && self.recursion.is_some();
                writer.extended_error =
                    Some(if wanted { extended::PROHIBITED } else { extended::NOT_AUTHORITATIVE });
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
            if answer.is_nearly_over() {
                recursion.resolver.prefetch(&name, rtype);
            }
            self.write(&answer, &mut writer, rotation);
            let lifetime = lifetime(&answer, &writer);
            let keep =
                lifetime.and_then(|lifetime| Some(Keep { lifetime: Some(lifetime), ..self.keep(&writer)? }));
            self.reply(writer, request, transport);
            return Outcome::Reply(keep);
        }
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
            writer.rcode = rcode::SERVFAIL;
            return self.reply(writer, request, transport);
        };
        let resolver = Arc::clone(&recursion.resolver);
        let task = Task::Resolve(name, rtype, resolver);
        let request = octets.to_vec();
        Outcome::Later(Pending { request, transport, client, task, signer: None, _permit: permit })
    }

    fn reply(&self, writer: Writer<'_>, request: &Request<'_>, transport: Transport) -> Outcome {
        self.counters.count(transport, writer.rcode);
        writer.finish(request, self.settings.udp_octets_max);
        Outcome::Reply(None)
    }

    /// How an answer from our zones may be kept.
    fn keep(&self, writer: &Writer<'_>) -> Option<Keep> {
        let orders = match self.settings.rotation {
            Rotation::Fixed | Rotation::From(_) => 1,
            Rotation::Cyclic => writer.largest_set(),
            Rotation::Random if writer.largest_set() > 1 => return None,
            Rotation::Random => 1,
        };
        Some(Keep {
            orders,
            case_bound: writer.is_case_bound(),
            negative: writer.is_without_answer(),
            lifetime: None,
        })
    }

    /// The memory of answers for one UDP loop.
    pub fn packets(&self) -> Packets {
        Packets::new(Arc::clone(&self.zones), self.settings.udp_octets_max)
    }

    /// Tells a loop's memory the time. To be called before requests that came together are answered.
    pub fn tick(&self, packets: &mut Packets) {
        let (now, flushes) = match &self.recursion {
            Some(recursion) => (recursion.resolver.now(), recursion.resolver.flushes()),
            None => (self.started.elapsed(), 0),
        };
        packets.set_now(u32::try_from(now.as_secs()).unwrap_or(u32::MAX), flushes);
    }

    /// Answers from a loop's memory; what is not there yet is made and kept.
    pub fn answer_kept(
        &self,
        packets: &mut Packets,
        octets: &[u8],
        client: IpAddr,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        let recursion_allowed = self.recursion_for(client).is_some();
        match self.allowance(octets, client, recursion_allowed) {
            Allowance::Send => {}
            Allowance::Truncate => return self.truncated(octets, client, buffer),
            Allowance::Drop => return Outcome::Drop,
        }
        let Some(probe) = packets.probe(octets, recursion_allowed) else {
            return self.answer(octets, client, Transport::Udp, buffer);
        };
        if packets.find(&probe, octets, buffer) {
            let cookie = probe.cookie(octets);
            if let Some(cookie) = cookie
                .and_then(|cookie| self.cookies.check(cookie, client, seconds(&*self.clock) as u32).ok())
            {
                packets::append_cookie(buffer, &cookie.reply);
            }
            self.counters.count(Transport::Udp, buffer.get(3).map_or(0, |flags| u16::from(flags & 0xf)));
            return Outcome::Reply(None);
        }
        // Orders that are kept must differ, whatever other loops are asked meanwhile.
        let rotation = match self.settings.rotation {
            Rotation::Cyclic => packets.order(&probe, octets).map_or(Rotation::Cyclic, Rotation::From),
            other => other,
        };
        let outcome = self.answer_by(rotation, octets, client, Transport::Udp, buffer);
        if let Outcome::Reply(Some(keep)) = outcome {
            packets.keep(&probe, buffer, keep);
        }
        outcome
    }

    /// Does what a request waits for and gives the response; `None` only if the request cannot be read any more.
    pub async fn complete(&self, pending: Pending) -> Option<Vec<u8>> {
        let Pending { request: octets, transport, client, task, signer, _permit } = pending;
        let done = match task {
            Task::Resolve(name, rtype, resolver) => Ok(resolver.resolve(&name, rtype, false).await),
            Task::Update(hosted) => Err(transfers::update(hosted, &octets, signer.as_ref()).await),
        };
        let request = Request::parse(&octets).ok()?;
        let mut buffer = Vec::with_capacity(DNS_UDP_OCTETS_PLAIN);
        let signature = signer.as_ref().map_or(0, Signer::octets);
        let limit = self.limit(&request, transport).saturating_sub(signature);
        let mut writer = Writer::new(&mut buffer, &request, limit);
        if let Some(options) = self.options(&request, client, transport, signature) {
            writer.set_options(options);
        }
        match done {
            Ok(explained) => {
                writer.recursion_available = true;
                self.write(&explained.answer, &mut writer, self.settings.rotation);
            }
            Err(code) => writer.rcode = code,
        }
        self.reply(writer, &request, transport);
        if let Some(mut signer) = signer {
            signer.sign(&mut buffer, seconds(&*self.clock));
        }
        Some(buffer)
    }

    fn write(&self, answer: &Answer, writer: &mut Writer<'_>, rotation: Rotation) {
        writer.rcode = answer.rcode;
        if answer.rcode == rcode::SERVFAIL {
            writer.extended_error = Some(extended::NO_REACHABLE_AUTHORITY);
        } else if answer.stale {
            let missing = answer.rcode == rcode::NXDOMAIN;
            writer.extended_error =
                Some(if missing { extended::STALE_NXDOMAIN } else { extended::STALE_ANSWER });
        }
        for held in &answer.records {
            let first = rotation.first(&held.rrset);
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

/// The codes for questions that are answered by codes alone, whoever asks.
fn refusal(request: &Request<'_>) -> Option<(u16, Option<u16>)> {
    if request.edns.is_some_and(|edns| edns.version > 0) {
        return Some((rcode::BADVERS, None));
    }
    if request.question.class != CLASS_IN {
        return Some((rcode::REFUSED, Some(extended::NOT_SUPPORTED)));
    }
    match request.question.rtype {
        Rtype::ANY | Rtype::AXFR | Rtype::IXFR => None,
        Rtype::OPT | Rtype(0) => Some((rcode::FORMERR, None)),
        rtype if rtype.is_meta() => Some((rcode::NOTIMP, None)),
        _ => None,
    }
}

/// How long an answer of the resolver may be kept. `None`: not at all.
fn lifetime(answer: &Answer, writer: &Writer<'_>) -> Option<Lifetime> {
    // Not to its very end, so that the resolver hears that it is in use when it is nearly over.
    let ttls = answer.records.iter().chain(&answer.authority);
    let ttls = ttls.map(|held| held.ttl.saturating_sub(held.rrset.ttl / 10));
    let seconds = ttls.min().filter(|ttl| *ttl > 0 && answer.rcode != rcode::SERVFAIL && !answer.stale)?;
    let mut places = [0; TTL_PLACES_MAX];
    for (place, known) in places.iter_mut().zip(writer.ttl_places()?) {
        *place = *known;
    }
    Some(Lifetime { seconds, places })
}

/// Seconds since 1970, as signatures and cookies count time.
fn seconds(clock: &dyn Clock) -> u64 {
    clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
