//! The installation's own certificate authority, for those who bring none.
//!
//! It lives in `pki` of the state directory: `ca.pem` (to be handed to mail programs that should trust the
//! node) and `ca.key` (to nobody). Services' certificates are issued anew at every start and kept in memory;
//! whoever may read `ca.key` may call as any service, so it is readable by its owner alone.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use postroad_types::Role;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

const CA_VALID: Duration = Duration::from_secs(3650 * 86_400);
/// Of services, issued at every start and renewed while they run.
pub const SERVICE_VALID: Duration = Duration::from_secs(90 * 86_400);
/// Of hosts, seen by mail programs, which may have been told to trust just this one.
pub const HOST_VALID: Duration = Duration::from_secs(397 * 86_400);
/// A certificate that lasts no longer than this is warned of.
const WARN_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// Clocks of machines differ: a certificate is valid a little before it was made.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A certificate cannot be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{}: {source}; the state directory must be writable by the user that Postroad runs as", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}; if it is damaged, remove ca.pem and ca.key, and a new CA is made", path.display())]
    Damaged { path: PathBuf, source: rcgen::Error },
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate with its key, both in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, then that of the CA.
    pub chain_pem: String,
    pub key_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

/// A certificate authority that can issue.
pub struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("pem", &self.pem).finish_non_exhaustive()
    }
}

impl Ca {
    /// A new one; `name` stands in its subject, with a number that tells it from others of that name.
    pub fn new(name: &str, now: SystemTime) -> Result<(Ca, Issued), PkiError> {
        let key = KeyPair::generate()?;
        let mut params = valid(now, CA_VALID);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name =
            common_name(&format!("Postroad CA of {name} {:08x}", rand::random::<u32>()));
        let pem = params.self_signed(&key)?.pem();
        let issued = Issued { chain_pem: pem.clone(), key_pem: key.serialize_pem() };
        Ok((Ca { pem, issuer: Issuer::new(params, key) }, issued))
    }

    /// The one in `dir`, made if there is none. Several processes may do so at once.
    pub fn open(dir: &Path, name: &str, now: SystemTime) -> Result<Ca, PkiError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| PkiError::File { path, source }
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        let _lock = lock(dir)?;
        let (pem_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
        match (std::fs::read_to_string(&pem_path), std::fs::read_to_string(&key_path)) {
            (Ok(pem), Ok(key)) => {
                let damaged = |path: &Path| {
                    let path = path.to_owned();
                    move |source| PkiError::Damaged { path, source }
                };
                let key = KeyPair::from_pem(&key).map_err(damaged(&key_path))?;
                let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(damaged(&pem_path))?;
                Ok(Ca { pem, issuer })
            }
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
                let (ca, issued) = Ca::new(name, now)?;
                // The key first: a certificate without its key would be taken for damage at the next start.
                write_private(&key_path, &issued.key_pem).map_err(at(&key_path))?;
                write_public(&pem_path, &ca.pem).map_err(at(&pem_path))?;
                tracing::info!(path = %pem_path.display(), "made a certificate authority of this installation's own");
                Ok(ca)
            }
            (Err(error), _) => Err(at(&pem_path)(error)),
            (_, Err(error)) => Err(at(&key_path)(error)),
        }
    }

    /// The CA's certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// For a service in these roles (one process may have several), on `host`.
    pub fn issue_service(&self, roles: &[Role], host: &str, now: SystemTime) -> Result<Issued, PkiError> {
        let mut params = valid(now, SERVICE_VALID);
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        params.distinguished_name = common_name(&format!("{} on {host}", names.join(" ")));
        for role in roles {
            params.subject_alt_names.push(SanType::DnsName(role.identity().try_into()?));
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// For clients of the host: its name, `localhost` and the loopback addresses.
    pub fn issue_host(&self, names: &[&str], now: SystemTime) -> Result<Issued, PkiError> {
        let mut params = valid(now, HOST_VALID);
        params.distinguished_name = common_name(names.first().copied().unwrap_or("localhost"));
        for name in names.iter().copied().chain(["localhost"]) {
            let name = match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName(name.try_into()?),
            };
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        for ip in [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()] {
            params.subject_alt_names.push(SanType::IpAddress(ip));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, PkiError> {
        let key = KeyPair::generate()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { chain_pem: format!("{}{}", certificate.pem(), self.pem), key_pem: key.serialize_pem() })
    }
}

/// Parameters with a time of validity from a little before now.
fn valid(now: SystemTime, span: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + span).into();
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// When the first certificate of a PEM text ends; none if it cannot be read.
pub fn valid_until(pem: &[u8]) -> Option<SystemTime> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Says how long a certificate still lasts: in the metric `postroad_certificate_seconds_left`, and in the log
/// when it is a month or less.
pub(crate) fn watch_validity(which: &'static str, pem: &[u8], now: SystemTime) {
    let Some(until) = valid_until(pem) else { return };
    let left = until.duration_since(now).unwrap_or_default();
    metrics::gauge!("postroad_certificate_seconds_left", "which" => which).set(left.as_secs_f64());
    if left.is_zero() {
        tracing::error!(
            which,
            "the certificate has expired: others will refuse it; put a new one in its place"
        );
    } else if left < WARN_BEFORE {
        tracing::warn!(which, days = left.as_secs() / 86_400, "the certificate expires soon; renew it");
    }
}

/// Keeps others, threads and processes, from making files of the same directory until it is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File, PkiError> {
    let path = dir.join("lock");
    let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|source| PkiError::File { path, source })
}

/// Readable by its owner alone, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    write_whole(path, text, 0o600)
}

fn write_public(path: &Path, text: &str) -> io::Result<()> {
    write_whole(path, text, 0o644)
}

fn write_whole(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let aside = path.with_extension("new");
    // What a crash left there may have other permissions; mode() is for new files only.
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_ca_is_made_once_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let pki = dir.path().join("pki");
        let now = SystemTime::now();
        let first = Ca::open(&pki, "mx.alpha.test", now).unwrap();
        let second = Ca::open(&pki, "mx.alpha.test", now).unwrap();
        assert_eq!(first.pem(), second.pem());
        let mode = std::fs::metadata(pki.join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{:?}", second.issue_service(&[Role::Mta], "mx", now).unwrap()).contains("PRIVATE"));
    }

    #[test]
    fn a_certificate_ends_when_it_was_said_to() {
        let now = SystemTime::now();
        let (ca, _) = Ca::new("mx", now).unwrap();
        let until =
            valid_until(ca.issue_service(&[Role::Mta], "mx", now).unwrap().chain_pem.as_bytes()).unwrap();
        let off = until.duration_since(now + SERVICE_VALID).unwrap_or_else(|early| early.duration());
        assert!(off <= Duration::from_secs(1), "{off:?}");
        assert_eq!(valid_until(b"no certificate"), None);
    }

    #[test]
    fn many_at_once_agree_on_one_ca() {
        let dir = tempfile::tempdir().unwrap();
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| Ca::open(dir.path(), "mx", SystemTime::now()).unwrap().pem().to_owned())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(opened.iter().all(|pem| pem == &opened[0]));
    }

    #[test]
    fn a_damaged_ca_is_reported_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        Ca::open(dir.path(), "mx", SystemTime::now()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), "-----BEGIN CERT").unwrap();
        let error = Ca::open(dir.path(), "mx", SystemTime::now()).unwrap_err().to_string();
        assert!(error.contains("ca.pem") && error.contains("damaged"), "{error}");
    }
}
