//! How fast the embedded spool accepts and finishes messages here:
//! `cargo run --release -p postroad-store-local --example spool_rate [directory] [messages] [octets]`.
//!
//! For 1, 20 and 200 concurrent senders it prints commits per second, then accept-read-finish rounds per
//! second, with the processor time of each.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postroad_store::StoreError;
use postroad_store::spool::{Attempt, Change, NewEnvelope, Spool};
use postroad_store_local::spool::{LogSpool, SpoolSettings};
use postroad_types::{Address, BodyKind, Reply, ReversePath, TraceId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from).join("spool-rate");
    let messages: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let octets: usize = arguments.next().map_or(Ok(4096), |text| text.parse())?;
    let body = Bytes::from(vec![b'x'; octets]);
    let recipient: Address = "b@beta.test".parse()?;
    println!("{messages} messages of {octets} octets in {}", directory.display());
    for senders in [1, 20, 200] {
        let count = if senders == 1 { messages / 4 } else { messages };
        for finish in [false, true] {
            let spool = LogSpool::open(&directory, SpoolSettings::default())?;
            let (began, cpu) = (Instant::now(), cpu_time()?);
            let tasks: Vec<_> = (0..senders)
                .map(|_| {
                    let work = send(spool.clone(), body.clone(), recipient.clone(), count / senders, finish);
                    tokio::spawn(work)
                })
                .collect();
            for task in tasks {
                task.await??;
            }
            let (took, used) = (began.elapsed(), cpu_time()? - cpu);
            println!(
                "{senders:>4} senders, {:<20} {:>8.0}/s  {:>6.1} µs of processor each",
                if finish { "accept and finish:" } else { "accept:" },
                count as f64 / took.as_secs_f64(),
                used.as_secs_f64() * 1e6 / count as f64
            );
            drop(spool);
            std::fs::remove_dir_all(&directory)?;
        }
    }
    Ok(())
}

async fn send(
    spool: Arc<LogSpool>,
    body: Bytes,
    recipient: Address,
    count: usize,
    finish: bool,
) -> Result<(), StoreError> {
    for now in 0..count as i64 {
        let mut message = spool.create(body.len() as u64).await?;
        message.write(body.clone()).await?;
        let envelope = NewEnvelope {
            trace_id: TraceId::random(),
            reverse_path: ReversePath::Null,
            recipients: vec![recipient.clone().into()],
            body: BodyKind::SevenBit,
            smtputf8: false,
            envelope_id: None,
            options: Default::default(),
            accepted_at: now,
            expires_at: i64::MAX,
            first_attempt_at: now,
        };
        message.commit(envelope).await?;
        if finish {
            // Not always the one just accepted: the longest due.
            for lease in spool.lease(i64::MAX - 1, 1, i64::MAX).await? {
                let octets = spool.read(&lease.message.id, 0, body.len()).await?;
                if octets != body {
                    return Err(StoreError::Damaged("other octets came back".into()));
                }
                let attempt = Attempt { at: now, host: "mx".into(), reply: Reply::plain(250, "ok") };
                spool
                    .record(&lease.message.id, lease.token, vec![Change::Done { index: 0, attempt }])
                    .await?;
            }
        }
    }
    Ok(())
}

/// Processor time of this process until now.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| -> Result<u64, Box<dyn Error>> { Ok(fields.get(at).ok_or("no such field")?.parse()?) };
    // User and system time in hundredths of a second (proc(5)).
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}
