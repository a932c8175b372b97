//! The zones of a node: read from their files at the start and again when asked to, or had from other servers; built
//! aside and swapped whole.
//!
//! Of a zone that is signed here there are two: the one below, as it stands in its file or came, which is what is read,
//! followed and updated; and the signed version of it, which is what is served.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{info, warn};

use super::delta::{History, is_same};
use super::serial::is_newer;
use super::{Zone, ZoneError, ZoneErrors, Zones, load_zone_file, save_zone};
use crate::signing::{Signer, SignerError, Version};
use crate::wire::Name;

/// A zone and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneSource {
    pub origin: Name,
    pub file: Option<PathBuf>,
    /// It is had from other servers; `file` is a copy.
    pub secondary: bool,
}

/// Why zones were not read again. What was served is served on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("zone {0} is not served here; it must be in the configuration ([[dns.zones]])")]
    Unknown(Name),
    #[error("{0}")]
    Errors(ZoneErrors),
    #[error("{0}")]
    Signing(#[from] SigningError),
}

/// Why the version of a zone that is served cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("the zone {zone} cannot be signed: {error}")]
pub struct SigningError {
    zone: Name,
    error: SignerError,
}

/// Why zones cannot be served at the start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Zones(#[from] ZoneErrors),
    #[error("{0}")]
    Signing(#[from] SigningError),
}

/// Why a zone was not changed. What was served is served on.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// With this response code.
    #[error("refused with code {0}")]
    Refused(u16),
    #[error("it is not served here from a file of ours")]
    NotOurs,
    #[error("{} was changed since it was read; `postroad dns zone reload` reads it", .0.display())]
    Touched(PathBuf),
    #[error("{} cannot be written: {error}", file.display())]
    Write { file: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Signing(#[from] SigningError),
}

/// The zones that are served.
#[derive(Debug)]
pub struct Hosted {
    sources: Vec<ZoneSource>,
    zones: Arc<ArcSwap<Zones>>,
    /// The zones below those that are signed here.
    below: Mutex<HashMap<Name, Arc<Zone>>>,
    signers: HashMap<Name, Arc<Signer>>,
    /// The serial of each zone, for those who wait for another.
    serials: HashMap<Name, watch::Sender<u32>>,
    /// One change of a zone at a time, so that the slower of two does not undo the other.
    changing: HashMap<Name, Mutex<()>>,
}

/// A version of a zone that may be served.
struct Prepared {
    /// The zone below, if it is signed here.
    below: Option<Arc<Zone>>,
    /// `None`: what is served stays right.
    served: Option<Zone>,
}

impl Hosted {
    /// Reads all zones. A secondary zone without a copy that can be read is not available until it has come. Blocks on
    /// files.
    pub fn load(sources: Vec<ZoneSource>) -> Result<Self, LoadError> {
        Self::load_signing(sources, Vec::new())
    }

    /// The same with zones that are signed here. Blocks on signatures, too.
    pub fn load_signing(sources: Vec<ZoneSource>, signers: Vec<Arc<Signer>>) -> Result<Self, LoadError> {
        let (secondary, own): (Vec<_>, Vec<_>) = sources.iter().cloned().partition(|source| source.secondary);
        let mut zones = read(&own)?;
        zones.extend(secondary.into_iter().map(copy));
        let changing = zones.iter().map(|zone| (zone.apex().clone(), Mutex::new(()))).collect();
        let signers = signers.into_iter().map(|signer| (signer.zone().clone(), signer)).collect();
        let serials = zones.iter().map(|zone| (zone.apex().clone(), watch::Sender::new(zone.serial())));
        let hosted = Self {
            sources,
            zones: Arc::default(),
            below: Mutex::default(),
            signers,
            serials: serials.collect(),
            changing,
        };
        for zone in zones {
            let signer = hosted.signers.get(zone.apex()).filter(|_| zone.is_available());
            let kept = signer.and_then(|signer| signer.kept(&zone));
            let Prepared { below, served } = hosted.prepare(zone, kept.as_ref())?;
            hosted.commit(vec![Prepared { below, served: served.or(kept) }]);
        }
        Ok(hosted)
    }

    /// The names of all zones.
    pub fn origins(&self) -> impl Iterator<Item = &Name> {
        self.sources.iter().map(|source| &source.origin)
    }

    /// Reads the file of a zone of ours without serving it. `None`: there is no such zone, or it has no file of ours.
    /// Blocks on files.
    pub fn on_disk(&self, origin: &Name) -> Option<Result<Zone, ZoneErrors>> {
        let source = self.sources.iter().find(|source| source.origin == *origin && !source.secondary)?;
        Some(load_zone_file(origin, source.file.as_deref()?))
    }

    /// The zones as they are at any moment.
    pub fn zones(&self) -> Arc<ArcSwap<Zones>> {
        Arc::clone(&self.zones)
    }

    /// The serial of a zone, now and whenever another version is served.
    pub fn serial(&self, origin: &Name) -> Option<watch::Receiver<u32>> {
        self.serials.get(origin).map(watch::Sender::subscribe)
    }

    /// The zone below a version that is signed here, else the version that is served: what other servers' versions, files and
    /// updates are about.
    pub fn below(&self, origin: &Name) -> Option<Arc<Zone>> {
        let below = self.lock_below().get(origin).cloned();
        below.or_else(|| self.zones.load().get(origin).cloned())
    }

    /// The serial of the zone below that belongs to `serial` of what is served: who read the one changes the other.
    pub fn serial_below(&self, origin: &Name, serial: u32) -> u32 {
        let served = self.zones.load().get(origin).is_some_and(|zone| zone.serial() == serial);
        self.below(origin).filter(|_| served).map_or(serial, |below| below.serial())
    }

    /// What signs a zone.
    pub fn signer(&self, origin: &Name) -> Option<&Arc<Signer>> {
        self.signers.get(origin)
    }

    /// All that sign, by their zones.
    pub fn signers(&self) -> Vec<&Arc<Signer>> {
        let mut signers: Vec<_> = self.signers.values().collect();
        signers.sort_by(|left, right| left.zone().key().as_bytes().cmp(right.zone().key().as_bytes()));
        signers
    }

    /// Reads one zone, or all of them, again. Nothing changes unless all are right. What is had from other servers
    /// stays as it is. Blocks on files.
    pub fn reload(&self, origin: Option<&Name>) -> Result<Vec<Arc<Zone>>, ReloadError> {
        let wanted =
            self.sources.iter().filter(|source| origin.is_none_or(|origin| *origin == source.origin));
        let (secondary, own): (Vec<_>, Vec<_>) = wanted.cloned().partition(|source| source.secondary);
        if let Some(origin) = origin.filter(|_| own.is_empty() && secondary.is_empty()) {
            return Err(ReloadError::Unknown(origin.clone()));
        }
        // Always in the order of the configuration, so that two of these cannot wait for each other.
        let one_at_a_time: Vec<_> = own.iter().filter_map(|source| self.lock(&source.origin)).collect();
        let zones = read(&own).map_err(ReloadError::Errors)?;
        let prepared = zones.into_iter().map(|zone| self.prepare_next(zone)).collect::<Result<_, _>>()?;
        self.commit(prepared);
        drop(one_at_a_time);
        let all = self.zones.load();
        Ok(own.iter().chain(&secondary).filter_map(|source| all.get(&source.origin).cloned()).collect())
    }

    /// Serves a version of a zone from now on. It must be one of those that were loaded. Blocks on files.
    pub fn publish(&self, zone: Zone) -> Result<(), SigningError> {
        let _one_at_a_time = self.lock(zone.apex());
        let prepared = self.prepare_next(zone)?;
        self.commit(vec![prepared]);
        Ok(())
    }

    /// Signs a zone as it is now: by the clock, or as its keys have it. Blocks on files and signatures.
    pub fn sign_anew(&self, origin: &Name) -> Result<(), SigningError> {
        let _one_at_a_time = self.lock(origin);
        let Some(below) = self.lock_below().get(origin).cloned() else { return Ok(()) };
        let present = self.zones.load().get(origin).cloned();
        let served = self.version(&below, present.as_deref())?;
        let served = match served {
            Version::New(zone) => Some(*zone),
            Version::AsItIs | Version::Same => None,
        };
        self.commit(vec![Prepared { below: Some(below), served }]);
        Ok(())
    }

    /// Changes a zone of ours: what `change` makes of it is written to its file, and served once it is there. `None` when
    /// nothing has changed. Blocks on files.
    pub fn change(
        &self,
        origin: &Name,
        change: impl FnOnce(&Zone) -> Result<Option<Zone>, u16>,
    ) -> Result<Option<Arc<Zone>>, ChangeError> {
        let _one_at_a_time = self.lock(origin);
        let source = self.sources.iter().find(|source| source.origin == *origin && !source.secondary);
        let file = source.and_then(|source| source.file.as_deref()).ok_or(ChangeError::NotOurs)?;
        let present = self.below(origin).ok_or(ChangeError::NotOurs)?;
        let time = || file.metadata().and_then(|file| file.modified()).ok();
        // What an operator has written there must not be lost.
        if time() != present.file_time {
            return Err(ChangeError::Touched(file.to_owned()));
        }
        let Some(mut zone) = change(&present).map_err(ChangeError::Refused)? else { return Ok(None) };
        save_zone(&zone, file).map_err(|error| ChangeError::Write { file: file.to_owned(), error })?;
        zone.file_time = time();
        let prepared = self.prepare_next(zone)?;
        self.commit(vec![prepared]);
        Ok(self.zones.load().get(origin).cloned())
    }

    fn lock_below(&self) -> MutexGuard<'_, HashMap<Name, Arc<Zone>>> {
        self.below.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, origin: &Name) -> Option<MutexGuard<'_, ()>> {
        Some(self.changing.get(origin)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What would be served of a zone after what is served now. To be called under the zone's lock.
    fn prepare_next(&self, zone: Zone) -> Result<Prepared, SigningError> {
        let present = self.zones.load().get(zone.apex()).filter(|zone| zone.is_available()).cloned();
        let zone = match self.below(zone.apex()) {
            Some(below) if zone.is_available() => zone.sharing(&below),
            _ => zone,
        };
        self.prepare(zone, present.as_deref())
    }

    fn prepare(&self, zone: Zone, before: Option<&Zone>) -> Result<Prepared, SigningError> {
        if !zone.is_available() {
            return Ok(Prepared { below: None, served: Some(zone) });
        }
        match self.version(&zone, before)? {
            Version::AsItIs => Ok(Prepared { below: None, served: Some(zone) }),
            Version::Same => Ok(Prepared { below: Some(Arc::new(zone)), served: None }),
            Version::New(signed) => Ok(Prepared { below: Some(Arc::new(zone)), served: Some(*signed) }),
        }
    }

    fn version(&self, zone: &Zone, before: Option<&Zone>) -> Result<Version, SigningError> {
        let Some(signer) = self.signers.get(zone.apex()) else { return Ok(Version::AsItIs) };
        let below = self.lock_below().get(zone.apex()).cloned();
        let version = signer.version(zone, below.as_deref(), before);
        version.map_err(|error| SigningError { zone: zone.apex().clone(), error })
    }

    /// Puts new versions in place, each with the history that leads to it. To be called under the zones' locks.
    fn commit(&self, prepared: Vec<Prepared>) {
        let present = self.zones.load_full();
        let mut served: Vec<Arc<Zone>> = Vec::with_capacity(prepared.len());
        let mut signed: Vec<Arc<Zone>> = Vec::new();
        for Prepared { below, served: new } in prepared {
            if let Some(mut zone) = new {
                if let Some(old) = present.get(zone.apex()) {
                    zone.history = follow(old, &zone);
                }
                let zone = Arc::new(zone);
                if below.is_some() {
                    signed.push(Arc::clone(&zone));
                } else {
                    self.lock_below().remove(zone.apex());
                }
                served.push(zone);
            }
            if let Some(below) = below {
                self.lock_below().insert(below.apex().clone(), below);
            }
        }
        // Zones that are not among these may have been put in place meanwhile.
        self.zones.rcu(|present| present.with(served.iter().cloned()));
        for zone in &served {
            if let Some(serial) = self.serials.get(zone.apex()) {
                serial.send_if_modified(|serial| std::mem::replace(serial, zone.serial()) != zone.serial());
            }
        }
        for zone in signed {
            if let Some(signer) = self.signers.get(zone.apex()) {
                let before = present.get(zone.apex()).filter(|before| before.is_available());
                signer.served(before.map(|before| &**before), &zone);
            }
        }
    }
}

/// The history of a new version; says so where other servers will not notice that it is new.
fn follow(old: &Zone, new: &Zone) -> History {
    if old.is_available() && new.is_available() && !is_newer(new.serial(), old.serial()) {
        let (zone, serial, before) = (new.apex(), new.serial(), old.serial());
        if serial != before {
            warn!(%zone, serial, before, "the serial went back: other servers that have the zone keep the old one");
        } else if !is_same(old, new) {
            warn!(%zone, serial, "the zone has changed and its serial has not: other servers that have the zone keep the old one");
        }
    }
    History::following(old, new)
}

fn read(sources: &[ZoneSource]) -> Result<Vec<Zone>, ZoneErrors> {
    let mut errors = Vec::new();
    let mut zones = Vec::with_capacity(sources.len());
    for source in sources {
        let Some(file) = &source.file else {
            let message = format!("the zone {} has no file; expected one, or primaries", source.origin);
            errors.push(ZoneError { file: PathBuf::new(), line: 0, column: 0, message });
            continue;
        };
        match load_zone_file(&source.origin, file) {
            Ok(zone) => {
                for warning in zone.warnings() {
                    warn!(zone = %zone.apex(), "{warning}");
                }
                info!(zone = %zone.apex(), serial = zone.serial(), records = zone.records(), "zone read");
                zones.push(zone);
            }
            Err(ZoneErrors(found)) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(zones) } else { Err(ZoneErrors(errors)) }
}

/// The copy of a secondary zone, or a zone that is not available.
fn copy(source: ZoneSource) -> Zone {
    let ZoneSource { origin, file, .. } = source;
    let missing = || Zone::unavailable(origin.clone(), file.clone().unwrap_or_default());
    let Some(file) = file.as_deref().filter(|file| file.exists()) else { return missing() };
    match load_zone_file(&origin, file) {
        Ok(zone) => {
            info!(zone = %zone.apex(), serial = zone.serial(), records = zone.records(), "copy of a zone read");
            zone
        }
        Err(errors) => {
            warn!(zone = %origin, "the copy cannot be used, the zone is had anew: {errors}");
            missing()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::path::Path;

    use super::*;
    use crate::wire::Rtype;
    use crate::zone::Lookup;

    fn own(origin: &Name, file: &Path) -> ZoneSource {
        ZoneSource { origin: origin.clone(), file: Some(file.to_owned()), secondary: false }
    }

    #[test]
    fn a_reload_swaps_whole_zones_and_a_broken_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alpha.test");
        let write = |serial: u32, host: &str| {
            fs::write(
                &file,
                format!("$TTL 60\n@ SOA ns h {serial} 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n{host}\n"),
            )
            .unwrap();
        };
        let origin: Name = "alpha.test".parse().unwrap();
        write(1, "a A 192.0.2.2");
        let hosted = Hosted::load(vec![own(&origin, &file)]).unwrap();
        let zones = hosted.zones();
        let has = |name: &str| {
            let zones = zones.load();
            matches!(
                zones.get(&origin).unwrap().lookup(&name.parse::<Name>().unwrap().key(), Rtype::A),
                Lookup::Found(_)
            )
        };
        assert!(has("a.alpha.test"));
        let mut serial = hosted.serial(&origin).unwrap();
        write(2, "b A 192.0.2.3");
        assert!(has("a.alpha.test"));
        assert_eq!(hosted.reload(None).unwrap()[0].serial(), 2);
        assert!(has("b.alpha.test") && !has("a.alpha.test"));
        assert!(serial.has_changed().unwrap() && *serial.borrow_and_update() == 2);
        assert_eq!(zones.load().get(&origin).unwrap().history().since(1).map(<[_]>::len), Some(1));
        write(3, "c A 192.0.2.x");
        let error = hosted.reload(Some(&origin)).unwrap_err().to_string();
        assert!(error.contains("alpha.test:5:5: "), "{error}");
        assert!(has("b.alpha.test"));
        let other = "beta.test".parse().unwrap();
        assert!(matches!(hosted.reload(Some(&other)), Err(ReloadError::Unknown(_))));
        let missing = own(&other, &folder.path().join("none"));
        let error = Hosted::load(vec![missing]).unwrap_err().to_string();
        assert!(error.contains("none: cannot read the file of zone beta.test."), "{error}");
    }
}
