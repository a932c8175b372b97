//! A small directory and the ways through it.

use postroad_store::directory::{AccountChange, AliasRecord, Credentials, ScramKeys};
use postroad_store::memory::MemoryDirectory;

use super::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

async fn directory(aliases: &[(&str, &[&str])], catch_all: Option<&str>) -> MemoryDirectory {
    let directory = MemoryDirectory::new();
    let domain = "beta.test".parse().unwrap();
    directory.put_domain(&domain, Some(catch_all.map(address))).await.unwrap();
    let scram_sha_256 = ScramKeys { salt: vec![1], iterations: 1, stored_key: vec![1], server_key: vec![1] };
    let credentials = Credentials { password_hash: "x".into(), scram_sha_256 };
    for name in ["bob@beta.test", "erin@beta.test"] {
        let change = AccountChange { credentials: Some(credentials.clone()), ..AccountChange::default() };
        directory.put_account(&address(name), change, 0).await.unwrap();
    }
    for (name, targets) in aliases {
        let alias =
            AliasRecord { address: address(name), targets: targets.iter().map(|t| address(t)).collect() };
        directory.put_alias(&alias).await.unwrap();
    }
    directory
}

async fn ends(directory: &MemoryDirectory, name: &str) -> Option<(Vec<String>, Vec<String>, bool)> {
    let expansion = expand(directory, "+", &address(name)).await.unwrap()?;
    let accounts = expansion.accounts.iter().map(|(account, ..)| account.address.to_string()).collect();
    let others = expansion.others.iter().map(ToString::to_string).collect();
    Some((accounts, others, expansion.cut))
}

#[tokio::test]
async fn accounts_details_and_unknown_names() {
    let directory = directory(&[], None).await;
    let bob = Some((vec!["bob@beta.test".to_owned()], vec![], false));
    assert_eq!(ends(&directory, "BOB@Beta.Test").await, bob);
    assert_eq!(ends(&directory, "bob+lists@beta.test").await, bob);
    assert_eq!(ends(&directory, "nobody@beta.test").await, None);
    assert_eq!(ends(&directory, "bob@elsewhere.test").await, None);
    let Found::Account { detail, .. } =
        look_up(&directory, "+", &address("bob+lists@beta.test")).await.unwrap()
    else {
        panic!("bob is not found");
    };
    assert_eq!(detail.as_deref(), Some("lists"));
    assert_eq!(look_up(&directory, "", &address("bob+lists@beta.test")).await.unwrap(), Found::Unknown);
}

#[tokio::test]
async fn aliases_lead_to_several_here_and_outside_and_nobody_is_named_twice() {
    let aliases: &[(&str, &[&str])] = &[
        ("all@beta.test", &["bob@beta.test", "team@beta.test", "far@elsewhere.test"]),
        ("team@beta.test", &["bob@beta.test", "erin@beta.test", "typo@beta.test", "all@beta.test"]),
    ];
    let directory = directory(aliases, None).await;
    let (accounts, others, cut) = ends(&directory, "all@beta.test").await.unwrap();
    assert_eq!(accounts, ["bob@beta.test", "erin@beta.test"]);
    assert_eq!(others, ["far@elsewhere.test", "typo@beta.test"]);
    assert!(!cut);
}

#[tokio::test]
async fn circles_and_depth_end() {
    let aliases: &[(&str, &[&str])] = &[("a@beta.test", &["b@beta.test"]), ("b@beta.test", &["a@beta.test"])];
    let circle = directory(aliases, None).await;
    assert_eq!(ends(&circle, "a@beta.test").await, Some((vec![], vec![], true)));

    let names: Vec<(String, String)> =
        (0..20).map(|n| (format!("d{n}@beta.test"), format!("d{}@beta.test", n + 1))).collect();
    let targets: Vec<[&str; 1]> = names.iter().map(|(_, to)| [to.as_str()]).collect();
    let chain: Vec<(&str, &[&str])> =
        names.iter().zip(&targets).map(|((from, _), to)| (from.as_str(), &to[..])).collect();
    let deep = directory(&chain, None).await;
    assert_eq!(ends(&deep, "d0@beta.test").await, Some((vec![], vec![], true)));
}

#[tokio::test]
async fn a_catch_all_takes_what_nobody_has() {
    let directory = directory(&[], Some("erin@beta.test")).await;
    assert_eq!(ends(&directory, "whoever@beta.test").await.unwrap().0, ["erin@beta.test"]);
    assert_eq!(ends(&directory, "bob+x@beta.test").await.unwrap().0, ["bob@beta.test"]);
}
