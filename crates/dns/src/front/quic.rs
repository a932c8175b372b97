//! DNS over QUIC (RFC 9250): a stream for every question, answered as they get ready.
//!
//! A message on a stream has its length before it, the id 0, and nothing behind it; a client that does otherwise does
//! not speak the protocol and is left. Bounds: connections as over TCP, handshakes under way, streams and octets of a
//! connection; a client that forges its address cannot hold a place longer than a handshake may take, and when many
//! are under way an address must be proved first. Addresses do not change within a connection: who may have what goes
//! by them. 0-RTT is not taken, as others could send the same again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use postroad_service::{BindError, Drain, Gate, ProtocolTls};
use postroad_types::limits::{
    DNS_HANDSHAKE_SECONDS, DNS_QUIC_HANDSHAKES_MAX, DNS_QUIC_OCTETS_MAX, DNS_TCP_PIPELINE_MAX,
};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{
    Connecting, Connection, Endpoint, EndpointConfig, IdleTimeout, ReadToEndError, RecvStream, SendStream,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::{Engine, Outcome, Transport};
use crate::wire::Request;
use crate::wire::options::code;

/// The protocol's name in the handshake (RFC 9250 section 4.1.1).
pub const PROTOCOL: &[u8] = b"doq";

/// Error codes (RFC 9250 section 4.3).
mod error {
    pub const NO_ERROR: u32 = 0;
    pub const INTERNAL_ERROR: u32 = 1;
    pub const PROTOCOL_ERROR: u32 = 2;
    pub const REQUEST_CANCELLED: u32 = 3;
    pub const EXCESSIVE_LOAD: u32 = 4;
}

/// A client may say nothing for so long beyond the time that a connection may be idle.
const SILENCE: Duration = Duration::from_secs(30);

const MESSAGE_OCTETS_MAX: usize = 2 + u16::MAX as usize;

/// Why QUIC cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    #[error("{0}")]
    Bind(#[from] BindError),
    #[error("the certificate of [tls] cannot be used for QUIC: {0}")]
    Crypto(#[from] NoInitialCipherSuite),
}

/// A port that QUIC is spoken on.
#[derive(Debug)]
pub struct QuicDoor {
    endpoint: Endpoint,
    config: Arc<ServerConfig>,
    tls: ProtocolTls,
    idle: Duration,
    /// With the port that the system chose where 0 was asked for.
    pub address: SocketAddr,
}

impl QuicDoor {
    /// Must be called within a tokio runtime.
    pub fn bind(address: SocketAddr, tls: ProtocolTls, idle: Duration) -> Result<Self, QuicError> {
        let failed = |source| BindError { what: "DNS over QUIC".to_owned(), address, source };
        let socket = udp_socket(address).map_err(failed)?;
        let config = Arc::new(server_config(&tls, idle)?);
        let present = ServerConfig::clone(&config);
        let endpoint =
            Endpoint::new(EndpointConfig::default(), Some(present), socket, Arc::new(TokioRuntime));
        let endpoint = endpoint.map_err(failed)?;
        let address = endpoint.local_addr().map_err(failed)?;
        Ok(QuicDoor { endpoint, config, tls, idle, address })
    }
}

/// Not shared: a second server on the same port is noticed.
fn udp_socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn server_config(tls: &ProtocolTls, idle: Duration) -> Result<ServerConfig, NoInitialCipherSuite> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams((DNS_TCP_PIPELINE_MAX as u32).into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(VarInt::from_u32(MESSAGE_OCTETS_MAX as u32))
        .receive_window(VarInt::from_u32(DNS_QUIC_OCTETS_MAX))
        .send_window(DNS_QUIC_OCTETS_MAX.into())
        .datagram_receive_buffer_size(None)
        // Whoever waits for an answer that takes long may be silent meanwhile; who asks nothing is left by [`exchanges`].
        .max_idle_timeout(IdleTimeout::try_from(idle + SILENCE).ok());
    let crypto = QuicServerConfig::try_from(tls.config())?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport)).migration(false).max_incoming(DNS_QUIC_HANDSHAKES_MAX);
    Ok(config)
}

/// Serves a port until the drain begins; open connections then finish what was asked on them.
pub async fn serve(door: QuicDoor, engine: Arc<Engine>, gate: Gate, drain: Drain) {
    let QuicDoor { endpoint, mut config, tls, idle, address } = door;
    let handshakes = Arc::new(Semaphore::new(DNS_QUIC_HANDSHAKES_MAX));
    let mut made_of = tls.config();
    loop {
        let incoming = tokio::select! {
            () = drain.stopping() => break,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
        };
        let under_way = DNS_QUIC_HANDSHAKES_MAX - handshakes.available_permits();
        if under_way >= DNS_QUIC_HANDSHAKES_MAX / 4 && !incoming.remote_address_validated() {
            // An error says that the client was asked to before, and has proved nothing.
            let _ = incoming.retry();
            continue;
        }
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let current = tls.config();
        if !Arc::ptr_eq(&made_of, &current) {
            match server_config(&tls, idle) {
                Ok(with_current) => {
                    endpoint.set_server_config(Some(with_current.clone()));
                    config = Arc::new(with_current);
                }
                Err(error) => debug!(%address, %error, "QUIC goes on with the old certificate"),
            }
            made_of = current;
        }
        match incoming.accept_with(Arc::clone(&config)) {
            Ok(connecting) => {
                let (engine, gate, stop) = (Arc::clone(&engine), gate.clone(), drain.clone());
                drain.spawn(async move { connection(connecting, permit, &engine, &gate, idle, &stop).await });
            }
            Err(error) => debug!(%address, %error, "a QUIC connection could not be accepted"),
        }
    }
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
}

/// Serves one connection.
async fn connection(
    connecting: Connecting,
    handshake: OwnedSemaphorePermit,
    engine: &Engine,
    gate: &Gate,
    idle: Duration,
    drain: &Drain,
) {
    let connection = match timeout(Duration::from_secs(DNS_HANDSHAKE_SECONDS), connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%error, "a QUIC handshake failed"),
        Err(_) => return debug!("a QUIC handshake took too long"),
    };
    drop(handshake);
    let client = connection.remote_address();
    let why = match gate.enter(client.ip().to_canonical()) {
        Ok(_pass) => exchanges(&connection, client.ip().to_canonical(), engine, idle, drain).await,
        Err(refusal) => {
            metrics::counter!("postroad_connections_refused_total", "what" => "DNS over QUIC").increment(1);
            debug!(%client, %refusal, "connection refused");
            error::EXCESSIVE_LOAD
        }
    };
    connection.close(why.into(), b"");
}

/// Answers questions until the connection is over; the error code to close it with.
async fn exchanges(
    connection: &Connection,
    client: IpAddr,
    engine: &Engine,
    idle: Duration,
    drain: &Drain,
) -> u32 {
    let mut streams = FuturesUnordered::new();
    let mut deadline = Instant::now() + idle;
    let mut asks = true;
    while asks || !streams.is_empty() {
        tokio::select! {
            accepted = connection.accept_bi(), if asks && streams.len() < DNS_TCP_PIPELINE_MAX => {
                match accepted {
                    Ok((to, from)) => streams.push(exchange(to, from, client, engine, idle)),
                    // The client has gone, or was idle; there is nobody to answer to.
                    Err(_) => return error::NO_ERROR,
                }
            }
            Some(done) = streams.next(), if !streams.is_empty() => {
                if let Err(code) = done {
                    return code;
                }
                deadline = Instant::now() + idle;
            }
            () = sleep_until(deadline), if streams.is_empty() => asks = false,
            () = drain.stopping(), if asks => asks = false,
        }
    }
    error::NO_ERROR
}

/// Answers the question on one stream. The error is the code to close the connection with; a stream that the client
/// gives up, or that cannot be answered, is no error of the connection.
async fn exchange(
    mut to: SendStream,
    mut from: RecvStream,
    client: IpAddr,
    engine: &Engine,
    within: Duration,
) -> Result<(), u32> {
    let octets = match timeout(within, from.read_to_end(MESSAGE_OCTETS_MAX)).await {
        Ok(Ok(octets)) => octets,
        Ok(Err(ReadToEndError::Read(_))) => return give_up(&mut to, error::REQUEST_CANCELLED),
        Ok(Err(ReadToEndError::TooLong)) => return Err(error::PROTOCOL_ERROR),
        // Half a question for all that time.
        Err(_) => return give_up(&mut to, error::EXCESSIVE_LOAD),
    };
    let request = only_message(&octets).ok_or(error::PROTOCOL_ERROR)?;
    let mut response = Vec::with_capacity(512);
    let outcome = match engine.answer(request, client, Transport::Quic, &mut response) {
        Outcome::Reply(_) => send(&mut to, &response, within).await,
        Outcome::Later(pending) => match engine.complete(pending).await {
            Some(response) => send(&mut to, &response, within).await,
            None => return give_up(&mut to, error::INTERNAL_ERROR),
        },
        Outcome::Stream(mut messages) => loop {
            match messages.next(&mut response) {
                Ok(true) => match send(&mut to, &response, within).await {
                    Ok(()) => {}
                    failed => break failed,
                },
                Ok(false) => break Ok(()),
                Err(_) => return give_up(&mut to, error::INTERNAL_ERROR),
            }
        },
        Outcome::Drop => return Err(error::PROTOCOL_ERROR),
    };
    // A client that has gone, that reads nothing, or does not want the answer any more.
    if outcome.is_err() || to.finish().is_err() {
        return give_up(&mut to, error::REQUEST_CANCELLED);
    }
    // Until the client has it all, the stream counts.
    let _ = timeout(within, to.stopped()).await;
    Ok(())
}

/// The message that is all of a stream (RFC 9250 section 4.2), if it is one that may come over QUIC: with the id 0
/// (section 4.2.1) and no word on keeping TCP alive (section 4.3.3).
fn only_message(octets: &[u8]) -> Option<&[u8]> {
    let (length, message) = octets.split_first_chunk::<2>()?;
    let fits = usize::from(u16::from_be_bytes(*length)) == message.len() && message.starts_with(&[0, 0]);
    let edns = Request::parse(message).ok().and_then(|request| request.edns);
    (fits && edns.is_none_or(|edns| edns.option(code::TCP_KEEPALIVE).is_none())).then_some(message)
}

async fn send(to: &mut SendStream, response: &[u8], within: Duration) -> io::Result<()> {
    let length = u16::try_from(response.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let sent = async {
        to.write_all(&length.to_be_bytes()).await?;
        to.write_all(response).await
    };
    timeout(within, sent).await.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(())
}

fn give_up(to: &mut SendStream, code: u32) -> Result<(), u32> {
    // It may be closed already.
    let _ = to.reset(code.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stand_on_a_stream() {
        let question = b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x01\x00\x01";
        let framed = |message: &[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
        assert_eq!(only_message(&framed(question)), Some(&question[..]));
        let mut with_id = question.to_vec();
        with_id[1] = 1;
        let mut keepalive = question.to_vec();
        keepalive[11] = 1;
        keepalive.extend_from_slice(b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x04\x00\x0b\x00\x00");
        let twice = [framed(question), framed(question)].concat();
        let short = framed(question)[..20].to_vec();
        for wrong in [framed(&with_id), framed(&keepalive), twice, short, vec![], vec![0]] {
            assert_eq!(only_message(&wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
