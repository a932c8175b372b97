//! Who watches which account. Watchers outlive the closing of an account's index.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::BoxStream;
use postroad_store::mailbox::{self, MailboxEvent};
use postroad_types::AccountId;
use tokio::sync::broadcast;

/// Events that a slow watcher may be behind before it has to look at everything again.
const EVENTS_MAX: usize = 256;
/// Channels before those that nobody listens to are dropped.
const CHANNELS_SWEPT: usize = 1024;

#[derive(Clone, Debug, Default)]
pub struct Events {
    channels: Arc<Mutex<HashMap<AccountId, broadcast::Sender<MailboxEvent>>>>,
}

impl Events {
    pub fn watch(&self, account: AccountId) -> BoxStream<'static, MailboxEvent> {
        let mut channels = self.channels();
        if channels.len() >= CHANNELS_SWEPT {
            channels.retain(|_, channel| channel.receiver_count() > 0);
        }
        let channel = channels.entry(account).or_insert_with(|| broadcast::channel(EVENTS_MAX).0);
        mailbox::events(channel.subscribe())
    }

    pub fn tell(&self, account: AccountId, event: MailboxEvent) {
        if let Some(channel) = self.channels().get(&account) {
            // Nobody listening is no error.
            let _ = channel.send(event);
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<AccountId, broadcast::Sender<MailboxEvent>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
