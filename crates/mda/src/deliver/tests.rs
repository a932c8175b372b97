//! Delivery as the mta calls it, over memory stores.

use std::time::Duration;

use postroad_config::{Config, FullMailbox};
use postroad_rpc::v1::deliver_request::Part;
use postroad_rpc::v1::delivery_client::DeliveryClient;
use postroad_rpc::v1::delivery_server::DeliveryServer;
use postroad_rpc::v1::recipient_result::Outcome;
use postroad_rpc::{Channel, ChannelOptions, InProcess, Incoming, Server};
use postroad_service::{Drain, Node};
use postroad_store::directory::{AccountChange, AliasRecord, Credentials, DirectoryStore, ScramKeys};
use postroad_store::mailbox::FolderName;
use postroad_store::memory::{MemoryDirectory, MemoryMailboxes};
use postroad_types::{AccountId, Role};

use super::*;

struct Scene {
    context: Arc<Context>,
    client: DeliveryClient<Channel>,
    drain: Drain,
    _state: tempfile::TempDir,
}

async fn scene() -> Scene {
    scene_with(FullMailbox::Refuse).await
}

async fn scene_with(full_mailbox: FullMailbox) -> Scene {
    postroad_service::tls::install_provider();
    let state = tempfile::tempdir().unwrap();
    let mut config = Config::new("mx.beta.test", state.path());
    config.trace.enabled = false;
    config.mda.full_mailbox = full_mailbox;
    let drain = Drain::new(Duration::from_secs(1));
    let node = Node::alone(Arc::new(config), Role::Mda, drain.clone()).unwrap();
    let directory = MemoryDirectory::new();
    directory.put_domain(&"beta.test".parse().unwrap(), None).await.unwrap();
    for (name, quota) in [("bob", 0), ("erin", 0), ("full", 10)] {
        let scram_sha_256 =
            ScramKeys { salt: vec![1], iterations: 1, stored_key: vec![], server_key: vec![] };
        let credentials = Some(Credentials { password_hash: String::new(), scram_sha_256 });
        let change = AccountChange { credentials, quota_octets: Some(quota), enabled: Some(true) };
        directory.put_account(&format!("{name}@beta.test").parse().unwrap(), change, 0).await.unwrap();
    }
    let alias = AliasRecord {
        address: "all@beta.test".parse().unwrap(),
        targets: ["bob@beta.test", "full@beta.test", "far@elsewhere.test"]
            .map(|a| a.parse().unwrap())
            .to_vec(),
    };
    directory.put_alias(&alias).await.unwrap();
    let context =
        Arc::new(Context::new(&node, Arc::new(directory), Arc::new(MemoryMailboxes::new())).unwrap());
    let (link, end) = InProcess::new();
    let server = Server::new(Role::Mda).add(DeliveryServer::new(Service::new(context.clone())));
    drain.spawn(server.serve(Incoming::new().in_process(end), drain.token(), drain.grace()));
    let channel = Channel::in_process(Role::Mda, link, Role::Mta, ChannelOptions::default());
    Scene { context, client: DeliveryClient::new(channel), drain, _state: state }
}

impl Scene {
    async fn deliver(&mut self, queue_id: &str, to: &[&str], text: &'static str) -> Vec<v1::RecipientResult> {
        let envelope = v1::DeliveryEnvelope {
            queue_id: queue_id.into(),
            reverse_path: "alice@alpha.test".into(),
            recipients: to.iter().map(|to| (*to).to_owned()).collect(),
            size: text.len() as u64,
            received_us: 1_000_000,
            trace_id: String::new(),
        };
        let parts = [Part::Envelope(envelope), Part::Chunk(Bytes::from_static(text.as_bytes()))];
        let parts = parts.map(|part| v1::DeliverRequest { part: Some(part) });
        self.client.deliver(tokio_stream::iter(parts)).await.unwrap().into_inner().results
    }

    async fn inbox(&self, account: u64) -> Vec<String> {
        let (account, inbox) = (AccountId(account), FolderName::inbox());
        let (_, messages) = self.context.mailboxes.open(account, &inbox, false).await.unwrap();
        let mut texts = Vec::new();
        for message in messages {
            let octets = self.context.mailboxes.read(account, &inbox, message.uid, 0, 10_000).await.unwrap();
            texts.push(String::from_utf8(octets.to_vec()).unwrap());
        }
        texts
    }
}

fn outcome(result: &v1::RecipientResult) -> (u32, &str) {
    let word = match result.outcome.as_ref().unwrap() {
        Outcome::Delivered(delivered) if delivered.duplicate => "duplicate",
        Outcome::Delivered(_) => "delivered",
        Outcome::Deferred(_) => "deferred",
        Outcome::Rejected(_) => "rejected",
        Outcome::Expanded(_) => "expanded",
    };
    (result.reply.as_ref().map_or(0, |reply| reply.code), word)
}

const ID: &str = "0000000000000001";

#[tokio::test]
async fn each_recipient_has_a_result_of_its_own() {
    let mut scene = scene().await;
    let to = ["bob@beta.test", "nobody@beta.test", "full@beta.test", "erin+x@beta.test"];
    let results = scene.deliver(ID, &to, "Subject: x\r\n\r\nhello\r\n").await;
    let outcomes: Vec<_> = results.iter().map(outcome).collect();
    assert_eq!(outcomes, [(250, "delivered"), (550, "rejected"), (552, "rejected"), (250, "delivered")]);
    let expected =
        "Return-Path: <alice@alpha.test>\r\nDelivered-To: bob@beta.test\r\nSubject: x\r\n\r\nhello\r\n";
    assert_eq!(scene.inbox(1).await, [expected]);
    scene.drain.cut();
}

#[tokio::test]
async fn a_full_mailbox_is_tried_again_where_the_operator_wants_that() {
    let mut scene = scene_with(FullMailbox::Defer).await;
    let results = scene.deliver(ID, &["full@beta.test"], "Subject: x\r\n\r\nhello\r\n").await;
    assert_eq!(results.iter().map(outcome).collect::<Vec<_>>(), [(452, "deferred")]);
    scene.drain.cut();
}

#[tokio::test]
async fn a_repeated_delivery_leaves_one_message() {
    let mut scene = scene().await;
    for expected in ["delivered", "duplicate", "duplicate"] {
        let results = scene.deliver(ID, &["bob@beta.test"], "\r\nhello\r\n").await;
        assert_eq!(outcome(&results[0]).1, expected);
    }
    assert_eq!(scene.inbox(1).await.len(), 1);
    let results = scene.deliver("0000000000000002", &["bob@beta.test"], "\r\nhello\r\n").await;
    assert_eq!(outcome(&results[0]).1, "delivered");
    scene.drain.cut();
}

#[tokio::test]
async fn an_alias_delivers_here_and_hands_back_the_rest() {
    let mut scene = scene().await;
    let results = scene.deliver(ID, &["all@beta.test"], "\r\nhello\r\n").await;
    let Some(Outcome::Expanded(expanded)) = &results[0].outcome else { panic!("{results:?}") };
    assert_eq!(expanded.addresses, ["far@elsewhere.test", "full@beta.test"]);
    assert_eq!(scene.inbox(1).await.len(), 1);
    scene.drain.cut();
}

#[tokio::test]
async fn mail_that_was_here_before_is_a_loop() {
    let mut scene = scene().await;
    let text = "Delivered-To: bob@beta.test\r\nSubject: again\r\n\r\nhello\r\n";
    let results = scene.deliver(ID, &["bob@beta.test", "erin@beta.test"], text).await;
    assert_eq!(results.iter().map(outcome).collect::<Vec<_>>(), [(550, "rejected"), (250, "delivered")]);
    scene.drain.cut();
}

#[tokio::test]
async fn a_size_that_does_not_hold_is_refused_whole() {
    let mut scene = scene().await;
    let envelope = v1::DeliveryEnvelope { queue_id: ID.into(), size: 5, ..Default::default() };
    let parts = [Part::Envelope(envelope), Part::Chunk(Bytes::from_static(b"four"))];
    let parts = parts.map(|part| v1::DeliverRequest { part: Some(part) });
    let refused = scene.client.deliver(tokio_stream::iter(parts)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    scene.drain.cut();
}
