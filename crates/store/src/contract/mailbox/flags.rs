//! Flags, expunge, what changed since, UID ranges.

use super::{ALL, Stage, name, one};
use crate::error::StoreError;
use crate::mailbox::{FlagChange, FlagOrder, Flags, UidRange};

fn order(change: FlagChange, flags: Flags) -> FlagOrder {
    FlagOrder { change, flags, unchanged_since: 0 }
}

fn deleted() -> FlagOrder {
    order(FlagChange::Add, Flags { deleted: true, ..Flags::default() })
}

pub async fn flags_are_set_added_and_removed(stage: &Stage) {
    let uid = stage.put("INBOX", "x").await.uid;
    let apply = async |change, flags: Flags| {
        let order = order(change, flags);
        stage.store.store_flags(stage.alice, &name("INBOX"), 0, &one(uid), &order).await.unwrap().0
    };
    let keywords = |list: &[&str]| list.iter().map(|k| k.to_string()).collect::<Vec<_>>();
    let seen = Flags { seen: true, keywords: keywords(&["work", "$Junk"]), ..Flags::default() };
    let changed = apply(FlagChange::Add, seen).await;
    assert_eq!(changed[0].flags.keywords, ["$Junk", "work"]);
    assert_eq!(stage.store.numbers(stage.alice, &name("INBOX")).await.unwrap().unseen, 0);

    let same = Flags { seen: true, keywords: keywords(&["WORK"]), ..Flags::default() };
    assert_eq!(apply(FlagChange::Add, same).await, [], "nothing changed");

    let less = Flags { keywords: keywords(&["$junk"]), ..Flags::default() };
    let changed_again = apply(FlagChange::Remove, less).await;
    assert!(changed_again[0].mod_seq > changed[0].mod_seq);
    assert!(changed_again[0].flags.seen && changed_again[0].flags.keywords == ["work"]);

    let all = Flags { answered: true, flagged: true, draft: true, deleted: true, ..Flags::default() };
    apply(FlagChange::Set, all.clone()).await;
    let infos = stage.store.infos(stage.alice, &name("INBOX"), 0, &ALL).await.unwrap();
    assert_eq!(infos[0].flags, all);
    assert_eq!(stage.store.numbers(stage.alice, &name("INBOX")).await.unwrap().unseen, 1);
    assert_eq!(stage.text("INBOX", uid).await, "x", "the octets stay as they were");
}

pub async fn unchanged_since_leaves_what_is_newer(stage: &Stage) {
    let old = stage.put("INBOX", "old").await.uid;
    let since = stage.mod_seq("INBOX").await;
    let new = stage.put("INBOX", "new").await.uid;
    let order = FlagOrder { unchanged_since: since, ..deleted() };
    let (changed, left) =
        stage.store.store_flags(stage.alice, &name("INBOX"), 0, &ALL, &order).await.unwrap();
    assert_eq!(changed.iter().map(|info| info.uid).collect::<Vec<_>>(), [old]);
    assert_eq!(left, [new]);
}

pub async fn expunge_takes_only_the_deleted(stage: &Stage) {
    let mut uids = Vec::new();
    for i in 0..4 {
        uids.push(stage.put("INBOX", &format!("{i}")).await.uid);
    }
    let two = [UidRange { first: uids[1], last: uids[2] }];
    stage.store.store_flags(stage.alice, &name("INBOX"), 0, &two, &deleted()).await.unwrap();
    let before = stage.mod_seq("INBOX").await;
    let some = [UidRange { first: uids[2], last: u32::MAX }];
    let (gone, mod_seq) = stage.store.expunge(stage.alice, &name("INBOX"), 0, Some(&some)).await.unwrap();
    assert_eq!(gone, [uids[2]]);
    assert!(mod_seq > before);
    let (gone, _) = stage.store.expunge(stage.alice, &name("INBOX"), 0, None).await.unwrap();
    assert_eq!(gone, [uids[1]]);
    assert_eq!(stage.uids("INBOX").await, [uids[0], uids[3]]);
    assert_eq!(stage.store.usage(stage.alice).await.unwrap().octets, 2);
    let read = stage.store.read(stage.alice, &name("INBOX"), uids[1], 0, 10).await;
    assert!(matches!(read, Err(StoreError::NotFound(_))), "{read:?}");
    let next = stage.put("INBOX", "new").await.uid;
    assert!(next > uids[3]);
}

pub async fn changes_tell_what_is_new_changed_and_gone(stage: &Stage) {
    let inbox = name("INBOX");
    let kept = stage.put("INBOX", "kept").await;
    let lost = stage.put("INBOX", "lost").await.uid;
    let flagged = stage.put("INBOX", "flagged").await.uid;
    let since = stage.mod_seq("INBOX").await;
    let nothing = stage.store.changes(stage.alice, &inbox, kept.uid_validity, since).await.unwrap();
    assert_eq!((nothing.changed, nothing.expunged), (vec![], vec![]));

    stage.store.store_flags(stage.alice, &inbox, 0, &one(lost), &deleted()).await.unwrap();
    stage.store.expunge(stage.alice, &inbox, 0, None).await.unwrap();
    let flag = order(FlagChange::Add, Flags { flagged: true, ..Flags::default() });
    stage.store.store_flags(stage.alice, &inbox, 0, &one(flagged), &flag).await.unwrap();
    let new = stage.put("INBOX", "new").await.uid;

    let changes = stage.store.changes(stage.alice, &inbox, kept.uid_validity, since).await.unwrap();
    assert_eq!(changes.changed.iter().map(|info| info.uid).collect::<Vec<_>>(), [flagged, new]);
    assert_eq!(changes.expunged, [lost]);
    assert_eq!(changes.numbers, stage.store.numbers(stage.alice, &inbox).await.unwrap());
}

pub async fn ranges_mean_what_imap_means(stage: &Stage) {
    let mut uids = Vec::new();
    for i in 0..3 {
        uids.push(stage.put("INBOX", &format!("{i}")).await.uid);
    }
    let found = async |first, last| {
        let range = [UidRange { first, last }];
        let infos = stage.store.infos(stage.alice, &name("INBOX"), 0, &range).await.unwrap();
        infos.iter().map(|info| info.uid).collect::<Vec<_>>()
    };
    assert_eq!(found(1, u32::MAX).await, uids);
    assert_eq!(found(u32::MAX, u32::MAX).await, [uids[2]]);
    assert_eq!(found(uids[2] + 1000, u32::MAX).await, [uids[2]], "559:* holds the highest");
    assert_eq!(found(uids[1], uids[0]).await, uids[..2]);
    assert_eq!(found(uids[2] + 1, uids[2] + 1).await, []);
    let twice = [UidRange { first: 1, last: u32::MAX }, UidRange { first: uids[0], last: uids[0] }];
    assert_eq!(stage.store.infos(stage.alice, &name("INBOX"), 0, &twice).await.unwrap().len(), 3);
}

pub async fn recent_is_taken_once(stage: &Stage) {
    let inbox = name("INBOX");
    let first = stage.put("INBOX", "x").await.uid;
    let (looked, _) = stage.store.open(stage.alice, &inbox, false).await.unwrap();
    let (taken, _) = stage.store.open(stage.alice, &inbox, true).await.unwrap();
    assert!(looked.first_recent_uid <= first && taken.first_recent_uid <= first);
    let second = stage.put("INBOX", "y").await.uid;
    let (again, _) = stage.store.open(stage.alice, &inbox, true).await.unwrap();
    assert!(again.first_recent_uid > first && again.first_recent_uid <= second);
}

pub async fn a_wrong_uid_validity_is_refused(stage: &Stage) {
    let inbox = name("INBOX");
    let wrong = stage.put("INBOX", "x").await.uid_validity + 1;
    let stale = |error: StoreError| assert!(matches!(error, StoreError::Stale(_)), "{error}");
    stale(stage.store.infos(stage.alice, &inbox, wrong, &ALL).await.unwrap_err());
    stale(stage.store.changes(stage.alice, &inbox, wrong, 0).await.unwrap_err());
    stale(stage.store.store_flags(stage.alice, &inbox, wrong, &ALL, &deleted()).await.unwrap_err());
    stale(stage.store.expunge(stage.alice, &inbox, wrong, None).await.unwrap_err());
    stale(stage.store.copy(stage.alice, &inbox, wrong, &ALL, &inbox, 0).await.unwrap_err());
    stale(stage.store.move_to(stage.alice, &inbox, wrong, &ALL, &inbox).await.unwrap_err());
}
