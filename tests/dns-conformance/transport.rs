//! UDP and TCP as a client has them.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A reply comes within this, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(5);
/// What does not come within this does not come.
const SILENCE: Duration = Duration::from_millis(700);

fn socket(server: SocketAddr, wait: Duration) -> std::io::Result<UdpSocket> {
    let here: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((here, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(wait))?;
    Ok(socket)
}

fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut octets = vec![0; 65_535];
    let length = socket.recv(&mut octets).ok()?;
    octets.truncate(length);
    Some(octets)
}

/// Asks over UDP, thrice at most: datagrams may get lost.
pub fn udp(server: SocketAddr, octets: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let socket = socket(server, PATIENCE / 3).map_err(|error| error.to_string())?;
    for _ in 0..3 {
        socket.send(octets).map_err(|error| error.to_string())?;
        if let Some(reply) = receive(&socket) {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

/// Sends once, because nothing may be the right reply.
pub fn udp_once(server: SocketAddr, octets: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let socket = socket(server, SILENCE).map_err(|error| error.to_string())?;
    socket.send(octets).map_err(|error| error.to_string())?;
    Ok(receive(&socket))
}

/// A connection.
#[derive(Debug)]
pub struct Stream(TcpStream);

fn framed(octets: &[u8]) -> Vec<u8> {
    [&(octets.len() as u16).to_be_bytes()[..], octets].concat()
}

impl Stream {
    pub fn connect(server: SocketAddr) -> Result<Stream, String> {
        let stream =
            TcpStream::connect_timeout(&server, PATIENCE).map_err(|error| format!("TCP: {error}"))?;
        let set = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_nodelay(true));
        set.map_err(|error| error.to_string())?;
        Ok(Stream(stream))
    }

    /// Sends a message, `split` into four pieces, and says with `half` that nothing follows.
    pub fn send(&mut self, octets: &[u8], split: bool, half: bool) -> Result<(), String> {
        let framed = framed(octets);
        let pieces: Vec<&[u8]> = if split {
            vec![&framed[..1], &framed[1..5], &framed[5..20], &framed[20..]]
        } else {
            vec![&framed]
        };
        for piece in pieces {
            self.0.write_all(piece).map_err(|error| format!("TCP: {error}"))?;
            if split {
                std::thread::sleep(Duration::from_millis(30));
            }
        }
        if half {
            self.0.shutdown(Shutdown::Write).map_err(|error| format!("TCP: {error}"))?;
        }
        Ok(())
    }

    /// Sends many in one write.
    pub fn send_all(&mut self, messages: &[Vec<u8>]) -> Result<(), String> {
        let all: Vec<u8> = messages.iter().flat_map(|octets| framed(octets)).collect();
        self.0.write_all(&all).map_err(|error| format!("TCP: {error}"))
    }

    /// The next message; `None` when the server has closed.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut length = [0; 2];
        match self.0.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            other => other.map_err(|error| format!("TCP: {error}"))?,
        }
        let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut octets).map_err(|error| format!("TCP: {error}"))?;
        Ok(Some(octets))
    }

    /// The same, where no reply or an end of any kind is right too.
    pub fn receive_or_end(&mut self) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(SILENCE)).ok()?;
        self.receive().ok()?
    }
}
