//! Folders, subscriptions, copies and moves.

use super::{ALL, Stage, name, one};
use crate::error::StoreError;
use crate::mailbox::{FlagChange, FlagOrder, Flags};

pub async fn inbox_is_always_there(stage: &Stage) {
    let folders = stage.store.folders(stage.alice).await.unwrap();
    assert!(folders[0].name.is_inbox() && !folders[0].no_select);
    let refused = stage.store.delete_folder(stage.alice, &name("InBox")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
    let refused = stage.store.create_folder(stage.alice, &name("inbox"), None).await.unwrap_err();
    assert!(matches!(refused, StoreError::Exists(_)), "{refused}");
}

pub async fn folders_are_made_with_the_levels_above(stage: &Stage) {
    stage.store.create_folder(stage.alice, &name("Work/2026/May"), None).await.unwrap();
    stage.store.create_folder(stage.alice, &name("Sent"), Some("\\Sent")).await.unwrap();
    assert_eq!(stage.folder_names().await, ["INBOX", "Sent", "Work", "Work/2026", "Work/2026/May"]);
    let folders = stage.store.folders(stage.alice).await.unwrap();
    assert!(folders.iter().all(|folder| !folder.no_select));
    assert_eq!(folders[1].special_use.as_deref(), Some("\\Sent"));
    let again = stage.store.create_folder(stage.alice, &name("Work"), None).await.unwrap_err();
    assert!(matches!(again, StoreError::Exists(_)), "{again}");
}

pub async fn a_folder_with_others_below_stays_as_a_name(stage: &Stage) {
    stage.store.create_folder(stage.alice, &name("A/B"), None).await.unwrap();
    stage.put("A", "x").await;
    stage.store.delete_folder(stage.alice, &name("A")).await.unwrap();
    let folders = stage.store.folders(stage.alice).await.unwrap();
    let left: Vec<_> = folders.iter().map(|f| (f.name.as_str(), f.no_select)).collect();
    assert_eq!(left, [("INBOX", false), ("A", true), ("A/B", false)]);
    let open = stage.store.open(stage.alice, &name("A"), true).await;
    assert!(matches!(open, Err(StoreError::NotFound(_))), "{open:?}");
    stage.store.delete_folder(stage.alice, &name("A/B")).await.unwrap();
    assert_eq!(stage.folder_names().await, ["INBOX"]);
}

pub async fn a_folder_made_anew_has_a_greater_uid_validity(stage: &Stage) {
    let first = stage.store.create_folder(stage.alice, &name("A"), None).await.unwrap();
    stage.put("A", "x").await;
    stage.store.delete_folder(stage.alice, &name("A")).await.unwrap();
    assert_eq!(stage.store.usage(stage.alice).await.unwrap().messages, 0);
    let second = stage.store.create_folder(stage.alice, &name("A"), None).await.unwrap();
    assert!(second > first, "{second} > {first}");
    assert_eq!(stage.uids("A").await, []);
}

pub async fn a_renamed_folder_keeps_its_messages(stage: &Stage) {
    stage.store.create_folder(stage.alice, &name("A/B"), None).await.unwrap();
    let stored = stage.put("A/B", "x").await;
    stage.store.rename_folder(stage.alice, &name("A"), &name("C/D")).await.unwrap();
    assert_eq!(stage.folder_names().await, ["INBOX", "C", "C/D", "C/D/B"]);
    assert_eq!(stage.text("C/D/B", stored.uid).await, "x");
    let numbers = stage.store.numbers(stage.alice, &name("C/D/B")).await.unwrap();
    assert_eq!(numbers.uid_validity, stored.uid_validity);

    let rename = async |from, to| stage.store.rename_folder(stage.alice, &name(from), &name(to)).await;
    assert!(matches!(rename("C", "INBOX").await, Err(StoreError::Exists(_))));
    assert!(matches!(rename("C", "C/D/E").await, Err(StoreError::Invalid(_))));
    assert!(matches!(rename("X", "Y").await, Err(StoreError::NotFound(_))));
    assert_eq!(stage.text("C/D/B", stored.uid).await, "x");
}

pub async fn renaming_inbox_moves_its_messages_only(stage: &Stage) {
    stage.store.create_folder(stage.alice, &name("INBOX/Lists"), None).await.unwrap();
    stage.put("INBOX", "x").await;
    stage.store.rename_folder(stage.alice, &name("INBOX"), &name("Old")).await.unwrap();
    assert_eq!(stage.folder_names().await, ["INBOX", "INBOX/Lists", "Old"]);
    assert_eq!(stage.uids("INBOX").await, []);
    let moved = stage.uids("Old").await;
    assert_eq!(stage.text("Old", moved[0]).await, "x");
}

pub async fn names_of_all_kinds_are_kept(stage: &Stage) {
    let names = [
        "a.b",
        ".hidden",
        "a&b",
        "&-",
        "Entwürfe/Übrig",
        "日本語",
        "~tilde",
        "with space ",
        "100%",
        "*",
        "cur",
        "new",
        "tmp",
        "a,b",
        "quote\"",
        "back\\slash",
        "INBOX.x",
        "Inbox2",
        "😀",
    ];
    for (i, text) in names.iter().enumerate() {
        stage.store.create_folder(stage.alice, &name(text), None).await.unwrap();
        stage.put(text, &format!("{i}")).await;
    }
    let listed = stage.folder_names().await;
    for (i, text) in names.iter().enumerate() {
        assert!(listed.iter().any(|listed| listed == text), "{text:?} in {listed:?}");
        let uids = stage.uids(text).await;
        assert_eq!(uids.len(), 1, "{text:?}");
        assert_eq!(stage.text(text, uids[0]).await, format!("{i}"), "{text:?}");
    }
}

pub async fn subscriptions_outlive_the_folder(stage: &Stage) {
    let subscribed = async || {
        let folders = stage.store.folders(stage.alice).await.unwrap();
        folders.iter().filter(|f| f.subscribed).map(|f| f.name.to_string()).collect::<Vec<_>>()
    };
    stage.store.create_folder(stage.alice, &name("A"), None).await.unwrap();
    stage.store.subscribe(stage.alice, &name("A"), true).await.unwrap();
    assert_eq!(subscribed().await, ["INBOX", "A"]);
    stage.store.delete_folder(stage.alice, &name("A")).await.unwrap();
    stage.store.create_folder(stage.alice, &name("A"), None).await.unwrap();
    assert_eq!(subscribed().await, ["INBOX", "A"]);
    stage.store.subscribe(stage.alice, &name("A"), false).await.unwrap();
    assert_eq!(subscribed().await, ["INBOX"]);
}

pub async fn a_folder_that_is_not_there_is_said_so(stage: &Stage) {
    let nowhere = name("Nowhere");
    let missing = |error: StoreError| assert!(matches!(error, StoreError::NotFound(_)), "{error}");
    missing(stage.store.numbers(stage.alice, &nowhere).await.unwrap_err());
    missing(stage.store.delete_folder(stage.alice, &nowhere).await.unwrap_err());
    missing(stage.store.header(stage.alice, &nowhere, 1).await.unwrap_err());
    let uid = stage.put("INBOX", "x").await.uid;
    missing(stage.store.copy(stage.alice, &name("INBOX"), 0, &one(uid), &nowhere, 0).await.unwrap_err());
    missing(stage.store.move_to(stage.alice, &name("INBOX"), 0, &one(uid), &nowhere).await.unwrap_err());
    let body = super::Octets("x".into());
    missing(stage.store.store(stage.alice, super::mail("Nowhere"), &body).await.unwrap_err());
    assert_eq!(stage.uids("INBOX").await, [uid]);
}

pub async fn copies_are_new_messages(stage: &Stage) {
    let to_validity = stage.store.create_folder(stage.alice, &name("Copies"), None).await.unwrap();
    let first = stage.put("INBOX", "one").await.uid;
    let second = stage.put("INBOX", "two").await.uid;
    let flags = Flags { flagged: true, keywords: vec!["work".into()], ..Flags::default() };
    let order = FlagOrder { change: FlagChange::Set, flags: flags.clone(), unchanged_since: 0 };
    stage.store.store_flags(stage.alice, &name("INBOX"), 0, &one(second), &order).await.unwrap();
    let copied = stage.store.copy(stage.alice, &name("INBOX"), 0, &ALL, &name("Copies"), 0).await.unwrap();
    assert_eq!(copied.to_uid_validity, to_validity);
    assert_eq!(copied.uids.iter().map(|(from, _)| *from).collect::<Vec<_>>(), [first, second]);
    let targets: Vec<u32> = copied.uids.iter().map(|(_, to)| *to).collect();
    assert_eq!(stage.uids("Copies").await, targets);
    assert_eq!(stage.text("Copies", targets[1]).await, "two");
    let infos = stage.store.infos(stage.alice, &name("Copies"), 0, &ALL).await.unwrap();
    assert_eq!((&infos[1].flags, infos[1].internal_date), (&flags, 1_700_000_000_123_456));
    assert_eq!(stage.uids("INBOX").await, [first, second]);
    let into_itself = stage.store.copy(stage.alice, &name("INBOX"), 0, &one(first), &name("INBOX"), 0).await;
    assert_eq!(stage.text("INBOX", into_itself.unwrap().uids[0].1).await, "one");
    assert_eq!(stage.store.usage(stage.alice).await.unwrap().messages, 5);
}

pub async fn moved_messages_are_gone_here_and_there_there(stage: &Stage) {
    stage.store.create_folder(stage.alice, &name("Done"), None).await.unwrap();
    let first = stage.put("INBOX", "one").await;
    let second = stage.put("INBOX", "two").await.uid;
    let since = stage.mod_seq("INBOX").await;
    let moved =
        stage.store.move_to(stage.alice, &name("INBOX"), 0, &one(first.uid), &name("Done")).await.unwrap();
    assert_eq!(moved.uids[0].0, first.uid);
    assert_eq!(stage.uids("INBOX").await, [second]);
    assert_eq!(stage.text("Done", moved.uids[0].1).await, "one");
    let changes = stage.store.changes(stage.alice, &name("INBOX"), first.uid_validity, since).await.unwrap();
    assert_eq!(changes.expunged, [first.uid]);
    let again = stage.store.move_to(stage.alice, &name("Done"), 0, &ALL, &name("Done")).await.unwrap();
    assert!(again.uids[0].1 > moved.uids[0].1, "moved onto itself: a new message in its place");
    assert_eq!(stage.uids("Done").await, [again.uids[0].1]);
    assert_eq!(stage.text("Done", again.uids[0].1).await, "one");
    assert_eq!(stage.store.usage(stage.alice).await.unwrap().messages, 2);
}
