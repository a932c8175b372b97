//! The journal through crashes.

use std::fs;

use postroad_store::mailbox::Flags;

use super::record::{Mail, in_force};
use super::*;

fn mail(uid: u32) -> Mail {
    Mail {
        home: PathBuf::from("beta.test/bob"),
        account: 1,
        uid_validity: 7,
        uid,
        base: format!("{uid}.host"),
        in_new: true,
        flags: (&Flags { seen: true, keywords: vec!["x".into()], ..Flags::default() }).into(),
        internal_date: 5,
        at: 6,
    }
}

fn payload(uid: u32) -> Vec<u8> {
    Record::encode_mail(&mail(uid), b"prefix ", format!("body {uid}").as_bytes()).unwrap()
}

fn open(dir: &Path) -> (Journal, Vec<Record>) {
    let options = Options { segment_octets: 2000, release_after: Duration::from_secs(3600) };
    let mut found = Vec::new();
    let journal = Journal::open(dir, options, |records| {
        found = records;
        Ok(())
    });
    (journal.unwrap(), found)
}

fn crash(journal: Journal) {
    journal.abandon();
    drop(journal);
}

fn uids(records: &[Record]) -> Vec<u32> {
    let mails = in_force(records.to_vec());
    mails.iter().map(|(mail, _)| mail.uid).collect()
}

#[test]
fn what_was_appended_comes_back_after_a_crash_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, found) = open(dir.path());
    assert_eq!(found, []);
    drop(journal.append(vec![payload(1), payload(2)]).unwrap());
    crash(journal);
    let (journal, found) = open(dir.path());
    assert_eq!(found[0], Record::Mail(mail(1), b"prefix body 1".to_vec()));
    assert_eq!(uids(&found), [1, 2]);
    drop(journal.append(vec![payload(3)]).unwrap());
    drop(journal);
    let (_, found) = open(dir.path());
    assert_eq!(found, [], "an orderly end leaves nothing to do");
}

#[test]
fn a_segment_that_is_held_is_not_released() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let held = journal.append(vec![payload(1)]).unwrap();
    for uid in 2..100 {
        drop(journal.append(vec![payload(uid)]).unwrap());
        if journal.shared.state().released_later.len() >= SEALED_MAX - 1 {
            break;
        }
    }
    crash(journal);
    drop(held);
    let (_, found) = open(dir.path());
    assert_eq!(uids(&found)[..2], [1, 2], "the first segment and all behind it are there");
}

#[test]
fn old_records_in_a_file_used_again_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5u32 {
        let (journal, found) = open(dir.path());
        assert!(found.len() <= 1, "{found:?}");
        for uid in 0..50 {
            drop(journal.append(vec![payload(round * 100 + uid)]).unwrap());
        }
        drop(journal);
        let (journal, found) = open(dir.path());
        assert_eq!(found, []);
        drop(journal.append(vec![payload(round * 100 + 99)]).unwrap());
        crash(journal);
        let (journal, found) = open(dir.path());
        assert_eq!(uids(&found), [round * 100 + 99]);
        drop(journal);
    }
    let files = fs::read_dir(dir.path()).unwrap().count();
    assert!(files <= 6, "{files} files");
}

#[test]
fn many_who_append_at_once_all_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let journal = &journal;
            scope.spawn(move || {
                for i in 0..25 {
                    drop(journal.append(vec![payload(thread * 1000 + i)]).unwrap());
                }
            });
        }
    });
    assert!(journal.shared.state().done.is_empty());
    crash(journal);
    // Earlier segments may have been released; of what is there, each thread's records are in order and the
    // last ones.
    let (_, found) = open(dir.path());
    let all = uids(&found);
    for thread in 0..8u32 {
        let own: Vec<u32> = all.iter().filter(|uid| **uid / 1000 == thread).map(|uid| uid % 1000).collect();
        let expected: Vec<u32> = (25 - own.len() as u32..25).collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn a_damaged_record_is_passed_over_and_a_torn_tail_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for uid in 1..=4 {
        drop(journal.append(vec![payload(uid)]).unwrap());
    }
    crash(journal);
    let path = dir.path().join("journal-0000000001");
    let mut octets = fs::read(&path).unwrap();
    let record = octets.len() / 4;
    octets[record + record / 2] ^= 1;
    octets.truncate(octets.len() - 3);
    fs::write(&path, &octets).unwrap();
    let (_, found) = open(dir.path());
    assert_eq!(uids(&found), [1, 3]);
    assert_eq!(fs::read(dir.path().join("damaged-0000000001")).unwrap(), octets);
}

#[test]
fn what_was_taken_back_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    drop(journal.append(vec![payload(1), payload(2)]).unwrap());
    drop(journal.append(vec![Record::encode_cancel(1, 7, 2).unwrap(), payload(3)]).unwrap());
    crash(journal);
    let (journal, found) = open(dir.path());
    assert_eq!(uids(&found), [1, 3]);
    drop(journal.append(vec![payload(4), Record::encode_purge(1).unwrap(), payload(5)]).unwrap());
    crash(journal);
    let (_, found) = open(dir.path());
    assert_eq!(uids(&found), [5]);
}

#[test]
fn what_can_not_be_released_is_bounded_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    // Nothing is ever released: each segment is held by its first append.
    let mut held = Vec::new();
    while journal.shared.state().has_room() {
        held.push(journal.append(vec![payload(held.len() as u32)]).unwrap());
    }
    let why = StoreError::Unavailable("the disk is gone".into());
    journal.shared.state().failing = Some(why.clone());
    assert_eq!(journal.append(vec![payload(9999)]).unwrap_err(), why);
    journal.shared.state().failing = None;
    drop(held);
    drop(journal.append(vec![payload(10_000)]).unwrap());
}
