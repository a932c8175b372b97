//! Name servers that questions are put to.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::{DnsPeer, TlsServer};

/// A server that is asked over UDP and TCP, `"192.0.2.53"`, or over TLS and in no other way,
/// `"tls://192.0.2.53#dns.example"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DnsServer {
    Plain(DnsPeer),
    Tls(TlsServer),
}

impl DnsServer {
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Plain(peer) => peer.address,
            Self::Tls(server) => server.address,
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl FromStr for DnsServer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") { text.parse().map(Self::Tls) } else { text.parse().map(Self::Plain) }
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(peer) => peer.fmt(f),
            Self::Tls(server) => server.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for (text, shown, tls) in [
            ("192.0.2.53", "192.0.2.53:53", false),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353", false),
            ("tls://192.0.2.53#Dns.example", "tls://192.0.2.53:853#dns.example", true),
        ] {
            let server: DnsServer = text.parse().unwrap();
            assert_eq!((server.to_string().as_str(), server.is_tls()), (shown, tls));
            assert_eq!(shown.parse(), Ok(server));
        }
        for text in ["dns.example", "https://192.0.2.53", "tls://dns.example", "tls://192.0.2.53 key:a"] {
            assert!(text.parse::<DnsServer>().is_err(), "{text:?}");
        }
    }
}
