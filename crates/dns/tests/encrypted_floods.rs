//! Floods over the encrypted transports: whoever sends them is left or held back, and others are answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use common::encrypted::{NAME, Scene, answer, framed};
use common::{SOON, loopback, question};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// An HTTP/2 frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

/// A request for a path with a question in its query, all literals.
fn request(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, 0x7f];
    let mut rest = path.len() - 127;
    while rest >= 128 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(&[0x41, NAME.len() as u8]);
    block.extend_from_slice(NAME.as_bytes());
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// A path that asks for a name, longer than 127 octets.
fn path(name: &str) -> String {
    use base64::Engine as _;
    let mut asked = question(name, "A", true);
    asked.metadata.id = 0;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(asked.to_vec().unwrap());
    format!("/dns-query?filler={}&dns={text}", "x".repeat(128))
}

async fn connect(scene: &Scene, settings: &[u8]) -> TlsStream<TcpStream> {
    let mut stream = scene.connect(scene.at.https[0], scene.client(b"h2")).await.unwrap();
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, settings)].concat();
    stream.write_all(&preface).await.unwrap();
    stream
}

/// Asks as a good client does.
async fn others_are_answered(scene: &Scene) {
    let mut stream = scene.connect(scene.at.tls[0], scene.client(b"dot")).await.unwrap();
    let asked = question("ns.alpha.test.", "A", true).to_vec().unwrap();
    stream.write_all(&framed(&asked)).await.unwrap();
    assert_eq!(answer(&mut stream).await[..2], asked[..2]);
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    let scene = Scene::new();
    let (mut from, mut to) = tokio::io::split(connect(&scene, &[]).await);
    let flood = async {
        for number in 0..20_000u32 {
            let stream = 2 * number + 1;
            let octets =
                [request(stream, &path("ns.alpha.test.")), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])];
            if to.write_all(&octets.concat()).await.is_err() {
                return number;
            }
        }
        20_000
    };
    let read = async {
        let mut octets = Vec::new();
        // An error is an end, too.
        let _ = from.read_to_end(&mut octets).await;
        octets.len()
    };
    let (opened, _) = timeout(SOON, async { tokio::join!(flood, read) }).await.unwrap();
    assert!(opened < 20_000, "nobody minds");
    others_are_answered(&scene).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_or_only_pings_is_left() {
    let scene = Scene::new();
    // No octet of an answer may be sent (SETTINGS_INITIAL_WINDOW_SIZE 0), and all places for streams are taken.
    let mut stuck = connect(&scene, &[0, 4, 0, 0, 0, 0]).await;
    for number in 0..40 {
        stuck.write_all(&request(2 * number + 1, &path("ns.alpha.test."))).await.unwrap();
    }
    let (mut from, mut to) = tokio::io::split(connect(&scene, &[]).await);
    let pings = async {
        while to.write_all(&frame(PING, 0, 0, b"12345678")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let read = async { while from.read(&mut [0; 4096]).await.is_ok_and(|octets| octets > 0) {} };
    timeout(SOON, async { tokio::join!(pings, read) }).await.expect("who only pings is left");
    let end = async { while stuck.read(&mut [0; 4096]).await.is_ok_and(|octets| octets > 0) {} };
    timeout(SOON, end).await.expect("who takes no answer is left");
    others_are_answered(&scene).await;
}

/// Sends on what comes from clients, and nothing of what comes back. The number of connections that were begun so.
async fn one_way(to: SocketAddr) -> (SocketAddr, watch::Receiver<usize>) {
    let (socket, outside) =
        (UdpSocket::bind(loopback(2, 0)).await.unwrap(), UdpSocket::bind(loopback(3, 0)).await.unwrap());
    let address = socket.local_addr().unwrap();
    let (begun, seen) = watch::channel(0);
    tokio::spawn(async move {
        let mut octets = [0; 2048];
        let mut ids = HashSet::new();
        while let Ok((length, _)) = socket.recv_from(&mut octets).await {
            // The client's first choice of an id (RFC 9000 section 17.2).
            let id = octets[6..6 + usize::from(octets[5])].to_vec();
            let _ = outside.send_to(&octets[..length], to).await;
            ids.insert(id);
            begun.send_replace(ids.len());
        }
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn handshakes_that_nobody_ends_do_not_keep_others_out() {
    let scene = Scene::new();
    let (hole, mut seen) = one_way(scene.at.quic[0]).await;
    let endpoint = quinn::Endpoint::client(loopback(1, 0)).unwrap();
    let config = scene.quic_client();
    // More than may be under way: from a fourth of that on addresses must be proved, which these cannot.
    let mut begun = Vec::new();
    for number in 1..=400 {
        begun.push(endpoint.connect_with(config.clone(), hole, NAME).unwrap());
        timeout(SOON, seen.wait_for(|seen| *seen >= number)).await.unwrap().unwrap();
    }
    let connection = timeout(SOON, scene.quic()).await.expect("who proves its address is let in");
    let mut asked = question("ns.alpha.test.", "A", true);
    asked.metadata.id = 0;
    let (mut to, mut from) = connection.open_bi().await.unwrap();
    to.write_all(&framed(&asked.to_vec().unwrap())).await.unwrap();
    to.finish().unwrap();
    assert!(timeout(SOON, from.read_to_end(1000)).await.unwrap().unwrap().len() > 30);
    drop(begun);
}
