//! The spool's disk is full, or fails.

use postroad_store::StoreError;
use postroad_store::faulty::{Fault, When};
use postroad_store::spool::{Filter, Order};

use super::*;

const ENVELOPE: [(&str, &str); 2] =
    [("MAIL FROM:<x@elsewhere.test>", "250"), ("RCPT TO:<bob@alpha.test>", "250")];

#[tokio::test]
async fn a_full_disk_puts_mail_off_loses_nothing_and_recovers() {
    let scene = scene().await;
    let mut client = Lines::connect(scene.smtp).await;
    client.talk(&[("", "220"), ("EHLO client.test", "250")]).await;
    for call in ["create", "write", "commit"] {
        let full = Fault::Before(StoreError::Unavailable("no space left on device".into()));
        scene.world.faults.add(call, When::Always, full);
        client.talk(&ENVELOPE).await;
        match call {
            "create" => client.talk(&[("DATA", "452 4.3.1"), ("RSET", "250")]).await,
            _ => client.talk(&[("DATA", "354"), ("Subject: full\r\n\r\n.", "452 4.3.1")]).await,
        }
        assert!(scene.queued().await.is_empty(), "{call}");

        // Room again: the same session goes on.
        scene.world.faults.clear();
        client.talk(&ENVELOPE).await;
        let message = format!("Subject: after {call}\r\n\r\n.");
        client.talk(&[("DATA", "354"), (&message, "250")]).await;
        let queued = scene.queued().await;
        assert!(queued.len() == 1 && queued[0].2.contains(&format!("after {call}")), "{queued:?}");
        scene.world.spool.order(&Filter::default(), Order::Remove, 0).await.unwrap();
    }
}
