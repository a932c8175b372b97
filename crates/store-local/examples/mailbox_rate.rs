//! How many deliveries a second, against the plain way of doing the same thing.
//!
//! `cargo run --release -p postroad-store-local --example mailbox_rate [DIR [ACCOUNTS AT_ONCE]]`
//!
//! Mails of 4 KiB go into one account and into 20, with 1, 20 and 200 deliveries at a time; each is durable when
//! it counts. The plain way is what a Maildir delivery agent does for each mail: write to tmp/, fdatasync,
//! rename into new/, fsync of new/. It has no UIDs, no index and no protection against doubles.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::directory::{AccountChange, Credentials, DirectoryStore, ScramKeys};
use postroad_store::mailbox::{BodySource, Flags, FolderName, MailboxStore, NewMail};
use postroad_store::memory::MemoryDirectory;
use postroad_store_local::mailbox::{LocalMailboxes, Options};
use postroad_types::AccountId;

const ACCOUNTS: u64 = 20;
const PERIOD: Duration = Duration::from_secs(4);

struct Octets(Bytes);

#[async_trait]
impl BodySource for Octets {
    fn size_octets(&self) -> u64 {
        self.0.len() as u64
    }
    async fn read(&self, offset: u64, _: usize) -> Result<Bytes, StoreError> {
        Ok(self.0.slice(offset as usize..))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("mailbox-rate-{}", std::process::id()));
    fs::create_dir_all(&root)?;
    let runtime = tokio::runtime::Runtime::new()?;
    println!(
        "{:<28}{:>12}{:>12}{:>16}{:>16}",
        "deliveries/s", "ours", "plain", "ours CPU ms/k", "plain CPU ms/k"
    );
    let chosen = |n: usize| std::env::args().nth(n).and_then(|text| text.parse::<usize>().ok());
    for accounts in chosen(2).map_or(vec![1, ACCOUNTS], |n| vec![n as u64]) {
        for at_once in chosen(3).map_or(vec![1, 20, 200], |n| vec![n]) {
            let dir = root.join(format!("{accounts}-{at_once}"));
            let (ours, ours_cpu) =
                measured(|| runtime.block_on(deliver(&dir.join("ours"), accounts, at_once)))?;
            let (plain, plain_cpu) = measured(|| deliver_plainly(&dir.join("plain"), accounts, at_once))?;
            println!(
                "{:<28}{ours:>12.0}{plain:>12.0}{ours_cpu:>16.0}{plain_cpu:>16.0}",
                format!("{accounts} accounts, {at_once} at once")
            );
        }
    }
    fs::remove_dir_all(&root)?;
    Ok(())
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Deliveries a second, and CPU milliseconds per thousand.
fn measured(run: impl FnOnce() -> Outcome<usize>) -> Outcome<(f64, f64)> {
    let (begin, cpu) = (Instant::now(), cpu_ms()?);
    let count = run()? as f64;
    Ok((count / begin.elapsed().as_secs_f64(), (cpu_ms()? - cpu) * 1000.0 / count))
}

fn cpu_ms() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    Ok((ticks(11) + ticks(12)) * 10.0)
}

fn mail() -> Vec<u8> {
    let mut mail = b"From: a@alpha.test\r\nSubject: rate\r\n\r\n".to_vec();
    mail.resize(4096, b'x');
    mail
}

async fn directory(accounts: u64) -> Outcome<Arc<dyn DirectoryStore>> {
    let directory = MemoryDirectory::new();
    directory.put_domain(&"beta.test".parse()?, None).await?;
    for i in 0..accounts {
        let scram_sha_256 = ScramKeys { salt: vec![], iterations: 1, stored_key: vec![], server_key: vec![] };
        let credentials = Some(Credentials { password_hash: String::new(), scram_sha_256 });
        let change = AccountChange { credentials, ..AccountChange::default() };
        directory.put_account(&format!("u{i}@beta.test").parse()?, change, 0).await?;
    }
    Ok(Arc::new(directory))
}

async fn deliver(dir: &Path, accounts: u64, at_once: usize) -> Outcome<usize> {
    let store = Arc::new(LocalMailboxes::open(dir, directory(accounts).await?, Options::default())?);
    let body = Bytes::from(mail());
    let count = Arc::new(AtomicUsize::new(0));
    let end = Instant::now() + PERIOD;
    let mut tasks = Vec::new();
    for task in 0..at_once {
        let (store, body, count) = (store.clone(), body.clone(), count.clone());
        tasks.push(tokio::spawn(async move {
            let mut i = 0u64;
            while Instant::now() < end {
                i += 1;
                let account = AccountId((task as u64 + i) % accounts + 1);
                let new = NewMail {
                    folder: FolderName::inbox(),
                    flags: Flags::default(),
                    internal_date: 1_700_000_000_000_000,
                    trace_id: None,
                    key: Some(format!("{task} {i}")),
                    quota_octets: 1 << 40,
                    prefix: Bytes::from_static(b"Return-Path: <a@alpha.test>\r\n"),
                };
                store.store(account, new, &Octets(body.clone())).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), StoreError>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(count.load(Ordering::Relaxed))
}

fn deliver_plainly(dir: &Path, accounts: u64, at_once: usize) -> Outcome<usize> {
    for account in 0..accounts {
        for sub in ["tmp", "new"] {
            fs::create_dir_all(dir.join(format!("{account}/{sub}")))?;
        }
    }
    let count = AtomicUsize::new(0);
    let end = Instant::now() + PERIOD;
    let body = mail();
    let one = |task: usize, i: usize| -> std::io::Result<()> {
        let home = dir.join(((task + i) as u64 % accounts).to_string());
        let name = format!("{task}.{i}");
        let mut file = File::create(home.join("tmp").join(&name))?;
        file.write_all(&body)?;
        file.sync_data()?;
        fs::rename(home.join("tmp").join(&name), home.join("new").join(&name))?;
        File::open(home.join("new"))?.sync_all()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once)
            .map(|task| {
                let (count, one) = (&count, &one);
                scope.spawn(move || {
                    let mut i = 0;
                    while Instant::now() < end {
                        one(task, i)?;
                        i += 1;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<(), std::io::Error>(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread ended in a panic")??;
        }
        Ok(count.load(Ordering::Relaxed))
    })
}
