//! Other resolvers that are asked over TLS.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use postroad_types::Domain;

const SCHEME: &str = "tls://";
/// RFC 7858 section 3.1.
const PORT: u16 = 853;

/// `"tls://192.0.2.1#dns.example.net"`, `"tls://[2001:db8::1]:8853#dns.example.net"`: a server that must show a
/// certificate for this name. Without a name anybody's certificate will do, which hides questions from listeners alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsServer {
    pub address: SocketAddr,
    pub name: Option<String>,
}

impl FromStr for TlsServer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(())?;
        let (place, name) = match rest.split_once('#') {
            Some((place, name)) => (place, Some(name.parse::<Domain>().map_err(|_| ())?.ascii().to_owned())),
            None => (rest, None),
        };
        let bare = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(place);
        let address = place
            .parse::<SocketAddr>()
            .or_else(|_| bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT)))
            .map_err(|_| ())?;
        if address.port() == 0 || address.ip().is_unspecified() {
            return Err(());
        }
        Ok(TlsServer { address, name })
    }
}

impl fmt::Display for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.address)?;
        match &self.name {
            Some(name) => write!(f, "#{name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for (text, shown) in [
            ("tls://192.0.2.1#dns.Example.net", "tls://192.0.2.1:853#dns.example.net"),
            ("tls://192.0.2.1:8853", "tls://192.0.2.1:8853"),
            ("tls://2001:db8::1#a.test", "tls://[2001:db8::1]:853#a.test"),
            ("tls://[2001:db8::1]", "tls://[2001:db8::1]:853"),
            ("tls://[2001:db8::1]:99#a.test", "tls://[2001:db8::1]:99#a.test"),
        ] {
            let server: TlsServer = text.parse().unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(shown.parse(), Ok(server));
        }
        for text in [
            "192.0.2.1",
            "tls://",
            "tls://dns.example.net",
            "tls://192.0.2.1#",
            "tls://192.0.2.1:0",
            "tls://0.0.0.0",
        ] {
            assert!(text.parse::<TlsServer>().is_err(), "{text:?}");
        }
    }
}
