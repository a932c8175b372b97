//! The operator changes a zone from the command line, and its answers and its file change.

use crate::harness::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn records_come_and_go_and_what_passes_is_seen() {
    let lab = Lab::start().await;
    let ns = async |args: &[&str]| lab.command("tld", &[&["dns"], args].concat()).await;

    let added = ns(&["record", "add", "new.test", "A", "192.0.2.77", "--ttl", "5"]).await;
    assert!(added.contains("test is at serial"), "{added}");
    let again = ns(&["record", "add", "new.test", "A", "192.0.2.77", "--ttl", "5"]).await;
    assert!(again.contains("is so already"), "{again}");
    assert!(ns(&["zone", "show", "test"]).await.contains("new.test. 5 IN A 192.0.2.77"));
    assert_eq!(ns(&["zone", "diff", "test"]).await, "", "the file was written too");
    assert!(ns(&["zone", "list"]).await.contains("test"));
    let asked = lab.command("alpha-dns", &["dns", "query", "new.test", "A"]).await;
    assert!(asked.contains("192.0.2.77"), "{asked}");
    let dump = lab.command("alpha-dns", &["dns", "cache", "dump", "test"]).await;
    assert!(dump.contains("new.test. ") && dump.contains(" IN A 192.0.2.77"), "{dump}");
    let removed = ns(&["record", "remove", "new.test"]).await;
    assert!(removed.contains("is at serial"), "{removed}");
    assert!(!ns(&["zone", "show", "test"]).await.contains("new.test."));

    let look = ns(&["top", "--json"]).await;
    let look: serde_json::Value = serde_json::from_str(&look).expect("one look as JSON");
    assert!(look["answers"].as_array().is_some_and(|answers| !answers.is_empty()), "{look}");
}
