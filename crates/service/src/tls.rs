//! The certificate that mail programs and other hosts see, and its renewal while we run.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use postroad_config::Config;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::drain::Drain;
use crate::pki::{Ca, PkiError, lock, valid_until, watch_validity, write_private};

/// How often the certificate's remaining time is said.
const SAY_EVERY: Duration = Duration::from_secs(12 * 3600);
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The node's own host certificate is renewed when less than this is left of it.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 86_400);

/// The host's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}; expected PEM", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{}: no certificate in it; expected the host's certificate in PEM, then its chain", .0.display())]
    Empty(PathBuf),
    #[error("{} and {} do not work together: {source}", cert.display(), key.display())]
    Together { cert: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("{0}")]
    Pki(#[from] PkiError),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Makes aws-lc-rs the process's crypto provider. Call it first in `main`; more often does no harm.
pub fn install_provider() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// TLS towards clients; clones share a renewal.
#[derive(Clone)]
pub struct ClientTls {
    current: Arc<ArcSwap<ServerConfig>>,
    cert: PathBuf,
    key: PathBuf,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientTls({})", self.cert.display())
    }
}

impl ClientTls {
    /// The certificate of `[tls]`, or one of the node's own CA.
    pub fn load(config: &Config, now: SystemTime) -> Result<Self, TlsError> {
        match (&config.tls.cert_file, &config.tls.key_file) {
            (Some(cert), Some(key)) => ClientTls::from_files(cert, key),
            _ => ClientTls::own(&config.pki_dir(), &config.node.name, now),
        }
    }

    /// From PEM files.
    pub fn from_files(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let config = server_config(cert, key)?;
        Ok(ClientTls {
            current: Arc::new(ArcSwap::from_pointee(config)),
            cert: cert.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The node's own, kept across restarts so that a mail program that was told to trust it still does.
    fn own(pki: &Path, name: &str, now: SystemTime) -> Result<Self, TlsError> {
        let ca = Ca::open(pki, name, now)?;
        // The roles of a node begin at the same time and share one certificate.
        let _lock = lock(pki)?;
        let (cert, key) = (pki.join("host.pem"), pki.join("host.key"));
        let fits = std::fs::read(&cert).is_ok_and(|pem| fits(&pem, ca.pem(), name, now)) && key.exists();
        if !fits {
            let issued = ca.issue_host(&[name], now)?;
            let at = |path: &Path| {
                let path = path.to_owned();
                move |source| TlsError::File { path, source }
            };
            write_private(&key, &issued.key_pem).map_err(at(&key))?;
            write_private(&cert, &issued.chain_pem).map_err(at(&cert))?;
        }
        ClientTls::from_files(&cert, &key)
    }

    /// For one handshake: with the certificate of now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// What handshakes are made with now.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files again. On an error what was used before is used on.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(server_config(&self.cert, &self.key)?));
        Ok(())
    }

    /// Watches the files until the drain's first step, and reads them again when they change.
    pub async fn keep_fresh(self, clock: Arc<dyn Clock>, drain: Drain) {
        let stamp = |tls: &ClientTls| {
            let modified = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
            (modified(&tls.cert), modified(&tls.key))
        };
        let mut seen = stamp(&self);
        let mut said = None;
        loop {
            if said.is_none_or(|said| clock.monotonic().saturating_sub(said) >= SAY_EVERY) {
                said = Some(clock.monotonic());
                if let Ok(pem) = std::fs::read(&self.cert) {
                    watch_validity("host", &pem, clock.now());
                }
            }
            tokio::select! {
                () = drain.stopping() => return,
                () = clock.sleep(LOOK_EVERY) => {}
            }
            let now = stamp(&self);
            if now == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    tracing::info!(file = %self.cert.display(), "the host's certificate was read again");
                    (seen, said) = (now, None);
                }
                // Perhaps the key is still to come: look again in a minute.
                Err(error) => {
                    tracing::warn!(%error, "the host's new certificate cannot be used; the old one is kept")
                }
            }
        }
    }
}

fn server_config(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
    let in_cert = |source| TlsError::Pem { path: cert.to_owned(), source };
    let chain =
        CertificateDer::pem_slice_iter(&read(cert)?).collect::<Result<Vec<_>, _>>().map_err(in_cert)?;
    if chain.is_empty() {
        return Err(TlsError::Empty(cert.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|source| TlsError::Pem { path: key.to_owned(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|source| TlsError::Together { cert: cert.to_owned(), key: key.to_owned(), source })?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

/// Whether the certificate is of this CA, for this name, and good for a while.
fn fits(chain_pem: &[u8], ca_pem: &str, name: &str, now: SystemTime) -> bool {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let der = |pem: &[u8]| CertificateDer::from_pem_slice(pem).ok();
    let (Some(own), Some(ca)) = (der(chain_pem), der(ca_pem.as_bytes())) else { return false };
    let (Ok((_, own)), Ok((_, ca))) = (X509Certificate::from_der(&own), X509Certificate::from_der(&ca))
    else {
        return false;
    };
    let named = own.subject_alternative_name().ok().flatten().is_some_and(|names| {
        names.value.general_names.iter().any(|n| matches!(n, GeneralName::DNSName(dns) if *dns == name))
    });
    let lasts = valid_until(chain_pem).is_some_and(|until| until > now + RENEW_BEFORE);
    named && lasts && own.issuer() == ca.subject()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Conn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn roots(ca_pem: &str) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    #[tokio::test]
    async fn a_connection_becomes_tls_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new("mx.alpha.test", dir.path());
        let tls = ClientTls::load(&config, SystemTime::now()).unwrap();
        let ca = Ca::open(&config.pki_dir(), "mx.alpha.test", SystemTime::now()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut conn = Conn::plain(listener.accept().await.unwrap().0).unwrap();
            assert_eq!(conn.read_u8().await.unwrap(), b'S');
            assert!(conn.tls().is_none());
            conn.write_all(b"220 go\r\n").await.unwrap();
            conn.start_tls(&tls.acceptor()).await.unwrap();
            let info = conn.tls().unwrap().clone();
            assert!(conn.start_tls(&tls.acceptor()).await.is_err());
            assert_eq!(conn.read_u8().await.unwrap(), b'x');
            conn.write_all(b"y").await.unwrap();
            conn.shutdown().await.unwrap();
            info
        });
        let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"S").await.unwrap();
        let mut go = [0; 8];
        tcp.read_exact(&mut go).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(roots(ca.pem())));
        let mut stream = connector.connect("mx.alpha.test".try_into().unwrap(), tcp).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'y');
        let info = server.await.unwrap();
        assert_eq!((info.version, info.server_name.as_deref()), ("TLSv1.3", Some("mx.alpha.test")));
        assert!(info.cipher.starts_with("TLS_AES"), "{}", info.cipher);
    }

    #[test]
    fn the_nodes_own_certificate_stays_until_the_name_or_the_ca_changes_or_time_runs_out() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let read = || std::fs::read_to_string(dir.path().join("host.pem")).unwrap();
        ClientTls::own(dir.path(), "a.test", now).unwrap();
        let first = read();
        ClientTls::own(dir.path(), "a.test", now + Duration::from_secs(86_400)).unwrap();
        assert_eq!(read(), first);
        ClientTls::own(dir.path(), "b.test", now).unwrap();
        let renamed = read();
        assert_ne!(renamed, first);
        ClientTls::own(dir.path(), "b.test", now + Duration::from_secs(350 * 86_400)).unwrap();
        let renewed = read();
        assert_ne!(renewed, renamed);
        std::fs::remove_file(dir.path().join("ca.pem")).unwrap();
        ClientTls::own(dir.path(), "b.test", now).unwrap();
        assert_ne!(read(), renewed);
    }

    #[test]
    fn roles_that_begin_at_once_share_one_certificate() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let now = SystemTime::now();
            std::thread::scope(|scope| {
                let own = || ClientTls::own(dir.path(), "a.test", now).map(|_| ());
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(own)).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
            });
        }
    }

    #[test]
    fn a_wrong_new_certificate_is_refused_and_the_old_one_kept() {
        let dir = tempfile::tempdir().unwrap();
        let tls = ClientTls::own(dir.path(), "a.test", SystemTime::now()).unwrap();
        let before = Arc::as_ptr(&tls.current.load_full());
        std::fs::write(dir.path().join("host.pem"), "").unwrap();
        assert!(tls.reload().unwrap_err().to_string().contains("no certificate in it"));
        assert_eq!(Arc::as_ptr(&tls.current.load_full()), before);
    }
}
