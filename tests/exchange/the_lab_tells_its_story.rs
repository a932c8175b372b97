//! `postroad lab --once` is what a newcomer runs first; with the same directory it starts again on what is there.

use std::process::Stdio;

#[tokio::test(flavor = "multi_thread")]
async fn twice_in_the_same_directory() {
    let state = tempfile::tempdir().unwrap();
    let net = format!("127.63.{}", std::process::id() % 256);
    for run in 0..2 {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_postroad"))
            .args(["lab", "--once", "--net", &net, "--state"])
            .arg(state.path())
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let told =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "run {run}: {}\n{told}", output.status);
        for wanted in ["referral to test.", "the bounce is in alice's mailbox", "All of it happened."] {
            assert!(told.contains(wanted), "run {run} does not tell {wanted:?}:\n{told}");
        }
    }
    let lab: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(state.path().join("lab.json")).unwrap()).unwrap();
    assert_eq!(lab["domains"][1]["name"], "beta.test");
    assert_eq!(lab["domains"][1]["accounts"].as_array().map(Vec::len), Some(3));
}
