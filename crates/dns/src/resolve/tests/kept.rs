//! Answers before and after their time, and addresses that a stranger may not name.

use super::*;

#[tokio::test]
async fn what_is_in_use_is_asked_for_again_before_its_time_is_over() {
    let scene = scene();
    assert!(scene.ask("alpha.test", Rtype::MX).await.starts_with("NOERROR"));
    scene.asked();
    let name: Name = "alpha.test".parse().unwrap();
    let left = |scene: &Scene| scene.resolver.cached(&name, Rtype::MX).map(|answer| answer.records[0].ttl);
    scene.clock.advance(Duration::from_secs(53));
    assert!(!scene.resolver.cached(&name, Rtype::MX).unwrap().is_nearly_over());
    scene.clock.advance(Duration::from_secs(1));
    assert!(scene.resolver.cached(&name, Rtype::MX).unwrap().is_nearly_over());
    scene.resolver.prefetch(&name, Rtype::MX);
    scene.resolver.prefetch(&name, Rtype::MX);
    while left(&scene) == Some(6) {
        tokio::task::yield_now().await;
    }
    assert_eq!(left(&scene), Some(60));
    assert_eq!(scene.asked().len(), 1, "once, and at its own server");
}

#[tokio::test]
async fn a_strangers_name_does_not_lead_inside() {
    let inside = |rules: &mut Rules| {
        rules.private = vec!["192.0.2.10/32".parse().unwrap(), "192.0.2.80/32".parse().unwrap()];
        rules.private_names = vec!["mx.beta.test".parse().unwrap(), "in.beta.test".parse().unwrap()];
    };
    let scene = scene_with(Zones::default(), inside);
    assert_eq!(scene.ask("many.alpha.test", Rtype::A).await, "NOERROR many.alpha.test. 300 IN A 192.0.2.11");
    let alias = scene.ask("www.alpha.test", Rtype::A).await;
    assert_eq!(alias, "NOERROR www.alpha.test. 300 IN CNAME web.beta.test.");
    let allowed = scene_with(Zones::default(), |rules| {
        inside(rules);
        rules.private_names.push("beta.test".parse().unwrap());
    });
    assert!(allowed.ask("web.beta.test", Rtype::A).await.contains("192.0.2.80"));
}

#[tokio::test]
async fn an_older_answer_is_better_than_none() {
    let scene = scene_with_stale(Zones::default(), Duration::from_secs(600), |_| {});
    assert!(scene.ask("alpha.test", Rtype::MX).await.starts_with("NOERROR"));
    assert_eq!(scene.ask("gone.alpha.test", Rtype::A).await, "NXDOMAIN");
    scene.host([192, 0, 2, 3], Host::Dead);
    scene.clock.advance(Duration::from_secs(70));
    let older = "NOERROR alpha.test. 30 IN MX 10 mx.alpha.test.";
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, older);
    let explained = scene.explained("alpha.test", Rtype::MX).await;
    assert!(explained.answer.stale && explained.answer.age().unwrap() >= Duration::from_secs(70));
    // The failure is remembered, and the older answer is given meanwhile.
    scene.asked();
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, older);
    assert_eq!(scene.asked(), [""; 0]);
    // What was never known can not be given.
    assert_eq!(scene.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL");

    scene.host([192, 0, 2, 3], Host::Serves(zones(&[("alpha.test.", ALPHA)])));
    scene.clock.advance(FAILURE_MOST);
    let fresh = scene.explained("alpha.test", Rtype::MX).await;
    assert!(!fresh.answer.stale && fresh.answer.records[0].ttl == 60);
    scene.host([192, 0, 2, 3], Host::Dead);
    scene.clock.advance(Duration::from_secs(661));
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "SERVFAIL", "at some time it is over");
}

#[tokio::test]
async fn a_name_that_its_servers_deny_is_not_answered_from_what_is_over() {
    let scene = scene_with_stale(Zones::default(), Duration::from_secs(600), |_| {});
    assert!(scene.ask("many.alpha.test", Rtype::A).await.starts_with("NOERROR"));
    scene.host([192, 0, 2, 3], Host::Serves(zones(&[("alpha.test.", "@ NS ns\nns A 192.0.2.3\n")])));
    scene.clock.advance(Duration::from_secs(301));
    let denied = scene.ask("many.alpha.test", Rtype::A).await;
    scene.host([192, 0, 2, 3], Host::Dead);
    scene.clock.advance(Duration::from_secs(301));
    let older = scene.explained("many.alpha.test", Rtype::A).await;
    assert!(
        denied.starts_with("NXDOMAIN") && older.answer.stale && older.answer.records.is_empty(),
        "{denied}"
    );
}
