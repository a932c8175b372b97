//! One zone that is signed here: its keys, and the versions that come of them.
//!
//! Everything blocks: on files, and on signatures. What is served comes of it in two steps: [`Signer::version`] makes it and
//! keeps its serial, so that no serial is ever served for two versions, also after a crash; [`Signer::served`] takes
//! down that it is served from now on, as the times of keys count from then.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwap;
use postroad_service::Clock;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::content::longest_ttl;
use super::kept::KeptFile;
use super::sign::{Inputs, SignError, Signed, sign};
use crate::dnssec::{Algorithm, PrivateKey, PrivateKeyError};
use crate::keys::roll::{Event, roll};
use crate::keys::state::asked_of_parent;
use crate::keys::store::Known;
use crate::keys::{DsSeen, Facts, Key, KeyState, KeyStore, Policy, Role, RollError, Seen, StoreError, step};
use crate::wire::Name;
use crate::zone::Zone;

/// Why a zone was not signed. What was served is served on.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("the keys: {0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Sign(#[from] SignError),
    #[error("{0}")]
    Roll(#[from] RollError),
    #[error("{0}")]
    Algorithm(#[from] PrivateKeyError),
}

/// How a zone is signed.
#[derive(Debug, Clone)]
pub struct Settings {
    pub zone: Name,
    pub policy: Policy,
    /// The folder of the folders of keys.
    pub folder: PathBuf,
}

/// What is served of a zone.
#[derive(Debug)]
pub enum Version {
    /// The zone itself: it came signed.
    AsItIs,
    /// What was served before.
    Same,
    New(Box<Zone>),
}

/// What is known of a zone's signing, for people.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub keys: Vec<Shown>,
    pub events: Vec<Event>,
    /// When signatures are made next, in seconds since 1970; `None`: the zone is not signed here, or not yet.
    pub due: Option<u64>,
    /// When the first signature ends.
    pub ends: Option<u64>,
    /// Why the last attempt failed.
    pub fault: Option<String>,
}

/// A key for people.
#[derive(Debug, Clone)]
pub struct Shown {
    pub state: KeyState,
    /// The data of its DNSKEY.
    pub dnskey: Vec<u8>,
}

/// Signs one zone.
#[derive(Debug)]
pub struct Signer {
    zone: Name,
    policy: Policy,
    store: KeyStore,
    clock: Arc<dyn Clock>,
    work: Mutex<Work>,
    /// The version that is kept.
    file: Mutex<KeptFile>,
    status: ArcSwap<Status>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Work {
    known: Known,
    /// The same as it stands in the store.
    kept: Known,
    private: HashMap<u16, Arc<PrivateKey>>,
    /// The keys with signatures in the version that is served.
    signed_by: BTreeSet<u16>,
    /// What the version that was made last was made of, besides the zone below.
    made_of: Option<MadeOf>,
    /// What was seen at the parent, and not looked at yet.
    ds: Vec<DsSeen>,
}

/// What a signed version is made of besides the zone below: a version that comes of the same differs by what changes there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MadeOf {
    /// That of the version.
    serial: u32,
    policy: Policy,
    /// The tags of the keys, and what each does.
    keys: Vec<(u16, [bool; 5])>,
}

impl MadeOf {
    fn new(serial: u32, policy: &Policy, keys: &[Key]) -> Self {
        let states: Vec<KeyState> = keys.iter().map(|key| key.state.clone()).collect();
        let asked: Vec<u16> = asked_of_parent(&states).map(|key| key.tag).collect();
        let does = |key: &KeyState| {
            let published = key.is_published();
            [published, key.signs_keys(), key.signs_zone(), key.is_trusted(), asked.contains(&key.tag)]
        };
        let keys = states.iter().map(|key| (key.tag, does(key))).collect();
        Self { serial, policy: policy.clone(), keys }
    }
}

impl Work {
    fn keys(&self) -> Vec<Key> {
        let key = |state: &KeyState| {
            Some(Key { state: state.clone(), private: Arc::clone(self.private.get(&state.tag)?) })
        };
        self.known.keys.iter().filter_map(key).collect()
    }
}

impl Signer {
    /// Reads the keys; a zone without any gets them with its first version.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, SignerError> {
        let Settings { zone, policy, folder } = settings;
        let store = KeyStore::open(&folder, &zone)?;
        let known = store.load()?;
        let mut private = HashMap::new();
        for key in &known.keys {
            private.insert(key.tag, Arc::new(store.private(key)?));
        }
        let file = KeptFile::new(store.signed_zone());
        let work = Work { kept: known.clone(), known, private, ..Work::default() };
        Ok(Self {
            zone,
            policy,
            store,
            clock,
            work: Mutex::new(work),
            file: Mutex::new(file),
            status: ArcSwap::from_pointee(Status::default()),
            wake: Notify::new(),
        })
    }

    pub fn zone(&self) -> &Name {
        &self.zone
    }

    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Ends when something was asked for that does not wait.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_file(&self) -> MutexGuard<'_, KeptFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The signed version that was served when the server stopped, if it was kept; given the zone below as it is now.
    pub fn kept(&self, unsigned: &Zone) -> Option<Zone> {
        let read = self.lock_file().read(unsigned);
        let failed = |error: &io::Error| {
            warn!(zone = %self.zone, %error, "the kept signed version cannot be used, all is signed anew");
        };
        read.inspect_err(failed).ok()?
    }

    /// The version of `unsigned` to be served, after `before`, which was made of `below`.
    pub fn version(
        &self,
        unsigned: &Zone,
        below: Option<&Zone>,
        before: Option<&Zone>,
    ) -> Result<Version, SignerError> {
        if unsigned.is_signed() {
            warn!(zone = %self.zone, "the zone comes with signatures, and is served with them; its policy of signing does nothing");
            self.status.store(Arc::default());
            return Ok(Version::AsItIs);
        }
        let mut work = self.lock();
        let made = self.make(&mut work, unsigned, below, before);
        if let Err(error) = &made {
            let fault = Some(error.to_string());
            self.status.store(Arc::new(Status { fault, ..(*self.status()).clone() }));
        }
        made
    }

    fn make(
        &self,
        work: &mut Work,
        unsigned: &Zone,
        below: Option<&Zone>,
        before: Option<&Zone>,
    ) -> Result<Version, SignerError> {
        let policy = self.effective(work);
        let now = seconds(&*self.clock);
        work.known.key_ttl.note(policy.dnskey_ttl, now);
        work.known.zone_ttl.note(longest_ttl(unsigned), now);
        self.advance(work, &policy, now)?;
        let keys = work.keys();
        let serial = work.known.serial;
        // A version that was made and never served was made of something else.
        let present = before.map(|before| MadeOf::new(before.serial(), &policy, &keys));
        let below = below.filter(|_| present.is_some() && present == work.made_of);
        let inputs = Inputs { unsigned, before, below, keys: &keys, policy: &policy, serial, now };
        let Signed { zone, due, ends, signed_by, made } = sign(inputs)?;
        work.signed_by = signed_by;
        let made_serial = zone.as_ref().or(before).map(Zone::serial);
        work.made_of = made_serial.map(|serial| MadeOf::new(serial, &policy, &keys));
        match &zone {
            Some(zone) => {
                info!(zone = %self.zone, serial = zone.serial(), signatures = made, "the zone is signed");
                work.known.serial = Some(zone.serial());
                metrics::counter!("postroad_dns_signatures_total").increment(made as u64);
            }
            // What was decided needs nothing to be served.
            None => work.known.undone = None,
        }
        self.keep(work)?;
        let (status, more) = self.shown(work, &policy, now);
        self.status.store(Arc::new(Status { due: Some(due), ends: Some(ends), ..status }));
        metrics::gauge!("postroad_dns_signed_until_seconds", "zone" => self.zone.to_string())
            .set(ends as f64);
        if more {
            // By this version something has become true, such as that a key has no signatures left.
            self.wake.notify_one();
        }
        Ok(zone.map_or(Version::Same, |zone| Version::New(Box::new(zone))))
    }

    /// Keeps what is known, if it is not.
    fn keep(&self, work: &mut Work) -> Result<(), SignerError> {
        if work.known != work.kept {
            self.store.save(&self.zone, &work.known)?;
            work.kept = work.known.clone();
        }
        Ok(())
    }

    /// The policy with what an operator wants.
    fn effective(&self, work: &mut Work) -> Policy {
        let mut policy = self.policy.clone();
        match work.known.algorithm {
            Some((wanted, configured)) if configured == policy.algorithm => policy.algorithm = wanted,
            // The configuration was changed after that: it counts.
            _ => work.known.algorithm = None,
        }
        policy
    }

    /// Does what is due for the keys, and keeps it.
    fn advance(&self, work: &mut Work, policy: &Policy, now: u64) -> Result<(), SignerError> {
        // What was decided and never served counts from now.
        if let Some(decided) = work.known.undone {
            work.known.keys.iter_mut().for_each(|key| key.served(decided, now));
            work.known.undone = Some(now);
        }
        let mut removed = Vec::new();
        loop {
            let facts = Facts { ds: &work.ds, ..facts(&work.known, &work.signed_by, now) };
            let done = step(policy, &mut work.known.keys, now, facts);
            work.ds.clear();
            if done.changed || !done.generate.is_empty() {
                work.known.undone = Some(now);
            }
            removed.extend(done.removed);
            if done.generate.is_empty() {
                break;
            }
            for (role, algorithm) in done.generate {
                let tags: Vec<u16> = work.known.keys.iter().map(|key| key.tag).collect();
                let Key { state, private } = self.store.make(algorithm, role, &tags, now)?;
                info!(zone = %self.zone, tag = state.tag, role = role.as_str(), %algorithm, "a key was made");
                work.private.insert(state.tag, private);
                work.known.keys.push(state);
            }
        }
        self.keep(work)?;
        for key in removed {
            info!(zone = %self.zone, tag = key.tag, role = key.role.as_str(), "a key is not needed any more, and is deleted");
            work.private.remove(&key.tag);
            self.store.delete(&key)?;
        }
        Ok(())
    }

    /// The status but for the signatures' times, and whether something is due at once.
    fn shown(&self, work: &Work, policy: &Policy, now: u64) -> (Status, bool) {
        let mut keys = work.known.keys.clone();
        let next = step(policy, &mut keys, now, facts(&work.known, &work.signed_by, now));
        let more = next.changed || !next.generate.is_empty();
        let keys =
            work.keys().iter().map(|key| Shown { state: key.state.clone(), dnskey: key.dnskey() }).collect();
        (Status { keys, events: next.events, ..Status::default() }, more)
    }

    /// The version that was made is served from now on, in the place of `before`. It is kept, so that a restart makes none of
    /// its signatures anew.
    pub fn served(&self, before: Option<&Zone>, zone: &Zone) {
        if let Err(error) = self.lock_file().write(before, zone) {
            warn!(zone = %self.zone, %error, "the signed version cannot be kept; after a restart all of it is signed anew");
        }
        let mut work = self.lock();
        let Some(decided) = work.known.undone.take() else { return };
        let now = seconds(&*self.clock);
        work.known.keys.iter_mut().for_each(|key| key.served(decided, now));
        if let Err(error) = self.keep(&mut work) {
            warn!(zone = %self.zone, "what is known of the keys cannot be kept: {error}");
        }
    }

    /// Takes down what was seen at the parent; it counts with the next version.
    pub fn note_ds(&self, seen: Vec<DsSeen>) {
        self.lock().ds = seen;
    }

    /// An operator says that the parent has the DS of the keys that it was asked for, and no other.
    pub fn confirm_ds(&self) {
        let mut work = self.lock();
        let asked = work.known.keys.iter().filter(|key| key.ds_asked.is_some());
        let seen = asked.map(|key| {
            let seen = if key.is_wanted() { Seen::Everywhere } else { Seen::Nowhere };
            DsSeen { tag: key.tag, seen, ttl: None }
        });
        work.ds = seen.collect();
        drop(work);
        self.wake.notify_one();
    }

    /// Begins to replace keys: those of a role, or all by keys of another algorithm.
    pub fn roll(&self, role: Option<Role>, algorithm: Option<Algorithm>) -> Result<(), SignerError> {
        let mut work = self.lock();
        let present = self.effective(&mut work).algorithm;
        match algorithm.filter(|algorithm| *algorithm != present) {
            Some(algorithm) => {
                if !PrivateKey::ALGORITHMS.contains(&algorithm) {
                    return Err(PrivateKeyError::Algorithm(algorithm).into());
                }
                if work.known.keys.iter().any(|key| !key.is_wanted()) {
                    return Err(RollError::UnderWay.into());
                }
                work.known.algorithm = Some((algorithm, self.policy.algorithm));
            }
            None => roll(&mut work.known.keys, role, seconds(&*self.clock))?,
        }
        self.keep(&mut work)?;
        drop(work);
        self.wake.notify_one();
        Ok(())
    }
}

/// What is known without the parent.
fn facts<'a>(known: &Known, signed_by: &'a BTreeSet<u16>, now: u64) -> Facts<'a> {
    Facts { zone_ttl: known.zone_ttl.greatest(now), key_ttl: known.key_ttl.greatest(now), signed_by, ds: &[] }
}

pub(super) fn seconds(clock: &dyn Clock) -> u64 {
    clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
