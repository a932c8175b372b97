//! MAIL, RCPT and DATA: as many in one packet as PIPELINING allows (RFC 2920), and what each recipient hears.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use postroad_types::{
    Address, BodyKind, ByMode, EnhancedCode, Host, Notify, Reply, Ret, ReversePath, limits,
};

use super::{
    Awaited, Cause, Client, Ending, Message, NotReady, Obstacle, Outcome, Output, Phase, RecipientOutcome,
    Stage, To,
};
use crate::codec::dot::Stuffer;
use crate::codec::xtext;

/// A message under way.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) message: Message,
    /// Per recipient; `None` until it is decided.
    pub(super) outcomes: Vec<Option<RecipientOutcome>>,
    /// Recipients that RCPT accepted.
    pub(super) accepted: Vec<usize>,
    pub(super) progress: Progress,
    /// SMTPUTF8 is said for it.
    utf8: bool,
    /// The server knows DSN.
    dsn: bool,
    /// The server has no envelope of it (any more).
    pub(super) body_done: bool,
}

/// What has been sent.
#[derive(Debug)]
pub(super) enum Progress {
    Mail,
    /// Up to this recipient; DATA follows.
    Recipient(usize),
    /// DATA was sent, or BDAT is to be.
    EnvelopeSent,
    Data(Stuffer),
    /// The chunk that may turn out to be the last.
    Chunks(Option<Bytes>),
    BodySent,
}

impl Transaction {
    /// The server's decision about one recipient; the first one stands.
    pub(super) fn decide(&mut self, index: usize, stage: Stage, reply: &Reply) {
        if let Some(outcome @ None) = self.outcomes.get_mut(index) {
            let reply = reply.clone();
            *outcome = Some(RecipientOutcome { stage, cause: Cause::Server, reply });
        }
    }

    /// The server's decision about all that are undecided.
    pub(super) fn decide_all(&mut self, stage: Stage, reply: &Reply) {
        for index in 0..self.outcomes.len() {
            self.decide(index, stage, reply);
        }
    }

    fn is_hopeless(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    fn is_undecided(&self, index: usize) -> bool {
        matches!(self.outcomes.get(index), Some(None))
    }

    fn obstruct(&mut self, index: usize, obstacle: Obstacle) {
        if let Some(outcome @ None) = self.outcomes.get_mut(index) {
            let (code, enhanced) = match obstacle {
                Obstacle::NoEightBitMime | Obstacle::NoBinaryMime => (554, EnhancedCode::new(5, 6, 3)),
                // RFC 8689 §4.2.1.
                Obstacle::NoRequireTls => (550, EnhancedCode::new(5, 7, 30)),
                Obstacle::NoDeliverBy => (554, EnhancedCode::new(5, 3, 3)),
                Obstacle::TooManyRecipients(_) => (452, EnhancedCode::new(4, 5, 3)),
                Obstacle::NoSmtputf8 => (553, EnhancedCode::new(5, 6, 7)),
                Obstacle::TooLarge(_) => (552, EnhancedCode::new(5, 3, 4)),
            };
            *outcome = Some(RecipientOutcome {
                stage: Stage::Mail,
                cause: Cause::Obstacle(obstacle),
                reply: Reply::new(code, enhanced, obstacle.to_string()),
            });
        }
    }

    /// The connection ended: who had no answer yet is to be tried again.
    pub(super) fn broken_off(mut self, ending: &Ending) -> Outcome {
        if let Ending::Refused { stage, reply } = ending
            && (reply.code == 421 || *stage == Stage::Body)
        {
            self.decide_all(*stage, reply);
        }
        let (stage, code) = match ending {
            Ending::Disconnected { stage } | Ending::TimedOut { stage } => {
                (*stage, EnhancedCode::new(4, 4, 2))
            }
            Ending::Protocol { stage, .. } => (*stage, EnhancedCode::new(4, 5, 0)),
            Ending::Refused { stage, .. } => (*stage, EnhancedCode::new(4, 4, 2)),
            Ending::Quit | Ending::BodyFailed => (Stage::Body, EnhancedCode::new(4, 3, 0)),
        };
        let lost = RecipientOutcome {
            stage,
            cause: Cause::Connection,
            reply: Reply::new(451, code, ending.to_string()),
        };
        self.into_outcome(&lost, false)
    }

    /// `otherwise` for whom nothing was decided.
    fn into_outcome(self, otherwise: &RecipientOutcome, reusable: bool) -> Outcome {
        let dsn = self.dsn;
        let outcomes = self.outcomes.into_iter();
        let recipients = outcomes.map(|outcome| outcome.unwrap_or_else(|| otherwise.clone())).collect();
        Outcome { recipients, reusable, dsn }
    }
}

impl Client {
    /// Sends a message. `WantBody` follows if somebody is accepted, and `Finished` in any case.
    pub fn send(&mut self, now: Instant, message: Message) -> Result<(), NotReady> {
        self.now = now;
        if !self.is_ready() {
            return Err(NotReady);
        }
        let mut transaction = Transaction {
            outcomes: vec![None; message.recipients.len()],
            accepted: Vec::new(),
            progress: Progress::Mail,
            body_done: true,
            utf8: self.capabilities.smtputf8 && needs_utf8(&message),
            dsn: self.capabilities.dsn,
            message,
        };
        self.look_for_obstacles(&mut transaction);
        let hopeless = transaction.is_hopeless();
        self.phase = Phase::Message(Box::new(transaction));
        if hopeless {
            self.finish();
            return Ok(());
        }
        if std::mem::take(&mut self.needs_reset) {
            self.command("RSET", Awaited::Reset);
        }
        self.send_envelope();
        Ok(())
    }

    /// Decides about recipients that this server cannot serve, before anything is sent.
    fn look_for_obstacles(&self, transaction: &mut Transaction) {
        let has = &self.capabilities;
        let message = &transaction.message;
        let utf8 = |address: &Address| !address.local.written().is_ascii();
        let for_all = if message.body == BodyKind::EightBitMime && !has.eight_bit_mime {
            Some(Obstacle::NoEightBitMime)
        } else if message.body == BodyKind::BinaryMime && !(has.binary_mime && has.chunking) {
            Some(Obstacle::NoBinaryMime)
        } else if message.require_tls && !(self.tls && has.require_tls) {
            Some(Obstacle::NoRequireTls)
        } else if !has.deliver_by && message.deliver_by.is_some_and(|by| by.mode == ByMode::Return) {
            Some(Obstacle::NoDeliverBy)
        } else if !has.smtputf8 && (message.smtputf8 || message.reverse_path.address().is_some_and(utf8)) {
            Some(Obstacle::NoSmtputf8)
        } else if let Some(Some(most)) = has.size
            && message.octets > most
        {
            Some(Obstacle::TooLarge(most))
        } else {
            None
        };
        for index in 0..transaction.outcomes.len() {
            let needs_utf8 = transaction.message.recipients.get(index).is_some_and(|to| utf8(&to.address));
            let too_many = has.recipients_max.filter(|most| index >= *most);
            let for_one = (needs_utf8 && !has.smtputf8)
                .then_some(Obstacle::NoSmtputf8)
                .or(too_many.map(Obstacle::TooManyRecipients));
            if let Some(obstacle) = for_all.or(for_one) {
                transaction.obstruct(index, obstacle);
            }
        }
    }

    /// Sends what may be sent now: all at once with PIPELINING, else one command.
    pub(super) fn send_envelope(&mut self) {
        let wants_chunks = self.config.chunking || self.sends_binary();
        let chunks = wants_chunks && self.capabilities.chunking;
        let ahead = if self.capabilities.pipelining { limits::SMTP_PIPELINE_MAX } else { 1 };
        while self.awaited.len() < ahead {
            let Phase::Message(transaction) = &mut self.phase else { return };
            match transaction.progress {
                Progress::Mail => {
                    transaction.progress = Progress::Recipient(0);
                    transaction.body_done = false;
                    let command = self.mail_command();
                    self.command(&command, Awaited::Mail);
                }
                Progress::Recipient(index) if index < transaction.message.recipients.len() => {
                    transaction.progress = Progress::Recipient(index + 1);
                    if transaction.is_undecided(index)
                        && let Some(to) = transaction.message.recipients.get(index)
                    {
                        let path = Path { address: &to.address, utf8: transaction.utf8 };
                        let mut command = format!("RCPT TO:<{path}>");
                        if transaction.dsn {
                            add_report_wishes(&mut command, to, transaction.utf8);
                        }
                        self.command(&command, Awaited::Recipient(index));
                    }
                }
                Progress::Recipient(_) if chunks || transaction.is_hopeless() => {
                    // The replies decide whether there will be a body at all.
                    if self.awaited.is_empty() {
                        self.envelope_answered();
                    }
                    return;
                }
                Progress::Recipient(_) => {
                    transaction.progress = Progress::EnvelopeSent;
                    self.command("DATA", Awaited::Data);
                }
                _ => return,
            }
        }
    }

    /// All replies to MAIL and RCPT are there, and DATA was not sent.
    fn envelope_answered(&mut self) {
        let Phase::Message(transaction) = &mut self.phase else { return };
        if transaction.accepted.is_empty() {
            self.finish();
        } else {
            transaction.progress = Progress::Chunks(None);
            self.rearm();
            self.outputs.push_back(Output::WantBody);
        }
    }

    fn sends_binary(&self) -> bool {
        matches!(&self.phase, Phase::Message(transaction) if transaction.message.body == BodyKind::BinaryMime)
    }

    fn mail_command(&self) -> String {
        let Phase::Message(transaction) = &self.phase else { return String::new() };
        let (message, has) = (&transaction.message, &self.capabilities);
        let mut command = match &message.reverse_path {
            ReversePath::Null => "MAIL FROM:<>".to_owned(),
            ReversePath::Address(address) => {
                format!("MAIL FROM:<{}>", Path { address, utf8: transaction.utf8 })
            }
        };
        if has.size.is_some() {
            command += &format!(" SIZE={}", message.octets);
        }
        match message.body {
            BodyKind::SevenBit => {}
            BodyKind::EightBitMime => command += " BODY=8BITMIME",
            BodyKind::BinaryMime => command += " BODY=BINARYMIME",
        }
        if transaction.utf8 {
            command += " SMTPUTF8";
        }
        if has.dsn {
            match message.ret {
                Some(Ret::Full) => command += " RET=FULL",
                Some(Ret::Headers) => command += " RET=HDRS",
                None => {}
            }
            if let Some(id) = &message.envelope_id {
                command += &format!(" ENVID={}", xtext::encode(id));
            }
        }
        if message.require_tls {
            command += " REQUIRETLS";
        }
        if has.priority && message.priority != 0 {
            command += &format!(" MT-PRIORITY={}", message.priority);
        }
        if let Some(by) = message.deliver_by.filter(|_| has.deliver_by) {
            let mode = if by.mode == ByMode::Return { "R" } else { "N" };
            command += &format!(" BY={};{mode}{}", by.seconds, if by.trace { "T" } else { "" });
        }
        command
    }

    pub(super) fn on_reset(&mut self, reply: Reply) {
        if (200..300).contains(&reply.code) {
            self.send_envelope();
        } else {
            self.end(Ending::Refused { stage: Stage::Reset, reply });
        }
    }

    pub(super) fn on_mail(&mut self, reply: Reply) {
        let Phase::Message(transaction) = &mut self.phase else { return };
        match reply.code {
            200..300 => {}
            300..400 => return self.unfitting(Stage::Mail, reply),
            _ => {
                transaction.decide_all(Stage::Mail, &reply);
                transaction.body_done = true;
                if self.awaited.is_empty() {
                    return self.finish();
                }
                // What was sent ahead is answered too, with refusals that mean nothing.
                if let Progress::Recipient(index) = &mut transaction.progress {
                    *index = transaction.message.recipients.len();
                }
            }
        }
        self.send_envelope();
    }

    pub(super) fn on_recipient(&mut self, index: usize, reply: Reply) {
        let Phase::Message(transaction) = &mut self.phase else { return };
        match reply.code {
            200..300 => {
                if transaction.is_undecided(index) {
                    transaction.accepted.push(index);
                }
            }
            300..400 => return self.unfitting(Stage::Recipient, reply),
            _ => transaction.decide(index, Stage::Recipient, &transient_if_too_many(reply)),
        }
        self.send_envelope();
    }

    pub(super) fn on_data(&mut self, reply: Reply) {
        let Phase::Message(transaction) = &mut self.phase else { return };
        match reply.code {
            300..400 if transaction.accepted.is_empty() => {
                // RFC 2920 §3.1: the server accepts a body that has no recipient; an empty one ends it.
                transaction.progress = Progress::BodySent;
                transaction.body_done = true;
                self.command(".", Awaited::LoneDot);
            }
            300..400 => {
                transaction.progress = Progress::Data(Stuffer::default());
                self.rearm();
                self.outputs.push_back(Output::WantBody);
            }
            200..300 => self.unfitting(Stage::DataStart, reply),
            _ => {
                transaction.decide_all(Stage::DataStart, &reply);
                self.finish();
            }
        }
    }

    /// The message is done with; the session is not.
    pub(super) fn finish(&mut self) {
        if let Phase::Message(transaction) = std::mem::replace(&mut self.phase, Phase::Ready) {
            self.needs_reset |= !transaction.body_done;
            // Only a server that skips a reply could leave somebody undecided.
            let undecided = RecipientOutcome {
                stage: Stage::DataEnd,
                cause: Cause::Connection,
                reply: Reply::new(451, EnhancedCode::new(4, 5, 0), "the server did not decide"),
            };
            let outcome = transaction.into_outcome(&undecided, true);
            self.deadline = None;
            self.outputs.retain(|output| !matches!(output, Output::WantBody));
            self.outputs.push_back(Output::Finished(outcome));
        }
    }
}

/// NOTIFY and ORCPT (RFC 3461 §4.1 and §4.2).
fn add_report_wishes(command: &mut String, to: &To, utf8: bool) {
    match to.notify {
        Notify::Unsaid => {}
        Notify::Never => *command += " NOTIFY=NEVER",
        Notify::On { success, failure, delay } => {
            let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
            let words: Vec<&str> = words.into_iter().filter_map(|(on, word)| on.then_some(word)).collect();
            *command += &format!(" NOTIFY={}", words.join(","));
        }
    }
    // What has no type is our own note of an alias, and none of the sender's words.
    let Some((kind, address)) = to.original.as_deref().and_then(|original| original.split_once(';')) else {
        return;
    };
    if address.is_ascii() {
        *command += &format!(" ORCPT={kind};{}", xtext::encode(address));
    } else if utf8 {
        *command += &format!(" ORCPT={kind};{address}");
    }
}

/// RFC 5321 §4.5.3.1.10: 552 to RCPT means too many recipients, unless it says something else.
fn transient_if_too_many(reply: Reply) -> Reply {
    let too_many = EnhancedCode::new(5, 5, 3);
    if reply.code == 552 && reply.enhanced.is_none_or(|code| code == too_many) {
        Reply { code: 452, enhanced: Some(EnhancedCode::new(4, 5, 3)), ..reply }
    } else {
        reply
    }
}

/// Whether SMTPUTF8 must be said for it.
fn needs_utf8(message: &Message) -> bool {
    let utf8 = |address: &Address| !address.local.written().is_ascii();
    message.smtputf8
        || message.reverse_path.address().is_some_and(utf8)
        || message.recipients.iter().any(|to| utf8(&to.address))
}

/// An address as it goes out: exactly as written, but the domain as A-labels where UTF-8 is not understood.
struct Path<'a> {
    address: &'a Address,
    utf8: bool,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address.host {
            Host::Domain(domain) if !self.utf8 && domain.is_internationalised() => {
                write!(f, "{}@{}", self.address.local.written(), domain.ascii())
            }
            _ => write!(f, "{}", self.address),
        }
    }
}
