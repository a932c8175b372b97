//! The folder of a zone's keys: `state.toml` says what is known of each, and beside it lies each private key as PKCS#8.
//!
//! Only the server's user may read any of it. Files are replaced whole: written beside, flushed, renamed; so that also after a
//! power cut a key that is in use is there, and no serial that was served comes again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KeyState, Role};
use crate::dnssec::{Algorithm, PrivateKey, PrivateKeyError, key_tag};
use crate::wire::{Name, shown_time, time_of};

/// Why the keys cannot be used or kept. No text shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {message}; restore it from a backup, or move the folder away for new keys", path.display())]
    Malformed { path: PathBuf, message: String },
    #[error("{}: {error}; restore it from a backup", path.display())]
    Private { path: PathBuf, error: PrivateKeyError },
    #[error("{0}")]
    Make(#[from] PrivateKeyError),
}

/// A key with its private half.
#[derive(Debug, Clone)]
pub struct Key {
    pub state: KeyState,
    pub private: Arc<PrivateKey>,
}

impl Key {
    /// The data of its DNSKEY record, and of its CDNSKEY.
    pub fn dnskey(&self) -> Vec<u8> {
        dnskey(self.state.role, &self.private)
    }
}

fn dnskey(role: Role, private: &PrivateKey) -> Vec<u8> {
    let mut rdata = role.flags().to_be_bytes().to_vec();
    rdata.extend_from_slice(&[3, private.algorithm().0]);
    rdata.extend_from_slice(private.public_key());
    rdata
}

/// A TTL, with a greater one of before that caches may still know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lasting {
    present: u32,
    before: u32,
    /// Until when caches may know the one before, in seconds since 1970.
    until: u64,
}

impl Lasting {
    /// Takes down the TTL from now on.
    pub fn note(&mut self, ttl: u32, now: u64) {
        if ttl < self.present {
            let until = now + u64::from(self.present);
            self.before = self.greatest(now);
            self.until = self.until.max(until);
        }
        self.present = ttl;
    }

    /// The greatest that caches may know.
    pub fn greatest(&self, now: u64) -> u32 {
        if self.until > now { self.present.max(self.before) } else { self.present }
    }
}

/// What is known of a zone's keys and of the version that was served last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub keys: Vec<KeyState>,
    /// Of the signed zone.
    pub serial: Option<u32>,
    /// What was decided then about the keys was not served yet.
    pub undone: Option<u64>,
    pub zone_ttl: Lasting,
    pub key_ttl: Lasting,
    /// The algorithm that an operator wants, and that of the configuration when it was said.
    pub algorithm: Option<(Algorithm, Algorithm)>,
}

/// The folder of one zone.
#[derive(Debug, Clone)]
pub struct KeyStore {
    folder: PathBuf,
}

/// `state.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    zone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted_algorithm: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configured_algorithm: Option<u8>,
    zone_ttl: Lasting,
    key_ttl: Lasting,
    #[serde(default)]
    keys: Vec<KeyEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyEntry {
    tag: u16,
    algorithm: u8,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ds_ttl: Option<u32>,
    created: String,
    #[serde(flatten)]
    times: Times,
}

macro_rules! times {
    ($($field:ident),*) => {
        /// Texts such as `2026-11-21T12:00:00Z`.
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        struct Times {
            $(#[serde(skip_serializing_if = "Option::is_none")] $field: Option<String>,)*
        }

        impl Times {
            fn of(key: &KeyState) -> Self {
                Self { $($field: key.$field.map(shown_time),)* }
            }

            /// `None` when one is no time.
            fn put(&self, key: &mut KeyState) -> Option<()> {
                $(key.$field = match &self.$field {
                    Some(text) => Some(time_of(text)?),
                    None => None,
                };)*
                Some(())
            }
        }
    };
}

times!(published, signing, ds_asked, ds_seen, replaced, stopped, unsigned, ds_gone, withdrawn);

const HEAD: &str = "# The keys of a zone, as the server knows them: it replaces this file. Times are when something has happened.\n";

impl KeyStore {
    /// The folder of `zone` in `folder`; made if it is not there.
    pub fn open(folder: &Path, zone: &Name) -> Result<Self, StoreError> {
        let folder = folder.join(file_name(zone));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| StoreError::Io { path: folder.clone(), error })?;
        Ok(Self { folder })
    }

    /// Where the last signed version is kept.
    pub fn signed_zone(&self) -> PathBuf {
        self.folder.join("signed.zone")
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join("state.toml")
    }

    fn key_file(&self, key: &KeyState) -> PathBuf {
        self.folder.join(format!("{}-{:05}.pk8", key.role.as_str(), key.tag))
    }

    /// Reads what is known; nothing for a new zone.
    pub fn load(&self) -> Result<Known, StoreError> {
        let path = self.state_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::default()),
            Err(error) => return Err(StoreError::Io { path, error }),
        };
        let malformed = |message: String| StoreError::Malformed { path: path.clone(), message };
        let file: StateFile = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let keys = file.keys.iter().map(|entry| {
            entry
                .read()
                .ok_or_else(|| malformed(format!("key {} has no such role, or no such time", entry.tag)))
        });
        let wanted = file.wanted_algorithm.zip(file.configured_algorithm);
        Ok(Known {
            keys: keys.collect::<Result<_, _>>()?,
            serial: file.serial,
            undone: file.undone,
            zone_ttl: file.zone_ttl,
            key_ttl: file.key_ttl,
            algorithm: wanted.map(|(wanted, configured)| (Algorithm(wanted), Algorithm(configured))),
        })
    }

    /// Replaces what is known.
    pub fn save(&self, zone: &Name, known: &Known) -> Result<(), StoreError> {
        let file = StateFile {
            zone: zone.to_string(),
            serial: known.serial,
            undone: known.undone,
            wanted_algorithm: known.algorithm.map(|(wanted, _)| wanted.0),
            configured_algorithm: known.algorithm.map(|(_, configured)| configured.0),
            zone_ttl: known.zone_ttl,
            key_ttl: known.key_ttl,
            keys: known.keys.iter().map(KeyEntry::of).collect(),
        };
        let path = self.state_file();
        let text = toml::to_string(&file)
            .map_err(|error| StoreError::Malformed { path: path.clone(), message: error.to_string() })?;
        self.replace(&path, format!("{HEAD}{text}").as_bytes())
    }

    /// Reads the private half of a key.
    pub fn private(&self, key: &KeyState) -> Result<PrivateKey, StoreError> {
        let path = self.key_file(key);
        let pkcs8 = fs::read(&path).map(Zeroizing::new);
        let pkcs8 = pkcs8.map_err(|error| StoreError::Io { path: path.clone(), error })?;
        let private = PrivateKey::from_pkcs8(key.algorithm, &pkcs8)
            .map_err(|error| StoreError::Private { path: path.clone(), error })?;
        if key_tag(&dnskey(key.role, &private)) != key.tag {
            let message = format!("it is another key than {}", key.tag);
            return Err(StoreError::Malformed { path, message });
        }
        Ok(private)
    }

    /// Makes a key and keeps its private half. Its tag is none of `taken`.
    pub fn make(&self, algorithm: Algorithm, role: Role, taken: &[u16], now: u64) -> Result<Key, StoreError> {
        loop {
            let (private, pkcs8) = PrivateKey::generate(algorithm)?;
            let tag = key_tag(&dnskey(role, &private));
            // Signatures name keys by their tags alone; equal ones cost validators, and KeyTrap made them wary.
            if taken.contains(&tag) {
                continue;
            }
            let state = KeyState::new(tag, algorithm, role, now);
            self.replace(&self.key_file(&state), &pkcs8)?;
            return Ok(Key { state, private: Arc::new(private) });
        }
    }

    /// Deletes the private half of a key.
    pub fn delete(&self, key: &KeyState) -> Result<(), StoreError> {
        let path = self.key_file(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Io { path, error }),
            _ => Ok(()),
        }
    }

    fn replace(&self, path: &Path, octets: &[u8]) -> Result<(), StoreError> {
        let write = || {
            let beside = path.with_extension("new");
            // What a crash left behind has its own permissions, so it is not written over.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(octets)?;
            file.sync_all()?;
            fs::rename(&beside, path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| StoreError::Io { path: path.to_owned(), error })
    }
}

impl KeyEntry {
    fn of(key: &KeyState) -> Self {
        Self {
            tag: key.tag,
            algorithm: key.algorithm.0,
            role: key.role.as_str().to_owned(),
            ds_ttl: key.ds_ttl,
            created: shown_time(key.created),
            times: Times::of(key),
        }
    }

    fn read(&self) -> Option<KeyState> {
        let role = Role::ALL.into_iter().find(|role| role.as_str() == self.role)?;
        let mut key = KeyState::new(self.tag, Algorithm(self.algorithm), role, time_of(&self.created)?);
        key.ds_ttl = self.ds_ttl;
        self.times.put(&mut key)?;
        Some(key)
    }
}

/// The zone's name as a file name: in lower case, with everything but letters, digits, `-`, `_` and dots as `%XX`.
fn file_name(zone: &Name) -> String {
    let mut text = String::new();
    for label in zone.labels() {
        if !text.is_empty() {
            text.push('.');
        }
        for octet in label.to_ascii_lowercase() {
            match octet {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(octet)),
                other => text.push_str(&format!("%{other:02X}")),
            }
        }
    }
    if text.is_empty() { "%".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_come_back_as_they_were_and_nobody_else_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let zone: Name = "Example.org".parse().unwrap();
        let store = KeyStore::open(folder.path(), &zone).unwrap();
        assert_eq!(store.load().unwrap(), Known::default());
        let mut key = store.make(Algorithm::ECDSAP256, Role::Csk, &[], 1_793_491_200).unwrap();
        key.state.published = Some(1_793_491_260);
        key.state.ds_ttl = Some(3600);
        let known = Known {
            keys: vec![key.state.clone()],
            serial: Some(7),
            undone: Some(9),
            zone_ttl: Lasting { present: 5, before: 7, until: 8 },
            key_ttl: Lasting::default(),
            algorithm: Some((Algorithm::ED25519, Algorithm::ECDSAP256)),
        };
        for _ in 0..2 {
            store.save(&zone, &known).unwrap();
        }
        let again = KeyStore::open(folder.path(), &zone).unwrap();
        assert_eq!(again.load().unwrap(), known);
        assert_eq!(again.private(&key.state).unwrap().public_key(), key.private.public_key());
        let text = fs::read_to_string(folder.path().join("example.org/state.toml")).unwrap();
        assert!(text.contains("published = \"2026-11-01T00:01:00Z\""), "{text}");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.folder), 0o700);
        for entry in fs::read_dir(&store.folder).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
        store.delete(&key.state).unwrap();
        store.delete(&key.state).unwrap();
        assert!(matches!(again.private(&key.state), Err(StoreError::Io { .. })));
    }

    #[test]
    fn what_is_damaged_is_told_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let zone: Name = "example".parse().unwrap();
        let store = KeyStore::open(folder.path(), &zone).unwrap();
        let one = store.make(Algorithm::ED25519, Role::Ksk, &[], 1).unwrap();
        let two = store.make(Algorithm::ED25519, Role::Ksk, &[one.state.tag], 1).unwrap();
        fs::copy(store.key_file(&one.state), store.key_file(&two.state)).unwrap();
        let error = store.private(&two.state).unwrap_err().to_string();
        assert!(error.contains("it is another key than"), "{error}");
        fs::write(store.key_file(&one.state), b"x").unwrap();
        let error = store.private(&one.state).unwrap_err().to_string();
        assert!(error.contains("it is no private key for ED25519 in PKCS#8; restore it"), "{error}");
        let known = Known { keys: vec![one.state.clone()], ..Known::default() };
        store.save(&zone, &known).unwrap();
        let text = fs::read_to_string(store.state_file()).unwrap();
        for (from, to) in [("ksk", "key"), ("1970-01-01T00:00:01Z", "soon"), ("tag", "tags")] {
            fs::write(store.state_file(), text.replace(from, to)).unwrap();
            assert!(matches!(store.load(), Err(StoreError::Malformed { .. })), "{to}");
        }
    }

    #[test]
    fn folders_of_zones_stay_in_theirs() {
        for (zone, name) in [(".", "%"), ("a.B", "a.b")] {
            assert_eq!(file_name(&zone.parse().unwrap()), name);
        }
        let odd = Name::from_labels([&b"../x"[..], b"\0"]).unwrap();
        assert_eq!(file_name(&odd), "%2E%2E%2Fx.%00");
    }

    #[test]
    fn a_ttl_that_went_down_counts_until_caches_have_forgotten_it() {
        let mut ttl = Lasting::default();
        let mut at = |present: u32, now: u64| {
            ttl.note(present, now);
            ttl.greatest(now)
        };
        assert_eq!((at(300, 1000), at(60, 2000), at(60, 2299), at(60, 2300)), (300, 300, 300, 60));
        assert_eq!((at(600, 2310), at(90, 2320), at(30, 2330)), (600, 600, 600));
        assert_eq!((at(30, 2919), at(30, 2920)), (600, 30));
    }
}
