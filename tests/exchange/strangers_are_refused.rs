//! Nothing relays for strangers, and no password is taken without TLS.

use crate::harness::Lab;
use crate::harness::smtp::Client;

#[tokio::test(flavor = "multi_thread")]
async fn no_relay_and_no_password_in_the_clear() {
    let lab = Lab::start().await;
    let (alice, bob) = (lab.alice(), lab.bob());

    let mut client = Client::connect(lab.plan.socket(lab.alpha().mta, lab.plan.ports.smtp)).await;
    client.greet().await;
    client.command("MAIL FROM:<stranger@elsewhere.invalid>").await;
    let reply = client.command(&format!("RCPT TO:<{}>", bob.address)).await;
    assert!(
        reply.starts_with("550 5.7.1") || reply.starts_with("554 5.7.1"),
        "relayed for a stranger: {reply}"
    );
    let reply = client.command(&format!("RCPT TO:<{}>", alice.address)).await;
    assert!(reply.starts_with("250"), "{reply}");

    let reply = client.command("RCPT TO:<postmaster>").await;
    assert!(reply.starts_with("250"), "nobody is postmaster: {reply}");

    let mut client = Client::connect(lab.plan.socket(lab.alpha().mta, lab.plan.ports.submission)).await;
    let able = client.greet().await;
    assert!(able.contains("STARTTLS") && !able.contains("AUTH"), "{able}");
    let reply = client.command("AUTH PLAIN AGFsaWNlAHNlY3JldA==").await;
    assert!(reply.starts_with("538") || reply.starts_with("530"), "{reply}");
    let reply = client.command(&format!("MAIL FROM:<{}>", alice.address)).await;
    assert!(reply.starts_with("530"), "submission without a login: {reply}");

    // Whoever is logged in sends under own addresses only.
    let submissions = lab.plan.socket(lab.alpha().mta, lab.plan.ports.submissions);
    let mut client = Client::connect_tls(submissions, &lab.alpha().mail_host(), &lab.plan.ca_file()).await;
    client.greet().await;
    client.auth_plain(&alice.address, &alice.password).await;
    let reply = client.command("MAIL FROM:<carol@alpha.test>").await;
    assert!(reply.starts_with("550") || reply.starts_with("553"), "sent under another's name: {reply}");
}
