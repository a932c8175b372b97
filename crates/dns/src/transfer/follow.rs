//! Follows a zone on its primaries: asks for it when its SOA says so or a primary does, serves what comes, keeps a copy
//! in a file, and stops serving what has got too old.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postroad_service::{Clock, Drain};
use postroad_types::limits::DNS_NOTIFIED_APART_SECONDS;
use tokio::sync::{Notify, Semaphore};
use tracing::{info, warn};

use super::Peer;
use super::incoming::{Brought, IncomingError};
use super::peer::{FetchError, Have};
use super::schedule::{Schedule, Timers};
use crate::wire::Name;
use crate::zone::serial::is_newer;
use crate::zone::{Hosted, Zone, ZoneErrors, save_zone, zone_from_records, zone_with_changes};

/// Wakes a follower: its zone has changed on a primary, as far as one can tell.
#[derive(Debug, Default)]
pub struct Poke {
    notify: Notify,
    from: Mutex<Option<IpAddr>>,
}

impl Poke {
    fn by(&self, from: Option<IpAddr>) {
        *self.from.lock().unwrap_or_else(PoisonError::into_inner) = from;
        self.notify.notify_one();
    }

    async fn wait(&self) -> Option<IpAddr> {
        self.notify.notified().await;
        self.from.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// All followers, as those who wake them see them.
#[derive(Debug, Clone, Default)]
pub struct Followers(HashMap<Name, (Vec<Peer>, Arc<Poke>)>);

impl Followers {
    /// Adds a zone; what wakes its follower.
    pub fn add(&mut self, zone: Name, primaries: Vec<Peer>) -> Arc<Poke> {
        let poke = Arc::new(Poke::default());
        self.0.insert(zone, (primaries, Arc::clone(&poke)));
        poke
    }

    /// Whether a message that is signed with `key`, if it is, comes from a primary of the zone.
    pub fn is_primary(&self, zone: &Name, client: IpAddr, key: Option<&Name>) -> bool {
        let client = client.to_canonical();
        let fits = |peer: &Peer| {
            let agreed = peer.key.as_ref().map(|key| key.name());
            peer.address.ip().to_canonical() == client && (agreed.is_none() || agreed == key)
        };
        self.0.get(zone).is_some_and(|(primaries, _)| primaries.iter().any(fits))
    }

    /// The zone is asked for now; that primary first. False when it is not followed.
    pub fn wake(&self, zone: &Name, from: Option<IpAddr>) -> bool {
        self.0.get(zone).map(|(_, poke)| poke.by(from)).is_some()
    }
}

/// Follows one zone.
#[derive(Debug)]
pub struct Follower {
    pub zone: Name,
    /// The copy, if one is kept.
    pub file: Option<PathBuf>,
    pub primaries: Vec<Peer>,
    pub poke: Arc<Poke>,
    pub hosted: Arc<Hosted>,
    pub clock: Arc<dyn Clock>,
    /// Transfers at a time, of all zones together.
    pub permits: Arc<Semaphore>,
}

/// Why a primary brought nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("what came is no zone:\n{0}")]
    Zone(#[from] ZoneErrors),
    #[error("the work ended early: {0}")]
    Work(#[from] tokio::task::JoinError),
}

impl Follower {
    /// Runs until the drain begins.
    pub async fn run(self, drain: Drain) {
        let mut schedule = self.begin();
        loop {
            let until = schedule.expires().map_or(schedule.next(), |expires| expires.min(schedule.next()));
            let wait = until.saturating_sub(self.clock.monotonic());
            let poked = tokio::select! {
                () = drain.stopping() => return,
                () = self.clock.sleep(wait) => None,
                from = self.poke.wait() => Some(from),
            };
            self.expire_if_due(&mut schedule).await;
            if poked.is_none() && self.clock.monotonic() < schedule.next() {
                continue;
            }
            let mut refresh = pin!(self.refresh(poked.flatten()));
            let outcome = loop {
                let left = schedule.expires().map(|expires| expires.saturating_sub(self.clock.monotonic()));
                tokio::select! {
                    () = drain.stopping() => return,
                    outcome = &mut refresh => break outcome,
                    // A primary that takes its time does not keep an old zone alive.
                    () = self.clock.sleep(left.unwrap_or_default()), if left.is_some() => {
                        self.expire_if_due(&mut schedule).await;
                    }
                }
            };
            match outcome {
                Some(timers) => schedule.succeeded(timers, self.clock.monotonic()),
                None => schedule.failed(self.clock.monotonic()),
            }
            if poked.is_some() {
                // Addresses can be forged: whoever forges notifications makes us ask no more often than this.
                tokio::select! {
                    () = drain.stopping() => return,
                    () = tokio::time::sleep(Duration::from_secs(DNS_NOTIFIED_APART_SECONDS)) => {}
                }
            }
        }
    }

    fn present(&self) -> Option<Arc<Zone>> {
        self.hosted.below(&self.zone).filter(|zone| zone.is_available())
    }

    /// The copy's file tells by its time when it was confirmed last.
    fn begin(&self) -> Schedule {
        let now = self.clock.monotonic();
        let Some(timers) = self.present().and_then(|zone| Timers::of(&zone)) else {
            return Schedule::missing(now);
        };
        let confirmed = self.file.as_deref().and_then(|file| file.metadata().ok()?.modified().ok());
        let age = confirmed.and_then(|confirmed| self.clock.now().duration_since(confirmed).ok());
        Schedule::copied(timers, age.unwrap_or_default(), now)
    }

    async fn expire_if_due(&self, schedule: &mut Schedule) {
        if schedule.expires().is_some_and(|expires| expires <= self.clock.monotonic()) {
            schedule.expired();
            warn!(zone = %self.zone, "no primary has confirmed the zone for as long as its SOA allows: it is not served any more");
            let file = self.file.clone().unwrap_or_default();
            self.publish(Zone::unavailable(self.zone.clone(), file)).await;
        }
    }

    /// In a task that may block: what has changed is found out, and the zone may be signed.
    async fn publish(&self, zone: Zone) -> Option<Arc<Zone>> {
        let hosted = Arc::clone(&self.hosted);
        match tokio::task::spawn_blocking(move || hosted.publish(zone)).await {
            Ok(Ok(())) => self.hosted.below(&self.zone),
            Ok(Err(error)) => {
                warn!("what has come is not served: {error}");
                None
            }
            Err(error) => {
                warn!(zone = %self.zone, "what has come is not served, the work ended early: {error}");
                None
            }
        }
    }

    /// Asks the primaries one after the other, `first` before the others, until one has brought or confirmed a version.
    async fn refresh(&self, first: Option<IpAddr>) -> Option<Timers> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await.ok()?;
        let is_first = |peer: &&Peer| first.is_some_and(|first| peer.address.ip() == first);
        let others = self.primaries.iter().filter(|peer| !is_first(peer));
        for peer in self.primaries.iter().filter(is_first).chain(others) {
            match self.ask_primary(peer).await {
                Ok(()) => return self.present().and_then(|zone| Timers::of(&zone)),
                Err(error) => {
                    warn!(zone = %self.zone, primary = %peer.address, "the zone did not come: {error}")
                }
            }
        }
        None
    }

    async fn ask_primary(&self, peer: &Peer) -> Result<(), Failure> {
        let present = self.present();
        if let Some(present) = &present {
            match self.newer(peer, present).await {
                // The differences may be wrong, or not be spoken: the zone as a whole still may come.
                Err(Failure::Fetch(FetchError::Incoming(error))) if error != IncomingError::TooLarge => {}
                Err(Failure::Zone(error)) => {
                    warn!(zone = %self.zone, primary = %peer.address, "the differences do not fit, the zone is asked for as a whole:\n{error}");
                }
                outcome => return outcome,
            }
        }
        match peer.fetch(&self.zone, None, &*self.clock).await? {
            Brought::Whole(records) => self.take_whole(peer, present.as_ref(), records).await,
            Brought::UpToDate(_) | Brought::Changes(_) => {
                Err(FetchError::Incoming(IncomingError::Disorder("differences that were not asked for"))
                    .into())
            }
        }
    }

    /// Asks for what is newer than the version here.
    async fn newer(&self, peer: &Peer, present: &Arc<Zone>) -> Result<(), Failure> {
        let soa = present.soa().map(|soa| soa.first().to_vec()).unwrap_or_default();
        let have = Have { serial: present.serial(), soa };
        match peer.fetch(&self.zone, Some(&have), &*self.clock).await? {
            Brought::UpToDate(serial) => {
                self.confirm(peer, present, serial).await;
                Ok(())
            }
            Brought::Whole(records) => self.take_whole(peer, Some(present), records).await,
            Brought::Changes(changes) => {
                let (old, whence) = (Arc::clone(present), self.whence(peer));
                let work = tokio::task::spawn_blocking(move || zone_with_changes(&old, changes, &whence));
                self.serve(peer, work.await??, "differences").await;
                Ok(())
            }
        }
    }

    fn whence(&self, peer: &Peer) -> String {
        format!("transfer from {}", peer.address)
    }

    async fn take_whole(
        &self,
        peer: &Peer,
        present: Option<&Arc<Zone>>,
        records: Vec<crate::wire::Record>,
    ) -> Result<(), Failure> {
        let (origin, whence) = (self.zone.clone(), self.whence(peer));
        let file = self.file.clone().unwrap_or_default();
        let work = tokio::task::spawn_blocking(move || zone_from_records(&origin, &file, records, &whence));
        let zone = work.await??;
        match present {
            Some(present) if !is_newer(zone.serial(), present.serial()) => {
                self.confirm(peer, present, zone.serial()).await;
            }
            _ => self.serve(peer, zone, "whole").await,
        }
        Ok(())
    }

    /// The primary has nothing newer.
    async fn confirm(&self, peer: &Peer, present: &Zone, serial: u32) {
        if serial != present.serial() {
            warn!(zone = %self.zone, primary = %peer.address, serial, ours = present.serial(), "a primary has an older version than ours");
        }
        let Some(file) = self.file.clone() else { return };
        let now = self.clock.now();
        let work = move || File::options().append(true).open(&file)?.set_modified(now);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
            warn!(zone = %self.zone, %error, "the time of the copy cannot be set; after a restart the zone counts as older than it is");
        }
    }

    /// Serves a version, and keeps it.
    async fn serve(&self, peer: &Peer, zone: Zone, kind: &str) {
        let Some(zone) = self.publish(zone).await else { return };
        for warning in zone.warnings() {
            warn!(zone = %zone.apex(), "{warning}");
        }
        info!(zone = %zone.apex(), primary = %peer.address, serial = zone.serial(), records = zone.records(), kind, "a zone has come");
        let Some(file) = self.file.clone() else { return };
        let now = self.clock.now();
        let work = move || {
            save_zone(&zone, &file)?;
            File::options().append(true).open(&file)?.set_modified(now)
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
            let file = self.file.clone().unwrap_or_default();
            warn!(zone = %self.zone, file = %file.display(), %error, "the copy of the zone cannot be written; may the server write there?");
        }
    }
}
