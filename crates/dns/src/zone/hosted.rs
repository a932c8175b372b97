//! The zones of a node: read from their files at the start and again when asked to, or had from other servers; built
//! aside and swapped whole.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{info, warn};

use super::delta::{History, is_same};
use super::serial::is_newer;
use super::{Zone, ZoneError, ZoneErrors, Zones, load_zone_file, save_zone};
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
}

/// The zones that are served.
#[derive(Debug)]
pub struct Hosted {
    sources: Vec<ZoneSource>,
    zones: Arc<ArcSwap<Zones>>,
    /// The serial of each zone, for those who wait for another.
    serials: HashMap<Name, watch::Sender<u32>>,
    /// One change at a time, so that the slower of two does not undo the other.
    changing: Mutex<()>,
}

impl Hosted {
    /// Reads all zones. A secondary zone without a copy that can be read is not available until it has come. Blocks on
    /// files.
    pub fn load(sources: Vec<ZoneSource>) -> Result<Self, ZoneErrors> {
        let (secondary, own): (Vec<_>, Vec<_>) = sources.iter().cloned().partition(|source| source.secondary);
        let mut zones = read(&own)?;
        zones.extend(secondary.into_iter().map(copy));
        let serials = zones.iter().map(|zone| (zone.apex().clone(), watch::Sender::new(zone.serial())));
        let serials = serials.collect();
        let zones = Zones::new(zones.into_iter().map(Arc::new));
        Ok(Self { sources, zones: Arc::new(ArcSwap::from_pointee(zones)), serials, changing: Mutex::new(()) })
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

    /// Reads one zone, or all of them, again. Nothing changes unless all are right. What is had from other servers
    /// stays as it is. Blocks on files.
    pub fn reload(&self, origin: Option<&Name>) -> Result<Vec<Arc<Zone>>, ReloadError> {
        let one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted =
            self.sources.iter().filter(|source| origin.is_none_or(|origin| *origin == source.origin));
        let (secondary, own): (Vec<_>, Vec<_>) = wanted.cloned().partition(|source| source.secondary);
        if let Some(origin) = origin.filter(|_| own.is_empty() && secondary.is_empty()) {
            return Err(ReloadError::Unknown(origin.clone()));
        }
        let zones = read(&own).map_err(ReloadError::Errors)?;
        let mut now = self.swap(zones);
        drop(one_at_a_time);
        let all = self.zones.load();
        now.extend(secondary.iter().filter_map(|source| all.get(&source.origin).cloned()));
        Ok(now)
    }

    /// Serves a version of a zone from now on. It must be one of those that were loaded.
    pub fn publish(&self, zone: Zone) -> Option<Arc<Zone>> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.swap(vec![zone]).pop()
    }

    /// Changes a zone of ours: what `change` makes of it is written to its file, and served once it is there. `None` when
    /// nothing has changed. Blocks on files.
    pub fn change(
        &self,
        origin: &Name,
        change: impl FnOnce(&Zone) -> Result<Option<Zone>, u16>,
    ) -> Result<Option<Arc<Zone>>, ChangeError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let source = self.sources.iter().find(|source| source.origin == *origin && !source.secondary);
        let file = source.and_then(|source| source.file.as_deref()).ok_or(ChangeError::NotOurs)?;
        let present = self.zones.load().get(origin).cloned().ok_or(ChangeError::NotOurs)?;
        let time = || file.metadata().and_then(|file| file.modified()).ok();
        // What an operator has written there must not be lost.
        if time() != present.file_time {
            return Err(ChangeError::Touched(file.to_owned()));
        }
        let Some(mut zone) = change(&present).map_err(ChangeError::Refused)? else { return Ok(None) };
        save_zone(&zone, file).map_err(|error| ChangeError::Write { file: file.to_owned(), error })?;
        zone.file_time = time();
        Ok(self.swap(vec![zone]).pop())
    }

    /// Puts new versions in place, each with the history that leads to it. To be called under the lock.
    fn swap(&self, zones: Vec<Zone>) -> Vec<Arc<Zone>> {
        let present = self.zones.load_full();
        let zones: Vec<Arc<Zone>> = zones
            .into_iter()
            .map(|mut zone| {
                if let Some(old) = present.get(zone.apex()) {
                    zone.history = follow(old, &zone);
                }
                Arc::new(zone)
            })
            .collect();
        self.zones.store(Arc::new(present.with(zones.iter().cloned())));
        for zone in &zones {
            if let Some(serial) = self.serials.get(zone.apex()) {
                serial.send_if_modified(|serial| std::mem::replace(serial, zone.serial()) != zone.serial());
            }
        }
        zones
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
