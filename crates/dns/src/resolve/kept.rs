//! The file that a resolver's cache lies in while no server runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use tracing::{info, warn};

use super::Resolver;
use super::cache::saved::{Loaded, Settings, Times};

/// Where the cache is kept, and under what settings it is filled.
#[derive(Debug, Clone)]
pub struct CacheFile {
    path: PathBuf,
    settings: Settings,
}

impl CacheFile {
    /// `settings`: everything that what is in the cache depends on. What was saved under others is not read.
    pub fn new<'a>(path: impl Into<PathBuf>, settings: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Context::new(&SHA256);
        for part in settings {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut settings = Settings::default();
        settings.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self { path: path.into(), settings }
    }

    /// Reads back what was saved. What cannot be read costs questions to other servers, and nothing else.
    pub fn load(&self, resolver: &Resolver) {
        let file = self.path.display();
        let read = || {
            let mut from = BufReader::with_capacity(1 << 16, File::open(&self.path)?);
            resolver.cache.load(&mut from, &self.settings, resolver.times())
        };
        match read() {
            Ok(Loaded::Entries { good, damaged: 0 }) => info!(%file, entries = good, "cache read back"),
            Ok(Loaded::Entries { good, damaged }) => {
                warn!(%file, entries = good, damaged, "cache read back but for what is damaged in the file");
            }
            Ok(Loaded::Foreign) => info!(%file, "the cache was filled under other settings: it begins empty"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(%file, %error, "the cache could not be read back and begins empty"),
        }
    }

    /// Writes the cache, for the next start. The file is whole or the one before.
    pub fn save(&self, resolver: &Resolver) {
        let file = self.path.display();
        match self.write(resolver) {
            Ok(entries) => info!(%file, entries, "cache saved"),
            Err(error) => warn!(%file, %error, "the cache could not be saved: it will begin empty"),
        }
    }

    fn write(&self, resolver: &Resolver) -> io::Result<usize> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = with_suffix(&self.path, ".new");
        // Who asked for what is nobody else's business.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut to = BufWriter::with_capacity(1 << 16, file);
        let entries = resolver.cache.save(&mut to, &self.settings, resolver.times())?;
        to.flush()?;
        fs::rename(&new, &self.path)?;
        Ok(entries)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Resolver {
    fn times(&self) -> Times {
        Times { now: self.clock.monotonic(), wall: self.clock.now_us() / 1_000_000 }
    }
}
