//! Whom we believe to be a resolver: the authorities that browsers trust and the operator's own, for a server that is
//! given with its name; anybody, for one that is given without (RFC 7858 section 4.1: its questions are hidden from those
//! who only listen).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::front::TLS_PROTOCOL;

/// Why nobody can be asked over TLS.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("[tls] extra_ca_file {}: {what}; expected certificates in PEM", file.display())]
    ExtraCa { file: PathBuf, what: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// How servers are looked at.
#[derive(Clone)]
pub struct Trust {
    by_name: Arc<ClientConfig>,
    anybody: Arc<ClientConfig>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust(…)")
    }
}

impl Trust {
    /// The authorities that browsers trust, and those of a file.
    pub fn load(extra_ca: Option<&Path>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(file) = extra_ca {
            let wrong = |what: String| TrustError::ExtraCa { file: file.to_owned(), what };
            let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = || {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
            builder.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        };
        let mut by_name = builder()?.with_root_certificates(roots).with_no_client_auth();
        let verifier = Arc::new(Anybody(Arc::clone(&provider)));
        let dangerous = builder()?.dangerous().with_custom_certificate_verifier(verifier);
        let mut anybody = dangerous.with_no_client_auth();
        for config in [&mut by_name, &mut anybody] {
            config.alpn_protocols = vec![TLS_PROTOCOL.to_vec()];
        }
        Ok(Self { by_name: Arc::new(by_name), anybody: Arc::new(anybody) })
    }

    /// For one handshake, with a server whose name is given or not.
    pub(super) fn connector(&self, by_name: bool) -> TlsConnector {
        TlsConnector::from(Arc::clone(if by_name { &self.by_name } else { &self.anybody }))
    }
}

/// Takes every certificate whose owner can sign with its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
