//! The floor of any DNS server over UDP: sends every datagram back. `echo ADDRESS`; for bench/dns.
#![allow(clippy::expect_used, reason = "a measurement stops where it fails")]

use std::net::SocketAddr;

use tokio::net::UdpSocket;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address: SocketAddr =
        std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("usage: echo ADDRESS");
    let socket = UdpSocket::bind(address).await.expect("a free address");
    let mut buffer = [0; 4096];
    loop {
        socket.readable().await.expect("a socket");
        while let Ok((octets, client)) = socket.try_recv_from(&mut buffer) {
            // QR, so that the asker takes it for an answer.
            if let Some(flags) = buffer.get_mut(2) {
                *flags |= 0x80;
            }
            let _ = socket.try_send_to(buffer.get(..octets).unwrap_or_default(), client);
        }
    }
}
