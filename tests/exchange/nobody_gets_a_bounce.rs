//! A mail to a user who does not exist comes back to its sender as a delivery status notification (RFC 3464),
//! and the timeline says why.

use postroad::lab::reader::{self, Account};

use crate::harness::smtp::queue_id;
use crate::harness::{Lab, eventually, message};

#[tokio::test(flavor = "multi_thread")]
async fn sender_learns_who_refused_and_why() {
    let lab = Lab::start().await;
    let alice = lab.alice();
    let mail = message(&alice.address, "nobody@beta.test", "is anybody there", b"Hello?\r\n");
    let reply = lab.submit(lab.alpha(), alice, "nobody@beta.test", &mail).await;
    let id = queue_id(&reply);

    let account = Account { domain: lab.alpha(), person: alice };
    let bounce = eventually("bounce", async || {
        reader::imap_find_text(&lab.plan, account, "nobody@beta.test", "message/delivery-status")
            .await
            .unwrap()
    })
    .await;
    let bounce = String::from_utf8(bounce).unwrap();
    for wanted in [
        "Return-Path: <>",
        "report-type=\"delivery-status\"",
        "Reporting-MTA: dns; mx.alpha.test",
        "Final-Recipient: rfc822; nobody@beta.test",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.beta.test",
        "Subject: is anybody there",
    ] {
        assert!(
            bounce.replace("report-type=delivery-status", "report-type=\"delivery-status\"").contains(wanted),
            "no {wanted:?} in\n{bounce}"
        );
    }

    // One command answers "why was this mail not delivered?".
    let why = lab.command("alpha-mta", &["trace", &id]).await;
    for wanted in ["beta.test", "5.1.1", "bounced"] {
        assert!(why.contains(wanted), "no {wanted:?} in\n{why}");
    }
    let same = lab.command("alpha-mta", &["trace", "--to", "nobody@beta.test"]).await;
    assert!(same.contains("bounced"), "{same}");

    // The queue is empty afterwards.
    let queue = lab.command("alpha-mta", &["queue", "list"]).await;
    assert!(queue.contains("0 in the queue"), "{queue}");
}
