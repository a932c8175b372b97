//! SIGTERM: a message that is being sent is finished and kept, new connections hear 421, and what was accepted is
//! delivered after the restart.

use crate::harness::smtp::Client;
use crate::harness::{Lab, assert_unchanged, eventually, message};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished_and_new_connections_are_refused() {
    let mut lab = Lab::start().await;
    let bob = lab.bob().clone();
    let at = lab.plan.socket(lab.beta().mta, lab.plan.ports.smtp);

    let mail =
        message("stranger@elsewhere.invalid", &bob.address, "in the middle", b"One line,\r\nanother.\r\n");
    let (begun, rest) = mail.split_at(mail.len() - 5);
    let mut client = Client::connect(at).await;
    client.greet().await;
    for command in ["MAIL FROM:<stranger@elsewhere.invalid>", &format!("RCPT TO:<{}>", bob.address)] {
        let reply = client.command(command).await;
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert!(client.command("DATA").await.starts_with("354"));
    client.write(begun).await;

    lab.terminate("beta-mta");
    eventually("421 for a new connection", async || {
        Client::connect(at).await.try_reply().await.filter(|greeting| greeting.starts_with("421"))
    })
    .await;

    client.write(rest).await;
    client.write(b".\r\n").await;
    let reply = client.reply().await;
    assert!(reply.starts_with("250"), "the message that was begun: {reply}");
    // The server says good bye by itself, or to the next command; then it is gone.
    client.write(b"NOOP\r\n").await;
    if let Some(farewell) = client.try_reply().await {
        assert!(farewell.starts_with("421"), "{farewell}");
    }
    assert!(client.is_closed().await);
    lab.stop("beta-mta").await;

    lab.up("beta-mta").await;
    assert_unchanged(&lab.read(lab.beta(), &bob, "in the middle").await, &mail);
}
