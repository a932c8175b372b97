//! What each change makes of a message.

use std::sync::Arc;

use super::{EXPIRY, SECOND, START, accept, address, attempt, envelope, lease_one, nothing_due, states};
use crate::error::StoreError;
use crate::spool::RecipientState::{Done, Failed, Waiting};
use crate::spool::{Change, Filter, NewRecipient, Spool};

pub(super) async fn done_recipients_end_the_message(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test", "c@c.test"])).await;
    let lease = lease_one(&spool, START).await;
    let done = |index| vec![Change::Done { index, attempt: attempt(START + 1, 250) }];
    spool.record(&id, lease.token, done(1)).await.unwrap();
    let message = spool.get(&id).await.unwrap();
    assert_eq!(states(&message), [Waiting, Done]);
    assert_eq!((message.recipients[1].attempts, message.recipients[0].attempts), (1, 0));
    assert_eq!(message.recipients[1].last, Some(attempt(START + 1, 250)));
    assert_eq!(spool.report().await.unwrap().recipients, 1);
    nothing_due(&spool, START + 1).await;
    spool.record(&id, lease.token, done(0)).await.unwrap();
    assert!(matches!(spool.get(&id).await, Err(StoreError::NotFound(_))));
    assert!(matches!(spool.read(&id, 0, 1).await, Err(StoreError::NotFound(_))));
    assert!(spool.list(&Filter::default(), None, 1).await.unwrap().is_empty());
    let report = spool.report().await.unwrap();
    assert_eq!((report.messages, report.recipients, report.octets), (0, 0, 0));
}

pub(super) async fn a_deferred_recipient_waits(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test", "c@c.test"])).await;
    let later = |index, seconds: i64| Change::Defer {
        index,
        attempt: attempt(START, 451),
        next_attempt_at: START + seconds * SECOND,
    };
    let lease = lease_one(&spool, START).await;
    spool.record(&id, lease.token, vec![later(0, 300), later(1, 200)]).await.unwrap();
    assert_eq!(spool.next_due().await.unwrap(), None, "the lease goes on");
    spool.release(&id, lease.token).await.unwrap();
    assert_eq!(spool.next_due().await.unwrap(), Some(START + 200 * SECOND));
    nothing_due(&spool, START + 199 * SECOND).await;
    let lease = lease_one(&spool, START + 200 * SECOND).await;
    assert_eq!(states(&lease.message), [Waiting, Waiting]);
    assert_eq!(lease.message.recipients[0].attempts, 1);
    assert_eq!(lease.message.recipients[0].next_attempt_at, START + 300 * SECOND);
    assert_eq!(lease.message.recipients[1].last, Some(attempt(START, 451)));
    // A next attempt beyond the end of the message's time: it is due when that ends.
    spool.record(&id, lease.token, vec![later(0, 9_000_000), later(1, 9_000_000)]).await.unwrap();
    spool.release(&id, lease.token).await.unwrap();
    assert_eq!(spool.next_due().await.unwrap(), Some(EXPIRY));
}

pub(super) async fn a_failed_recipient_owes_a_bounce(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test", "c@c.test"])).await;
    let lease = lease_one(&spool, START).await;
    let changes = vec![
        Change::Fail { index: 0, attempt: attempt(START, 550) },
        Change::Done { index: 1, attempt: attempt(START, 250) },
    ];
    spool.record(&id, lease.token, changes).await.unwrap();
    spool.release(&id, lease.token).await.unwrap();
    let lease = lease_one(&spool, START).await;
    assert_eq!(states(&lease.message), [Failed, Done]);
    assert_eq!(spool.report().await.unwrap().recipients, 1, "a bounce is owed");
    spool.record(&id, lease.token, vec![Change::Bounced { index: 0 }]).await.unwrap();
    assert!(matches!(spool.get(&id).await, Err(StoreError::NotFound(_))));
}

pub(super) async fn an_expansion_replaces_its_recipient(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["team@b.test"])).await;
    let lease = lease_one(&spool, START).await;
    let new = |text: &str| NewRecipient { original: Some("team@b.test".into()), ..address(text).into() };
    let expand = Change::Expand {
        index: 0,
        attempt: attempt(START, 250),
        into: vec![new("b@b.test"), new("c@c.test")],
        next_attempt_at: START + 5,
    };
    // A change after it may speak of the new ones.
    let done = Change::Done { index: 2, attempt: attempt(START, 250) };
    spool.record(&id, lease.token, vec![expand, done, Change::Bounced { index: 1 }]).await.unwrap();
    assert!(spool.get(&id).await.is_err(), "all three are final");

    let id = accept(&spool, b"x", envelope(&["team@b.test"])).await;
    let lease = lease_one(&spool, START).await;
    let expand = Change::Expand {
        index: 0,
        attempt: attempt(START, 250),
        into: vec![new("b@b.test"), new("c@c.test")],
        next_attempt_at: START + 5,
    };
    spool.record(&id, lease.token, vec![expand]).await.unwrap();
    spool.release(&id, lease.token).await.unwrap();
    let message = spool.get(&id).await.unwrap();
    assert_eq!(states(&message), [Done, Waiting, Waiting]);
    assert_eq!(message.recipients[2].address, address("c@c.test"));
    assert_eq!(message.recipients[2].original.as_deref(), Some("team@b.test"));
    assert_eq!((message.recipients[1].attempts, message.recipients[1].next_attempt_at), (0, START + 5));
    assert_eq!(spool.next_due().await.unwrap(), Some(START + 5));
    let lease = lease_one(&spool, START + 5).await;
    let rest = vec![Change::Bounced { index: 1 }, Change::Done { index: 2, attempt: attempt(START, 250) }];
    spool.record(&id, lease.token, rest).await.unwrap();
    assert!(spool.get(&id).await.is_err());
}

pub(super) async fn a_warning_is_remembered(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    let lease = lease_one(&spool, START).await;
    spool.record(&id, lease.token, vec![Change::Warned]).await.unwrap();
    spool.release(&id, lease.token).await.unwrap();
    assert!(lease_one(&spool, START).await.message.warned);
}

pub(super) async fn changes_are_made_all_or_none(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test", "c@c.test"])).await;
    let lease = lease_one(&spool, START).await;
    let done = |index| Change::Done { index, attempt: attempt(START, 250) };
    for wrong in [vec![done(0), done(2)], vec![done(0), done(0)], vec![done(1), Change::Bounced { index: 1 }]]
    {
        assert!(matches!(spool.record(&id, lease.token, wrong).await, Err(StoreError::Invalid(_))));
        assert_eq!(spool.get(&id).await.unwrap(), lease.message);
    }
    spool.record(&id, lease.token, vec![done(0)]).await.unwrap();
    let again = spool.record(&id, lease.token, vec![done(1), done(0)]).await;
    assert!(matches!(again, Err(StoreError::Invalid(_))));
    assert_eq!(states(&spool.get(&id).await.unwrap()), [Done, Waiting]);
}
