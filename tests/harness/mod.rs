//! A lab for one test: the real binary as twelve processes on addresses of its own, with everything in a
//! directory that goes with it.

pub mod smtp;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use postroad::lab::plan::{DomainPlan, Person, Plan, Ports, Process};
use postroad::lab::processes::{self, Running};
use postroad::lab::reader::{self, Account};
use postroad::lab::{files, timeline};

/// Everything that a test waits for happens within this, on a slow machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running lab.
pub struct Lab {
    pub plan: Plan,
    running: BTreeMap<String, Running>,
    _state: tempfile::TempDir,
}

/// What a test changes in the lab before it starts.
#[derive(Default)]
pub struct Changes {
    /// Appended to a zone file: (`beta.test.zone`, records). A record set given here replaces nothing.
    pub zone_records: Vec<(&'static str, String)>,
    /// Text replaced in a file below the state directory: (file, from, to).
    pub replaced: Vec<(&'static str, String, String)>,
}

/// Each lab of this test program gets a network of its own below 127.64.0.0/10; the process id keeps test
/// programs that run at the same time apart.
fn network() -> [u8; 3] {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let lab = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    [127, 64 + (process % 128) as u8, ((process / 128 % 8) as u8) << 5 | (lab & 31)]
}

impl Lab {
    pub async fn start() -> Lab {
        Lab::start_with(Changes::default()).await
    }

    pub async fn start_with(changes: Changes) -> Lab {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let state = tempfile::tempdir().expect("a directory for the lab");
        let program = PathBuf::from(env!("CARGO_BIN_EXE_postroad"));
        let plan = Plan::new(program, state.path().to_owned(), network(), Ports::LOOPBACK);
        processes::check_ports(&plan).expect("free ports");
        files::write(&plan).expect("the lab's files");
        for (file, records) in changes.zone_records {
            let path = plan.state.join("dns").join(file);
            let text = std::fs::read_to_string(&path).expect("zone file") + &records;
            std::fs::write(path, text).expect("zone file");
        }
        for (file, from, to) in changes.replaced {
            let path = plan.state.join(file);
            let text = std::fs::read_to_string(&path).expect("file to change");
            assert!(text.contains(&from), "{file} has no {from:?}:\n{text}");
            std::fs::write(path, text.replace(&from, &to)).expect("file to change");
        }
        let mut lab = Lab { plan, running: BTreeMap::new(), _state: state };
        for process in lab.plan.processes() {
            lab.spawn(&process);
        }
        for running in lab.running.values_mut() {
            running.ready(&lab.plan).await.expect("a process that starts");
        }
        for domain in &lab.plan.domains {
            timeline::make_accounts(&lab.plan, domain).await.expect("accounts");
        }
        lab
    }

    fn process(&self, name: &str) -> Process {
        self.plan.processes().into_iter().find(|process| process.name == name).expect("a process of the lab")
    }

    fn spawn(&mut self, process: &Process) {
        let running = processes::start(&self.plan, process).expect("a process that starts");
        self.running.insert(process.name.clone(), running);
    }

    /// Starts a process that was stopped or killed, and waits until it is ready.
    pub async fn up(&mut self, name: &str) {
        let process = self.process(name);
        self.spawn(&process);
        self.running.get_mut(name).expect("just started").ready(&self.plan).await.expect("ready again");
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self, name: &str) {
        let mut running = self.running.remove(name).expect("it runs");
        running.terminate();
        running.ended().await.expect("a clean end");
    }

    /// SIGTERM only.
    pub fn terminate(&self, name: &str) {
        self.running[name].terminate();
    }

    /// SIGKILL.
    pub async fn kill(&mut self, name: &str) {
        self.running.remove(name).expect("it runs").kill().await;
    }

    pub fn alpha(&self) -> &DomainPlan {
        self.plan.alpha()
    }

    pub fn beta(&self) -> &DomainPlan {
        self.plan.beta()
    }

    pub fn alice(&self) -> &Person {
        &self.plan.alpha().people[0]
    }

    pub fn bob(&self) -> &Person {
        &self.plan.beta().people[0]
    }

    /// Submits over TLS and returns the server's reply to the end of the message.
    pub async fn submit(&self, domain: &DomainPlan, from: &Person, to: &str, message: &[u8]) -> String {
        let at = self.plan.socket(domain.mta, self.plan.ports.submissions);
        let mut client = smtp::Client::connect_tls(at, &domain.mail_host(), &self.plan.ca_file()).await;
        client.greet().await;
        client.auth_plain(&from.address, &from.password).await;
        client.send(&from.address, &[to], message).await
    }

    /// Waits for a message with this Subject and returns it as POP3 and IMAP show it, which must be the same.
    pub async fn read(&self, domain: &DomainPlan, person: &Person, subject: &str) -> Vec<u8> {
        let account = Account { domain, person };
        let imap = eventually(&format!("{subject:?} in the mailbox of {}", person.address), async || {
            reader::imap_find(&self.plan, account, subject).await.expect("IMAP")
        })
        .await;
        let pop3 = reader::pop3_find(&self.plan, account, subject)
            .await
            .expect("POP3")
            .expect("seen over IMAP already");
        assert!(imap == pop3, "IMAP and POP3 show different octets of {subject:?}");
        imap
    }

    /// Runs the `postroad` command against a service's configuration and returns what it prints.
    pub async fn command(&self, process: &str, args: &[&str]) -> String {
        let process = self.process(process);
        let output = tokio::process::Command::new(&self.plan.program)
            .arg("-c")
            .arg(self.plan.config_file(&process))
            .args(args)
            .output()
            .await
            .expect("the command runs");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "postroad {args:?}: {}\n{out}{err}", output.status);
        out
    }
}

/// Asks until there is an answer; fails the test when [`PATIENCE`] is over.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "no {what} within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A message with a Subject and a body with CRLF line ends.
pub fn message(from: &str, to: &str, subject: &str, body: &[u8]) -> Vec<u8> {
    let mut message = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <{}@test.invalid>\r\n\r\n",
        subject.replace(' ', ".")
    )
    .into_bytes();
    message.extend_from_slice(body);
    message
}

/// What arrived is what was sent, behind header lines of the hosts on the way.
pub fn assert_unchanged(received: &[u8], sent: &[u8]) {
    if received.ends_with(sent) {
        return;
    }
    let differ = received.iter().rev().zip(sent.iter().rev()).position(|(a, b)| a != b);
    panic!(
        "{} octets were sent, {} received; they differ {differ:?} octets before the end",
        sent.len(),
        received.len()
    );
}
