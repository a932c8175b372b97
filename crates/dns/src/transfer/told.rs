//! What other servers said when they were told that a zone has changed: for who looks how zones are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::wire::Name;

/// What came of telling a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Heard,
    /// With this response code.
    Refused(u16),
    Silent,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Heard => "heard",
            Self::Refused(_) => "refused",
            Self::Silent => "silent",
        }
    }
}

/// What a server knows of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knows {
    pub serial: u32,
    pub outcome: Outcome,
    pub at: SystemTime,
}

/// A zone by its key, and a server that is told of it.
type Place = (Box<[u8]>, SocketAddr);

/// The last outcome for each zone and server.
#[derive(Debug, Clone, Default)]
pub struct ToldServers(Arc<Mutex<BTreeMap<Place, Option<Knows>>>>);

impl ToldServers {
    /// A server that will be told.
    pub fn add(&self, zone: &Name, server: SocketAddr) {
        self.put(zone, server, None);
    }

    pub fn note(&self, zone: &Name, server: SocketAddr, knows: Knows) {
        self.put(zone, server, Some(knows));
    }

    fn put(&self, zone: &Name, server: SocketAddr, knows: Option<Knows>) {
        let key = (zone.key().as_bytes().into(), server);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, knows);
    }

    /// The servers of a zone.
    pub fn of(&self, zone: &Name) -> Vec<(SocketAddr, Option<Knows>)> {
        let zone = zone.key();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.iter().filter(|((key, _), _)| **key == *zone.as_bytes());
        own.map(|((_, server), knows)| (*server, *knows)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcome_of_each_server_is_known() {
        let told = ToldServers::default();
        let (zone, other): (Name, Name) = ("Example".parse().unwrap(), "other".parse().unwrap());
        let server: SocketAddr = "192.0.2.1:53".parse().unwrap();
        told.add(&zone, server);
        assert_eq!(told.of(&"example".parse().unwrap()), [(server, None)]);
        for (serial, outcome) in [(1, Outcome::Silent), (2, Outcome::Refused(5)), (3, Outcome::Heard)] {
            let knows = Knows { serial, outcome, at: SystemTime::UNIX_EPOCH };
            told.note(&zone, server, knows);
            assert_eq!(told.of(&zone), [(server, Some(knows))]);
        }
        assert!(told.of(&other).is_empty());
        assert_eq!(Outcome::Refused(5).as_str(), "refused");
    }
}
