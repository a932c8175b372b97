//! A server with all encrypted transports, and clients that trust it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use postroad_config::Config;
use postroad_dns::{Dns, SecureAddresses};
use postroad_service::ClientTls;
use postroad_service::pki::Ca;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{SOON, Stage, loopback};

pub const NAME: &str = "ns.alpha.test";
pub const IDLE: Duration = Duration::from_millis(600);

pub struct Scene {
    pub stage: Stage,
    pub tls: ClientTls,
    pub at: SecureAddresses,
    pub ca_pem: String,
    pub dns: Dns,
}

impl Scene {
    pub fn new() -> Scene {
        let stage = Stage::new();
        let many: String = (0..2000).map(|i| format!("h{i} A 192.0.2.1\n")).collect();
        let zone = stage.zone(
            "alpha.test",
            &format!(
                "$TTL 60\n@ SOA ns h 1 1h 15m 1w 30\n@ NS ns\nns A 192.0.2.1\nns 45 TXT \"short\"\n{many}"
            ),
        );
        let mut config = stage.authoritative(loopback(1, 0), vec![zone]);
        config.tcp_idle = IDLE;
        config.connections_max = 16;
        config.tls_listen = vec![loopback(1, 0)];
        config.https_listen = vec![loopback(1, 0)];
        config.quic_listen = vec![loopback(1, 0)];
        config.zones[0].transfer_to = vec!["127.0.0.0/8".parse().unwrap()];
        let node = Config::new(NAME, stage.folder.path().join("state"));
        let tls = ClientTls::load(&node, SystemTime::now()).unwrap();
        let ca_pem = Ca::open(&node.pki_dir(), NAME, SystemTime::now()).unwrap().pem().to_owned();
        let dns = stage.start(&config).unwrap();
        let at = dns.start_secure(&config, &tls, &stage.drain).unwrap();
        Scene { stage, tls, at, ca_pem, dns }
    }

    pub fn client(&self, protocol: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        if !protocol.is_empty() {
            config.alpn_protocols = vec![protocol.to_vec()];
        }
        config
    }

    pub async fn connect(
        &self,
        at: SocketAddr,
        config: ClientConfig,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(at).await?;
        TlsConnector::from(Arc::new(config)).connect(NAME.try_into().unwrap(), tcp).await
    }

    /// One request over HTTP/1.1; the status, the head and the body.
    pub async fn http(&self, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect(self.at.https[0], self.client(b"http/1.1")).await.unwrap();
        let head =
            format!("{head}\r\nHost: {NAME}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
    }

    pub fn quic_client(&self) -> quinn::ClientConfig {
        let config = quinn::crypto::rustls::QuicClientConfig::try_from(self.client(b"doq")).unwrap();
        quinn::ClientConfig::new(Arc::new(config))
    }

    pub async fn quic(&self) -> quinn::Connection {
        let endpoint = quinn::Endpoint::client(loopback(1, 0)).unwrap();
        endpoint.connect_with(self.quic_client(), self.at.quic[0], NAME).unwrap().await.unwrap()
    }
}

pub fn framed(octets: &[u8]) -> Vec<u8> {
    [&(octets.len() as u16).to_be_bytes(), octets].concat()
}

pub async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let length = timeout(SOON, stream.read_u16()).await.unwrap().unwrap();
    let mut octets = vec![0; usize::from(length)];
    timeout(SOON, stream.read_exact(&mut octets)).await.unwrap().unwrap();
    octets
}
