//! Asks one server one question over UDP or TCP.
//!
//! Against forged answers (RFC 5452): for every question a fresh socket, connected to the server, on a port of our own
//! choosing; a random id; random case of the letters of the name ("0x20"), which an honest server copies. What does
//! not match is not an answer; after a number of such datagrams the question is asked again over TCP. Id, port and
//! case come from the thread's cryptographic generator.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::{Message, ResponseCode};
use postroad_types::limits::{DNS_STRAY_ANSWERS_MAX, DNS_UDP_OCTETS_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::{Instant, timeout_at};

use crate::wire::{Name, Rtype};

/// A question for a server.
#[derive(Debug, Clone)]
pub struct Ask {
    pub server: SocketAddr,
    pub name: Name,
    pub rtype: Rtype,
    pub tcp: bool,
    /// The server is a resolver (RD).
    pub recursion: bool,
    pub edns: bool,
    /// With EDNS: signatures and proofs are wanted (DO).
    pub dnssec: bool,
    pub timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("timeout")]
    Timeout,
    #[error("unreachable ({0})")]
    Unreachable(io::ErrorKind),
    /// Datagrams came that look forged, or whose sender changes the case of names.
    #[error("answers that do not match the question")]
    Suspicious,
    #[error("malformed answer")]
    Malformed,
}

/// The way to other servers.
#[async_trait]
pub trait Upstream: fmt::Debug + Send + Sync + 'static {
    /// Asks and waits for the answer that matches, at most `ask.timeout`.
    async fn ask(&self, ask: &Ask) -> Result<Message, AskError>;
}

/// The network.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Local addresses that questions are sent from; of a family without one the system chooses.
    sources: Vec<IpAddr>,
}

/// Random ports that are tried before the system chooses one.
const PORT_TRIES: usize = 8;
/// Room for a UDP answer: more than we say we take, for servers that do not listen.
const UDP_BUFFER_OCTETS: usize = 4096;

thread_local! {
    /// Where answers over UDP are received: one for each thread, as there may be thousands of questions.
    static BUFFER: RefCell<Box<[u8; UDP_BUFFER_OCTETS]>> = RefCell::new(Box::new([0; UDP_BUFFER_OCTETS]));
}

impl Network {
    pub fn new(sources: Vec<IpAddr>) -> Self {
        Self { sources }
    }

    /// Whether there is a way to the Internet over IPv6. Sends nothing.
    pub fn has_ipv6(&self) -> bool {
        let anywhere = SocketAddr::from((Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30), 53));
        let probe = || std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?.connect(anywhere);
        probe().is_ok()
    }

    fn source(&self, server: SocketAddr) -> IpAddr {
        let of_family = || self.sources.iter().filter(|source| source.is_ipv4() == server.is_ipv4());
        let unspecified = if server.is_ipv4() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        match of_family().count() {
            0 => unspecified,
            count => of_family().nth(rand::random_range(0..count)).copied().unwrap_or(unspecified),
        }
    }

    async fn socket(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let source = self.source(server);
        let mut socket = None;
        for _ in 0..PORT_TRIES {
            let port = rand::random_range(1024..=u16::MAX);
            match UdpSocket::bind((source, port)).await {
                Ok(bound) => {
                    socket = Some(bound);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        let socket = match socket {
            Some(socket) => socket,
            None => UdpSocket::bind((source, 0)).await?,
        };
        socket.connect(server).await?;
        Ok(socket)
    }

    async fn udp(&self, ask: &Ask, query: &Sent) -> Result<Message, AskError> {
        let socket = self.socket(ask.server).await.map_err(unreachable)?;
        socket.send(&query.octets).await.map_err(unreachable)?;
        let mut left = DNS_STRAY_ANSWERS_MAX;
        while left > 0 {
            socket.readable().await.map_err(unreachable)?;
            let received: io::Result<_> = BUFFER.with_borrow_mut(|buffer| {
                let octets = socket.try_recv(&mut buffer[..])?;
                Ok(query.check(buffer.get(..octets).unwrap_or_default()))
            });
            match received {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(Mismatch::Stranger)) => left -= 1,
                Ok(Err(Mismatch::OtherCase)) => return Err(AskError::Suspicious),
                Ok(Err(Mismatch::Malformed)) => return Err(AskError::Malformed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(unreachable(error)),
            }
        }
        Err(AskError::Suspicious)
    }

    async fn tcp(&self, ask: &Ask, query: &Sent) -> Result<Message, AskError> {
        let socket = if ask.server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(unreachable)?;
        let source = self.source(ask.server);
        if !source.is_unspecified() {
            socket.bind((source, 0).into()).map_err(unreachable)?;
        }
        let mut stream = socket.connect(ask.server).await.map_err(unreachable)?;
        let length = u16::try_from(query.octets.len()).map_err(|_| AskError::Malformed)?;
        stream
            .write_all(&[&length.to_be_bytes(), query.octets.as_slice()].concat())
            .await
            .map_err(unreachable)?;
        let length = stream.read_u16().await.map_err(unreachable)?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.map_err(unreachable)?;
        // Nobody but the server can write into this connection: the case of the name proves nothing more.
        query.check_letters(&answer, false).map_err(|_| AskError::Malformed)
    }
}

fn unreachable(error: io::Error) -> AskError {
    AskError::Unreachable(error.kind())
}

#[async_trait]
impl Upstream for Network {
    async fn ask(&self, ask: &Ask) -> Result<Message, AskError> {
        let query = Sent::new(ask);
        let deadline = Instant::now() + ask.timeout;
        let answer = if ask.tcp {
            timeout_at(deadline, self.tcp(ask, &query)).await
        } else {
            timeout_at(deadline, self.udp(ask, &query)).await
        };
        answer.unwrap_or(Err(AskError::Timeout))
    }
}

/// A question as it was sent.
#[derive(Debug)]
struct Sent {
    octets: Vec<u8>,
    /// The name in lower case.
    plain: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mismatch {
    /// Not an answer to this question.
    Stranger,
    /// The answer, but for the case of letters.
    OtherCase,
    /// It has the right id and question, but does not parse.
    Malformed,
}

/// Octets of a message header.
const HEADER: usize = 12;
/// Octets of an OPT record without options (RFC 6891 section 6.1.2).
const OPT_OCTETS: usize = 11;

impl Sent {
    fn new(ask: &Ask) -> Self {
        let plain = ask.name.to_lowercase();
        let name = plain.as_wire();
        let mut octets = Vec::with_capacity(HEADER + name.len() + 4 + OPT_OCTETS);
        octets.extend_from_slice(&rand::random::<[u8; 2]>());
        octets.extend_from_slice(&[u8::from(ask.recursion), 0, 0, 1, 0, 0, 0, 0, 0, u8::from(ask.edns)]);
        // The octets that give lengths are no letters.
        let mut coins: u64 = 0;
        octets.extend(name.iter().enumerate().map(|(index, octet)| {
            coins = if index % 64 == 0 { rand::random() } else { coins >> 1 };
            if coins & 1 == 1 { octet.to_ascii_uppercase() } else { *octet }
        }));
        octets.extend_from_slice(&ask.rtype.0.to_be_bytes());
        octets.extend_from_slice(&[0, 1]);
        if ask.edns {
            let [high, low] = DNS_UDP_OCTETS_MAX.to_be_bytes();
            let flags = if ask.dnssec { 0x80 } else { 0 };
            octets.extend_from_slice(&[0, 0, Rtype::OPT.0 as u8, high, low, 0, 0, flags, 0, 0, 0]);
        }
        Self { octets, plain }
    }

    /// The question section: name, type, class.
    fn question(&self) -> &[u8] {
        self.octets.get(HEADER..HEADER + self.plain.as_wire().len() + 4).unwrap_or_default()
    }

    fn check(&self, octets: &[u8]) -> Result<Message, Mismatch> {
        self.check_letters(octets, true)
    }

    fn check_letters(&self, octets: &[u8], exact: bool) -> Result<Message, Mismatch> {
        let (Some(header), Some(sent)) =
            (octets.first_chunk::<HEADER>(), self.octets.first_chunk::<HEADER>())
        else {
            return Err(Mismatch::Stranger);
        };
        // The id, a response, opcode QUERY.
        if header[..2] != sent[..2] || header[2] & 0xf8 != 0x80 {
            return Err(Mismatch::Stranger);
        }
        let code = ResponseCode::from(0, header[3] & 0xf);
        if header[4..6] == [0, 0] && code == ResponseCode::FormErr {
            // A server that could not read the question does not repeat it.
            return Message::from_vec(octets).map_err(|_| Mismatch::Malformed);
        }
        let question = self.question();
        let repeated = octets.get(HEADER..HEADER + question.len()).unwrap_or_default();
        let (name, kind) = question.split_at(self.plain.as_wire().len());
        let same = repeated.split_at_checked(name.len()).is_some_and(|(repeated_name, repeated_kind)| {
            repeated_name.eq_ignore_ascii_case(name) && repeated_kind == kind
        });
        if header[4..6] != [0, 1] || !same {
            return Err(Mismatch::Stranger);
        }
        if exact && repeated != question {
            return Err(Mismatch::OtherCase);
        }
        // Names in the answer that point to the question would take on its random case.
        let mut plain = octets.to_vec();
        if let Some(name) = plain.get_mut(HEADER..HEADER + self.plain.as_wire().len()) {
            name.copy_from_slice(self.plain.as_wire());
        }
        Message::from_vec(&plain).map_err(|_| Mismatch::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hickory_proto::op::MessageType;

    use super::*;

    fn ask() -> Ask {
        Ask {
            server: SocketAddr::from(([127, 0, 0, 1], 53)),
            name: "abcdefghijklmnop.qrstuvwxyz.test".parse().unwrap(),
            rtype: Rtype::MX,
            tcp: false,
            recursion: false,
            edns: true,
            dnssec: true,
            timeout: Duration::from_secs(1),
        }
    }

    fn answer(sent: &Sent) -> Message {
        Message::from_vec(&sent.octets).unwrap().into_response()
    }

    #[test]
    fn ids_and_letters_differ_from_question_to_question() {
        let sent: Vec<Sent> = (0..32).map(|_| Sent::new(&ask())).collect();
        let ids: HashSet<&[u8]> = sent.iter().map(|sent| &sent.octets[..2]).collect();
        let names: HashSet<&[u8]> = sent.iter().map(Sent::question).collect();
        assert!(ids.len() > 28 && names.len() > 28, "{} {}", ids.len(), names.len());
        let message = Message::from_vec(&sent[0].octets).unwrap();
        assert!(!message.metadata.recursion_desired);
        assert_eq!(message.queries[0].query_type(), Rtype::MX.into());
        let edns = message.edns.unwrap();
        assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
        let upstream = Ask { recursion: true, dnssec: false, ..ask() };
        let message = Message::from_vec(&Sent::new(&upstream).octets).unwrap();
        assert!(message.metadata.recursion_desired && !message.edns.unwrap().flags().dnssec_ok);
        let message = Message::from_vec(&Sent::new(&Ask { edns: false, ..ask() }).octets).unwrap();
        assert!(message.edns.is_none());
    }

    #[test]
    fn names_that_point_to_the_question_come_out_plain() {
        let sent = Sent::new(&ask());
        let mut octets = sent.octets.clone();
        octets[2] |= 0x80;
        octets[7] = 1;
        octets.truncate(HEADER + sent.question().len());
        octets.extend_from_slice(b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x07\x00\x0a\x02mx\xc0\x0c");
        octets[11] = 0;
        let message = sent.check(&octets).unwrap_or_else(|mismatch| panic!("{mismatch:?}"));
        assert_eq!(message.answers[0].data.to_string(), "10 mx.abcdefghijklmnop.qrstuvwxyz.test.");
        assert_eq!(message.answers[0].name.to_ascii(), "abcdefghijklmnop.qrstuvwxyz.test.");
    }

    /// Asks a server that sends `wrong` answers with other ids before the right one.
    async fn ask_beside_a_guesser(wrong: u8) -> Result<Message, AskError> {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let ask = Ask { server: server.local_addr().unwrap(), ..ask() };
        let answers = async {
            let mut buffer = [0; 512];
            let (octets, client) = server.recv_from(&mut buffer).await.unwrap();
            let mut right = Message::from_vec(&buffer[..octets]).unwrap().into_response();
            right.metadata.id = right.metadata.id.wrapping_add(1);
            for _ in 0..wrong {
                server.send_to(&right.to_vec().unwrap(), client).await.unwrap();
                right.metadata.id = right.metadata.id.wrapping_add(1);
            }
            right.metadata.id = u16::from_be_bytes([buffer[0], buffer[1]]);
            server.send_to(&right.to_vec().unwrap(), client).await.unwrap();
        };
        let network = Network::default();
        tokio::join!(network.ask(&ask), answers).0
    }

    #[tokio::test]
    async fn wrong_ids_do_not_count_and_many_of_them_are_suspicious() {
        assert!(ask_beside_a_guesser(3).await.is_ok());
        let guessed = ask_beside_a_guesser(DNS_STRAY_ANSWERS_MAX as u8).await;
        assert!(matches!(guessed, Err(AskError::Suspicious)), "{guessed:?}");
    }

    #[tokio::test]
    async fn ports_are_spread_over_all_that_may_be_used() {
        let server = SocketAddr::from(([127, 0, 0, 1], 53));
        let mut ports = HashSet::new();
        for _ in 0..256 {
            ports.insert(Network::default().socket(server).await.unwrap().local_addr().unwrap().port());
        }
        let eighths: HashSet<u16> = ports.iter().map(|port| port / 8192).collect();
        assert!(ports.len() > 240 && eighths.len() == 8, "{} {eighths:?}", ports.len());
    }

    #[test]
    fn a_name_that_points_to_itself_is_malformed() {
        let sent = Sent::new(&ask());
        let mut octets = sent.octets.clone();
        octets[2] |= 0x80;
        octets[7] = 1;
        octets[11] = 0;
        octets.truncate(HEADER + sent.question().len());
        let here = octets.len() as u16;
        octets.extend_from_slice(&(0xc000 | here).to_be_bytes());
        octets.extend_from_slice(b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01");
        assert!(matches!(sent.check(&octets), Err(Mismatch::Malformed)));
    }

    #[test]
    fn only_the_answer_to_the_question_is_an_answer() {
        let sent = Sent::new(&ask());
        let check = |message: &Message| sent.check(&message.to_vec().unwrap());
        assert!(check(&answer(&sent)).is_ok());
        let mut other_id = answer(&sent);
        other_id.metadata.id ^= 1;
        assert!(matches!(check(&other_id), Err(Mismatch::Stranger)));
        let mut other_type = answer(&sent);
        other_type.queries[0].query_type = Rtype::A.into();
        assert!(matches!(check(&other_type), Err(Mismatch::Stranger)));
        let mut question = answer(&sent);
        question.metadata.message_type = MessageType::Query;
        assert!(matches!(check(&question), Err(Mismatch::Stranger)));
        let mut other_case = answer(&sent);
        other_case.queries[0].name.randomize_label_case();
        let plain = sent.check_letters(&other_case.to_vec().unwrap(), false);
        assert!(matches!(check(&other_case), Err(Mismatch::OtherCase)) && plain.is_ok());
        let mut empty = answer(&sent);
        empty.queries.clear();
        assert!(matches!(check(&empty), Err(Mismatch::Stranger)));
        empty.metadata.response_code = ResponseCode::FormErr;
        assert!(check(&empty).is_ok());
        let mut cut = answer(&sent).to_vec().unwrap();
        cut.truncate(cut.len() - 3);
        assert!(matches!(sent.check(&cut), Err(Mismatch::Malformed)));
    }
}
