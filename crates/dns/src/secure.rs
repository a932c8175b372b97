//! The encrypted transports of a server, beside UDP and TCP.

use std::net::SocketAddr;
use std::sync::Arc;

use postroad_service::{ClientTls, Drain, Listener, ProtocolTls};

use crate::front::{self, HttpsDoor, QuicDoor};
use crate::run::{Dns, DnsError};

/// Where the encrypted transports are, with the ports that the system chose where 0 was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecureAddresses {
    pub tls: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub quic: Vec<SocketAddr>,
}

impl Dns {
    /// Whether the configuration wants any of them.
    pub fn wants_secure(config: &postroad_config::Dns) -> bool {
        [&config.tls_listen, &config.https_listen, &config.quic_listen].iter().any(|list| !list.is_empty())
    }

    /// Binds all addresses of the encrypted transports, or none, and then answers on them until `drain` begins, in tasks
    /// of `drain`. Must be called within a tokio runtime.
    pub fn start_secure(
        &self,
        config: &postroad_config::Dns,
        tls: &ClientTls,
        drain: &Drain,
    ) -> Result<SecureAddresses, DnsError> {
        let of = |listeners: &[Listener]| listeners.iter().map(Listener::address).collect();
        let over_tls = Listener::bind_all("DNS over TLS", &config.tls_listen)?;
        let over_https = Listener::bind_all("DNS over HTTPS", &config.https_listen)?;
        let doq = ProtocolTls::new(tls, &[front::QUIC_PROTOCOL]);
        let doors = config.quic_listen.iter().map(|at| QuicDoor::bind(*at, doq.clone(), config.tcp_idle));
        let over_quic = doors.collect::<Result<Vec<_>, _>>()?;
        let quic = over_quic.iter().map(|door| door.address).collect();
        let addresses = SecureAddresses { tls: of(&over_tls), https: of(&over_https), quic };

        let idle = config.tcp_idle;
        let (engine, gate) = (|| Arc::clone(&self.engine), || self.gate.clone());
        let dot = ProtocolTls::new(tls, &[front::TLS_PROTOCOL]);
        for listener in over_tls {
            drain.spawn(front::serve_tls(listener, dot.clone(), engine(), gate(), idle, drain.clone()));
        }
        let doh = ProtocolTls::new(tls, &front::HTTPS_PROTOCOLS);
        let door = HttpsDoor { tls: doh, path: config.https_path.as_str().into() };
        for listener in over_https {
            drain.spawn(front::serve_https(listener, door.clone(), engine(), gate(), idle, drain.clone()));
        }
        for door in over_quic {
            drain.spawn(front::serve_quic(door, engine(), gate(), drain.clone()));
        }
        Ok(addresses)
    }
}
