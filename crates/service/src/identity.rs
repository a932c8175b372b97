//! What this process proves itself with to the other services: the files of `[rpc]`, or a certificate of the
//! installation's own CA that is made at the start, kept in memory and renewed while we run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use postroad_config::{Config, Rpc};
use postroad_rpc::{ServiceTls, ServiceTlsError};
use postroad_types::Role;

use crate::clock::Clock;
use crate::drain::Drain;
use crate::pki::{Ca, PkiError, SERVICE_VALID, watch_validity};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The service cannot prove itself.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Pki(#[from] PkiError),
    #[error("{0}; see [rpc] ca_file, cert_file, key_file")]
    Tls(#[from] ServiceTlsError),
}

struct Pems {
    ca: String,
    chain: String,
    key: String,
}

/// The certificate for these roles.
pub fn load(config: &Config, roles: &[Role], now: SystemTime) -> Result<ServiceTls, IdentityError> {
    let pems = pems(config, roles, now)?;
    watch_validity("service", pems.chain.as_bytes(), now);
    Ok(ServiceTls::new(pems.ca.as_bytes(), pems.chain.as_bytes(), pems.key.as_bytes())?)
}

/// Replaces the certificate of `tls` when its files change, or when a third of its time is over; until the
/// drain's first step.
pub async fn keep_fresh(
    tls: ServiceTls,
    config: Arc<Config>,
    roles: Vec<Role>,
    clock: Arc<dyn Clock>,
    drain: Drain,
) {
    let mut seen = stamps(&config.rpc);
    let mut issued = clock.monotonic();
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = clock.sleep(LOOK_EVERY) => {}
        }
        let now_seen = stamps(&config.rpc);
        let own = config.rpc.cert_file.is_none();
        let due = own && clock.monotonic().saturating_sub(issued) > SERVICE_VALID / 3;
        if now_seen == seen && !due {
            continue;
        }
        let renewed = pems(&config, &roles, clock.now()).and_then(|pems| {
            watch_validity("service", pems.chain.as_bytes(), clock.now());
            Ok(tls.replace(pems.ca.as_bytes(), pems.chain.as_bytes(), pems.key.as_bytes())?)
        });
        match renewed {
            Ok(()) => {
                tracing::info!("the certificate towards the other services was renewed");
                (seen, issued) = (now_seen, clock.monotonic());
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate towards the other services cannot be renewed yet")
            }
        }
    }
}

fn pems(config: &Config, roles: &[Role], now: SystemTime) -> Result<Pems, IdentityError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| IdentityError::File { path: path.to_owned(), source })
    };
    if let Rpc { ca_file: Some(ca), cert_file: Some(cert), key_file: Some(key), .. } = &config.rpc {
        if roles == [Role::Operator] {
            // The files of the configuration prove a service; the operator's lie beside the CA's certificate.
            let (cert, key) = (ca.with_file_name("operator.pem"), ca.with_file_name("operator.key"));
            return Ok(Pems { ca: read(ca)?, chain: read(&cert)?, key: read(&key)? });
        }
        return Ok(Pems { ca: read(ca)?, chain: read(cert)?, key: read(key)? });
    }
    let ca = Ca::open(&config.pki_dir(), &config.node.name, now)?;
    let issued = ca.issue_service(roles, &config.node.name, now)?;
    // A CA that is given beside our own is believed instead of it: that is how an installation changes over.
    let trusted = match &config.rpc.ca_file {
        Some(path) => read(path)?,
        None => ca.pem().to_owned(),
    };
    Ok(Pems { ca: trusted, chain: issued.chain_pem, key: issued.key_pem })
}

/// When the files of `[rpc]` were changed.
fn stamps(rpc: &Rpc) -> [Option<SystemTime>; 3] {
    [&rpc.ca_file, &rpc.cert_file, &rpc.key_file].map(|path| {
        let path = path.as_deref()?;
        std::fs::metadata(path).and_then(|m| m.modified()).ok()
    })
}
