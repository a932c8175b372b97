//! One SMTP session: the driver of `wire-smtp`'s server machine.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postroad_service::{Conn, Drain, Pass, TraceEvent};
use postroad_store::spool::NewRecipient;
use postroad_types::{Address, Reply, ReversePath, TraceId};
use postroad_wire_smtp::server::{Answer, Mail, Output, Recipient, Server, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::envelope::{Octets, envelope};
use super::intake::{Intake, Label, Whole, refusal};
use super::login::Login;
use super::{Door, Inbound, outcome};
use crate::clock::now;
use crate::consignment::reply;
use crate::message::received::Origin;
use crate::policy::verdict::Finding;
use crate::policy::{Client, Envelope};

/// What is read at once while commands are exchanged; an idle session holds no more than this.
const COMMAND_OCTETS: usize = 1024;
/// What is read at once while a body comes.
const BODY_OCTETS: usize = 64 * 1024;
/// A client that does not read our replies for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves one connection to its end.
pub async fn serve(inbound: Arc<Inbound>, door: Door, conn: Conn, drain: Drain) {
    let peer = conn.peer();
    let mut session = match Box::pin(Session::begin(inbound, door, conn)).await {
        Ok(session) => session,
        Err(error) => {
            tracing::info!(client = %peer, port = door.name(), %error, "no session with a client");
            return;
        }
    };
    metrics::counter!("postroad_mta_sessions_total", "port" => door.name()).increment(1);
    if let Err(error) = session.run(&drain).await {
        tracing::debug!(client = %peer, port = door.name(), %error, "a client went away");
    }
    session.give_up_transaction("connection lost");
}

pub(super) struct Session {
    pub(super) inbound: Arc<Inbound>,
    pub(super) door: Door,
    pub(super) conn: Conn,
    pub(super) server: Server,
    pub(super) client: Client,
    login: Login,
    /// Steps that belong to every message of this session.
    pub(super) steps: Vec<TraceEvent>,
    /// And those of its last HELO.
    pub(super) helo_steps: Vec<TraceEvent>,
    /// What policy found on connecting, and in the last HELO.
    pub(super) findings: Vec<Finding>,
    pub(super) helo_findings: Vec<Finding>,
    transaction: Option<Transaction>,
    /// Of a client behind a balancer.
    _pass: Option<Pass>,
}

/// What came since MAIL.
pub(super) struct Transaction {
    trace: TraceId,
    mail: Mail,
    recipients: Vec<NewRecipient>,
    known: HashSet<Address>,
    pub(super) steps: Vec<TraceEvent>,
    /// Marks on it.
    pub(super) findings: Vec<Finding>,
    /// Something was refused: worth a timeline even if nothing is accepted.
    pub(super) refused: bool,
    intake: Option<Intake>,
}

impl Session {
    async fn begin(inbound: Arc<Inbound>, door: Door, mut conn: Conn) -> io::Result<Session> {
        let proxy = conn.peer();
        let trusted = inbound.proxy_from.iter().any(|network| network.contains(&proxy.ip()));
        let from = if trusted { super::proxy::client(&mut conn).await? } else { proxy };
        let peer = from.ip();
        let pass = match trusted.then(|| inbound.behind_proxies.enter(peer)).transpose() {
            Ok(pass) => pass,
            Err(refusal) => {
                let text = door.crowded(inbound.relay.hostname.ascii());
                tokio::time::timeout(CLOSE_TIMEOUT, conn.write_all(&text)).await??;
                return Err(io::Error::other(refusal));
            }
        };
        let tls = match (door, &inbound.tls) {
            (Door::Submissions, Some(tls)) => {
                conn.start_tls(&tls.acceptor()).await?;
                Tls::Active
            }
            (Door::Submissions, None) => return Err(io::Error::other("there is no certificate")),
            (_, Some(_)) => Tls::Available,
            (_, None) => Tls::Unavailable,
        };
        let config = match door {
            Door::Relay => &inbound.relay,
            _ if inbound.allow_plaintext_auth.iter().any(|network| network.contains(&peer)) => {
                &inbound.plaintext_submission
            }
            _ => &inbound.submission,
        };
        let mut session = Session {
            server: Server::new(config.clone(), tls, Instant::now()),
            client: inbound.policy.client(peer, door.submits()),
            login: Login::default(),
            steps: Vec::new(),
            helo_steps: Vec::new(),
            findings: Vec::new(),
            helo_findings: Vec::new(),
            transaction: None,
            _pass: pass,
            door,
            conn,
            inbound,
        };
        let step = session.step("connected").with("client", from).with("port", door.name());
        let step = if trusted { step.with("proxy", proxy) } else { step };
        session.steps.push(step);
        session.note_tls();
        Ok(session)
    }

    /// Runs the dialogue until one side closes.
    async fn run(&mut self, drain: &Drain) -> io::Result<()> {
        let mut input = BytesMut::new();
        let mut told = drain.is_stopping();
        if told {
            self.server.shutdown(Instant::now());
        }
        let stopping = drain.stopping();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(stopping, timer);
        let mut armed = None;
        loop {
            while let Some(output) = self.server.poll_output() {
                if !self.carry_out(output).await? {
                    return Ok(());
                }
            }
            let deadline = self.server.poll_timeout();
            if deadline != armed {
                armed = deadline;
                if let Some(at) = deadline {
                    timer.as_mut().reset(at.into());
                }
            }
            let takes_body = self.transaction.as_ref().is_some_and(|t| t.intake.is_some());
            if input.capacity() == 0 {
                input.reserve(if takes_body { BODY_OCTETS } else { COMMAND_OCTETS });
            }
            tokio::select! {
                read = self.conn.read_buf(&mut input), if self.server.wants_read() => {
                    if read? == 0 {
                        self.server.end_of_input(Instant::now());
                    } else {
                        self.server.receive(Instant::now(), &input);
                        input.clear();
                        if takes_body != (input.capacity() > COMMAND_OCTETS) {
                            input = BytesMut::new();
                        }
                    }
                }
                () = &mut timer, if armed.is_some() => {
                    armed = None;
                    self.server.timed_out(Instant::now());
                }
                () = &mut stopping, if !told => {
                    told = true;
                    self.server.shutdown(Instant::now());
                }
            }
        }
    }

    /// Does what the machine wants; false when the session is over.
    async fn carry_out(&mut self, output: Output) -> io::Result<bool> {
        match output {
            Output::Write(octets) => {
                let write = async {
                    self.conn.write_all(&octets).await?;
                    self.conn.flush().await
                };
                tokio::time::timeout(WRITE_TIMEOUT, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
                Ok(true)
            }
            // Boxed, that a session that waits holds no room for all that could happen next.
            output => Box::pin(self.consider(output)).await,
        }
    }

    /// The same for what takes more than a moment.
    async fn consider(&mut self, output: Output) -> io::Result<bool> {
        match output {
            Output::Write(_) => {}
            Output::AskGreeting => {
                if let Some(answer) = self.greet().await? {
                    self.server.answer(Instant::now(), answer);
                }
            }
            Output::AskHello(hello) => {
                let inbound = self.inbound.clone();
                let outcome = inbound.policy.helo(&mut self.client, &hello).await;
                let answer = self.conclude_session(outcome);
                self.server.answer(Instant::now(), answer);
            }
            Output::AskMail(mail) => {
                let answer = self.mail(mail).await;
                self.server.answer(Instant::now(), answer);
            }
            Output::AskRecipient(recipient) => {
                let answer = self.recipient(recipient).await;
                self.server.answer(Instant::now(), answer);
            }
            Output::AskVerify { expand, argument } => {
                let inbound = self.inbound.clone();
                let outcome = inbound.policy.verify(&mut self.client, expand, &argument).await;
                self.server.answer_verify(Instant::now(), outcome);
            }
            Output::AskBody => {
                let answer = self.body().await;
                self.server.answer(Instant::now(), answer);
            }
            Output::Body(chunk) => self.body_chunk(&chunk).await,
            Output::BodyEnd => {
                let reply = self.body_end().await;
                self.server.answer_message(Instant::now(), reply);
            }
            Output::BodyAbort => self.give_up_transaction("message not finished"),
            Output::AskAuth(step) => {
                let (answer, account) =
                    self.login.step(&self.inbound.directory, self.client.peer, step).await;
                if let Some(account) = account {
                    tracing::info!(client = %self.client.peer, account = account.address, "logged in");
                    self.steps.push(self.step("auth").with("account", &account.address));
                    self.client.account = Some(account);
                }
                self.server.answer_auth(Instant::now(), answer);
            }
            Output::AuthAborted => self.login.abort(),
            Output::StartTls => {
                let Some(tls) = &self.inbound.tls else {
                    return Err(io::Error::other("there is no certificate"));
                };
                let acceptor = tls.acceptor();
                if let Err(error) = self.conn.start_tls(&acceptor).await {
                    tracing::info!(client = %self.client.peer, port = self.door.name(), %error, "no TLS with a client");
                    return Ok(false);
                }
                // RFC 3207 §4.2: nothing that was learned in clear counts any more.
                self.client.account = None;
                self.client.hello = None;
                self.login.abort();
                self.note_tls();
                self.server.tls_established(Instant::now());
            }
            Output::Anomaly(anomaly) => {
                tracing::info!(client = %self.client.peer, port = self.door.name(), ?anomaly, "odd client");
                metrics::counter!("postroad_mta_anomalies_total").increment(1);
            }
            Output::Close => {
                // A client that is gone already is no loss.
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.conn.shutdown()).await;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn mail(&mut self, mut mail: Mail) -> Answer {
        self.give_up_transaction("begun anew");
        let trace = TraceId::random();
        let step = self.step("mail").with("from", &mail.reverse_path);
        mail.reverse_path = self.inbound.policy.sender(&mail.reverse_path);
        let outcome = self.inbound.policy.mail(&self.client, &mail.reverse_path, trace).await;
        let mut transaction = Transaction {
            trace,
            mail,
            recipients: Vec::new(),
            known: HashSet::new(),
            steps: Vec::new(),
            findings: Vec::new(),
            refused: false,
            intake: None,
        };
        let answer = self.conclude(&mut transaction, step, outcome).await;
        self.transaction = Some(transaction);
        if answer != Answer::Accept {
            self.give_up_transaction("sender refused");
        }
        answer
    }

    async fn recipient(&mut self, recipient: Recipient) -> Answer {
        let Some(mut transaction) = self.transaction.take() else { return out_of_order() };
        let asked = Instant::now();
        let envelope = Envelope {
            sender: &transaction.mail.reverse_path,
            accepted: transaction.recipients.len(),
            score: self.score(&transaction),
            trace: transaction.trace,
        };
        let inbound = self.inbound.clone();
        let (outcome, accepted) = inbound.policy.rcpt(&mut self.client, envelope, &recipient.path).await;
        let mut step = self.step("rcpt").with("to", &recipient.path).took(asked.elapsed());
        if let Some(accepted) = accepted {
            step = step.with("how", accepted.how);
            // The same recipient twice is one recipient (RFC 5321 §4.1.1.3 leaves it to us).
            if transaction.known.insert(accepted.address.clone()) {
                let Recipient { notify, original, .. } = recipient;
                transaction.recipients.push(NewRecipient { address: accepted.address, original, notify });
            }
        }
        let answer = self.conclude(&mut transaction, step, outcome).await;
        self.transaction = Some(transaction);
        answer
    }

    async fn body(&mut self) -> Answer {
        let Some(mut transaction) = self.transaction.take() else { return out_of_order() };
        let size_hint = transaction.mail.declared_octets.unwrap_or(0);
        let answer = match self.inbound.queue.create(size_hint).await {
            Ok(message) => {
                let label = self.label(&transaction);
                let stage = self.inbound.policy.data(&self.client, self.score(&transaction));
                transaction.intake = Some(Intake::new(message, label, stage));
                Answer::Accept
            }
            Err(error) => Answer::Refuse(refusal(&error)),
        };
        self.transaction = Some(transaction);
        answer
    }

    fn label(&self, transaction: &Transaction) -> Label {
        let hello = self.server.session().hello();
        let smtputf8 = transaction.mail.smtputf8;
        let origin = Origin {
            peer: self.client.peer,
            name: self.client.name.clone(),
            hidden: self.inbound.policy.hides(&self.client),
            hello: hello.map(|hello| hello.name.clone()).unwrap_or_default(),
            hello_host: hello.and_then(|hello| hello.host.clone()),
            protocol: self.server.session().protocol(smtputf8),
            tls: self.conn.tls().map(|tls| format!("{} with cipher {}", tls.version, tls.cipher)),
            smtputf8,
        };
        Label {
            origin,
            hostname: self.inbound.relay.hostname.ascii().to_owned(),
            sender: transaction.mail.reverse_path.clone(),
            recipients: transaction.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            submitted: self.client.submits,
            adopt_trace: self.inbound.adopt_trace,
            trace: transaction.trace,
            now: now(&*self.inbound.clock),
            findings: self.marks(transaction).cloned().collect(),
        }
    }

    async fn body_chunk(&mut self, chunk: &[u8]) {
        let Some(mut transaction) = self.transaction.take() else { return };
        if let Some(mut intake) = transaction.intake.take() {
            match intake.push(chunk).await {
                Ok(()) => transaction.intake = Some(intake),
                // What came of it is dropped; the machine reads the rest and says why.
                Err(reply) => {
                    self.note_refused_message(&mut transaction, &mut intake, &reply);
                    self.server.refuse_body(Instant::now(), reply);
                }
            }
        }
        self.transaction = Some(transaction);
    }

    /// Makes the message durable; the reply is 250 only then.
    async fn body_end(&mut self) -> Reply {
        let Some(mut transaction) = self.transaction.take() else { return no_message() };
        let Some(mut intake) = transaction.intake.take() else { return no_message() };
        if let Err(reply) = intake.end().await {
            self.note_refused_message(&mut transaction, &mut intake, &reply);
            self.transaction = Some(transaction);
            self.give_up_transaction("message refused");
            return reply;
        }
        self.note_outcomes(&mut transaction, &intake.take_outcomes());
        let whole = intake.whole();
        let Whole { message, trace, header_is_ascii, is_ascii } = whole;
        transaction.trace = trace;
        let id = message.id().clone();
        let accepted_at = now(&*self.inbound.clock);
        let lifetime = self.inbound.queue.settings().lifetime;
        let sender = transaction.mail.reverse_path.clone();
        let recipients = std::mem::take(&mut transaction.recipients);
        let count = recipients.len();
        let octets = Octets { is_ascii, header_is_ascii };
        let envelope = envelope(&transaction.mail, recipients, octets, trace, accepted_at, lifetime);
        let begun = Instant::now();
        // The message's steps stand before those of its first attempt.
        transaction.tell(self.session_steps(), Some(&id), &self.inbound.trace_log);
        let step = self.step("accepted").with("from", &sender).with("recipients", count);
        if let Err(error) = self.inbound.queue.accept(message, envelope).await {
            let reply = refusal(&error);
            let step = TraceEvent { trace_id: trace, name: "not accepted".to_owned(), ..step };
            self.inbound.trace_log.record(step.queue_id(&id).with("reply", &reply));
            return reply;
        }
        let took = begun.elapsed();
        metrics::histogram!("postroad_mta_commit_seconds").record(took.as_secs_f64());
        metrics::counter!("postroad_mta_messages_accepted_total", "port" => self.door.name()).increment(1);
        let step = TraceEvent { trace_id: trace, ..step }.queue_id(&id).took(took);
        self.inbound.trace_log.record(step);
        tracing::info!(
            queue_id = %id, %trace, from = %Shown(&sender), recipients = count, client = %self.client.peer,
            flush_us = took.as_micros(), "accepted"
        );
        reply(250, (2, 0, 0), format!("queued as {id}"))
    }

    /// The transaction comes to nothing. Its steps are kept if one of them was a refusal.
    fn give_up_transaction(&mut self, why: &'static str) {
        if let Some(mut transaction) = self.transaction.take()
            && (transaction.refused || transaction.intake.is_some())
        {
            let step = self.step("not accepted").with("why", why);
            transaction.steps.push(step);
            transaction.tell(self.session_steps(), None, &self.inbound.trace_log);
        }
    }

    fn note_refused_message(&self, transaction: &mut Transaction, intake: &mut Intake, reply: &Reply) {
        tracing::info!(client = %self.client.peer, port = self.door.name(), %reply, "message refused");
        metrics::counter!("postroad_mta_refused_total", "stage" => "data").increment(1);
        let outcomes = intake.take_outcomes();
        self.note_outcomes(transaction, &outcomes);
        let step = self.step("data");
        transaction.steps.push(match outcomes.last() {
            Some(outcome) => outcome::refused(step, outcome, reply),
            None => step.with("reply", reply),
        });
        transaction.refused = true;
    }

    fn session_steps(&self) -> impl Iterator<Item = TraceEvent> {
        self.steps.iter().chain(&self.helo_steps).cloned()
    }

    fn note_tls(&mut self) {
        if let Some(tls) = self.conn.tls() {
            let step = self.step("tls").with("version", tls.version).with("cipher", &tls.cipher);
            self.steps.push(step);
            self.client.tls = true;
            self.login.channel_binding = self.conn.channel_binding().map(Vec::from).unwrap_or_default();
            self.server.binds_channel(!self.login.channel_binding.is_empty());
        }
    }

    /// A step whose trace id is filled in later.
    pub(super) fn step(&self, name: &'static str) -> TraceEvent {
        TraceEvent::new(self.inbound.clock.now_us(), TraceId::new([0; 16]), name)
    }
}

impl Transaction {
    /// Records the session's and the transaction's steps under the message's ids.
    fn tell(
        &mut self,
        session: impl Iterator<Item = TraceEvent>,
        id: Option<&postroad_types::QueueId>,
        log: &postroad_service::TraceLog,
    ) {
        for step in session.chain(self.steps.drain(..)) {
            log.record(TraceEvent { trace_id: self.trace, queue_id: id.cloned(), ..step });
        }
    }
}

/// A sender in the log: `<>` for the null one.
struct Shown<'a>(&'a ReversePath);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}>", self.0)
    }
}

fn out_of_order() -> Answer {
    Answer::Refuse(reply(503, (5, 5, 1), "say MAIL first"))
}

fn no_message() -> Reply {
    reply(451, (4, 3, 0), "the message was lost on its way in, send it again")
}
