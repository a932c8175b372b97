//! The caching resolver: finds what other servers know, asking from the root downwards.
//!
//! [`Resolver::cached`] answers at once from the cache; what it cannot answer, [`Resolver::resolve`] finds. Equal
//! questions that come while one is under way share its answer. The machine that decides whom to ask is
//! [`iterate`]; this is its driver: it asks ([`upstream`]), keeps the time, and remembers failures (RFC 9520).

pub mod blocked;
pub mod cache;
mod delegation;
mod endpoint;
pub mod evidence;
mod goal;
pub mod iterate;
pub mod kept;
mod known;
mod local;
mod meters;
mod minimise;
mod rename;
mod reply;
mod round;
pub mod routes;
mod rules;
pub mod secure;
pub mod security;
pub mod servers;
pub mod special;
mod steps;
pub mod upstream;
pub mod validate;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
pub use delegation::{Delegation, NameServer};
pub use endpoint::Endpoint;
use postroad_service::Clock;
use postroad_types::limits::DNS_ALIAS_STEPS_MAX;
pub use steps::{Answer, Explained, Held, Source, Step};
use tokio::sync::{Semaphore, watch, watch::error::RecvError};
use tokio::time::{error::Elapsed, timeout};
use tracing::{Instrument, debug};

use crate::serve::rcode;
use crate::wire::{Name, RrSetBuilder, Rtype};
use crate::zone::Zones;
use blocked::{BlockListError, Blocked};
use cache::{Cache, Entry, TtlBounds};
use evidence::Proven;
use iterate::{Action, Checking, Context, Freshness, Iteration, Rules};
use meters::Meters;
use minimise::Uncut;
use security::{Failure, Security};
use servers::Servers;
use upstream::Upstream;
use validate::Anchors;

/// A client is given an older answer, if there is one, when a newer one is not found within this time.
const STALE_AFTER: Duration = Duration::from_millis(1800);
/// How long a failure is remembered: at first, and at most (RFC 9520 section 3.2 allows 1 s to 5 minutes).
const FAILURE_FIRST: Duration = Duration::from_secs(2);
const FAILURE_MOST: Duration = Duration::from_secs(60);

/// What a resolver is made of.
#[derive(Debug)]
pub struct Parts {
    pub root: Arc<Delegation>,
    pub rules: Rules,
    /// Where trust begins; without any nothing is validated.
    pub anchors: Anchors,
    pub cache_octets: usize,
    pub ttl_bounds: TtlBounds,
    /// One question of a client takes at most so long.
    pub resolve_timeout: Duration,
    /// Questions that are worked on at a time.
    pub concurrency_max: usize,
    /// Our own zones: what they hold is not asked elsewhere.
    pub zones: Arc<ArcSwap<Zones>>,
    /// Names that are answered here though they are nobody's ([`special`]).
    pub special: Zones,
    /// Names that nobody is asked for.
    pub blocked: Blocked,
    pub upstream: Arc<dyn Upstream>,
    pub clock: Arc<dyn Clock>,
}

type Flight = watch::Receiver<Option<Arc<Explained>>>;

/// What is looked for, and whether what is found must stand validation.
type Question = (Name, Rtype, bool);

/// A caching resolver.
#[derive(Debug)]
pub struct Resolver {
    root: Arc<Delegation>,
    rules: Rules,
    anchors: Arc<Anchors>,
    resolve_timeout: Duration,
    zones: Arc<ArcSwap<Zones>>,
    special: Zones,
    blocked: Blocked,
    upstream: Arc<dyn Upstream>,
    clock: Arc<dyn Clock>,
    cache: Cache,
    flushes: AtomicU64,
    servers: Servers,
    uncut: Uncut,
    flights: Mutex<HashMap<Question, Flight>>,
    permits: Arc<Semaphore>,
    concurrency_max: usize,
    meters: Meters,
}

impl Resolver {
    pub fn new(parts: Parts) -> Self {
        Self {
            root: parts.root,
            rules: parts.rules,
            anchors: Arc::new(parts.anchors),
            resolve_timeout: parts.resolve_timeout,
            zones: parts.zones,
            special: parts.special,
            blocked: parts.blocked,
            upstream: parts.upstream,
            clock: parts.clock,
            cache: Cache::new(parts.cache_octets, parts.ttl_bounds),
            flushes: AtomicU64::new(0),
            servers: Servers::default(),
            uncut: Uncut::default(),
            flights: Mutex::default(),
            permits: Arc::new(Semaphore::new(parts.concurrency_max)),
            concurrency_max: parts.concurrency_max,
            meters: Meters::default(),
        }
    }

    /// The answer, if the cache holds all of it: a failure of a moment ago too, unless an older answer is at hand.
    pub fn cached(&self, name: &Name, rtype: Rtype) -> Option<Answer> {
        if rtype == Rtype::ANY {
            return Some(any(name));
        }
        if let Some(answer) = self.blocked.answer(name, rtype) {
            return Some(answer);
        }
        if let Some(refusal) = self.rules.routes.refusal(name, &self.zones.load(), &self.special) {
            return Some(Answer::failed(refusal));
        }
        let now = self.clock.monotonic();
        if let Some(answer) = self.gathered(name, rtype, now, false) {
            return Some(answer);
        }
        let failure = self.cache.failure(name, rtype, now)?;
        // Nobody was silent where something is bogus: there is no reason to give what is over.
        let older = if failure.is_bogus() { None } else { self.gathered(name, rtype, now, true) };
        Some(older.unwrap_or_else(|| Answer::failed(failure)))
    }

    /// What the cache holds of an answer, alias by alias, if that is all of it. With `stale` also what is over.
    fn gathered(&self, name: &Name, rtype: Rtype, now: Duration, stale: bool) -> Option<Answer> {
        let (mut records, mut over) = (Vec::new(), false);
        let mut name = name.clone();
        let answer = loop {
            let hit = self.cache.answer(&name, rtype, now).or_else(|| {
                over |= stale;
                if stale { self.cache.stale(&name, rtype, now) } else { None }
            });
            let Some(hit) = hit else {
                let renamed = rename::renamed(&self.cache, &name, now, stale)?;
                if records.len() > DNS_ALIAS_STEPS_MAX {
                    return None;
                }
                records.extend(renamed.held(&name));
                if rtype == Rtype::CNAME {
                    break Answer::positive(records);
                }
                name = renamed.target;
                continue;
            };
            let held = |owned: &reply::Owned| Held::cached(owned.clone(), &hit);
            match &hit.entry {
                Entry::Positive(rrset) => {
                    let alias = rrset.rtype == Rtype::CNAME && rtype != Rtype::CNAME;
                    let target = if alias { Some(Name::from_wire(rrset.first()).ok()?) } else { None };
                    records.push(Held::cached((name, rrset.clone()), &hit));
                    match target {
                        // A circle is found by the iteration, which counts.
                        Some(target) if records.iter().all(|held: &Held| held.owner != target) => {
                            name = target
                        }
                        Some(_) => return None,
                        None => break Answer::positive(records),
                    }
                }
                Entry::NoData(_, soa) => {
                    let soa = soa.as_deref().map(held);
                    break Answer::negative(rcode::NOERROR, records, soa, hit.security);
                }
                Entry::NxDomain(soa) => {
                    let soa = soa.as_deref().map(held);
                    break Answer::negative(rcode::NXDOMAIN, records, soa, hit.security);
                }
                Entry::Delegation(_) | Entry::Trust(_) | Entry::Failure(..) => return None,
            }
        };
        Some(Answer { stale: over, ..answer })
    }

    /// Finds the answer. With `refresh` everything is asked again, from the root on.
    pub async fn resolve(self: &Arc<Self>, name: &Name, rtype: Rtype, refresh: bool) -> Arc<Explained> {
        let started = Instant::now();
        if let Some(answer) = self.cached(name, rtype).filter(|_| !refresh || rtype == Rtype::ANY) {
            self.meters.hits.increment(1);
            return Arc::new(self.explain_cached(name, rtype, answer, started));
        }
        self.meters.misses.increment(1);
        let freshness = if refresh { Freshness::FromTheRoot } else { Freshness::Known };
        // What is over is looked for only when it may be needed.
        let older = || {
            let now = self.clock.monotonic();
            if refresh { None } else { self.gathered(name, rtype, now, true) }
        };
        let explained = match self.flight(name, rtype, freshness, true) {
            Some(flight) => self.landed(flight, || older().is_some(), started).await,
            None => {
                self.meters.overload.increment(1);
                Arc::new(explain_failed("too many questions are being worked on", started))
            }
        };
        let silence = explained.answer.failure.as_ref().is_some_and(|failure| !failure.is_bogus());
        match silence.then(older).flatten() {
            Some(answer) => {
                self.meters.stale.increment(1);
                let mut steps = explained.steps.clone();
                steps.push(from_cache(name, rtype, "an older answer, as there is no newer one".to_owned()));
                Arc::new(Explained { answer, steps, took: started.elapsed() })
            }
            None => explained,
        }
    }

    /// As [`Resolver::resolve`], for clients that check themselves (CD): they are given what is bogus too.
    pub async fn resolve_unchecked(
        self: &Arc<Self>,
        name: &Name,
        rtype: Rtype,
        refresh: bool,
    ) -> Arc<Explained> {
        let started = Instant::now();
        let checked = self.resolve(name, rtype, refresh).await;
        if !checked.answer.failure.as_ref().is_some_and(Failure::is_bogus) {
            return checked;
        }
        match self.flight(name, rtype, Freshness::NewAnswer, false) {
            Some(flight) => {
                let found = self.landed(flight, || false, started).await;
                let steps = checked.steps.iter().chain(&found.steps).cloned().collect();
                Arc::new(Explained { answer: found.answer.clone(), steps, took: started.elapsed() })
            }
            None => {
                self.meters.overload.increment(1);
                Arc::new(explain_failed("too many questions are being worked on", started))
            }
        }
    }

    /// What a resolution ends with, or that it takes too long for somebody who `has_older` answer.
    async fn landed(
        &self,
        mut flight: Flight,
        has_older: impl Fn() -> bool,
        started: Instant,
    ) -> Arc<Explained> {
        let outcome = |landed: Result<watch::Ref<'_, Option<Arc<Explained>>>, RecvError>| {
            let explained = landed.ok().and_then(|explained| explained.clone());
            explained.unwrap_or_else(|| Arc::new(explain_failed("the resolution was broken off", started)))
        };
        // Who waits longer than this has mostly given up (RFC 8767 section 5); the work goes on.
        if let Ok(landed) = timeout(STALE_AFTER, flight.wait_for(Option::is_some)).await {
            return outcome(landed);
        }
        if has_older() {
            return Arc::new(explain_failed("no answer yet", started));
        }
        outcome(flight.wait_for(Option::is_some).await)
    }

    /// The resolution that is under way for a question, or a new one. `None`: too many are.
    fn flight(
        self: &Arc<Self>,
        name: &Name,
        rtype: Rtype,
        freshness: Freshness,
        checked: bool,
    ) -> Option<Flight> {
        // What somebody wants from the root on is nobody else's answer.
        let shared = freshness != Freshness::FromTheRoot;
        let key = (name.clone(), rtype, checked);
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key).filter(|_| shared) {
            return Some(flight.clone());
        }
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        let (sender, receiver) = watch::channel(None);
        if shared {
            flights.insert(key.clone(), receiver.clone());
        }
        let this = Arc::clone(self);
        let work = async move {
            let explained = Arc::new(this.run(key.0.clone(), rtype, freshness, checked).await);
            if shared {
                this.flights().remove(&key);
            }
            sender.send_replace(Some(explained));
            drop(permit);
        };
        tokio::spawn(work.in_current_span());
        Some(receiver)
    }

    /// Asks again for an answer that is in use and whose time is nearly over, so that the next client need not wait for
    /// it. Not while there is much else to do.
    pub fn prefetch(self: &Arc<Self>, name: &Name, rtype: Rtype) {
        if self.permits.available_permits() > self.concurrency_max / 2
            && self.flight(name, rtype, Freshness::NewAnswer, true).is_some()
        {
            self.meters.prefetches.increment(1);
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Question, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, name: Name, rtype: Rtype, freshness: Freshness, checked: bool) -> Explained {
        let started = Instant::now();
        let checking = match checked {
            _ if self.anchors.is_empty() => Checking::Nothing,
            true => Checking::By(self.anchors.clone()),
            false => Checking::Disabled,
        };
        let mut iteration = Iteration::new(name.clone(), rtype, freshness, checking);
        let answer = match timeout(self.resolve_timeout, self.drive(&mut iteration)).await {
            Ok(answer) => answer,
            Err(Elapsed { .. }) => {
                Answer::failed(format!("no answer within {} s", self.resolve_timeout.as_secs_f32()))
            }
        };
        if let Some(failure) = answer.failure.as_ref().filter(|_| checked) {
            debug!(%name, %rtype, reason = %failure, "resolution failed");
            let now = self.clock.monotonic();
            self.cache.put_failure(&name, rtype, failure.clone(), FAILURE_FIRST, FAILURE_MOST, now);
        }
        let took = started.elapsed();
        let validated = checked && !self.anchors.is_empty();
        self.meters.resolved(took, validated.then_some(answer.security));
        Explained { answer, steps: iteration.into_steps(), took }
    }

    async fn drive(&self, iteration: &mut Iteration) -> Answer {
        loop {
            let zones = self.zones.load_full();
            let ask = match iteration.step(self.context(&zones)) {
                Action::Done(answer) => return answer,
                Action::Ask(ask) => ask,
            };
            let asked = Instant::now();
            let outcome = self.upstream.ask(&ask).await;
            self.meters.asked(ask.source(), outcome.is_ok());
            if let Some(answer) = iteration.answered(outcome, asked.elapsed(), self.context(&zones)) {
                return answer;
            }
        }
    }

    fn context<'a>(&'a self, zones: &'a Zones) -> Context<'a> {
        Context {
            cache: &self.cache,
            servers: &self.servers,
            uncut: &self.uncut,
            zones,
            special: &self.special,
            root: &self.root,
            rules: &self.rules,
            now: self.clock.monotonic(),
            // Signatures count seconds around a circle of 32 bits (RFC 4034 section 3.1.5).
            wall: (self.clock.now_us() / 1_000_000) as u32,
        }
    }

    fn explain_cached(&self, name: &Name, rtype: Rtype, answer: Answer, started: Instant) -> Explained {
        let outcome = match &answer.failure {
            Some(failure) if failure.is_blocked() => failure.to_string(),
            Some(failure) => format!("failed a moment ago: {failure}"),
            None if answer.stale => "an older answer, as asking failed a moment ago".to_owned(),
            None if answer.security == Security::Indeterminate => "answer".to_owned(),
            None => format!("answer, {}", answer.security),
        };
        let step = from_cache(name, rtype, outcome);
        Explained { answer, steps: vec![step], took: started.elapsed() }
    }

    /// Everything that is kept of a name and all below it.
    pub fn dump(&self, name: &Name) -> Vec<(Name, cache::Hit)> {
        self.cache.dump(name, self.clock.monotonic())
    }

    /// Forgets a name and all below it; with the root also what is known of other servers. The number of entries.
    pub fn flush(&self, name: &Name) -> u64 {
        if name.is_root() {
            self.servers.forget();
            self.uncut.forget();
        }
        let entries = self.cache.flush(name);
        // Afterwards: what was made of the cache before is old by then.
        self.flushes.fetch_add(1, Ordering::Release);
        entries
    }

    /// Reads the lists of blocked names again; the number of names.
    pub fn reload_blocked(&self) -> Result<usize, BlockListError> {
        let names = self.blocked.reload()?;
        // What was answered before is old by then.
        self.flushes.fetch_add(1, Ordering::Release);
        Ok(names)
    }

    /// How often something was flushed.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Time since a fixed moment.
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Drops what is over and tells the metrics how full the cache is. To be called now and then.
    pub fn tidy(&self) {
        self.cache.forget_expired(self.clock.monotonic());
        self.meters.cache(self.cache.octets(), self.cache.names());
    }
}

fn from_cache(name: &Name, rtype: Rtype, outcome: impl Into<Cow<'static, str>>) -> Step {
    Step {
        source: Source::Cache,
        zone: Name::root(),
        name: name.clone(),
        rtype,
        outcome: outcome.into(),
        took: Duration::ZERO,
    }
}

fn explain_failed(reason: &str, started: Instant) -> Explained {
    Explained { answer: Answer::failed(reason), steps: Vec::new(), took: started.elapsed() }
}

/// The answer to ANY: that it is not given (RFC 8482 section 4.2).
fn any(name: &Name) -> Answer {
    let mut hinfo = RrSetBuilder::new(Rtype::HINFO, 3600);
    hinfo.push(b"\x07RFC8482\x00");
    let hinfo = hinfo.build().map(|rrset| (name.clone(), Arc::new(rrset)));
    let held = |hinfo| Held::fetched(hinfo, 3600, &Proven::not(Security::Indeterminate));
    Answer::positive(hinfo.map(held).into_iter().collect())
}

#[cfg(test)]
mod tests;
