//! Damaged and full disks: one record costs one message, and what is not full any more goes on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::spool::{Attempt, Change, Filter, NewEnvelope, Order, Spool};
use postroad_types::{BodyKind, QueueId, Reply, ReversePath, TraceId};

use crate::spool::crash_disk::{CrashDisk, Fault};
use crate::spool::disk::Disk;
use crate::spool::{LogSpool, SpoolSettings, check, export};

fn settings() -> SpoolSettings {
    SpoolSettings { segment_octets: 64 * 1024, cache_octets: 0, ..SpoolSettings::default() }
}

fn open(disk: &CrashDisk) -> Arc<LogSpool> {
    LogSpool::open_on(Arc::new(disk.clone()), settings()).unwrap()
}

async fn accept(spool: &LogSpool, octets: &[u8]) -> Result<QueueId, StoreError> {
    let mut message = spool.create(octets.len() as u64).await?;
    message.write(Bytes::copy_from_slice(octets)).await?;
    let envelope = NewEnvelope {
        trace_id: TraceId::new([1; 16]),
        reverse_path: ReversePath::Null,
        recipients: vec!["b@b.test".parse::<postroad_types::Address>().unwrap().into()],
        body: BodyKind::SevenBit,
        smtputf8: false,
        envelope_id: None,
        options: Default::default(),
        accepted_at: 1,
        expires_at: i64::MAX,
        first_attempt_at: 1,
    };
    message.commit(envelope).await
}

async fn finish_all(spool: &LogSpool) {
    loop {
        let leases = spool.lease(10, 100, 1000).await.unwrap();
        if leases.is_empty() {
            return;
        }
        for lease in leases {
            let attempt = Attempt { at: 2, host: "mx".into(), reply: Reply::plain(250, "ok") };
            let done = vec![Change::Done { index: 0, attempt }];
            spool.record(&lease.message.id, lease.token, done).await.unwrap();
        }
    }
}

/// Until it is so, within a bound.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect(what);
}

#[tokio::test]
async fn one_damaged_record_costs_one_message() {
    let disk = CrashDisk::new();
    let spool = open(&disk);
    let mut ids = Vec::new();
    for n in 0..10u8 {
        ids.push(accept(&spool, &[n; 1000]).await.unwrap());
    }
    drop(spool);
    // The body of the fourth message is about in the middle of the fourth record.
    disk.damage("00000001.seg", 4096 + 3 * 1150 + 600, 20);
    let spool = open(&disk);
    let report = spool.report().await.unwrap();
    assert_eq!((report.messages, report.damaged.len(), report.torn_tails), (9, 1, 0));
    let set_aside = disk.set_aside_names();
    assert_eq!(set_aside.len(), 1);
    assert!(report.damaged[0].contains(&set_aside[0]), "{report:?}");
    for (n, id) in ids.iter().enumerate().filter(|(n, _)| *n != 3) {
        assert_eq!(spool.read(id, 0, 2000).await.unwrap(), vec![n as u8; 1000]);
    }
    assert!(matches!(spool.get(&ids[3]).await, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn a_body_damaged_while_open_is_reported_when_read() {
    let disk = CrashDisk::new();
    let spool = open(&disk);
    let large = accept(&spool, &[7; 150_000]).await.unwrap();
    let small = accept(&spool, b"small").await.unwrap();
    disk.damage("00000001.seg", 10_000, 1);
    assert!(matches!(spool.read(&large, 0, 100).await, Err(StoreError::Damaged(_))));
    assert!(matches!(spool.read(&large, 0, 100).await, Err(StoreError::Damaged(_))));
    assert_eq!(spool.read(&large, 140_000, 100).await.unwrap(), vec![7; 100]);
    assert_eq!(spool.read(&small, 0, 100).await.unwrap(), "small");
    assert_eq!(spool.report().await.unwrap().damaged.len(), 1);
}

#[tokio::test]
async fn a_segment_without_its_header_is_set_aside_whole() {
    let disk = CrashDisk::new();
    let spool = open(&disk);
    accept(&spool, b"lost").await.unwrap();
    drop(spool);
    let spool = open(&disk);
    let kept = accept(&spool, b"kept").await.unwrap();
    drop(spool);
    disk.damage("00000001.seg", 0, 4096);
    let spool = open(&disk);
    let report = spool.report().await.unwrap();
    assert_eq!((report.messages, report.damaged.len()), (1, 1));
    assert_eq!(disk.set_aside_names(), ["00000001.seg.damaged"]);
    assert_eq!(spool.read(&kept, 0, 10).await.unwrap(), "kept");
}

#[tokio::test]
async fn a_full_disk_refuses_mail_and_lets_the_queue_drain() {
    let disk = CrashDisk::new();
    let spool = open(&disk);
    let kept = accept(&spool, &[1; 30_000]).await.unwrap();
    disk.fail(&[Fault::Full]);
    let mut accepted = vec![kept.clone()];
    until("a full disk should refuse mail", async || match accept(&spool, &[2; 30_000]).await {
        Ok(id) => {
            accepted.push(id);
            false
        }
        Err(error) => matches!(error, StoreError::Unavailable(_)),
    })
    .await;
    // What is there can still be delivered, and recorded.
    assert_eq!(spool.read(&kept, 0, 5).await.unwrap(), vec![1; 5]);
    let lease = spool.lease(10, 1, 1000).await.unwrap().remove(0);
    spool.record(&lease.message.id, lease.token, vec![Change::Warned]).await.unwrap();
    disk.fail(&[]);
    until("mail should be taken again", async || accept(&spool, b"again").await.is_ok()).await;
    drop(spool);
    let spool = open(&disk);
    assert!(spool.get(&lease.message.id).await.unwrap().warned);
    assert_eq!(spool.report().await.unwrap().messages, accepted.len() as u64 + 1);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_was_not_flushed() {
    let disk = CrashDisk::new();
    let spool = open(&disk);
    let before = accept(&spool, b"before").await.unwrap();
    for fault in [Fault::Flush, Fault::Write] {
        disk.fail(&[fault]);
        assert!(matches!(accept(&spool, b"refused").await, Err(StoreError::Unavailable(_))));
        disk.fail(&[]);
        until("mail should be taken again", async || accept(&spool, b"after").await.is_ok()).await;
    }
    let count = spool.report().await.unwrap().messages;
    spool.flush().await.unwrap();
    let disk = disk.crash(&mut crate::spool::crash_disk::Chance::new(1));
    let spool = open(&disk);
    assert_eq!(spool.report().await.unwrap().messages, count, "no refused message came back");
    assert_eq!(spool.read(&before, 0, 10).await.unwrap(), "before");
}

#[tokio::test]
async fn a_full_queue_refuses_mail_until_some_left() {
    let settings = SpoolSettings { max_octets: 10_000, ..settings() };
    let spool = LogSpool::open_on(Arc::new(CrashDisk::new()), settings).unwrap();
    accept(&spool, &[0; 9_000]).await.unwrap();
    assert!(matches!(spool.create(2_000).await.map(|_| ()), Err(StoreError::Unavailable(_))));
    assert!(matches!(accept(&spool, &[0; 70_000]).await, Err(StoreError::Unavailable(_))));
    spool.order(&Filter::default(), Order::Remove, 1).await.unwrap();
    accept(&spool, &[0; 9_000]).await.unwrap();
}

#[tokio::test]
async fn more_recipients_than_memory_is_for_are_refused_until_some_left() {
    let settings = SpoolSettings { max_recipients: 2, ..settings() };
    let spool = LogSpool::open_on(Arc::new(CrashDisk::new()), settings).unwrap();
    accept(&spool, b"one").await.unwrap();
    accept(&spool, b"two").await.unwrap();
    assert!(matches!(spool.create(10).await.map(|_| ()), Err(StoreError::Unavailable(_))));
    spool.order(&Filter::default(), Order::Remove, 1).await.unwrap();
    accept(&spool, b"three").await.unwrap();
}

#[tokio::test]
async fn segments_are_given_back_and_what_stays_is_moved() {
    let disk = CrashDisk::new();
    let spool = open(&disk);
    let small = accept(&spool, b"small and old").await.unwrap();
    let large = accept(&spool, &[9; 100_000]).await.unwrap();
    spool.order(&Filter::default(), Order::Hold, 5).await.unwrap();
    let before = spool.list(&Filter::default(), None, 10).await.unwrap();
    for _ in 0..60 {
        accept(&spool, &[3; 40_000]).await.unwrap();
        finish_all(&spool).await;
    }
    let segments = || disk.list().unwrap().iter().filter(|name| name.ends_with(".seg")).count();
    until("dead segments should be given back", async || segments() <= 8).await;
    assert!(
        !disk.list().unwrap().contains(&"00000001.seg".into()),
        "the first was moved out of and given back"
    );
    assert_eq!(spool.list(&Filter::default(), None, 10).await.unwrap(), before);
    for _ in 0..2 {
        assert_eq!(spool.read(&small, 0, 100).await.unwrap(), "small and old");
        assert_eq!(spool.read(&large, 70_000, 100).await.unwrap(), vec![9; 100]);
    }
    drop(spool);
    let spool = open(&disk);
    assert_eq!(spool.list(&Filter::default(), None, 10).await.unwrap(), before);
    assert_eq!(spool.read(&small, 0, 100).await.unwrap(), "small and old");
    assert_eq!(spool.read(&large, 99_990, 100).await.unwrap(), vec![9; 10]);
}

#[tokio::test]
async fn a_spool_can_be_checked_and_a_message_taken_out() {
    let directory = tempfile::tempdir().unwrap();
    let spool = LogSpool::open(directory.path(), settings()).unwrap();
    let id = accept(&spool, &[5; 100_000]).await.unwrap();
    let message = spool.get(&id).await.unwrap();
    drop(spool);
    let report = check(directory.path()).unwrap();
    assert_eq!((report.messages, report.octets, report.torn_tails), (1, 100_000, 0));
    assert_eq!(export(directory.path(), &id).unwrap(), (message, vec![5; 100_000]));
    assert!(matches!(export(directory.path(), &QueueId::new(1, 1)), Err(StoreError::NotFound(_))));
}
