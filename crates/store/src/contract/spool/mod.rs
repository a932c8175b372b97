//! What every spool must do. An implementation's tests call [`all`], and [`all_durable`] when it outlives
//! its process.
//!
//! Time is a number here: nothing waits, except for events that must come, and those with a bound.

mod accept;
mod durable;
mod leases;
mod orders;
mod records;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postroad_types::{
    Address, BodyKind, ByMode, DeliverBy, EnhancedCode, EnvelopeOptions, QueueId, Reply, Ret, TraceId,
};

use crate::spool::{Attempt, Lease, Micros, NewEnvelope, QueuedMessage, RecipientState, Spool, SpoolEvent};

pub use durable::{Ground, all_durable};

/// One second, as the trait counts time.
const SECOND: Micros = 1_000_000;
/// The instant that these stories begin at.
const START: Micros = 1_700_000_000 * SECOND;
/// When their messages expire.
const EXPIRY: Micros = START + 5 * 86_400 * SECOND;

/// Runs the suite; `fresh` gives an empty spool each time.
pub async fn all<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Spool>>,
{
    accept::a_committed_message_is_there(fresh().await).await;
    accept::large_and_small_bodies_keep_every_octet(fresh().await).await;
    accept::a_dropped_message_leaves_nothing(fresh().await).await;
    accept::a_message_needs_a_recipient(fresh().await).await;
    accept::many_commits_at_once_are_all_there(fresh().await).await;
    leases::only_one_lease_at_a_time(fresh().await).await;
    leases::the_longest_due_comes_first(fresh().await).await;
    leases::a_lease_that_ran_out_goes_to_another(fresh().await).await;
    leases::a_released_message_is_due_as_before(fresh().await).await;
    leases::an_expired_message_is_due_even_when_held(fresh().await).await;
    records::done_recipients_end_the_message(fresh().await).await;
    records::a_deferred_recipient_waits(fresh().await).await;
    records::a_failed_recipient_owes_a_bounce(fresh().await).await;
    records::an_expansion_replaces_its_recipient(fresh().await).await;
    records::a_warning_is_remembered(fresh().await).await;
    records::changes_are_made_all_or_none(fresh().await).await;
    orders::held_mail_waits_for_its_release(fresh().await).await;
    orders::a_retry_makes_mail_due(fresh().await).await;
    orders::removed_mail_is_gone_and_its_lease_stale(fresh().await).await;
    orders::expired_by_order_is_due_at_once(fresh().await).await;
    orders::an_operators_route_is_kept(fresh().await).await;
    orders::filters_must_fit_in_all_they_name(fresh().await).await;
    orders::lists_go_page_by_page(fresh().await).await;
    orders::destinations_are_counted(fresh().await).await;
    orders::watchers_hear_of_everything(fresh().await).await;
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn envelope(recipients: &[&str]) -> NewEnvelope {
    NewEnvelope {
        trace_id: TraceId::new([7; 16]),
        reverse_path: "alice@alpha.test".parse().unwrap(),
        recipients: recipients.iter().map(|text| address(text).into()).collect(),
        body: BodyKind::EightBitMime,
        smtputf8: true,
        envelope_id: Some("QQ314159".into()),
        options: EnvelopeOptions {
            ret: Some(Ret::Headers),
            require_tls: true,
            priority: -4,
            deliver_by: Some(DeliverBy { at: START + SECOND, mode: ByMode::Notify, trace: true }),
        },
        accepted_at: START,
        expires_at: EXPIRY,
        first_attempt_at: START,
    }
}

fn attempt(at: Micros, code: u16) -> Attempt {
    let enhanced = EnhancedCode::new((code / 100) as u8, 1, 1);
    let reply = Reply::new(code, enhanced, "said the host\nin two lines");
    Attempt { at, host: "mx.beta.test [192.0.2.1]:25".into(), reply }
}

async fn accept(spool: &Arc<dyn Spool>, body: &[u8], envelope: NewEnvelope) -> QueueId {
    let mut message = spool.create(body.len() as u64).await.unwrap();
    let id = message.id().clone();
    for chunk in body.chunks(50_000) {
        message.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    assert_eq!(message.commit(envelope).await.unwrap(), id);
    id
}

async fn body(spool: &Arc<dyn Spool>, id: &QueueId) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let chunk = spool.read(id, octets.len() as u64, 40_000).await.unwrap();
        assert!(chunk.len() <= 40_000);
        if chunk.is_empty() {
            return octets;
        }
        octets.extend_from_slice(&chunk);
    }
}

/// The one message that is due at `now`.
async fn lease_one(spool: &Arc<dyn Spool>, now: Micros) -> Lease {
    let mut leases = spool.lease(now, 10, now + 60 * SECOND).await.unwrap();
    assert_eq!(leases.len(), 1, "one message should be due");
    leases.remove(0)
}

async fn nothing_due(spool: &Arc<dyn Spool>, now: Micros) {
    let leases = spool.lease(now, 10, now + 60 * SECOND).await.unwrap();
    assert!(leases.is_empty(), "nothing should be due, but {leases:?} is");
}

fn states(message: &QueuedMessage) -> Vec<RecipientState> {
    message.recipients.iter().map(|recipient| recipient.state).collect()
}

async fn next(events: &mut tokio::sync::broadcast::Receiver<SpoolEvent>) -> SpoolEvent {
    tokio::time::timeout(Duration::from_secs(10), events.recv()).await.unwrap().unwrap()
}

/// Octets that look like nothing else.
fn octets(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut octet = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| octet()).collect()
}
