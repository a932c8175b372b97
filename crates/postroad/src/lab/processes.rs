//! Starts the lab's processes, waits until each is ready, and ends them.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postroad_types::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::plan::{Plan, Process};

/// A process may take so long until it is ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// A process may take so long to end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A process that was started. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    pub process: Process,
    child: Child,
    log: PathBuf,
}

/// Says in one line which port is taken and what to do, before anything is started.
pub fn check_ports(plan: &Plan) -> Result<(), String> {
    let ports = plan.ports;
    for process in plan.processes() {
        let mut tcp = vec![ports.rpc, ports.admin];
        match process.role {
            Role::Dns => tcp.push(ports.dns),
            Role::Mta => tcp.extend([ports.smtp, ports.submission, ports.submissions]),
            Role::Mda | Role::Operator => {}
            Role::Mra => tcp.extend([ports.imap, ports.imaps, ports.pop3, ports.pop3s]),
        }
        for port in tcp {
            free(plan.socket(process.ip, port), |at| TcpListener::bind(at).map(drop))?;
        }
        if process.role == Role::Dns {
            free(plan.socket(process.ip, ports.dns), |at| UdpSocket::bind(at).map(drop))?;
        }
    }
    Ok(())
}

fn free(at: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<()>) -> Result<(), String> {
    bind(at).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => format!(
            "{at} is taken: is another lab running? Stop it, or give this one other addresses with --net 127.0.1"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "{at} is no address of this machine; where 127.0.0.0/8 is not whole on loopback, add the address to it \
             (macOS: sudo ifconfig lo0 alias {})",
            at.ip()
        ),
        _ => format!("{at} can't be bound: {error}"),
    })
}

/// Starts a process as `postroad run ROLE`, its log in `log/`.
pub fn start(plan: &Plan, process: &Process) -> Result<Running, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{} can't be started: {error}", process.name);
    let log = plan.state.join("log").join(format!("{}.log", process.name));
    let out = File::options().create(true).append(true).open(&log).map_err(|error| failed(&error))?;
    let err = out.try_clone().map_err(|error| failed(&error))?;
    let child = Command::new(&plan.program)
        .args(["run", process.role.name(), "-c"])
        .arg(plan.config_file(process))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    Ok(Running { process: process.clone(), child, log })
}

impl Running {
    /// Waits until it says on its admin port that it is ready.
    pub async fn ready(&mut self, plan: &Plan) -> Result<Duration, String> {
        let begin = Instant::now();
        let admin = plan.socket(self.process.ip, plan.ports.admin);
        loop {
            if is_ready(admin).await {
                return Ok(begin.elapsed());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!(
                    "{} ended at its start ({status}): {}",
                    self.process.name,
                    self.last_words()
                ));
            }
            if begin.elapsed() > READY_MAX {
                return Err(format!(
                    "{} is not ready after {} s: {}",
                    self.process.name,
                    READY_MAX.as_secs(),
                    self.last_words()
                ));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM: it finishes what it has begun.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGKILL: it ends where it stands.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait().await;
    }

    /// Waits for its end and kills it when that takes too long.
    pub async fn ended(&mut self) -> Result<(), String> {
        match tokio::time::timeout(STOP_MAX, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                Err(format!("{} ended with {status}: {}", self.process.name, self.last_words()))
            }
            Ok(Err(error)) => Err(format!("{}: {error}", self.process.name)),
            Err(_) => {
                self.kill().await;
                Err(format!(
                    "{} did not end {} s after SIGTERM and was killed",
                    self.process.name,
                    STOP_MAX.as_secs()
                ))
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may be gone already; then there is nobody to tell.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// The last line of its log, and where the rest is.
    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        format!("{last}\n    (its log: {})", self.log.display())
    }
}

/// `GET /readyz`
pub async fn is_ready(admin: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(admin).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), ask).await;
    matches!(answer, Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 200"))
}
