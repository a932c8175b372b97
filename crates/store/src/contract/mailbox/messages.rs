//! Octets, numbers, keys, quota.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::join_all;
use postroad_types::TraceId;

use super::{ALL, Octets, Stage, mail, name, one};
use crate::error::StoreError;
use crate::mailbox::{BodySource, Flags, NewMail, Usage};

pub async fn a_message_is_read_back_byte_for_byte(stage: &Stage) {
    let body = Octets(Bytes::from_static(b"Subject: \xff\x00\r\n\r\nno end of line, a bare \n and a \r"));
    let new = NewMail {
        prefix: Bytes::from_static(b"Return-Path: <a@alpha.test>\r\n"),
        trace_id: Some(TraceId::new([7; 16])),
        key: Some("q1 bob".into()),
        flags: Flags { seen: true, keywords: vec!["$Label1".into()], ..Flags::default() },
        ..mail("INBOX")
    };
    let stored = stage.store.store(stage.alice, new, &body).await.unwrap();
    let whole = [b"Return-Path: <a@alpha.test>\r\n", &body.0[..]].concat();
    let inbox = name("inbox");
    assert_eq!(stage.store.read(stage.alice, &inbox, stored.uid, 0, 1 << 20).await.unwrap(), whole);
    let header = stage.store.header(stage.alice, &inbox, stored.uid).await.unwrap();
    assert_eq!(&header[..], &whole[..whole.len() - "no end of line, a bare \n and a \r".len()]);

    let infos = stage.store.infos(stage.alice, &inbox, stored.uid_validity, &ALL).await.unwrap();
    let [info] = &infos[..] else { panic!("{infos:?}") };
    assert_eq!((info.uid, info.size_octets), (stored.uid, whole.len() as u64));
    assert_eq!(info.internal_date, 1_700_000_000_123_456);
    assert_eq!(info.trace_id, Some(TraceId::new([7; 16])));
    assert!(info.flags.seen && info.flags.keywords == ["$Label1"]);
}

pub async fn numbers_rise_and_hold(stage: &Stage) {
    let before = stage.store.numbers(stage.alice, &name("INBOX")).await.unwrap();
    let first = stage.put("INBOX", "one").await;
    let second = stage.put("INBOX", "two!").await;
    let after = stage.store.numbers(stage.alice, &name("INBOX")).await.unwrap();
    assert!(first.uid >= before.uid_next && second.uid > first.uid && after.uid_next > second.uid);
    assert_eq!((first.uid_validity, second.uid_validity), (before.uid_validity, before.uid_validity));
    assert!(after.highest_mod_seq > before.highest_mod_seq && before.uid_validity > 0);
    assert_eq!((after.messages, after.unseen, after.octets), (2, 2, 7));
    let (numbers, infos) = stage.store.open(stage.alice, &name("INBOX"), false).await.unwrap();
    assert_eq!(numbers, after);
    assert!(infos[0].mod_seq <= infos[1].mod_seq && infos[1].mod_seq <= after.highest_mod_seq);
}

pub async fn a_delivery_is_kept_once_by_its_key(stage: &Stage) {
    let deliver = async |key: &str, text: &'static str| {
        let new = NewMail { key: Some(key.into()), ..mail("INBOX") };
        stage.store.store(stage.alice, new, &Octets(Bytes::from_static(text.as_bytes()))).await.unwrap()
    };
    let first = deliver("queue1 alice", "x").await;
    let again = deliver("queue1 alice", "x").await;
    let other = deliver("queue2 alice", "x").await;
    assert!(!first.duplicate && again.duplicate && !other.duplicate);
    assert_eq!((again.uid, again.uid_validity), (first.uid, first.uid_validity));
    assert_eq!(stage.uids("INBOX").await, [first.uid, other.uid]);
}

pub async fn one_key_in_many_calls_at_once_is_one_message(stage: &Stage) {
    let body = Octets(Bytes::from_static(b"x"));
    let new = NewMail { key: Some("queue1 alice".into()), ..mail("INBOX") };
    let calls = (0..16).map(|_| stage.store.store(stage.alice, new.clone(), &body));
    let all: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|stored| !stored.duplicate).count(), 1);
    assert_eq!(all.iter().map(|stored| stored.uid).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(stage.uids("INBOX").await.len(), 1);
}

pub async fn the_key_outlives_the_message(stage: &Stage) {
    let body = Octets(Bytes::from_static(b"x"));
    let deleted = Flags { deleted: true, ..Flags::default() };
    let new = NewMail { key: Some("queue1 alice".into()), flags: deleted, ..mail("INBOX") };
    let first = stage.store.store(stage.alice, new.clone(), &body).await.unwrap();
    stage.store.expunge(stage.alice, &name("INBOX"), first.uid_validity, None).await.unwrap();
    let again = stage.store.store(stage.alice, new, &body).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(stage.uids("INBOX").await, []);
}

pub async fn a_quota_is_a_bound_for_all_folders(stage: &Stage) {
    stage.store.create_folder(stage.alice, &name("Archive"), None).await.unwrap();
    stage.put("Archive", "123456").await;
    let bounded = |text: &'static str| {
        let new = NewMail { quota_octets: 10, ..mail("INBOX") };
        let body = Octets(Bytes::from_static(text.as_bytes()));
        async move { stage.store.store(stage.alice, new, &body).await }
    };
    let refused = bounded("12345").await.unwrap_err();
    assert_eq!(refused, StoreError::OverQuota { used_octets: 6, limit_octets: 10 });
    let fits = bounded("1234").await.unwrap();
    assert_eq!(stage.store.usage(stage.alice).await.unwrap(), Usage { octets: 10, messages: 2 });
    let copy = stage
        .store
        .copy(stage.alice, &name("INBOX"), 0, &one(fits.uid), &name("Archive"), 10)
        .await
        .unwrap_err();
    assert!(matches!(copy, StoreError::OverQuota { .. }), "{copy}");
    assert_eq!(stage.uids("Archive").await.len(), 1);
}

/// Says that it is longer than it is.
#[derive(Debug)]
struct Torn;

#[async_trait::async_trait]
impl BodySource for Torn {
    fn size_octets(&self) -> u64 {
        1 << 20
    }

    async fn read(&self, offset: u64, _: usize) -> Result<Bytes, StoreError> {
        Ok(if offset == 0 { Bytes::from_static(b"half") } else { Bytes::new() })
    }
}

pub async fn a_body_that_ends_before_its_size_leaves_nothing(stage: &Stage) {
    let refused = stage.store.store(stage.alice, mail("INBOX"), &Torn).await.unwrap_err();
    assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
    assert_eq!(stage.uids("INBOX").await, []);
    assert_eq!(stage.store.usage(stage.alice).await.unwrap(), Usage::default());
}

pub async fn a_large_message_is_read_in_pieces(stage: &Stage) {
    let octets: Bytes = (0..3_000_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let stored = stage.store.store(stage.alice, mail("INBOX"), &Octets(octets.clone())).await.unwrap();
    let mut read = Vec::new();
    loop {
        let inbox = name("INBOX");
        let piece =
            stage.store.read(stage.alice, &inbox, stored.uid, read.len() as u64, 777_777).await.unwrap();
        if piece.is_empty() {
            break;
        }
        read.extend_from_slice(&piece);
    }
    assert!(read == octets);
}

pub async fn many_deliveries_at_once_get_numbers_of_their_own(stage: &Stage) {
    let calls = (0..200).map(|i| {
        let account = if i % 2 == 0 { stage.alice } else { stage.bob };
        let body = Octets(Bytes::from(format!("Subject: {i}\r\n\r\n")));
        async move { (i, stage.store.store(account, mail("INBOX"), &body).await.unwrap()) }
    });
    let stored = join_all(calls).await;
    for account in [stage.alice, stage.bob] {
        let (numbers, infos) = stage.store.open(account, &name("INBOX"), false).await.unwrap();
        assert_eq!((infos.len(), numbers.messages), (100, 100));
        assert!(infos.is_sorted_by(|a, b| a.uid < b.uid && a.mod_seq <= b.mod_seq));
    }
    for (i, stored) in stored {
        let account = if i % 2 == 0 { stage.alice } else { stage.bob };
        let octets = stage.store.read(account, &name("INBOX"), stored.uid, 0, 100).await.unwrap();
        assert_eq!(octets, format!("Subject: {i}\r\n\r\n"));
    }
}

pub async fn accounts_do_not_see_each_other(stage: &Stage) {
    let stored = stage.put("INBOX", "for alice").await;
    assert_eq!(stage.store.numbers(stage.bob, &name("INBOX")).await.unwrap().messages, 0);
    let read = stage.store.read(stage.bob, &name("INBOX"), stored.uid, 0, 10).await;
    assert!(matches!(read, Err(StoreError::NotFound(_))), "{read:?}");
    assert_eq!(stage.store.usage(stage.bob).await.unwrap(), Usage::default());
}

pub async fn a_purge_leaves_nothing(stage: &Stage) {
    stage.put("INBOX", "x").await;
    stage.store.create_folder(stage.alice, &name("Work"), None).await.unwrap();
    stage.store.purge(stage.alice).await.unwrap();
    assert_eq!(stage.folder_names().await, ["INBOX"]);
    assert_eq!(stage.store.usage(stage.alice).await.unwrap(), Usage::default());
}
