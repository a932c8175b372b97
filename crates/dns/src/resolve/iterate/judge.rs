//! Replies on their way through validation: judged, waiting for what they are judged by, rejected.

use std::time::Duration;

use postroad_types::limits::{DNS_BOGUS_RETRIES_MAX, DNS_TRUST_DEPTH_MAX, DNS_TRUST_QUESTIONS_PER_REPLY_MAX};

use super::{Answer, Checking, Context, Finish, Iteration, Source, Step};
use crate::resolve::Endpoint;
use crate::resolve::goal::{Goal, Parked, Purpose, plain};
use crate::resolve::round::Round;
use crate::resolve::security::{Failure, Security};
use crate::resolve::upstream::Ask;
use crate::resolve::validate::{Need, Question, Stop};
use crate::wire::options::extended;
use crate::wire::{Name, Rtype};

impl Iteration {
    /// Has a reply judged, and uses it if it is good; else what is missing is looked for, or another server asked.
    pub(super) fn judge(&mut self, parked: Parked, context: Context<'_>) -> Option<Answer> {
        let goal = self.goals.last_mut()?;
        let zone = goal.round.as_ref()?.zone().clone();
        let judged = match &mut self.validator {
            Some(validator) if goal.purpose != Purpose::Address => {
                let Parked { reply, sections, .. } = &parked;
                let (name, rtype) = (&goal.name, goal.rtype);
                validator.judge(Question { name, rtype, zone: &zone, reply, sections }, context)
            }
            _ => {
                let security = match (&self.checking, goal.purpose) {
                    (Checking::Nothing, _) => Security::Indeterminate,
                    (Checking::Disabled, Purpose::Answer) => Security::Bogus,
                    (Checking::By(_) | Checking::Disabled, _) => Security::Unchecked,
                };
                Ok(plain(&parked.reply, Some(&parked.sections), security))
            }
        };
        match judged {
            Ok(mut verdict) => {
                for (name, rtype, outcome) in std::mem::take(&mut verdict.findings) {
                    let (source, zone) = (Source::Validation, zone.clone());
                    self.steps.push(Step {
                        source,
                        zone,
                        name,
                        rtype,
                        outcome: outcome.into(),
                        took: Duration::ZERO,
                    });
                }
                let finish = self.take_reply(parked.reply, verdict, context, true)?;
                self.finish(finish)
            }
            Err(Stop::Need(need)) => self.look_for(need, parked, context),
            Err(Stop::Failed(failure)) => {
                if let Some(ask) = parked.plain.filter(|_| failure.is_bogus()) {
                    let goal = self.goals.last_mut()?;
                    if !goal.edns_again.contains(&parked.at) {
                        // What made it look like a server without EDNS may have been forged.
                        goal.edns_again.push(parked.at);
                        context.servers.with_edns(parked.at);
                        self.again = Some(Ask { edns: true, ..ask });
                        return None;
                    }
                }
                self.reject(&failure, parked.at)
            }
        }
    }

    /// Lets a reply wait for DS or DNSKEY records.
    fn look_for(&mut self, need: Need, parked: Parked, context: Context<'_>) -> Option<Answer> {
        let depth = self.goals.iter().filter(|goal| goal.purpose == Purpose::Trust).count();
        let same_zone = |goal: &Goal| {
            let round = goal.round.as_ref().filter(|round| *round.zone() == need.name)?;
            Some(round.delegation.clone())
        };
        // Its keys are asked for where the zone itself was; what is above it, from there.
        let delegation = self.goals.iter().rev().find_map(same_zone).filter(|_| need.rtype == Rtype::DNSKEY);
        let goal = self.goals.last_mut()?;
        let itself = goal.name == need.name && goal.rtype == need.rtype;
        if itself || goal.needed.contains(&need) || depth >= DNS_TRUST_DEPTH_MAX {
            let reason = format!("{} {}: the chain of trust ends there", need.name, need.rtype);
            return self.reject(&Failure::new(extended::DNSKEY_MISSING, reason), parked.at);
        }
        if goal.needed.len() >= DNS_TRUST_QUESTIONS_PER_REPLY_MAX {
            let reason = format!("{}: too many names would have to be asked for DS records", goal.name);
            return self.reject(&Failure::new(extended::BOGUS, reason), parked.at);
        }
        goal.needed.push(need.clone());
        goal.parked = Some(parked);
        let mut above = Goal::new(need.name, need.rtype, Purpose::Trust);
        above.round = delegation.map(|delegation| Round::new(&delegation, context));
        self.goals.push(above);
        None
    }

    /// Notes that a reply is bogus; another server may know better.
    fn reject(&mut self, failure: &Failure, at: Endpoint) -> Option<Answer> {
        let outcome = format!("bogus: {failure}");
        let goal = self.goals.last_mut()?;
        let zone = goal.round.as_ref().map_or_else(Name::root, |round| round.zone().clone());
        let (source, name, rtype) = (Source::Validation, goal.name.clone(), goal.rtype);
        self.steps.push(Step { source, zone, name, rtype, outcome: outcome.into(), took: Duration::ZERO });
        goal.bogus += 1;
        if goal.bogus > DNS_BOGUS_RETRIES_MAX {
            return self.finish(Finish::Failed(failure.clone()));
        }
        goal.flaw = Some(failure.clone());
        self.problem(at, false, &failure.reason);
        None
    }
}
