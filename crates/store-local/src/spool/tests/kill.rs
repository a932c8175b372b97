//! SIGKILL at chance instants: a process accepts and finishes mail, is killed, and everything it was told to
//! be accepted is there, and nothing that it recorded as done comes back.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use postroad_store::spool::{Attempt, Change, Filter, NewEnvelope, Spool};
use postroad_types::{BodyKind, Reply, ReversePath, TraceId};

use crate::spool::crash_disk::Chance;
use crate::spool::{LogSpool, SpoolSettings};

const DIRECTORY: &str = "POSTROAD_TEST_SPOOL";
const ROUNDS: u64 = 20;

fn open(directory: &Path) -> Arc<LogSpool> {
    LogSpool::open(directory, SpoolSettings { segment_octets: 256 * 1024, ..SpoolSettings::default() })
        .unwrap()
}

/// Runs in a process of its own, until it is killed: says on its output what is durable.
#[tokio::test]
#[ignore = "a part of the test below, which starts it"]
async fn the_process_to_be_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let spool = open(Path::new(&directory));
    let say = |what: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(what.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let work = |sender: i64| {
        let spool = spool.clone();
        async move {
            loop {
                let mut message = spool.create(0).await.unwrap();
                let body = message.id().as_str().repeat(1 + sender as usize * 800);
                message.write(body.into()).await.unwrap();
                let envelope = NewEnvelope {
                    trace_id: TraceId::new([1; 16]),
                    reverse_path: ReversePath::Null,
                    recipients: vec!["b@b.test".parse::<postroad_types::Address>().unwrap().into()],
                    body: BodyKind::SevenBit,
                    smtputf8: false,
                    envelope_id: None,
                    options: Default::default(),
                    accepted_at: sender,
                    expires_at: i64::MAX,
                    first_attempt_at: sender,
                };
                let id = message.commit(envelope).await.unwrap();
                say(format!("+{id}\n"));
                // Every sender but one finishes what it finds.
                for lease in spool.lease(i64::MAX - 1, usize::from(sender > 0), i64::MAX).await.unwrap() {
                    let attempt = Attempt { at: 1, host: "mx".into(), reply: Reply::plain(250, "ok") };
                    let done = vec![Change::Done { index: 0, attempt }];
                    say(format!("?{}\n", lease.message.id));
                    spool.record(&lease.message.id, lease.token, done).await.unwrap();
                    say(format!("-{}\n", lease.message.id));
                }
            }
        }
    };
    futures_util::future::join_all((0..6).map(work)).await;
}

#[tokio::test]
async fn what_was_accepted_survives_the_death_of_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut chance = Chance::new(9);
    // Accepted, and what is known of the end: `+` there, `?` maybe gone, `-` gone.
    let mut known: HashMap<String, char> = HashMap::new();
    for round in 0..ROUNDS {
        let name = concat!(module_path!(), "::the_process_to_be_killed");
        let name = name.split_once("::").unwrap().1;
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut left = 1 + chance.below(200);
        // The rest of its output is read after its death: what it said is said.
        while let Some(Ok(line)) = lines.next() {
            let (mark, id) = line.split_at(line.len().min(1));
            if id.len() == 16
                && let Some(mark @ ('+' | '?' | '-')) = mark.chars().next()
            {
                // Another sender may have finished it before its own could say that it was accepted.
                if mark != '+' || !known.contains_key(id) {
                    known.insert(id.to_owned(), mark);
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    process.kill().unwrap();
                }
            }
        }
        process.wait().unwrap();

        let spool = open(directory.path());
        let report = spool.report().await.unwrap();
        assert!(report.damaged.is_empty(), "round {round}: {report:?}");
        let there: Vec<_> = spool.list(&Filter::default(), None, usize::MAX).await.unwrap();
        for message in &there {
            let id = message.id.as_str();
            assert_ne!(known.get(id), Some(&'-'), "round {round}: {id} was done and came back");
            let mut body = Vec::new();
            while body.len() < message.size_octets as usize {
                body.extend_from_slice(&spool.read(&message.id, body.len() as u64, 65_536).await.unwrap());
            }
            assert!(
                body == id.repeat(body.len() / 16).into_bytes(),
                "round {round}: the octets of {id} changed"
            );
            known.insert(id.to_owned(), '+');
        }
        known.retain(|id, mark| {
            let is_there = there.iter().any(|message| message.id.as_str() == id);
            assert!(is_there || *mark != '+', "round {round}: {id} was accepted and is lost");
            is_there || *mark == '-'
        });
    }
    assert!(!known.is_empty());
}
