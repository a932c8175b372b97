//! Values with a unit or a shape of their own: durations, sizes, addresses to listen on, peers.
//!
//! Each is a text in the file (`"30m"`, `"25MiB"`, `"127.0.0.1:25"`) and a plain Rust type behind it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use postroad_types::Domain;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DURATION_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

/// Splits `"30m"` into 30 and the factor of `m`; nothing if either is missing, or if it overflows.
fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The largest unit that shows the value exactly.
fn with_unit(value: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match fitting.or(units.last()) {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => value.to_string(),
    }
}

/// `"30m"`, `"5d"`, `"250ms"` as [`Duration`]: one whole number and one of `ms s m h d w`.
pub mod duration {
    use super::*;

    pub fn parse(text: &str) -> Option<Duration> {
        // "0" needs no unit.
        if text == "0" {
            return Some(Duration::ZERO);
        }
        number_with_unit(text, &DURATION_UNITS).map(Duration::from_millis)
    }

    pub fn show(value: Duration) -> String {
        let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 { "0s".to_owned() } else { with_unit(millis, &DURATION_UNITS) }
    }

    pub fn serialize<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&show(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let expected = "a duration as a text with a unit (ms, s, m, h, d, w), such as \"30m\"";
        let text = text_of(d, expected)?;
        parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no duration; expected {expected}")))
    }
}

/// `"25MiB"` or a plain number of octets as `u64`.
pub mod size {
    use super::*;

    pub fn parse(text: &str) -> Option<u64> {
        text.parse().ok().or_else(|| number_with_unit(text, &SIZE_UNITS))
    }

    pub fn serialize<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&with_unit(*value, &SIZE_UNITS))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        let expected = "a size (B, KiB, MiB, GiB, TiB, kB, MB, GB), such as \"25MiB\"";
        let text = text_of(d, expected)?;
        parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no size; expected {expected}")))
    }
}

/// One address with port, or a list of them; the empty list listens nowhere.
pub mod listen {
    use super::*;

    pub fn serialize<S: Serializer>(value: &[SocketAddr], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<SocketAddr>, D::Error> {
        one_or_more(d, "an IP address with port, such as \"127.0.0.1:25\" or \"[::1]:25\"")
    }
}

/// One host with port, or a list of them.
pub mod hosts {
    use super::*;

    pub fn serialize<S: Serializer>(value: &[HostPort], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<HostPort>, D::Error> {
        one_or_more(d, "a host with port, such as \"127.0.0.1:53\" or \"dns:53\"")
    }
}

/// One domain, or a list of them.
pub mod domains {
    use super::*;

    pub fn serialize<S: Serializer>(value: &[Domain], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Domain>, D::Error> {
        one_or_more(d, "a domain, such as \"example.org\"")
    }
}

/// One network or address, or a list of them.
pub mod networks {
    use super::*;
    use ipnet::IpNet;

    /// An address alone is a network of one.
    struct Network(IpNet);

    impl FromStr for Network {
        type Err = ();

        fn from_str(s: &str) -> Result<Self, ()> {
            let one = s.parse::<std::net::IpAddr>().map(IpNet::from);
            one.or_else(|_| s.parse()).map(Network).map_err(|_| ())
        }
    }

    pub fn serialize<S: Serializer>(value: &[IpNet], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<IpNet>, D::Error> {
        let all: Vec<Network> = one_or_more(d, "a network such as \"192.0.2.0/24\", or an address")?;
        Ok(all.into_iter().map(|network| network.0).collect())
    }
}

/// One URL of a service, or a list of them.
pub mod peers {
    use super::*;

    pub fn serialize<S: Serializer>(value: &[PeerUrl], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<PeerUrl>, D::Error> {
        one_or_more(d, "the URL of a service, such as \"https://mda:7603\"")
    }
}

/// One name server, or a list of them.
pub mod dns_peers {
    use super::*;
    use crate::DnsPeer;

    pub fn serialize<S: Serializer>(value: &[DnsPeer], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<DnsPeer>, D::Error> {
        one_or_more(
            d,
            "an IP address such as \"192.0.2.53\", \"[2001:db8::53]:5353\" or \"192.0.2.53 key:NAME\"",
        )
    }
}

/// One server that is asked, or a list of them.
pub mod dns_servers {
    use super::*;
    use crate::DnsServer;

    pub fn serialize<S: Serializer>(value: &[DnsServer], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<DnsServer>, D::Error> {
        one_or_more(
            d,
            "an IP address such as \"192.0.2.53\" or \"[2001:db8::53]:5353\", or for TLS \"tls://192.0.2.53#dns.example\"",
        )
    }
}

/// One rule of who may do something with a zone, or a list of them.
pub mod dns_rules {
    use super::*;
    use crate::DnsRule;

    pub fn serialize<S: Serializer>(value: &[DnsRule], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<DnsRule>, D::Error> {
        one_or_more(d, "a network such as \"192.0.2.0/24\", a key as \"key:NAME\", or both in one text")
    }
}

/// A text that its type reads and shows.
pub mod shown {
    use super::*;

    pub fn serialize<T: fmt::Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|expected| de::Error::custom(format!("{text:?} is not understood; {expected}")))
    }
}

/// A host (name or IP address) and a port. A name is resolved where it is used, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A DNS name, an IPv4 address or an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        if let Ok(address) = s.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = s.rsplit_once(':').ok_or(())?;
        let name = !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let port = port.parse::<u16>().map_err(|_| ())?;
        if name { Ok(HostPort { host: host.to_owned(), port }) } else { Err(()) }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        HostPort { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = self.host.contains(':');
        if v6 { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Where another service is: `https://host:port`. There is no plain form, services always speak mTLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerUrl(pub HostPort);

impl FromStr for PeerUrl {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        let rest = s.strip_prefix("https://").ok_or(())?;
        rest.strip_suffix('/').unwrap_or(rest).parse().map(PeerUrl)
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.0)
    }
}

/// So much in so long: `"600/1m"`; `"off"` is no bound at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 0: unbounded.
    pub count: u32,
    pub per: Duration,
}

impl Rate {
    pub const OFF: Rate = Rate { count: 0, per: Duration::ZERO };

    pub const fn new(count: u32, per: Duration) -> Self {
        Rate { count, per }
    }
}

impl FromStr for Rate {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        if s == "off" {
            return Ok(Rate::OFF);
        }
        let (count, per) = s.split_once('/').ok_or(())?;
        let count = count.trim().parse().map_err(|_| ())?;
        let per = duration::parse(per.trim()).filter(|per| !per.is_zero()).ok_or(())?;
        if count == 0 { Err(()) } else { Ok(Rate { count, per }) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("off"),
            count => write!(f, "{count}/{}", duration::show(self.per)),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let expected = "how much in how long, such as \"600/1m\", or \"off\"";
        let text = text_of(d, expected)?;
        text.parse().map_err(|()| de::Error::custom(format!("{text:?} is no rate; expected {expected}")))
    }
}

macro_rules! serialize_as_shown {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
    )*};
}
serialize_as_shown!(HostPort, PeerUrl, Rate);

/// A text or a whole number, which is taken for its digits.
fn text_of<'de, D: Deserializer<'de>>(d: D, expected: &'static str) -> Result<String, D::Error> {
    struct Text(&'static str);
    impl Visitor<'_> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.trim().to_owned())
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    d.deserialize_any(Text(expected))
}

/// `"x"` or `["x", "y"]`, each parsed; an error names the text that is wrong and what is expected.
fn one_or_more<'de, T: FromStr, D: Deserializer<'de>>(
    d: D,
    expected: &'static str,
) -> Result<Vec<T>, D::Error> {
    struct OneOrMore<T>(&'static str, std::marker::PhantomData<T>);
    impl<'de, T: FromStr> Visitor<'de> for OneOrMore<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}, or a list of such", self.0)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            text.parse().map(|value| vec![value]).map_err(|_| wrong(text, self.0))
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some(item) = seq.next_element_seed(Item(self.0, std::marker::PhantomData))? {
                values.push(item);
            }
            Ok(values)
        }
    }
    // An element of its own, so that an error has the span of the element and not of the whole list.
    struct Item<T>(&'static str, std::marker::PhantomData<T>);
    impl<'de, T: FromStr> de::DeserializeSeed<'de> for Item<T> {
        type Value = T;
        fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<T, D::Error> {
            let text = String::deserialize(d)?;
            text.parse().map_err(|_| wrong(&text, self.0))
        }
    }
    fn wrong<E: de::Error>(text: &str, expected: &str) -> E {
        E::custom(format!("{text:?} is not understood; expected {expected}"))
    }
    d.deserialize_any(OneOrMore(expected, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit_that_exists() {
        assert_eq!(duration::parse("30m"), Some(Duration::from_secs(1800)));
        assert_eq!(duration::parse("5d"), Some(Duration::from_secs(432_000)));
        assert_eq!(duration::parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(size::parse("25MiB"), Some(25 << 20));
        assert_eq!(size::parse("1024"), Some(1024));
        for text in ["", "m", "5", "-5m", "5 years", "1.5h", "99999999999999999999s", "30M"] {
            assert_eq!(duration::parse(text), None, "{text:?}");
        }
        for text in ["", "MiB", "25mib", "-1", "99999999999999999999", "9999999999TiB"] {
            assert_eq!(size::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["30m", "5d", "250ms", "90s", "1w"] {
            assert_eq!(duration::parse(text).map(duration::show).as_deref(), Some(text));
        }
        for text in ["600/1m", "1/1h", "off"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()).as_deref(), Ok(text));
        }
        for text in ["600", "/1m", "0/1m", "5/0", "5/m", "-1/1m", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
        for text in ["127.0.0.1:53", "[::1]:53", "dns:53", "dns.example.org:53"] {
            assert_eq!(text.parse::<HostPort>().map(|h| h.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(
            "https://mda:7603/".parse::<PeerUrl>().map(|u| u.to_string()).as_deref(),
            Ok("https://mda:7603")
        );
        for text in
            ["mda:7603", "http://mda:7603", "https://mda", "https://:1", "https://m/x:1", "https://a b:1"]
        {
            assert!(text.parse::<PeerUrl>().is_err(), "{text:?}");
        }
    }
}
