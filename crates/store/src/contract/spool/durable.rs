//! What a spool that outlives its process must still know.

use std::sync::Arc;

use async_trait::async_trait;

use super::{SECOND, START, accept, address, attempt, body, envelope, lease_one, octets, states};
use crate::error::StoreError;
use crate::spool::RecipientState::{Done, Failed, Held, Waiting};
use crate::spool::{Change, Filter, NewRecipient, Order, Spool};

/// Where a spool lies between its processes.
#[async_trait]
pub trait Ground: Send + Sync {
    /// Opens the spool; the one opened before was dropped.
    async fn open(&self) -> Arc<dyn Spool>;
}

/// Runs the part of the suite that closes and opens again; `fresh` gives an empty ground each time.
pub async fn all_durable(fresh: impl Fn() -> Box<dyn Ground>) {
    messages_and_their_states_are_there_again(fresh()).await;
    leases_are_void_after_opening(fresh()).await;
    what_left_stays_away(fresh()).await;
    opening_again_and_again_changes_nothing(fresh()).await;
}

async fn messages_and_their_states_are_there_again(ground: Box<dyn Ground>) {
    let spool = ground.open().await;
    let recipients = ["a@a.test", "b@b.test", "c@c.test", "team@d.test"];
    let big = accept(&spool, &octets(700_000, 3), envelope(&recipients)).await;
    let small = accept(&spool, b"small", envelope(&["b@b.test"])).await;
    let leases = spool.lease(START, 10, START + SECOND).await.unwrap();
    let lease = leases.iter().find(|lease| lease.message.id == big).unwrap();
    let into = vec![NewRecipient { original: Some("team@d.test".into()), ..address("e@e.test").into() }];
    let changes = vec![
        Change::Done { index: 0, attempt: attempt(START, 250) },
        Change::Fail { index: 1, attempt: attempt(START, 550) },
        Change::Defer { index: 2, attempt: attempt(START, 451), next_attempt_at: START + 9 * SECOND },
        Change::Expand { index: 3, attempt: attempt(START, 250), into, next_attempt_at: START + SECOND },
        Change::Warned,
    ];
    spool.record(&big, lease.token, changes).await.unwrap();
    let filter = Filter { ids: vec![small.clone()], ..Filter::default() };
    spool.order(&filter, Order::Hold, START).await.unwrap();
    let before = spool.list(&Filter::default(), None, 10).await.unwrap();
    spool.flush().await.unwrap();
    drop(spool);

    let spool = ground.open().await;
    assert_eq!(spool.list(&Filter::default(), None, 10).await.unwrap(), before);
    let message = spool.get(&big).await.unwrap();
    assert_eq!(states(&message), [Done, Failed, Waiting, Done, Waiting]);
    assert!(message.warned);
    assert_eq!(states(&spool.get(&small).await.unwrap()), [Held]);
    assert!(body(&spool, &big).await == octets(700_000, 3));
    assert_eq!(body(&spool, &small).await, b"small");
    let report = spool.report().await.unwrap();
    assert_eq!((report.messages, report.recipients, report.octets), (2, 4, 700_005));
    assert_eq!((report.torn_tails, report.damaged), (0, vec![]));
}

async fn leases_are_void_after_opening(ground: Box<dyn Ground>) {
    let spool = ground.open().await;
    let id = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    let old = lease_one(&spool, START).await;
    drop(spool);
    let spool = ground.open().await;
    assert!(matches!(spool.record(&id, old.token, vec![Change::Warned]).await, Err(StoreError::Stale(_))));
    assert_eq!(spool.next_due().await.unwrap(), Some(START));
    let new = lease_one(&spool, START).await;
    assert!(new.token > old.token, "tokens grow over restarts");
    assert!(matches!(spool.release(&id, old.token).await, Err(StoreError::Stale(_))));
    spool.release(&id, new.token).await.unwrap();
}

async fn what_left_stays_away(ground: Box<dyn Ground>) {
    let spool = ground.open().await;
    let done = accept(&spool, &octets(90_000, 5), envelope(&["b@b.test"])).await;
    let lease = lease_one(&spool, START).await;
    let change = Change::Done { index: 0, attempt: attempt(START, 250) };
    spool.record(&done, lease.token, vec![change]).await.unwrap();
    let removed = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    spool.order(&Filter::default(), Order::Remove, START).await.unwrap();
    let mut dropped = spool.create(0).await.unwrap();
    let never = dropped.id().clone();
    dropped.write(octets(90_000, 5).into()).await.unwrap();
    drop(dropped);
    spool.flush().await.unwrap();
    drop(spool);
    let spool = ground.open().await;
    for id in [done, removed, never] {
        assert!(matches!(spool.get(&id).await, Err(StoreError::NotFound(_))));
    }
    assert_eq!(spool.report().await.unwrap().messages, 0);
}

async fn opening_again_and_again_changes_nothing(ground: Box<dyn Ground>) {
    let mut kept = Vec::new();
    for round in 0..5u64 {
        let spool = ground.open().await;
        for (seed, id) in &kept {
            assert!(body(&spool, id).await == octets(30_000, *seed));
        }
        kept.push((round, accept(&spool, &octets(30_000, round), envelope(&["b@b.test"])).await));
        assert_eq!(spool.report().await.unwrap().messages, round + 1);
    }
}
