//! The directory as mta, mra and the operator call it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use postroad_config::Config;
use postroad_rpc::v1::authenticate_failure::Reason;
use postroad_rpc::v1::authenticate_reply::Step as Reply;
use postroad_rpc::v1::authenticate_request::Step;
use postroad_rpc::v1::directory_client::DirectoryClient;
use postroad_rpc::v1::directory_server::DirectoryServer;
use postroad_rpc::v1::resolve_recipient_reply::Verdict;
use postroad_rpc::{Channel, ChannelOptions, InProcess, Incoming, Server};
use postroad_service::{Drain, Node};
use postroad_store::mailbox::FolderName;
use postroad_store_local::directory::SqliteDirectory;
use postroad_store_local::mailbox::{LocalMailboxes, Options};
use tonic::Code;

use super::*;

struct Scene {
    context: Arc<Context>,
    link: InProcess,
    drain: Drain,
    _state: tempfile::TempDir,
}

impl Scene {
    /// bob of beta.test with the password "secret", over stores on the disk.
    async fn new() -> Scene {
        postroad_service::tls::install_provider();
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::new("mx.beta.test", state.path());
        config.trace.enabled = false;
        let drain = Drain::new(Duration::from_secs(1));
        let node = Node::alone(Arc::new(config.clone()), Role::Mda, drain.clone()).unwrap();
        let directory = Arc::new(SqliteDirectory::open(&config.directory_file()).unwrap());
        let mailboxes =
            LocalMailboxes::open(&config.mailbox_dir(), directory.clone(), Options::default()).unwrap();
        let context = Arc::new(Context::new(&node, directory, Arc::new(mailboxes)).unwrap());
        let (link, end) = InProcess::new();
        let server = Server::new(Role::Mda).add(DirectoryServer::new(Service::new(context.clone())));
        drain.spawn(server.serve(Incoming::new().in_process(end), drain.token(), drain.grace()));
        let scene = Scene { context, link, drain, _state: state };
        let mut operator = scene.as_role(Role::Operator);
        operator
            .put_domain(v1::PutDomainRequest { name: "beta.test".into(), catch_all: None })
            .await
            .unwrap();
        scene.put_account("bob@beta.test", Some("secret")).await;
        scene
    }

    fn as_role(&self, caller: Role) -> DirectoryClient<Channel> {
        let options = ChannelOptions::default();
        DirectoryClient::new(Channel::in_process(Role::Mda, self.link.clone(), caller, options))
    }

    async fn put_account(&self, address: &str, password: Option<&str>) -> v1::Account {
        let request = v1::PutAccountRequest {
            address: address.into(),
            password: password.map(str::to_owned),
            quota_octets: None,
            enabled: None,
        };
        self.as_role(Role::Operator).put_account(request).await.unwrap().into_inner()
    }

    /// Plays the client's messages; the last reply.
    async fn log_in(&self, mechanism: &str, initial: Option<&[u8]>, responses: &[&[u8]]) -> Reply {
        let start = v1::AuthenticateStart {
            mechanism: mechanism.into(),
            initial: initial.map(Bytes::copy_from_slice),
            service: "imap".into(),
            remote_ip: "192.0.2.7".into(),
            ..Default::default()
        };
        let (requests, stream) = tokio::sync::mpsc::channel(8);
        let send = async |step| requests.send(v1::AuthenticateRequest { step: Some(step) }).await.unwrap();
        send(Step::Start(start)).await;
        let stream = ReceiverStream::new(stream);
        let mut replies = self.as_role(Role::Mra).authenticate(stream).await.unwrap().into_inner();
        let mut responses = responses.iter();
        loop {
            let reply = replies.message().await.unwrap().unwrap().step.unwrap();
            match (&reply, responses.next()) {
                (Reply::Challenge(_), Some(response)) => {
                    send(Step::Response(Bytes::copy_from_slice(response))).await;
                }
                _ => return reply,
            }
        }
    }
}

/// Mechanism, initial response, responses.
type Try<'a> = (&'a str, Option<&'a [u8]>, &'a [&'a [u8]]);

fn failure(reply: &Reply) -> Option<Reason> {
    match reply {
        Reply::Failure(failure) => Some(failure.reason()),
        Reply::Challenge(_) | Reply::Success(_) => None,
    }
}

#[tokio::test]
async fn plain_and_login_with_and_without_an_initial_response() {
    let scene = Scene::new().await;
    let plain: &[u8] = b"\0Bob@Beta.test\0secret";
    let tries: [Try<'_>; 5] = [
        ("PLAIN", Some(plain), &[]),
        ("plain", None, &[plain]),
        ("PLAIN", Some(b"bob@beta.test\0bob@beta.test\0secret"), &[]),
        ("LOGIN", None, &[b"bob@beta.test", b"secret"]),
        ("LOGIN", Some(b"bob@beta.test"), &[b"secret"]),
    ];
    for (mechanism, initial, responses) in tries {
        let reply = scene.log_in(mechanism, initial, responses).await;
        let Reply::Success(success) = reply else { panic!("{mechanism}: {reply:?}") };
        assert_eq!(success.address, "bob@beta.test");
    }
    let reply = scene.log_in("PLAIN", Some(b"erin@beta.test\0bob@beta.test\0secret"), &[]).await;
    assert_eq!(failure(&reply), Some(Reason::Protocol), "acting for another is not offered");
    let reply = scene.log_in("PLAIN", Some(b"no separators"), &[]).await;
    assert_eq!(failure(&reply), Some(Reason::Protocol));
    let reply = scene.log_in("CRAM-MD5", None, &[]).await;
    assert_eq!(failure(&reply), Some(Reason::MechanismUnknown));
    scene.drain.cut();
}

#[tokio::test]
async fn a_wrong_password_an_unknown_name_and_a_disabled_account_fail_alike() {
    let scene = Scene::new().await;
    scene.put_account("erin@beta.test", Some("secret")).await;
    let off = v1::PutAccountRequest {
        address: "erin@beta.test".into(),
        enabled: Some(false),
        ..Default::default()
    };
    scene.as_role(Role::Operator).put_account(off).await.unwrap();
    for message in
        [&b"\0bob@beta.test\0wrong"[..], b"\0nobody@beta.test\0secret", b"\0erin@beta.test\0secret"]
    {
        let begin = Instant::now();
        let reply = scene.log_in("PLAIN", Some(message), &[]).await;
        assert_eq!(failure(&reply), Some(Reason::Credentials));
        assert!(begin.elapsed() >= Duration::from_millis(250), "an answer to a guess waits");
    }
    scene.drain.cut();
}

#[tokio::test]
async fn scram_challenges_a_name_that_does_not_exist_like_one_that_does() {
    let scene = Scene::new().await;
    let mut seen = Vec::new();
    for name in ["bob@beta.test", "nobody@beta.test", "nobody@beta.test"] {
        let first = format!("n,,n={name},r=clientnonce");
        let Reply::Challenge(challenge) = scene.log_in("SCRAM-SHA-256", Some(first.as_bytes()), &[]).await
        else {
            panic!("{name}")
        };
        let text = String::from_utf8(challenge.to_vec()).unwrap();
        let fields: Vec<&str> = text.split(',').collect();
        let [nonce, salt, iterations] = fields[..] else { panic!("{text}") };
        assert!(nonce.starts_with("r=clientnonce"));
        seen.push((salt.to_owned(), iterations.to_owned()));
    }
    assert_eq!(seen[1], seen[2], "the same salt at every try");
    assert_eq!(seen[0].1, seen[1].1);
    assert_eq!(seen[0].0.len(), seen[1].0.len());
    assert_ne!(seen[0].0, seen[1].0);
    scene.drain.cut();
}

#[tokio::test]
async fn each_caller_may_do_its_own_business_only() {
    let scene = Scene::new().await;
    let resolve = || v1::ResolveRecipientRequest { address: "bob@beta.test".into() };
    scene.as_role(Role::Mta).resolve_recipient(resolve()).await.unwrap();
    let refused = scene.as_role(Role::Mra).resolve_recipient(resolve()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for caller in [Role::Mta, Role::Mra] {
        let change = v1::PutAccountRequest { address: "x@beta.test".into(), ..Default::default() };
        let refused = scene.as_role(caller).put_account(change).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{caller}");
        let refused =
            scene.as_role(caller).list_accounts(v1::ListAccountsRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{caller}");
    }
    scene.drain.cut();
}

#[tokio::test]
async fn an_account_begins_with_its_folders_and_ends_with_a_purge() {
    let scene = Scene::new().await;
    let account = AccountId(scene.put_account("bob@beta.test", None).await.id);
    let mailboxes = &scene.context.mailboxes;
    let folders = mailboxes.folders(account).await.unwrap();
    let uses: Vec<_> =
        folders.iter().map(|f| (f.name.as_str(), f.special_use.as_deref(), f.subscribed)).collect();
    assert_eq!(
        uses,
        [
            ("INBOX", None, true),
            ("Archive", Some("\\Archive"), true),
            ("Drafts", Some("\\Drafts"), true),
            ("Junk", Some("\\Junk"), true),
            ("Sent", Some("\\Sent"), true),
            ("Trash", Some("\\Trash"), true),
        ]
    );
    mailboxes.delete_folder(account, &"Archive".parse().unwrap()).await.unwrap();
    scene.put_account("bob@beta.test", Some("another")).await;
    assert_eq!(mailboxes.folders(account).await.unwrap().len(), 5, "what bob removed does not come back");

    let purge = v1::RemoveAccountRequest { address: "bob@beta.test".into(), purge: true };
    scene.as_role(Role::Operator).remove_account(purge).await.unwrap();
    let again = scene.put_account("bob@beta.test", Some("secret")).await;
    assert!(again.id > account.0);
    assert_eq!(mailboxes.numbers(AccountId(again.id), &FolderName::inbox()).await.unwrap().messages, 0);
    scene.drain.cut();
}

#[tokio::test]
async fn who_may_send_as_whom() {
    let scene = Scene::new().await;
    let bob = scene.put_account("bob@beta.test", None).await.id;
    scene.put_account("erin@beta.test", Some("secret")).await;
    let mut operator = scene.as_role(Role::Operator);
    let alias =
        v1::PutAliasRequest { address: "sales@beta.test".into(), targets: vec!["bob@beta.test".into()] };
    operator.put_alias(alias).await.unwrap();
    scene.put_account("boss@beta.test", Some("secret")).await;
    let delegation = |allowed| v1::DelegateRequest {
        account: "Bob@beta.test".into(),
        send_as: "boss@beta.test".into(),
        allowed,
    };
    assert!(operator.delegate(delegation(true)).await.unwrap().into_inner().changed);
    let mut mta = scene.as_role(Role::Mta);
    assert_eq!(mta.delegate(delegation(true)).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    for (address, expected) in [
        ("boss@beta.test", true),
        ("Boss+list@beta.test", true),
        ("bob@beta.test", true),
        ("BOB+lists@beta.test", true),
        ("sales@beta.test", true),
        ("erin@beta.test", false),
        ("nobody@beta.test", false),
        ("bob@elsewhere.test", false),
    ] {
        let request = v1::MaySendRequest { account_id: bob, address: address.into() };
        assert_eq!(mta.may_send(request).await.unwrap().into_inner().allowed, expected, "{address}");
    }
    let accounts = operator.list_accounts(v1::ListAccountsRequest::default()).await.unwrap().into_inner();
    let of_bob = accounts.accounts.into_iter().find(|account| account.id == bob).unwrap();
    assert_eq!(of_bob.sends_as, ["boss@beta.test"]);
    operator.delegate(delegation(false)).await.unwrap();
    let request = v1::MaySendRequest { account_id: bob, address: "boss@beta.test".into() };
    assert!(!mta.may_send(request).await.unwrap().into_inner().allowed);
    scene.drain.cut();
}

#[tokio::test]
async fn verdicts_on_recipients() {
    let scene = Scene::new().await;
    let mut operator = scene.as_role(Role::Operator);
    let alias = v1::PutAliasRequest { address: "all@beta.test".into(), targets: vec!["x@far.test".into()] };
    operator.put_alias(alias).await.unwrap();
    let mut mta = scene.as_role(Role::Mta);
    let mut verdict = async |address: &str| {
        let request = v1::ResolveRecipientRequest { address: address.into() };
        mta.resolve_recipient(request).await.unwrap().into_inner().verdict.unwrap()
    };
    assert!(matches!(verdict("bob@beta.test").await, Verdict::Local(local) if local.detail.is_none()));
    let Verdict::Local(local) = verdict("bob+a.b@beta.test").await else { panic!("local") };
    assert_eq!(local.detail.as_deref(), Some("a.b"));
    assert!(
        matches!(verdict("all@beta.test").await, Verdict::Alias(alias) if alias.targets == ["x@far.test"])
    );
    assert!(matches!(verdict("nobody@beta.test").await, Verdict::Unknown(_)));
    assert!(matches!(verdict("bob@far.test").await, Verdict::NotOurs(_)));
    scene.drain.cut();
}
