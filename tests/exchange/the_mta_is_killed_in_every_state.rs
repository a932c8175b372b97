//! The mta is killed (SIGKILL) in every state that a message passes there, at chance instants within each. Whatever it
//! said 250 to arrives, whatever it did not say 250 to does not, and a copy too many is possible at one point alone:
//! where the next host has said 250 and the mta has not yet written that down (RFC 5321 §4.5.3.2.6, RFC 1047).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postroad::lab::reader::{self, Account};
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::harness::smtp::{Client, queue_id};
use crate::harness::{Changes, Lab, eventually, message};

/// Kills in each state.
const ROUNDS: u32 = 3;

/// What the next host has heard when the mta dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connected,
    Ehlo,
    Mail,
    Rcpt,
    /// It has put the recipient off.
    Deferred,
    /// It has refused the recipient: a notice is due.
    Refused,
    Data,
    /// The first line of the message.
    Content,
    /// The whole message, and it has not said a word to it.
    End,
    /// The same, and it has said 250.
    Taken,
}

const STATES: [State; 10] = [
    State::Connected,
    State::Ehlo,
    State::Mail,
    State::Rcpt,
    State::Deferred,
    State::Refused,
    State::Data,
    State::Content,
    State::End,
    State::Taken,
];

/// The next host. It falls silent where it is told to, once, and says when it is there.
struct NextHost {
    silent_at: Mutex<Option<State>>,
    reached: mpsc::UnboundedSender<()>,
    /// Messages that it said 250 to, by recipient.
    taken: Mutex<BTreeMap<String, u32>>,
}

impl NextHost {
    /// Whether this is where it falls silent, or has just said its last word.
    fn is_last(&self, state: State) -> bool {
        let mut silent_at = self.silent_at.lock().unwrap();
        let last = *silent_at == Some(state);
        if last {
            *silent_at = None;
            self.reached.send(()).unwrap();
        }
        last
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            let host = self.clone();
            tokio::spawn(async move {
                // Ends when the mta is dead.
                let _ = host.session(client).await;
            });
        }
    }

    async fn session(&self, client: TcpStream) -> std::io::Result<()> {
        let mut client = BufReader::new(client);
        if self.is_last(State::Connected) {
            return silence(client).await;
        }
        client.write_all(b"220 next.test\r\n").await?;
        let mut to = String::new();
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let (state, reply) = match verb.as_str() {
                "EHLO" => (State::Ehlo, "250 next.test\r\n"),
                "MAIL" => (State::Mail, "250 ok\r\n"),
                "RCPT" => {
                    to = line.trim_end().to_owned();
                    if to.contains("refused") {
                        client.write_all(b"550 5.1.1 nobody\r\n").await?;
                        if self.is_last(State::Refused) {
                            return silence(client).await;
                        }
                        continue;
                    }
                    if self.is_last(State::Deferred) {
                        client.write_all(b"451 4.3.0 later\r\n").await?;
                        return silence(client).await;
                    }
                    (State::Rcpt, "250 ok\r\n")
                }
                "DATA" => (State::Data, "354 go on\r\n"),
                "QUIT" => return client.write_all(b"221 bye\r\n").await,
                _ => (State::Ehlo, "250 ok\r\n"),
            };
            if self.is_last(state) {
                return silence(client).await;
            }
            client.write_all(reply.as_bytes()).await?;
            if verb == "DATA" {
                if !self.content(&mut client, &to).await? {
                    return silence(client).await;
                }
                // A session for each message, so that each passes all states.
                return Ok(());
            }
        }
    }

    /// Reads a message and answers to it; false: it falls silent.
    async fn content(&self, client: &mut BufReader<TcpStream>, to: &str) -> std::io::Result<bool> {
        loop {
            let mut line = String::new();
            if client.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if self.is_last(State::Content) {
                return Ok(false);
            }
            if line == ".\r\n" {
                break;
            }
        }
        if self.is_last(State::End) {
            return Ok(false);
        }
        *self.taken.lock().unwrap().entry(to.to_owned()).or_default() += 1;
        client.write_all(b"250 taken\r\n").await?;
        Ok(!self.is_last(State::Taken))
    }
}

/// Of what `queue list` says.
fn is_empty(list: &str) -> bool {
    list.lines().any(|line| line == "0 in the queue")
}

/// Until the other side is gone.
async fn silence(mut client: BufReader<TcpStream>) -> std::io::Result<()> {
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut client, &mut rest).await.map(drop)
}

/// A lab whose alpha sends the mail for next.test to the host.
async fn scene() -> (Lab, Arc<NextHost>, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (reached, is_reached) = mpsc::unbounded_channel();
    let host = NextHost { silent_at: Mutex::new(None), reached, taken: Mutex::new(BTreeMap::new()) };
    let host = Arc::new(host);
    tokio::spawn(host.clone().serve(listener));
    let rule = format!("transport = [{{ recipient = \"next.test\", via = \"smtp://127.0.0.1:{port}\" }}]");
    let replaced = vec![
        ("etc/alpha-mta.toml", "retry_first = \"5s\"".into(), "retry_first = \"1s\"".into()),
        ("etc/alpha-mta.toml", "transport = []".into(), rule),
    ];
    (Lab::start_with(Changes { replaced, ..Changes::default() }).await, host, is_reached)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_on_the_way_out() {
    let (mut lab, host, mut is_reached) = scene().await;
    let alice = lab.alice().clone();
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut chance = rand::rngs::StdRng::seed_from_u64(seed);
    let mut sent = Vec::new();
    for state in STATES {
        for round in 0..ROUNDS {
            *host.silent_at.lock().unwrap() = Some(state);
            let to = format!("{state:?}-{round}@next.test").to_lowercase();
            let mail = message(&alice.address, &to, "kill", b"A line.\r\n");
            let reply = lab.submit(lab.alpha(), &alice, &to, &mail).await;
            assert!(reply.starts_with("250"), "{reply}");
            let there = tokio::time::timeout(crate::harness::PATIENCE, is_reached.recv()).await;
            assert!(there.is_ok(), "the host never came to {state:?}");
            tokio::time::sleep(Duration::from_micros(chance.random_range(0..5_000))).await;
            lab.kill("alpha-mta").await;
            lab.up("alpha-mta").await;
            sent.push((state, to));
        }
    }
    // Held in the queue while it is killed.
    let to = "held@next.test".to_owned();
    *host.silent_at.lock().unwrap() = Some(State::Deferred);
    let mail = message(&alice.address, &to, "kill", b"A line.\r\n");
    let id = queue_id(&lab.submit(lab.alpha(), &alice, &to, &mail).await);
    is_reached.recv().await;
    lab.command("alpha-mta", &["queue", "hold", &id]).await;
    lab.kill("alpha-mta").await;
    lab.up("alpha-mta").await;
    let shown = lab.command("alpha-mta", &["queue", "show", &id]).await;
    assert!(shown.contains("state      held"), "{shown}");
    lab.command("alpha-mta", &["queue", "release", &id]).await;
    sent.push((State::Deferred, to));

    eventually("an empty queue", async || {
        let list = lab.command("alpha-mta", &["queue", "list"]).await;
        is_empty(&list).then_some(())
    })
    .await;
    let taken = host.taken.lock().unwrap().clone();
    for (state, to) in &sent {
        let times = taken.iter().filter(|(rcpt, _)| rcpt.contains(to.as_str())).map(|(_, n)| *n).sum::<u32>();
        let expected = match state {
            State::Refused => 0..=0,
            State::Taken => 1..=2,
            _ => 1..=1,
        };
        assert!(expected.contains(&times), "{to} was taken {times} times, seed {seed}");
    }
    let account = Account { domain: lab.alpha(), person: &alice };
    let notices = eventually("notices", async || {
        let subjects = reader::pop3_subjects(&lab.plan, account).await.expect("POP3");
        (subjects.len() >= ROUNDS as usize).then_some(subjects.len())
    })
    .await;
    assert!(notices <= 2 * ROUNDS as usize, "{notices} notices about {ROUNDS} messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_accepted_does_not_arrive() {
    let mut lab = Lab::start().await;
    let bob = lab.bob().clone();
    let at = lab.plan.socket(lab.beta().mta, lab.plan.ports.smtp);
    let mut chance = rand::rngs::StdRng::seed_from_u64(7);
    let content =
        message("stranger@elsewhere.invalid", &bob.address, "cut", &b"A line of many.\r\n".repeat(9000));
    for number in 0..8 {
        let mut client = Client::connect(at).await;
        client.greet().await;
        client.command("MAIL FROM:<stranger@elsewhere.invalid>").await;
        if number > 0 {
            client.command(&format!("RCPT TO:<{}>", bob.address)).await;
        }
        if number > 1 {
            client.command("DATA").await;
            client.write(&content[..chance.random_range(0..content.len())]).await;
            tokio::time::sleep(Duration::from_micros(chance.random_range(0..5_000))).await;
        }
        lab.kill("beta-mta").await;
        lab.up("beta-mta").await;
    }
    let list = lab.command("beta-mta", &["queue", "list"]).await;
    assert!(is_empty(&list), "{list}");
    // What comes last is there, and nothing that came before.
    let last = message("stranger@elsewhere.invalid", &bob.address, "last", b"The end.\r\n");
    let mut client = Client::connect(at).await;
    client.greet().await;
    let reply = client.send("stranger@elsewhere.invalid", &[&bob.address], &last).await;
    assert!(reply.starts_with("250"), "{reply}");
    lab.read(lab.beta(), &bob, "last").await;
    let account = Account { domain: lab.beta(), person: &bob };
    assert_eq!(reader::pop3_subjects(&lab.plan, account).await.expect("POP3"), ["last"]);
}
