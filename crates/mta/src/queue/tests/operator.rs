//! What an operator does to destinations and routes.

use std::time::Duration;

use postroad_store::spool::{Filter, Order, Spool};

use super::{LATER, notices};
use crate::clock::now;
use crate::testing::{Does, world};

#[tokio::test(start_paused = true)]
async fn a_suspended_destination_is_left_alone_until_it_is_resumed() {
    let world = world().await;
    let beta = "beta.test".parse().unwrap();
    world.queue.suspension().set(&beta, true).unwrap();
    let id = world.send(&["carol@beta.test", "dave@gamma.test"]).await;
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    assert_eq!(world.hosts.received(), ["dave@gamma.test"]);
    let waiting = world.messages().await;
    assert_eq!((waiting.len(), waiting[0].recipients[0].attempts), (1, 0), "nothing was tried");
    assert!(world.steps(&id).contains(&"kept back".to_owned()));

    world.queue.suspension().set(&beta, false).unwrap();
    let filter = Filter { domain: Some("beta.test".into()), ..Filter::default() };
    world.spool.order(&filter, Order::Retry, now(&world.clock)).await.unwrap();
    world.queue.hurry();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.hosts.received(), ["dave@gamma.test", "carol@beta.test"]);
}

#[tokio::test(start_paused = true)]
async fn mail_for_a_suspended_destination_keeps_its_time() {
    let world = world().await;
    world.queue.suspension().set(&"beta.test".parse().unwrap(), true).unwrap();
    world.send(&["carol@beta.test"]).await;
    let days = world.until_empty().await.as_secs_f64() / 86_400.0;
    assert!((4.99..5.01).contains(&days), "{days} days");
    assert_eq!(notices(&world).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_where_an_operator_sends_it() {
    let world = world().await;
    world.hosts.script("carol@beta.test", &[LATER, Does::Takes]);
    world.send(&["carol@beta.test"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let order = Order::Reroute(Some("mx:gamma.test".into()));
    let changed = world.spool.order(&Filter::default(), order, now(&world.clock)).await.unwrap();
    assert_eq!(changed.len(), 1);
    world.queue.hurry();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let to: Vec<String> = world.hosts.destinations.lock().unwrap().clone();
    assert!(to.last().unwrap().contains("mx.gamma.test"), "{to:?}");
    assert_eq!(world.hosts.received(), ["carol@beta.test"]);
}
