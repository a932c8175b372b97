//! Mailboxes through crashes: nothing that was promised is lost, no number is given twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::contract::mailbox::{ALL, Octets, mail, name, one};
use postroad_store::mailbox::{
    FlagChange, FlagOrder, Flags, MailboxStore, MessageInfo, NewMail, Stored, UidRange,
};
use postroad_types::{AccountId, TraceId};

use super::deliver::JOURNAL_OCTETS_MAX;
use super::{LocalMailboxes, Options, tests};
use crate::journal;

/// Where a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Journalled,
    Written,
    Committed,
    Renamed,
    Removed,
}

const ALICE: AccountId = AccountId(1);

/// Mailboxes that die and come back.
struct Scene {
    dir: tempfile::TempDir,
    store: LocalMailboxes,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Scene::open(dir.path()).await;
        Scene { dir, store }
    }

    async fn open(root: &Path) -> LocalMailboxes {
        // Nothing is released of the journal but by closing.
        let journal = journal::Options { release_after: Duration::from_secs(3600), ..Default::default() };
        let options = Options { journal, ..Options::default() };
        let directory = tests::directory().await;
        // Work of the one that died may be going on; it holds the lock until then.
        for _ in 0..1000 {
            match LocalMailboxes::open(root, directory.clone(), options) {
                Err(StoreError::Unavailable(why)) if why.contains("another process") => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => return opened.unwrap(),
            }
        }
        panic!("the lock is never given up");
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("beta.test/alice")
    }

    async fn dies_at(&self, step: Step) {
        let account = self.store.accounts.get(ALICE).await.unwrap();
        account.writer().await.dies_at = Some(step);
    }

    /// The process is killed and started again; what was written stays, synced or not.
    async fn killed(self) -> Scene {
        self.store.accounts.abandon();
        let Scene { dir, store } = self;
        drop(store);
        let store = Scene::open(dir.path()).await;
        Scene { dir, store }
    }

    /// The power is cut: `harm` takes from the disk what was not flushed.
    async fn without_power(self, harm: impl FnOnce(&Path)) -> Scene {
        self.store.accounts.abandon();
        let Scene { dir, store } = self;
        drop(store);
        harm(&dir.path().join("beta.test/alice"));
        let store = Scene::open(dir.path()).await;
        Scene { dir, store }
    }

    async fn closed(self) -> Scene {
        let Scene { dir, store } = self;
        store.close().await;
        drop(store);
        let store = Scene::open(dir.path()).await;
        Scene { dir, store }
    }

    async fn deliver(&self, key: &str) -> Result<Stored, StoreError> {
        let new =
            NewMail { key: Some(key.to_owned()), trace_id: Some(TraceId::new([9; 16])), ..mail("INBOX") };
        self.store.store(ALICE, new, &Octets(Bytes::from(format!("Subject: {key}\r\n\r\n")))).await
    }

    /// Too large for the journal: it is flushed on its own.
    async fn deliver_large(&self, key: &str) -> Result<Stored, StoreError> {
        let new = NewMail { key: Some(key.to_owned()), ..mail("INBOX") };
        let filler = "z".repeat(usize::try_from(JOURNAL_OCTETS_MAX).unwrap());
        let body = Octets(Bytes::from(format!("Subject: {key}\r\n\r\n{filler}")));
        self.store.store(ALICE, new, &body).await
    }

    async fn infos(&self) -> Vec<MessageInfo> {
        self.store.infos(ALICE, &name("INBOX"), 0, &ALL).await.unwrap()
    }

    async fn subjects(&self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        for info in self.infos().await {
            let octets = self.store.read(ALICE, &name("INBOX"), info.uid, 0, 1000).await.unwrap();
            let text = String::from_utf8(octets.to_vec()).unwrap();
            found.push((info.uid, text["Subject: ".len()..].trim().to_owned()));
        }
        found
    }

    async fn mod_seq(&self) -> u64 {
        self.store.numbers(ALICE, &name("INBOX")).await.unwrap().highest_mod_seq
    }

    async fn uid_validity(&self) -> u32 {
        self.store.numbers(ALICE, &name("INBOX")).await.unwrap().uid_validity
    }
}

fn remove_index(home: &Path) {
    for entry in fs::read_dir(home).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("postroad-index") {
            fs::remove_file(path).unwrap();
        }
    }
}

fn copy_index(from: &Path, to: &Path) {
    remove_index(to);
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let file_name = path.file_name().unwrap();
        if file_name.to_string_lossy().starts_with("postroad-index") {
            fs::copy(&path, to.join(file_name)).unwrap();
        }
    }
}

fn message_files(home: &Path) -> Vec<PathBuf> {
    let files =
        |sub: &str| fs::read_dir(home.join(sub)).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    [files("new"), files("cur")].concat()
}

#[tokio::test]
async fn killed_at_any_step_of_a_delivery_a_repeat_gives_one_message() {
    for step in [Step::Journalled, Step::Written, Step::Committed] {
        let scene = Scene::new().await;
        let first = scene.deliver("one").await.unwrap();
        scene.dies_at(step).await;
        scene.deliver("two").await.unwrap_err();
        let scene = scene.killed().await;
        let again = scene.deliver("two").await.unwrap();
        assert!(again.duplicate && again.uid > first.uid, "{step:?}: {again:?}");
        let expected = [(first.uid, "one".to_owned()), (again.uid, "two".to_owned())];
        assert_eq!(scene.subjects().await, expected, "{step:?}");
        let three = scene.deliver("three").await.unwrap();
        assert!(three.uid > again.uid && three.uid_validity == first.uid_validity);
        assert_eq!(fs::read_dir(scene.home().join("tmp")).unwrap().count(), 0, "{step:?}");
    }
}

#[tokio::test]
async fn killed_at_any_step_of_a_large_delivery_a_repeat_gives_one_message() {
    for step in [Step::Journalled, Step::Written, Step::Committed] {
        let scene = Scene::new().await;
        scene.store.create_folder(ALICE, &name("Work"), None).await.unwrap();
        let first = scene.deliver("one").await.unwrap();
        scene.dies_at(step).await;
        scene.deliver_large("two").await.unwrap_err();
        let scene = scene.killed().await;
        let again = scene.deliver_large("two").await.unwrap();
        // Before its file has its name, a large mail is nowhere.
        assert_eq!(again.duplicate, step != Step::Journalled, "{step:?}: {again:?}");
        assert!(again.uid > first.uid, "{step:?}: {again:?}");
        assert_eq!(scene.infos().await.len(), 2, "{step:?}");
        assert!(scene.deliver_large("two").await.unwrap().duplicate);
        assert_eq!(fs::read_dir(scene.home().join("tmp")).unwrap().count(), 0, "{step:?}");
    }
}

#[tokio::test]
async fn a_power_cut_right_after_delivery_loses_neither_mail_nor_numbers() {
    let scene = Scene::new().await;
    scene.deliver("old").await.unwrap();
    let before = tempfile::tempdir().unwrap();
    copy_index(&scene.home(), before.path());
    let mut stored = Vec::new();
    for key in ["torn", "gone", "whole"] {
        stored.push(scene.deliver(key).await.unwrap());
    }
    let told = scene.mod_seq().await;
    let scene = scene
        .without_power(|home| {
            // Index as it was before, one file empty, one never there.
            copy_index(before.path(), home);
            let find = |uid: u32| {
                let tag = format!(".{uid},");
                message_files(home).into_iter().find(|p| p.to_string_lossy().contains(&tag)).unwrap()
            };
            fs::write(find(stored[0].uid), "").unwrap();
            fs::remove_file(find(stored[1].uid)).unwrap();
        })
        .await;
    let subjects = scene.subjects().await;
    assert_eq!(subjects[0].1, "old");
    let found: Vec<_> = subjects[1..].iter().map(|(uid, key)| (*uid, key.as_str())).collect();
    let expected: Vec<_> =
        stored.iter().zip(["torn", "gone", "whole"]).map(|(stored, key)| (stored.uid, key)).collect();
    assert_eq!(found, expected, "the same messages under the same UIDs");
    assert_eq!(scene.uid_validity().await, stored[0].uid_validity);
    assert!(scene.deliver("gone").await.unwrap().duplicate);
    assert!(scene.mod_seq().await > told, "MODSEQ goes on behind what was told");
    assert!(scene.infos().await.iter().all(|info| info.trace_id == Some(TraceId::new([9; 16]))));
    assert!(scene.deliver("next").await.unwrap().uid > stored[2].uid);
}

#[tokio::test]
async fn a_uid_that_only_a_lost_index_knew_is_not_given_again() {
    let scene = Scene::new().await;
    scene.deliver("kept").await.unwrap();
    let order = FlagOrder {
        change: FlagChange::Add,
        flags: Flags { deleted: true, ..Flags::default() },
        unchanged_since: 0,
    };
    let gone = scene.deliver("expunged").await.unwrap();
    scene.store.store_flags(ALICE, &name("INBOX"), 0, &one(gone.uid), &order).await.unwrap();
    scene.store.expunge(ALICE, &name("INBOX"), 0, None).await.unwrap();
    let told = scene.mod_seq().await;
    let scene = scene.closed().await;
    let scene = scene.without_power(remove_index).await;
    assert_eq!(scene.uid_validity().await, gone.uid_validity);
    let next = scene.deliver("next").await.unwrap();
    assert!(next.uid > gone.uid, "{next:?} behind {gone:?}");
    assert!(scene.mod_seq().await > told);
    let subjects: Vec<String> = scene.subjects().await.into_iter().map(|(_, s)| s).collect();
    assert_eq!(subjects, ["kept", "next"]);
}

#[tokio::test]
async fn an_index_that_is_lost_or_damaged_is_made_again_with_the_same_numbers() {
    let flags = Flags {
        seen: true,
        flagged: true,
        keywords: vec!["$Junk".into(), "work".into()],
        ..Flags::default()
    };
    let harms: [fn(&Path); 3] = [
        remove_index,
        |home| fs::write(home.join("postroad-index.sqlite"), vec![0xA5; 20_000]).unwrap(),
        |home| {
            let path = home.join("postroad-index.sqlite");
            let mut octets = fs::read(&path).unwrap();
            let end = octets.len();
            octets[4096..end].fill(0x5A);
            fs::write(&path, octets).unwrap();
        },
    ];
    for (i, harm) in harms.into_iter().enumerate() {
        let scene = Scene::new().await;
        scene.store.create_folder(ALICE, &name("Work/Entwürfe"), Some("\\Drafts")).await.unwrap();
        scene.store.subscribe(ALICE, &name("Work"), true).await.unwrap();
        for key in ["a", "b", "c"] {
            scene.deliver(key).await.unwrap();
        }
        let order = FlagOrder { change: FlagChange::Set, flags: flags.clone(), unchanged_since: 0 };
        scene
            .store
            .store_flags(ALICE, &name("INBOX"), 0, &[UidRange { first: 1, last: 2 }], &order)
            .await
            .unwrap();
        let folders = scene.store.folders(ALICE).await.unwrap();
        let before = scene.infos().await;
        let validities = (scene.uid_validity().await, {
            scene.store.numbers(ALICE, &name("Work/Entwürfe")).await.unwrap().uid_validity
        });
        let scene = scene.closed().await.without_power(harm).await;
        assert_eq!(scene.store.folders(ALICE).await.unwrap(), folders, "harm {i}");
        let after = scene.infos().await;
        for (before, after) in before.iter().zip(&after) {
            assert!(after.mod_seq > before.mod_seq, "harm {i}: {after:?} after {before:?}");
            assert_eq!(
                MessageInfo { mod_seq: 0, ..after.clone() },
                MessageInfo { mod_seq: 0, ..before.clone() }
            );
        }
        assert_eq!(after.len(), 3);
        let again = (scene.uid_validity().await, {
            scene.store.numbers(ALICE, &name("Work/Entwürfe")).await.unwrap().uid_validity
        });
        assert_eq!(again, validities);
        assert!(scene.deliver("b").await.unwrap().duplicate, "keys stand in the names");
    }
}

#[tokio::test]
async fn killed_between_file_and_index_flags_and_expunges_are_found_again() {
    let scene = Scene::new().await;
    let one_uid = scene.deliver("one").await.unwrap().uid;
    let deleted = FlagOrder {
        change: FlagChange::Add,
        flags: Flags { deleted: true, keywords: vec!["work".into()], ..Flags::default() },
        unchanged_since: 0,
    };
    scene.dies_at(Step::Renamed).await;
    scene.store.store_flags(ALICE, &name("INBOX"), 0, &ALL, &deleted).await.unwrap_err();
    let scene = scene.killed().await;
    let infos = scene.infos().await;
    assert_eq!(infos[0].uid, one_uid);
    assert!(infos[0].flags.deleted && infos[0].flags.keywords == ["work"]);

    scene.dies_at(Step::Removed).await;
    scene.store.expunge(ALICE, &name("INBOX"), 0, None).await.unwrap_err();
    // The mail was still in the journal: either is right, since nobody was told.
    let scene = scene.killed().await;
    let infos = scene.infos().await;
    assert!(infos.iter().all(|info| info.uid == one_uid));
    let scene = scene.closed().await;
    scene.store.store_flags(ALICE, &name("INBOX"), 0, &ALL, &deleted).await.unwrap();
    let (gone, _) = scene.store.expunge(ALICE, &name("INBOX"), 0, None).await.unwrap();
    assert!(gone.len() <= 1);
    let scene = scene.killed().await;
    assert_eq!(scene.infos().await, []);
    assert!(scene.deliver("one").await.unwrap().duplicate);
}

#[tokio::test]
async fn an_expunged_message_does_not_come_back_out_of_the_journal() {
    let scene = Scene::new().await;
    scene.store.create_folder(ALICE, &name("Done"), None).await.unwrap();
    scene.deliver("moved").await.unwrap();
    scene.store.move_to(ALICE, &name("INBOX"), 0, &ALL, &name("Done")).await.unwrap();
    let new = NewMail { flags: Flags { deleted: true, ..Flags::default() }, ..mail("INBOX") };
    scene.store.store(ALICE, new, &Octets(Bytes::from_static(b"x"))).await.unwrap();
    scene.store.expunge(ALICE, &name("INBOX"), 0, None).await.unwrap();
    let scene = scene.killed().await;
    assert_eq!(scene.infos().await, []);
    let moved = scene.store.infos(ALICE, &name("Done"), 0, &ALL).await.unwrap();
    assert_eq!(moved.len(), 1);
    scene.store.delete_folder(ALICE, &name("Done")).await.unwrap();
    scene.store.create_folder(ALICE, &name("Done"), None).await.unwrap();
    let scene = scene.killed().await;
    assert_eq!(scene.store.infos(ALICE, &name("Done"), 0, &ALL).await.unwrap(), []);
    scene.deliver("purged").await.unwrap();
    scene.store.purge(ALICE).await.unwrap();
    let scene = scene.killed().await;
    assert_eq!(scene.infos().await, []);
}

#[tokio::test]
async fn a_large_mail_survives_without_the_journal() {
    let scene = Scene::new().await;
    let body: Bytes = vec![b'x'; 2_000_000].into();
    let stored = scene.store.store(ALICE, mail("INBOX"), &Octets(body.clone())).await.unwrap();
    let scene = scene.killed().await;
    let read = scene.store.read(ALICE, &name("INBOX"), stored.uid, 0, usize::MAX).await.unwrap();
    assert!(read == body);
    let files = fs::read_dir(scene.dir.path().join(".postroad")).unwrap().map(|e| e.unwrap().path());
    let journalled: u64 = files.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(journalled < 2_000_000);
}

#[tokio::test]
async fn a_hundred_kills_at_any_time_lose_nothing_that_was_promised() {
    let mut scene = Scene::new().await;
    let mut promised: Vec<(u32, String)> = Vec::new();
    for round in 0..25 {
        let deliveries = (0..8).map(|i| {
            let scene = &scene;
            async move {
                let key = format!("round {round} mail {i}");
                (scene.deliver(&key).await, key)
            }
        });
        let mut all = Box::pin(futures_util::future::join_all(deliveries));
        let patience = Duration::from_micros(rand::random_range(0..4000));
        // Some rounds are cut off before their answers: nothing was promised then.
        if let Ok(answers) = tokio::time::timeout(patience, &mut all).await {
            promised.extend(answers.into_iter().map(|(stored, key)| (stored.unwrap().uid, key)));
        }
        drop(all);
        scene = scene.killed().await;
        let subjects = scene.subjects().await;
        for promise in &promised {
            assert!(subjects.contains(promise), "round {round}: {promise:?} in {subjects:?}");
        }
        let mut keys: Vec<&String> = subjects.iter().map(|(_, key)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), subjects.len(), "no mail twice");
    }
}

#[tokio::test]
async fn a_mailbox_damaged_while_it_is_open_is_made_again() {
    let scene = Scene::new().await;
    let uid = scene.deliver("one").await.unwrap().uid;
    let scene = scene.closed().await;
    assert_eq!(scene.infos().await.len(), 1);
    let path = scene.home().join("postroad-index.sqlite");
    let mut octets = fs::read(&path).unwrap();
    octets[4096..].fill(0x77);
    fs::write(&path, octets).unwrap();
    // Whatever is in caches may still be answered; soon everything is right again, without a restart.
    let mut healed = false;
    for round in 0..10 {
        let result = scene.deliver(&format!("try {round}")).await;
        healed = result.is_ok();
    }
    assert!(healed);
    let subjects = scene.subjects().await;
    assert!(subjects.contains(&(uid, "one".to_owned())), "{subjects:?}");
    assert!(Arc::strong_count(&scene.store.accounts) >= 1);
}
