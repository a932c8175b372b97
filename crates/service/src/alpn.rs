//! The host's certificate for one application protocol (ALPN, RFC 7301), and its renewal with the host's.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::tls::ClientTls;

/// TLS towards clients of certain protocols; clones share what was made.
#[derive(Clone)]
pub struct ProtocolTls {
    tls: ClientTls,
    protocols: Vec<Vec<u8>>,
    made: Arc<ArcSwapOption<Made>>,
}

/// What was made, and of what.
struct Made {
    of: Arc<ServerConfig>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for ProtocolTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolTls").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl ProtocolTls {
    /// `protocols`: the names that are agreed to, the best first. A client that offers others alone is refused, one
    /// that offers none is not.
    pub fn new(tls: &ClientTls, protocols: &[&[u8]]) -> Self {
        let protocols = protocols.iter().map(|name| name.to_vec()).collect();
        ProtocolTls { tls: tls.clone(), protocols, made: Arc::default() }
    }

    /// With the certificate of now; the same one as long as that is the same.
    pub fn config(&self) -> Arc<ServerConfig> {
        let current = self.tls.current();
        if let Some(made) = self.made.load().as_ref().filter(|made| Arc::ptr_eq(&made.of, &current)) {
            return Arc::clone(&made.config);
        }
        let mut config = ServerConfig::clone(&current);
        config.alpn_protocols.clone_from(&self.protocols);
        let config = Arc::new(config);
        self.made.store(Some(Arc::new(Made { of: current, config: Arc::clone(&config) })));
        config
    }

    /// For one handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use postroad_config::Config;

    use super::*;

    #[test]
    fn what_is_made_lasts_as_long_as_the_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new("ns.alpha.test", dir.path());
        let tls = ClientTls::load(&config, SystemTime::now()).unwrap();
        let of_ours = ProtocolTls::new(&tls, &[b"dot"]);
        let first = of_ours.config();
        assert_eq!(first.alpn_protocols, [b"dot"]);
        assert!(Arc::ptr_eq(&first, &of_ours.clone().config()));
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&first, &of_ours.config()));
        assert!(tls.current().alpn_protocols.is_empty(), "others are not concerned");
    }
}
