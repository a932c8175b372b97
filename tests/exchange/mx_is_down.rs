//! The most preferred MX does not answer: the next one gets the message at once.

use crate::harness::{Changes, Lab, assert_unchanged, message};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_one_is_taken() {
    // ns1's host runs no MTA: connections to its SMTP port are refused.
    let zone_records = vec![("beta.test.zone", "@ IN MX 5 ns1\n".to_owned())];
    let lab = Lab::start_with(Changes { zone_records, ..Changes::default() }).await;
    let (alice, bob) = (lab.alice(), lab.bob());
    let mail = message(&alice.address, &bob.address, "second choice", b"It arrives all the same.\r\n");
    let reply = lab.submit(lab.alpha(), alice, &bob.address, &mail).await;
    assert!(reply.starts_with("250"), "{reply}");
    assert_unchanged(&lab.read(lab.beta(), bob, "second choice").await, &mail);
}
