//! What happens to a signed zone by the clock: signatures are made anew, keys follow each other, the parent is asked.

use std::sync::Arc;
use std::time::Duration;

use postroad_service::{Clock, Drain};
use postroad_types::limits::{DNS_SIGNING_LOOK_SECONDS_MAX, DNS_SIGNING_RETRY_SECONDS};
use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use super::parent::{AskParent, seen};
use super::signer::{Signer, Status, seconds};
use crate::keys::DsSeen;
use crate::keys::roll::Next;
use crate::zone::Hosted;

/// Keeps one zone signed.
#[derive(Debug)]
pub struct Keeper {
    pub signer: Arc<Signer>,
    pub hosted: Arc<Hosted>,
    /// None: an operator says what the parent has.
    pub parent: Option<Arc<dyn AskParent>>,
    /// How often the parent is asked while something waits for it.
    pub ask_every: Duration,
    pub clock: Arc<dyn Clock>,
    /// Zones that are signed at a time, of all together.
    pub permits: Arc<Semaphore>,
}

impl Keeper {
    /// Runs until the drain begins.
    pub async fn run(self, drain: Drain) {
        // What the parent has may have changed while we were down.
        let mut ask_at = self.now();
        let mut retry_at = None;
        loop {
            let status = self.signer.status();
            let asks = self.parent.is_some() && awaits_parent(&status);
            let sign_at = retry_at.or(next(&status));
            let at = [sign_at, Some(ask_at).filter(|_| asks)];
            let wait = at.into_iter().flatten().min().map_or(u64::MAX, |at| at.saturating_sub(self.now()));
            let mut woken = false;
            tokio::select! {
                () = drain.stopping() => return,
                () = self.clock.sleep(Duration::from_secs(wait.min(DNS_SIGNING_LOOK_SECONDS_MAX))) => {}
                () = self.signer.woken() => woken = true,
            }
            let now = self.now();
            let mut due = woken || sign_at.is_some_and(|at| at <= now);
            if asks && ask_at <= now {
                ask_at = now + self.ask_every.as_secs().max(1);
                due |= tokio::select! {
                    () = drain.stopping() => return,
                    heard = self.ask_parent(&status) => heard,
                };
            }
            if due {
                retry_at = (!self.sign().await).then(|| self.now() + DNS_SIGNING_RETRY_SECONDS);
            }
        }
    }

    fn now(&self) -> u64 {
        seconds(&*self.clock)
    }

    /// True when the parent has something that was waited for.
    async fn ask_parent(&self, status: &Status) -> bool {
        let Some(parent) = &self.parent else { return false };
        let zone = self.signer.zone();
        let sets = match parent.ds(zone).await {
            Ok(sets) => sets,
            Err(error) => {
                warn!(%zone, "the parent does not say which DS it has: {error}");
                return false;
            }
        };
        let ds: Vec<DsSeen> =
            seen(zone, &sets, status.keys.iter().map(|key| (key.state.tag, &key.dnskey[..])));
        info!(%zone, servers = sets.len(), ?ds, "the parent was asked for its DS");
        self.signer.note_ds(ds);
        true
    }

    /// In a task that may block. False: it must be tried again.
    async fn sign(&self) -> bool {
        // The semaphore is never closed.
        let Ok(_permit) = self.permits.acquire().await else { return false };
        let (hosted, zone) = (Arc::clone(&self.hosted), self.signer.zone().clone());
        let work = tokio::task::spawn_blocking(move || hosted.sign_anew(&zone));
        let fault = match work.await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("the work ended early: {error}"),
        };
        let left = self.signer.status().ends.map(|ends| ends.saturating_sub(self.now()));
        error!(zone = %self.signer.zone(), seconds_left = left, "the zone cannot be signed anew, its signatures end: {fault}");
        false
    }
}

/// When something happens by the clock alone.
fn next(status: &Status) -> Option<u64> {
    status.events.iter().filter_map(|event| event.at).chain(status.due).min()
}

fn awaits_parent(status: &Status) -> bool {
    status.events.iter().any(|event| matches!(event.next, Next::DsSeen | Next::DsGone))
}
