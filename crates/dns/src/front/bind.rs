//! Sockets: for each address one TCP listener and as many UDP sockets as there are cores, on the same port.
//!
//! The UDP sockets share the port (SO_REUSEPORT): the kernel spreads askers over them, and no loop waits for another.
//! The TCP listener does not share its port, and it is bound first: so a second server on the same port is noticed.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use postroad_service::{BindError, Listener};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Kernel memory for requests that wait for a loop, in octets.
const RECEIVE_OCTETS: usize = 1 << 20;
/// Ports that are tried until one is free for both protocols, where the system may choose.
const PORT_TRIES: usize = 16;

/// The sockets of one address.
#[derive(Debug)]
pub struct Bound {
    /// With the port that the system chose where 0 was asked for.
    pub address: SocketAddr,
    pub tcp: Listener,
    pub udp: Vec<UdpSocket>,
}

/// Binds all addresses, or none, with `loops` UDP sockets each. `[::]` is left out with a warning on a machine
/// without IPv6, where it is a default and nobody's wish.
pub fn bind_all(addresses: &[SocketAddr], loops: usize) -> Result<Vec<Bound>, BindError> {
    let mut all = Vec::with_capacity(addresses.len());
    for address in addresses {
        match bind(*address, loops) {
            Ok(bound) => all.push(bound),
            Err(error)
                if *address == SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()))
                    && no_ipv6(&error) =>
            {
                tracing::warn!(%address, "DNS: no IPv6 on this machine, listening on IPv4 alone");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn no_ipv6(error: &BindError) -> bool {
    matches!(error.source.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.source.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
}

fn bind(address: SocketAddr, loops: usize) -> Result<Bound, BindError> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let tcp = Listener::bind("DNS over TCP", address)?;
        let bound = tcp.address();
        tries -= 1;
        match (0..loops.max(1)).map(|_| udp_socket(bound)).collect() {
            Ok(udp) => return Ok(Bound { address: bound, tcp, udp }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(source) => return Err(BindError { what: "DNS over UDP".to_owned(), address: bound, source }),
        }
    }
}

fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    // The system may give less, and less is enough to work.
    let _ = socket.set_recv_buffer_size(RECEIVE_OCTETS);
    if address.ip().is_unspecified() {
        // Which of the machine's addresses was asked: the answer must come from the same.
        match address {
            SocketAddr::V4(_) => setsockopt(&socket.as_fd(), sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket.as_fd(), sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
