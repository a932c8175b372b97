//! The mda is killed in the middle of a delivery: the message stays in the queue, is delivered when the mda is
//! back, and is in the mailbox once.

use std::time::Duration;

use postroad::lab::reader::{self, Account};
use rand::{RngExt, SeedableRng};

use crate::harness::smtp::Client;
use crate::harness::{Changes, Lab, assert_unchanged, message};

#[tokio::test(flavor = "multi_thread")]
async fn delivered_once_when_it_is_back() {
    let replaced = vec![("etc/beta-mta.toml", "retry_first = \"5s\"".into(), "retry_first = \"1s\"".into())];
    let mut lab = Lab::start_with(Changes { replaced, ..Changes::default() }).await;
    let bob = lab.bob().clone();
    let at = lab.plan.socket(lab.beta().mta, lab.plan.ports.smtp);
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut chance = rand::rngs::StdRng::seed_from_u64(seed);

    let line = [vec![b'z'; 76], b"\r\n".to_vec()].concat();
    let body = line.repeat((8 << 20) / line.len());
    let rounds = 10;
    for number in 0..rounds {
        let mail = message("stranger@elsewhere.invalid", &bob.address, &format!("round {number}"), &body);
        let mut client = Client::connect(at).await;
        client.greet().await;
        let reply = client.send("stranger@elsewhere.invalid", &[&bob.address], &mail).await;
        assert!(reply.starts_with("250"), "{reply}");
        // Somewhere in the transfer of 8 MiB to the mda, before or after it.
        tokio::time::sleep(Duration::from_micros(chance.random_range(0..60_000))).await;
        lab.kill("beta-mda").await;
        lab.up("beta-mda").await;
    }
    for number in 0..rounds {
        let subject = format!("round {number}");
        let mail = message("stranger@elsewhere.invalid", &bob.address, &subject, &body);
        assert_unchanged(&lab.read(lab.beta(), &bob, &subject).await, &mail);
    }
    let account = Account { domain: lab.beta(), person: &bob };
    let subjects = reader::pop3_subjects(&lab.plan, account).await.expect("POP3");
    assert_eq!(subjects.len(), rounds, "some message is there twice: {subjects:?}");
}
