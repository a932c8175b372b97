//! Asks the servers of a zone's parent which of the zone's keys they have a DS of.
//!
//! Over TCP, from each server that is configured, and only with their own authority: what a forged datagram or a cache says
//! must not lead to a key being withdrawn.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use postroad_types::limits::DNS_PARENT_SECONDS_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dnssec::{Dnskey, Ds};
use crate::keys::{DsSeen, Seen};
use crate::serve::rcode;
use crate::wire::{Name, OPCODE_QUERY, Reader, Rtype, question_only};

/// The DS records that one server has, with their TTLs.
pub type DsSet = Vec<(u32, Vec<u8>)>;

/// Why a server's DS records are not known.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    #[error("{server}: {error}")]
    Io { server: SocketAddr, error: io::Error },
    #[error("{0}: no answer in time")]
    Timeout(SocketAddr),
    #[error("{0}: its answer is not understood")]
    Malformed(SocketAddr),
    #[error("{0}: it is no server of the parent (its answer is not authoritative, or has code {1})")]
    NotAuthoritative(SocketAddr, u16),
}

/// Asks all servers of a parent.
#[async_trait]
pub trait AskParent: std::fmt::Debug + Send + Sync {
    /// The DS sets of all of them. An error where one of them could not be asked: then nothing is sure.
    async fn ds(&self, zone: &Name) -> Result<Vec<DsSet>, ParentError>;
}

/// The servers of a parent.
#[derive(Debug, Clone)]
pub struct ParentServers(pub Vec<SocketAddr>);

#[async_trait]
impl AskParent for ParentServers {
    async fn ds(&self, zone: &Name) -> Result<Vec<DsSet>, ParentError> {
        let mut sets = Vec::with_capacity(self.0.len());
        for server in &self.0 {
            let asking = timeout(Duration::from_secs(DNS_PARENT_SECONDS_MAX), ask(*server, zone));
            sets.push(asking.await.map_err(|_| ParentError::Timeout(*server))??);
        }
        Ok(sets)
    }
}

async fn ask(server: SocketAddr, zone: &Name) -> Result<DsSet, ParentError> {
    let id = rand::random();
    let message = question_only(id, OPCODE_QUERY, zone, Rtype::DS);
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let framed = [&(message.len() as u16).to_be_bytes(), message.as_slice()].concat();
        stream.write_all(&framed).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let answer = exchange.await.map_err(|error| ParentError::Io { server, error })?;
    read(&answer, id, zone, server)
}

fn read(answer: &[u8], id: u16, zone: &Name, server: SocketAddr) -> Result<DsSet, ParentError> {
    let malformed = |_| ParentError::Malformed(server);
    let mut reader = Reader::new(answer).map_err(malformed)?;
    let header = reader.header();
    let (name, rtype, _) = reader.question().map_err(malformed)?;
    if header.id != id || !header.is_response() || name != *zone || rtype != Rtype::DS {
        return Err(ParentError::Malformed(server));
    }
    if !header.authoritative() || !matches!(header.rcode(), rcode::NOERROR | rcode::NXDOMAIN) {
        return Err(ParentError::NotAuthoritative(server, header.rcode()));
    }
    let mut set = DsSet::new();
    let [_, answers, ..] = header.counts;
    for _ in 0..answers {
        let record = reader.record().map_err(malformed)?;
        if record.rtype == Rtype::DS && record.owner == *zone {
            set.push((record.ttl, record.rdata));
        }
    }
    Ok(set)
}

/// What these DS sets say of keys, given by tag and DNSKEY data.
pub fn seen<'k>(zone: &Name, sets: &[DsSet], keys: impl IntoIterator<Item = (u16, &'k [u8])>) -> Vec<DsSeen> {
    let of_key = |(tag, dnskey): (u16, &[u8])| {
        let key = Dnskey::read(dnskey)?;
        let is_its = |(_, rdata): &&(u32, Vec<u8>)| Ds::read(rdata).is_some_and(|ds| ds.matches(zone, &key));
        let having = sets.iter().filter(|set| set.iter().any(|ds| is_its(&ds))).count();
        let seen = match having {
            0 => Seen::Nowhere,
            all if all == sets.len() => Seen::Everywhere,
            _ => Seen::Somewhere,
        };
        let ttl = sets.iter().flatten().filter(is_its).map(|(ttl, _)| *ttl).max();
        Some(DsSeen { tag, seen, ttl })
    };
    if sets.is_empty() { Vec::new() } else { keys.into_iter().filter_map(of_key).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::ds_rdata;

    fn dnskey(last: u8) -> Vec<u8> {
        [&[1, 1, 3, 15][..], &[7; 31], &[last]].concat()
    }

    #[test]
    fn a_ds_counts_when_all_servers_have_it() {
        let zone: Name = "example".parse().unwrap();
        let (one, two) = (dnskey(1), dnskey(2));
        let ds = |key: &[u8], ttl: u32| (ttl, ds_rdata(&zone, key, Ds::SHA384).unwrap());
        let see = |sets: &[DsSet]| -> Vec<_> {
            let seen = seen(&zone, sets, [(1, &one[..]), (2, &two[..])]);
            seen.into_iter().map(|ds| (ds.seen, ds.ttl)).collect()
        };
        assert_eq!(see(&[]), []);
        assert_eq!(see(&[vec![], vec![]]), [(Seen::Nowhere, None), (Seen::Nowhere, None)]);
        let sets = [vec![ds(&one, 60)], vec![ds(&one, 90), ds(&two, 30)]];
        assert_eq!(see(&sets), [(Seen::Everywhere, Some(90)), (Seen::Somewhere, Some(30))]);
    }

    #[test]
    fn only_the_parents_own_word_counts() {
        let zone: Name = "example".parse().unwrap();
        let server: SocketAddr = "127.0.0.1:53".parse().unwrap();
        let mut answer = question_only(7, OPCODE_QUERY, &zone, Rtype::DS);
        let take = |answer: &[u8]| read(answer, 7, &zone, server);
        assert!(matches!(take(&answer), Err(ParentError::Malformed(_))), "a question");
        answer[2] |= 0x80;
        assert!(matches!(take(&answer), Err(ParentError::NotAuthoritative(_, 0))));
        answer[2] |= 0x04;
        assert_eq!(take(&answer).unwrap(), []);
        answer[3] |= 3;
        assert_eq!(take(&answer).unwrap(), []);
        answer[3] ^= 1;
        assert!(matches!(take(&answer), Err(ParentError::NotAuthoritative(_, 2))));
        answer[3] = 0;
        answer[7] = 1;
        assert!(matches!(take(&answer), Err(ParentError::Malformed(_))), "cut");
        answer.extend_from_slice(b"\xc0\x0c\x00\x2b\x00\x01\x00\x00\x00\x3c\x00\x05\x00\x07\x0f\x02x");
        assert_eq!(take(&answer).unwrap(), [(60, b"\x00\x07\x0f\x02x".to_vec())]);
        assert!(matches!(read(&answer, 8, &zone, server), Err(ParentError::Malformed(_))));
    }
}
