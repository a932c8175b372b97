//! Tells other servers that a zone has changed (NOTIFY, RFC 1996).
//!
//! Each server of each zone has a task of its own, which waits for another serial; so one that does not answer holds up
//! nobody. When the zone changes while a server is still being told, it is told of the newest version only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use postroad_service::{Clock, Drain};
use postroad_types::limits::{DNS_NOTIFY_FIRST_WAIT_SECONDS, DNS_NOTIFY_TRIES};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::Peer;
use super::peer::{push_soa, seconds};
use super::told::{Knows, Outcome, ToldServers};
use crate::wire::{Name, OPCODE_NOTIFY, Reader, Rtype, question_only};
use crate::zone::Zones;

/// The number of answers stands here in a message.
const ANSWERS_AT: usize = 6;
/// Longer than any answer to a notification.
const ANSWER_OCTETS: usize = 4096;

/// One server that is told of one zone.
#[derive(Debug)]
pub struct Notifier {
    pub zone: Name,
    pub peer: Peer,
    pub zones: Arc<ArcSwap<Zones>>,
    pub clock: Arc<dyn Clock>,
    /// Where what comes of it is taken down.
    pub told: ToldServers,
}

/// What a notification led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Heard,
    /// With this response code.
    Refused(u16),
    /// It is not heard, or cannot be sent.
    Silence,
}

impl Notifier {
    /// Tells of the version that is served at the start, which may be new, and of every later one.
    pub async fn run(self, mut serial: watch::Receiver<u32>, drain: Drain) {
        loop {
            serial.mark_unchanged();
            let (zone, server) = (&self.zone, self.peer.address);
            tokio::select! {
                () = drain.stopping() => return,
                told = self.tell(&mut serial) => match self.note(told, &serial) {
                    Some(Told::Heard) => info!(%zone, %server, "another server knows that the zone has changed"),
                    Some(Told::Refused(code)) => warn!(
                        %zone, %server, code,
                        "another server does not want to know that the zone has changed; does it follow it from us?"
                    ),
                    Some(Told::Silence) => warn!(%zone, %server, "another server does not answer that it knows the zone has changed; it will find out by itself"),
                    None if serial.has_changed().is_err() => return,
                    None => continue,
                },
            }
            tokio::select! {
                () = drain.stopping() => return,
                changed = serial.changed() => if changed.is_err() { return },
            }
        }
    }

    fn note(&self, told: Option<Told>, serial: &watch::Receiver<u32>) -> Option<Told> {
        let outcome = match told? {
            Told::Heard => Outcome::Heard,
            Told::Refused(code) => Outcome::Refused(code),
            Told::Silence => Outcome::Silent,
        };
        let knows = Knows { serial: *serial.borrow(), outcome, at: self.clock.now() };
        self.told.note(&self.zone, self.peer.address, knows);
        told
    }

    /// Tells until it is heard; `None` when the zone has changed again meanwhile, or is not available.
    async fn tell(&self, serial: &mut watch::Receiver<u32>) -> Option<Told> {
        if self.message(0).is_none() {
            // There is nothing to tell of yet.
            serial.changed().await.ok()?;
            return None;
        }
        let mut wait = Duration::from_secs(DNS_NOTIFY_FIRST_WAIT_SECONDS);
        for _ in 0..DNS_NOTIFY_TRIES {
            let once = async {
                match timeout(wait, self.once()).await {
                    Ok(Ok(told)) => told,
                    outcome => {
                        if let Ok(Err(error)) = outcome {
                            debug!(zone = %self.zone, server = %self.peer.address, %error, "a notification is not sent");
                            tokio::time::sleep(wait).await;
                        }
                        Told::Silence
                    }
                }
            };
            tokio::select! {
                told = once => if told != Told::Silence { return Some(told) },
                changed = serial.changed() => { changed.ok()?; return None }
            }
            wait *= 2;
        }
        Some(Told::Silence)
    }

    /// The question for the SOA with the SOA as a hint in the answer section (RFC 1996 section 3.7).
    fn message(&self, id: u16) -> Option<Vec<u8>> {
        let zone = self.zones.load().get(&self.zone).cloned()?;
        let soa = zone.soa()?;
        let mut message = question_only(id, OPCODE_NOTIFY, &self.zone, Rtype::SOA);
        push_soa(&mut message, ANSWERS_AT, soa.ttl, soa.first());
        Some(message)
    }

    /// Sends one notification and waits for what is answered to it.
    async fn once(&self) -> io::Result<Told> {
        let id: u16 = rand::random();
        let Some(mut message) = self.message(id) else { return Ok(Told::Silence) };
        let server = self.peer.address;
        let any =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
        let socket = UdpSocket::bind((self.peer.source.unwrap_or(any), 0)).await?;
        socket.connect(server).await?;
        let verifier = self.peer.sign(&mut message, &*self.clock);
        socket.send(&message).await?;
        let mut answer = vec![0; ANSWER_OCTETS];
        loop {
            let octets = socket.recv(&mut answer).await?;
            let answer = answer.get(..octets).unwrap_or_default();
            let Ok(header) = Reader::new(answer).map(|reader| reader.header()) else { continue };
            if header.id != id || !header.is_response() || header.opcode() != OPCODE_NOTIFY {
                continue;
            }
            // A server that finds fault with the signature cannot always sign its answer.
            let refused = (header.rcode() != 0).then_some(Told::Refused(header.rcode()));
            let Some(verifier) = &verifier else { return Ok(refused.unwrap_or(Told::Heard)) };
            match (verifier.clone().check(answer, seconds(&*self.clock)), refused) {
                (Ok(()), None) => return Ok(Told::Heard),
                (_, Some(refused)) => return Ok(refused),
                (Err(error), None) => debug!(%server, %error, "an answer to a notification is not believed"),
            }
        }
    }
}
