//! Accepting a message.

use std::sync::Arc;

use bytes::Bytes;
use postroad_types::Notify;

use super::{START, accept, address, body, envelope, nothing_due, octets};
use crate::error::StoreError;
use crate::spool::{Filter, NewRecipient, QueuedMessage, QueuedRecipient, RecipientState, Spool};

pub(super) async fn a_committed_message_is_there(spool: Arc<dyn Spool>) {
    let mut wanted = envelope(&["bob@beta.test"]);
    wanted.recipients.push(NewRecipient {
        address: address("\"c d\"@[192.0.2.7]"),
        original: Some("rfc822;carol@beta.test".into()),
        notify: Notify::On { success: true, failure: true, delay: false },
    });
    let id = accept(&spool, b"Subject: x\r\n\r\nbody\r\n", wanted.clone()).await;
    let recipient = |new: &NewRecipient| QueuedRecipient {
        address: new.address.clone(),
        original: new.original.clone(),
        notify: new.notify,
        route: None,
        state: RecipientState::Waiting,
        attempts: 0,
        next_attempt_at: START,
        last: None,
    };
    let queued = QueuedMessage {
        id: id.clone(),
        trace_id: wanted.trace_id,
        reverse_path: wanted.reverse_path,
        body: wanted.body,
        smtputf8: wanted.smtputf8,
        envelope_id: wanted.envelope_id,
        options: wanted.options,
        size_octets: 20,
        accepted_at: wanted.accepted_at,
        expires_at: wanted.expires_at,
        warned: false,
        recipients: wanted.recipients.iter().map(recipient).collect(),
    };
    assert_eq!(spool.get(&id).await.unwrap(), queued);
    assert_eq!(body(&spool, &id).await, b"Subject: x\r\n\r\nbody\r\n");
    let report = spool.report().await.unwrap();
    assert_eq!((report.messages, report.recipients, report.octets), (1, 2, 20));
}

pub(super) async fn large_and_small_bodies_keep_every_octet(spool: Arc<dyn Spool>) {
    for (seed, length) in [0, 1, 4095, 65_535, 65_536, 65_537, 200_000, 3_000_000].into_iter().enumerate() {
        let written = octets(length, seed as u64);
        let id = accept(&spool, &written, envelope(&["bob@beta.test"])).await;
        assert!(body(&spool, &id).await == written, "{length} octets changed");
        assert_eq!(spool.get(&id).await.unwrap().size_octets, length as u64);
        // From the middle, over the end, and behind it.
        let from = length / 2;
        let part = spool.read(&id, from as u64, 100_000).await.unwrap();
        assert!(written.get(from..).unwrap().starts_with(&part) && (length == 0 || !part.is_empty()));
        assert!(spool.read(&id, length as u64 + 1, 10).await.unwrap().is_empty());
    }
}

pub(super) async fn a_dropped_message_leaves_nothing(spool: Arc<dyn Spool>) {
    for length in [10, 500_000] {
        let mut message = spool.create(length).await.unwrap();
        let id = message.id().clone();
        message.write(Bytes::from(octets(length as usize, 1))).await.unwrap();
        drop(message);
        assert!(matches!(spool.get(&id).await, Err(StoreError::NotFound(_))));
        assert!(matches!(spool.read(&id, 0, 1).await, Err(StoreError::NotFound(_))));
    }
    assert!(spool.list(&Filter::default(), None, 10).await.unwrap().is_empty());
    assert_eq!(spool.next_due().await.unwrap(), None);
    nothing_due(&spool, START).await;
    assert_eq!(spool.report().await.unwrap().messages, 0);
}

pub(super) async fn a_message_needs_a_recipient(spool: Arc<dyn Spool>) {
    let message = spool.create(0).await.unwrap();
    assert!(matches!(message.commit(envelope(&[])).await, Err(StoreError::Invalid(_))));
    assert_eq!(spool.report().await.unwrap().messages, 0);
}

pub(super) async fn many_commits_at_once_are_all_there(spool: Arc<dyn Spool>) {
    let accepting = (0..50).map(|n| {
        let spool = spool.clone();
        tokio::spawn(
            async move { (accept(&spool, &octets(n * 911, n as u64), envelope(&["b@b.test"])).await, n) },
        )
    });
    let accepting: Vec<_> = accepting.collect();
    for one in accepting {
        let (id, n) = one.await.unwrap();
        assert!(body(&spool, &id).await == octets(n * 911, n as u64));
    }
    assert_eq!(spool.list(&Filter::default(), None, 100).await.unwrap().len(), 50);
}
