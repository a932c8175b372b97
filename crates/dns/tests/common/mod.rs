//! A stage for tests over real sockets: servers on 127.0.0.x, and questions put to them.
#![allow(dead_code, reason = "each test file uses its own part of the stage")]

pub mod encrypted;
pub mod fake;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::Name;
use postroad_config::{Config, Dns as DnsConfig, Zone};
use postroad_dns::{Dns, DnsError};
use postroad_rpc::{Channel, ChannelOptions};
use postroad_service::{Drain, FakeClock, Node, identity};
use postroad_types::Role;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than any answer here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

pub struct Stage {
    pub folder: TempDir,
    pub clock: FakeClock,
    pub drain: Drain,
}

impl Stage {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: FakeClock::new(SystemTime::UNIX_EPOCH),
            drain: Drain::new(Duration::from_secs(5)),
        }
    }

    /// Writes a zone file.
    pub fn zone(&self, origin: &str, text: &str) -> Zone {
        let file = self.file(&format!("zone-{origin}"), text);
        Zone::in_file(origin, file)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// A server without recursion.
    pub fn authoritative(&self, listen: SocketAddr, zones: Vec<Zone>) -> DnsConfig {
        let mut config = DnsConfig { listen: vec![listen], zones, ..DnsConfig::default() };
        config.recursion.allow.clear();
        config
    }

    pub fn start(&self, config: &DnsConfig) -> Result<Dns, DnsError> {
        Dns::start(config, Arc::new(self.clock.clone()), &self.drain)
    }

    /// The same, in a part that can be stopped alone.
    pub fn start_part(&self, config: &DnsConfig) -> Result<(Dns, Drain), DnsError> {
        let drain = self.drain.part();
        Ok((Dns::start(config, Arc::new(self.clock.clone()), &drain)?, drain))
    }
}

/// The whole role, as its program runs it.
pub struct Running {
    pub node: Node,
    pub config: Config,
    drain: Drain,
    task: JoinHandle<()>,
}

impl Running {
    /// On ports of 127.0.0.1 that the system chooses.
    pub async fn begin(mut config: Config) -> Self {
        postroad_service::tls::install_provider();
        for listen in [&mut config.dns.listen, &mut config.dns.rpc_listen, &mut config.dns.admin_listen] {
            *listen = vec![loopback(1, 0)];
        }
        let drain = Drain::new(Duration::from_secs(5));
        let node = Node::alone(Arc::new(config.clone()), Role::Dns, drain.clone()).unwrap();
        let whole = node.clone();
        let task = tokio::spawn(async move { postroad_dns::run(whole).await.unwrap() });
        let bound = async {
            while node.addresses("admin").is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, bound).await.unwrap();
        Self { node, config, drain, task }
    }

    pub fn dns(&self) -> SocketAddr {
        self.node.addresses("DNS")[0]
    }

    /// A way to its services for a caller of this role.
    pub fn channel(&self, role: Role) -> Channel {
        let tls = identity::load(&self.config, &[role], SystemTime::now()).unwrap();
        let options = ChannelOptions { deadline: SOON, connect_timeout: SOON, resolve_every: SOON };
        let rpc = self.node.addresses("gRPC")[0];
        Channel::new(Role::Dns, vec![(rpc.ip().to_string(), rpc.port())], tls, options)
    }

    pub async fn end(self) {
        self.drain.stop();
        timeout(SOON, self.task).await.unwrap().unwrap();
    }
}

pub fn loopback(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], port))
}

/// A question as a stub resolver asks it.
pub fn question(name: &str, rtype: &str, edns: bool) -> Message {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let rtype: postroad_dns::wire::Rtype = rtype.parse().unwrap();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype.into()));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        message.set_edns(edns);
    }
    message
}

/// Asks over UDP from an address of ours.
pub async fn ask_from(source: IpAddr, server: SocketAddr, message: &Message) -> Message {
    let octets = exchange(source, server, &message.to_vec().unwrap()).await.expect("no answer");
    let answer = Message::from_vec(&octets).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    answer
}

pub async fn ask(server: SocketAddr, name: &str, rtype: &str) -> Message {
    ask_from(Ipv4Addr::LOCALHOST.into(), server, &question(name, rtype, true)).await
}

/// Sends octets over UDP and gives the answer, if one comes from where they were sent to.
pub async fn exchange(source: IpAddr, server: SocketAddr, octets: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((source, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    let mut answer = vec![0; 65_535];
    for _ in 0..3 {
        socket.send(octets).await.unwrap();
        if let Ok(received) = timeout(SOON, socket.recv(&mut answer)).await {
            answer.truncate(received.unwrap());
            return Some(answer);
        }
    }
    None
}

pub async fn send_framed(stream: &mut TcpStream, octets: &[u8]) {
    let framed = [&(octets.len() as u16).to_be_bytes(), octets].concat();
    stream.write_all(&framed).await.unwrap();
}

pub async fn read_framed(stream: &mut TcpStream) -> Vec<u8> {
    let read = async {
        let length = stream.read_u16().await.unwrap();
        let mut octets = vec![0; usize::from(length)];
        stream.read_exact(&mut octets).await.unwrap();
        octets
    };
    timeout(SOON, read).await.expect("no answer over TCP")
}

/// Asks over TCP.
pub async fn ask_tcp(server: SocketAddr, name: &str, rtype: &str) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    send_framed(&mut stream, &question(name, rtype, true).to_vec().unwrap()).await;
    Message::from_vec(&read_framed(&mut stream).await).unwrap()
}

/// The data of the answers.
pub fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}
