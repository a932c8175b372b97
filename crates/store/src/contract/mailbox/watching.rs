//! Watchers.

use std::time::Duration;

use futures_util::StreamExt;

use super::{ALL, Stage, name};
use crate::mailbox::{FlagChange, FlagOrder, Flags, MailboxEvent};

/// Longer than any store takes, so that a test that fails ends.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn watchers_hear_of_changes(stage: &Stage) {
    let mut events = stage.store.watch(stage.alice);
    let mut of_bob = stage.store.watch(stage.bob);
    let mut next = async || tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    let inbox = name("INBOX");

    stage.put("INBOX", "x").await;
    let MailboxEvent::Folder { name: told, mod_seq: delivered } = next().await else { panic!("a folder") };
    assert_eq!(told, inbox);
    assert_eq!(delivered, stage.mod_seq("INBOX").await);

    let order = FlagOrder {
        change: FlagChange::Add,
        flags: Flags { deleted: true, ..Flags::default() },
        unchanged_since: 0,
    };
    stage.store.store_flags(stage.alice, &inbox, 0, &ALL, &order).await.unwrap();
    assert!(matches!(next().await, MailboxEvent::Folder { mod_seq, .. } if mod_seq > delivered));
    stage.store.expunge(stage.alice, &inbox, 0, None).await.unwrap();
    let mod_seq = stage.mod_seq("INBOX").await;
    assert_eq!(next().await, MailboxEvent::Folder { name: inbox.clone(), mod_seq });
    stage.store.create_folder(stage.alice, &name("A"), None).await.unwrap();
    assert_eq!(next().await, MailboxEvent::Folders);

    // Nothing of this was bob's; his own comes first.
    let body = super::Octets("y".into());
    stage.store.store(stage.bob, super::mail("INBOX"), &body).await.unwrap();
    let first = tokio::time::timeout(PATIENCE, of_bob.next()).await.unwrap().unwrap();
    let mod_seq = stage.store.numbers(stage.bob, &inbox).await.unwrap().highest_mod_seq;
    assert_eq!(first, MailboxEvent::Folder { name: inbox, mod_seq });
}
