//! Who works on what, and when.

use std::sync::Arc;

use super::{EXPIRY, SECOND, START, accept, attempt, envelope, lease_one, nothing_due};
use crate::error::StoreError;
use crate::spool::{Change, Filter, NewEnvelope, Order, Spool};

pub(super) async fn only_one_lease_at_a_time(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    assert_eq!(spool.next_due().await.unwrap(), Some(START));
    nothing_due(&spool, START - 1).await;
    let lease = lease_one(&spool, START).await;
    assert_eq!((&lease.message.id, lease.until), (&id, START + 60 * SECOND));
    assert_eq!(lease.message, spool.get(&id).await.unwrap());
    nothing_due(&spool, START + 59 * SECOND).await;
    assert_eq!(spool.next_due().await.unwrap(), None, "leased messages do not count");
}

pub(super) async fn the_longest_due_comes_first(spool: Arc<dyn Spool>) {
    let mut ids = Vec::new();
    for late in [3, 1, 2, 9] {
        let first_attempt_at = START + late * SECOND;
        let new = NewEnvelope { first_attempt_at, ..envelope(&["b@b.test"]) };
        ids.push(accept(&spool, b"x", new).await);
    }
    assert_eq!(spool.next_due().await.unwrap(), Some(START + SECOND));
    let leases = spool.lease(START + 5 * SECOND, 2, START + 60 * SECOND).await.unwrap();
    let order: Vec<_> = leases.iter().map(|lease| &lease.message.id).collect();
    assert_eq!(order, [&ids[1], &ids[2]], "the limit keeps the third");
    let leases = spool.lease(START + 5 * SECOND, 9, START + 60 * SECOND).await.unwrap();
    assert_eq!(leases.iter().map(|lease| &lease.message.id).collect::<Vec<_>>(), [&ids[0]]);
    assert_eq!(spool.next_due().await.unwrap(), Some(START + 9 * SECOND));
}

pub(super) async fn a_lease_that_ran_out_goes_to_another(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    let old = lease_one(&spool, START).await;
    let new = lease_one(&spool, old.until).await;
    assert!(new.token > old.token);
    let done = || vec![Change::Done { index: 0, attempt: attempt(START, 250) }];
    assert!(matches!(spool.record(&id, old.token, done()).await, Err(StoreError::Stale(_))));
    assert!(matches!(spool.release(&id, old.token).await, Err(StoreError::Stale(_))));
    assert_eq!(spool.get(&id).await.unwrap(), new.message, "a stale holder changes nothing");
    spool.record(&id, new.token, done()).await.unwrap();
    assert!(matches!(spool.record(&id, new.token, done()).await, Err(StoreError::Stale(_))));
    assert!(matches!(spool.get(&id).await, Err(StoreError::NotFound(_))));
}

pub(super) async fn a_released_message_is_due_as_before(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    let first = lease_one(&spool, START).await;
    spool.release(&id, first.token).await.unwrap();
    assert!(matches!(spool.release(&id, first.token).await, Err(StoreError::Stale(_))));
    assert_eq!(spool.next_due().await.unwrap(), Some(START));
    let second = lease_one(&spool, START).await;
    assert!(second.token > first.token);
    assert_eq!(second.message, first.message);
}

pub(super) async fn an_expired_message_is_due_even_when_held(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    spool.order(&Filter::default(), Order::Hold, START).await.unwrap();
    nothing_due(&spool, EXPIRY - 1).await;
    assert_eq!(spool.next_due().await.unwrap(), Some(EXPIRY));
    assert_eq!(lease_one(&spool, EXPIRY).await.message.id, id);
}
