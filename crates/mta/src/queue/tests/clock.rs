//! The time of day is set by somebody else.

use std::time::Duration;

use super::{LATER, notices};
use crate::testing::{Does, world};

const DAY: i64 = 86_400;

#[tokio::test(start_paused = true)]
async fn set_forward_by_a_week_it_bounces_nothing_untried() {
    let world = world().await;
    world.hosts.script("carol@beta.test", &[LATER, LATER, Does::Takes]);
    world.send(&["carol@beta.test"]).await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(world.hosts.attempts.lock().unwrap().len(), 2);
    world.clock.jump(7 * DAY);
    world.until_empty().await;
    assert_eq!(world.hosts.received(), ["carol@beta.test"], "one more attempt, which succeeds");
    assert!(notices(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn set_forward_it_gives_up_after_that_attempt() {
    let world = world().await;
    world.hosts.script("carol@beta.test", &[LATER]);
    world.send(&["carol@beta.test"]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.clock.jump(7 * DAY);
    world.until_empty().await;
    assert_eq!(world.hosts.attempts.lock().unwrap().len(), 2);
    let notices = notices(&world);
    assert!(notices.last().unwrap().contains("Action: failed"), "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn set_back_by_a_year_it_lets_nothing_wait_for_a_year() {
    let world = world().await;
    world.hosts.script("carol@beta.test", &[LATER, Does::Takes]);
    world.send(&["carol@beta.test"]).await;
    let held = world
        .send_with("alice@alpha.test", &["dave@gamma.test"], b"Subject: held\r\n\r\n", |envelope| {
            envelope.first_attempt_at += 3_600_000_000;
        })
        .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.clock.jump(-365 * DAY);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.hosts.received(), ["carol@beta.test"]);
    let left: Vec<_> = world.messages().await.into_iter().map(|message| message.id).collect();
    assert_eq!(left, [held], "what its sender holds stays");
}
