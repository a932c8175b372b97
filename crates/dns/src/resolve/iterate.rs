//! One question, resolved by iteration (RFC 1034 section 5.3.3), as a machine without sockets or clock.
//!
//! [`Iteration::step`] says what to do next: ask a server, or the answer. The driver asks and hands the outcome to
//! [`Iteration::answered`].
//!
//! The machine is a stack of goals, each "find the records of this type of this name". A goal
//! 1. is answered from our own zones or the cache, if they can (an alias changes its name and starts again);
//! 2. else starts at the deepest delegation that is known, at last the root, and asks that zone's servers, the best
//!    first ([`super::servers`]); a referral leads one zone down;
//! 3. puts a goal for a server's address on top of itself when no address of the zone's servers is known or works;
//! 4. has what comes judged ([`super::validate`]), and puts goals for the DS and DNSKEY records that this takes on top of
//!    itself. Addresses of servers are not judged: who is led astray by them gets nothing that is signed rightly.
//!
//! Work is bounded in every direction: questions in all, questions and looked-up servers per zone, referrals, aliases
//! and depth of the stack (`postroad_types::limits`), and a name that is already being looked for is not looked for
//! again below itself. So delegations that fan out (NXNS), point at each other (TsuNAME) or chain on (CAMP) cost a
//! stranger's server at most that many questions.

mod judge;

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use postroad_types::limits::{
    DNS_ASKS_PER_QUESTION_MAX, DNS_ASKS_PER_ZONE_MAX, DNS_GLUELESS_PER_ZONE_MAX, DNS_LOOKUP_DEPTH_MAX,
    DNS_REFERRALS_MAX,
};

use super::cache::{Cache, Entry, Hit};
use super::delegation::address;
use super::evidence::{Proven, Sections};
use super::goal::{Goal, Parked, Purpose};
use super::known::{Known, known, start};
use super::minimise::{Uncut, is_told_of_part};
use super::rename::{Renamed, is_made};
use super::reply::{self, Owned, Reply};
use super::round::{Candidate, Lookups, TRIES_MAX};
use super::routes::forwarded;
pub use super::rules::Rules;
use super::security::{Failure, Security};
use super::servers::Servers;
use super::steps::{Answer, Held, Source, Step, describe, describe_hit};
use super::upstream::{Ask, AskError};
use super::validate::{Anchors, Validator, Verdict};
use super::{Delegation, Endpoint};
use crate::serve::rcode;
use crate::wire::options::extended;
use crate::wire::{Name, Rtype};
use crate::zone::Zones;

/// What the machine looks things up in.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub cache: &'a Cache,
    pub servers: &'a Servers,
    pub uncut: &'a Uncut,
    pub zones: &'a Zones,
    /// Names that are answered here though they are nobody's.
    pub special: &'a Zones,
    pub root: &'a Arc<Delegation>,
    pub rules: &'a Rules,
    /// Time since some beginning.
    pub now: Duration,
    /// Seconds since 1970, as signatures count time.
    pub wall: u32,
}

/// What to do next.
#[derive(Debug)]
pub enum Action {
    Ask(Ask),
    Done(Answer),
}

enum Finish {
    Records,
    /// With the SOA, and what validation said of there being nothing.
    Negative(u16, Option<Held>, Security),
    Failed(Failure),
}

/// Whether what comes is judged.
#[derive(Debug, Clone)]
pub enum Checking {
    By(Arc<Anchors>),
    /// No trust is placed anywhere.
    Nothing,
    /// The client checks itself, and what is found is known to be bogus.
    Disabled,
}

/// What of the cache a resolution may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Answers and delegations.
    Known,
    /// Delegations: the answer is asked for again before its time is over.
    NewAnswer,
    /// Nothing: it begins at the root.
    FromTheRoot,
}

/// A resolution under way.
#[derive(Debug)]
pub struct Iteration {
    goals: Vec<Goal>,
    /// The question that was asked and whose answer is awaited.
    pending: Option<Ask>,
    /// The question to ask next, because the same server shall be asked in another way.
    again: Option<Ask>,
    /// Of the name that was asked for; the addresses of name servers are used as they are known.
    freshness: Freshness,
    checking: Checking,
    validator: Option<Validator>,
    asks: usize,
    lookups: Lookups,
    steps: Vec<Step>,
}

impl Iteration {
    /// Starts to look for `rtype` records of `name`.
    pub fn new(name: Name, rtype: Rtype, freshness: Freshness, checking: Checking) -> Self {
        let validator = match &checking {
            Checking::By(anchors) => {
                Some(Validator::new(anchors.clone(), freshness != Freshness::FromTheRoot))
            }
            Checking::Nothing | Checking::Disabled => None,
        };
        Self {
            goals: vec![Goal::new(name, rtype, Purpose::Answer)],
            pending: None,
            again: None,
            freshness,
            checking,
            validator,
            asks: 0,
            lookups: Lookups::default(),
            steps: Vec::new(),
        }
    }

    /// What was done so far.
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// Says what to do next. After [`Action::Ask`] the outcome is due in [`Iteration::answered`].
    pub fn step(&mut self, context: Context<'_>) -> Action {
        loop {
            if let Some(ask) = self.again.take() {
                return self.ask(ask);
            }
            if let Some(parked) = self.goals.last_mut().and_then(|goal| goal.parked.take()) {
                if let Some(done) = self.judge(parked, context) {
                    return Action::Done(done);
                }
                continue;
            }
            let depth = self.goals.iter().filter(|goal| goal.purpose != Purpose::Trust).count();
            let Some(goal) = self.goals.last_mut() else {
                return Action::Done(Answer::failed("nothing to look for"));
            };
            let fresh = match goal.purpose {
                Purpose::Answer => self.freshness,
                Purpose::Address => Freshness::Known,
                // What is known was looked at by who needs it.
                Purpose::Trust => Freshness::NewAnswer,
            };
            let Some(round) = &mut goal.round else {
                let (name, rtype) = (goal.name.clone(), goal.rtype);
                if let Some((source, known)) = known(goal, fresh, context) {
                    let outcome = match &known {
                        Known::Reply(reply, _) => describe(reply),
                        Known::Hit(hit) => describe_hit(hit),
                        Known::Renamed(renamed) => format!("alias to {}", renamed.target).into(),
                        Known::Refused(failure) => failure.to_string().into(),
                    };
                    let step =
                        Step { source, zone: Name::root(), name, rtype, outcome, took: Duration::ZERO };
                    self.steps.push(step);
                    let finish = match known {
                        Known::Reply(reply, verdict) => self.take_reply(reply, verdict, context, false),
                        Known::Hit(hit) => self.take_hit(hit),
                        Known::Renamed(renamed) => self.take_renamed(renamed),
                        Known::Refused(failure) => Some(Finish::Failed(failure)),
                    };
                    if let Some(done) = finish.and_then(|finish| self.finish(finish)) {
                        return Action::Done(done);
                    }
                } else {
                    goal.turn_to(&start(goal, fresh, context), context);
                }
                continue;
            };
            let for_address = goal.purpose == Purpose::Address;
            let budget = self.asks < DNS_ASKS_PER_QUESTION_MAX
                && round.asks < DNS_ASKS_PER_ZONE_MAX
                && (!for_address || self.lookups.may_ask(round.zone()));
            let best = if budget { round.best(context) } else { None };
            let lookup = match best {
                Some((_, false)) => None,
                _ if budget && depth < DNS_LOOKUP_DEPTH_MAX => self.next_lookup(context.rules),
                _ => None,
            };
            if let Some((name, rtype)) = lookup {
                self.goals.push(Goal::new(name, rtype, Purpose::Address));
                continue;
            }
            let Some(goal) = self.goals.last_mut() else { continue };
            let Some(round) = &mut goal.round else { continue };
            if let Some((at, _)) = best {
                let tries = round.address(at).map_or(0, |address| address.tries);
                let ancestor = round.shown.next(&goal.name, context.uncut, context.now);
                round.asks += usize::from(ancestor.is_none());
                let rtype = if ancestor.is_some() { Rtype::A } else { goal.rtype };
                let tls = round.route.as_ref().and_then(|route| route.tls(at));
                let most = context.rules.query_timeout;
                let ask = Ask {
                    at,
                    server: at.address(context.rules.port),
                    name: ancestor.unwrap_or_else(|| goal.name.clone()),
                    rtype,
                    tcp: at.tls,
                    recursion: round.is_forward(),
                    edns: context.servers.takes_edns(at, context.now),
                    dnssec: context.rules.dnssec,
                    // Before the first answer over TLS come two more round trips, or three.
                    timeout: if at.tls { most } else { context.servers.timeout(at, tries, most) },
                    tls,
                };
                return self.ask(ask);
            }
            if round.is_first() {
                goal.direct = true;
                goal.round = None;
                continue;
            }
            let failure = match goal.flaw.take() {
                Some(flaw) => flaw,
                None if self.asks >= DNS_ASKS_PER_QUESTION_MAX => "too many questions were needed".into(),
                None => format!("no server of {} answers ({})", round.zone(), round.last_problem).into(),
            };
            if let Some(done) = self.finish(Finish::Failed(failure)) {
                return Action::Done(done);
            }
        }
    }

    fn ask(&mut self, ask: Ask) -> Action {
        self.asks += 1;
        self.pending = Some(ask.clone());
        Action::Ask(ask)
    }

    /// The name server whose address should be looked up next, and the type of address.
    fn next_lookup(&mut self, rules: &Rules) -> Option<(Name, Rtype)> {
        let (goal, below) = self.goals.split_last_mut()?;
        let round = goal.round.as_mut()?;
        if round.route.is_some() || round.glueless >= DNS_GLUELESS_PER_ZONE_MAX * 2 {
            return None;
        }
        let unusable = |candidate: &&mut Candidate| {
            candidate.addresses.iter().all(|address| !rules.allows(address.at.ip))
        };
        for candidate in round.candidates.iter_mut().filter(unusable) {
            // Its address is only to be had from the zone itself, whose servers are what is looked for.
            if candidate.name.is_at_or_below(&round.delegation.zone) {
                continue;
            }
            let rtype =
                [Rtype::A, Rtype::AAAA].into_iter().find(|rtype| !candidate.looked_up.contains(rtype));
            let Some(rtype) = rtype else { continue };
            candidate.looked_up.push(rtype);
            let circular = below.iter().any(|goal| goal.name == candidate.name && goal.rtype == rtype)
                || (goal.name == candidate.name && goal.rtype == rtype);
            if !circular {
                round.glueless += 1;
                return Some((candidate.name.clone(), rtype));
            }
        }
        None
    }

    /// Takes the outcome of the question that [`Iteration::step`] asked last.
    pub fn answered(
        &mut self,
        outcome: Result<Message, AskError>,
        took: Duration,
        context: Context<'_>,
    ) -> Option<Answer> {
        let ask = self.pending.take()?;
        let goal = self.goals.last_mut()?;
        let part = ask.name.label_count() < goal.name.label_count();
        let round = goal.round.as_mut()?;
        let zone = round.zone().clone();
        let at = ask.at;
        let reply = outcome.map(|message| {
            context.servers.answered(at, took);
            let sections = if ask.dnssec { Sections::read(&message, &zone) } else { Sections::default() };
            let reply = reply::read(&message, &ask.name, ask.rtype, &zone);
            (if ask.recursion { forwarded(reply, &message) } else { reply }, sections)
        });
        let source = ask.source();
        let described = match &reply {
            Ok((reply, _)) => describe(reply),
            Err(error) => error.to_string().into(),
        };
        let (name, rtype) = (ask.name.clone(), ask.rtype);
        self.steps.push(Step { source, zone: zone.clone(), name, rtype, outcome: described.clone(), took });
        if goal.purpose == Purpose::Address && !matches!(reply, Ok((Reply::Referral(_), _))) {
            self.lookups.count(&zone);
        }
        if part && !is_told_of_part(&reply, &ask) {
            round.shown.show_all();
        }
        match reply {
            Err(AskError::Suspicious) if !ask.tcp => {
                self.again = Some(Ask { tcp: true, timeout: context.rules.query_timeout, ..ask });
                None
            }
            Err(error) => {
                if matches!(error, AskError::Timeout | AskError::Unreachable(_) | AskError::Tls(_)) {
                    context.servers.silent(at, context.now);
                }
                self.problem(at, matches!(error, AskError::Timeout), &described);
                None
            }
            Ok((Reply::Truncated, _)) if !ask.tcp => {
                self.again = Some(Ask { tcp: true, timeout: context.rules.query_timeout, ..ask });
                None
            }
            Ok((Reply::NotUnderstood(_), _)) if ask.edns => {
                self.again = Some(Ask { edns: false, ..ask });
                None
            }
            // The next question is for more of the name, or for all of it.
            Ok((reply, _)) if part && !matches!(reply, Reply::Referral(_)) => {
                if matches!(reply, Reply::Answer(_) | Reply::NoData(..)) {
                    round.shown.passed(&ask.name);
                    context.uncut.put(ask.name, context.now);
                }
                None
            }
            Ok((Reply::Truncated | Reply::NotUnderstood(_) | Reply::Refused(_) | Reply::Lame(_), _)) => {
                let failed = described == "SERVFAIL";
                if !failed {
                    context.servers.lame(at, &zone, context.now);
                }
                self.problem(at, false, &described);
                None
            }
            Ok((reply, sections)) => {
                if !ask.edns && context.servers.takes_edns(at, context.now) {
                    context.servers.without_edns(at, context.now);
                }
                let plain = (!ask.edns && context.rules.dnssec).then_some(ask);
                self.judge(Parked { reply, sections, at, plain }, context)
            }
        }
    }

    /// Notes that a server was of no use; it may be tried once more if it was only silent.
    fn problem(&mut self, at: Endpoint, retry: bool, described: &str) {
        let Some(round) = self.goals.last_mut().and_then(|goal| goal.round.as_mut()) else { return };
        round.last_problem = format!("{at}: {described}").into();
        if let Some(address) = round.address(at) {
            address.tries += if retry { 1 } else { TRIES_MAX };
        }
    }

    /// Uses an answer; keeps it in the cache when it was `fetched`.
    fn take_reply(
        &mut self,
        reply: Reply,
        mut verdict: Verdict,
        context: Context<'_>,
        fetched: bool,
    ) -> Option<Finish> {
        let reply = if fetched { context.rules.without_private(reply, &mut verdict) } else { reply };
        let goal = self.goals.last_mut()?;
        // What is bogus is given to who asked for it, and to nobody else.
        let bogus = matches!(self.checking, Checking::Disabled) && goal.purpose == Purpose::Answer;
        let kept = fetched && !bogus;
        let max_ttl = u32::try_from(context.rules.max_ttl.as_secs()).unwrap_or(u32::MAX);
        let Verdict { sets, missing, trust, .. } = verdict;
        let missing = missing.unwrap_or_else(|| Proven::not(Security::Indeterminate));
        let take = |goal: &mut Goal, records: Vec<Owned>| {
            let mut before = None;
            for (owned, proven) in records.into_iter().zip(sets) {
                let ttl = owned.1.ttl.min(max_ttl);
                if kept && !is_made(before.as_ref(), &owned) {
                    context.cache.put_positive(&owned.0, owned.1.clone(), proven.clone(), context.now);
                }
                goal.records.push(Held::fetched(owned.clone(), ttl, &proven));
                before = Some(owned);
            }
        };
        if let Some((name, trust, ttl)) = trust.filter(|_| kept) {
            context.cache.put_trust(&name, trust, ttl, context.now);
        }
        match reply {
            Reply::Answer(records) => {
                take(goal, records);
                Some(Finish::Records)
            }
            Reply::Alias(records, target) => {
                take(goal, records);
                // An alias is no zone, and that is all that was to be known.
                if goal.purpose == Purpose::Trust {
                    return Some(Finish::Records);
                }
                goal.rename(target).err().map(Finish::Failed)
            }
            Reply::NoData(aliases, soa) => {
                let name = aliases.last().map_or_else(|| Some(goal.name.clone()), alias_target)?;
                take(goal, aliases);
                let entry = Entry::NoData(goal.rtype, soa.clone().map(Arc::new));
                Some(negative(rcode::NOERROR, &name, entry, (soa, missing), context, kept))
            }
            Reply::NxDomain(aliases, soa) => {
                let name = aliases.last().map_or_else(|| Some(goal.name.clone()), alias_target)?;
                take(goal, aliases);
                let entry = Entry::NxDomain(soa.clone().map(Arc::new));
                Some(negative(rcode::NXDOMAIN, &name, entry, (soa, missing), context, kept))
            }
            Reply::Referral(delegation) => {
                goal.referrals += 1;
                if goal.referrals > DNS_REFERRALS_MAX {
                    return Some(Finish::Failed("too many referrals".into()));
                }
                let delegation = Arc::new(delegation);
                if fetched {
                    context.cache.put_delegation(delegation.clone(), context.now);
                }
                goal.turn_to(&delegation, context);
                None
            }
            Reply::Truncated | Reply::NotUnderstood(_) | Reply::Refused(_) | Reply::Lame(_) => None,
        }
    }

    /// Uses what the cache holds.
    fn take_hit(&mut self, hit: Hit) -> Option<Finish> {
        let goal = self.goals.last_mut()?;
        match &hit.entry {
            Entry::Positive(rrset) => {
                let target = (rrset.rtype == Rtype::CNAME && goal.rtype != Rtype::CNAME)
                    .then(|| Name::from_wire(rrset.first()).ok())
                    .flatten();
                goal.records.push(Held::cached((goal.name.clone(), rrset.clone()), &hit));
                match target {
                    Some(target) => goal.rename(target).err().map(Finish::Failed),
                    None => Some(Finish::Records),
                }
            }
            Entry::NoData(_, soa) => {
                Some(Finish::Negative(rcode::NOERROR, held_soa(soa, &hit), hit.security))
            }
            Entry::NxDomain(soa) => {
                Some(Finish::Negative(rcode::NXDOMAIN, held_soa(soa, &hit), hit.security))
            }
            Entry::Failure(_, failures) => Some(Finish::Failed(failures.last.clone())),
            Entry::Delegation(_) | Entry::Trust(_) => None,
        }
    }

    /// Uses a DNAME that the cache holds.
    fn take_renamed(&mut self, renamed: Renamed) -> Option<Finish> {
        let goal = self.goals.last_mut()?;
        goal.records.extend(renamed.held(&goal.name));
        if goal.rtype == Rtype::CNAME {
            return Some(Finish::Records);
        }
        goal.rename(renamed.target).err().map(Finish::Failed)
    }

    /// Ends the goal on top: hands what it found to the one below, or is the end of all.
    fn finish(&mut self, finish: Finish) -> Option<Answer> {
        let goal = self.goals.pop()?;
        let Some(below) = self.goals.last_mut() else {
            return Some(match finish {
                Finish::Records => Answer::positive(goal.records),
                Finish::Negative(rcode, soa, said) => Answer::negative(rcode, goal.records, soa, said),
                Finish::Failed(failure) => Answer::failed(failure),
            });
        };
        if goal.purpose == Purpose::Trust {
            // With it, the reply below is judged again; without it, there is no judging.
            let Finish::Failed(failure) = finish else { return None };
            let unsigned = below.parked.as_ref().is_some_and(Parked::is_unsigned_answer);
            let failure = if failure.is_bogus() && unsigned && goal.rtype == Rtype::DS {
                let reason = format!("{} {}: there is no signature, and {failure}", below.name, below.rtype);
                Failure::new(extended::RRSIGS_MISSING, reason)
            } else if failure.is_bogus() {
                failure
            } else {
                let reason = format!("{} {} cannot be had: {failure}", goal.name, goal.rtype);
                Failure::new(extended::DNSKEY_MISSING, reason)
            };
            return self.finish(Finish::Failed(failure));
        }
        // The address of a name server of the goal below.
        let server = goal.records.first().map_or(&goal.name, |held| &held.owner);
        let found =
            below.round.as_mut().and_then(|round| round.candidates.iter_mut().find(|c| c.name == *server));
        if let (Some(candidate), Finish::Records, Some(held)) = (found, finish, goal.records.last()) {
            candidate.add(held.rrset.iter().filter_map(address));
        }
        None
    }
}

fn alias_target((_, rrset): &Owned) -> Option<Name> {
    Name::from_wire(rrset.first()).ok()
}

fn held_soa(soa: &Option<Arc<Owned>>, hit: &Hit) -> Option<Held> {
    soa.as_deref().map(|soa| Held::cached(soa.clone(), hit))
}

fn negative(
    rcode: u16,
    name: &Name,
    entry: Entry,
    (soa, missing): (Option<Owned>, Proven),
    context: Context<'_>,
    kept: bool,
) -> Finish {
    let ttl = soa.as_ref().map_or(0, |(_, rrset)| reply::negative_ttl(rrset));
    if kept {
        context.cache.put_negative(name, entry, ttl, missing.clone(), context.now);
    }
    let said = missing.security;
    Finish::Negative(rcode, soa.map(|soa| Held::fetched(soa, ttl, &missing)), said)
}
