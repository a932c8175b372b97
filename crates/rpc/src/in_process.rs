//! Services in one process: the same HTTP/2, over a pipe in memory instead of a socket, without TLS.
//!
//! `postroad up` links all four roles; none of them notices which way its calls go.

use std::io;

use postroad_types::Role;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// How many octets a pipe holds in each direction.
const PIPE_OCTETS: usize = 256 * 1024;

/// The callers' end of a service in the same process.
#[derive(Clone, Debug)]
pub struct InProcess {
    connections: mpsc::Sender<(DuplexStream, Role)>,
}

/// The service's end: give it to [`crate::Incoming::in_process`].
#[derive(Debug)]
pub struct InProcessIncoming {
    connections: mpsc::Receiver<(DuplexStream, Role)>,
}

impl InProcess {
    /// Both ends.
    pub fn new() -> (InProcess, InProcessIncoming) {
        let (sender, receiver) = mpsc::channel(16);
        (InProcess { connections: sender }, InProcessIncoming { connections: receiver })
    }

    /// A new connection, on behalf of `caller`.
    pub(crate) async fn connect(&self, caller: Role) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(PIPE_OCTETS);
        let gone =
            |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the service in this process has ended");
        self.connections.send((theirs, caller)).await.map_err(gone)?;
        Ok(ours)
    }
}

impl InProcessIncoming {
    /// The next connection and whose it is; none when all callers' ends are gone.
    pub(crate) async fn accept(&mut self) -> Option<(DuplexStream, Role)> {
        self.connections.recv().await
    }
}
