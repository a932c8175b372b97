//! mTLS between the services: one CA of the installation's own, a certificate per service that names its role.
//!
//! TLS 1.3 only, HTTP/2 only, no system CAs: nobody but our own services takes part. Both sides check the
//! other's chain; the caller checks that the callee's certificate names the role it wants to talk to, and
//! the callee learns the caller's role from the caller's certificate ([`crate::Peer`]).

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use postroad_types::Role;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServiceTlsError {
    #[error("{what} is no PEM of the kind that is expected: {source}")]
    Pem { what: &'static str, source: pem::Error },
    #[error("{what} holds no certificate")]
    Empty { what: &'static str },
    #[error("the services' certificates do not work together: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the CA cannot be used to check the other services: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What a service proves itself with and whom it believes; cheap to clone, all clones share a replacement.
#[derive(Clone)]
pub struct ServiceTls {
    configs: Arc<ArcSwap<Configs>>,
}

struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl fmt::Debug for ServiceTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceTls")
    }
}

impl ServiceTls {
    /// From PEM texts: the CA's certificates, the service's chain (its own first), and its key.
    pub fn new(ca: &[u8], chain: &[u8], key: &[u8]) -> Result<Self, ServiceTlsError> {
        Ok(ServiceTls { configs: Arc::new(ArcSwap::from_pointee(Configs::new(ca, chain, key)?)) })
    }

    /// Uses these from now on, for new connections.
    pub fn replace(&self, ca: &[u8], chain: &[u8], key: &[u8]) -> Result<(), ServiceTlsError> {
        self.configs.store(Arc::new(Configs::new(ca, chain, key)?));
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.configs.load().server.clone().into()
    }

    pub(crate) fn connector(&self) -> tokio_rustls::TlsConnector {
        self.configs.load().client.clone().into()
    }
}

/// The name that the certificate of a service in this role must bear.
pub(crate) fn server_name(role: Role) -> ServerName<'static> {
    // The identities are constants and all DNS names; should one not be, no certificate fits it.
    ServerName::try_from(role.identity())
        .unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

impl Configs {
    fn new(ca: &[u8], chain: &[u8], key: &[u8]) -> Result<Self, ServiceTlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("the CA file", ca)? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let chain = certificates("the service's certificate file", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|source| ServiceTlsError::Pem { what: "the service's key file", source })?;

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = &[&rustls::version::TLS13];
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        client.alpn_protocols = vec![b"h2".to_vec()];

        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Configs { client: Arc::new(client), server: Arc::new(server) })
    }
}

fn certificates(what: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, ServiceTlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(ServiceTlsError::Empty { what }),
        Ok(found) => Ok(found),
        Err(source) => Err(ServiceTlsError::Pem { what, source }),
    }
}
