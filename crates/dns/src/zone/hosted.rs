//! The zones of a node and their files: read at the start, and again when asked to, built aside and swapped whole.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tracing::{info, warn};

use super::{Zone, ZoneErrors, Zones, load_zone_file};
use crate::wire::Name;

/// A zone and the file it is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneSource {
    pub origin: Name,
    pub file: PathBuf,
}

/// Why zones were not read again. What was served is served on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("zone {0} is not served here; it must be in the configuration ([[dns.zones]])")]
    Unknown(Name),
    #[error("{0}")]
    Errors(ZoneErrors),
}

/// The zones that are served.
#[derive(Debug)]
pub struct Hosted {
    sources: Vec<ZoneSource>,
    zones: Arc<ArcSwap<Zones>>,
    /// One reload at a time, so that the slower of two does not undo the other.
    reloading: Mutex<()>,
}

impl Hosted {
    /// Reads all zones. Blocks on files.
    pub fn load(sources: Vec<ZoneSource>) -> Result<Self, ZoneErrors> {
        let zones = read(&sources)?;
        let zones = Arc::new(ArcSwap::from_pointee(Zones::new(zones)));
        Ok(Self { sources, zones, reloading: Mutex::new(()) })
    }

    /// The zones as they are at any moment.
    pub fn zones(&self) -> Arc<ArcSwap<Zones>> {
        Arc::clone(&self.zones)
    }

    /// Reads one zone, or all of them, again. Nothing changes unless all are right. Blocks on files.
    pub fn reload(&self, origin: Option<&Name>) -> Result<Vec<Arc<Zone>>, ReloadError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Vec<ZoneSource> = self
            .sources
            .iter()
            .filter(|source| origin.is_none_or(|origin| *origin == source.origin))
            .cloned()
            .collect();
        if let Some(origin) = origin.filter(|_| wanted.is_empty()) {
            return Err(ReloadError::Unknown(origin.clone()));
        }
        let zones = read(&wanted).map_err(ReloadError::Errors)?;
        self.zones.store(Arc::new(self.zones.load().with(zones.iter().cloned())));
        Ok(zones)
    }
}

fn read(sources: &[ZoneSource]) -> Result<Vec<Arc<Zone>>, ZoneErrors> {
    let mut errors = Vec::new();
    let mut zones = Vec::with_capacity(sources.len());
    for source in sources {
        match load_zone_file(&source.origin, &source.file) {
            Ok(zone) => {
                for warning in zone.warnings() {
                    warn!(zone = %zone.apex(), "{warning}");
                }
                info!(zone = %zone.apex(), serial = zone.serial(), records = zone.records(), "zone read");
                zones.push(Arc::new(zone));
            }
            Err(ZoneErrors(found)) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(zones) } else { Err(ZoneErrors(errors)) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::wire::Rtype;
    use crate::zone::Lookup;

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
        let hosted = Hosted::load(vec![ZoneSource { origin: origin.clone(), file: file.clone() }]).unwrap();
        let zones = hosted.zones();
        let has = |name: &str| {
            let zones = zones.load();
            matches!(
                zones.get(&origin).unwrap().lookup(&name.parse::<Name>().unwrap().key(), Rtype::A),
                Lookup::Found(_)
            )
        };
        assert!(has("a.alpha.test"));
        write(2, "b A 192.0.2.3");
        assert!(has("a.alpha.test"));
        assert_eq!(hosted.reload(None).unwrap()[0].serial(), 2);
        assert!(has("b.alpha.test") && !has("a.alpha.test"));
        write(3, "c A 192.0.2.x");
        let error = hosted.reload(Some(&origin)).unwrap_err().to_string();
        assert!(error.contains("alpha.test:5:5: "), "{error}");
        assert!(has("b.alpha.test"));
        let other = "beta.test".parse().unwrap();
        assert!(matches!(hosted.reload(Some(&other)), Err(ReloadError::Unknown(_))));
        let missing = ZoneSource { origin: other, file: folder.path().join("none") };
        let error = Hosted::load(vec![missing]).unwrap_err().to_string();
        assert!(error.contains("none: cannot read the file of zone beta.test."), "{error}");
    }
}
