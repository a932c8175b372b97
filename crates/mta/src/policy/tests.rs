//! Whole stages: who may send what to whom, and which checks concern whom.

use std::sync::Arc;
use std::time::Duration;

use postroad_config::{CheckAction, Greylist as GreylistSettings, Policy as Settings};
use postroad_types::TraceId;
use postroad_wire_smtp::codec::path::ForwardPath;
use postroad_wire_smtp::server::Hello;

use super::fake::FakeDns;
use super::*;
use crate::clock::PausedClock;
use crate::directory::Account;
use crate::directory::fake::FakeDirectory;
use crate::testing::policy_with;

const TRACE: TraceId = TraceId::new([1; 16]);

fn dns() -> FakeDns {
    FakeDns::new()
        .mx("gamma.test", "mx.gamma.test")
        .a("mx.gamma.test", "192.0.2.7")
        .ptr("192.0.2.7", "mx.gamma.test")
}

fn policy_of(settings: Settings, dns: FakeDns) -> (Policy, Arc<FakeDirectory>) {
    let fake = FakeDirectory::new()
        .account("alice@alpha.test", "a")
        .account("bob@alpha.test", "b")
        .alias("info@alpha.test", &["bob@alpha.test"]);
    let directory = Arc::new(CachedDirectory::new(fake.clone()));
    (policy_with(settings, Arc::new(dns), directory, Arc::new(PausedClock::start())), fake)
}

fn policy() -> (Policy, Arc<FakeDirectory>) {
    policy_of(Settings::default(), dns())
}

/// A client of that address; with an account it submits.
fn client(policy: &Policy, peer: &str, account: Option<(u64, &str)>) -> Client {
    let account =
        account.map(|(id, address)| Account { id: postroad_types::AccountId(id), address: address.into() });
    Client { account: account.clone(), ..policy.client(peer.parse().unwrap(), account.is_some()) }
}

fn code(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.enhanced.unwrap())
}

async fn mail(policy: &Policy, client: &Client, sender: &str) -> String {
    let outcome = policy.mail(client, &sender.parse().unwrap(), TRACE).await;
    outcome.refusal.map_or("ok".to_owned(), |reply| code(&reply))
}

async fn rcpt(policy: &Policy, client: &mut Client, to: &str) -> String {
    let path = match to {
        "postmaster" => ForwardPath::Postmaster,
        to => ForwardPath::Address(to.parse().unwrap()),
    };
    let sender = "carol@gamma.test".parse().unwrap();
    let envelope = Envelope { sender: &sender, accepted: 0, score: 0, trace: TRACE };
    let (outcome, accepted) = policy.rcpt(client, envelope, &path).await;
    match (outcome.refusal, accepted) {
        (None, Some(accepted)) => accepted.how.to_owned(),
        (Some(reply), None) => code(&reply),
        (refusal, accepted) => panic!("{refusal:?} and {accepted:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_reach_those_who_live_here_and_nobody_else() {
    let (policy, _) = policy();
    let mut stranger = client(&policy, "192.0.2.7", None);
    assert_eq!(rcpt(&policy, &mut stranger, "bob@alpha.test").await, "local");
    assert_eq!(rcpt(&policy, &mut stranger, "info@alpha.test").await, "alias");
    assert_eq!(rcpt(&policy, &mut stranger, "postmaster").await, "local");
    assert_eq!(rcpt(&policy, &mut stranger, "nobody@alpha.test").await, "550 5.1.1");
    for to in ["x@delta.test", "x@[192.0.2.9]", "\"bob@alpha.test\"@delta.test", "bob%alpha.test@delta.test"]
    {
        assert_eq!(rcpt(&policy, &mut stranger, to).await, "550 5.7.1", "{to}");
    }
    assert_eq!(rcpt(&policy, &mut stranger, "x@Backup.test").await, "relay", "of relay_domains");
    let mut neighbour = client(&policy, "127.0.0.1", None);
    assert_eq!(rcpt(&policy, &mut neighbour, "x@delta.test").await, "550 5.7.1", "exempt is not trusted");
}

#[tokio::test(start_paused = true)]
async fn accounts_and_trusted_networks_reach_anyone() {
    let (policy, _) = policy();
    for (peer, account) in [("10.1.2.3", None), ("192.0.2.7", Some((2, "bob@alpha.test")))] {
        let mut friend = client(&policy, peer, account);
        assert_eq!(rcpt(&policy, &mut friend, "x@delta.test").await, "relay");
        assert_eq!(rcpt(&policy, &mut friend, "nobody@alpha.test").await, "550 5.1.1");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_directory_everyone_is_put_off() {
    let (policy, fake) = policy();
    fake.set_down(true);
    let mut stranger = client(&policy, "192.0.2.7", None);
    assert_eq!(rcpt(&policy, &mut stranger, "bob@alpha.test").await, "451 4.3.0");
    assert_eq!(mail(&policy, &stranger, "carol@gamma.test").await, "ok", "the recipient is put off");
    let bob = client(&policy, "192.0.2.7", Some((2, "bob@alpha.test")));
    assert_eq!(mail(&policy, &bob, "bob@alpha.test").await, "451 4.3.0");
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_the_accounts_or_no_one_of_ours() {
    let (policy, _) = policy();
    let bob = client(&policy, "192.0.2.7", Some((2, "bob@alpha.test")));
    let (stranger, neighbour) = (client(&policy, "192.0.2.7", None), client(&policy, "127.0.0.1", None));
    let trusted = client(&policy, "10.0.0.1", None);
    for (client, sender, expected) in [
        (&bob, "bob@alpha.test", "ok"),
        (&bob, "", "ok"),
        (&bob, "alice@alpha.test", "553 5.7.1"),
        (&stranger, "carol@gamma.test", "ok"),
        (&stranger, "bob@alpha.test", "550 5.7.1"),
        (&stranger, "carol@nowhere.test", "550 5.1.8"),
        (&neighbour, "carol@nowhere.test", "ok"),
        (&neighbour, "bob@alpha.test", "550 5.7.1"),
        (&trusted, "bob@alpha.test", "ok"),
    ] {
        assert_eq!(mail(&policy, client, sender).await, expected, "{sender:?} from {client:?}");
    }
    let settings = Settings { own_sender: CheckAction::Mark, ..Settings::default() };
    let (policy, _) = policy_of(settings, dns().a("alpha.test", "192.0.2.1"));
    let outcome = policy.mail(&stranger, &"bob@alpha.test".parse().unwrap(), TRACE).await;
    assert_eq!(outcome.findings.iter().map(Finding::score).sum::<u32>(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_has_a_name_that_leads_back_to_it() {
    let refuse = || Settings { reverse_dns: CheckAction::Refuse, ..Settings::default() };
    let dns = dns()
        .ptr("192.0.2.8", "mx.gamma.test")
        .ptr("192.0.2.9", "9.example test")
        .ptr("192.0.2.10", "broken.test")
        .fails("broken.test")
        .fails("192.0.2.11")
        .hangs("192.0.2.12")
        .ptr("2001:db8::1", "six.test")
        .a("six.test", "2001:db8::1");
    let (policy, _) = policy_of(refuse(), dns);
    for (peer, name, refused) in [
        ("192.0.2.7", Some("mx.gamma.test"), false),
        ("192.0.2.8", None, true),
        ("192.0.2.9", None, true),
        ("192.0.2.10", None, false),
        ("192.0.2.11", None, false),
        ("192.0.2.12", None, false),
        ("192.0.2.13", None, true),
        ("2001:db8::1", Some("six.test"), false),
        ("127.0.0.1", None, false),
        ("10.0.0.1", None, false),
    ] {
        let mut client = client(&policy, peer, None);
        let outcome = policy.connect(&mut client, &EarlyTalk::default()).await;
        assert_eq!(
            (client.name.as_deref(), outcome.refusal.is_some()),
            (name, refused),
            "{peer}: {outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn lists_that_vouch_for_a_client_spare_it_the_rest() {
    let list = |zone: &str, weight| postroad_config::Dnsbl {
        zone: zone.into(),
        weight,
        codes: vec!["127.0.0.0/8".parse().unwrap()],
    };
    let settings = Settings {
        reverse_dns: CheckAction::Refuse,
        helo_not_fqdn: CheckAction::Refuse,
        dnsbl: vec![list("bl.test", 1), list("wl.test", -2)],
        greylist: GreylistSettings { enabled: true, ..GreylistSettings::default() },
        ..Settings::default()
    };
    let dns = dns().dnsbl("bl.test").dnsbl("wl.test").a("9.2.0.192.wl.test", "127.0.0.3");
    let dns = dns.a("9.2.0.192.bl.test", "127.0.0.2").a("8.2.0.192.bl.test", "127.0.0.2");
    let (policy, _) = policy_of(settings, dns);
    let mut good = client(&policy, "192.0.2.9", None);
    assert_eq!(policy.connect(&mut good, &EarlyTalk::default()).await.refusal, None);
    let hello = Hello { extended: true, name: "box".into(), host: "box".parse().ok() };
    assert_eq!(policy.helo(&mut good, &hello).await.refusal, None);
    assert_eq!(rcpt(&policy, &mut good, "bob@alpha.test").await, "local");
    let mut bad = client(&policy, "192.0.2.8", None);
    let refused = policy.connect(&mut bad, &EarlyTalk::default()).await.refusal.unwrap();
    assert_eq!(code(&refused), "554 5.7.1");
    let mut other = client(&policy, "192.0.2.7", None);
    assert_eq!(policy.connect(&mut other, &EarlyTalk::default()).await.refusal, None);
    assert!(policy.helo(&mut other, &hello).await.refusal.is_some());
    assert_eq!(rcpt(&policy, &mut other, "bob@alpha.test").await, "451 4.7.1");
    assert_eq!(rcpt(&policy, &mut other, "postmaster").await, "local");
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(rcpt(&policy, &mut other, "bob@alpha.test").await, "local");
}

#[tokio::test(start_paused = true)]
async fn a_harvest_is_answered_later_and_later_and_marks_add_up() {
    let (policy, _) = policy_of(Settings { refuse_score: 3, ..Settings::default() }, dns());
    let mut stranger = client(&policy, "192.0.2.7", None);
    let sender = "carol@gamma.test".parse().unwrap();
    let mut delays = Vec::new();
    for number in 0..6 {
        let path = ForwardPath::Address(format!("no{number}@alpha.test").parse().unwrap());
        let envelope = Envelope { sender: &sender, accepted: 0, score: 0, trace: TRACE };
        let (outcome, _) = policy.rcpt(&mut stranger, envelope, &path).await;
        assert_eq!(outcome.refusal.unwrap().code, 550);
        delays.push(outcome.delay.as_secs());
    }
    assert_eq!(delays, [0, 0, 0, 1, 2, 3]);
    let bob = ForwardPath::Address("bob@alpha.test".parse().unwrap());
    for (score, refused) in [(2, false), (3, true)] {
        let envelope = Envelope { sender: &sender, accepted: 0, score, trace: TRACE };
        let (outcome, _) = policy.rcpt(&mut stranger, envelope, &bob).await;
        assert_eq!(outcome.refusal.is_some(), refused);
    }
}

#[tokio::test]
async fn a_domain_may_want_its_submitters_hidden_otherwise_than_the_rest() {
    for hide_submitter in [true, false] {
        let except = vec!["alpha.test".parse().unwrap()];
        let settings = Settings { hide_submitter, hide_submitter_except: except, ..Settings::default() };
        let (policy, _) = policy_of(settings, dns());
        let hides = |account| policy.hides(&client(&policy, "192.0.2.7", account));
        assert_eq!(hides(Some((1, "alice@alpha.test"))), !hide_submitter);
        assert_eq!(hides(Some((9, "carol@omega.test"))), hide_submitter);
        assert!(!hides(None), "who did not log in is shown");
    }
}
