//! A disk in memory that loses at a crash what was not flushed, as real ones do and tests seldom see.
//!
//! At [`CrashDisk::crash`] each write since its file's last flush is, by a seeded chance, kept, dropped, or
//! torn (some of its sectors are kept); writes are also reordered by that. Names that were created, renamed
//! or removed since the directory's last flush may be as they were before: each change is kept or undone on
//! its own. Before the crash, operations can be made to fail.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

/// What a disk writes whole or not at all.
const SECTOR_OCTETS: usize = 512;

/// Chance from a seed (xorshift64*), the same each time.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound.max(1)
    }
}

/// What an operation does when it is told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC when a file is created.
    Full,
    /// EIO when something is written; a part of it may be written all the same.
    Write,
    /// EIO when something is flushed; what was not flushed before is lost at the crash.
    Flush,
}

/// A disk that can crash. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct CrashDisk {
    shared: Arc<SharedDisk>,
}

#[derive(Debug)]
struct SharedDisk {
    content: Mutex<Content>,
    /// Operations that change something until the lights go out; `u64::MAX`: never.
    left: AtomicU64,
}

#[derive(Debug, Default)]
struct Content {
    /// As programs see it.
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, Data>,
    next_file: u64,
    /// Names changed since the directory's last flush, with what each stood for before.
    renamed: Vec<(String, Option<u64>)>,
    set_aside: BTreeMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    off: bool,
}

#[derive(Debug, Default)]
struct Data {
    octets: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last flush, in order.
    pending: Vec<Pending>,
}

#[derive(Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Default for CrashDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl CrashDisk {
    pub fn new() -> Self {
        Self::with(Content::default())
    }

    fn with(content: Content) -> Self {
        let shared = SharedDisk { content: Mutex::new(content), left: AtomicU64::new(u64::MAX) };
        CrashDisk { shared: Arc::new(shared) }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.shared.content()
    }

    /// Power goes off after so many more operations that change something.
    pub fn power_off_after(&self, operations: u64) {
        self.shared.left.store(operations, Ordering::Release);
    }

    pub fn is_off(&self) -> bool {
        self.content().off
    }

    /// From now on these fail, until told otherwise.
    pub fn fail(&self, faults: &[Fault]) {
        self.content().faults = faults.to_vec();
    }

    /// What was set aside as damaged, by name.
    pub fn set_aside_names(&self) -> Vec<String> {
        self.content().set_aside.keys().cloned().collect()
    }

    /// Damages a file's durable octets.
    pub fn damage(&self, name: &str, at: usize, length: usize) {
        let mut content = self.content();
        let Some(file) = content.names.get(name).copied() else { return };
        if let Some(data) = content.files.get_mut(&file) {
            for octets in [&mut data.octets, &mut data.durable] {
                octets.iter_mut().skip(at).take(length).for_each(|octet| *octet ^= 0xa5);
            }
        }
    }

    /// The disk as it is found after the power came back. The old one answers nothing any more.
    pub fn crash(&self, chance: &mut Chance) -> CrashDisk {
        let mut old = self.content();
        old.off = true;
        let mut names = old.names.clone();
        for (name, before) in old.renamed.iter().rev() {
            if chance.below(2) == 0 {
                match before {
                    Some(file) => names.insert(name.clone(), *file),
                    None => names.remove(name),
                };
            }
        }
        let mut files = BTreeMap::new();
        for (number, data) in &old.files {
            let octets = data.after_crash(chance);
            files.insert(*number, Data { durable: octets.clone(), octets, pending: Vec::new() });
        }
        let set_aside = old.set_aside.clone();
        Self::with(Content { names, files, next_file: old.next_file, set_aside, ..Content::default() })
    }
}

impl SharedDisk {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content, unless the power is off. With `changes` the operation counts.
    fn powered(&self, changes: bool) -> io::Result<MutexGuard<'_, Content>> {
        let mut content = self.content();
        if changes {
            let left = self.left.load(Ordering::Acquire);
            if left != u64::MAX {
                content.off |= left == 0;
                self.left.store(left.saturating_sub(1), Ordering::Release);
            }
        }
        if content.off {
            return Err(io::Error::other("the power is off"));
        }
        Ok(content)
    }
}

impl Content {
    fn fails(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Names change here, and it is remembered what they stood for.
    fn name(&mut self, name: &str, file: Option<u64>) {
        let before = match file {
            Some(file) => self.names.insert(name.into(), file),
            None => self.names.remove(name),
        };
        self.renamed.push((name.into(), before));
    }
}

impl Data {
    fn apply(octets: &mut Vec<u8>, pending: &Pending) {
        match pending {
            Pending::Length(length) => octets.resize(*length as usize, 0),
            Pending::Write(at, written) => write_into(octets, *at as usize, written),
        }
    }

    fn after_crash(&self, chance: &mut Chance) -> Vec<u8> {
        let mut octets = self.durable.clone();
        for pending in &self.pending {
            match (chance.below(4), pending) {
                (0, _) => {}
                (1, Pending::Write(at, written)) => {
                    let mut at = *at as usize;
                    let mut rest = written.as_slice();
                    while !rest.is_empty() {
                        let (sector, more) =
                            rest.split_at((SECTOR_OCTETS - at % SECTOR_OCTETS).min(rest.len()));
                        if chance.below(2) == 0 {
                            write_into(&mut octets, at, sector);
                        }
                        at += sector.len();
                        rest = more;
                    }
                }
                (_, pending) => Self::apply(&mut octets, pending),
            }
        }
        octets
    }
}

fn write_into(octets: &mut Vec<u8>, at: usize, written: &[u8]) {
    let end = at + written.len();
    if octets.len() < end {
        octets.resize(end, 0);
    }
    if let Some(place) = octets.get_mut(at..end) {
        place.copy_from_slice(written);
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl CrashDisk {
    fn file(&self, number: u64) -> Arc<dyn DiskFile> {
        Arc::new(CrashFile { disk: self.shared.clone(), number })
    }
}

impl Disk for CrashDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.powered(false)?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, octets: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut content = self.shared.powered(true)?;
        if content.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if content.fails(Fault::Full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let number = content.next_file;
        content.next_file += 1;
        let data = Data {
            octets: vec![0; octets as usize],
            durable: Vec::new(),
            pending: vec![Pending::Length(octets)],
        };
        content.files.insert(number, data);
        content.name(name, Some(number));
        Ok(self.file(number))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.shared.powered(false)?.names.get(name).copied();
        number.map(|number| self.file(number)).ok_or_else(|| missing(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.shared.powered(true)?;
        let number = content.names.get(from).copied().ok_or_else(|| missing(from))?;
        content.name(from, None);
        content.name(to, Some(number));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut content = self.shared.powered(true)?;
        if !content.names.contains_key(name) {
            return Err(missing(name));
        }
        content.name(name, None);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut content = self.shared.powered(true)?;
        if content.fails(Fault::Flush) {
            return Err(io::Error::other("the directory can't be flushed"));
        }
        content.renamed.clear();
        Ok(())
    }

    fn set_aside(&self, name: &str, octets: &[u8]) -> io::Result<String> {
        self.shared.powered(true)?.set_aside.insert(name.into(), octets.to_vec());
        Ok(format!("damaged/{name}"))
    }
}

#[derive(Debug)]
struct CrashFile {
    disk: Arc<SharedDisk>,
    number: u64,
}

impl CrashFile {
    fn with<T>(
        &self,
        changes: bool,
        act: impl FnOnce(&mut Data, &[Fault]) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut content = self.disk.powered(changes)?;
        let faults = content.faults.clone();
        let data = content.files.get_mut(&self.number).ok_or_else(|| missing("opened"))?;
        act(data, &faults)
    }
}

impl DiskFile for CrashFile {
    fn length(&self) -> io::Result<u64> {
        self.with(false, |data, _| Ok(data.octets.len() as u64))
    }

    fn read_at(&self, at: u64, octets: &mut [u8]) -> io::Result<usize> {
        self.with(false, |data, _| {
            let from = data.octets.get(at as usize..).unwrap_or_default();
            let count = from.len().min(octets.len());
            if let (Some(to), Some(from)) = (octets.get_mut(..count), from.get(..count)) {
                to.copy_from_slice(from);
            }
            Ok(count)
        })
    }

    fn write_at(&self, at: u64, octets: &[u8]) -> io::Result<()> {
        self.with(true, |data, faults| {
            let failing = faults.contains(&Fault::Write);
            let written = if failing { octets.len() / 2 } else { octets.len() };
            let pending = Pending::Write(at, octets.iter().take(written).copied().collect());
            Data::apply(&mut data.octets, &pending);
            data.pending.push(pending);
            if failing { Err(io::Error::other("the disk does not take this write")) } else { Ok(()) }
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.with(true, |data, _| {
            let pending = Pending::Length(length);
            Data::apply(&mut data.octets, &pending);
            data.pending.push(pending);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(true, |data, faults| {
            if faults.contains(&Fault::Flush) {
                // As Linux does it: the pages count as clean from now on, and are lost.
                data.pending.clear();
                return Err(io::Error::other("the disk does not flush"));
            }
            for pending in std::mem::take(&mut data.pending) {
                Data::apply(&mut data.durable, &pending);
            }
            Ok(())
        })
    }
}
