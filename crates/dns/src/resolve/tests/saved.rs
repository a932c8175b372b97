//! The cache over a restart: in a file, under the same settings, with its times counted on.

use std::fs;
use std::path::Path;

use super::validated::*;
use super::*;
use crate::resolve::kept::CacheFile;
use crate::resolve::security::Unsigned;

const QUESTIONS: [(&str, Rtype); 9] = [
    ("alpha.test", Rtype::MX),
    ("any.wild.alpha.test", Rtype::A),
    ("alias.alpha.test", Rtype::A),
    ("x.sub.alpha.test", Rtype::A),
    ("no.alpha.test", Rtype::A),
    ("mx.alpha.test", Rtype::TXT),
    ("gone.signed.hashed", Rtype::A),
    ("host.plain.test", Rtype::A),
    ("signed.hashed", Rtype::DS),
];

/// A tree of which everything has been asked, saved to `file`, and what was answered.
async fn saved(file: &Path) -> (Tree, Vec<(String, Answer)>) {
    let tree = tree();
    let scene = &tree.scene;
    let mut answers = Vec::new();
    for (name, rtype) in QUESTIONS {
        let answer = scene.ask(name, rtype).await;
        answers.push((answer, scene.explained(name, rtype).await.answer.clone()));
    }
    keeper(file, "").save(&scene.resolver);
    (tree, answers)
}

fn keeper(file: &Path, settings: &str) -> CacheFile {
    CacheFile::new(file, [settings.as_bytes()])
}

/// Another server with nobody to ask, `later` seconds after, which has read the file.
fn restarted(file: &Path, settings: &str, later: u64) -> Tree {
    let tree = Plan::with(|plan| plan.stale = Duration::from_secs(3600)).tree();
    tree.scene.internet.hosts.lock().unwrap().clear();
    tree.scene.clock.advance(Duration::from_secs(later));
    keeper(file, settings).load(&tree.scene.resolver);
    tree
}

#[tokio::test]
async fn what_was_known_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache");
    let (tree, before) = saved(&file).await;
    let Tree { scene, .. } = restarted(&file, "", 0);
    for ((name, rtype), (text, answer)) in QUESTIONS.into_iter().zip(&before) {
        assert_eq!(scene.ask(name, rtype).await, *text);
        let after = scene.explained(name, rtype).await.answer.clone();
        assert_eq!(after.security, answer.security, "{name} {rtype}");
        let evidence = |answer: &Answer| {
            let held = answer.records.iter().chain(&answer.authority);
            held.map(|held| format!("{:?}", held.evidence)).collect::<Vec<_>>()
        };
        assert_eq!(evidence(&after), evidence(answer), "{name} {rtype}");
        let insecure = Security::Insecure(Unsigned::NoDs);
        assert_eq!(
            after.security,
            if name.contains("plain") { insecure } else { Security::Secure },
            "{name}"
        );
    }
    assert_eq!(scene.asked(), [""; 0]);
    // Delegations and the chain of trust are back too: what was not asked for begins where it left off.
    scene.host([192, 0, 2, 13], tree.alpha.host());
    assert_eq!(scene.ask("ns.alpha.test", Rtype::A).await, "NOERROR ns.alpha.test. 300 IN A 192.0.2.13");
    assert_eq!(scene.asked(), ["192.0.2.13 ns.alpha.test. A"]);
}

#[tokio::test]
async fn time_goes_on_while_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache");
    saved(&file).await;
    let Tree { scene, .. } = restarted(&file, "", 100);
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "NOERROR alpha.test. 200 IN MX 10 mx.alpha.test.");
    let answer = scene.explained("alpha.test", Rtype::MX).await.answer.clone();
    assert_eq!(answer.age(), Some(Duration::from_secs(100)));
    let Tree { scene, .. } = restarted(&file, "", 301);
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "SERVFAIL");
}

#[tokio::test]
async fn under_other_settings_it_begins_empty() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache");
    saved(&file).await;
    let Tree { scene, .. } = restarted(&file, "an anchor more", 0);
    assert_eq!(scene.resolver.dump(&Name::root()).len(), 0);
    fs::write(&file, "something else").unwrap();
    assert_eq!(restarted(&file, "", 0).scene.resolver.dump(&Name::root()).len(), 0);
    let nowhere = folder.path().join("nowhere");
    assert_eq!(restarted(&nowhere, "", 0).scene.resolver.dump(&Name::root()).len(), 0);
}

#[tokio::test]
async fn damage_costs_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache");
    saved(&file).await;
    let whole = fs::read(&file).unwrap();
    let entries = |octets: &[u8]| {
        fs::write(&file, octets).unwrap();
        restarted(&file, "", 0).scene.resolver.dump(&Name::root()).len()
    };
    let all = entries(&whole);
    assert!(all > 20, "{all}");
    // In the body of the first entry: that one is missing.
    let first = 21 + 32 + 8;
    let mut bent = whole.clone();
    bent[first + 12] ^= 1;
    assert_eq!(entries(&bent), all - 1);
    // In its length: what follows cannot be found.
    let mut bent = whole.clone();
    bent[first] ^= 0x80;
    assert_eq!(entries(&bent), 0);
    // Wherever it is cut off, what stands before is read.
    for length in (0..whole.len()).step_by(97) {
        assert!(entries(&whole[..length]) < all);
    }
    // A right checksum over nonsense is nonsense all the same.
    let mut forged = whole[..first].to_vec();
    for body in [&b""[..], b"\x01a", b"\x00\x80", &[0xff; 300]] {
        forged.extend_from_slice(&(body.len() as u32).to_be_bytes());
        forged.extend_from_slice(&crc32fast::hash(body).to_be_bytes());
        forged.extend_from_slice(body);
    }
    forged.extend_from_slice(&whole[first..]);
    assert_eq!(entries(&forged), all);
}

#[tokio::test]
async fn a_cache_that_had_no_stale_answers_saves_none_that_are_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache");
    let Tree { scene, .. } = tree();
    scene.ask("alpha.test", Rtype::MX).await;
    scene.clock.advance(Duration::from_secs(301));
    keeper(&file, "").save(&scene.resolver);
    let Tree { scene, .. } = restarted(&file, "", 0);
    assert_eq!(scene.ask("alpha.test", Rtype::MX).await, "SERVFAIL");
}
