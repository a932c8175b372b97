//! What one domain sends the other reads, octet for octet, in both directions.

use lettre::message::header::ContentType;
use lettre::message::{Attachment, Message, MultiPart, SinglePart};
use rand::{RngExt, SeedableRng};

use crate::harness::{Lab, assert_unchanged, message};

#[tokio::test(flavor = "multi_thread")]
async fn text_attachment_8_bit_utf8_dots_and_long_lines() {
    let lab = Lab::start().await;
    let (alice, bob) = (lab.alice(), lab.bob());

    // (subject, body), both ways.
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("plain text", b"Dear friend,\r\n\r\nall is well.\r\n".to_vec()),
        ("no body at all", Vec::new()),
        ("eight bits", "Gr\u{fc}\u{df}e, \u{4f60}\u{597d}\r\n".as_bytes().to_vec()),
        ("latin one", b"\xe4\xf6\xfc \xff\xfe\r\n".to_vec()),
        ("dots", b".\r\n..\r\n...\r\n.a\r\n.\r\n \r\n..\r\n".to_vec()),
        (
            "long lines",
            [
                vec![b'x'; 998],
                b"\r\n".to_vec(),
                vec![b'.'; 5000],
                b"\r\n".to_vec(),
                vec![b'y'; 100_000],
                b"\r\n".to_vec(),
            ]
            .concat(),
        ),
        ("blank lines at the end", b"\r\n\r\n\r\nend\r\n\r\n\r\n".to_vec()),
    ];
    for (subject, body) in &cases {
        let there = message(&alice.address, &bob.address, subject, body);
        let reply = lab.submit(lab.alpha(), alice, &bob.address, &there).await;
        assert!(reply.starts_with("250"), "{subject}: {reply}");
        let back = message(&bob.address, &alice.address, subject, body);
        let reply = lab.submit(lab.beta(), bob, &alice.address, &back).await;
        assert!(reply.starts_with("250"), "{subject}: {reply}");
    }
    for (subject, body) in &cases {
        let there = message(&alice.address, &bob.address, subject, body);
        assert_unchanged(&lab.read(lab.beta(), bob, subject).await, &there);
        let back = message(&bob.address, &alice.address, subject, body);
        assert_unchanged(&lab.read(lab.alpha(), alice, subject).await, &back);
    }

    ten_mebibytes(&lab).await;
    utf8_address(&lab).await;
}

/// A 10 MiB attachment as a mail program sends it.
async fn ten_mebibytes(lab: &Lab) {
    let (alice, bob) = (lab.alice(), lab.bob());
    let mut octets = vec![0; 10 << 20];
    rand::rngs::StdRng::seed_from_u64(1).fill(&mut octets[..]);
    let kind: ContentType = "application/octet-stream".parse().unwrap();
    let mail = Message::builder()
        .from(alice.address.parse().unwrap())
        .to(bob.address.parse().unwrap())
        .subject("ten mebibytes")
        .message_id(None)
        .multipart(
            MultiPart::mixed()
                .singlepart(SinglePart::plain("See what is attached.\r\n".to_owned()))
                .singlepart(Attachment::new("chance.bin".into()).body(octets, kind)),
        )
        .unwrap()
        .formatted();
    let reply = lab.submit(lab.alpha(), alice, &bob.address, &mail).await;
    assert!(reply.starts_with("250"), "{reply}");
    assert_unchanged(&lab.read(lab.beta(), bob, "ten mebibytes").await, &mail);
}

/// A recipient whose address is not ASCII (RFC 6531).
async fn utf8_address(lab: &Lab) {
    let alice = lab.alice();
    let mut judit = lab.bob().clone();
    judit.address = format!("júdit@{}", lab.beta().name);
    let mut add = tokio::process::Command::new(&lab.plan.program)
        .arg("-c")
        .arg(lab.plan.state.join("etc/beta-mda.toml"))
        .args(["account", "add", &judit.address])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = add.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, format!("{}\n", judit.password).as_bytes())
        .await
        .unwrap();
    drop(stdin);
    assert!(add.wait().await.unwrap().success());

    let mail = message(&alice.address, &judit.address, "to an address with an accent", b"Szia!\r\n");
    let reply = lab.submit(lab.alpha(), alice, &judit.address, &mail).await;
    assert!(reply.starts_with("250"), "{reply}");
    assert_unchanged(&lab.read(lab.beta(), &judit, "to an address with an accent").await, &mail);
}
