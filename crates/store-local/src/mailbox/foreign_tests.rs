//! Other programs in the same Maildir.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use maildir::Maildir;
use postroad_store::StoreError;
use postroad_store::contract::mailbox::{ALL, Octets, mail, name, one};
use postroad_store::mailbox::{FlagChange, FlagOrder, Flags, MailboxStore, MessageInfo};
use postroad_types::AccountId;

use super::{LocalMailboxes, Options, tests};

const ALICE: AccountId = AccountId(1);

struct Scene {
    dir: tempfile::TempDir,
    store: LocalMailboxes,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalMailboxes::open(dir.path(), tests::directory().await, Options::default()).unwrap();
        store.folders(ALICE).await.unwrap();
        Scene { dir, store }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("beta.test/alice")
    }

    /// The Maildir as another program sees it.
    fn maildir(&self) -> Maildir {
        Maildir::from(self.home())
    }

    async fn put(&self, text: &'static str) -> u32 {
        let body = Octets(Bytes::from_static(text.as_bytes()));
        self.store.store(ALICE, mail("INBOX"), &body).await.unwrap().uid
    }

    async fn infos(&self) -> Vec<MessageInfo> {
        self.store.infos(ALICE, &name("INBOX"), 0, &ALL).await.unwrap()
    }

    async fn uids(&self) -> Vec<u32> {
        self.infos().await.iter().map(|info| info.uid).collect()
    }
}

#[tokio::test]
async fn what_we_store_is_read_by_a_maildir_library() {
    let scene = Scene::new().await;
    scene.put("Subject: one\r\n\r\nbody").await;
    let two = scene.put("Subject: two\r\n\r\nbody").await;
    let flags = Flags { seen: true, answered: true, ..Flags::default() };
    let order = FlagOrder { change: FlagChange::Add, flags, unchanged_since: 0 };
    scene.store.store_flags(ALICE, &name("INBOX"), 0, &one(two), &order).await.unwrap();
    let maildir = scene.maildir();
    assert_eq!((maildir.count_new(), maildir.count_cur()), (1, 1));
    let mut entry = maildir.list_cur().next().unwrap().unwrap();
    assert!(entry.is_seen() && entry.is_replied() && !entry.is_flagged());
    assert_eq!(entry.parsed().unwrap().get_body().unwrap(), "body");
    scene.store.create_folder(ALICE, &name("Work/Sub"), None).await.unwrap();
    let mut names: Vec<_> = maildir.list_subdirs().map(|d| d.unwrap().path().to_owned()).collect();
    names.sort();
    let names: Vec<_> = names.iter().map(|p| p.file_name().unwrap().to_string_lossy()).collect();
    assert_eq!(names, [".Work", ".Work.Sub"]);
}

#[tokio::test]
async fn a_message_put_there_by_others_gets_a_uid_for_ever() {
    let scene = Scene::new().await;
    let ours = scene.put("Subject: ours\r\n\r\n").await;
    let id = scene.maildir().store_new(b"Subject: theirs\r\n\r\n").unwrap();
    let plain = scene.home().join("cur/1700000000.without-flags");
    fs::write(&plain, "Subject: plain\r\n\r\n").unwrap();
    let uids = scene.uids().await;
    assert_eq!((uids.len(), uids[0]), (3, ours));
    assert!(uids.is_sorted_by(|a, b| a < b));
    let mut texts = Vec::new();
    for uid in &uids {
        let octets = scene.store.read(ALICE, &name("INBOX"), *uid, 0, 100).await.unwrap();
        texts.push(String::from_utf8(octets.to_vec()).unwrap());
    }
    texts[1..].sort();
    assert_eq!(texts, ["Subject: ours\r\n\r\n", "Subject: plain\r\n\r\n", "Subject: theirs\r\n\r\n"]);
    // Another program still finds it, under the unique part of its name.
    let still = fs::read_dir(scene.home().join("new")).unwrap();
    let unique = id.split(',').next().unwrap();
    assert!(still.map(|e| e.unwrap().file_name()).any(|n| n.to_string_lossy().starts_with(unique)));
    let numbers = scene.store.numbers(ALICE, &name("INBOX")).await.unwrap();
    assert_eq!(numbers.messages, 3);
    assert_eq!(scene.uids().await, uids);
    assert!(scene.put("x").await > uids[2]);
}

#[tokio::test]
async fn a_message_taken_away_by_others_is_expunged() {
    let scene = Scene::new().await;
    let gone = scene.put("gone").await;
    let stays = scene.put("stays").await;
    let before = scene.store.numbers(ALICE, &name("INBOX")).await.unwrap();
    let tag = format!(".{gone}");
    let file = fs::read_dir(scene.home().join("new")).unwrap().map(|e| e.unwrap().path());
    let file = file.into_iter().find(|p| p.to_string_lossy().ends_with(&tag)).unwrap();
    fs::remove_file(file).unwrap();
    let read = scene.store.read(ALICE, &name("INBOX"), gone, 0, 10).await.unwrap_err();
    assert!(matches!(read, StoreError::NotFound(_)), "{read}");
    let changes = scene
        .store
        .changes(ALICE, &name("INBOX"), before.uid_validity, before.highest_mod_seq)
        .await
        .unwrap();
    assert_eq!(changes.expunged, [gone]);
    assert_eq!(scene.uids().await, [stays]);
}

#[tokio::test]
async fn flags_that_others_set_are_ours_and_reading_goes_on_meanwhile() {
    let scene = Scene::new().await;
    let uid = scene.put("text").await;
    let before = scene.infos().await[0].mod_seq;
    let maildir = scene.maildir();
    let id = maildir.list_new().next().unwrap().unwrap().id().to_owned();
    maildir.move_new_to_cur_with_flags(&id, "FS").unwrap();
    let octets = scene.store.read(ALICE, &name("INBOX"), uid, 0, 10).await.unwrap();
    assert_eq!(octets, "text", "found under its new name");
    let infos = scene.infos().await;
    assert!(infos[0].flags.seen && infos[0].flags.flagged && infos[0].mod_seq > before);
    let order = FlagOrder {
        change: FlagChange::Remove,
        flags: Flags { flagged: true, ..Flags::default() },
        unchanged_since: 0,
    };
    scene.store.store_flags(ALICE, &name("INBOX"), 0, &ALL, &order).await.unwrap();
    assert_eq!(maildir.find(&id).unwrap().flags(), "S");
}

#[tokio::test]
async fn a_message_moved_or_copied_between_folders_by_others_is_a_new_one_there() {
    let scene = Scene::new().await;
    scene.store.create_folder(ALICE, &name("Other"), None).await.unwrap();
    scene.put("moved").await;
    let kept = scene.put("copied").await;
    let files: Vec<PathBuf> =
        fs::read_dir(scene.home().join("new")).unwrap().map(|e| e.unwrap().path()).collect();
    for file in files {
        let target = scene.home().join(".Other/new").join(file.file_name().unwrap());
        fs::copy(&file, target).unwrap();
        if fs::read(&file).unwrap() == b"moved" {
            fs::remove_file(file).unwrap();
        }
    }
    assert_eq!(scene.uids().await, [kept]);
    let others = scene.store.infos(ALICE, &name("Other"), 0, &ALL).await.unwrap();
    assert_eq!(others.len(), 2);
    // A copy in the same folder is a message of its own.
    let file = fs::read_dir(scene.home().join("new")).unwrap().next().unwrap().unwrap().path();
    let base = file.file_name().unwrap().to_string_lossy().into_owned();
    fs::copy(&file, scene.home().join("cur").join(format!("1.copy,{}:2,S", base.split_once(',').unwrap().1)))
        .unwrap();
    let uids = scene.uids().await;
    assert!(uids.len() == 2 && uids[0] == kept && uids[1] > kept, "{uids:?}");
}

#[tokio::test]
async fn folders_made_renamed_and_removed_by_others_are_seen() {
    let scene = Scene::new().await;
    let validity = scene.store.create_folder(ALICE, &name("A"), None).await.unwrap();
    let body = Octets(Bytes::from_static(b"x"));
    let uid = scene.store.store(ALICE, mail("A"), &body).await.unwrap().uid;
    fs::rename(scene.home().join(".A"), scene.home().join(".B&AC4-x")).unwrap();
    scene.maildir().create_subfolder_dirs(".New").unwrap();
    Maildir::from(scene.home().join(".New")).store_new(b"y").unwrap();
    let folders = scene.store.folders(ALICE).await.unwrap();
    let names: Vec<_> = folders.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["INBOX", "B.x", "New"]);
    let numbers = scene.store.numbers(ALICE, &name("B.x")).await.unwrap();
    assert_eq!((numbers.uid_validity, numbers.messages), (validity, 1));
    assert_eq!(scene.store.read(ALICE, &name("B.x"), uid, 0, 10).await.unwrap(), "x");
    assert_eq!(scene.store.numbers(ALICE, &name("New")).await.unwrap().messages, 1);
    assert_eq!(scene.store.usage(ALICE).await.unwrap().messages, 2);
    fs::remove_dir_all(scene.home().join(".New")).unwrap();
    let gone = scene.store.numbers(ALICE, &name("New")).await.unwrap_err();
    assert!(matches!(gone, StoreError::NotFound(_)), "{gone}");
    assert_eq!(scene.store.usage(ALICE).await.unwrap().messages, 1);
}

#[tokio::test]
async fn more_accounts_than_may_be_open_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { accounts_open_max: 1, ..Options::default() };
    let store = Arc::new(LocalMailboxes::open(dir.path(), tests::directory().await, options).unwrap());
    for round in 1..5u32 {
        for account in [AccountId(1), AccountId(2)] {
            store.store(account, mail("INBOX"), &Octets(Bytes::from_static(b"x"))).await.unwrap();
            let numbers = store.numbers(account, &name("INBOX")).await.unwrap();
            assert_eq!((numbers.messages, numbers.uid_next), (round, round + 1), "closed in order: no gap");
        }
    }
}

#[tokio::test]
async fn a_message_whose_file_is_cut_off_is_reported_alone() {
    let scene = Scene::new().await;
    let cut = scene.put("this will be cut").await;
    let fine = scene.put("fine").await;
    let files = fs::read_dir(scene.home().join("new")).unwrap().map(|e| e.unwrap().path());
    for file in files {
        if fs::read(&file).unwrap() != b"fine" {
            fs::write(&file, "this").unwrap();
        }
    }
    let read = scene.store.read(ALICE, &name("INBOX"), cut, 0, 100).await.unwrap_err();
    assert!(matches!(read, StoreError::Damaged(_)), "{read}");
    assert_eq!(scene.store.read(ALICE, &name("INBOX"), fine, 0, 100).await.unwrap(), "fine");
    assert_eq!(scene.uids().await, [cut, fine]);
}
