//! One question, resolved by iteration (RFC 1034 section 5.3.3), as a machine without sockets or clock.
//!
//! [`Iteration::step`] says what to do next: ask a server, or the answer. The driver asks and hands the outcome to
//! [`Iteration::answered`].
//!
//! The machine is a stack of goals, each "find the records of this type of this name". A goal
//! 1. is answered from our own zones or the cache, if they can (an alias changes its name and starts again);
//! 2. else starts at the deepest delegation that is known, at last the root, and asks that zone's servers, the best
//!    first ([`super::servers`]); a referral leads one zone down;
//! 3. puts a goal for a server's address on top of itself when no address of the zone's servers is known or works.
//!
//! Work is bounded in every direction: questions in all, questions and looked-up servers per zone, referrals, aliases
//! and depth of the stack (`postroad_types::limits`), and a name that is already being looked for is not looked for
//! again below itself. So delegations that fan out (NXNS), point at each other (TsuNAME) or chain on (CAMP) cost a
//! stranger's server at most that many questions.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use postroad_types::limits::{
    DNS_ALIAS_STEPS_MAX, DNS_ASKS_PER_QUESTION_MAX, DNS_ASKS_PER_ZONE_MAX, DNS_GLUELESS_PER_ZONE_MAX,
    DNS_LOOKUP_DEPTH_MAX, DNS_REFERRALS_MAX,
};

use super::cache::{Cache, Entry, Hit};
use super::delegation::address;
use super::minimise::Uncut;
use super::rename::{Renamed, is_made, renamed};
use super::reply::{self, Owned, Reply};
use super::round::{Candidate, Round, TRIES_MAX};
pub use super::rules::Rules;
use super::servers::Servers;
use super::steps::{Answer, Held, Source, Step};
use super::upstream::{Ask, AskError};
use super::{Delegation, local};
use crate::serve::rcode;
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
}

/// What to do next.
#[derive(Debug)]
pub enum Action {
    Ask(Ask),
    Done(Answer),
}

#[derive(Debug)]
struct Goal {
    name: Name,
    rtype: Rtype,
    records: Vec<Held>,
    round: Option<Round>,
    referrals: usize,
}

enum Finish {
    Records,
    Negative(u16, Option<Held>),
    Failed(String),
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
    asks: usize,
    steps: Vec<Step>,
}

impl Iteration {
    /// Starts to look for `rtype` records of `name`.
    pub fn new(name: Name, rtype: Rtype, freshness: Freshness) -> Self {
        let goal = Goal { name, rtype, records: Vec::new(), round: None, referrals: 0 };
        Self { goals: vec![goal], pending: None, again: None, freshness, asks: 0, steps: Vec::new() }
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
            let depth = self.goals.len();
            let fresh = if depth == 1 { self.freshness } else { Freshness::Known };
            let Some(goal) = self.goals.last_mut() else {
                return Action::Done(Answer::failed("nothing to look for"));
            };
            let Some(round) = &mut goal.round else {
                let name = goal.name.clone();
                if let Some((source, reply)) = known(goal, fresh, context) {
                    let (rtype, outcome) = (goal.rtype, describe(&reply));
                    let step =
                        Step { source, zone: Name::root(), name, rtype, outcome, took: Duration::ZERO };
                    self.steps.push(step);
                    let finish = match reply {
                        Known::Reply(reply) => self.take_reply(reply, context, false),
                        Known::Hit(hit) => self.take_hit(hit),
                        Known::Renamed(renamed) => self.take_renamed(renamed),
                    };
                    if let Some(done) = finish.and_then(|finish| self.finish(finish)) {
                        return Action::Done(done);
                    }
                } else {
                    goal.round = Some(Round::new(&start(goal, fresh, context), context));
                }
                continue;
            };
            let budget = self.asks < DNS_ASKS_PER_QUESTION_MAX && round.asks < DNS_ASKS_PER_ZONE_MAX;
            let best = if budget { round.best(context) } else { None };
            let lookup = match best {
                Some((_, false)) => None,
                _ if budget && depth < DNS_LOOKUP_DEPTH_MAX => self.next_lookup(context.rules),
                _ => None,
            };
            if let Some((name, rtype)) = lookup {
                self.goals.push(Goal { name, rtype, records: Vec::new(), round: None, referrals: 0 });
                continue;
            }
            let Some(goal) = self.goals.last_mut() else { continue };
            let Some(round) = &mut goal.round else { continue };
            if let Some((ip, _)) = best {
                let tries = round.address(ip).map_or(0, |address| address.tries);
                let ancestor = round.shown.next(&goal.name, context.uncut, context.now);
                round.asks += usize::from(ancestor.is_none());
                let rtype = if ancestor.is_some() { Rtype::A } else { goal.rtype };
                let ask = Ask {
                    server: SocketAddr::new(ip, context.rules.port),
                    name: ancestor.unwrap_or_else(|| goal.name.clone()),
                    rtype,
                    tcp: false,
                    edns: context.servers.takes_edns(ip, context.now),
                    timeout: context.servers.timeout(ip, tries, context.rules.query_timeout),
                };
                return self.ask(ask);
            }
            let problem = if self.asks >= DNS_ASKS_PER_QUESTION_MAX {
                "too many questions were needed".to_owned()
            } else {
                format!("no server of {} answers ({})", round.zone, round.last_problem)
            };
            if let Some(done) = self.finish(Finish::Failed(problem)) {
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
        if round.glueless >= DNS_GLUELESS_PER_ZONE_MAX * 2 {
            return None;
        }
        let unusable =
            |candidate: &&mut Candidate| candidate.addresses.iter().all(|address| !rules.allows(address.ip));
        for candidate in round.candidates.iter_mut().filter(unusable) {
            // Its address is only to be had from the zone itself, whose servers are what is looked for.
            if candidate.name.is_at_or_below(&round.zone) {
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
        let zone = round.zone.clone();
        let ip = ask.server.ip();
        let reply = outcome.map(|message| {
            context.servers.answered(ip, took);
            context.rules.without_private(reply::read(&message, &ask.name, ask.rtype, &zone))
        });
        let source = if ask.tcp { Source::Tcp(ask.server) } else { Source::Udp(ask.server) };
        let described = match &reply {
            Ok(reply) => describe_reply(reply),
            Err(error) => error.to_string(),
        };
        let (name, rtype) = (ask.name.clone(), ask.rtype);
        self.steps.push(Step { source, zone: zone.clone(), name, rtype, outcome: described.clone(), took });
        if part && !is_told_of_part(&reply, &ask) {
            round.shown.show_all();
        }
        let finish = match reply {
            Err(AskError::Suspicious) if !ask.tcp => {
                self.again = Some(Ask { tcp: true, timeout: context.rules.query_timeout, ..ask });
                None
            }
            Err(error) => {
                if matches!(error, AskError::Timeout | AskError::Unreachable(_)) {
                    context.servers.silent(ip, context.now);
                }
                self.problem(ip, matches!(error, AskError::Timeout), described);
                None
            }
            Ok(Reply::Truncated) if !ask.tcp => {
                self.again = Some(Ask { tcp: true, timeout: context.rules.query_timeout, ..ask });
                None
            }
            Ok(Reply::NotUnderstood(_)) if ask.edns => {
                self.again = Some(Ask { edns: false, ..ask });
                None
            }
            // The next question is for more of the name, or for all of it.
            Ok(reply) if part && !matches!(reply, Reply::Referral(_)) => {
                if matches!(reply, Reply::Answer(_) | Reply::NoData(..)) {
                    round.shown.passed(&ask.name);
                    context.uncut.put(ask.name, context.now);
                }
                None
            }
            Ok(Reply::Truncated | Reply::NotUnderstood(_) | Reply::Refused(_) | Reply::Lame(_)) => {
                let failed = described == "SERVFAIL";
                if !failed {
                    context.servers.lame(ip, &zone, context.now);
                }
                self.problem(ip, false, described);
                None
            }
            Ok(reply) => {
                if !ask.edns && context.servers.takes_edns(ip, context.now) {
                    context.servers.without_edns(ip, context.now);
                }
                self.take_reply(reply, context, true)
            }
        };
        finish.and_then(|finish| self.finish(finish))
    }

    /// Notes that a server was of no use; it may be tried once more if it was only silent.
    fn problem(&mut self, ip: IpAddr, retry: bool, described: String) {
        let Some(round) = self.goals.last_mut().and_then(|goal| goal.round.as_mut()) else { return };
        round.last_problem = format!("{ip}: {described}");
        if let Some(address) = round.address(ip) {
            address.tries += if retry { 1 } else { TRIES_MAX };
        }
    }

    /// Uses an answer; keeps it in the cache when it was `fetched`.
    fn take_reply(&mut self, reply: Reply, context: Context<'_>, fetched: bool) -> Option<Finish> {
        let max_ttl = context.rules.max_ttl;
        let take = |goal: &mut Goal, records: Vec<Owned>| {
            let mut before = None;
            for owned in records {
                if fetched && !is_made(before.as_ref(), &owned) {
                    context.cache.put_positive(&owned.0, owned.1.clone(), context.now);
                }
                goal.records.push(Held::fetched(owned.clone(), max_ttl));
                before = Some(owned);
            }
        };
        let goal = self.goals.last_mut()?;
        match reply {
            Reply::Answer(records) => {
                take(goal, records);
                Some(Finish::Records)
            }
            Reply::Alias(records, target) => {
                take(goal, records);
                goal.rename(target)
            }
            Reply::NoData(aliases, soa) => {
                let name = aliases.last().map_or_else(|| Some(goal.name.clone()), alias_target)?;
                take(goal, aliases);
                let entry = Entry::NoData(goal.rtype, soa.clone());
                Some(negative(rcode::NOERROR, &name, entry, soa, context, fetched))
            }
            Reply::NxDomain(aliases, soa) => {
                let name = aliases.last().map_or_else(|| Some(goal.name.clone()), alias_target)?;
                take(goal, aliases);
                Some(negative(rcode::NXDOMAIN, &name, Entry::NxDomain(soa.clone()), soa, context, fetched))
            }
            Reply::Referral(delegation) => {
                goal.referrals += 1;
                if goal.referrals > DNS_REFERRALS_MAX {
                    return Some(Finish::Failed("too many referrals".to_owned()));
                }
                let delegation = Arc::new(delegation);
                if fetched {
                    context.cache.put_delegation(delegation.clone(), context.now);
                }
                goal.round = Some(Round::new(&delegation, context));
                None
            }
            Reply::Truncated | Reply::NotUnderstood(_) | Reply::Refused(_) | Reply::Lame(_) => None,
        }
    }

    /// Uses what the cache holds.
    fn take_hit(&mut self, hit: Hit) -> Option<Finish> {
        let goal = self.goals.last_mut()?;
        match hit.entry {
            Entry::Positive(rrset) => {
                let target = (rrset.rtype == Rtype::CNAME && goal.rtype != Rtype::CNAME)
                    .then(|| Name::from_wire(rrset.first()).ok())
                    .flatten();
                goal.records.push(Held { owner: goal.name.clone(), rrset, ttl: hit.ttl, age: Some(hit.age) });
                match target {
                    Some(target) => goal.rename(target),
                    None => Some(Finish::Records),
                }
            }
            Entry::NoData(_, soa) => Some(Finish::Negative(rcode::NOERROR, held_soa(soa, hit.ttl, hit.age))),
            Entry::NxDomain(soa) => Some(Finish::Negative(rcode::NXDOMAIN, held_soa(soa, hit.ttl, hit.age))),
            Entry::Failure(_, _, reason) => Some(Finish::Failed(reason.to_string())),
            Entry::Delegation(_) => None,
        }
    }

    /// Uses a DNAME that the cache holds.
    fn take_renamed(&mut self, renamed: Renamed) -> Option<Finish> {
        let goal = self.goals.last_mut()?;
        goal.records.extend(renamed.held(&goal.name));
        if goal.rtype == Rtype::CNAME { Some(Finish::Records) } else { goal.rename(renamed.target) }
    }

    /// Ends the goal on top: hands what it found to the one below, or is the end of all.
    fn finish(&mut self, finish: Finish) -> Option<Answer> {
        let goal = self.goals.pop()?;
        let Some(below) = self.goals.last_mut() else {
            return Some(match finish {
                Finish::Records => Answer {
                    rcode: rcode::NOERROR,
                    records: goal.records,
                    authority: None,
                    failure: None,
                    stale: false,
                },
                Finish::Negative(rcode, authority) => {
                    Answer { rcode, records: goal.records, authority, failure: None, stale: false }
                }
                Finish::Failed(reason) => Answer::failed(reason),
            });
        };
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

impl Goal {
    /// Goes on with the name that an alias leads to.
    fn rename(&mut self, target: Name) -> Option<Finish> {
        self.name = target;
        self.round = None;
        (self.records.len() > DNS_ALIAS_STEPS_MAX).then(|| Finish::Failed("too many aliases".to_owned()))
    }
}

/// Whether a server that was asked for a part of the name said what the next question depends on, or shall be asked for
/// that part in another way.
fn is_told_of_part(reply: &Result<Reply, AskError>, ask: &Ask) -> bool {
    match reply {
        Ok(Reply::Referral(_) | Reply::Answer(_) | Reply::NoData(..)) => true,
        Ok(Reply::Truncated) | Err(AskError::Suspicious) => !ask.tcp,
        Ok(Reply::NotUnderstood(_)) => ask.edns,
        _ => false,
    }
}

enum Known {
    Reply(Reply),
    Hit(Hit),
    Renamed(Renamed),
}

/// What our own zones or the cache know about a goal.
fn known(goal: &Goal, fresh: Freshness, context: Context<'_>) -> Option<(Source, Known)> {
    if let Some(reply) = local::look_up(context.zones, &goal.name, goal.rtype) {
        return match reply {
            // A deeper delegation may be known.
            Reply::Referral(_) if fresh == Freshness::Known => {
                cached(goal, context).or(Some((Source::Zone, Known::Reply(reply))))
            }
            reply => Some((Source::Zone, Known::Reply(reply))),
        };
    }
    if let Some(reply) = local::look_up(context.special, &goal.name, goal.rtype) {
        return Some((Source::Zone, Known::Reply(reply)));
    }
    if fresh == Freshness::Known { cached(goal, context) } else { None }
}

fn cached(goal: &Goal, context: Context<'_>) -> Option<(Source, Known)> {
    let hit = context.cache.answer(&goal.name, goal.rtype, context.now).map(Known::Hit);
    let known = hit.or_else(|| renamed(context.cache, &goal.name, context.now, false).map(Known::Renamed))?;
    Some((Source::Cache, known))
}

/// The delegation that a goal starts at. DS records are the upper side's of a zone cut (RFC 4035 section 3.1.4.1).
fn start(goal: &Goal, fresh: Freshness, context: Context<'_>) -> Arc<Delegation> {
    let from = if goal.rtype == Rtype::DS { goal.name.parent() } else { Some(goal.name.clone()) };
    let cached = from
        .filter(|_| fresh != Freshness::FromTheRoot)
        .and_then(|name| context.cache.delegation(&name, context.now));
    cached.unwrap_or_else(|| context.root.clone())
}

fn alias_target((_, rrset): &Owned) -> Option<Name> {
    Name::from_wire(rrset.first()).ok()
}

fn held_soa(soa: Option<Owned>, ttl: u32, age: Duration) -> Option<Held> {
    soa.map(|(owner, rrset)| Held { owner, rrset, ttl, age: Some(age) })
}

fn negative(
    rcode: u16,
    name: &Name,
    entry: Entry,
    soa: Option<Owned>,
    context: Context<'_>,
    fetched: bool,
) -> Finish {
    let ttl = soa.as_ref().map_or(0, |(_, rrset)| reply::negative_ttl(rrset));
    if fetched {
        context.cache.put_negative(name, entry, ttl, context.now);
    }
    Finish::Negative(rcode, soa.map(|(owner, rrset)| Held { owner, rrset, ttl, age: None }))
}

fn describe(known: &Known) -> String {
    match known {
        Known::Reply(reply) => describe_reply(reply),
        Known::Renamed(renamed) => format!("alias to {}", renamed.target),
        Known::Hit(hit) => match &hit.entry {
            Entry::Positive(rrset) if rrset.rtype == Rtype::CNAME => "alias".to_owned(),
            Entry::Positive(_) => "answer".to_owned(),
            Entry::NoData(..) => "no such records".to_owned(),
            Entry::NxDomain(_) => "NXDOMAIN".to_owned(),
            Entry::Delegation(delegation) => format!("referral to {}", delegation.zone),
            Entry::Failure(_, _, reason) => format!("failed a moment ago: {reason}"),
        },
    }
}

fn describe_reply(reply: &Reply) -> String {
    match reply {
        Reply::Answer(_) => "answer".to_owned(),
        Reply::Alias(_, target) => format!("alias to {target}"),
        Reply::NoData(..) => "no such records".to_owned(),
        Reply::NxDomain(..) => "NXDOMAIN".to_owned(),
        Reply::Referral(delegation) => format!("referral to {}", delegation.zone),
        Reply::Truncated => "truncated".to_owned(),
        Reply::NotUnderstood(code) | Reply::Refused(code) => code_name(*code),
        Reply::Lame(reason) => format!("lame: {reason}"),
    }
}

fn code_name(code: hickory_proto::op::ResponseCode) -> String {
    use hickory_proto::op::ResponseCode;
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => format!("RCODE {}", u16::from(other)),
    }
}
