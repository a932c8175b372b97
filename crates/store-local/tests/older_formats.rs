//! What older programs left behind is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use postroad_store::spool::{Filter, QueuedMessage, RecipientState, Spool};
use postroad_store_local::spool::{LogSpool, SpoolSettings};
use postroad_types::{EnvelopeOptions, Notify, QueueId};

fn copy_of(fixture: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

async fn body(spool: &LogSpool, id: &QueueId) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let chunk = spool.read(id, body.len() as u64, usize::MAX).await.unwrap();
        if chunk.is_empty() {
            return body;
        }
        body.extend_from_slice(&chunk);
    }
}

fn states(message: &QueuedMessage) -> Vec<RecipientState> {
    message.recipients.iter().map(|recipient| recipient.state).collect()
}

#[tokio::test]
async fn a_spool_of_the_first_format() {
    use RecipientState::{Done, Failed, Held, Waiting};
    let dir = copy_of("spool-v1");
    // Twice: what the first start wrote anew is in today's format, beside the old.
    for _ in 0..2 {
        let spool = LogSpool::open(dir.path(), SpoolSettings::default()).unwrap();
        assert_eq!(spool.report().await.unwrap().damaged, Vec::<String>::new());
        let messages = spool.list(&Filter::default(), None, 10).await.unwrap();
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        let known = [
            "k0rbya3exg4dj2d6",
            "k0rbya3fbwvxwq10",
            "k0rbya3fj7fjww4w",
            "k0rbya3fnb1yb6tq",
            "k0rbya3fv1xanfpa",
        ];
        assert_eq!(ids, known);
        let all: Vec<Vec<RecipientState>> = messages.iter().map(states).collect();
        let expected: [&[RecipientState]; 5] = [
            &[Held, Held],
            &[Waiting, Waiting],
            &[Failed, Waiting],
            &[Done, Done, Waiting],
            &[Waiting, Waiting],
        ];
        assert_eq!(all, expected);
        for (number, message) in messages.iter().enumerate() {
            let expected = match number {
                4 => vec![b'x'; 300_000],
                _ => format!("Subject: {number}\r\n\r\nbody of {number}\r\n").into_bytes(),
            };
            assert!(body(&spool, &message.id).await == expected, "the body of {number}");
            assert_eq!(message.options, EnvelopeOptions::default());
            assert!(message.recipients.iter().all(|r| r.notify == Notify::Unsaid && r.route.is_none()));
        }
        assert_eq!(messages[1].envelope_id.as_deref(), Some("QQ314159"));
        let last = messages[1].recipients[0].last.as_ref().unwrap();
        assert_eq!(last.reply.to_string(), "451 4.4.1 try later");
        assert!(messages[2].smtputf8 && messages[3].reverse_path.is_null() && messages[3].warned);
        assert_eq!(messages[3].recipients[2].address.to_string(), "dan@d.test");
    }
}
