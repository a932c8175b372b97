//! What every directory must do. `directory_contract!(make)` makes a test of each case; `make` is an
//! expression of a future that gives an empty directory and what must live as long as it.

use postroad_types::{Address, Domain, limits};

use crate::directory::{AccountChange, AliasRecord, Credentials, DirectoryStore, Entry, ScramKeys};
use crate::error::StoreError;

#[macro_export]
macro_rules! directory_contract {
    ($make:expr) => {
        $crate::directory_contract!(@each $make;
            an_empty_directory_owns_nothing, accounts_are_found_by_any_spelling, credentials_are_kept_and_replaced,
            an_account_is_changed_only_where_it_is_said, ids_are_never_given_again, a_domain_in_use_stays,
            aliases_lead_to_their_targets, delegations_end_with_either_account, an_address_is_account_or_alias, catch_all_takes_the_rest,
            lists_come_in_pages, internationalised_and_quoted_addresses_work,
        );
    };
    (@each $make:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (directory, _keep) = $make.await;
                $crate::contract::directory::$case(&directory).await;
            }
        )*
    };
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

fn credentials(of: &str) -> Credentials {
    Credentials {
        password_hash: format!("$argon2id${of}"),
        scram_sha_256: ScramKeys {
            salt: vec![1, 2],
            iterations: 4096,
            stored_key: of.as_bytes().to_vec(),
            server_key: vec![0, 255],
        },
    }
}

fn new_account() -> AccountChange {
    AccountChange { credentials: Some(credentials("x")), ..AccountChange::default() }
}

fn alias(text: &str, targets: &[&str]) -> AliasRecord {
    AliasRecord { address: address(text), targets: targets.iter().map(|t| address(t)).collect() }
}

pub async fn an_empty_directory_owns_nothing(directory: &impl DirectoryStore) {
    assert_eq!(directory.look_up(&address("a@alpha.test")).await.unwrap(), Entry::NotOurs);
    assert_eq!(directory.look_up(&address("a@[192.0.2.1]")).await.unwrap(), Entry::NotOurs);
    assert_eq!(directory.domains(None, 10).await.unwrap(), []);
    let refused = directory.put_account(&address("a@alpha.test"), new_account(), 1).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound(_)), "{refused}");
    let refused = directory.put_alias(&alias("a@alpha.test", &["b@alpha.test"])).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound(_)), "{refused}");
}

pub async fn accounts_are_found_by_any_spelling(directory: &impl DirectoryStore) {
    directory.put_domain(&domain("Alpha.test"), None).await.unwrap();
    let made = directory.put_account(&address("Alice@alpha.test"), new_account(), 42).await.unwrap();
    assert!(made.id.0 > 0 && made.enabled);
    assert_eq!((made.quota_octets, made.created_at), (0, 42));
    for spelling in ["alice@alpha.test", "ALICE@ALPHA.TEST", "\"alice\"@alpha.test"] {
        assert_eq!(directory.look_up(&address(spelling)).await.unwrap(), Entry::Account(made.clone()));
        assert_eq!(directory.credentials(&address(spelling)).await.unwrap().0, made);
    }
    assert_eq!(directory.account(made.id).await.unwrap(), made);
    assert_eq!(made.address.to_string(), "Alice@alpha.test", "kept as it was written");
    assert_eq!(directory.look_up(&address("bob@alpha.test")).await.unwrap(), Entry::Unknown);
    assert_eq!(directory.look_up(&address("alice@beta.test")).await.unwrap(), Entry::NotOurs);
}

pub async fn credentials_are_kept_and_replaced(directory: &impl DirectoryStore) {
    directory.put_domain(&domain("alpha.test"), None).await.unwrap();
    let alice = address("alice@alpha.test");
    let refused = directory.put_account(&alice, AccountChange::default(), 1).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
    directory.put_account(&alice, new_account(), 1).await.unwrap();
    assert_eq!(directory.credentials(&alice).await.unwrap().1, credentials("x"));
    let change = AccountChange { credentials: Some(credentials("y")), ..AccountChange::default() };
    directory.put_account(&alice, change, 2).await.unwrap();
    assert_eq!(directory.credentials(&alice).await.unwrap().1, credentials("y"));
    let nobody = directory.credentials(&address("bob@alpha.test")).await.unwrap_err();
    assert!(matches!(nobody, StoreError::NotFound(_)), "{nobody}");
}

pub async fn an_account_is_changed_only_where_it_is_said(directory: &impl DirectoryStore) {
    directory.put_domain(&domain("alpha.test"), None).await.unwrap();
    let alice = address("alice@alpha.test");
    let made = directory.put_account(&alice, new_account(), 1).await.unwrap();
    let quota = AccountChange { quota_octets: Some(1 << 40), ..AccountChange::default() };
    let changed = directory.put_account(&alice, quota, 2).await.unwrap();
    assert_eq!(
        (changed.id, changed.quota_octets, changed.enabled, changed.created_at),
        (made.id, 1 << 40, true, 1)
    );
    let off = AccountChange { enabled: Some(false), ..AccountChange::default() };
    let changed = directory.put_account(&alice, off, 3).await.unwrap();
    assert_eq!((changed.quota_octets, changed.enabled), (1 << 40, false));
    assert_eq!(directory.account(made.id).await.unwrap(), changed);
}

pub async fn ids_are_never_given_again(directory: &impl DirectoryStore) {
    directory.put_domain(&domain("alpha.test"), None).await.unwrap();
    let alice = address("alice@alpha.test");
    let first = directory.put_account(&alice, new_account(), 1).await.unwrap();
    assert_eq!(directory.remove_account(&alice).await.unwrap(), first);
    assert!(matches!(directory.account(first.id).await, Err(StoreError::NotFound(_))));
    assert!(matches!(directory.remove_account(&alice).await, Err(StoreError::NotFound(_))));
    let second = directory.put_account(&alice, new_account(), 2).await.unwrap();
    assert!(second.id > first.id);
}

pub async fn a_domain_in_use_stays(directory: &impl DirectoryStore) {
    let alpha = domain("alpha.test");
    directory.put_domain(&alpha, None).await.unwrap();
    directory.put_account(&address("a@alpha.test"), new_account(), 1).await.unwrap();
    directory.put_alias(&alias("b@alpha.test", &["a@alpha.test"])).await.unwrap();
    let record = directory.put_domain(&alpha, None).await.unwrap();
    assert_eq!((record.accounts, record.aliases), (1, 1));
    assert!(matches!(directory.remove_domain(&alpha).await, Err(StoreError::Invalid(_))));
    directory.remove_account(&address("a@alpha.test")).await.unwrap();
    assert!(matches!(directory.remove_domain(&alpha).await, Err(StoreError::Invalid(_))));
    directory.remove_alias(&address("B@alpha.test")).await.unwrap();
    directory.remove_domain(&alpha).await.unwrap();
    assert!(matches!(directory.remove_domain(&alpha).await, Err(StoreError::NotFound(_))));
}

pub async fn aliases_lead_to_their_targets(directory: &impl DirectoryStore) {
    directory.put_domain(&domain("alpha.test"), None).await.unwrap();
    let sales = alias("Sales@alpha.test", &["a@alpha.test", "\"odd one\"@elsewhere.test"]);
    directory.put_alias(&sales).await.unwrap();
    assert_eq!(directory.look_up(&address("sales@alpha.test")).await.unwrap(), Entry::Alias(sales));
    let fewer = alias("sales@alpha.test", &["c@alpha.test"]);
    directory.put_alias(&fewer).await.unwrap();
    assert_eq!(directory.look_up(&address("sales@alpha.test")).await.unwrap(), Entry::Alias(fewer));
    assert!(matches!(directory.put_alias(&alias("x@alpha.test", &[])).await, Err(StoreError::Invalid(_))));
    let many: Vec<String> = (0..=limits::ALIAS_TARGETS_MAX).map(|i| format!("t{i}@x.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(matches!(directory.put_alias(&alias("x@alpha.test", &many)).await, Err(StoreError::Invalid(_))));
    let gone = directory.remove_alias(&address("x@alpha.test")).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
}

pub async fn delegations_end_with_either_account(directory: &impl DirectoryStore) {
    directory.put_domain(&domain("alpha.test"), None).await.unwrap();
    let (boss, clerk) = (address("boss@alpha.test"), address("clerk@alpha.test"));
    directory.put_account(&boss, new_account(), 1).await.unwrap();
    let id = directory.put_account(&clerk, new_account(), 1).await.unwrap().id;
    assert!(directory.delegate(&clerk, &boss, true).await.unwrap());
    assert!(!directory.delegate(&clerk, &address("BOSS@alpha.test"), true).await.unwrap());
    assert!(directory.delegate(&clerk, &address("desk@alpha.test"), true).await.unwrap());
    assert_eq!(directory.delegations(id).await.unwrap(), [boss.clone(), address("desk@alpha.test")]);
    for (account, send_as) in [("gone@alpha.test", "boss@alpha.test"), ("clerk@alpha.test", "x@far.test")] {
        let refused = directory.delegate(&address(account), &address(send_as), true).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    assert!(directory.delegate(&clerk, &address("Desk@alpha.test"), false).await.unwrap());
    assert!(!directory.delegate(&clerk, &address("desk@alpha.test"), false).await.unwrap());

    // Whoever gets the address next has not agreed to it.
    directory.remove_account(&boss).await.unwrap();
    assert!(directory.delegations(id).await.unwrap().is_empty());
    directory.delegate(&clerk, &boss, true).await.unwrap();
    directory.remove_account(&clerk).await.unwrap();
    assert!(directory.delegations(id).await.unwrap().is_empty());

    directory.put_account(&clerk, new_account(), 1).await.unwrap();
    for i in 0..limits::DELEGATIONS_MAX {
        directory.delegate(&clerk, &address(&format!("a{i}@alpha.test")), true).await.unwrap();
    }
    let refused = directory.delegate(&clerk, &boss, true).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}

pub async fn an_address_is_account_or_alias(directory: &impl DirectoryStore) {
    directory.put_domain(&domain("alpha.test"), None).await.unwrap();
    directory.put_account(&address("a@alpha.test"), new_account(), 1).await.unwrap();
    let refused = directory.put_alias(&alias("A@alpha.test", &["b@alpha.test"])).await.unwrap_err();
    assert!(matches!(refused, StoreError::Exists(_)), "{refused}");
    directory.put_alias(&alias("b@alpha.test", &["a@alpha.test"])).await.unwrap();
    let refused = directory.put_account(&address("B@alpha.test"), new_account(), 1).await.unwrap_err();
    assert!(matches!(refused, StoreError::Exists(_)), "{refused}");
}

pub async fn catch_all_takes_the_rest(directory: &impl DirectoryStore) {
    let alpha = domain("alpha.test");
    let rest = address("rest@alpha.test");
    directory.put_domain(&alpha, Some(Some(rest.clone()))).await.unwrap();
    directory.put_account(&address("a@alpha.test"), new_account(), 1).await.unwrap();
    assert_eq!(directory.look_up(&address("x@alpha.test")).await.unwrap(), Entry::CatchAll(rest.clone()));
    assert!(matches!(directory.look_up(&address("a@alpha.test")).await.unwrap(), Entry::Account(_)));
    assert_eq!(directory.put_domain(&alpha, None).await.unwrap().catch_all, Some(rest));
    assert_eq!(directory.put_domain(&alpha, Some(None)).await.unwrap().catch_all, None);
    assert_eq!(directory.look_up(&address("x@alpha.test")).await.unwrap(), Entry::Unknown);
}

pub async fn lists_come_in_pages(directory: &impl DirectoryStore) {
    for name in ["a.test", "b.test", "c.test"] {
        directory.put_domain(&domain(name), None).await.unwrap();
        for local in ["x", "y"] {
            directory.put_account(&address(&format!("{local}@{name}")), new_account(), 1).await.unwrap();
            let alias = alias(&format!("{local}{local}@{name}"), &["x@a.test"]);
            directory.put_alias(&alias).await.unwrap();
        }
    }
    let first = directory.domains(None, 2).await.unwrap();
    let rest = directory.domains(Some(&first[1].name), 2).await.unwrap();
    let names: Vec<_> = first.iter().chain(&rest).map(|d| d.name.ascii().to_owned()).collect();
    assert_eq!(names, ["a.test", "b.test", "c.test"]);

    let first = directory.accounts(None, None, 4).await.unwrap();
    let rest = directory.accounts(None, Some(first[3].id), 4).await.unwrap();
    assert_eq!((first.len(), rest.len()), (4, 2));
    assert!(first.iter().chain(&rest).is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(directory.accounts(Some(&domain("B.test")), None, 10).await.unwrap().len(), 2);

    let mut seen = Vec::new();
    loop {
        let after = seen.last().map(|alias: &AliasRecord| alias.address.clone());
        let page = directory.aliases(None, after.as_ref(), 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen.len(), 6);
    assert_eq!(directory.aliases(Some(&domain("b.test")), None, 10).await.unwrap().len(), 2);
}

pub async fn internationalised_and_quoted_addresses_work(directory: &impl DirectoryStore) {
    directory.put_domain(&domain("bücher.test"), None).await.unwrap();
    let made = directory.put_account(&address("Δοκιμή@bücher.test"), new_account(), 1).await.unwrap();
    let found = directory.look_up(&address("δοκιμή@xn--bcher-kva.test")).await.unwrap();
    assert_eq!(found, Entry::Account(made));
    let odd = directory.put_account(&address("\"a b@c\"@bücher.test"), new_account(), 1).await.unwrap();
    assert_eq!(directory.look_up(&address("\"A b@c\"@bücher.test")).await.unwrap(), Entry::Account(odd));
    let records = directory.domains(None, 10).await.unwrap();
    assert_eq!((records.len(), records[0].accounts), (1, 2));
    assert_eq!(directory.accounts(Some(&domain("BÜCHER.test")), None, 10).await.unwrap().len(), 2);
}
