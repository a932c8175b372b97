//! Scenes from the life of a queue, in simulated time.

mod clock;
mod operator;
mod reports;

use std::time::Duration;

use postroad_store::spool::{Filter, Order, RecipientState, Spool};
use postroad_types::limits;
use tokio::time::Instant;

use crate::clock::now;
use crate::testing::{Does, World, settings, world, world_with};

const LATER: Does = Does::Says(451, (4, 3, 0), "later");
const NO_SUCH: Does = Does::Says(550, (5, 1, 1), "no such user");

fn text(content: &bytes::Bytes) -> String {
    String::from_utf8(content.to_vec()).unwrap()
}

/// The notices that alice got.
fn notices(world: &World) -> Vec<String> {
    let got = world.mda.got.lock().unwrap();
    got.iter().filter(|d| d.from.is_empty()).map(|d| text(&d.content)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_fresh_message_goes_out_at_once() {
    let world = world().await;
    let id = world.send(&["carol@beta.test", "bob@alpha.test"]).await;
    let begun = Instant::now();
    while world.hosts.received().is_empty() || world.mda.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(begun.elapsed() < Duration::from_millis(20), "it waits for a poll");
    }
    assert_eq!(world.until_empty().await, Duration::ZERO);
    assert_eq!(world.hosts.received(), ["carol@beta.test"]);
    assert_eq!(world.mda.received(), ["bob@alpha.test"]);
    let steps = world.steps(&id);
    assert_eq!(steps.iter().filter(|s| *s == "delivered").count(), 2, "{steps:?}");
    assert_eq!(steps.iter().filter(|s| *s == "dns").count(), 3, "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn five_days_of_retries_end_in_a_bounce() {
    let world = world().await;
    world.hosts.script("carol@beta.test", &[LATER]);
    world.send(&["carol@beta.test"]).await;
    let took = world.until_empty().await;
    let days = took.as_secs_f64() / 86_400.0;
    assert!((4.99..5.01).contains(&days), "{days} days");

    let attempts = world.hosts.attempts.lock().unwrap().clone();
    let waits: Vec<f64> = attempts.windows(2).map(|w| (w[1].0 - w[0].0).as_secs_f64()).collect();
    assert!((47.0..=61.0).contains(&waits[0]), "the first wait is {} s", waits[0]);
    for pair in waits.windows(2) {
        assert!(pair[1] <= 1801.0, "a wait of {} s", pair[1]);
    }
    assert!(waits[7] > 600.0 && waits.len() > 230, "{} attempts, {waits:?}", attempts.len());

    let notices = notices(&world);
    assert_eq!(notices.len(), 2, "one warning, one bounce");
    assert!(
        notices[0].contains("Action: delayed") && notices[0].contains("STILL BEING TRIED"),
        "{}",
        notices[0]
    );
    assert!(notices[1].contains("Action: failed") && notices[1].contains("Status: 4.4.7"), "{}", notices[1]);
}

#[tokio::test(start_paused = true)]
async fn recipients_fare_each_on_their_own() {
    let world = world().await;
    world.hosts.script("nobody@beta.test", &[NO_SUCH]);
    world.hosts.script("slow@beta.test", &[LATER, LATER, Does::Takes]);
    let id = world
        .send(&["carol@beta.test", "nobody@beta.test", "slow@beta.test", "x@nowhere.test", "x@null.test"])
        .await;
    world.until_empty().await;
    assert_eq!(world.hosts.received(), ["carol@beta.test", "slow@beta.test"]);
    let notices = notices(&world);
    assert_eq!(notices.len(), 1, "what failed together is told together");
    for expected in [
        "Final-Recipient: rfc822; nobody@beta.test\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.beta.test",
        "Final-Recipient: rfc822; x@nowhere.test\r\nAction: failed\r\nStatus: 5.1.2",
        "Final-Recipient: rfc822; x@null.test\r\nAction: failed\r\nStatus: 5.1.10\r\nDiagnostic-Code: X-Postroad; 556",
        "References: <1@alpha.test>",
        "Subject: hello",
    ] {
        assert!(notices[0].contains(expected), "{expected:?} is missing in {}", notices[0]);
    }
    assert!(!notices[0].contains("carol"));
    assert!(world.steps(&id).contains(&"bounced".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_bounce_of_a_bounce_stops() {
    let world = world().await;
    world.hosts.script("gone@beta.test", &[NO_SUCH]);
    world.send_from("gone@beta.test", &["x@nowhere.test"], b"\r\n").await;
    world.until_empty().await;
    assert!(world.hosts.received().is_empty() && world.mda.received().is_empty());
    assert_eq!(world.hosts.attempts.lock().unwrap().len(), 1, "the bounce was tried once, and that is all");
}

#[tokio::test(start_paused = true)]
async fn mda_down_in_the_middle_is_made_good_by_a_retry() {
    let world = world().await;
    world.mda.script("bob@alpha.test", &[Does::IsDown, Does::IsDown, Does::Takes]);
    world.send(&["bob@alpha.test"]).await;
    world.until_empty().await;
    assert_eq!(world.mda.received(), ["bob@alpha.test"]);
    assert!(notices(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_the_directory_mail_waits_and_then_goes() {
    let world = world().await;
    world.directory.set_down(true);
    world.send(&["carol@beta.test"]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let waiting = world.messages().await;
    let last = waiting[0].recipients[0].last.clone().unwrap();
    assert_eq!((last.reply.code, last.host.as_str()), (451, "postroad"));
    world.directory.set_down(false);
    world.until_empty().await;
    assert_eq!(world.hosts.received(), ["carol@beta.test"]);
}

#[tokio::test(start_paused = true)]
async fn an_alias_goes_on_to_what_it_stands_for_and_to_each_once() {
    let world = world().await;
    let targets = vec!["carol@beta.test", "dave@gamma.test", "carol@beta.test", "erin@beta.test"];
    world.mda.script("list@alpha.test", &[Does::StandsFor(targets)]);
    world.hosts.script("dave@gamma.test", &[NO_SUCH]);
    world.send(&["list@alpha.test", "erin@beta.test"]).await;
    world.until_empty().await;
    let mut received = world.hosts.received();
    received.sort();
    assert_eq!(received, ["carol@beta.test", "erin@beta.test"]);
    let notices = notices(&world);
    assert!(
        notices[0].contains(
            "Original-Recipient: rfc822; list@alpha.test\r\nFinal-Recipient: rfc822; dave@gamma.test"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_costs_a_few_attempts_and_not_one_per_message() {
    let world = world().await;
    for n in 0..100 {
        let to = format!("u{n}@dead.test");
        world.hosts.script(&to, &[Does::IsDown]);
        world.send(&[&to]).await;
    }
    world.send(&["carol@beta.test"]).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(world.hosts.received(), ["carol@beta.test"], "others are not held up");
    let attempts = world.hosts.attempts.lock().unwrap().len();
    assert!(attempts <= 12, "{attempts} attempts");
    let waiting = world.messages().await;
    assert_eq!(waiting.len(), 100);
    assert!(waiting.iter().all(|m| m.recipients[0].last.as_ref().unwrap().reply.code == 421));
}

#[tokio::test(start_paused = true)]
async fn connections_to_one_provider_are_bounded_over_all_its_domains() {
    let world = world_with(crate::queue::Settings { destination_connections_max: 3, ..settings() }).await;
    *world.hosts.takes.lock().unwrap() = Duration::from_secs(1);
    for n in 0..20 {
        world.send(&[&format!("u{n}@{}.test", if n % 2 == 0 { "one" } else { "two" })]).await;
    }
    world.until_empty().await;
    assert_eq!(world.hosts.received().len(), 20);
    assert_eq!(world.hosts.running_max(), 3);
}

#[tokio::test(start_paused = true)]
async fn many_recipients_are_sent_in_transactions_of_bounded_size() {
    let world = world().await;
    let to: Vec<String> = (0..250).map(|n| format!("u{n}@beta.test")).collect();
    world.send(&to.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.until_empty().await;
    let mut sizes: Vec<usize> = world.hosts.attempts.lock().unwrap().iter().map(|(_, n)| *n).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, limits::TRANSACTION_RECIPIENTS_MAX, limits::TRANSACTION_RECIPIENTS_MAX]);
}

#[tokio::test(start_paused = true)]
async fn an_operator_holds_releases_retries_and_expires() {
    let world = world().await;
    world.hosts.script("carol@beta.test", &[LATER]);
    let id = world.send(&["carol@beta.test"]).await;
    let all = Filter { ids: vec![id], ..Filter::default() };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let order = async |order| {
        world.spool.order(&all, order, now(&world.clock)).await.unwrap();
        world.queue.hurry();
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let attempts = || world.hosts.attempts.lock().unwrap().len();

    order(Order::Hold).await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(attempts(), 1, "held mail is not tried");
    assert_eq!(world.messages().await[0].recipients[0].state, RecipientState::Held);
    order(Order::Release).await;
    assert_eq!(attempts(), 2);
    order(Order::Retry).await;
    assert_eq!(attempts(), 3);
    order(Order::Expire).await;
    assert!(world.messages().await.is_empty());
    assert!(notices(&world).iter().any(|notice| notice.contains("Status: 4.4.7")));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_in_flight_and_starts_nothing_new() {
    let world = world_with(crate::queue::Settings { deliveries_max: 1, ..settings() }).await;
    *world.hosts.takes.lock().unwrap() = Duration::from_secs(10);
    world.send(&["carol@beta.test"]).await;
    world.send(&["dave@beta.test"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    world.queue.stop(Duration::from_secs(30)).await;
    assert_eq!(begun.elapsed().as_secs(), 9);
    assert_eq!(world.hosts.received().len(), 1);
    assert_eq!(world.messages().await.len(), 1, "the other one waits for the next start");
}

#[tokio::test(start_paused = true)]
async fn a_flood_to_one_destination_goes_out_at_its_pace_and_holds_nobody_up() {
    let world = world().await;
    *world.hosts.takes.lock().unwrap() = Duration::from_millis(100);
    let flood = limits::QUEUE_DESTINATION_WAITING_MAX + 1000;
    for n in 0..flood {
        world.send(&[&format!("u{n}@one.test")]).await;
    }
    world.send(&["carol@beta.test"]).await;
    let begun = Instant::now();
    while !world.hosts.received().contains(&"carol@beta.test".to_owned()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "held up by the flood");
    }
    let took = world.until_empty().await.as_secs();
    assert_eq!(world.hosts.received().len(), flood + 1);
    // 20 connections, a tenth of a second each; postponed ones come back within seconds.
    assert!(took < (flood as u64 / 200) + 15, "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_bounce_is_not_repeated_for_ever() {
    let world = world().await;
    world.hosts.script("carol@beta.test", &[NO_SUCH]);
    for _ in 0..20 {
        world.send(&["carol@beta.test"]).await;
    }
    world.until_empty().await;
    assert_eq!(notices(&world).len(), limits::BOUNCES_REPEATED_MAX as usize);
}
