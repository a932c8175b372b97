//! What an operator does, and sees.

use std::sync::Arc;

use postroad_types::ReversePath;

use super::{SECOND, START, accept, address, attempt, body, envelope, lease_one, next, nothing_due, states};
use crate::error::StoreError;
use crate::spool::RecipientState::{Done, Held, Waiting};
use crate::spool::{Change, Filter, NewEnvelope, Order, Spool, SpoolEvent};

fn by_id(id: &postroad_types::QueueId) -> Filter {
    Filter { ids: vec![id.clone()], ..Filter::default() }
}

pub(super) async fn held_mail_waits_for_its_release(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test", "c@c.test"])).await;
    let other = accept(&spool, b"y", envelope(&["b@b.test"])).await;
    assert_eq!(spool.order(&by_id(&id), Order::Hold, START).await.unwrap(), std::slice::from_ref(&id));
    assert_eq!(states(&spool.get(&id).await.unwrap()), [Held, Held]);
    assert_eq!(lease_one(&spool, START).await.message.id, other);
    let now = START + 7 * SECOND;
    spool.order(&by_id(&id), Order::Retry, now).await.unwrap();
    nothing_due(&spool, now).await;
    spool.order(&by_id(&id), Order::Release, now).await.unwrap();
    let lease = lease_one(&spool, now).await;
    assert_eq!(lease.message.recipients[0].next_attempt_at, now);
    // Under a lease too; and what is held stays so when the attempt under way was in vain.
    spool.order(&by_id(&id), Order::Hold, now).await.unwrap();
    let defer = Change::Defer { index: 0, attempt: attempt(now, 451), next_attempt_at: now };
    let done = Change::Done { index: 1, attempt: attempt(now, 250) };
    spool.record(&id, lease.token, vec![defer, done]).await.unwrap();
    spool.release(&id, lease.token).await.unwrap();
    assert_eq!(states(&spool.get(&id).await.unwrap()), [Held, Done]);
    nothing_due(&spool, now).await;
}

pub(super) async fn a_retry_makes_mail_due(spool: Arc<dyn Spool>) {
    let first_attempt_at = START + 1000 * SECOND;
    let id = accept(&spool, b"x", NewEnvelope { first_attempt_at, ..envelope(&["b@b.test"]) }).await;
    nothing_due(&spool, START).await;
    assert_eq!(spool.order(&Filter::default(), Order::Retry, START).await.unwrap(), [id]);
    lease_one(&spool, START).await;
}

pub(super) async fn removed_mail_is_gone_and_its_lease_stale(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    let kept = accept(&spool, b"kept", envelope(&["c@c.test"])).await;
    let leases = spool.lease(START, 10, START + SECOND).await.unwrap();
    let lease = leases.iter().find(|lease| lease.message.id == id).unwrap();
    let filter = Filter { domain: Some("b.test".into()), ..Filter::default() };
    assert_eq!(spool.order(&filter, Order::Remove, START).await.unwrap(), std::slice::from_ref(&id));
    assert!(matches!(spool.get(&id).await, Err(StoreError::NotFound(_))));
    let record = spool.record(&id, lease.token, vec![Change::Warned]).await;
    assert!(matches!(record, Err(StoreError::Stale(_))));
    assert!(matches!(spool.release(&id, lease.token).await, Err(StoreError::Stale(_))));
    assert!(spool.order(&by_id(&id), Order::Remove, START).await.unwrap().is_empty());
    assert_eq!(body(&spool, &kept).await, b"kept");
}

pub(super) async fn expired_by_order_is_due_at_once(spool: Arc<dyn Spool>) {
    let first_attempt_at = START + 1000 * SECOND;
    let id = accept(&spool, b"x", NewEnvelope { first_attempt_at, ..envelope(&["b@b.test"]) }).await;
    spool.order(&by_id(&id), Order::Expire, START + 3).await.unwrap();
    let lease = lease_one(&spool, START + 3).await;
    assert_eq!((lease.message.id, lease.message.expires_at), (id, START + 3));
}

pub(super) async fn an_operators_route_is_kept(spool: Arc<dyn Spool>) {
    let id = accept(&spool, b"x", envelope(&["b@b.test", "c@c.test"])).await;
    let lease = lease_one(&spool, START).await;
    let done = Change::Done { index: 0, attempt: attempt(START, 250) };
    let defer =
        Change::Defer { index: 1, attempt: attempt(START, 451), next_attempt_at: START + 60 * SECOND };
    spool.record(&id, lease.token, vec![done, defer]).await.unwrap();
    spool.release(&id, lease.token).await.unwrap();
    let reroute = |route: Option<&str>| Order::Reroute(route.map(Into::into));
    let ordered = spool.order(&by_id(&id), reroute(Some("smtp://relay.test:25")), START + SECOND).await;
    assert_eq!(ordered.unwrap(), std::slice::from_ref(&id));
    let lease = lease_one(&spool, START + SECOND).await;
    let routes: Vec<_> = lease.message.recipients.iter().map(|r| r.route.as_deref()).collect();
    assert_eq!(routes, [None, Some("smtp://relay.test:25")], "what is final stays as it is");
    spool.order(&by_id(&id), reroute(None), START + SECOND).await.unwrap();
    assert_eq!(spool.get(&id).await.unwrap().recipients[1].route, None);
}

pub(super) async fn filters_must_fit_in_all_they_name(spool: Arc<dyn Spool>) {
    let one = accept(&spool, b"x", envelope(&["b@b.test", "c@C.test"])).await;
    let bounce = NewEnvelope { reverse_path: ReversePath::Null, ..envelope(&["b@b.test"]) };
    let two = accept(&spool, b"x", bounce).await;
    let literal = accept(&spool, b"x", envelope(&["d@[192.0.2.9]"])).await;
    let lease = spool.lease(START, 1, START + SECOND).await.unwrap().remove(0);
    assert_eq!(lease.message.id, one);
    let done = Change::Done { index: 1, attempt: attempt(START, 250) };
    spool.record(&one, lease.token, vec![done]).await.unwrap();

    let found = async |filter: Filter| -> Vec<_> {
        let all = spool.list(&filter, None, 10).await.unwrap();
        all.into_iter().map(|message| message.id).collect()
    };
    let any = Filter::default;
    assert_eq!(found(any()).await.len(), 3);
    assert_eq!(found(Filter { sender: Some(ReversePath::Null), ..any() }).await, std::slice::from_ref(&two));
    let b = || Some(address("b@B.TEST"));
    assert_eq!(found(Filter { recipient: b(), ..any() }).await, [one.clone(), two.clone()]);
    assert_eq!(
        found(Filter { recipient: b(), ids: vec![two.clone()], ..any() }).await,
        std::slice::from_ref(&two)
    );
    assert_eq!(found(Filter { domain: Some("b.test".into()), ..any() }).await, [one.clone(), two]);
    let finished = Filter { domain: Some("c.test".into()), ..any() };
    assert!(found(finished).await.is_empty(), "that recipient is final");
    assert_eq!(found(Filter { domain: Some("[192.0.2.9]".into()), ..any() }).await, [literal]);
    assert_eq!(found(Filter { state: Some(Done), ..any() }).await, std::slice::from_ref(&one));
    let both = Filter { recipient: b(), state: Some(Done), ..any() };
    assert!(found(both).await.is_empty(), "one recipient must have all that is asked of one");
    assert!(found(Filter { state: Some(Held), ..any() }).await.is_empty());
    assert!(found(Filter { accepted_before: Some(START), ..any() }).await.is_empty());
    assert_eq!(found(Filter { accepted_before: Some(START + 1), ..any() }).await.len(), 3);
    assert_eq!(found(Filter { accepted_since: Some(START), ..any() }).await.len(), 3);
    assert!(found(Filter { accepted_since: Some(START + 1), ..any() }).await.is_empty());
    let said = |text: &str| Filter { reply: Some(text.into()), ..any() };
    assert!(found(said("host")).await.is_empty(), "it was said about a recipient that is final");
    let defer = Change::Defer { index: 0, attempt: attempt(START, 451), next_attempt_at: START + SECOND };
    spool.record(&one, lease.token, vec![defer]).await.unwrap();
    assert_eq!(found(said("SAID the host")).await, [one]);
    assert!(found(said("something else")).await.is_empty());
}

pub(super) async fn lists_go_page_by_page(spool: Arc<dyn Spool>) {
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(accept(&spool, b"x", envelope(&["b@b.test"])).await);
    }
    ids.sort();
    let mut seen = Vec::new();
    loop {
        let page = spool.list(&Filter::default(), seen.last(), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|message| message.id));
    }
    assert_eq!(seen, ids);
    assert!(spool.list(&Filter::default(), None, 0).await.unwrap().is_empty());
    let named = Filter { ids: ids.iter().rev().cloned().collect(), ..Filter::default() };
    let page = spool.list(&named, Some(&ids[1]), 2).await.unwrap();
    assert_eq!(page.iter().map(|message| &message.id).collect::<Vec<_>>(), [&ids[2], &ids[3]]);
}

pub(super) async fn destinations_are_counted(spool: Arc<dyn Spool>) {
    assert!(spool.destinations(START).await.unwrap().is_empty());
    let id = accept(&spool, b"x", envelope(&["b@b.test", "c@B.test", "d@d.test"])).await;
    let younger =
        NewEnvelope { accepted_at: START + 9, first_attempt_at: START + 9, ..envelope(&["e@b.test"]) };
    let held = accept(&spool, b"x", younger).await;
    spool.order(&by_id(&held), Order::Hold, START).await.unwrap();
    let lease = lease_one(&spool, START).await;
    let defer = |index| Change::Defer { index, attempt: attempt(START, 451), next_attempt_at: START + 4 };
    let done = Change::Done { index: 2, attempt: attempt(START, 250) };
    spool.record(&id, lease.token, vec![defer(0), defer(1), done]).await.unwrap();
    let counted = spool.destinations(START + 6 * 60 * SECOND).await.unwrap();
    assert_eq!(counted.len(), 1, "nothing waits for d.test");
    let b = counted.first().unwrap();
    assert_eq!((b.domain.as_str(), b.recipients, b.held), ("b.test", 3, 1));
    assert_eq!((b.oldest_at, b.next_attempt_at), (START, START + 4));
    assert_eq!(b.last_reply, Some(attempt(START, 451).reply));
    assert_eq!(b.ages, [0, 3, 0, 0, 0, 0, 0, 0, 0, 0], "between five and ten minutes");
}

pub(super) async fn watchers_hear_of_everything(spool: Arc<dyn Spool>) {
    let mut events = spool.watch();
    let id = accept(&spool, b"x", envelope(&["b@b.test"])).await;
    assert_eq!(next(&mut events).await, SpoolEvent::Accepted(id.clone()));
    let lease = lease_one(&spool, START).await;
    spool.record(&id, lease.token, vec![Change::Warned]).await.unwrap();
    assert_eq!(next(&mut events).await, SpoolEvent::Changed(id.clone()));
    spool.order(&by_id(&id), Order::Hold, START).await.unwrap();
    assert_eq!(next(&mut events).await, SpoolEvent::Changed(id.clone()));
    assert_eq!(states(&spool.get(&id).await.unwrap()), [Held]);
    spool.order(&by_id(&id), Order::Release, START).await.unwrap();
    assert_eq!(next(&mut events).await, SpoolEvent::Changed(id.clone()));
    assert_eq!(states(&spool.get(&id).await.unwrap()), [Waiting]);
    let done = Change::Done { index: 0, attempt: attempt(START, 250) };
    spool.record(&id, lease.token, vec![done]).await.unwrap();
    assert_eq!(next(&mut events).await, SpoolEvent::Gone(id));
}
