//! The operator changes a zone from the command line, and its answers and its file change.

use crate::harness::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn records_come_and_go_and_what_passes_is_seen() {
    let lab = Lab::start().await;
    let ns = async |args: &[&str]| lab.command("beta-ns", &[&["dns"], args].concat()).await;

    let added = ns(&["record", "add", "new.beta.test", "A", "192.0.2.77", "--ttl", "5"]).await;
    assert!(added.contains("beta.test is at serial"), "{added}");
    let again = ns(&["record", "add", "new.beta.test", "A", "192.0.2.77", "--ttl", "5"]).await;
    assert!(again.contains("is so already"), "{again}");
    assert!(ns(&["zone", "show", "beta.test"]).await.contains("new.beta.test. 5 IN A 192.0.2.77"));
    assert_eq!(ns(&["zone", "diff", "beta.test"]).await, "", "the file was written too");
    assert!(ns(&["zone", "list"]).await.contains("beta.test"));
    let asked = lab.command("alpha-dns", &["dns", "query", "new.beta.test", "A"]).await;
    assert!(asked.contains("192.0.2.77"), "{asked}");
    let dump = lab.command("alpha-dns", &["dns", "cache", "dump", "beta.test"]).await;
    assert!(dump.contains("new.beta.test. ") && dump.contains(" IN A 192.0.2.77"), "{dump}");
    let removed = ns(&["record", "remove", "new.beta.test"]).await;
    assert!(removed.contains("is at serial"), "{removed}");
    assert!(!ns(&["zone", "show", "beta.test"]).await.contains("new.beta.test."));

    let look = ns(&["top", "--json"]).await;
    let look: serde_json::Value = serde_json::from_str(&look).expect("one look as JSON");
    assert!(look["answers"].as_array().is_some_and(|answers| !answers.is_empty()), "{look}");
}
