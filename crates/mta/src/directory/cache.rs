//! The directory's words, kept for a few seconds.
//!
//! A busy mta asks about the same recipients again and again. What is kept is what does no harm when it is a
//! little old: that a mailbox exists, that a domain is not ours. "Unknown" and "over quota" are asked anew each
//! time, so that an account works the moment it is made. And what the directory once said about a domain is used
//! on when it does not answer, so that mail to other domains flows while mda is down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postroad_types::{AccountId, Address, RecipientVerdict, TraceId, limits};
use tokio::time::Instant;

use super::{DirectoryClient, DirectoryError, SaslExchange, SaslReply, SaslStart};

const KEPT: Duration = Duration::from_secs(limits::DIRECTORY_CACHE_SECONDS);

/// A directory with a memory.
pub struct CachedDirectory {
    inner: Arc<dyn DirectoryClient>,
    verdicts: Mutex<HashMap<Address, (RecipientVerdict, Instant)>>,
    /// By lower-case A-labels: whether the domain is ours, and when that was said.
    domains: Mutex<HashMap<Box<str>, (bool, Instant)>>,
    senders: Mutex<HashMap<(AccountId, Address), Instant>>,
}

impl std::fmt::Debug for CachedDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedDirectory").finish_non_exhaustive()
    }
}

impl CachedDirectory {
    pub fn new(inner: Arc<dyn DirectoryClient>) -> Self {
        CachedDirectory {
            inner,
            verdicts: Mutex::default(),
            domains: Mutex::default(),
            senders: Mutex::default(),
        }
    }

    /// Who a recipient is.
    pub async fn resolve(
        &self,
        address: &Address,
        trace: TraceId,
    ) -> Result<RecipientVerdict, DirectoryError> {
        let Some(domain) = address.domain() else {
            return Ok(RecipientVerdict::NotOurs);
        };
        if self.domain(domain.ascii(), Some(KEPT)) == Some(false) {
            return Ok(RecipientVerdict::NotOurs);
        }
        if let Ok(verdicts) = self.verdicts.lock()
            && let Some((verdict, at)) = verdicts.get(address)
            && at.elapsed() < KEPT
        {
            return Ok(verdict.clone());
        }
        let verdict = self.inner.resolve(address, trace).await?;
        let ours = verdict != RecipientVerdict::NotOurs;
        if let Ok(mut domains) = self.domains.lock() {
            // Old words are kept for when the directory is down; only the number bounds them.
            make_room(&mut domains, |(_, at)| at.elapsed() < KEPT);
            domains.insert(domain.ascii().into(), (ours, Instant::now()));
        }
        if matches!(verdict, RecipientVerdict::Local { .. } | RecipientVerdict::Alias { .. })
            && let Ok(mut verdicts) = self.verdicts.lock()
        {
            make_room(&mut verdicts, |(_, at)| at.elapsed() < KEPT);
            verdicts.insert(address.clone(), (verdict.clone(), Instant::now()));
        }
        Ok(verdict)
    }

    /// Whether the domain of an address is ours, if that can be said without asking.
    pub fn known_ours(&self, address: &Address) -> Option<bool> {
        match address.domain() {
            Some(domain) => self.domain(domain.ascii(), Some(KEPT)),
            None => Some(false),
        }
    }

    /// Whether the domain of an address is ours. When the directory does not answer, what it last said counts.
    pub async fn is_ours(&self, address: &Address, trace: TraceId) -> Result<bool, DirectoryError> {
        if let Some(known) = self.known_ours(address) {
            return Ok(known);
        }
        match self.resolve(address, trace).await {
            Ok(verdict) => Ok(verdict != RecipientVerdict::NotOurs),
            Err(error) => {
                let domain = address.domain().map(postroad_types::Domain::ascii);
                domain.and_then(|d| self.domain(d, None)).ok_or(error)
            }
        }
    }

    /// Whether an account may use an address as its sender.
    pub async fn may_send(&self, account: AccountId, address: &Address) -> Result<bool, DirectoryError> {
        let key = (account, address.clone());
        if let Ok(senders) = self.senders.lock()
            && senders.get(&key).is_some_and(|at| at.elapsed() < KEPT)
        {
            return Ok(true);
        }
        let allowed = self.inner.may_send(account, address).await?;
        if allowed && let Ok(mut senders) = self.senders.lock() {
            make_room(&mut senders, |at| at.elapsed() < KEPT);
            senders.insert(key, Instant::now());
        }
        Ok(allowed)
    }

    /// Never kept: each exchange is asked.
    pub async fn authenticate(
        &self,
        start: SaslStart,
    ) -> Result<(Box<dyn SaslExchange>, SaslReply), DirectoryError> {
        self.inner.authenticate(start).await
    }

    fn domain(&self, ascii: &str, not_older: Option<Duration>) -> Option<bool> {
        let domains = self.domains.lock().ok()?;
        let (ours, at) = domains.get(ascii)?;
        not_older.is_none_or(|bound| at.elapsed() < bound).then_some(*ours)
    }
}

/// Keeps a map within its bound: first what is old goes, then everything.
fn make_room<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, young: impl Fn(&V) -> bool) {
    if map.len() >= limits::DIRECTORY_CACHE_ENTRIES_MAX {
        map.retain(|_, value| young(value));
    }
    if map.len() >= limits::DIRECTORY_CACHE_ENTRIES_MAX {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeDirectory;
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_not_asked_again_for_a_while() {
        let fake = FakeDirectory::new().account("bob@beta.test", "secret");
        let directory = CachedDirectory::new(fake.clone());
        let trace = TraceId::new([1; 16]);
        for _ in 0..3 {
            let verdict = directory.resolve(&address("bob@beta.test"), trace).await.unwrap();
            assert!(matches!(verdict, RecipientVerdict::Local { .. }));
            let verdict = directory.resolve(&address("x@other.test"), trace).await.unwrap();
            assert_eq!(verdict, RecipientVerdict::NotOurs);
        }
        assert_eq!(fake.questions(), 2);
        tokio::time::advance(KEPT).await;
        directory.resolve(&address("bob@beta.test"), trace).await.unwrap();
        assert_eq!(fake.questions(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_name_is_asked_each_time() {
        let fake = FakeDirectory::new().account("bob@beta.test", "secret");
        let directory = CachedDirectory::new(fake.clone());
        let trace = TraceId::new([1; 16]);
        for _ in 0..2 {
            let verdict = directory.resolve(&address("new@beta.test"), trace).await.unwrap();
            assert_eq!(verdict, RecipientVerdict::Unknown);
        }
        assert_eq!(fake.questions(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_directory_is_down_its_last_word_on_a_domain_counts() {
        let fake = FakeDirectory::new().account("bob@beta.test", "secret");
        let directory = CachedDirectory::new(fake.clone());
        let trace = TraceId::new([1; 16]);
        directory.resolve(&address("x@other.test"), trace).await.unwrap();
        tokio::time::advance(KEPT * 100).await;
        fake.set_down(true);
        assert_eq!(directory.is_ours(&address("y@other.test"), trace).await, Ok(false));
        assert!(directory.is_ours(&address("y@third.test"), trace).await.is_err());
    }
}
