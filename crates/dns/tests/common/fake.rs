//! Servers that say what a test wants, and remember what they were asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::spawn_blocking;

use super::{loopback, read_framed, send_framed};

type Say = dyn Fn(&Message) -> Option<Message> + Send + Sync;

/// A server on UDP and TCP.
pub struct Fake {
    pub at: SocketAddr,
    say: Arc<Mutex<Arc<Say>>>,
    asked: Arc<Mutex<Vec<Message>>>,
}

impl Fake {
    /// On 127.0.0.`last`, on a port that is free for both. `say` is given each question; `None`: it is not answered.
    pub async fn new(last: u8, say: impl Fn(&Message) -> Option<Message> + Send + Sync + 'static) -> Self {
        for _ in 0..20 {
            let tcp = TcpListener::bind(loopback(last, 0)).await.unwrap();
            let at = tcp.local_addr().unwrap();
            // Another program has that port over UDP.
            let Ok(udp) = UdpSocket::bind(at).await else { continue };
            let say: Arc<Mutex<Arc<Say>>> = Arc::new(Mutex::new(Arc::new(say)));
            let fake = Self { at, say, asked: Arc::default() };
            fake.serve(udp, tcp);
            return fake;
        }
        panic!("no port is free for UDP and TCP");
    }

    fn serve(&self, udp: UdpSocket, tcp: TcpListener) {
        let (say, asked) = (Arc::clone(&self.say), Arc::clone(&self.asked));
        let answer = move |octets: Vec<u8>| {
            let question = Message::from_vec(&octets).unwrap();
            let say = Arc::clone(&say.lock().unwrap());
            asked.lock().unwrap().push(question.clone());
            // It may ask somebody else, and wait.
            spawn_blocking(move || say(&question).map(|answer| answer.to_vec().unwrap()))
        };
        let over_tcp = answer.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (octets, client) = udp.recv_from(&mut buffer).await.unwrap();
                if let Some(answer) = answer(buffer[..octets].to_vec()).await.unwrap() {
                    udp.send_to(&answer, client).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let question = read_framed(&mut stream).await;
                if let Some(answer) = over_tcp(question).await.unwrap() {
                    send_framed(&mut stream, &answer).await;
                }
            }
        });
    }

    /// From now on it says something else.
    pub fn say(&self, say: impl Fn(&Message) -> Option<Message> + Send + Sync + 'static) {
        *self.say.lock().unwrap() = Arc::new(say);
    }

    /// What it was asked since the last time.
    pub fn asked(&self) -> Vec<Message> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A code, without a word more.
pub fn code(question: &Message, code: ResponseCode) -> Option<Message> {
    let mut answer = question.clone().into_response();
    answer.metadata.response_code = code;
    Some(answer)
}

/// A resolver's answer with this address, whatever was asked for.
pub fn address(question: &Message, last: u8) -> Option<Message> {
    let mut answer = question.clone().into_response();
    answer.metadata.recursion_available = true;
    let name = question.queries[0].name().clone();
    answer.answers.push(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, last))));
    Some(answer)
}

/// The same with authority, and without recursion.
pub fn with_authority(question: &Message, last: u8) -> Option<Message> {
    let mut answer = address(question, last)?;
    answer.metadata.authoritative = true;
    answer.metadata.recursion_available = false;
    Some(answer)
}
