//! Lists of domains that are not looked for: plain files with a name a line, or in the format of a hosts file.
//!
//! A listed domain stands for all names below it. The files are read at the start, and again when zones are reloaded; a
//! file that cannot be read leaves all lists as they were.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use arc_swap::ArcSwap;
use postroad_types::limits::{DNS_BLOCK_FILE_OCTETS_MAX, DNS_BLOCKED_NAMES_MAX};

use super::evidence::Proven;
use super::security::Security;
use super::steps::{Answer, Held};
use crate::serve::rcode;
use crate::wire::{Name, RrSetBuilder, Rtype};

/// Seconds for which a client may keep a blocked name's address.
const TTL: u32 = 300;

/// What a blocked name is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockedAs {
    /// It does not exist.
    Missing,
    /// Its addresses are 0.0.0.0 and ::.
    Null,
}

/// Why lists cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlockListError {
    #[error("{}: {error}; expected a file with a domain a line", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("{}:{line}: {text:?} is no domain name; expected a domain, or an address and domains", file.display())]
    NoName { file: PathBuf, line: usize, text: String },
    #[error("{}: too long; expected at most {DNS_BLOCK_FILE_OCTETS_MAX} octets a file, and {DNS_BLOCKED_NAMES_MAX} names in all", file.display())]
    TooLong { file: PathBuf },
}

/// Blocked domains.
#[derive(Debug, Default)]
pub struct Blocked {
    files: Vec<(PathBuf, BlockedAs)>,
    names: ArcSwap<HashMap<Name, BlockedAs>>,
}

impl Blocked {
    /// Reads the lists. A name in two of them is answered as the first says.
    pub fn load(files: Vec<(PathBuf, BlockedAs)>) -> Result<Self, BlockListError> {
        let names = ArcSwap::from_pointee(read(&files)?);
        Ok(Self { files, names })
    }

    /// Reads the files again; the number of names.
    pub fn reload(&self) -> Result<usize, BlockListError> {
        let names = read(&self.files)?;
        let count = names.len();
        self.names.store(Arc::new(names));
        Ok(count)
    }

    /// The answer for a name that is blocked.
    pub fn answer(&self, name: &Name, rtype: Rtype) -> Option<Answer> {
        self.listed(name, rtype).map(Answer::into_blocked)
    }

    fn listed(&self, name: &Name, rtype: Rtype) -> Option<Answer> {
        let names = self.names.load();
        if names.is_empty() {
            return None;
        }
        let mut above = Some(name.clone());
        let blocked = loop {
            let name = above?;
            match names.get(&name) {
                Some(blocked) => break *blocked,
                None => above = name.parent(),
            }
        };
        let address: &[u8] = match (blocked, rtype) {
            (BlockedAs::Missing, _) => return Some(nothing(rcode::NXDOMAIN)),
            (BlockedAs::Null, Rtype::A) => &[0; 4],
            (BlockedAs::Null, Rtype::AAAA) => &[0; 16],
            (BlockedAs::Null, _) => return Some(nothing(rcode::NOERROR)),
        };
        let mut set = RrSetBuilder::new(rtype, TTL);
        set.push(address);
        let held =
            Held::fetched((name.clone(), Arc::new(set.build()?)), TTL, &Proven::not(Security::Indeterminate));
        Some(Answer::positive(vec![held]))
    }
}

/// There is no such name, or no such record.
fn nothing(rcode: u16) -> Answer {
    Answer::negative(rcode, Vec::new(), None, Security::Indeterminate)
}

fn read(files: &[(PathBuf, BlockedAs)]) -> Result<HashMap<Name, BlockedAs>, BlockListError> {
    let mut names = HashMap::new();
    for (file, answer) in files {
        let unreadable = |error| BlockListError::Unreadable { file: file.clone(), error };
        if fs::metadata(file).map_err(unreadable)?.len() > DNS_BLOCK_FILE_OCTETS_MAX {
            return Err(BlockListError::TooLong { file: file.clone() });
        }
        let text = fs::read_to_string(file).map_err(unreadable)?;
        for (index, line) in text.lines().enumerate() {
            for name in names_of(line) {
                let parsed = name.parse::<Name>().ok().filter(|name| !name.is_root());
                let Some(parsed) = parsed else {
                    let (file, text) = (file.clone(), name.chars().take(80).collect());
                    return Err(BlockListError::NoName { file, line: index + 1, text });
                };
                names.entry(parsed).or_insert(*answer);
            }
            if names.len() > DNS_BLOCKED_NAMES_MAX {
                return Err(BlockListError::TooLong { file: file.clone() });
            }
        }
    }
    Ok(names)
}

/// The domains of a line. Of a hosts file's, without those of the machine itself.
fn names_of(line: &str) -> impl Iterator<Item = &str> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace().peekable();
    let is_hosts = words.next_if(|word| word.parse::<IpAddr>().is_ok()).is_some();
    words.filter(move |word| !is_hosts || word.contains('.') && !word.starts_with("localhost."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str, answer: BlockedAs) -> (tempfile::TempDir, Result<Blocked, BlockListError>) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        fs::write(&file, text).unwrap();
        (directory, Blocked::load(vec![(file, answer)]))
    }

    fn answer(blocked: &Blocked, name: &str, rtype: Rtype) -> String {
        let Some(answer) = blocked.answer(&name.parse().unwrap(), rtype) else { return "-".to_owned() };
        let lines: Vec<String> = answer.records.iter().flat_map(Held::lines).collect();
        format!("{} {}", answer.rcode_name(), lines.join(" ")).trim_end().to_owned()
    }

    #[test]
    fn a_listed_domain_stands_for_all_below_it() {
        let (_directory, blocked) = list("# ads\nads.test\n\nTracker.Test # more\n", BlockedAs::Missing);
        let blocked = blocked.unwrap();
        for name in ["ads.test", "a.b.ADS.test", "tracker.test"] {
            assert_eq!(answer(&blocked, name, Rtype::MX), "NXDOMAIN", "{name}");
        }
        for name in ["test", "notads.test", "good.test"] {
            assert_eq!(answer(&blocked, name, Rtype::A), "-", "{name}");
        }
    }

    #[test]
    fn hosts_files_are_read_and_addresses_may_be_null() {
        let text =
            "127.0.0.1 localhost localhost.localdomain\n0.0.0.0 ads.test more.test\n::1 ip6-localhost\n";
        let (directory, blocked) = list(text, BlockedAs::Null);
        let blocked = blocked.unwrap();
        assert_eq!(answer(&blocked, "x.ads.test", Rtype::A), "NOERROR x.ads.test. 300 IN A 0.0.0.0");
        assert_eq!(answer(&blocked, "more.test", Rtype::AAAA), "NOERROR more.test. 300 IN AAAA ::");
        assert_eq!(answer(&blocked, "more.test", Rtype::TXT), "NOERROR");
        assert_eq!(answer(&blocked, "localhost", Rtype::A), "-");
        fs::write(directory.path().join("list"), "other.test\n").unwrap();
        assert_eq!(blocked.reload().unwrap(), 1);
        assert_eq!(answer(&blocked, "more.test", Rtype::A), "-");
        fs::remove_file(directory.path().join("list")).unwrap();
        assert!(blocked.reload().is_err());
        assert_eq!(answer(&blocked, "other.test", Rtype::A), "NOERROR other.test. 300 IN A 0.0.0.0");
    }

    #[test]
    fn what_is_no_name_is_said_with_its_line() {
        let (_directory, blocked) = list("ads.test\nb..test\n", BlockedAs::Missing);
        let error = blocked.unwrap_err().to_string();
        assert!(error.contains("list:2: \"b..test\" is no domain name"), "{error}");
    }
}
