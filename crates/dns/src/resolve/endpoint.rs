//! Where a server is asked, which is also what its speed and its faults are remembered by.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where a server is asked. Two servers may share an address: a resolver and a name server on different ports of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub ip: IpAddr,
    /// Of a server that the configuration names; without it, the port that all servers are asked on.
    pub port: Option<u16>,
    /// Over TLS, and in no other way.
    pub tls: bool,
}

impl Endpoint {
    /// The address, with the port that all servers are asked on.
    pub fn address(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

impl From<IpAddr> for Endpoint {
    fn from(ip: IpAddr) -> Self {
        Self { ip, port: None, tls: false }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tls {
            f.write_str("tls://")?;
        }
        match self.port {
            Some(port) => self.address(port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}
