//! Destinations that an operator has suspended: no attempt is made to their domains until they are resumed.
//!
//! They stand in a file, a domain a line, so that a restart changes nothing. Mail for them waits in the queue and
//! keeps its time: what is not resumed before a message's end is bounced.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use postroad_types::{Domain, Host};

/// The suspended domains.
#[derive(Debug, Default)]
pub struct Suspension {
    /// Without one nothing is remembered.
    file: Option<PathBuf>,
    /// Lower-case A-labels.
    domains: RwLock<BTreeSet<String>>,
}

impl Suspension {
    /// Reads the file; one that is not there names nobody. A line that is no domain is left out.
    pub fn open(file: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let domains = text.lines().filter_map(|line| line.parse::<Domain>().ok());
        let domains = domains.map(|domain| domain.ascii().to_owned()).collect();
        Ok(Suspension { file: Some(file.to_owned()), domains: RwLock::new(domains) })
    }

    /// Whether mail for this host waits.
    pub fn covers(&self, host: &Host) -> bool {
        let domains = self.domains.read().unwrap_or_else(PoisonError::into_inner);
        match host {
            _ if domains.is_empty() => false,
            Host::Domain(domain) => domains.contains(domain.ascii()),
            Host::Literal(_) => false,
        }
    }

    /// All of them, in order.
    pub fn all(&self) -> Vec<String> {
        self.domains.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Suspends a domain, or resumes it; whether that changed anything. It is durable when this returns.
    pub fn set(&self, domain: &Domain, suspended: bool) -> io::Result<bool> {
        // The lock is held over the write: the file is what the set is, in the order of the changes.
        let mut domains = self.domains.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = domains.clone();
        let is_new = match suspended {
            true => changed.insert(domain.ascii().to_owned()),
            false => changed.remove(domain.ascii()),
        };
        if is_new {
            self.write(&changed)?;
            *domains = changed;
        }
        Ok(is_new)
    }

    fn write(&self, domains: &BTreeSet<String>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let new = file.with_extension("new");
        let mut written = std::fs::File::create(&new)?;
        for domain in domains {
            writeln!(written, "{domain}")?;
        }
        written.sync_all()?;
        std::fs::rename(&new, file)?;
        match file.parent() {
            Some(directory) => std::fs::File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("suspended");
        let beta: Domain = "Beta.test".parse().unwrap();
        let host = Host::Domain(beta.clone());
        let suspension = Suspension::open(&file).unwrap();
        assert!(!suspension.covers(&host));
        assert!(suspension.set(&beta, true).unwrap() && !suspension.set(&beta, true).unwrap());
        let again = Suspension::open(&file).unwrap();
        assert!(again.covers(&host) && !again.covers(&"gamma.test".parse().unwrap()));
        assert_eq!(again.all(), ["beta.test"]);
        assert!(again.set(&beta, false).unwrap());
        assert!(!Suspension::open(&file).unwrap().covers(&host));
    }

    #[test]
    fn what_cannot_be_written_is_not_said_to_be_so() {
        let dir = tempfile::tempdir().unwrap();
        let suspension = Suspension::open(&dir.path().join("suspended")).unwrap();
        drop(dir);
        let beta: Domain = "beta.test".parse().unwrap();
        suspension.set(&beta, true).unwrap_err();
        assert!(suspension.all().is_empty());
    }
}
