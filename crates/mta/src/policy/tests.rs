//! Who may send what to whom.

use std::sync::Arc;

use postroad_types::{Reply, TraceId};
use postroad_wire_smtp::codec::path::ForwardPath;

use super::*;
use crate::directory::fake::FakeDirectory;
use crate::directory::{Account, CachedDirectory};

fn policy() -> (Policy, Arc<FakeDirectory>) {
    let fake = FakeDirectory::new()
        .account("postmaster@beta.test", "p")
        .account("bob@beta.test", "b")
        .alias("info@beta.test", &["bob@beta.test"]);
    let directory = Arc::new(CachedDirectory::new(fake.clone()));
    let postmaster = "postmaster@beta.test".parse().unwrap();
    (Policy::new(directory, vec!["10.0.0.0/8".parse().unwrap()], postmaster), fake)
}

fn client(peer: &str, account: Option<(u64, &str)>) -> Client {
    let account =
        account.map(|(id, address)| Account { id: postroad_types::AccountId(id), address: address.into() });
    Client { peer: peer.parse().unwrap(), submits: account.is_some(), account }
}

async fn rcpt(policy: &Policy, client: &Client, to: &str) -> Result<&'static str, (u16, String)> {
    let path = match to {
        "postmaster" => ForwardPath::Postmaster,
        to => ForwardPath::Address(to.parse().unwrap()),
    };
    let code = |reply: Reply| (reply.code, reply.enhanced.unwrap().to_string());
    policy.rcpt(client, &path, TraceId::new([1; 16])).await.map(|a| a.how).map_err(code)
}

#[tokio::test]
async fn strangers_reach_those_who_live_here_and_nobody_else() {
    let (policy, _) = policy();
    let stranger = client("192.0.2.7", None);
    assert_eq!(rcpt(&policy, &stranger, "bob@beta.test").await, Ok("local"));
    assert_eq!(rcpt(&policy, &stranger, "info@beta.test").await, Ok("alias"));
    assert_eq!(rcpt(&policy, &stranger, "postmaster").await, Ok("local"));
    assert_eq!(rcpt(&policy, &stranger, "nobody@beta.test").await, Err((550, "5.1.1".into())));
    for to in ["x@gamma.test", "x@[192.0.2.9]", "\"bob@beta.test\"@gamma.test", "bob%beta.test@gamma.test"] {
        assert_eq!(rcpt(&policy, &stranger, to).await, Err((550, "5.7.1".into())), "{to}");
    }
}

#[tokio::test]
async fn accounts_and_trusted_networks_reach_anyone() {
    let (policy, _) = policy();
    for friend in [client("10.1.2.3", None), client("192.0.2.7", Some((2, "bob@beta.test")))] {
        assert_eq!(rcpt(&policy, &friend, "x@gamma.test").await, Ok("relay"));
        assert_eq!(rcpt(&policy, &friend, "nobody@beta.test").await, Err((550, "5.1.1".into())));
    }
}

#[tokio::test]
async fn without_the_directory_everyone_is_put_off() {
    let (policy, fake) = policy();
    fake.set_down(true);
    let stranger = client("192.0.2.7", None);
    assert_eq!(rcpt(&policy, &stranger, "bob@beta.test").await, Err((451, "4.3.0".into())));
    let bob = client("192.0.2.7", Some((2, "bob@beta.test")));
    assert_eq!(policy.mail(&bob, &"bob@beta.test".parse().unwrap()).await.unwrap_err().code, 451);
}

#[tokio::test]
async fn an_account_sends_as_itself_or_as_a_notice() {
    let (policy, _) = policy();
    let bob = client("192.0.2.7", Some((2, "bob@beta.test")));
    assert_eq!(policy.mail(&bob, &"bob@beta.test".parse().unwrap()).await, Ok(()));
    assert_eq!(policy.mail(&bob, &"".parse().unwrap()).await, Ok(()));
    assert_eq!(policy.mail(&bob, &"postmaster@beta.test".parse().unwrap()).await.unwrap_err().code, 553);
    let stranger = client("192.0.2.7", None);
    assert_eq!(policy.mail(&stranger, &"anyone@gamma.test".parse().unwrap()).await, Ok(()));
}
