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
mod kept;
mod limit;
mod observe;
mod packets;
mod quic;
mod recursed;
mod shares;
mod tcp;
mod tls;
mod transfers;
mod transport;
mod udp;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
pub use bind::{Bound, bind_all};
pub use hickory::HickoryHandler;
pub use https::{HttpsDoor, PROTOCOLS as HTTPS_PROTOCOLS, serve as serve_https};
use ipnet::IpNet;
pub use observe::{Clients, Count, How, Observer, QueryLog, Share, Snapshot, Teller, Watching};
pub use packets::{Keep, Lifetime, Packets, Probe};
use postroad_service::{Clock, Drain, SystemClock};
use postroad_types::limits::{
    DNS_NSID_OCTETS_MAX, DNS_PADDED_RESPONSE_OCTETS, DNS_UDP_OCTETS_MAX, DNS_UDP_OCTETS_PLAIN,
};
pub use quic::{PROTOCOL as QUIC_PROTOCOL, QuicDoor, QuicError, serve as serve_quic};
pub use tcp::serve as serve_tcp;
pub use tls::{PROTOCOL as TLS_PROTOCOL, serve as serve_tls};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use transfers::Streams;
pub use transfers::{Agreed, RecordTooLong, Stream};
pub use transport::Transport;
pub use udp::serve as serve_udp;

use crate::resolve::Resolver;
use crate::resolve::security::Failure;
use crate::serve::{self, Rotation, Served, rcode};
use crate::tsig::{Checked, Refusal, Signer};
use crate::wire::options::{Padding, ReplyOptions, code, extended};
use crate::wire::{Name, OPCODE_NOTIFY, OPCODE_UPDATE, Request, RequestError, Rtype, Writer, header_only};
use crate::zone::{Hosted, Zones};
use cookie::Cookies;
use counters::Counters;
use kept::{OfThreads, lifetime};
use limit::{Allowance, RateLimit};
use observe::Begun;
use shares::{Place, Shares};

const CLASS_IN: u16 = 1;

/// Recursion, and who may have it.
#[derive(Debug)]
pub struct Recursion {
    pub resolver: Arc<Resolver>,
    pub allow: Vec<IpNet>,
    /// Questions of clients that wait at a time; more get SERVFAIL at once.
    pub waiting_max: usize,
    /// Of these, questions of one client that is counted.
    pub waiting_per_client: usize,
    /// Questions a second of one network that others must be asked for; 0: as many as it asks.
    pub per_second: u32,
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
    /// Somebody wants to see what becomes of it.
    begun: Option<Begun>,
    _permit: OwnedSemaphorePermit,
}

/// What is to be done for an answer.
#[derive(Debug)]
enum Task {
    /// Other servers are asked.
    Resolve { name: Name, rtype: Rtype, checking_disabled: bool, resolver: Arc<Resolver>, _place: Place },
    /// A zone is changed, and its file written.
    Update(Arc<Hosted>),
}

/// Answers requests, whatever they came over.
#[derive(Debug)]
pub struct Engine {
    zones: Arc<ArcSwap<Zones>>,
    recursion: Option<Recursion>,
    waiting: Arc<Semaphore>,
    shares: Arc<Shares>,
    of_threads: OfThreads,
    settings: Settings,
    cookies: Cookies,
    rate_limit: Option<RateLimit>,
    started: Instant,
    agreed: Agreed,
    streams: Streams,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    observer: Observer,
}

impl Engine {
    pub fn new(zones: Arc<ArcSwap<Zones>>, recursion: Option<Recursion>, mut settings: Settings) -> Self {
        let waiting = recursion.as_ref().map_or(0, |recursion| recursion.waiting_max);
        settings.udp_octets_max = settings.udp_octets_max.max(DNS_UDP_OCTETS_PLAIN as u16);
        settings.nsid.truncate(DNS_NSID_OCTETS_MAX);
        let rate = settings.answers_per_second;
        Self {
            zones,
            shares: Shares::new(recursion.as_ref()),
            of_threads: OfThreads::default(),
            recursion,
            waiting: Arc::new(Semaphore::new(waiting)),
            cookies: Cookies::new(rand::random()),
            rate_limit: (rate > 0).then(|| RateLimit::new(rate)),
            started: Instant::now(),
            settings,
            agreed: Agreed::nothing(),
            streams: Streams::new(),
            clock: Arc::new(SystemClock::new()),
            counters: Arc::new(Counters::new()),
            observer: Observer::default(),
        }
    }

    /// With somebody who sees what passes.
    pub fn with_observer(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    /// With what is agreed with other name servers, and the clock by which they sign.
    pub fn with_agreed(self, agreed: Agreed, clock: Arc<dyn Clock>) -> Self {
        Self { agreed, clock, ..self }
    }

    /// Somebody begins to watch the traffic; `None` where nothing is told.
    pub fn watch(&self) -> Option<Watching> {
        self.observer.watch()
    }

    /// Tells the metrics what is counted, and those who watch what is seen, until the drain begins.
    pub fn tell(&self, teller: Teller, drain: Drain) -> impl Future<Output = ()> + use<> {
        teller.run(Arc::clone(&self.counters), drain)
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

    /// Tells the observer what became of a request, now or when it is done.
    #[allow(clippy::too_many_arguments, reason = "they are what came and what became of it")]
    fn observed(
        &self,
        begun: Option<Begun>,
        how: How,
        octets: &[u8],
        client: IpAddr,
        transport: Transport,
        response: &[u8],
        mut outcome: Outcome,
    ) -> Outcome {
        let Some(begun) = begun else { return outcome };
        let how = match &mut outcome {
            Outcome::Later(pending) => {
                pending.begun = Some(begun);
                return outcome;
            }
            Outcome::Reply(_) => how,
            Outcome::Drop if how == How::Limited => how,
            Outcome::Drop => How::Dropped,
            Outcome::Stream(_) => How::Transfer,
        };
        self.observer.note(begun, how, octets, client, transport, response);
        outcome
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
                self.counters.dropped.add();
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
            && !(request.checking_disabled && answer.failure.as_ref().is_some_and(Failure::is_bogus))
        {
            self.counters.cache_hits.add();
            if answer.is_nearly_over() {
                recursion.resolver.prefetch(&name, rtype);
            }
            recursed::write(&answer, request, &mut writer, rotation);
            let lifetime = lifetime(&answer, &writer);
            let keep =
                lifetime.and_then(|lifetime| Some(Keep { lifetime: Some(lifetime), ..self.keep(&writer)? }));
            self.reply(writer, request, transport);
            return Outcome::Reply(keep);
        }
        match self.asking(client) {
            Allowance::Send => {}
            Allowance::Drop if transport == Transport::Udp => return Outcome::Drop,
            // Who really asked comes back over TCP, and hears there that it asks too much.
            _ if transport == Transport::Udp => {
                writer.truncated = true;
                return self.reply(writer, request, transport);
            }
            _ => {
                writer.rcode = rcode::REFUSED;
                return self.reply(writer, request, transport);
            }
        }
        let Some(place) = self.place(client) else {
            writer.rcode = rcode::SERVFAIL;
            return self.reply(writer, request, transport);
        };
        let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
            writer.rcode = rcode::SERVFAIL;
            return self.reply(writer, request, transport);
        };
        self.counters.asked.add();
        let resolver = Arc::clone(&recursion.resolver);
        let checking_disabled = request.checking_disabled;
        let task = Task::Resolve { name, rtype, checking_disabled, resolver, _place: place };
        let request = octets.to_vec();
        Outcome::Later(Pending {
            request,
            transport,
            client,
            task,
            signer: None,
            begun: None,
            _permit: permit,
        })
    }

    fn reply(&self, writer: Writer<'_>, request: &Request<'_>, transport: Transport) -> Outcome {
        self.counters.count(transport, writer.rcode);
        writer.finish(request, self.settings.udp_octets_max);
        Outcome::Reply(None)
    }

    /// Does what a request waits for and gives the response; `None` only if the request cannot be read any more.
    pub async fn complete(&self, pending: Pending) -> Option<Vec<u8>> {
        let Pending { request: octets, transport, client, task, signer, begun, _permit } = pending;
        let done = match task {
            Task::Resolve { name, rtype, checking_disabled: false, resolver, _place } => {
                Ok(resolver.resolve(&name, rtype, false).await)
            }
            Task::Resolve { name, rtype, checking_disabled: true, resolver, _place } => {
                Ok(resolver.resolve_unchecked(&name, rtype, false).await)
            }
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
                recursed::write(&explained.answer, &request, &mut writer, self.settings.rotation);
            }
            Err(code) => writer.rcode = code,
        }
        self.reply(writer, &request, transport);
        if let Some(mut signer) = signer {
            signer.sign(&mut buffer, seconds(&*self.clock));
        }
        if let Some(begun) = begun {
            self.observer.note(begun, How::Asked, &octets, client, transport, &buffer);
        }
        Some(buffer)
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

/// Seconds since 1970, as signatures and cookies count time.
fn seconds(clock: &dyn Clock) -> u64 {
    clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
