//! Calls are spread over the replicas that answer; dead and draining ones are left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scene;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postroad_rpc::{Channel, v1};
use postroad_types::Role;
use scene::{Ca, PATIENCE, ask, ask_with, channel, serve};
use tonic::{Code, Request};

const GRACE: Duration = Duration::from_secs(10);

/// Who answers how many of so many calls, and how many of them fail.
async fn spread(channel: &Channel, calls: usize) -> (BTreeMap<String, usize>, usize) {
    let mut answers = BTreeMap::new();
    let mut failures = 0;
    for _ in 0..calls {
        match ask(channel, "who").await {
            Ok(step) => *answers.entry(step.node).or_default() += 1,
            Err(_) => failures += 1,
        }
    }
    (answers, failures)
}

/// Calls until these, and no others, answer.
async fn until_spread_over(channel: &Channel, names: &[&str]) {
    let until = Instant::now() + PATIENCE;
    loop {
        let (answers, failures) = spread(channel, 20).await;
        if failures == 0 && answers.keys().eq(names.iter().copied()) {
            return;
        }
        assert!(Instant::now() < until, "still {answers:?} and {failures} failures instead of {names:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_killed_replica_is_left_out_and_taken_back_when_it_returns() {
    let ca = Ca::new();
    let one = serve("127.0.0.1:0", "one", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let two = serve("127.0.0.1:0", "two", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let to_mda = channel(Role::Mda, &[one.address, two.address], ca.tls(Role::Mta));
    until_spread_over(&to_mda, &["one", "two"]).await;
    let (answers, failures) = spread(&to_mda, 100).await;
    assert!(
        failures == 0 && answers["one"] >= 40 && answers["two"] >= 40,
        "{answers:?}, {failures} failures"
    );

    let address = one.address.to_string();
    one.kill().await;
    let (answers, failures) = spread(&to_mda, 100).await;
    // The call that finds it dead may fail; no second one does.
    assert!(failures <= 1 && answers["two"] >= 99, "{answers:?}, {failures} failures");

    let _one = serve(&address, "one again", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    until_spread_over(&to_mda, &["one again", "two"]).await;
}

#[tokio::test]
async fn an_address_where_nobody_is_costs_no_call() {
    let ca = Ca::new();
    let one = serve("127.0.0.1:0", "one", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let nobody = {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        taken.local_addr().unwrap()
    };
    let to_mda = channel(Role::Mda, &[nobody, one.address], ca.tls(Role::Mta));
    assert!(to_mda.ready(PATIENCE).await);
    let (answers, failures) = spread(&to_mda, 100).await;
    assert_eq!((answers["one"], failures), (100, 0));
}

#[tokio::test]
async fn where_nobody_answers_the_caller_is_told_soon_and_why() {
    let ca = Ca::new();
    let to_mda = channel(Role::Mda, &["127.0.0.1:1".parse().unwrap()], ca.tls(Role::Mta));
    let before = Instant::now();
    let refused = ask(&to_mda, "who").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("127.0.0.1:1") && refused.message().contains("refused"), "{refused}");
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_on_both_sides() {
    let ca = Ca::new();
    let one = serve("127.0.0.1:0", "one", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let to_mda = channel(Role::Mda, &[one.address], ca.tls(Role::Mta));
    assert!(to_mda.ready(PATIENCE).await);
    let mut request = Request::new(v1::FindStepsRequest { id: "slow".to_owned(), ..Default::default() });
    request.set_timeout(Duration::from_millis(150));
    let before = Instant::now();
    assert_eq!(ask_with(&to_mda, request).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(before.elapsed() < Duration::from_secs(5));
    let until = Instant::now() + PATIENCE;
    while one.under_way.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < until, "the callee works on for nobody");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_draining_replica_finishes_its_calls_and_gets_no_new_ones() {
    let ca = Ca::new();
    let one = serve("127.0.0.1:0", "one", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let two = serve("127.0.0.1:0", "two", Role::Mda, ca.tls(Role::Mda), GRACE).await;
    let to_one = channel(Role::Mda, &[one.address], ca.tls(Role::Mta));
    let to_both = channel(Role::Mda, &[one.address, two.address], ca.tls(Role::Mta));
    until_spread_over(&to_both, &["one", "two"]).await;
    let begun = tokio::spawn(async move { ask(&to_one, "a moment").await });
    let until = Instant::now() + PATIENCE;
    while one.under_way.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < until, "the call does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    one.stop.cancel();
    assert_eq!(begun.await.unwrap().unwrap().node, "one");
    let (answers, failures) = spread(&to_both, 50).await;
    assert!(failures <= 1 && answers["two"] >= 49, "{answers:?}, {failures} failures");
    tokio::time::timeout(PATIENCE, one.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_without_end_is_cut_after_the_grace() {
    let ca = Ca::new();
    let one = serve("127.0.0.1:0", "one", Role::Mda, ca.tls(Role::Mda), Duration::from_millis(100)).await;
    let to_mda = channel(Role::Mda, &[one.address], ca.tls(Role::Mta));
    let request = v1::FindStepsRequest { id: "forever".to_owned(), ..Default::default() };
    let mut answers =
        v1::trace_client::TraceClient::new(to_mda).find_steps(request).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    one.stop.cancel();
    tokio::time::timeout(PATIENCE, one.task).await.unwrap().unwrap();
    assert!(tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().is_err());
}

#[tokio::test]
async fn those_who_watch_and_those_who_do_not_read_on_stop_nobody_else() {
    let ca = Ca::new();
    let one = serve("127.0.0.1:0", "one", Role::Mda, ca.tls(Role::Mda), Duration::ZERO).await;
    let to_mda = channel(Role::Mda, &[one.address], ca.tls(Role::Mra));
    let mut held = Vec::new();
    for (what, count) in [("forever", 2000), ("flood", 100)] {
        for _ in 0..count {
            let request = v1::FindStepsRequest { id: what.to_owned(), ..Default::default() };
            let mut client = v1::trace_client::TraceClient::new(to_mda.clone());
            held.push(client.find_steps(request).await.unwrap().into_inner());
        }
    }
    for _ in 0..20 {
        assert_eq!(ask(&to_mda, "who").await.unwrap().node, "one");
    }
    assert!(held.last_mut().unwrap().message().await.unwrap().is_some());
}
