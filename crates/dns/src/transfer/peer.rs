//! Another name server, and how it is spoken to: from which address, with which key, for how long.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use postroad_service::Clock;
use postroad_types::limits::{
    DNS_TRANSFER_CONNECT_SECONDS, DNS_TRANSFER_IN_SECONDS_MAX, DNS_TRANSFER_STALL_SECONDS,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::incoming::{Brought, Incoming, IncomingError};
use crate::tsig::{Key, Signer, Verifier, VerifyError};
use crate::wire::{Name, OPCODE_QUERY, Rtype, question_only};

/// Another name server.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// What is said to it is signed, and so must be what it answers.
    pub key: Option<Arc<Key>>,
    /// The address of ours that it knows us by; `None`: as the system chooses.
    pub source: Option<IpAddr>,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("the connection ended: {0}")]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Incoming(#[from] IncomingError),
    #[error("the answer is not believed: {0}")]
    Signature(#[from] VerifyError),
}

/// Of the addresses that are listened on the one that `peer` is spoken to from: other servers know us by it. An address
/// of the whole machine is no choice, and from loopback only loopback is reached.
pub fn source_for(peer: SocketAddr, listen: &[SocketAddr]) -> Option<IpAddr> {
    let addresses = listen.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified());
    let mut fitting = addresses.filter(|address| {
        address.is_ipv4() == peer.is_ipv4() && address.is_loopback() == peer.ip().is_loopback()
    });
    fitting.next()
}

/// Puts a SOA into the section of the message whose count is at `count_at`; the owner is the question's name.
pub(super) fn push_soa(message: &mut Vec<u8>, count_at: usize, ttl: u32, rdata: &[u8]) {
    message.extend_from_slice(b"\xc0\x0c");
    message.extend_from_slice(&Rtype::SOA.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    message.extend_from_slice(rdata);
    if let Some(count) = message.get_mut(count_at + 1) {
        *count = 1;
    }
}

/// The number of authority records stands here in a message.
const AUTHORITIES_AT: usize = 8;

/// Our version of a zone.
#[derive(Debug, Clone)]
pub struct Have {
    pub serial: u32,
    /// The data of its SOA.
    pub soa: Vec<u8>,
}

impl Peer {
    /// Asks for a zone over TCP: for what is newer than `have`, or for all of it.
    pub async fn fetch(
        &self,
        apex: &Name,
        have: Option<&Have>,
        clock: &dyn Clock,
    ) -> Result<Brought, FetchError> {
        let whole = Duration::from_secs(DNS_TRANSFER_IN_SECONDS_MAX);
        timeout(whole, self.fetch_in_time(apex, have, clock)).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn fetch_in_time(
        &self,
        apex: &Name,
        have: Option<&Have>,
        clock: &dyn Clock,
    ) -> Result<Brought, FetchError> {
        let id = rand::random();
        let rtype = if have.is_some() { Rtype::IXFR } else { Rtype::AXFR };
        let mut message = question_only(id, OPCODE_QUERY, apex, rtype);
        if let Some(have) = have {
            push_soa(&mut message, AUTHORITIES_AT, 0, &have.soa);
        }
        let mut verifier = self.sign(&mut message, clock);

        let connecting = timeout(Duration::from_secs(DNS_TRANSFER_CONNECT_SECONDS), self.connect());
        let mut stream = connecting.await.map_err(|_| FetchError::Timeout)?.map_err(FetchError::Connect)?;
        let stall = Duration::from_secs(DNS_TRANSFER_STALL_SECONDS);
        let framed = [&(message.len() as u16).to_be_bytes(), message.as_slice()].concat();
        timeout(stall, stream.write_all(&framed)).await.map_err(|_| FetchError::Timeout)??;

        let mut incoming = Incoming::new(id, apex.clone(), have.map(|have| have.serial));
        let mut answer = Vec::new();
        loop {
            let read = async {
                let length = usize::from(stream.read_u16().await?);
                answer.resize(length, 0);
                stream.read_exact(&mut answer).await
            };
            timeout(stall, read).await.map_err(|_| FetchError::Timeout)??;
            if let Some(verifier) = &mut verifier {
                verifier.check(&answer, seconds(clock))?;
            }
            if let Some(brought) = incoming.message(&answer)? {
                let signed = verifier.as_ref().is_none_or(Verifier::is_complete);
                return if signed { Ok(brought) } else { Err(VerifyError::Unsigned.into()) };
            }
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.source {
            socket.bind((source, 0).into())?;
        }
        socket.connect(self.address).await
    }

    /// Signs a request if there is a key, and gives what checks the response.
    pub(super) fn sign(&self, message: &mut Vec<u8>, clock: &dyn Clock) -> Option<Verifier> {
        let mut signer = Signer::request(Arc::clone(self.key.as_ref()?));
        signer.sign(message, seconds(clock));
        Some(Verifier::new(signer))
    }
}

pub(super) fn seconds(clock: &dyn Clock) -> u64 {
    clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_spoken_to_from_the_address_it_knows() {
        let listen: Vec<SocketAddr> =
            ["0.0.0.0:53", "127.0.0.1:53", "192.0.2.1:53", "192.0.2.2:53", "[2001:db8::1]:53"]
                .map(|text| text.parse().unwrap())
                .to_vec();
        let source = |peer: &str| source_for(peer.parse().unwrap(), &listen).map(|source| source.to_string());
        assert_eq!(source("198.51.100.1:53").as_deref(), Some("192.0.2.1"));
        assert_eq!(source("127.0.0.9:53").as_deref(), Some("127.0.0.1"));
        assert_eq!(source("[2001:db8::2]:53").as_deref(), Some("2001:db8::1"));
        assert_eq!(source("[::1]:53"), None);
    }
}
