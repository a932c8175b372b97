//! The receiving domain's MTA is down: the message waits, and is delivered by a retry when it is up again,
//! also when the sender's own MTA was restarted in between.

use crate::harness::smtp::queue_id;
use crate::harness::{Changes, Lab, assert_unchanged, eventually, message};

#[tokio::test(flavor = "multi_thread")]
async fn delivered_by_retry_when_it_is_up_again() {
    let replaced = vec![("etc/alpha-mta.toml", "retry_first = \"5s\"".into(), "retry_first = \"1s\"".into())];
    let mut lab = Lab::start_with(Changes { replaced, ..Changes::default() }).await;
    lab.stop("beta-mta").await;

    let (alice, bob) = (lab.alice().clone(), lab.bob().clone());
    let mail = message(&alice.address, &bob.address, "patience", b"This may take a while.\r\n");
    let reply = lab.submit(lab.alpha(), &alice, &bob.address, &mail).await;
    let id = queue_id(&reply);

    eventually("deferred message in the queue", async || {
        let shown = lab.command("alpha-mta", &["queue", "show", &id]).await;
        (shown.contains("waiting") && shown.contains("1 attempts")).then_some(())
    })
    .await;
    lab.kill("alpha-mta").await;
    lab.up("alpha-mta").await;
    lab.up("beta-mta").await;
    assert_unchanged(&lab.read(lab.beta(), &bob, "patience").await, &mail);

    let steps = lab.command("alpha-mta", &["trace", &id]).await;
    assert!(steps.contains("deferred") && steps.contains("delivered"), "{steps}");
}
