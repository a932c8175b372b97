//! UDP and TCP as clients, good and bad, meet them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::available_parallelism;
use std::time::Duration;

use common::{
    SOON, Stage, ask, ask_from, ask_tcp, data, exchange, loopback, question, read_framed, send_framed,
};
use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use postroad_dns::Dns;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn server(listen: SocketAddr) -> (Stage, Dns) {
    let stage = Stage::new();
    let many: String = (1..=60).map(|last| format!("many A 192.0.2.{last}\n")).collect();
    let text = format!(
        "$TTL 60\n@ SOA ns h 1 1h 15m 1w 60\n@ NS ns\nns A 192.0.2.1\nfew A 192.0.2.1\nfew A 192.0.2.2\n{many}"
    );
    let mut config = stage.authoritative(listen, vec![stage.zone("alpha.test", &text)]);
    config.tcp_idle = Duration::from_millis(300);
    config.connections_max = 8;
    let dns = stage.start(&config).unwrap();
    (stage, dns)
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn sizes_follow_what_the_asker_takes_and_tcp_takes_all() {
    let (_stage, dns) = server(loopback(1, 0));
    let at = dns.addresses[0];
    let octets = |message: &Message| message.to_vec().unwrap();
    let plain = exchange(HERE, at, &octets(&question("many.alpha.test.", "A", false))).await.unwrap();
    assert!(plain.len() <= 512);
    let plain = Message::from_vec(&plain).unwrap();
    assert!(plain.metadata.truncation && plain.edns.is_none());
    let extended = ask(at, "many.alpha.test.", "A").await;
    assert_eq!((extended.metadata.truncation, extended.answers.len()), (false, 60));
    assert_eq!(extended.edns.unwrap().max_payload(), 1232);
    let whole = ask_tcp(at, "many.alpha.test.", "A").await;
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 60));
}

#[tokio::test]
async fn equal_records_take_turns() {
    let (_stage, dns) = server(loopback(1, 0));
    let mut firsts = BTreeMap::new();
    for _ in 0..40 {
        let first = data(&ask(dns.addresses[0], "few.alpha.test.", "A").await)[0].clone();
        *firsts.entry(first).or_insert(0) += 1;
    }
    // Each loop goes round by itself, from the third answer on, and which one is asked is the kernel's choice.
    let fair = 20 - 2 * available_parallelism().map_or(1, usize::from) as i32..;
    assert!(firsts.len() == 2 && firsts.values().all(|times| fair.contains(times)), "{firsts:?}");
}

#[tokio::test]
async fn what_is_not_served_is_said_so() {
    let (_stage, dns) = server(loopback(1, 0));
    let at = dns.addresses[0];
    let code = async |message: &Message| ask_from(HERE, at, message).await.metadata.response_code;
    assert_eq!(code(&question("example.com.", "A", true)).await, ResponseCode::Refused);
    assert_eq!(code(&question("alpha.test.", "AXFR", true)).await, ResponseCode::Refused);
    assert_eq!(code(&question("alpha.test.", "MAILB", true)).await, ResponseCode::NotImp);
    let mut versioned = question("alpha.test.", "SOA", false);
    let mut edns = Edns::new();
    edns.set_version(1);
    versioned.set_edns(edns);
    let answer = ask_from(HERE, at, &versioned).await;
    assert_eq!(u16::from(answer.metadata.response_code), u16::from(ResponseCode::BADVERS));
    assert!(answer.answers.is_empty() && answer.edns.unwrap().version() == 0);
    let mut chaos = question("version.bind.", "TXT", false);
    chaos.queries[0].query_class = hickory_proto::rr::DNSClass::CH;
    assert_eq!(code(&chaos).await, ResponseCode::Refused);
    let mut notify = question("alpha.test.", "SOA", false);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&notify).await, ResponseCode::Refused, "nobody is a primary of this zone");
    notify.metadata.op_code = OpCode::Update;
    assert_eq!(code(&notify).await, ResponseCode::Refused, "nobody may change this zone");
    notify.metadata.op_code = OpCode::Status;
    assert_eq!(code(&notify).await, ResponseCode::NotImp);
}

#[tokio::test]
async fn rubbish_gets_formerr_or_nothing_and_never_more_than_it_was() {
    let (_stage, dns) = server(loopback(1, 0));
    let at = dns.addresses[0];
    let good = question("ns.alpha.test.", "A", true).to_vec().unwrap();
    for length in 12..good.len() {
        let answer = exchange(HERE, at, &good[..length]).await.unwrap();
        assert!(answer.len() <= length && answer[3] & 0xf == 1, "{length}");
    }
    // A response and a stub of a header: the next answer that comes is that of the question after them.
    let socket = tokio::net::UdpSocket::bind((HERE, 0)).await.unwrap();
    socket.connect(at).await.unwrap();
    let mut response = good.clone();
    response[2] |= 0x80;
    for octets in [&response[..], &good[..11], &[]] {
        socket.send(octets).await.unwrap();
    }
    socket.send(&good).await.unwrap();
    let mut answer = [0; 512];
    let octets = timeout(SOON, socket.recv(&mut answer)).await.unwrap().unwrap();
    assert_eq!((&answer[..2], Message::from_vec(&answer[..octets]).unwrap().answers.len()), (&good[..2], 1));
}

#[tokio::test]
async fn chance_octets_do_not_stop_the_server() {
    let (_stage, dns) = server(loopback(1, 0));
    let at = dns.addresses[0];
    let socket = tokio::net::UdpSocket::bind((HERE, 0)).await.unwrap();
    let good = question("ns.alpha.test.", "A", true).to_vec().unwrap();
    for _ in 0..2000 {
        let mut octets = good.clone();
        for _ in 0..rand::random_range(1..6) {
            let at = rand::random_range(2..octets.len());
            octets[at] = rand::random();
        }
        socket.send_to(&octets, at).await.unwrap();
    }
    assert_eq!(data(&ask(at, "ns.alpha.test.", "A").await), ["192.0.2.1"]);
}

#[tokio::test]
async fn several_questions_share_a_connection_in_any_pieces() {
    let (_stage, dns) = server(loopback(1, 0));
    let mut stream = TcpStream::connect(dns.addresses[0]).await.unwrap();
    let first = question("ns.alpha.test.", "A", true).to_vec().unwrap();
    let second = question("nothing.alpha.test.", "A", true).to_vec().unwrap();
    let framed = |octets: &[u8]| [&(octets.len() as u16).to_be_bytes(), octets].concat();
    stream.write_all(&[framed(&first), framed(&second)].concat()).await.unwrap();
    for asked in [&first, &second] {
        assert_eq!(read_framed(&mut stream).await[..2], asked[..2]);
    }
    for octet in framed(&first) {
        stream.write_all(&[octet]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_eq!(read_framed(&mut stream).await[..2], first[..2]);
    send_framed(&mut stream, &[0; 3]).await;
    assert_eq!(
        timeout(SOON, stream.read(&mut [0])).await.unwrap().unwrap(),
        0,
        "a client that talks rubbish is left"
    );
}

#[tokio::test]
async fn idle_connections_are_closed_and_their_number_is_bounded() {
    let (_stage, dns) = server(loopback(1, 0));
    let at = dns.addresses[0];
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        // Half a message does not count.
        stream.write_all(&[0]).await.unwrap();
        idle.push(stream);
    }
    let mut third = TcpStream::connect(at).await.unwrap();
    let beyond = timeout(SOON, third.read(&mut [0])).await.unwrap();
    assert!(matches!(beyond, Ok(0) | Err(_)), "one client of four holds a fourth of the connections at most");
    for mut stream in idle {
        assert_eq!(timeout(SOON, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
    assert_eq!(ask_tcp(at, "ns.alpha.test.", "A").await.answers.len(), 1);
}

#[tokio::test]
async fn a_server_on_all_addresses_answers_from_the_one_that_was_asked() {
    let (_stage, dns) = server(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    // The socket that asks is connected, and so takes no answer from elsewhere.
    let asked = loopback(77, dns.addresses[0].port());
    assert_eq!(data(&ask(asked, "ns.alpha.test.", "A").await), ["192.0.2.1"]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_in_one_line_with_what_to_do() {
    let (stage, dns) = server(loopback(1, 0));
    let error = stage.start(&stage.authoritative(dns.addresses[0], Vec::new())).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("DNS over TCP cannot listen on {}: the port is taken", dns.addresses[0]))
    );
    assert_eq!(error.lines().count(), 1);
}

#[tokio::test]
async fn what_was_asked_before_the_stop_is_answered() {
    let (stage, dns) = server(loopback(1, 0));
    let mut stream = TcpStream::connect(dns.addresses[0]).await.unwrap();
    send_framed(&mut stream, &question("ns.alpha.test.", "A", true).to_vec().unwrap()).await;
    assert!(!read_framed(&mut stream).await.is_empty());
    stage.drain.stop();
    assert_eq!(timeout(SOON, stage.drain.finish()).await, Ok(0));
    assert_eq!(timeout(SOON, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
}
