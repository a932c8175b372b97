//! Answers that go out again as they went out; and, over UDP, the rate of answers to strangers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::available_parallelism;

use postroad_types::limits::DNS_UDP_OCTETS_PLAIN;

use super::limit::Allowance;
use super::observe::How;
use super::packets::{self, Keep, Lifetime, Packets};
use super::{Engine, Outcome, Transport, seconds};
use crate::resolve::Answer;
use crate::serve::{Rotation, rcode};
use crate::wire::options::code;
use crate::wire::{Request, TTL_PLACES_MAX, Writer};

/// The memories of answers for what comes over connections: one for each thread that serves them, made when it is first
/// needed. A connection may go on in another thread, so they lie here and not with it.
#[derive(Debug)]
pub(super) struct OfThreads(Box<[Mutex<Option<Packets>>]>);

impl Default for OfThreads {
    fn default() -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        Self((0..threads).map(|_| Mutex::default()).collect())
    }
}

impl OfThreads {
    /// This thread's; `None` in the rare case that another has it just now: nobody waits for it.
    fn mine(&self) -> Option<MutexGuard<'_, Option<Packets>>> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        self.0.get(THREAD.with(|thread| thread % self.0.len().max(1)))?.try_lock().ok()
    }
}

impl Engine {
    /// The memory of answers for one UDP loop.
    pub fn packets(&self) -> Packets {
        Packets::new(Arc::clone(&self.zones), Some(self.settings.udp_octets_max))
    }

    /// Answers a request that `client` sent, into `buffer`, as far as nobody else must be asked. What comes over
    /// connections is answered from memory where it can be.
    pub fn answer(
        &self,
        octets: &[u8],
        client: IpAddr,
        transport: Transport,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        let begun = self.observer.begin();
        let packets = if transport.is_connection() { self.of_threads.mine() } else { None };
        let (outcome, how) = match packets {
            Some(mut packets) => {
                let packets = packets.get_or_insert_with(|| Packets::new(Arc::clone(&self.zones), None));
                self.tick(packets);
                self.answer_from(packets, octets, client, transport, buffer)
            }
            None => (self.answer_by(self.settings.rotation, octets, client, transport, buffer), How::Made),
        };
        self.observed(begun, how, octets, client, transport, buffer, outcome)
    }

    /// Tells a loop's memory the time. To be called before requests that came together are answered.
    pub fn tick(&self, packets: &mut Packets) {
        let (now, flushes) = match &self.recursion {
            Some(recursion) => (recursion.resolver.now(), recursion.resolver.flushes()),
            None => (self.started.elapsed(), 0),
        };
        packets.set_now(u32::try_from(now.as_secs()).unwrap_or(u32::MAX), flushes);
    }

    /// Answers over UDP from a loop's memory, as far as the rate allows.
    pub fn answer_kept(
        &self,
        packets: &mut Packets,
        octets: &[u8],
        client: IpAddr,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        let begun = self.observer.begin();
        let recursion_allowed = self.recursion_for(client).is_some();
        let (outcome, how) = match self.allowance(octets, client, recursion_allowed) {
            Allowance::Send => self.answer_from(packets, octets, client, Transport::Udp, buffer),
            Allowance::Truncate => (self.truncated(octets, client, buffer), How::Limited),
            Allowance::Drop => (Outcome::Drop, How::Limited),
        };
        self.observed(begun, how, octets, client, Transport::Udp, buffer, outcome)
    }

    /// Answers from a memory; what is not there yet is made and kept.
    fn answer_from(
        &self,
        packets: &mut Packets,
        octets: &[u8],
        client: IpAddr,
        transport: Transport,
        buffer: &mut Vec<u8>,
    ) -> (Outcome, How) {
        let recursion_allowed = self.recursion_for(client).is_some();
        let by_setting = self.settings.rotation;
        let Some(probe) = packets.probe(octets, recursion_allowed) else {
            return (self.answer_by(by_setting, octets, client, transport, buffer), How::Made);
        };
        if packets.find(&probe, octets, buffer) {
            let cookie = probe.cookie(octets);
            if let Some(cookie) = cookie
                .and_then(|cookie| self.cookies.check(cookie, client, seconds(&*self.clock) as u32).ok())
            {
                packets::append_cookie(buffer, &cookie.reply);
            }
            self.counters.count_kept(transport, buffer.get(3).map_or(0, |flags| u16::from(flags & 0xf)));
            return (Outcome::Reply(None), How::Kept);
        }
        // Orders that are kept must differ, whatever other loops are asked meanwhile.
        let rotation = match by_setting {
            Rotation::Cyclic => packets.order(&probe, octets).map_or(Rotation::Cyclic, Rotation::From),
            other => other,
        };
        let outcome = self.answer_by(rotation, octets, client, transport, buffer);
        if let Outcome::Reply(Some(keep)) = outcome {
            packets.keep(&probe, buffer, keep);
        }
        (outcome, How::Made)
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
        self.counters.limited.add();
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

    /// How an answer from our zones may be kept.
    pub(super) fn keep(&self, writer: &Writer<'_>) -> Option<Keep> {
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
}

/// How long an answer of the resolver may be kept. `None`: not at all.
pub(super) fn lifetime(answer: &Answer, writer: &Writer<'_>) -> Option<Lifetime> {
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
