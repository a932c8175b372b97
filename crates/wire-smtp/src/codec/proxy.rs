//! The PROXY protocol, version 1 and 2: a load balancer in front says who the client is, before anything else is said.
//!
//! Only to be read from peers that the operator named: anybody can write such a header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use postroad_types::limits;

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 up to the length of what follows.
const V2_FIXED_OCTETS: usize = 16;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// The connection is the proxy's own (its health check), or it does not tell whose it is.
    Unknown,
    Client {
        source: SocketAddr,
        destination: SocketAddr,
    },
}

/// Why octets are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("the connection does not begin with a PROXY header")]
    Absent,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Reads the header at the start of `octets`: it and its length, or `None` while it is not whole.
pub fn read(octets: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyError> {
    if begins(octets, &V2_SIGNATURE) {
        read_v2(octets)
    } else if begins(octets, b"PROXY ") {
        read_v1(octets)
    } else {
        Err(ProxyError::Absent)
    }
}

/// Whether one is the beginning of the other.
fn begins(octets: &[u8], start: &[u8]) -> bool {
    octets.iter().zip(start).all(|(a, b)| a == b)
}

fn read_v1(octets: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyError> {
    let line = octets.get(..limits::PROXY_V1_OCTETS_MAX).unwrap_or(octets);
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
        return if octets.len() < limits::PROXY_V1_OCTETS_MAX { Ok(None) } else { Err(ProxyError::TooLong) };
    };
    let line = octets.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.ok_or(ProxyError::Malformed)?.split(' ').skip(1);
    let proxied = match words.next() {
        // What stands behind UNKNOWN is to be ignored.
        Some("UNKNOWN") => Proxied::Unknown,
        Some(family @ ("TCP4" | "TCP6")) => {
            let words: Vec<&str> = words.collect();
            let [source, destination, source_port, destination_port] = words.as_slice() else {
                return Err(ProxyError::Malformed);
            };
            let end = |ip: &str, port: &str| {
                let ip: IpAddr = ip.parse().map_err(|_| ProxyError::Malformed)?;
                let port = port.parse().map_err(|_| ProxyError::Malformed)?;
                let fits = ip.is_ipv4() == (family == "TCP4");
                if fits { Ok(SocketAddr::new(ip, port)) } else { Err(ProxyError::Malformed) }
            };
            Proxied::Client {
                source: end(source, source_port)?,
                destination: end(destination, destination_port)?,
            }
        }
        _ => return Err(ProxyError::Malformed),
    };
    Ok(Some((proxied, end + 2)))
}

fn read_v2(octets: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyError> {
    let Some(&[version_command, family, high, low]) = octets.get(12..V2_FIXED_OCTETS) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > limits::PROXY_V2_OCTETS_MAX {
        return Err(ProxyError::TooLong);
    }
    let end = V2_FIXED_OCTETS + length;
    let Some(body) = octets.get(V2_FIXED_OCTETS..end) else { return Ok(None) };
    // Behind the addresses stand TLVs, which do not concern mail.
    let proxied = match (version_command, family) {
        (0x20, _) => Proxied::Unknown,
        (0x21, 0x11) => {
            let (ips, ports) = (array::<8>(body, 0)?, array::<4>(body, 8)?);
            let [a, b, c, d, e, f, g, h] = ips;
            client(Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into(), ports)
        }
        (0x21, 0x21) => {
            let (source, destination) = (array::<16>(body, 0)?, array::<16>(body, 16)?);
            client(Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into(), array::<4>(body, 32)?)
        }
        // Unspecified, datagrams, Unix sockets: nobody that mail could come from.
        (0x21, _) => Proxied::Unknown,
        _ => return Err(ProxyError::Malformed),
    };
    Ok(Some((proxied, end)))
}

fn client(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Proxied {
    Proxied::Client {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }
}

fn array<const N: usize>(octets: &[u8], at: usize) -> Result<[u8; N], ProxyError> {
    octets.get(at..at + N).and_then(|part| part.try_into().ok()).ok_or(ProxyError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(source: &str, destination: &str) -> Proxied {
        Proxied::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn version_1() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.25 56324 25\r\nEHLO x\r\n";
        assert_eq!(read(line), Ok(Some((from("192.0.2.1:56324", "192.0.2.25:25"), 42))));
        let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 25\r\n";
        assert_eq!(read(line), Ok(Some((from("[2001:db8::1]:1", "[2001:db8::2]:25"), line.len()))));
        assert_eq!(read(b"PROXY UNKNOWN ff:: xx\r\n"), Ok(Some((Proxied::Unknown, 23))));
        for line in [
            &b"PROXY TCP4 2001:db8::1 192.0.2.25 1 2\r\n"[..],
            b"PROXY TCP4 192.0.2.1 192.0.2.25 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.25 1 99999\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.25 1 2\r\n",
        ] {
            assert_eq!(read(line), Err(ProxyError::Malformed));
        }
        assert_eq!(read(&[b"PROXY ".as_slice(), &[b'x'; 120]].concat()), Err(ProxyError::TooLong));
        assert_eq!(read(b"EHLO x\r\n"), Err(ProxyError::Absent));
    }

    #[test]
    fn version_2() {
        let mut header = [V2_SIGNATURE.as_slice(), &[0x21, 0x11, 0, 15]].concat();
        header.extend([192, 0, 2, 1, 192, 0, 2, 25, 0xdc, 0x04, 0, 25]);
        header.extend([4, 0, 0]);
        assert_eq!(read(&header), Ok(Some((from("192.0.2.1:56324", "192.0.2.25:25"), header.len()))));
        let mut v6 = [V2_SIGNATURE.as_slice(), &[0x21, 0x21, 0, 36]].concat();
        v6.extend([0; 15]);
        v6.push(1);
        v6.extend([0; 15]);
        v6.extend([2, 0, 7, 0, 25]);
        assert_eq!(read(&v6), Ok(Some((from("[::1]:7", "[::2]:25"), 52))));
        let local = [V2_SIGNATURE.as_slice(), &[0x20, 0, 0, 0]].concat();
        assert_eq!(read(&local), Ok(Some((Proxied::Unknown, 16))));
        for (change, error) in [
            ((12, 0x31), ProxyError::Malformed),
            ((12, 0x2f), ProxyError::Malformed),
            ((14, 0xff), ProxyError::TooLong),
            ((15, 3), ProxyError::Malformed),
        ] {
            let mut wrong = header.clone();
            wrong[change.0] = change.1;
            assert_eq!(read(&wrong), Err(error), "{change:?}");
        }
    }

    #[test]
    fn a_header_in_pieces_is_waited_for() {
        let mut v2 = [V2_SIGNATURE.as_slice(), &[0x21, 0x11, 0, 12]].concat();
        v2.extend([192, 0, 2, 1, 192, 0, 2, 25, 0, 1, 0, 25]);
        for whole in [&b"PROXY TCP4 192.0.2.1 192.0.2.25 1 25\r\n"[..], &v2] {
            for length in 0..whole.len() {
                assert_eq!(read(&whole[..length]), Ok(None), "{length}");
            }
        }
    }
}
