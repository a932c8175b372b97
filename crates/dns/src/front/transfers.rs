//! What other name servers ask: for whole zones and for what has changed in them (AXFR, RFC 5936; IXFR, RFC 1995), and
//! what they tell: that a zone has changed (NOTIFY, RFC 1996).
//!
//! Over TCP, TLS (RFC 9103) and QUIC the response is a [`Stream`] of messages, made one by one as the client takes them. Over UDP IXFR gets its
//! differences if they fit into one message, else the SOA alone, which tells the client to come over TCP; AXFR is
//! refused there.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postroad_service::Clock;
use postroad_types::limits::{DNS_TRANSFER_MESSAGE_OCTETS, DNS_TRANSFERS_OUT_MAX, DNS_UPDATES_WAITING_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use super::{Engine, Outcome, Pending, Task, Transport};
use crate::serve::rcode;
use crate::transfer::{Access, Filled, Followers, Kind, Outgoing};
use crate::tsig::{Keys, Signer};
use crate::wire::{Name, Request, Rtype, Writer};
use crate::zone::serial::is_newer;
use crate::zone::{ChangeError, Hosted, Update, Zone};

/// What is agreed with other name servers.
#[derive(Debug)]
pub struct Agreed {
    pub keys: Keys,
    /// Who may have which zone.
    pub transfer_to: Access,
    /// The zones that are had from others.
    pub followers: Followers,
    /// Who may change which zone.
    pub update_from: Access,
    /// The zones that may be changed; `None`: no zone may.
    pub hosted: Option<Arc<Hosted>>,
}

impl Agreed {
    /// Nothing: no keys, and no zone for anyone.
    pub fn nothing() -> Self {
        Self {
            keys: Keys::default(),
            transfer_to: Access::default(),
            followers: Followers::default(),
            update_from: Access::default(),
            hosted: None,
        }
    }
}

/// Bounds the transfers that go out at a time, the updates that wait, and what is said of refusals.
#[derive(Debug)]
pub(super) struct Streams {
    transfers: Arc<Semaphore>,
    updates: Arc<Semaphore>,
    /// The second in which a refusal was logged last: whoever is refused without end does not fill the log.
    refused: AtomicU64,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            transfers: Arc::new(Semaphore::new(DNS_TRANSFERS_OUT_MAX)),
            updates: Arc::new(Semaphore::new(DNS_UPDATES_WAITING_MAX)),
            refused: AtomicU64::new(u64::MAX),
        }
    }

    /// Logs a refusal, one a second at most.
    pub(super) fn refused(&self, clock: &dyn Clock, client: IpAddr, zone: &[u8], what: &str) {
        metrics::counter!("postroad_dns_refused_total").increment(1);
        let now = super::seconds(clock);
        if self.refused.swap(now, Ordering::Relaxed) != now {
            let zone = Name::from_wire(zone).map(|name| name.to_string()).unwrap_or_default();
            info!(%client, zone, "refused: {what}");
        }
    }
}

/// The response to a request for a zone: message after message.
#[derive(Debug)]
pub struct Stream {
    request: Vec<u8>,
    records: Outgoing,
    pub(super) signer: Option<Signer>,
    clock: Arc<dyn Clock>,
    udp_octets_max: u16,
    over: bool,
    _permit: OwnedSemaphorePermit,
}

/// A record of the zone is longer than any message; the transfer cannot be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of the zone does not fit into a message")]
pub struct RecordTooLong;

impl Stream {
    /// Writes the next message into `buffer`; false when there is none any more.
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> Result<bool, RecordTooLong> {
        if self.over {
            return Ok(false);
        }
        // What cannot be read again was never accepted.
        let Ok(request) = Request::parse(&self.request) else { return Ok(false) };
        let signature = self.signer.as_ref().map_or(0, Signer::octets);
        let mut filled = fill(
            &mut self.records,
            &request,
            DNS_TRANSFER_MESSAGE_OCTETS - signature,
            self.udp_octets_max,
            buffer,
        );
        if filled.is_none() {
            filled = fill(
                &mut self.records,
                &request,
                usize::from(u16::MAX) - signature,
                self.udp_octets_max,
                buffer,
            );
        }
        self.over = filled.ok_or(RecordTooLong)? == Filled::Done;
        if let Some(signer) = &mut self.signer {
            signer.sign(buffer, super::seconds(&*self.clock));
        }
        Ok(true)
    }
}

/// One message of at most `limit` octets; `None` if not even one record fits.
fn fill(
    records: &mut Outgoing,
    request: &Request<'_>,
    limit: usize,
    udp_octets: u16,
    buffer: &mut Vec<u8>,
) -> Option<Filled> {
    let mut writer = Writer::new(buffer, request, limit);
    writer.authoritative = true;
    let filled = records.fill(&mut writer);
    let some = !writer.is_empty();
    writer.finish(request, udp_octets);
    some.then_some(filled)
}

impl Engine {
    /// Answers a notification, from a server that has proved to have `key`. One from a primary makes us ask for the
    /// zone; one from anybody else does nothing (RFC 1996 section 3.10).
    pub(super) fn notified(
        &self,
        request: &Request<'_>,
        client: IpAddr,
        transport: Transport,
        key: Option<&Name>,
        mut writer: Writer<'_>,
    ) -> Outcome {
        writer.rcode = self.take_notification(request, client, key);
        writer.authoritative = writer.rcode == rcode::NOERROR;
        self.reply(writer, request, transport)
    }

    fn take_notification(&self, request: &Request<'_>, client: IpAddr, key: Option<&Name>) -> u16 {
        let Ok(name) = Name::from_wire(request.question.name) else { return rcode::FORMERR };
        if request.question.rtype != Rtype::SOA {
            return rcode::NOTIMP;
        }
        let zones = self.zones.load();
        let Some(zone) = zones.get(&name) else { return rcode::NOTAUTH };
        // The serials of primaries are those of the zone below, if it is signed here.
        let below = self.agreed.hosted.as_ref().and_then(|hosted| hosted.below(&name));
        let zone = below.as_ref().unwrap_or(zone);
        if !self.agreed.followers.is_primary(&name, client, key) {
            let what = "a notification from no primary of the zone, or not signed as primaries has it";
            self.streams.refused(&*self.clock, client, request.question.name, what);
            return rcode::REFUSED;
        }
        // The serial that it may tell is a hint (RFC 1996 section 3.11): what is here already need not be asked for.
        let known =
            zone.is_available() && request.serial.is_some_and(|serial| !is_newer(serial, zone.serial()));
        if !known {
            self.agreed.followers.wake(&name, Some(client.to_canonical()));
        }
        rcode::NOERROR
    }

    /// Takes a request to change a zone, from a client that has proved to have `key`. It is done in a task, as it waits
    /// for the disk.
    pub(super) fn update(
        &self,
        octets: &[u8],
        request: &Request<'_>,
        client: IpAddr,
        transport: Transport,
        key: Option<&Name>,
        mut writer: Writer<'_>,
    ) -> Outcome {
        writer.rcode = match self.may_update(request, client, key) {
            Err(code) => code,
            Ok(hosted) => match Arc::clone(&self.streams.updates).try_acquire_owned() {
                Err(_) => rcode::SERVFAIL,
                Ok(permit) => {
                    let (request, task) = (octets.to_vec(), Task::Update(hosted));
                    return Outcome::Later(Pending {
                        request,
                        transport,
                        client,
                        task,
                        signer: None,
                        begun: None,
                        _permit: permit,
                    });
                }
            },
        };
        let what = format!("an update with code {}; update_from names who may", writer.rcode);
        self.streams.refused(&*self.clock, client, request.question.name, &what);
        self.reply(writer, request, transport)
    }

    fn may_update(
        &self,
        request: &Request<'_>,
        client: IpAddr,
        key: Option<&Name>,
    ) -> Result<Arc<Hosted>, u16> {
        let name = Name::from_wire(request.question.name).map_err(|_| rcode::FORMERR)?;
        if self.zones.load().get(&name).is_none() {
            return Err(rcode::NOTAUTH);
        }
        let allowed = self.agreed.update_from.allows(&name, client, key);
        self.agreed.hosted.clone().filter(|_| allowed).ok_or(rcode::REFUSED)
    }

    /// Answers a request for a zone, from a client that has proved to have `key`.
    pub(super) fn transfer(
        &self,
        octets: &[u8],
        request: &Request<'_>,
        client: IpAddr,
        transport: Transport,
        key: Option<&Name>,
        mut writer: Writer<'_>,
    ) -> Outcome {
        let records = match self.requested(request, client, transport, key) {
            Ok(records) => records,
            Err(code) => {
                let what = format!("{} with code {code}; transfer_to names who may", request.question.rtype);
                self.streams.refused(&*self.clock, client, request.question.name, &what);
                writer.rcode = code;
                return self.reply(writer, request, transport);
            }
        };
        writer.authoritative = true;
        let zone = Arc::clone(records.zone());
        if transport == Transport::Udp {
            let mut records = records;
            if records.kind() == Kind::Whole || records.fill(&mut writer) == Filled::Full {
                writer.restart(request);
                writer.authoritative = true;
                Outgoing::soa_alone(zone).fill(&mut writer);
            }
            return self.reply(writer, request, transport);
        }
        let Ok(permit) = Arc::clone(&self.streams.transfers).try_acquire_owned() else {
            writer.rcode = rcode::SERVFAIL;
            return self.reply(writer, request, transport);
        };
        info!(%client, zone = %zone.apex(), serial = zone.serial(), kind = ?records.kind(), "a zone is sent");
        self.counters.count(transport, rcode::NOERROR);
        Outcome::Stream(Box::new(Stream {
            request: octets.to_vec(),
            records,
            signer: None,
            clock: Arc::clone(&self.clock),
            udp_octets_max: self.settings.udp_octets_max,
            over: false,
            _permit: permit,
        }))
    }

    /// The records that are asked for, or the code that says why not.
    fn requested(
        &self,
        request: &Request<'_>,
        client: IpAddr,
        transport: Transport,
        key: Option<&Name>,
    ) -> Result<Outgoing, u16> {
        let name = Name::from_wire(request.question.name).map_err(|_| rcode::FORMERR)?;
        let differences = request.question.rtype == Rtype::IXFR;
        if !(transport.takes_streams() || (differences && transport == Transport::Udp)) {
            return Err(rcode::REFUSED);
        }
        let zone: Arc<Zone> = self.zones.load().get(&name).cloned().ok_or(rcode::NOTAUTH)?;
        if !self.agreed.transfer_to.allows(&name, client, key) {
            return Err(rcode::REFUSED);
        }
        if zone.soa().is_none() {
            return Err(rcode::SERVFAIL);
        }
        if !differences {
            return Ok(Outgoing::whole(zone));
        }
        let serial = request.serial.ok_or(rcode::FORMERR)?;
        Ok(Outgoing::since(zone, serial))
    }
}

/// Does an update; the response code.
pub(super) async fn update(hosted: Arc<Hosted>, request: &[u8], signer: Option<&Signer>) -> u16 {
    let update = match Update::parse(request) {
        Ok(update) => update,
        Err(code) => return code,
    };
    let (name, key) = (update.zone.clone(), signer.map(|signer| signer.key_name().to_string()));
    let work = move || hosted.change(&update.zone, |zone| update.apply(zone));
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(changed)) => {
            if let Some(zone) = changed {
                info!(zone = %name, serial = zone.serial(), key, "a zone was updated");
            }
            rcode::NOERROR
        }
        Ok(Err(ChangeError::Refused(code))) => code,
        Ok(Err(error)) => {
            warn!(zone = %name, "an update could not be done: {error}");
            rcode::SERVFAIL
        }
        Err(error) => {
            warn!(zone = %name, "an update ended early: {error}");
            rcode::SERVFAIL
        }
    }
}
