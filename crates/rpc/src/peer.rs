//! Who calls: the role that the caller's certificate names.

use std::net::SocketAddr;

use postroad_types::Role;
use rustls::pki_types::CertificateDer;
use tonic::{Request, Status};

/// The caller of a request; the server puts it into every request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub role: Role,
    /// Where it calls from; none within one process.
    pub address: Option<SocketAddr>,
}

impl Peer {
    /// The caller of `request`.
    pub fn of<T>(request: &Request<T>) -> Option<Peer> {
        request.extensions().get::<Peer>().copied()
    }

    /// The caller of `request`, if it has one of these roles; PERMISSION_DENIED otherwise.
    pub fn require<T>(request: &Request<T>, roles: &[Role]) -> Result<Peer, Status> {
        match Peer::of(request) {
            Some(peer) if roles.contains(&peer.role) => Ok(peer),
            Some(peer) => {
                let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
                let message = format!("{} may not call this; only {} may", peer.role, names.join(", "));
                Err(Status::permission_denied(message))
            }
            None => Err(Status::permission_denied("the caller is not known: it came past the server's door")),
        }
    }
}

/// The role that a certificate, whose chain is checked already, was issued to.
pub(crate) fn role_of(certificate: &CertificateDer<'_>) -> Option<Role> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let roles = Role::SERVICES.into_iter().chain([Role::Operator]);
    roles
        .into_iter()
        .find(|role| certificate.verify_is_valid_for_subject_name(&crate::tls::server_name(*role)).is_ok())
}

/// A service's interceptor that lets only callers of these roles in:
/// `QueueServer::with_interceptor(queue, only(&[Role::Operator]))`.
pub fn only(
    roles: &'static [Role],
) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
    move |request| Peer::require(&request, roles).map(|_| request)
}
