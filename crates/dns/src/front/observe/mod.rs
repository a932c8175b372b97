//! Who asks what, and what becomes of it: for the query log, which has every question, and for whoever watches the
//! traffic, who gets a sample.
//!
//! When nobody wants to know, a question costs one look at one number. What is told goes into queues that are bounded:
//! a loop never waits for a disk or a watcher, and what does not fit is counted and forgotten.

mod log;
mod top;
mod traffic;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub use log::QueryLog;
use postroad_service::{Clock, SystemClock};
use postroad_types::limits::DNS_SAMPLES_WAITING_MAX;
use tokio::sync::{mpsc, watch};
pub use traffic::{Count, Share, Snapshot, Teller};

use super::Transport;
use super::counters::rcode_name;
use crate::wire::{Name, Rtype};

/// The sample, before it is known how much there is to see: one in so many.
const FIRST_STRIDE: u32 = 16;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Answered as it went out before.
    Kept,
    /// Answered from our zones or the cache, or by a code alone.
    Made,
    /// Answered after others were asked, or files written.
    Asked,
    /// Answered by a zone.
    Transfer,
    /// Beyond the rate: not answered, or only with TC.
    Limited,
    /// No request.
    Dropped,
}

impl How {
    /// `kept`, `here`, `asked`, `transfer`, `limited`, `dropped`.
    pub fn name(self) -> &'static str {
        match self {
            How::Kept => "kept",
            How::Made => "here",
            How::Asked => "asked",
            How::Transfer => "transfer",
            How::Limited => "limited",
            How::Dropped => "dropped",
        }
    }
}

/// How much of a client's address is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clients {
    #[default]
    Full,
    /// Its network: /24, or /56.
    Network,
    None,
}

impl Clients {
    /// What is told of an address; `None`: nothing.
    pub fn told(self, client: IpAddr) -> Option<IpAddr> {
        match (self, client.to_canonical()) {
            (Clients::None, _) => None,
            (Clients::Full, client) => Some(client),
            (Clients::Network, IpAddr::V4(v4)) => Some(Ipv4Addr::from_bits(v4.to_bits() >> 8 << 8).into()),
            (Clients::Network, IpAddr::V6(v6)) => Some(Ipv6Addr::from_bits(v6.to_bits() >> 72 << 72).into()),
        }
    }
}

/// A request that somebody wants to see.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    at: Instant,
    sampled: bool,
}

/// A request that was seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// In lower case; the root for one that cannot be read.
    pub name: Name,
    pub rtype: Rtype,
    pub client: IpAddr,
    pub transport: Transport,
    pub how: How,
    /// Empty where nothing was answered.
    pub rcode: &'static str,
    pub took: Duration,
    pub at: SystemTime,
}

/// Sees what passes, for those who want to know.
#[derive(Debug)]
pub struct Observer {
    shared: Option<Arc<Shared>>,
    log: Option<QueryLog>,
    clock: Arc<dyn Clock>,
}

/// Between the loops, who counts their samples, and who watches.
#[derive(Debug)]
pub(super) struct Shared {
    /// One question in so many is a sample; 0: none is.
    stride: AtomicU32,
    watchers: AtomicUsize,
    samples: mpsc::Sender<Seen>,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

/// Somebody watches, as long as this lasts.
#[derive(Debug)]
pub struct Watching {
    shared: Arc<Shared>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

thread_local! {
    /// Questions of this thread since its last sample.
    static SINCE: Cell<u32> = const { Cell::new(0) };
}

impl Default for Observer {
    /// Sees nothing.
    fn default() -> Self {
        Observer { shared: None, log: None, clock: Arc::new(SystemClock::new()) }
    }
}

impl Observer {
    /// An observer, and who tells what it saw, which must be run.
    pub fn new(log: Option<QueryLog>, clock: Arc<dyn Clock>) -> (Self, Teller) {
        let (samples, seen) = mpsc::channel(DNS_SAMPLES_WAITING_MAX);
        let shared = Arc::new(Shared {
            stride: AtomicU32::new(0),
            watchers: AtomicUsize::new(0),
            samples,
            snapshots: watch::Sender::new(Arc::default()),
        });
        let teller = Teller::new(Arc::clone(&shared), seen, Arc::clone(&clock));
        (Observer { shared: Some(shared), log, clock }, teller)
    }

    /// Begins to watch; `None` where nothing is told.
    pub fn watch(&self) -> Option<Watching> {
        let shared = Arc::clone(self.shared.as_ref()?);
        if shared.watchers.fetch_add(1, Ordering::Relaxed) == 0 {
            shared.stride.store(FIRST_STRIDE, Ordering::Relaxed);
        }
        let snapshots = shared.snapshots.subscribe();
        Some(Watching { shared, snapshots })
    }

    /// To be called when a request has come.
    pub(super) fn begin(&self) -> Option<Begun> {
        let stride = self.shared.as_ref()?.stride.load(Ordering::Relaxed);
        let sampled = stride > 0 && is_turn(stride);
        (sampled || self.log.is_some()).then(|| Begun { at: Instant::now(), sampled })
    }

    /// To be called when it is answered, or will not be.
    pub(super) fn note(
        &self,
        begun: Begun,
        how: How,
        request: &[u8],
        client: IpAddr,
        transport: Transport,
        response: &[u8],
    ) {
        let (name, rtype) = question(request).unwrap_or_else(|| (Name::root(), Rtype(0)));
        // A response of a stream is still to come.
        let answered = matches!(how, How::Kept | How::Made | How::Asked);
        let rcode = response.get(3).filter(|_| answered).map_or("", |flags| rcode_name((flags & 0xf).into()));
        let (took, at) = (begun.at.elapsed(), self.clock.now());
        let seen = Seen { name, rtype, client, transport, how, rcode, took, at };
        if let Some(shared) = self.shared.as_ref().filter(|_| begun.sampled) {
            // A sample that does not fit is one that is not taken.
            let _ = shared.samples.try_send(seen.clone());
        }
        if let Some(log) = &self.log {
            log.note(seen);
        }
    }
}

impl Watching {
    /// The next look at the traffic; `None` when there will be none.
    pub async fn next(&mut self) -> Option<Arc<Snapshot>> {
        self.snapshots.changed().await.ok()?;
        Some(Arc::clone(&self.snapshots.borrow_and_update()))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if self.shared.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.shared.stride.store(0, Ordering::Relaxed);
        }
    }
}

fn is_turn(stride: u32) -> bool {
    SINCE.with(|since| {
        let passed = since.get() + 1;
        since.set(if passed < stride { passed } else { 0 });
        passed >= stride
    })
}

/// Name and type of a request's question.
fn question(request: &[u8]) -> Option<(Name, Rtype)> {
    let (name, rest) = Name::from_wire_prefix(request.get(12..)?).ok()?;
    let rtype = rest.first_chunk::<2>().map(|octets| Rtype(u16::from_be_bytes(*octets)))?;
    Some((name.to_lowercase(), rtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_instead_of_addresses() {
        let told = |clients: Clients, text: &str| {
            clients.told(text.parse().unwrap()).map(|client| client.to_string())
        };
        assert_eq!(told(Clients::Full, "::ffff:192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(told(Clients::Network, "192.0.2.7").as_deref(), Some("192.0.2.0"));
        assert_eq!(told(Clients::Network, "2001:db8:1:2ff::1").as_deref(), Some("2001:db8:1:200::"));
        assert_eq!(told(Clients::None, "192.0.2.7"), None);
    }

    #[test]
    fn a_sample_is_taken_while_somebody_watches() {
        let (observer, _teller) = Observer::new(None, Arc::new(SystemClock::new()));
        assert!((0..100).all(|_| observer.begin().is_none()));
        let watching = [observer.watch().unwrap(), observer.watch().unwrap()];
        let taken = |times: u32| (0..times).filter(|_| observer.begin().is_some()).count();
        assert_eq!(taken(10 * FIRST_STRIDE), 10);
        let [first, second] = watching;
        drop(first);
        assert_eq!(taken(10 * FIRST_STRIDE), 10);
        drop(second);
        assert_eq!(taken(100), 0);
        assert!(Observer::default().watch().is_none());
    }

    #[test]
    fn the_question_is_read_if_it_can_be() {
        let request = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01A\x04tEst\0\0\x0f\0\x01";
        let (name, rtype) = question(request).unwrap();
        assert_eq!((name.to_string().as_str(), rtype), ("a.test.", Rtype::MX));
        for length in 0..request.len() - 2 {
            assert!(question(&request[..length]).is_none(), "{length}");
        }
    }
}
