//! The resolver answers from its cache while the authoritative server is stopped, and when the TTL is over it says that
//! the answer is an older one.

use std::time::{Duration, Instant};

use crate::harness::{Changes, Lab, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn answers_from_the_cache_and_says_when_the_ttl_is_over() {
    let zone_records = vec![("beta.test.zone", "short 4 IN A 192.0.2.77\n".to_owned())];
    let mut lab = Lab::start_with(Changes { zone_records, ..Changes::default() }).await;

    let first = query(&lab, "short.beta.test").await;
    let asked = Instant::now();
    assert!(first.contains("192.0.2.77") && first.contains("referral"), "{first}");
    lab.stop("beta-ns").await;

    let cached = query(&lab, "short.beta.test").await;
    assert!(asked.elapsed() < Duration::from_secs(4), "the machine is too slow for this TTL");
    assert!(cached.contains("192.0.2.77") && cached.contains("NOERROR"), "{cached}");

    // Once the TTL is over there is nobody to ask (RFC 8767), and what was never asked for is not known.
    loop {
        let later = query(&lab, "short.beta.test").await;
        assert!(later.contains("192.0.2.77"), "{later}");
        if later.contains("an older answer") {
            break;
        }
        assert!(asked.elapsed() < PATIENCE, "its time is never over: {later}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(asked.elapsed() >= Duration::from_secs(3), "it was over before the TTL was");
    let unknown = query(&lab, "other.beta.test").await;
    assert!(unknown.contains("SERVFAIL"), "{unknown}");

    lab.up("beta-ns").await;
    crate::harness::eventually("answer from the server that is back", async || {
        let now = query(&lab, "short.beta.test").await;
        (now.contains("192.0.2.77") && !now.contains("an older answer")).then_some(())
    })
    .await;
}

async fn query(lab: &Lab, name: &str) -> String {
    lab.command("alpha-dns", &["dns", "query", name, "A"]).await
}
