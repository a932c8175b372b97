//! Making a connection ready for mail: TCP, greeting, TLS as policy says, AUTH for a smarthost.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postroad_config::Protocol;
use postroad_types::{EnhancedCode, Host, Reply};
use postroad_wire_smtp::client::{self, Ending, Stage, Timeouts};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::session::{Session, StartTlsError};
use super::tls::{TlsFailures, TlsTrust};
use crate::route::{Hop, TlsPolicy};

/// What an operator decides about the way out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Said in EHLO.
    pub hello: Host,
    /// Local addresses, the first of a family is used for it; empty: as the system chooses.
    pub source: Vec<IpAddr>,
    pub tls: TlsPolicy,
    /// For TCP.
    pub connect_timeout: Duration,
    pub timeouts: Timeouts,
    /// A connection waits so long for another message; zero: not at all.
    pub reuse_idle: Duration,
    /// Connections of one host that wait.
    pub idle_per_host_max: usize,
}

impl Settings {
    /// As `[mta]` of the configuration says.
    pub fn new(hello: Host, config: &postroad_config::Mta) -> Self {
        let command = config.command_timeout;
        Settings {
            hello,
            source: config.source.clone(),
            tls: config.tls_outbound.into(),
            connect_timeout: config.connect_timeout,
            timeouts: Timeouts {
                greeting: command,
                command,
                mail: command,
                recipient: command,
                data_start: command,
                data_block: command,
                data_end: config.data_end_timeout,
            },
            reuse_idle: config.reuse_idle,
            idle_per_host_max: config.destination_connections_max,
        }
    }
}

/// Why a host took no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect: {0}")]
    Tcp(#[from] io::Error),
    #[error("{0}")]
    Ended(Ending),
    #[error("TLS is demanded, and {0}")]
    NoTls(String),
    #[error("TLS is demanded, and the handshake failed: {0}")]
    Handshake(String),
    #[error("authentication failed: {0}")]
    Auth(String),
}

impl ConnectError {
    /// Whether the host did answer, if only to turn us away.
    pub fn is_answer(&self) -> bool {
        matches!(self, ConnectError::Ended(Ending::Refused { .. }) | ConnectError::Auth(_))
    }

    /// Whether the host says that it never takes mail from us (RFC 5321 §3.1, RFC 7504).
    pub fn is_permanent(&self) -> bool {
        matches!(self, ConnectError::Ended(Ending::Refused { reply, .. }) if reply.is_permanent())
    }

    /// For the queue and for bounces: the host's words, or ours.
    pub fn reply(&self, hop: &Hop) -> Reply {
        let code = match self {
            ConnectError::Ended(Ending::Refused { reply, .. }) => return reply.clone(),
            ConnectError::Tcp(_) => EnhancedCode::new(4, 4, 1),
            ConnectError::Ended(Ending::TimedOut { stage: Stage::Greeting }) => EnhancedCode::new(4, 4, 1),
            ConnectError::Ended(Ending::Protocol { .. }) => EnhancedCode::new(4, 5, 0),
            ConnectError::Ended(_) => EnhancedCode::new(4, 4, 2),
            ConnectError::NoTls(_) => EnhancedCode::new(4, 7, 0),
            ConnectError::Handshake(_) => EnhancedCode::new(4, 7, 5),
            ConnectError::Auth(_) => EnhancedCode::new(4, 7, 8),
        };
        let Hop { name, address, .. } = hop;
        Reply::new(451, code, format!("{name} [{}]:{}: {self}", address.ip(), address.port()))
    }
}

/// Makes connections ready for mail.
#[derive(Debug)]
pub struct Connector {
    settings: Settings,
    trust: TlsTrust,
    failures: TlsFailures,
}

impl Connector {
    pub fn new(settings: Settings, trust: TlsTrust) -> Self {
        Connector { settings, trust, failures: TlsFailures::default() }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A session with this host, up to where a message can be sent.
    pub async fn connect(&self, hop: &Hop) -> Result<Session, ConnectError> {
        let mut session = self.connect_for_tls(hop).await?;
        if let Some(credentials) = &hop.terms.credentials {
            session.authenticate(credentials).await.map_err(ConnectError::Auth)?;
        }
        Ok(session)
    }

    async fn connect_for_tls(&self, hop: &Hop) -> Result<Session, ConnectError> {
        let policy = hop.terms.tls.unwrap_or(self.settings.tls);
        if hop.terms.protocol == Protocol::Smtps {
            return self.greet_over_tls(hop, policy).await;
        }
        let mut session = self.greet(hop).await?;
        if policy == TlsPolicy::Off {
            return Ok(session);
        }
        let offered = session.client().capabilities().starttls;
        let without = match self.failures.get(&hop.address) {
            _ if !offered => "the server does not offer STARTTLS".to_owned(),
            Some(why) if policy == TlsPolicy::Opportunistic => format!("it failed a while ago: {why}"),
            _ => match session.start_tls(&self.trust, policy).await {
                Ok(()) => return Ok(session),
                Err(StartTlsError::Refused(reply)) => format!("the server refuses it now: {reply}"),
                // A server that is busy says nothing about its TLS.
                Err(StartTlsError::Ended(ending))
                    if policy == TlsPolicy::Require || matches!(ending, Ending::Refused { .. }) =>
                {
                    return Err(ConnectError::Ended(ending));
                }
                Err(StartTlsError::Failed(why)) if policy == TlsPolicy::Require => {
                    return Err(ConnectError::Handshake(why));
                }
                // The connection is gone; what the server cannot do under TLS it may do without.
                Err(error) => {
                    let why = match error {
                        StartTlsError::Ended(ending) => ending.to_string(),
                        StartTlsError::Failed(why) | StartTlsError::Refused(why) => why,
                    };
                    tracing::info!(
                        host = %hop.name, address = %hop.address, %why,
                        "TLS failed; mail for this server goes in the clear for a while"
                    );
                    metrics::counter!("postroad_mta_outbound_tls_failures_total").increment(1);
                    self.failures.add(hop.address, why.clone());
                    session = self.greet(hop).await?;
                    why
                }
            },
        };
        if policy == TlsPolicy::Require {
            session.quit().await;
            return Err(ConnectError::NoTls(without));
        }
        session.facts.without_tls = Some(without);
        Ok(session)
    }

    /// TCP, greeting, EHLO.
    async fn greet(&self, hop: &Hop) -> Result<Session, ConnectError> {
        let began = Instant::now();
        let tcp = self.tcp(hop.address).await?;
        let mut session = Session::new(tcp, hop.clone(), self.client(hop), began)?;
        session.until_ready().await.map_err(ConnectError::Ended)?;
        Ok(session)
    }

    /// The same with TLS from the first octet; there is no way back to plaintext.
    async fn greet_over_tls(&self, hop: &Hop, policy: TlsPolicy) -> Result<Session, ConnectError> {
        let began = Instant::now();
        let tcp = self.tcp(hop.address).await?;
        let (stream, facts) =
            self.trust.handshake(policy, &hop.name, tcp).await.map_err(ConnectError::Handshake)?;
        let mut session = Session::over_tls(stream, facts, hop.clone(), self.client(hop), began)?;
        session.until_ready().await.map_err(ConnectError::Ended)?;
        Ok(session)
    }

    /// How this host is spoken to.
    fn client(&self, hop: &Hop) -> Arc<client::Config> {
        let hello = self.settings.hello.clone();
        let base = match hop.terms.protocol {
            Protocol::Smtp | Protocol::Smtps => client::Config::smtp(hello),
            Protocol::Lmtp => client::Config::lmtp(hello),
        };
        // In clear a password stays on this machine, and only where the operator switched TLS off.
        let allow_plaintext_auth = hop.terms.tls == Some(TlsPolicy::Off) && hop.address.ip().is_loopback();
        Arc::new(client::Config { timeouts: self.settings.timeouts, allow_plaintext_auth, ..base })
    }

    async fn tcp(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.settings.source.iter().find(|ip| ip.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(*source, 0))?;
        }
        let late = |_| {
            let text = format!("no answer in {} s", self.settings.connect_timeout.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, text)
        };
        tokio::time::timeout(self.settings.connect_timeout, socket.connect(address)).await.map_err(late)?
    }
}
