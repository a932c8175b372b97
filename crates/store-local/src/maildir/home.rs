//! An account's directory: where it is, and whose.
//!
//! Directories are named by address, so that an operator finds them. An address may belong to another
//! account later: `postroad-account` holds the account's number, and a directory of somebody else is set
//! aside, never shown to the new owner.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use nix::fcntl::{Flock, FlockArg};
use postroad_store::StoreError;
use postroad_types::{AccountId, Address};

use super::{place, read_if_there, replace_file, sync_dir};

const FILE: &str = "postroad-account";
/// Longer local parts are named by their digest.
const LOCAL_OCTETS_MAX: usize = 200;

/// `<domain>/<local part>`, in which no part can lead anywhere else.
pub fn relative_path(address: &Address) -> Result<PathBuf, StoreError> {
    let domain = address
        .domain()
        .ok_or_else(|| StoreError::Invalid(format!("{address} has no domain and so no mailbox")))?;
    Ok(Path::new(domain.ascii()).join(encode_local(&address.local.unquoted().to_lowercase())))
}

/// What is harmless stays; all other octets become %XX. The first is never a dot.
fn encode_local(local: &str) -> String {
    let mut name = String::new();
    for (i, b) in local.bytes().enumerate() {
        let harmless = b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-+=".contains(&b);
        if harmless || (b == b'.' && i > 0) {
            name.push(char::from(b));
        } else {
            // Writing into a String does not fail.
            let _ = write!(name, "%{b:02X}");
        }
    }
    if name.len() > LOCAL_OCTETS_MAX {
        name = "%sha256".to_owned();
        for b in digest::digest(&digest::SHA256, local.as_bytes()).as_ref() {
            let _ = write!(name, "{b:02x}");
        }
    }
    name
}

/// Makes sure that the directory is there and this account's.
fn prepare(root: &Path, home: &Path, account: AccountId) -> Result<(), StoreError> {
    match owner(home)? {
        Some(owner) if owner == account => return Ok(()),
        Some(owner) => set_aside(home, owner)?,
        // Mail that is there already was brought in from elsewhere, for this address.
        None => {}
    }
    if let Some(domain) = home.parent().filter(|domain| !domain.is_dir()) {
        fs::create_dir_all(domain)
            .map_err(|e| StoreError::io(format_args!("making {}", domain.display()), &e))?;
        sync_dir(root)?;
    }
    place::make_folder(home)?;
    replace_file(&home.join(FILE), format!("{account}\n").as_bytes())
}

/// Makes sure that the directory is there and this account's, and keeps everybody else out of it until the
/// lock is dropped. Waits for the one who has it: an account is closed in the background and may be opened
/// again before that is done.
pub fn enter(root: &Path, home: &Path, account: AccountId) -> Result<Flock<File>, StoreError> {
    let path = home.join(FILE);
    let failed = |e| StoreError::io(format_args!("locking {}", path.display()), &e);
    loop {
        prepare(root, home, account)?;
        let file = File::open(&path).map_err(failed)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| failed(e.into()))?;
        // Whoever had it may have removed the directory.
        let same = |there: &fs::Metadata| lock.metadata().is_ok_and(|here| here.ino() == there.ino());
        if fs::metadata(&path).is_ok_and(|there| same(&there)) {
            return Ok(lock);
        }
    }
}

/// Whose directory it is; `None` when nobody's yet.
pub fn owner(home: &Path) -> Result<Option<AccountId>, StoreError> {
    let path = home.join(FILE);
    let Some(octets) = read_if_there(&path)? else { return Ok(None) };
    let number = String::from_utf8_lossy(&octets).trim().parse().ok();
    match number {
        Some(number) => Ok(Some(AccountId(number))),
        None => Err(StoreError::Damaged(format!(
            "{} does not hold an account's number: write the right one into it, or remove it when the mail \
             beside it is this account's",
            path.display()
        ))),
    }
}

fn set_aside(home: &Path, owner: AccountId) -> Result<(), StoreError> {
    let name = home.file_name().unwrap_or_default().to_string_lossy();
    // A comma stands in no account's directory name.
    let aside = home.with_file_name(format!("{name},account-{owner}"));
    tracing::warn!(from = %home.display(), to = %aside.display(), "set aside the mail of a removed account");
    fs::rename(home, &aside)
        .map_err(|e| StoreError::io(format_args!("moving {} to {}", home.display(), aside.display()), &e))?;
    sync_dir(home.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(address: &str) -> String {
        relative_path(&address.parse().unwrap()).unwrap().to_string_lossy().into_owned()
    }

    #[test]
    fn addresses_become_harmless_paths() {
        assert_eq!(path("Bob.Smith+x@Beta.test"), "beta.test/bob.smith+x");
        assert_eq!(path("\"../../etc\"@beta.test"), "beta.test/%2E.%2F..%2Fetc");
        assert_eq!(path("\"a/b\"@beta.test"), "beta.test/a%2Fb");
        assert_eq!(path("\".\"@beta.test"), "beta.test/%2E");
        assert_eq!(path("ü@bücher.test"), "xn--bcher-kva.test/%C3%BC");
        assert!(path(&format!("\"{}\"@beta.test", "/".repeat(100))).starts_with("beta.test/%sha256"));
        assert!(relative_path(&"a@[192.0.2.1]".parse().unwrap()).is_err());
    }

    #[test]
    fn a_new_owner_does_not_see_the_old_ones_mail() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("beta.test/bob");
        prepare(root.path(), &home, AccountId(1)).unwrap();
        fs::write(home.join("new/secret"), "x").unwrap();
        prepare(root.path(), &home, AccountId(1)).unwrap();
        assert!(home.join("new/secret").exists());
        prepare(root.path(), &home, AccountId(2)).unwrap();
        assert!(!home.join("new/secret").exists());
        assert_eq!(owner(&home).unwrap(), Some(AccountId(2)));
        assert!(root.path().join("beta.test/bob,account-1/new/secret").exists());
    }

    #[test]
    fn mail_from_before_is_taken_over() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("beta.test/bob");
        fs::create_dir_all(home.join("new")).unwrap();
        fs::write(home.join("new/old-mail"), "x").unwrap();
        prepare(root.path(), &home, AccountId(1)).unwrap();
        assert!(home.join("new/old-mail").exists());
    }
}
