//! The mta is killed (SIGKILL) right after it said 250, a hundred times at chance instants. Whatever it accepted
//! arrives, and arrives once.

use std::collections::BTreeSet;
use std::time::Duration;

use postroad::lab::reader::{self, Account};
use rand::{RngExt, SeedableRng};

use crate::harness::smtp::Client;
use crate::harness::{Lab, eventually, message};

const KILLS: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_message_arrives_once() {
    let mut lab = Lab::start().await;
    let bob = lab.bob().clone();
    let at = lab.plan.socket(lab.beta().mta, lab.plan.ports.smtp);
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut chance = rand::rngs::StdRng::seed_from_u64(seed);

    let mut accepted = BTreeSet::new();
    for number in 0..KILLS {
        let mut client = Client::connect(at).await;
        client.greet().await;
        let subject = format!("kill {number}");
        let body = vec![b'x'; chance.random_range(0..20_000)];
        let mail =
            message("stranger@elsewhere.invalid", &bob.address, &subject, &[body, b"\r\n".to_vec()].concat());
        let reply = client.send("stranger@elsewhere.invalid", &[&bob.address], &mail).await;
        assert!(reply.starts_with("250"), "{reply}");
        accepted.insert(subject);
        tokio::time::sleep(Duration::from_micros(chance.random_range(0..20_000))).await;
        lab.kill("beta-mta").await;
        lab.up("beta-mta").await;
    }

    let account = Account { domain: lab.beta(), person: &bob };
    let subjects = eventually("all accepted messages", async || {
        let subjects = reader::pop3_subjects(&lab.plan, account).await.expect("POP3");
        let there: BTreeSet<String> = subjects.iter().cloned().collect();
        accepted.is_subset(&there).then_some(subjects)
    })
    .await;
    assert_eq!(subjects.len(), accepted.len(), "some message is there twice: {subjects:?}");
}
