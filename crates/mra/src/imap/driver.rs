//! The loop of a session.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use postroad_types::{AccountId, limits};
use postroad_wire_imap::{Ask, Config, Output, Server, Status, Untagged};
use tokio::time::Instant;
use tracing::Instrument;

use super::append::Appending;
use super::login::MECHANISMS;
use super::selected::Selected;
use crate::conn::ClientConn;
use crate::context::Context;
use crate::idle::Watch;
use crate::login::{Login, LoginExchange};
use crate::mailbox::{Change, MailboxError};

const READ_OCTETS: usize = 16 * 1024;
const IDLE_ALIVE: Duration = Duration::from_secs(limits::IMAP_IDLE_ALIVE_SECONDS);

/// Serves one client until it goes, is sent away, or the connection fails.
pub async fn serve(conn: ClientConn, context: Arc<Context>) {
    let span = tracing::info_span!("imap", client = %conn.peer());
    Driver::new(conn, context).run().instrument(span).await;
}

pub(super) struct Driver {
    pub(super) context: Arc<Context>,
    pub(super) conn: ClientConn,
    pub(super) server: Server,
    /// A login that is being made.
    pub(super) exchange: Option<Box<dyn LoginExchange>>,
    /// Who is logged in.
    pub(super) login: Option<Login>,
    pub(super) selected: Option<Selected>,
    /// Stands from the first SELECT on.
    pub(super) watch: Option<Watch>,
    /// A message that is on its way in.
    pub(super) appending: Option<Appending>,
    pub(super) idling: bool,
    pub(super) fetched: u64,
}

/// Why a command was not carried out.
pub(super) enum Failure {
    /// The client is told.
    Status(Status),
    /// The connection is of no more use.
    Connection(io::Error),
}

impl From<MailboxError> for Failure {
    fn from(error: MailboxError) -> Self {
        Failure::Status(super::failure::status(error))
    }
}
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Connection(error)
    }
}
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::Status(status)
    }
}

/// What a command comes to: its tagged answer.
pub(super) type Outcome = Result<Status, Failure>;

impl Driver {
    fn new(conn: ClientConn, context: Arc<Context>) -> Self {
        let config = Config {
            host: context.host.clone(),
            append_octets_max: context.config.append_size_max,
            starttls: true,
            plaintext_login: context.allows_plaintext_auth(conn.peer().ip()),
            mechanisms: MECHANISMS.map(str::to_owned).to_vec(),
        };
        let server = Server::new(config, conn.tls().is_some());
        Driver {
            context,
            conn,
            server,
            exchange: None,
            login: None,
            selected: None,
            watch: None,
            appending: None,
            idling: false,
            fetched: 0,
        }
    }

    async fn run(mut self) {
        let end = self.converse().await.err().map(|error| error.to_string());
        if end.is_some() {
            // A message that broke off ends the session, not what stands of the connection.
            let _ = self.conn.close().await;
        }
        match &self.login {
            Some(login) => {
                tracing::info!(user = login.address, fetched = self.fetched, failure = end, "session ended");
            }
            None => tracing::debug!(failure = end, "session ended without a login"),
        }
    }

    async fn converse(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; READ_OCTETS];
        let drain = self.context.drain.clone();
        let login_until = Instant::now() + self.context.config.login_timeout;
        let mut heard_at = Instant::now();
        let mut alive_at = Instant::now();
        let mut leaving = false;
        loop {
            if drain.is_stopping() && !leaving {
                leaving = true;
                self.server.shut_down();
            }
            while let Some(output) = self.server.poll_output() {
                if matches!(output, Output::Close) {
                    return self.conn.close().await;
                }
                self.act(output).await?;
                alive_at = Instant::now();
                if !self.idling {
                    // A command may have taken long: the client's silence is counted from its answer on.
                    heard_at = alive_at;
                }
            }
            self.conn.flush().await?;
            let deadline = match self.server.is_authenticated() {
                true => heard_at + self.context.config.idle,
                false => login_until,
            };
            tokio::select! {
                read = self.conn.read(&mut buffer), if self.server.wants_input() => {
                    heard_at = Instant::now();
                    match buffer.get(..read?).unwrap_or_default() {
                        [] => self.server.receive_eof(),
                        octets => self.server.receive(octets),
                    }
                }
                change = next_change(&mut self.watch) => {
                    self.note(&change);
                    if self.idling {
                        self.tell_what_is_known().await;
                    }
                }
                () = tokio::time::sleep_until(deadline) => self.server.timed_out(),
                () = tokio::time::sleep_until(alive_at + IDLE_ALIVE), if self.idling => {
                    alive_at = Instant::now();
                    self.server.untagged(&Untagged::Condition(Status::ok("still here")));
                }
                () = drain.stopping(), if !leaving => {}
            }
        }
    }

    async fn act(&mut self, output: Output) -> io::Result<()> {
        match output {
            Output::Write(octets) => self.conn.write(&octets).await?,
            Output::StartTls => {
                self.conn.start_tls(&self.context.tls).await?;
                self.server.tls_started();
            }
            Output::Ask(ask) => self.answer(ask).await?,
            Output::SaslResponse(response) => {
                self.conn.flush().await?;
                self.sasl_response(response.0).await;
            }
            Output::SaslCancelled => self.sasl_cancelled(),
            Output::AppendChunk(octets) => self.append_chunk(octets).await,
            Output::AppendEnd => self.append_end().await,
            Output::AppendBroken => self.appending = None,
            Output::IdleDone => {
                self.idling = false;
                self.tell_what_is_known().await;
                self.server.finish(Status::ok("IDLE is done"));
            }
            Output::Close => {}
        }
        Ok(())
    }

    async fn answer(&mut self, ask: Ask) -> io::Result<()> {
        // The answer may take its time, and the client should have what came before.
        self.conn.flush().await?;
        counter!("postroad_mra_imap_commands_total", "command" => ask.name()).increment(1);
        let outcome = match ask {
            Ask::Authenticate(command) => {
                self.authenticate(command).await;
                return Ok(());
            }
            Ask::Login(command) => {
                self.login(command).await;
                return Ok(());
            }
            Ask::Idle => {
                self.idling = true;
                self.tell_what_is_known().await;
                return Ok(());
            }
            Ask::Append(command) => match self.append_begin(command).await {
                Ok(()) => return Ok(()),
                Err(failure) => Err(failure),
            },
            Ask::Select(command) => self.select(command).await,
            Ask::Close => self.close_folder().await,
            Ask::Unselect => {
                self.selected = None;
                Ok(Status::ok("no mailbox is selected"))
            }
            Ask::Create(command) => self.create(command).await,
            Ask::Delete(mailbox) => self.delete(&mailbox).await,
            Ask::Rename(command) => self.rename(command).await,
            Ask::Subscribe { mailbox, subscribed } => self.subscribe(&mailbox, subscribed).await,
            Ask::List(command) => self.list(command).await,
            Ask::Lsub(command) => self.lsub(command).await,
            Ask::Status(command) => self.status(command).await,
            Ask::GetQuota(root) => self.get_quota(&root).await,
            Ask::GetQuotaRoot(mailbox) => self.get_quota_root(&mailbox).await,
            Ask::Noop => self.noop().await,
            Ask::Expunge(uids) => self.expunge(uids).await,
            Ask::Search(command) => self.search(command).await,
            Ask::Fetch(command) => self.fetch(command).await,
            Ask::Store(command) => self.store(command).await,
            Ask::Copy(command) => self.copy(command).await,
            Ask::Move(command) => self.move_messages(command).await,
        };
        match outcome {
            Ok(status) | Err(Failure::Status(status)) => self.server.finish(status),
            Err(Failure::Connection(error)) => return Err(error),
        }
        Ok(())
    }

    /// Sends what the machine has to say while a command is carried out.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        while let Some(output) = self.server.poll_output() {
            if let Output::Write(octets) = output {
                self.conn.write(&octets).await?;
            }
        }
        Ok(())
    }

    /// Whose mailbox it is. The machine asks for mailboxes after the login only.
    pub(super) fn account(&self) -> Result<AccountId, Failure> {
        match &self.login {
            Some(login) => Ok(login.account),
            None => Err(Failure::Status(Status::bad("log in first"))),
        }
    }
}

async fn next_change(watch: &mut Option<Watch>) -> Change {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
