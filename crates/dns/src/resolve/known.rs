//! What our own zones and the cache know about a goal, and where asking about it begins.

use std::sync::Arc;

use super::cache::Hit;
use super::goal::{Goal, Purpose};
use super::iterate::{Context, Freshness};
use super::rename::{Renamed, renamed};
use super::reply::Reply;
use super::steps::Source;
use super::{Delegation, local};
use crate::wire::Rtype;

/// What is known without asking anybody.
pub(super) enum Known {
    Reply(Reply),
    Hit(Hit),
    Renamed(Renamed),
}

/// What our own zones or the cache know about a goal.
pub(super) fn known(goal: &Goal, fresh: Freshness, context: Context<'_>) -> Option<(Source, Known)> {
    let key = goal.name.key();
    if let Some(reply) = local::look_up(context.zones, &goal.name, &key, goal.rtype) {
        return match reply {
            // A deeper delegation may be known.
            Reply::Referral(_) if fresh == Freshness::Known => {
                cached(goal, context).or(Some((Source::Zone, Known::Reply(reply))))
            }
            reply => Some((Source::Zone, Known::Reply(reply))),
        };
    }
    if let Some(reply) = local::look_up(context.special, &goal.name, &key, goal.rtype) {
        return Some((Source::Zone, Known::Reply(reply)));
    }
    if fresh == Freshness::Known { cached(goal, context) } else { None }
}

fn cached(goal: &Goal, context: Context<'_>) -> Option<(Source, Known)> {
    let hit = match goal.purpose {
        Purpose::Address => context.cache.unchecked_answer(&goal.name, goal.rtype, context.now),
        Purpose::Answer | Purpose::Trust => context.cache.answer(&goal.name, goal.rtype, context.now),
    };
    let renamed = || renamed(context.cache, &goal.name, context.now, false).map(Known::Renamed);
    let known = hit.map(Known::Hit).or_else(renamed)?;
    Some((Source::Cache, known))
}

/// The delegation that a goal starts at. DS records are the upper side's of a zone cut (RFC 4035 section 3.1.4.1).
pub(super) fn start(goal: &Goal, fresh: Freshness, context: Context<'_>) -> Arc<Delegation> {
    let from = if goal.rtype == Rtype::DS { goal.name.parent() } else { Some(goal.name.clone()) };
    let cached = from
        .as_ref()
        .filter(|_| fresh != Freshness::FromTheRoot)
        .and_then(|name| context.cache.delegation(name, context.now));
    let known = cached.unwrap_or_else(|| context.root.clone());
    let route = from.and_then(|name| context.rules.routes.find(&name, &known, !goal.direct));
    route.unwrap_or(known)
}
