//! What the scenes share: a CA, services that do as the question says, and who calls them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::Stream;
use postroad_rpc::v1::{self, trace_client::TraceClient, trace_server::TraceServer};
use postroad_rpc::{Channel, ChannelOptions, Incoming, Peer, Server, ServiceTls};
use postroad_types::Role;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Every wait of a scene ends after so long at the latest.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Ca {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub fn new() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate that bears this name, believed by nobody but those who believe this CA.
    pub fn pems(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    pub fn named(&self, name: &str) -> ServiceTls {
        let (chain, key) = self.pems(name);
        ServiceTls::new(self.pem.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap()
    }

    pub fn tls(&self, role: Role) -> ServiceTls {
        self.named(role.identity())
    }
}

/// Answers `who` with the caller's role and its own name; `slow` never; `forever` with a stream without end, `flood`
/// with one that is always full.
#[derive(Clone)]
pub struct Echo {
    name: String,
    /// Calls that were begun and are not over.
    pub under_way: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl v1::trace_server::Trace for Echo {
    type FindStepsStream = Pin<Box<dyn Stream<Item = Result<v1::FindStepsReply, Status>> + Send>>;

    async fn find_steps(
        &self,
        request: Request<v1::FindStepsRequest>,
    ) -> Result<Response<Self::FindStepsStream>, Status> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(self.under_way.clone());
        let peer = Peer::of(&request).unwrap();
        let trace = postroad_rpc::trace::trace_of(&request);
        let step = v1::Step {
            role: peer.role.to_string(),
            node: self.name.clone(),
            trace_id: trace.map(|t| t.to_string()).unwrap_or_default(),
            ..Default::default()
        };
        let answer = Ok(v1::FindStepsReply { steps: vec![step] });
        match request.get_ref().id.as_str() {
            "who" => Ok(Response::new(Box::pin(futures_util::stream::iter([answer])))),
            "slow" => {
                std::future::pending::<()>().await;
                Err(Status::internal("the end of all days"))
            }
            "a moment" => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(Response::new(Box::pin(futures_util::stream::iter([answer]))))
            }
            "forever" => {
                let endless = futures_util::stream::once(std::future::ready(answer));
                let endless = futures_util::StreamExt::chain(endless, futures_util::stream::pending());
                Ok(Response::new(Box::pin(endless)))
            }
            "flood" => {
                let step = v1::Step { name: "x".repeat(60_000), ..Default::default() };
                let flood = futures_util::stream::repeat(v1::FindStepsReply { steps: vec![step] });
                Ok(Response::new(Box::pin(futures_util::StreamExt::map(flood, Ok))))
            }
            other => Err(Status::invalid_argument(other.to_owned())),
        }
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub under_way: Arc<AtomicUsize>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Running {
    /// As a killed process would: no word, connections gone.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A service in `role`, called `name`, on `address`.
pub async fn serve(address: &str, name: &str, role: Role, tls: ServiceTls, grace: Duration) -> Running {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let under_way = Arc::new(AtomicUsize::new(0));
    let echo = Echo { name: name.to_owned(), under_way: under_way.clone() };
    let server = Server::new(role).add(TraceServer::new(echo));
    let task = tokio::spawn(server.serve(Incoming::new().listen(listener, tls), stop.clone(), grace));
    Running { address, under_way, stop, task }
}

pub fn quick() -> ChannelOptions {
    ChannelOptions {
        deadline: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(1),
        resolve_every: Duration::from_millis(200),
    }
}

pub fn channel(role: Role, to: &[SocketAddr], tls: ServiceTls) -> Channel {
    let hosts = to.iter().map(|a| (a.ip().to_string(), a.port())).collect();
    Channel::new(role, hosts, tls, quick())
}

/// Asks and returns the first step of the answer.
pub async fn ask(channel: &Channel, what: &str) -> Result<v1::Step, Status> {
    ask_with(channel, Request::new(v1::FindStepsRequest { id: what.to_owned(), ..Default::default() })).await
}

pub async fn ask_with(channel: &Channel, request: Request<v1::FindStepsRequest>) -> Result<v1::Step, Status> {
    let asked = async {
        let mut answers = TraceClient::new(channel.clone()).find_steps(request).await?.into_inner();
        let first = answers.message().await?.ok_or_else(|| Status::internal("no answer"))?;
        first.steps.into_iter().next().ok_or_else(|| Status::internal("no step"))
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("an answer or an error in time")
}
