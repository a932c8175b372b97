//! What is known of other name servers: how fast they are, which are down, which do not serve a zone that is
//! delegated to them (lame), which do not understand EDNS.
//!
//! The times follow RFC 6298 (smoothed round trip and its variation). A server that did not answer is tried last
//! for a while, longer with every silence, so that one dead server of two costs its short timeout once and then
//! nothing. And where servers of one address family are silent one after the other, those that were never asked come
//! after the other family's: many machines have IPv6 addresses that lead nowhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Endpoint;
use crate::wire::Name;

/// Servers that are remembered; at the bound the whole memory is dropped, which costs some timeouts once.
const SERVERS_MAX: usize = 16_384;
/// Zones per server that it is known to be lame for.
const LAME_ZONES_MAX: usize = 64;
/// First timeout of a server that was never asked.
const UNKNOWN_TIMEOUT: Duration = Duration::from_millis(400);
const TIMEOUT_MIN: Duration = Duration::from_millis(150);
/// Taken for a server that was never asked: better than a slow one, worse than a near one.
const UNKNOWN_RTT: Duration = Duration::from_millis(60);
const BACKOFF_FIRST: Duration = Duration::from_secs(5);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Short: a server that was just told of the zone refuses until it has loaded it.
const LAME_FOR: Duration = Duration::from_secs(60);
/// Servers of a family that never answered, one after the other, until the family is doubted.
const FAMILY_SILENCES: u32 = 3;
const FAMILY_DOUBTED_FOR: Duration = Duration::from_secs(300);
/// Taken for a server that was never asked while its family is doubted.
const DOUBTED_RTT: Duration = Duration::from_millis(1000);
/// Short: a FORMERR may be forged, and without EDNS there are no signatures.
const NO_EDNS_FOR: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Server {
    /// Smoothed round trip time and its variation.
    rtt: Option<(Duration, Duration)>,
    silences: u32,
    down_until: Option<Duration>,
    no_edns_until: Option<Duration>,
    lame: HashMap<Name, Duration>,
}

/// IPv4 or IPv6.
#[derive(Debug, Default)]
struct Family {
    silences: u32,
    doubted_until: Option<Duration>,
}

#[derive(Debug, Default)]
struct Memory {
    servers: HashMap<Endpoint, Server>,
    families: [Family; 2],
}

impl Memory {
    fn family(&mut self, at: Endpoint) -> &mut Family {
        let [v4, v6] = &mut self.families;
        if at.ip.is_ipv4() { v4 } else { v6 }
    }

    /// What is taken for the round trip of a server that has not answered yet.
    fn unknown_rtt(&mut self, at: Endpoint, now: Duration) -> Duration {
        let doubted = self.family(at).doubted_until.is_some_and(|until| until > now);
        if doubted { DOUBTED_RTT } else { UNKNOWN_RTT }
    }
}

/// How much a server is worth asking; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    lame: bool,
    down: bool,
    rtt: Duration,
}

impl Rank {
    /// To be asked only when there is no other: a server may refuse one name of a zone and know all others.
    pub fn is_last(self) -> bool {
        self.lame || self.down
    }
}

/// The memory of all servers.
#[derive(Debug, Default)]
pub struct Servers(Mutex<Memory>);

impl Servers {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, at: Endpoint, change: impl FnOnce(&mut Server)) {
        let servers = &mut self.lock().servers;
        if servers.len() >= SERVERS_MAX && !servers.contains_key(&at) {
            servers.clear();
        }
        change(servers.entry(at).or_default());
    }

    /// The rank of a server for a zone. `chance` from 0 to 255 spreads servers that are about as fast, so that each is
    /// measured again now and then.
    pub fn rank(&self, at: impl Into<Endpoint>, zone: &Name, chance: u8, now: Duration) -> Rank {
        let at = at.into();
        let mut memory = self.lock();
        let unknown = memory.unknown_rtt(at, now);
        let Some(server) = memory.servers.get(&at) else {
            return Rank { lame: false, down: false, rtt: jittered(unknown, chance) };
        };
        let lame = server.lame.get(zone).is_some_and(|until| *until > now);
        let down = server.down_until.is_some_and(|until| until > now);
        let rtt = server.rtt.map_or(unknown, |(rtt, _)| rtt);
        Rank { lame, down, rtt: jittered(rtt, chance) }
    }

    /// How long to wait for an answer: from what is known, doubled with every try.
    pub fn timeout(&self, at: impl Into<Endpoint>, tries: u32, most: Duration) -> Duration {
        let at = at.into();
        let memory = self.lock();
        let rtt = memory.servers.get(&at).and_then(|server| server.rtt);
        let first =
            rtt.map_or(UNKNOWN_TIMEOUT, |(rtt, variation)| (rtt * 2 + variation * 4).max(TIMEOUT_MIN));
        first.saturating_mul(1 << tries.min(8)).min(most)
    }

    /// It answered, whatever it said.
    pub fn answered(&self, at: impl Into<Endpoint>, took: Duration) {
        let at = at.into();
        *self.lock().family(at) = Family::default();
        self.change(at, |server| {
            server.silences = 0;
            server.down_until = None;
            server.rtt = Some(match server.rtt {
                None => (took, took / 2),
                Some((rtt, variation)) => ((rtt * 7 + took) / 8, (variation * 3 + rtt.abs_diff(took)) / 4),
            });
        });
    }

    /// It did not answer, or could not be reached.
    pub fn silent(&self, at: impl Into<Endpoint>, now: Duration) {
        let at = at.into();
        let mut never_answered = false;
        self.change(at, |server| {
            never_answered = server.rtt.is_none();
            let backoff = BACKOFF_FIRST.saturating_mul(1 << server.silences.min(16)).min(BACKOFF_MAX);
            server.silences = server.silences.saturating_add(1);
            server.down_until = Some(now + backoff);
        });
        // What the configuration names may be inside, and says nothing of the ways outside.
        if never_answered && at.port.is_none() {
            let mut memory = self.lock();
            let family = memory.family(at);
            family.silences = family.silences.saturating_add(1);
            if family.silences >= FAMILY_SILENCES {
                family.doubted_until = Some(now + FAMILY_DOUBTED_FOR);
            }
        }
    }

    /// It does not serve this zone.
    pub fn lame(&self, at: impl Into<Endpoint>, zone: &Name, now: Duration) {
        let at = at.into();
        self.change(at, |server| {
            if server.lame.len() >= LAME_ZONES_MAX {
                server.lame.retain(|_, until| *until > now);
            }
            if server.lame.len() >= LAME_ZONES_MAX {
                server.lame.clear();
            }
            server.lame.insert(zone.clone(), now + LAME_FOR);
        });
    }

    /// It answers only without EDNS (RFC 6891 section 6.2.2).
    pub fn without_edns(&self, at: impl Into<Endpoint>, now: Duration) {
        let at = at.into();
        self.change(at, |server| server.no_edns_until = Some(now + NO_EDNS_FOR));
    }

    /// That it does not is no longer taken for known.
    pub fn with_edns(&self, at: impl Into<Endpoint>) {
        self.change(at.into(), |server| server.no_edns_until = None);
    }

    pub fn takes_edns(&self, at: impl Into<Endpoint>, now: Duration) -> bool {
        let at = at.into();
        let memory = self.lock();
        let until = memory.servers.get(&at).and_then(|server| server.no_edns_until);
        until.is_none_or(|until| until <= now)
    }

    /// Forgets everything.
    pub fn forget(&self) {
        *self.lock() = Memory::default();
    }
}

/// Up to half as much again.
fn jittered(rtt: Duration, chance: u8) -> Duration {
    rtt + rtt * u32::from(chance) / 512
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_silent_server_is_last_until_it_answers() {
        let (servers, now) = (Servers::default(), Duration::from_secs(1000));
        let (zone, dead, slow) = (Name::root(), IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        servers.answered(slow, Duration::from_millis(900));
        servers.silent(dead, now);
        let rank = |address, at| servers.rank(address, &zone, 0, at);
        assert!(rank(slow, now) < rank(dead, now));
        assert!(rank(slow, now + Duration::from_secs(6)) > rank(dead, now + Duration::from_secs(6)));
        servers.silent(dead, now);
        assert!(rank(slow, now + Duration::from_secs(6)) < rank(dead, now + Duration::from_secs(6)));
        servers.answered(dead, Duration::from_millis(1));
        assert!(rank(dead, now) < rank(slow, now));
    }

    #[test]
    fn a_family_that_leads_nowhere_is_asked_after_the_other() {
        let (servers, now) = (Servers::default(), Duration::from_secs(1000));
        let (zone, v4) = (Name::root(), IpAddr::from([192, 0, 2, 1]));
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        let rank = |address, chance, at| servers.rank(address, &zone, chance, at);
        for last in 0..3 {
            assert_eq!(rank(v6(9), 0, now), rank(v4, 0, now), "as good as any after {last} silences");
            servers.silent(v6(last), now);
        }
        assert!(rank(v6(9), 0, now) > rank(v4, 255, now));
        assert_eq!(rank(v6(9), 0, now + FAMILY_DOUBTED_FOR), rank(v4, 0, now), "it is tried again");
        servers.answered(v6(1), Duration::from_millis(20));
        assert_eq!(rank(v6(9), 0, now), rank(v4, 0, now));
        // Servers that are known to answer say nothing against their family when they are down.
        for _ in 0..9 {
            servers.silent(v6(1), now);
        }
        assert_eq!(rank(v6(9), 0, now), rank(v4, 0, now));
    }

    #[test]
    fn timeouts_follow_the_round_trip() {
        let (servers, most) = (Servers::default(), Duration::from_millis(1500));
        let (unknown, near) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(servers.timeout(unknown, 0, most), Duration::from_millis(400));
        assert_eq!(servers.timeout(unknown, 1, most), Duration::from_millis(800));
        assert_eq!(servers.timeout(unknown, 2, most), most);
        servers.answered(near, Duration::from_millis(2));
        assert_eq!(servers.timeout(near, 0, most), TIMEOUT_MIN);
    }

    #[test]
    fn lame_is_by_zone_and_ends() {
        let (servers, now) = (Servers::default(), Duration::from_secs(1000));
        let (zone, other) = ("beta.test".parse().unwrap(), "alpha.test".parse().unwrap());
        let address = IpAddr::from([192, 0, 2, 1]);
        servers.lame(address, &zone, now);
        assert!(servers.rank(address, &zone, 0, now).is_last());
        assert!(!servers.rank(address, &other, 0, now).is_last());
        assert!(!servers.rank(address, &zone, 0, now + LAME_FOR).is_last());
    }
}
