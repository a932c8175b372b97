//! DNS over UDP: one loop per socket, which answers in place whatever needs nobody else.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
};
use postroad_service::Drain;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

use super::{Engine, Outcome};

/// Requests are a few hundred octets; what is longer is cut by the kernel and then malformed.
const REQUEST_OCTETS: usize = 4096;
/// Requests that are answered before other tasks of the thread have a turn.
const BATCH: usize = 64;

/// A socket, and how to answer from the address that was asked.
#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    /// It listens on every address of the machine.
    unspecified: bool,
}

/// Where a request came from, and the address of ours that it was sent to where that must be kept.
#[derive(Debug, Clone, Copy)]
struct Path {
    client: SocketAddr,
    local: Option<IpAddr>,
}

/// Serves a socket until the drain begins.
pub async fn serve(socket: UdpSocket, engine: Arc<Engine>, drain: Drain) {
    let unspecified = socket.local_addr().is_ok_and(|address| address.ip().is_unspecified());
    let port = Arc::new(Port { socket, unspecified });
    let mut request = vec![0; REQUEST_OCTETS];
    let mut response = Vec::with_capacity(REQUEST_OCTETS);
    let mut packets = engine.packets();
    loop {
        tokio::select! {
            biased;
            () = drain.stopping() => return,
            ready = port.socket.readable() => {
                if let Err(error) = ready {
                    debug!(%error, "a UDP socket is not readable");
                    tokio::task::yield_now().await;
                    continue;
                }
            }
        }
        engine.tick(&mut packets);
        let mut left = BATCH;
        while left > 0 {
            left -= 1;
            let (octets, path) = match port.try_recv(&mut request) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier answer; the socket is fine.
                Err(_) => continue,
            };
            // No answer can be sent to port 0, and answers from port 0 do not exist.
            if path.client.port() == 0 {
                continue;
            }
            let received = request.get(..octets).unwrap_or_default();
            match engine.answer_kept(&mut packets, received, path.client.ip(), &mut response) {
                Outcome::Reply(_) => port.send(&response, path),
                Outcome::Drop | Outcome::Stream(_) => {}
                Outcome::Later(pending) => {
                    let (engine, port) = (Arc::clone(&engine), Arc::clone(&port));
                    drain.spawn(async move {
                        if let Some(response) = engine.complete(pending).await {
                            port.send(&response, path);
                        }
                    });
                }
            }
        }
        if left == 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Port {
    fn try_recv(&self, buffer: &mut [u8]) -> io::Result<(usize, Path)> {
        if !self.unspecified {
            let (octets, client) = self.socket.try_recv_from(buffer)?;
            return Ok((octets, Path { client, local: None }));
        }
        self.socket.try_io(Interest::READABLE, || {
            let mut space = nix::cmsg_space!(in6_pktinfo);
            let mut parts = [IoSliceMut::new(buffer)];
            let message = recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                MsgFlags::MSG_DONTWAIT,
            )?;
            let local = message.cmsgs()?.find_map(|part| match part {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    Some(IpAddr::from(u32::from_be(info.ipi_spec_dst.s_addr).to_be_bytes()))
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
                _ => None,
            });
            let client = message.address.and_then(|address| {
                let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
            });
            let client = client.ok_or(io::ErrorKind::InvalidData)?;
            Ok((message.bytes, Path { client, local }))
        })
    }

    /// Sends an answer. When the socket's queue is full it is lost, as datagrams may be: waiting would hold up the
    /// others.
    fn send(&self, response: &[u8], path: Path) {
        let sent = match path.local {
            None => self.socket.try_send_to(response, path.client).map(drop),
            Some(local) => {
                self.socket.try_io(Interest::WRITABLE, || self.send_from(response, path.client, local))
            }
        };
        if let Err(error) = sent {
            metrics::counter!("postroad_dns_unsent_total").increment(1);
            debug!(client = %path.client, %error, "an answer could not be sent");
        }
    }

    fn send_from(&self, response: &[u8], client: SocketAddr, local: IpAddr) -> io::Result<()> {
        let (descriptor, parts) = (self.socket.as_raw_fd(), [IoSlice::new(response)]);
        match (client, local) {
            (SocketAddr::V4(client), IpAddr::V4(local)) => {
                let address = in_addr { s_addr: u32::from_be_bytes(local.octets()).to_be() };
                let info =
                    in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(
                    descriptor,
                    &parts,
                    &control,
                    MsgFlags::MSG_DONTWAIT,
                    Some(&SockaddrIn::from(client)),
                )?;
            }
            (SocketAddr::V6(client), IpAddr::V6(local)) => {
                let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: local.octets() }, ipi6_ifindex: 0 };
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmsg(
                    descriptor,
                    &parts,
                    &control,
                    MsgFlags::MSG_DONTWAIT,
                    Some(&SockaddrIn6::from(client)),
                )?;
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        Ok(())
    }
}
