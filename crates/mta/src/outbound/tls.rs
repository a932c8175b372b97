//! TLS towards other servers: what is demanded, whom we trust, what was agreed on, and whose TLS is broken.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postroad_types::limits;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::route::TlsPolicy;

/// A handshake takes at most so long.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(30);

/// What was agreed on in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// `None`: the certificate is trusted and names the host. Else why not.
    pub untrusted: Option<String>,
}

impl std::fmt::Display for TlsFacts {
    /// `TLSv1.3 TLS_AES_256_GCM_SHA384, trusted`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.untrusted {
            None => write!(f, "{} {}, trusted", self.version, self.cipher),
            Some(why) => write!(f, "{} {}, not trusted: {why}", self.version, self.cipher),
        }
    }
}

/// The authorities that we trust, and the cryptography that we use.
#[derive(Clone, Debug)]
pub struct TlsTrust {
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// The set of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificate authorities for outbound TLS cannot be used: {0}")]
pub struct TrustError(String);

impl TlsTrust {
    /// Trusts these authorities; there must be one.
    pub fn new(roots: RootCertStore) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| TrustError(error.to_string()))?;
        Ok(TlsTrust { provider, verifier })
    }

    /// Trusts the authorities that browsers trust.
    pub fn public() -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        TlsTrust::new(roots)
    }

    /// The client's side of a handshake. With `Require` an untrusted certificate is an error.
    pub(super) async fn handshake(
        &self,
        policy: TlsPolicy,
        host: &str,
        tcp: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, TlsFacts), String> {
        let recorder = Arc::new(Recorder {
            verifier: self.verifier.clone(),
            strict: policy == TlsPolicy::Require,
            untrusted: Mutex::new(None),
        });
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(recorder.clone())
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        let name = server_name(host, &tcp)?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = match tokio::time::timeout(HANDSHAKE_WITHIN, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no end of the handshake in {} s", HANDSHAKE_WITHIN.as_secs())),
        };
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLS",
        };
        let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let facts = TlsFacts {
            version,
            // rustls writes TLS 1.3's suites as TLS13_…; the registry's names begin with TLS_.
            cipher: suite.unwrap_or("unknown").replacen("TLS13_", "TLS_", 1),
            untrusted: recorder.untrusted(),
        };
        Ok((stream, facts))
    }
}

/// A literal, or a name that TLS does not know, goes by the address.
fn server_name(host: &str, tcp: &TcpStream) -> Result<ServerName<'static>, String> {
    match ServerName::try_from(host.to_owned()) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        _ => {
            let peer = tcp.peer_addr().map_err(|error| error.to_string())?;
            Ok(ServerName::IpAddress(peer.ip().into()))
        }
    }
}

/// Looks at a certificate as any verifier does, but lets it pass unless it must not.
#[derive(Debug)]
struct Recorder {
    verifier: Arc<WebPkiServerVerifier>,
    strict: bool,
    untrusted: Mutex<Option<String>>,
}

impl Recorder {
    fn untrusted(&self) -> Option<String> {
        self.untrusted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is wrong; an error only where the certificate matters.
    fn judge<T>(&self, judgement: Result<T, rustls::Error>, pass: T) -> Result<T, rustls::Error> {
        let Err(error) = judgement else { return Ok(pass) };
        let why = error.to_string();
        self.untrusted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        if self.strict { Err(error) } else { Ok(pass) }
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judgement =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        self.judge(judgement, ServerCertVerified::assertion())
    }

    // A signature that does not fit tells of somebody in between, or of a certificate that webpki cannot read. As
    // nobody's identity is demanded, encryption with whoever it is is still no worse than plaintext.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let judgement = self.verifier.verify_tls12_signature(message, cert, dss);
        self.judge(judgement, HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let judgement = self.verifier.verify_tls13_signature(message, cert, dss);
        self.judge(judgement, HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Servers that offer STARTTLS and then fail at it.
#[derive(Debug, Default)]
pub(super) struct TlsFailures {
    failed: Mutex<HashMap<SocketAddr, (Instant, String)>>,
}

impl TlsFailures {
    pub(super) fn add(&self, address: SocketAddr, why: String) {
        let until = Instant::now() + Duration::from_secs(limits::RELAY_TLS_FAILURE_SECONDS);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= limits::RELAY_TLS_FAILURES_MAX {
            failed.retain(|_, (until, _)| *until > Instant::now());
        }
        if failed.len() < limits::RELAY_TLS_FAILURES_MAX {
            failed.insert(address, (until, why));
        }
    }

    /// Why this server's TLS failed a while ago.
    pub(super) fn get(&self, address: &SocketAddr) -> Option<String> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, why) = failed.get(address)?;
        if *until > Instant::now() {
            return Some(why.clone());
        }
        failed.remove(address);
        None
    }
}
