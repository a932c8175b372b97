//! Other name servers: the keys that are shared with them, who may have a zone, and where a zone is had from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How a TSIG key signs (RFC 8945 section 6). MD5 and SHA-1 are broken or weak, and not offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha384")]
    HmacSha384,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

/// `[[dns.keys]]`: a secret that is shared with another name server (TSIG, RFC 8945).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsKey {
    /// A domain name that both sides know the key by.
    pub name: String,
    /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
    #[serde(default)]
    pub algorithm: KeyAlgorithm,
    /// A file with the secret in base64 and nothing else.
    pub secret_file: PathBuf,
}

/// Another name server: `"192.0.2.53"`, `"192.0.2.53:5353"`, `"[2001:db8::53]:53"`, each also with
/// `" key:NAME"` behind it, which signs what is said to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsPeer {
    pub address: SocketAddr,
    pub key: Option<String>,
}

impl FromStr for DnsPeer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_ascii_whitespace();
        let place = words.next().ok_or(())?;
        let address = place
            .parse::<SocketAddr>()
            .or_else(|_| place.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53)))
            .map_err(|_| ())?;
        let key = words.next().map(|word| key_name(word).ok_or(())).transpose()?;
        if words.next().is_some() || address.port() == 0 || address.ip().is_unspecified() {
            return Err(());
        }
        Ok(DnsPeer { address, key })
    }
}

impl fmt::Display for DnsPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        match &self.key {
            Some(key) => write!(f, " key:{key}"),
            None => Ok(()),
        }
    }
}

/// Who may do something: `"192.0.2.0/24"`, `"key:NAME"`, or both in one text, which are then both needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsRule {
    pub network: Option<IpNet>,
    pub key: Option<String>,
}

impl FromStr for DnsRule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rule = DnsRule { network: None, key: None };
        for word in text.split_ascii_whitespace() {
            if let Some(key) = key_name(word) {
                if rule.key.replace(key).is_some() {
                    return Err(());
                }
                continue;
            }
            let network = word.parse::<IpAddr>().map(IpNet::from).or_else(|_| word.parse());
            if rule.network.replace(network.map_err(|_| ())?).is_some() {
                return Err(());
            }
        }
        if rule.network.is_none() && rule.key.is_none() { Err(()) } else { Ok(rule) }
    }
}

impl fmt::Display for DnsRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.network, &self.key) {
            (Some(network), Some(key)) => write!(f, "{network} key:{key}"),
            (Some(network), None) => write!(f, "{network}"),
            (None, Some(key)) => write!(f, "key:{key}"),
            (None, None) => Ok(()),
        }
    }
}

fn key_name(word: &str) -> Option<String> {
    word.strip_prefix("key:").filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Two names of keys are the same name.
pub(crate) fn same_name(left: &str, right: &str) -> bool {
    left.trim_end_matches('.').eq_ignore_ascii_case(right.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for (text, shown) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("192.0.2.53:5353  key:a.b", "192.0.2.53:5353 key:a.b"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ] {
            let peer: DnsPeer = text.parse().unwrap();
            assert_eq!(peer.to_string(), shown);
            assert_eq!(shown.parse(), Ok(peer));
        }
        for text in ["192.0.2.0/24", "key:a", "2001:db8::/32 key:a"] {
            assert_eq!(text.parse::<DnsRule>().map(|rule| rule.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("key:a 192.0.2.1".parse::<DnsRule>(), "192.0.2.1/32 key:a".parse());
        for text in ["", "ns.example.org", "192.0.2.53:0", "0.0.0.0", "192.0.2.53 key:", "192.0.2.53 key:a b"]
        {
            assert!(text.parse::<DnsPeer>().is_err(), "{text:?}");
        }
        for text in ["", "any", "key:", "key:a key:b", "192.0.2.1 192.0.2.2", "192.0.2.0/33"] {
            assert!(text.parse::<DnsRule>().is_err(), "{text:?}");
        }
    }
}
