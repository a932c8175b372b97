//! What lies in a folder.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use postroad_store::StoreError;

use super::file_name;

/// A message's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub file_name: String,
    /// In new/: no mail program has touched it.
    pub in_new: bool,
}

impl Found {
    /// The name up to the flags.
    pub fn base(&self) -> &str {
        file_name::split(&self.file_name).0
    }

    pub fn letters(&self) -> &str {
        file_name::split(&self.file_name).1
    }

    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(if self.in_new { "new" } else { "cur" }).join(&self.file_name)
    }
}

/// The times of the last change to the names in cur/ and new/, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeTimes {
    pub cur_ns: i64,
    pub new_ns: i64,
}

impl ChangeTimes {
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let time = |sub: &str| {
            let path = folder.join(sub);
            let metadata = fs::metadata(&path)
                .map_err(|e| StoreError::io(format_args!("looking at {}", path.display()), &e))?;
            Ok(metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()))
        };
        Ok(ChangeTimes { cur_ns: time("cur")?, new_ns: time("new")? })
    }
}

/// All messages of a folder. new/ comes first: a file on its way from there to cur/ is then seen in one of
/// them at least, and the later sight counts.
pub fn messages(folder: &Path) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for (sub, in_new) in [("new", true), ("cur", false)] {
        let path = folder.join(sub);
        let failed = |e| StoreError::io(format_args!("listing {}", path.display()), &e);
        for entry in fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // A name that is not UTF-8 can't be a message that anybody put here by the rules.
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            found.push(Found { file_name: name.to_owned(), in_new });
        }
    }
    Ok(found)
}

/// Where a message's file is now, when it is not where it was expected.
pub fn find(folder: &Path, base: &str) -> Result<Option<PathBuf>, StoreError> {
    for sub in ["new", "cur"] {
        let path = folder.join(sub);
        let failed = |e| StoreError::io(format_args!("listing {}", path.display()), &e);
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_str().is_some_and(|name| file_name::split(name).0 == base) {
                return Ok(Some(entry.path()));
            }
        }
    }
    Ok(None)
}

/// The folders' directories beside cur/.
pub fn folder_dirs(home: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |e| StoreError::io(format_args!("listing {}", home.display()), &e);
    let mut dirs = Vec::new();
    for entry in fs::read_dir(home).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if name.starts_with('.') && is_maildir(&entry.path()) {
            dirs.push(name);
        }
    }
    dirs.sort_unstable();
    Ok(dirs)
}

fn is_maildir(path: &Path) -> bool {
    path.join("cur").is_dir() && path.join("new").is_dir()
}

/// Removes a file; one that is gone already is no error.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(StoreError::io(format_args!("removing {}", path.display()), &e)),
    }
}
