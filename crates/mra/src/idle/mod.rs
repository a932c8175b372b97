//! News of an account for a session: what IDLE is fed from (RFC 2177).
//!
//! The Mailbox service tells of changes as they happen; nothing is polled. When the watch breaks off it is set
//! up again, later and later, and what was missed meanwhile comes as [`Change::Unknown`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use postroad_types::AccountId;
use tokio::time::Instant;

use crate::mailbox::{Change, MailboxClient, WatchStream};

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(60);

pub struct Watch {
    mailbox: Arc<dyn MailboxClient>,
    account: AccountId,
    stream: Option<WatchStream>,
    retry_at: Instant,
    retry_after: Duration,
}

impl Watch {
    /// Waits until the watch stands, or has failed once: what happens after this is told.
    pub async fn start(mailbox: Arc<dyn MailboxClient>, account: AccountId) -> Self {
        let mut watch =
            Watch { mailbox, account, stream: None, retry_at: Instant::now(), retry_after: RETRY_FIRST };
        watch.connect().await;
        if let Some(stream) = &mut watch.stream
            && !matches!(stream.next().await, Some(Ok(_)))
        {
            watch.broken();
        }
        watch
    }

    /// Whether changes are told of as they happen.
    pub fn stands(&self) -> bool {
        self.stream.is_some()
    }

    /// The next news. Never ends; cancelling it loses nothing.
    pub async fn next(&mut self) -> Change {
        loop {
            match &mut self.stream {
                Some(stream) => match stream.next().await {
                    Some(Ok(change)) => {
                        self.retry_after = RETRY_FIRST;
                        return change;
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "the watch broke off");
                        self.broken();
                    }
                    None => self.broken(),
                },
                None => {
                    tokio::time::sleep_until(self.retry_at).await;
                    self.connect().await;
                }
            }
        }
    }

    async fn connect(&mut self) {
        match self.mailbox.watch(self.account).await {
            Ok(stream) => self.stream = Some(stream),
            Err(error) => {
                tracing::debug!(%error, "no watch can be set up");
                self.broken();
            }
        }
    }

    fn broken(&mut self) {
        self.stream = None;
        self.retry_at = Instant::now() + self.retry_after;
        self.retry_after = (self.retry_after * 2).min(RETRY_LAST);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing::{FakeLogins, FakeMailbox};

    #[tokio::test]
    async fn a_watch_comes_back_with_the_mailbox_and_says_that_news_may_be_missed() {
        let account = FakeLogins::ACCOUNT;
        let mailbox = Arc::new(FakeMailbox::new());
        mailbox.is_down.store(true, Ordering::Relaxed);
        let mut watch = Watch::start(mailbox.clone(), account).await;
        assert!(!watch.stands());
        mailbox.is_down.store(false, Ordering::Relaxed);
        let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap();
        assert_eq!(next, Change::Unknown);
        assert!(watch.stands());
        mailbox.deliver(account, "INBOX", "Subject: x\r\n\r\n").await;
        let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap();
        assert!(matches!(next, Change::Folder { name, .. } if name == "INBOX"));
    }
}
