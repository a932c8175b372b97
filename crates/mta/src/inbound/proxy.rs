//! Who is behind a load balancer: the PROXY header, before TLS and before the greeting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use postroad_service::Conn;
use postroad_types::limits::{PROXY_V1_OCTETS_MAX, PROXY_V2_OCTETS_MAX};
use postroad_wire_smtp::codec::proxy::{Proxied, read};
use tokio::io::AsyncReadExt;

/// The header comes with the connection; a balancer needs no time for it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the header of a connection from a balancer. One without it is an error: from there nobody else comes.
/// Not an octet behind the header is read, since that may be TLS. A balancer's own connection (its health check)
/// is the balancer's.
pub(super) async fn client(conn: &mut Conn) -> io::Result<SocketAddr> {
    let proxy = conn.peer();
    let header = async {
        let mut octets = Vec::with_capacity(PROXY_V1_OCTETS_MAX);
        loop {
            octets.push(conn.read_u8().await?);
            match read(&octets) {
                Ok(Some((Proxied::Client { source, .. }, _))) => {
                    return Ok(SocketAddr::new(source.ip().to_canonical(), source.port()));
                }
                Ok(Some((Proxied::Unknown, _))) => return Ok(proxy),
                Ok(None) if octets.len() <= PROXY_V2_OCTETS_MAX + 16 => {}
                Ok(None) => return Err(io::Error::other("the PROXY header does not end")),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no PROXY header in time");
    tokio::time::timeout(HEADER_TIMEOUT, header).await.map_err(late)?
}
