//! Maildir++ on disk: where an account's mail lies, under which names, and how it gets there.
//!
//! # Layout
//! ```text
//! <mailbox_dir>/.postroad/               the journal and what waits for its removal
//! <mailbox_dir>/<domain>/<local part>/   one account, mode 0700: INBOX, and what follows
//!     cur/ new/ tmp/
//!     postroad-account                   whose it is
//!     postroad-folder                    numbers that must never go down, one in each folder
//!     postroad-subscriptions             a name in each line
//!     postroad-index.sqlite              can be made again out of all the rest
//!     dovecot-keywords                   which letter is which keyword, one in each folder that has some
//!     .Work/ .Work.2026/                 folders: levels joined by ".", each in modified UTF-7
//! ```
//! A message's file is named `<unique>,S=<size>,Q=<uidvalidity>.<uid>[,K=<key>][,T=<trace id>][:2,<flags>]`:
//! everything that the index knows of it, but MODSEQ, stands in its name and its mtime (INTERNALDATE). Other
//! programs may read, flag, move, add and remove messages as in every Maildir.
//!
//! The `maildir` crate makes the three folders and the files in tmp/. Listing is our own, since it leaves
//! out files of cur/ without flags; so is putting files into place, since a name must hold the UID; so are
//! flags and finding, which take it a walk over the folder for each message.

pub mod file_name;
pub mod folder_dir;
pub mod home;
pub mod keywords;
pub mod listing;
pub mod place;
pub mod sheet;

use std::fs::File;
use std::path::Path;

use postroad_store::StoreError;

/// Makes what happened to the names in a folder durable.
pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| StoreError::io(format_args!("flushing the folder {}", dir.display()), &e))
}

/// Replaces a small file whole: at every instant there is the old or the new one.
pub fn replace_file(path: &Path, octets: &[u8]) -> Result<(), StoreError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_added_extension("new");
    let write = || {
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(octets)?;
        file.sync_data()?;
        std::fs::rename(&new, path)
    };
    write().map_err(|e| StoreError::io(format_args!("writing {}", path.display()), &e))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// A file's octets, if it is there.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match std::fs::read(path) {
        Ok(octets) => Ok(Some(octets)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io(format_args!("reading {}", path.display()), &e)),
    }
}
