//! How a message's octets get under their name.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use maildir::{Maildir, TemporaryMailFile};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use postroad_store::StoreError;
use postroad_store::spool::Micros;

/// A message in tmp/. Dropped before it has its place, it leaves nothing.
pub struct Draft {
    file: TemporaryMailFile,
    size_octets: u64,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({}, {} octets)", self.file.path().display(), self.size_octets)
    }
}

impl Draft {
    /// Begins a message in the tmp/ of the Maildir at `home`, which has to be on the folder's file system.
    pub fn begin(home: &Path) -> Result<Self, StoreError> {
        let opened = Maildir::from(home.to_owned()).open_file_in_tmp();
        let file = opened.map_err(|e| {
            StoreError::Unavailable(format!("making a file in {}: {e}", home.join("tmp").display()))
        })?;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600))
            .map_err(|e| StoreError::io(format_args!("setting the mode of {}", file.path().display()), &e))?;
        Ok(Draft { file, size_octets: 0 })
    }

    pub fn write(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(octets)
            .map_err(|e| StoreError::io(format_args!("writing {}", self.file.path().display()), &e))?;
        self.size_octets += octets.len() as u64;
        Ok(())
    }

    pub fn size_octets(&self) -> u64 {
        self.size_octets
    }

    /// Makes the octets durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        sync_file(self.file.path())
    }

    /// Gives the message its name. The file's time becomes the message's INTERNALDATE.
    pub fn place(self, target: &Path, internal_date: Micros) -> Result<(), StoreError> {
        let path = self.file.path();
        set_date(path, internal_date)?;
        // The draft's own removal of its file then finds nothing to remove.
        fs::rename(path, target).map_err(|e| {
            StoreError::io(format_args!("moving {} to {}", path.display(), target.display()), &e)
        })
    }
}

/// Makes a file's octets durable.
pub fn sync_file(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|file| file.sync_data());
    synced.map_err(|e| StoreError::io(format_args!("flushing {}", path.display()), &e))
}

fn set_date(path: &Path, date: Micros) -> Result<(), StoreError> {
    let spec = TimeSpec::new(date.div_euclid(1_000_000), date.rem_euclid(1_000_000) * 1000);
    utimensat(nix::fcntl::AT_FDCWD, path, &spec, &spec, UtimensatFlags::NoFollowSymlink)
        .map_err(|e| StoreError::io(format_args!("setting the time of {}", path.display()), &e.into()))
}

/// Size and INTERNALDATE of a message's file.
pub fn size_and_date(path: &Path) -> Result<(u64, Micros), StoreError> {
    let metadata =
        fs::metadata(path).map_err(|e| StoreError::io(format_args!("looking at {}", path.display()), &e))?;
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let since = |d: Duration| Micros::try_from(d.as_micros()).unwrap_or(0);
    let date = match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    };
    Ok((metadata.len(), date))
}

/// Makes a folder's cur/, new/ and tmp/, for their owner only, durable when it returns.
pub fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let make = || {
        fs::create_dir_all(folder)?;
        Maildir::from(folder.to_owned()).create_dirs()?;
        for sub in ["", "cur", "new", "tmp"] {
            fs::set_permissions(folder.join(sub), fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    };
    make().map_err(|e| StoreError::io(format_args!("making the folder {}", folder.display()), &e))?;
    super::sync_dir(folder)?;
    super::sync_dir(folder.parent().unwrap_or(Path::new(".")))
}

/// Where a message's file should be.
pub fn path_of(folder: &Path, base: &str, in_new: bool, letters: &str) -> PathBuf {
    if in_new {
        folder.join("new").join(base)
    } else {
        folder.join("cur").join(super::file_name::join(base, letters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placed_message_has_its_octets_mode_and_date() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("bob");
        make_folder(&home).unwrap();
        let mut draft = Draft::begin(&home).unwrap();
        draft.write(b"one ").unwrap();
        draft.write(b"two").unwrap();
        draft.sync().unwrap();
        let target = path_of(&home, "1.x", true, "");
        draft.place(&target, -1_500_000).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"one two");
        assert_eq!(size_and_date(&target).unwrap(), (7, -1_500_000));
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(home.join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_dropped_draft_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        make_folder(dir.path()).unwrap();
        let mut draft = Draft::begin(dir.path()).unwrap();
        draft.write(b"half").unwrap();
        drop(draft);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}
