//! One attempt: the hosts of a destination in their order, until each recipient is decided or none is left.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postroad_config::Protocol;
use postroad_service::{Clock, TraceEvent, TraceLog};
use postroad_store::StoreError;
use postroad_store::spool::{Attempt, Micros};
use postroad_types::{ByMode, DeliveryResult, EnhancedCode, Reply, limits};
use postroad_wire_smtp::client::{Cause, Message, RecipientOutcome, Stage, To};
use postroad_wire_smtp::server::By;
use tokio::time::Instant;

use super::connect::{ConnectError, Connector, Settings};
use super::pool::Pool;
use super::session::{ContentBody, Session};
use super::tls::TlsTrust;
use crate::consignment::{Consignment, Handover, Outcome, Recipient, Relay, Report};
use crate::queue::{Contact, SELF};
use crate::route::{Destination, Hop};

/// The relay over SMTP.
#[derive(Debug)]
pub struct SmtpRelay {
    connector: Connector,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
    trace_log: TraceLog,
}

impl SmtpRelay {
    pub fn new(settings: Settings, trust: TlsTrust, clock: Arc<dyn Clock>, trace_log: TraceLog) -> Self {
        let pool = Pool::new(settings.reuse_idle, settings.idle_per_host_max);
        SmtpRelay { connector: Connector::new(settings, trust), pool, clock, trace_log }
    }

    /// Connections that wait for mail.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

#[async_trait]
impl Relay for SmtpRelay {
    async fn relay(&self, consignment: &Consignment, destination: &Destination) -> Report {
        let mut trial = Trial::new(consignment, self.clock.as_ref());
        let mut hops = destination.hops(&mut rand::rng());
        if consignment.must_have_tls() {
            if !destination.secure {
                let text = "the message may go over TLS alone, and DNS does not vouch for its mail hosts";
                trial.reject(Reply::new(550, EnhancedCode::new(5, 7, 30), text));
                return trial.report();
            }
            let terms = Arc::new(destination.terms.with_tls_alone());
            hops.iter_mut().for_each(|hop| hop.terms = terms.clone());
        }
        let bound = Duration::from_secs(limits::RELAY_SECONDS_MAX);
        if tokio::time::timeout(bound, self.try_all(&mut trial, &hops)).await.is_err() {
            let text = format!("no decision in {} s", limits::RELAY_SECONDS_MAX);
            trial.defer_rest(Reply::new(451, EnhancedCode::new(4, 4, 7), text));
        }
        trial.report()
    }

    async fn close_idle(&self) {
        self.pool.close().await;
    }
}

impl SmtpRelay {
    async fn try_all(&self, trial: &mut Trial<'_>, hops: &[Hop]) {
        // Hosts that had their say about this message; their other addresses would say the same.
        let mut answered: Vec<&str> = Vec::new();
        for hop in hops {
            if trial.open.is_empty() || answered.len() >= limits::RELAY_SESSIONS_MAX {
                return;
            }
            if !answered.contains(&&*hop.name) && self.try_hop(trial, hop).await {
                answered.push(&hop.name);
            }
        }
    }

    /// Whether the host had its say about the recipients.
    async fn try_hop(&self, trial: &mut Trial<'_>, hop: &Hop) -> bool {
        if let Some(session) = self.pool.take(hop)
            && let Some(answered) = self.try_session(trial, session, true).await
        {
            return answered;
        }
        let (began_us, began) = (self.clock.now_us(), Instant::now());
        match self.connector.connect(hop).await {
            Ok(session) => self.try_session(trial, session, false).await.unwrap_or(false),
            Err(error) => {
                let step = self.step(trial, hop, began_us).took(began.elapsed()).with("error", &error);
                self.trace_log.record(step);
                metrics::counter!("postroad_mta_outbound_connections_total", "outcome" => "failed")
                    .increment(1);
                trial.turned_away(hop, &error);
                false
            }
        }
    }

    /// Sends the message to all recipients that are open. `None` if a connection that had waited turns out to be dead
    /// before the host has seen anything of it; else whether the host had its say.
    async fn try_session(&self, trial: &mut Trial<'_>, mut session: Session, waited: bool) -> Option<bool> {
        let (began_us, began) = (self.clock.now_us(), Instant::now());
        if !waited {
            metrics::counter!("postroad_mta_outbound_connections_total", "outcome" => "made").increment(1);
        }
        let mut body = ContentBody::new(&trial.consignment.content);
        let Ok(outcome) = session.send(trial.message(), &mut body).await else { return None };
        let lost_early = |to: &RecipientOutcome| {
            to.cause == Cause::Connection && matches!(to.stage, Stage::Reset | Stage::Mail | Stage::Idle)
        };
        if waited && outcome.recipients.iter().all(|to| lost_early(to) || is_farewell(to)) {
            return None;
        }
        let facts = session.facts();
        let mut step = self.step(trial, &facts.hop, began_us).took(began.elapsed());
        step = step.with("from_ip", facts.local.ip());
        step = match (&facts.tls, &facts.without_tls) {
            (Some(tls), _) => step.with("tls", tls),
            (None, Some(why)) => step.with("tls", format!("none: {why}")),
            (None, None) => step.with("tls", "none"),
        };
        step = match waited {
            true => step.with("connection", "reused"),
            false => step.with("connection", format!("new, ready in {} ms", facts.opening.as_millis())),
        };
        let hop = facts.hop.clone();
        let dialogue = session.take_dialogue();
        if outcome.recipients.iter().any(|to| !to.reply.is_positive()) {
            step = step.with("dialogue", dialogue.join("\n"));
        }
        self.trace_log.record(step);
        // A server that broke off, or is too busy, said nothing about the message: another address of the same host
        // may do better.
        let had_its_say =
            outcome.recipients.iter().any(|to| to.cause != Cause::Connection && to.reply.code != 421);
        if let Some(error) = session.take_body_error() {
            trial.unreadable(&error);
        } else {
            trial.decided_by(&hop, outcome.recipients, outcome.dsn);
        }
        if outcome.reusable {
            self.pool.put(session);
        }
        Some(had_its_say)
    }

    fn step(&self, trial: &Trial<'_>, hop: &Hop, at_us: u64) -> TraceEvent {
        TraceEvent::new(at_us, trial.consignment.trace, "smtp")
            .queue_id(&trial.consignment.id)
            .with("host", shown(hop))
    }
}

/// 421 to the first command: the server had just given the connection up.
fn is_farewell(to: &RecipientOutcome) -> bool {
    to.reply.code == 421 && matches!(to.stage, Stage::Reset | Stage::Mail | Stage::Idle)
}

/// An attempt under way.
struct Trial<'a> {
    consignment: &'a Consignment,
    clock: &'a dyn Clock,
    /// Per recipient, the last that was heard.
    outcomes: Vec<Option<Outcome>>,
    /// Recipients that are to be offered to the next host.
    open: Vec<usize>,
    /// A host answered, whatever it said.
    reached: bool,
    /// The last host that could not be reached or turned us away, and whether all have done so for good.
    away: Option<(Outcome, bool)>,
}

impl<'a> Trial<'a> {
    fn new(consignment: &'a Consignment, clock: &'a dyn Clock) -> Self {
        let recipients = consignment.recipients.len();
        Trial {
            consignment,
            clock,
            outcomes: vec![None; recipients],
            open: (0..recipients).collect(),
            reached: false,
            away: None,
        }
    }

    fn message(&self) -> Message {
        let consignment = self.consignment;
        let to = |recipient: &Recipient| To {
            address: recipient.address.clone(),
            notify: recipient.notify,
            original: recipient.original.clone(),
        };
        let recipients = self.open.iter().filter_map(|index| consignment.recipients.get(*index)).map(to);
        let options = &consignment.options;
        let now = crate::clock::now(self.clock);
        Message {
            octets: consignment.content.size_octets,
            body: consignment.body,
            smtputf8: consignment.smtputf8,
            envelope_id: consignment.envelope_id.clone(),
            ret: options.ret,
            require_tls: consignment.must_have_tls(),
            priority: options.priority,
            deliver_by: options.deliver_by.map(|by| By {
                seconds: seconds_left(now, by.at, by.mode),
                mode: by.mode,
                trace: by.trace,
            }),
            ..Message::new(consignment.reverse_path.clone(), recipients.collect())
        }
    }

    fn turned_away(&mut self, hop: &Hop, error: &ConnectError) {
        self.reached |= error.is_answer();
        let all_for_good = error.is_permanent() && self.away.as_ref().is_none_or(|(_, for_good)| *for_good);
        let result = DeliveryResult::Deferred(error.reply(hop));
        self.away = Some((Outcome::new(result, shown(hop)), all_for_good));
    }

    fn decided_by(&mut self, hop: &Hop, outcomes: Vec<RecipientOutcome>, dsn: bool) {
        let handover = match (hop.terms.protocol, dsn) {
            (_, true) => Handover::DsnHost,
            (Protocol::Lmtp, false) => Handover::Mailbox,
            (Protocol::Smtp | Protocol::Smtps, false) => Handover::Host,
        };
        match outcomes.iter().find(|outcome| outcome.cause == Cause::Connection) {
            Some(lost) if outcomes.iter().all(|outcome| outcome.cause == Cause::Connection) => {
                let result = DeliveryResult::Deferred(lost.reply.clone());
                self.away = Some((Outcome::new(result, shown(hop)), false));
            }
            _ => self.reached = true,
        }
        let open = std::mem::take(&mut self.open);
        for (index, outcome) in open.into_iter().zip(outcomes) {
            let maybe_taken = outcome.cause == Cause::Connection && outcome.stage == Stage::DataEnd;
            let ours = outcome.cause != Cause::Server;
            // An obstacle is this host's; another one may not have it.
            let is_open = !outcome.reply.is_positive()
                && !maybe_taken
                && (outcome.reply.is_transient() || matches!(outcome.cause, Cause::Obstacle(_)));
            if is_open {
                self.open.push(index);
            }
            let mut reply = outcome.reply;
            if ours {
                reply.text = format!("{}: {}", shown(hop), reply.text);
            }
            let result = match reply.code {
                200..300 => DeliveryResult::Delivered(reply),
                500..600 => DeliveryResult::Rejected(reply),
                _ => DeliveryResult::Deferred(reply),
            };
            if let Some(slot) = self.outcomes.get_mut(index) {
                *slot = Some(Outcome { handover, ..Outcome::new(result, shown(hop)) });
            }
        }
    }

    /// The message cannot be read: no other host would get it either.
    fn unreadable(&mut self, error: &StoreError) {
        tracing::error!(queue_id = %self.consignment.id, %error, "a message cannot be read from the spool");
        let text = format!("the message cannot be read: {error}");
        self.defer_rest(Reply::new(451, EnhancedCode::new(4, 3, 0), text));
    }

    /// Nothing can be done.
    fn reject(&mut self, reply: Reply) {
        self.reached = true;
        for slot in &mut self.outcomes {
            *slot = Some(Outcome::new(DeliveryResult::Rejected(reply.clone()), SELF));
        }
    }

    fn defer_rest(&mut self, reply: Reply) {
        for index in std::mem::take(&mut self.open) {
            if let Some(slot) = self.outcomes.get_mut(index) {
                let result = DeliveryResult::Deferred(reply.clone());
                *slot = Some(Outcome::new(result, SELF));
            }
        }
    }

    fn report(self) -> Report {
        let nothing = Reply::new(451, EnhancedCode::new(4, 4, 4), "the destination has no host to try");
        let nothing = Outcome::new(DeliveryResult::Deferred(nothing), SELF);
        let (away, for_good) = self.away.unwrap_or((nothing, false));
        let contact = if self.reached {
            Contact::Reached
        } else {
            let at = crate::clock::now(self.clock);
            Contact::Unreachable(Attempt { at, host: away.host.clone(), reply: words(&away.result) })
        };
        let unheard = match away.result {
            // Every host says that it never takes mail from us.
            DeliveryResult::Deferred(reply) if for_good => {
                Outcome::new(DeliveryResult::Rejected(reply), away.host)
            }
            result => Outcome::new(result, away.host),
        };
        let outcomes = self.outcomes.into_iter().map(|said| said.unwrap_or_else(|| unheard.clone()));
        Report { outcomes: outcomes.collect(), contact }
    }
}

/// Of a message's time (RFC 2852 §4.1.4): what is to be returned is not sent without any.
fn seconds_left(now: Micros, at: Micros, mode: ByMode) -> i32 {
    let least = if mode == ByMode::Return { 1 } else { -999_999_999 };
    let seconds = (at.saturating_sub(now) / 1_000_000).clamp(least, 999_999_999);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

fn words(result: &DeliveryResult) -> Reply {
    match result {
        DeliveryResult::Delivered(reply)
        | DeliveryResult::Deferred(reply)
        | DeliveryResult::Rejected(reply) => reply.clone(),
        DeliveryResult::Expanded(_) => Reply::plain(250, ""),
    }
}

/// `mx.beta.test [192.0.2.1]:25`.
fn shown(hop: &Hop) -> String {
    format!("{} [{}]:{}", hop.name, hop.address.ip(), hop.address.port())
}
