//! What an iteration looks for: a stack of these is what it has still to do.

use std::sync::Arc;

use postroad_types::limits::DNS_ALIAS_STEPS_MAX;

use super::evidence::{Evidence, Proven, Sections};
use super::iterate::Context;
use super::rename::is_made;
use super::reply::{Owned, Reply};
use super::round::Round;
use super::security::{Failure, Security};
use super::steps::Held;
use super::upstream::Ask;
use super::validate::{Need, Verdict};
use super::{Delegation, Endpoint};
use crate::dnssec::Rrsig;
use crate::wire::{Name, Rtype};

/// What is looked for, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Answer,
    /// The address of a name server of the goal below.
    Address,
    /// DS or DNSKEY records by which the reply to the goal below is judged.
    Trust,
}

/// A reply that waits for what it is judged by.
#[derive(Debug)]
pub(super) struct Parked {
    pub reply: Reply,
    pub sections: Sections,
    pub at: Endpoint,
    /// The question, if it was asked without EDNS: then there are no signatures, whatever the zone has.
    pub plain: Option<Ask>,
}

impl Parked {
    pub fn is_unsigned_answer(&self) -> bool {
        matches!(self.reply, Reply::Answer(_) | Reply::Alias(..)) && !self.sections.is_signed()
    }
}

#[derive(Debug)]
pub(super) struct Goal {
    pub name: Name,
    pub rtype: Rtype,
    pub purpose: Purpose,
    pub records: Vec<Held>,
    pub round: Option<Round>,
    pub referrals: usize,
    /// Resolvers that it is forwarded to have failed.
    pub direct: bool,
    pub parked: Option<Parked>,
    /// What replies had to wait for.
    pub needed: Vec<Need>,
    /// Replies that were bogus, and why the last one was.
    pub bogus: usize,
    pub flaw: Option<Failure>,
    /// Servers that were asked again with EDNS, as without it there is no judging.
    pub edns_again: Vec<Endpoint>,
}

impl Goal {
    pub fn new(name: Name, rtype: Rtype, purpose: Purpose) -> Self {
        Self {
            name,
            rtype,
            purpose,
            records: Vec::new(),
            round: None,
            referrals: 0,
            direct: false,
            parked: None,
            needed: Vec::new(),
            bogus: 0,
            flaw: None,
            edns_again: Vec::new(),
        }
    }

    /// Asks this zone's servers next.
    pub fn turn_to(&mut self, delegation: &Arc<Delegation>, context: Context<'_>) {
        let mut round = Round::new(delegation, context);
        if self.purpose == Purpose::Address {
            round.shown.show_sooner();
        }
        self.round = Some(round);
    }

    /// Goes on with the name that an alias leads to.
    pub fn rename(&mut self, target: Name) -> Result<(), Failure> {
        self.name = target;
        self.round = None;
        self.direct = false;
        if self.records.len() > DNS_ALIAS_STEPS_MAX { Err("too many aliases".into()) } else { Ok(()) }
    }
}

/// The verdict on a reply that nobody judges: what came with it is kept for clients who will.
pub(super) fn plain(reply: &Reply, sections: Option<&Sections>, security: Security) -> Verdict {
    let sections = sections.filter(|_| security != Security::Unchecked);
    let proven = |evidence| Proven::new(security, evidence, u32::MAX);
    let (chain, soa) = match reply {
        Reply::Answer(chain) | Reply::Alias(chain, _) => (&chain[..], None),
        Reply::NoData(chain, soa) | Reply::NxDomain(chain, soa) => (&chain[..], soa.as_ref()),
        _ => return Verdict::default(),
    };
    let signatures = |owned: &Owned| sections?.signatures(&owned.0, owned.1.rtype);
    let made_of_wildcard = |owned: &Owned| {
        let labels = owned.0.label_count() - usize::from(owned.0.is_wildcard());
        let counted = signatures(owned).and_then(|set| Rrsig::read(set.first()).map(|rrsig| rrsig.labels));
        counted.is_some_and(|counted| usize::from(counted) < labels)
    };
    let sets = chain.iter().enumerate().map(|(index, owned)| {
        let before = index.checked_sub(1).and_then(|before| chain.get(before));
        if is_made(before, owned) {
            return proven(None);
        }
        let proof = sections.filter(|_| made_of_wildcard(owned)).map(Sections::witnesses);
        proven(Evidence::new(signatures(owned), proof.unwrap_or_default()))
    });
    let missing = || {
        let proof = sections.map(Sections::witnesses).unwrap_or_default();
        proven(Evidence::new(soa.and_then(signatures), proof))
    };
    let missing = matches!(reply, Reply::NoData(..) | Reply::NxDomain(..)).then(missing);
    Verdict { sets: sets.collect(), missing, ..Verdict::default() }
}
