//! The few file operations that the spool's durability rests on, as a trait: the real directory, and a
//! simulated one that forgets at a crash what was not flushed ([`super::crash_disk`]).
//!
//! What may be relied on, and nothing more: data is durable after [`DiskFile::sync`] returned, a name
//! (created, renamed, removed) after [`Disk::sync_directory`] returned. After a failed sync nothing is known
//! of what was written since the last good one.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where damaged records are set aside.
const DAMAGED: &str = "damaged";
/// Held by the one process that has the spool open.
const LOCK: &str = "lock";

/// A directory of segment files.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Names of the files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new file with room for `octets`, which read as zeros; fails if there is one of that name.
    fn create(&self, name: &str, octets: u64) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn sync_directory(&self) -> io::Result<()>;
    /// Keeps the octets of a damaged record for a person to look at; gives the place's name.
    fn set_aside(&self, name: &str, octets: &[u8]) -> io::Result<String>;
}

/// An open file. Reads and writes say where, so that many may go on at the same time.
pub trait DiskFile: Debug + Send + Sync + 'static {
    fn length(&self) -> io::Result<u64>;
    /// Fills as much of `octets` as there is.
    fn read_at(&self, at: u64, octets: &mut [u8]) -> io::Result<usize>;
    fn write_at(&self, at: u64, octets: &[u8]) -> io::Result<()>;
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Data, and the length as far as it is needed to read the data, are durable afterwards.
    fn sync(&self) -> io::Result<()>;
}

/// A real directory, locked against other processes while this lives.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
    handle: File,
    _lock: File,
}

impl RealDisk {
    /// Creates the directory (mode 0700) where it is missing.
    /// [`io::ErrorKind::WouldBlock`] when another process has it open.
    pub fn open(directory: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let lock = private().create(true).truncate(false).open(directory.join(LOCK))?;
        lock.try_lock()?;
        Ok(RealDisk { directory: directory.to_owned(), handle: File::open(directory)?, _lock: lock })
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        list_files(&self.directory)
    }

    fn create(&self, name: &str, octets: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.directory.join(name);
        let file = private().create_new(true).open(&path)?;
        // Blocks are reserved at once: a full disk shows here, before anything is promised, and later
        // flushes need not change the file's length.
        if let Err(error) = reserve(&file, octets) {
            fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(private().open(self.directory.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn set_aside(&self, name: &str, octets: &[u8]) -> io::Result<String> {
        let directory = self.directory.join(DAMAGED);
        fs::create_dir_all(&directory)?;
        let path = directory.join(name);
        let file = private().create(true).truncate(true).open(&path)?;
        file.write_all_at(octets, 0)?;
        file.sync_all()?;
        File::open(&directory)?.sync_all()?;
        Ok(path.display().to_string())
    }
}

/// A real directory that is only looked at; no lock is taken.
#[derive(Debug)]
pub struct ReadOnlyDisk(pub PathBuf);

impl ReadOnlyDisk {
    fn refuse<T>() -> io::Result<T> {
        Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the spool is open for reading only"))
    }
}

impl Disk for ReadOnlyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        list_files(&self.0)
    }
    fn create(&self, _: &str, _: u64) -> io::Result<Arc<dyn DiskFile>> {
        Self::refuse()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(File::open(self.0.join(name))?)))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Self::refuse()
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Self::refuse()
    }
    fn sync_directory(&self) -> io::Result<()> {
        Self::refuse()
    }
    fn set_aside(&self, _: &str, _: &[u8]) -> io::Result<String> {
        Self::refuse()
    }
}

fn list_files(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

fn reserve(file: &File, octets: u64) -> io::Result<()> {
    use nix::fcntl::{FallocateFlags, fallocate};
    let length = i64::try_from(octets).map_err(io::Error::other)?;
    match fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        // A file system without reservation: the file grows as it is written.
        Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, octets: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, at: u64, octets: &[u8]) -> io::Result<()> {
        self.0.write_all_at(octets, at)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
