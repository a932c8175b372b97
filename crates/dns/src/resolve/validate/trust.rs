//! What is known of the chain of trust: which zones are signed with which keys, which are not signed, and where there is
//! no zone at all.

use std::sync::Arc;

use super::anchors::{Above, Anchors};
use super::{Need, Stop};
use crate::resolve::cache::Entry;
use crate::resolve::iterate::Context;
use crate::resolve::security::{Failure, Security, Unsigned};
use crate::wire::options::extended;
use crate::wire::{Name, RrSet, Rtype};

/// What the zone above says of a name.
#[derive(Debug, Clone)]
pub enum Trust {
    /// It is a signed zone with these DS records.
    Ds(Arc<RrSet>),
    /// It is a zone that is not signed, or may be one.
    Insecure(Unsigned),
    /// It is not the beginning of a zone.
    NoCut,
}

/// What a zone's data must be signed with.
#[derive(Debug)]
pub enum Keys {
    /// These DNSKEY records, one of them.
    Signed(Arc<RrSet>),
    /// Nothing.
    Not(Security),
}

/// The chain of trust as far as one question has followed it.
#[derive(Debug)]
pub struct Chain {
    pub anchors: Arc<Anchors>,
    /// What is in the cache counts.
    pub cached: bool,
    learnt: Vec<(Name, Trust, u32)>,
    keys: Vec<(Name, Arc<RrSet>)>,
}

/// What is said of a zone, and for how many seconds.
#[derive(Debug)]
pub enum Said {
    Trust(Trust, u32),
    /// No trust anchor is above it.
    Nothing,
}

impl Chain {
    pub fn new(anchors: Arc<Anchors>, cached: bool) -> Self {
        Self { anchors, cached, learnt: Vec::new(), keys: Vec::new() }
    }

    /// Notes what the zone above says of a name, for `ttl` seconds.
    pub fn learn(&mut self, name: Name, trust: Trust, ttl: u32) {
        self.learnt.retain(|(known, ..)| *known != name);
        self.learnt.push((name, trust, ttl));
    }

    /// Notes the keys of a zone.
    pub fn learn_keys(&mut self, zone: Name, keys: Arc<RrSet>) {
        self.keys.retain(|(known, _)| *known != zone);
        self.keys.push((zone, keys));
    }

    fn known(&self, name: &Name, context: Context<'_>) -> Option<(Trust, u32)> {
        let learnt = self.learnt.iter().find(|(known, ..)| known == name);
        match learnt {
            Some((_, trust, ttl)) => Some((trust.clone(), *ttl)),
            None if self.cached => context.cache.trust(name, context.now),
            None => None,
        }
    }

    /// What is said of `zone` above it. [`Stop::Need`]: its DS records must be asked for.
    pub fn said(&self, zone: &Name, context: Context<'_>) -> Result<Said, Stop> {
        let (anchor, ds) = match self.anchors.above(zone, context.zones) {
            Above::Nothing => return Ok(Said::Nothing),
            Above::Insecure(why) => return Ok(Said::Trust(Trust::Insecure(why), u32::MAX)),
            Above::Anchor(anchor, ds) => (anchor, ds),
        };
        if anchor == zone {
            return Ok(Said::Trust(Trust::Ds(ds.clone()), u32::MAX));
        }
        if let Some((trust, ttl)) = self.known(zone, context) {
            return Ok(Said::Trust(trust, ttl));
        }
        // Nothing signed is below what is not.
        let mut above = zone.parent();
        while let Some(name) = above.filter(|name| name.is_below(anchor)) {
            if let Some((Trust::Insecure(why), ttl)) = self.known(&name, context) {
                return Ok(Said::Trust(Trust::Insecure(why), ttl));
            }
            above = name.parent();
        }
        Err(Stop::Need(Need { name: zone.clone(), rtype: Rtype::DS }))
    }

    /// What the data of `zone` must be signed with. [`Stop::Need`]: DS or DNSKEY records must be asked for.
    pub fn keys(&self, zone: &Name, context: Context<'_>) -> Result<Keys, Stop> {
        match self.said(zone, context)? {
            Said::Nothing => Ok(Keys::Not(Security::Indeterminate)),
            Said::Trust(Trust::Insecure(why), _) => Ok(Keys::Not(Security::Insecure(why))),
            Said::Trust(Trust::NoCut, _) => {
                let reason = format!("{zone} signs, but the zone above knows of no such zone");
                Err(Stop::Failed(Failure::new(extended::BOGUS, reason)))
            }
            Said::Trust(Trust::Ds(_), _) => {
                if let Some((_, keys)) = self.keys.iter().find(|(known, _)| known == zone) {
                    return Ok(Keys::Signed(keys.clone()));
                }
                let hit = context.cache.answer(zone, Rtype::DNSKEY, context.now).filter(|_| self.cached);
                match hit.map(|hit| (hit.security, hit.entry)) {
                    Some((Security::Secure, Entry::Positive(keys))) if keys.rtype == Rtype::DNSKEY => {
                        Ok(Keys::Signed(keys))
                    }
                    _ => Err(Stop::Need(Need { name: zone.clone(), rtype: Rtype::DNSKEY })),
                }
            }
        }
    }
}
