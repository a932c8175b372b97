//! What a million queued recipients cost: `cargo run --release -p postroad-store-local --example queue_million
//! [directory] [messages] [recipients of each]`.
//!
//! All of them have failed once and wait for their next attempt, as after a bad day. It prints the memory for each
//! recipient, how long what the scheduler asks takes with few and with many, and how long a restart takes.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postroad_store::spool::{Attempt, Change, Filter, NewEnvelope, NewRecipient, Spool};
use postroad_store_local::spool::{LogSpool, SpoolSettings};
use postroad_types::{Address, BodyKind, EnhancedCode, EnvelopeOptions, Reply, ReversePath, TraceId};

/// The services' own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So many senders at a time.
const SENDERS: usize = 200;
const MINUTE: i64 = 60_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = parent.join("queue-million");
    let messages: usize = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let recipients: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let total = messages * recipients;
    let empty = resident_octets()?;
    if messages == 0 {
        return reopen(&directory, empty).await;
    }

    let spool = LogSpool::open(&directory, SpoolSettings::default())?;
    let began = Instant::now();
    fill(&spool, messages / 100, recipients).await?;
    let few = scheduling(&spool).await?;
    fill(&spool, messages - messages / 100, recipients).await?;
    println!("{messages} messages, {total} recipients, filled in {:.0} s", began.elapsed().as_secs_f64());
    let many = scheduling(&spool).await?;
    let resident = resident_octets()? - empty;
    println!("memory: {} MiB, {} octets for each recipient", resident >> 20, resident / total as u64);
    println!("                      {:>10} {:>10}", total / 100, total);
    for ((what, few), (_, many)) in few.iter().zip(&many) {
        println!("{what:<21} {few:>7.1} µs {many:>7.1} µs");
    }
    let (began, filter) = (Instant::now(), Filter { domain: Some("d7.test".into()), ..Filter::default() });
    let found = spool.list(&filter, None, 1000).await?.len();
    println!("a page of one domain's {found} messages: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    let domains = spool.destinations(0).await?.len();
    println!("counts of {domains} destinations: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);

    spool.flush().await?;
    drop(spool);
    // In a process of its own: this one's memory holds what it had before.
    let again = std::process::Command::new(std::env::current_exe()?).arg(&parent).arg("0").status()?;
    std::fs::remove_dir_all(&directory)?;
    if again.success() { Ok(()) } else { Err("the spool could not be opened again".into()) }
}

async fn reopen(directory: &std::path::Path, empty: u64) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let spool = LogSpool::open(directory, SpoolSettings::default())?;
    let (took, resident) = (began.elapsed().as_secs_f64(), resident_octets()? - empty);
    let recipients = spool.report().await?.recipients;
    println!("a restart reads {recipients} recipients in {took:.1} s; memory then: {} MiB", resident >> 20);
    Ok(())
}

/// Messages whose recipients were all put off once.
async fn fill(spool: &Arc<LogSpool>, messages: usize, recipients: usize) -> Result<(), Box<dyn Error>> {
    let tasks: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let spool = spool.clone();
            let count = messages / SENDERS + usize::from(sender < messages % SENDERS);
            tokio::spawn(async move {
                for number in 0..count {
                    send(&spool, sender * 1_000_003 + number, recipients).await?;
                }
                Ok::<(), postroad_store::StoreError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    // As the runner does: leased, tried, put off.
    loop {
        let leases = spool.lease(1, 1000, 2).await?;
        if leases.is_empty() {
            return Ok(());
        }
        for lease in leases {
            let text = "greylisted, try again in five minutes";
            let changes = (0..recipients)
                .map(|index| Change::Defer {
                    index,
                    attempt: Attempt {
                        at: 1,
                        host: "mx1.provider.example [192.0.2.25]:25".to_owned(),
                        reply: Reply::new(451, EnhancedCode::new(4, 7, 1), text),
                    },
                    next_attempt_at: MINUTE + (lease.token as i64 % 1800) * 1_000_000,
                })
                .collect();
            spool.record(&lease.message.id, lease.token, changes).await?;
            spool.release(&lease.message.id, lease.token).await?;
        }
    }
}

async fn send(spool: &LogSpool, number: usize, recipients: usize) -> Result<(), postroad_store::StoreError> {
    let mut message = spool.create(200).await?;
    message.write(Bytes::from_static(&[b'x'; 200])).await?;
    let address = |name: String| name.parse::<Address>().unwrap_or_else(|_| unreachable!("a good address"));
    let to = |index| address(format!("recipient-{number}-{index}@d{}.test", (number + index) % 1000));
    let envelope = NewEnvelope {
        trace_id: TraceId::random(),
        reverse_path: ReversePath::Address(address(format!("sender-{}@alpha.test", number % 5000))),
        recipients: (0..recipients).map(to).map(NewRecipient::from).collect(),
        body: BodyKind::SevenBit,
        smtputf8: false,
        envelope_id: None,
        options: EnvelopeOptions::default(),
        accepted_at: 0,
        expires_at: i64::MAX,
        first_attempt_at: 0,
    };
    message.commit(envelope).await.map(|_| ())
}

/// Microseconds for each thing that the scheduler asks all the time.
async fn scheduling(spool: &Arc<LogSpool>) -> Result<Vec<(&'static str, f64)>, Box<dyn Error>> {
    const TIMES: u32 = 2000;
    let per = |took: Duration| took.as_secs_f64() * 1e6 / f64::from(TIMES);
    let began = Instant::now();
    for _ in 0..TIMES {
        spool.next_due().await?;
    }
    let next_due = per(began.elapsed());
    let began = Instant::now();
    for round in 0..i64::from(TIMES) {
        for lease in spool.lease(40 * MINUTE, 1, 50 * MINUTE).await? {
            let change = Change::Wait { index: 0, next_attempt_at: MINUTE + round };
            spool.record(&lease.message.id, lease.token, vec![change]).await?;
            spool.release(&lease.message.id, lease.token).await?;
        }
    }
    Ok(vec![("when is what due", next_due), ("lease, record, release", per(began.elapsed()))])
}

fn resident_octets() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
