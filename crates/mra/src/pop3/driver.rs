//! The loop of a session.

use std::io;
use std::sync::Arc;

use postroad_wire_pop3::{Ask, Config, Output, Session};
use tokio::time::Instant;
use tracing::Instrument;

use crate::conn::ClientConn;
use crate::context::Context;
use crate::login::{Login, LoginExchange};

use super::maildrop::Body;

const READ_OCTETS: usize = 4096;

/// Serves one client until it goes, is sent away, or the connection fails.
pub async fn serve(conn: ClientConn, context: Arc<Context>) {
    let span = tracing::info_span!("pop3", client = %conn.peer());
    Driver::new(conn, context).run().instrument(span).await;
}

pub(super) struct Driver {
    pub(super) context: Arc<Context>,
    pub(super) conn: ClientConn,
    pub(super) session: Session,
    /// A login that is being made.
    pub(super) exchange: Option<Box<dyn LoginExchange>>,
    /// Who is logged in.
    pub(super) login: Option<Login>,
    /// A message that is being sent.
    pub(super) body: Option<Body>,
    pub(super) retrieved: u64,
    pub(super) deleted: u64,
}

pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl Driver {
    fn new(conn: ClientConn, context: Arc<Context>) -> Self {
        let config = Config {
            host: context.host.clone(),
            offers_tls: true,
            allows_plaintext_auth: context.allows_plaintext_auth(conn.peer().ip()),
            idle_timeout: context.config.pop3_idle,
            login_timeout: context.config.login_timeout,
        };
        let session = Session::new(config, conn.tls().is_some(), now());
        Driver { context, conn, session, exchange: None, login: None, body: None, retrieved: 0, deleted: 0 }
    }

    async fn run(mut self) {
        let end = self.converse().await;
        // A client that just goes is the usual end of a session that was cut off.
        let end = end.err().map(|error| error.to_string());
        match &self.login {
            Some(login) => tracing::info!(
                user = login.address,
                retrieved = self.retrieved,
                deleted = self.deleted,
                failure = end,
                "session ended"
            ),
            None => tracing::debug!(failure = end, "session ended without a login"),
        }
    }

    async fn converse(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; READ_OCTETS];
        let drain = self.context.drain.clone();
        let mut leaving = false;
        loop {
            if drain.is_stopping() && !leaving {
                leaving = true;
                self.session.shutdown();
            }
            while let Some(output) = self.session.poll_output() {
                match output {
                    Output::Write(octets) => self.conn.write(&octets).await?,
                    Output::StartTls => {
                        self.conn.start_tls(&self.context.tls).await?;
                        self.session.tls_started(now());
                    }
                    Output::Ask(ask) => self.answer(ask).await?,
                    Output::StopBody => self.body = None,
                    Output::Close => return self.conn.close().await,
                }
            }
            if self.body.is_some() {
                self.send_more().await;
                continue;
            }
            self.conn.flush().await?;
            let deadline = self.session.deadline();
            tokio::select! {
                read = self.conn.read(&mut buffer), if self.session.wants_input() => {
                    match buffer.get(..read?).unwrap_or_default() {
                        [] => self.session.receive_end(),
                        octets => self.session.receive(octets, now()),
                    }
                }
                () = until(deadline) => self.session.timeout(now()),
                () = drain.stopping(), if !leaving => {}
            }
        }
    }

    async fn answer(&mut self, ask: Ask) -> io::Result<()> {
        // The answer may take its time, and the client should have what came before.
        self.conn.flush().await?;
        match ask {
            Ask::Authenticate { mechanism, initial } => self.start_login(mechanism, initial).await,
            Ask::Respond(response) => self.respond(response).await,
            Ask::CancelAuthentication => {
                self.exchange = None;
                self.login = None;
            }
            Ask::Maildrop => self.open_maildrop().await,
            Ask::Body { uid_validity, uid, scope, .. } => self.open_body(uid_validity, uid, scope).await,
            Ask::Delete { uid_validity, uids } => self.delete(uid_validity, uids).await,
        }
        Ok(())
    }
}

async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
