//! The gRPC service Delivery: one message for several recipients, each with a result of its own.
//!
//! A recipient is resolved again here, whatever was said at RCPT: the directory may have changed since. Each
//! account gets a message once, however many of its recipients lead there; the key for that is the queue id and
//! the account, so a repeated call finds what an earlier one stored.

mod loops;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use metrics::{counter, histogram};
use postroad_rpc::{Peer, convert, v1};
use postroad_service::TraceEvent;
use postroad_store::StoreError;
use postroad_store::directory::AccountRecord;
use postroad_store::mailbox::{BodySource, Flags, NewMail, Stored};
use postroad_types::{
    Address, DeliveryResult, EnhancedCode, QueueId, Reply, ReversePath, Role, TraceId, over_quota,
};
use tonic::{Request, Response, Status, Streaming};

use crate::context::Context;
use crate::fault::status;
use crate::filter;
use crate::intake::{Intake, Message};
use crate::resolve::{self, Expansion};

pub struct Service {
    context: Arc<Context>,
}

/// What came with the message.
struct Envelope {
    queue_id: QueueId,
    trace_id: Option<TraceId>,
    reverse_path: ReversePath,
    recipients: Vec<Address>,
    received_us: i64,
}

impl Service {
    pub fn new(context: Arc<Context>) -> Self {
        Service { context }
    }
}

#[tonic::async_trait]
impl v1::delivery_server::Delivery for Service {
    async fn deliver(
        &self,
        request: Request<Streaming<v1::DeliverRequest>>,
    ) -> Result<Response<v1::DeliverReply>, Status> {
        Peer::require(&request, &[Role::Mta])?;
        let (envelope, message) = take(&self.context, request.into_inner()).await?;
        let delivered_to = loops::delivered_to(&message).await.map_err(status)?;
        // One after the other would make a list of many wait for as many flushes.
        let each = envelope.recipients.iter().map(|recipient| {
            let loops = delivered_to.contains(recipient);
            deliver_one(&self.context, &envelope, recipient, &message, loops)
        });
        let results = futures_util::future::join_all(each).await;
        Ok(Response::new(v1::DeliverReply { results }))
    }
}

/// The envelope, then all octets.
async fn take(
    context: &Context,
    mut parts: Streaming<v1::DeliverRequest>,
) -> Result<(Envelope, Message), Status> {
    use v1::deliver_request::Part;
    let first = parts.message().await?.and_then(|request| request.part);
    let Some(Part::Envelope(envelope)) = first else {
        return Err(Status::invalid_argument("the first part must be the envelope"));
    };
    let mut intake = Intake::new(&context.intake_dir, envelope.size);
    let envelope = Envelope {
        queue_id: convert::queue_id("queue_id", &envelope.queue_id)?,
        trace_id: convert::trace_id("trace_id", &envelope.trace_id)?,
        reverse_path: convert::reverse_path("reverse_path", &envelope.reverse_path)?,
        recipients: convert::addresses("recipients", &envelope.recipients)?,
        received_us: envelope.received_us,
    };
    while let Some(request) = parts.message().await? {
        match request.part {
            Some(Part::Chunk(chunk)) => intake.take(chunk).await.map_err(status)?,
            Some(Part::Envelope(_)) | None => return Err(Status::invalid_argument("expected a chunk")),
        }
    }
    Ok((envelope, intake.finish().map_err(status)?))
}

async fn deliver_one(
    context: &Context,
    envelope: &Envelope,
    recipient: &Address,
    message: &Message,
    loops: bool,
) -> v1::RecipientResult {
    let begin = Instant::now();
    let (result, delivered) = if loops {
        (rejected(5, 4, 6, "this message was delivered here before: mail loop"), None)
    } else {
        match resolve::expand(&*context.directory, &context.config.recipient_delimiter, recipient).await {
            Err(error) => (from_store(&error, context.defers_when_full()), None),
            Ok(None) => (rejected(5, 1, 1, "no such user here"), None),
            Ok(Some(expansion)) => store_all(context, envelope, recipient, message, expansion).await,
        }
    };
    let outcome = match &result {
        DeliveryResult::Delivered(_) => "delivered",
        DeliveryResult::Deferred(_) => "deferred",
        DeliveryResult::Rejected(_) => "rejected",
        DeliveryResult::Expanded(_) => "expanded",
    };
    counter!("postroad_mda_deliveries_total", "outcome" => outcome).increment(1);
    histogram!("postroad_mda_delivery_seconds").record(begin.elapsed().as_secs_f64());
    if let DeliveryResult::Rejected(reply) | DeliveryResult::Deferred(reply) = &result {
        trace(context, envelope, outcome, begin, |event| event.with("to", recipient).with("reply", reply));
    }
    convert::recipient_result(recipient, result, delivered)
}

/// Into every account of an expansion; what leads elsewhere, and what can't be stored just now, is handed back.
async fn store_all(
    context: &Context,
    envelope: &Envelope,
    recipient: &Address,
    message: &Message,
    expansion: Expansion,
) -> (DeliveryResult, Option<v1::Delivered>) {
    let direct = matches!(expansion.accounts.as_slice(), [(_, _, address)] if address == recipient);
    let mut others = expansion.others;
    let mut stored = None;
    for (account, detail, address) in expansion.accounts {
        match store(context, envelope, &account, detail.as_deref(), &address, message).await {
            Ok(delivered) => stored = Some(delivered),
            Err(error) if direct => return (from_store(&error, context.defers_when_full()), None),
            // One member of a list that has no room must not stop the others: it goes on as a recipient of its own.
            Err(error) => {
                tracing::debug!(account = %account.address, %error, "handed back to the queue");
                others.push(address);
            }
        }
    }
    if expansion.cut && others.is_empty() && stored.is_none() {
        return (rejected(5, 4, 6, "the alias leads in a circle, too deep, or to too many"), None);
    }
    if others.is_empty() {
        let reply = Reply::new(250, EnhancedCode::new(2, 1, 5), "delivered");
        return (DeliveryResult::Delivered(reply), stored);
    }
    trace(context, envelope, "expanded", Instant::now(), |event| {
        let targets: Vec<String> = others.iter().map(ToString::to_string).collect();
        event.with("to", recipient).with("into", targets.join(", "))
    });
    (DeliveryResult::Expanded(others), stored)
}

async fn store(
    context: &Context,
    envelope: &Envelope,
    account: &AccountRecord,
    detail: Option<&str>,
    address: &Address,
    message: &Message,
) -> Result<v1::Delivered, StoreError> {
    let begin = Instant::now();
    let folder = match detail {
        None => filter::folder(None, &[]),
        Some(_) => filter::folder(detail, &context.mailboxes.folders(account.id).await?),
    };
    let prefix = format!("Return-Path: <{}>\r\nDelivered-To: {address}\r\n", envelope.reverse_path);
    let mail = NewMail {
        folder: folder.clone(),
        flags: Flags::default(),
        internal_date: envelope.received_us,
        trace_id: envelope.trace_id,
        key: Some(format!("{} {}", envelope.queue_id, account.id)),
        quota_octets: context.quota(account.quota_octets),
        prefix: Bytes::from(prefix),
    };
    let Stored { uid, uid_validity, duplicate } = context.mailboxes.store(account.id, mail, message).await?;
    trace(context, envelope, "stored", begin, |event| {
        let event = event.with("to", address).with("folder", &folder).with("uid", uid);
        let event = event.with("octets", message.size_octets());
        if duplicate { event.with("duplicate", "an earlier call had stored it") } else { event }
    });
    Ok(v1::Delivered { account_id: account.id.0, folder: folder.to_string(), uid, uid_validity, duplicate })
}

fn from_store(error: &StoreError, try_again: bool) -> DeliveryResult {
    let deferred = |code: u16, subject: u16, detail: u16, text: &str| {
        DeliveryResult::Deferred(Reply::new(code, EnhancedCode::new(4, subject, detail), text))
    };
    match error {
        StoreError::OverQuota { used_octets, limit_octets } => {
            let text = format!("mailbox is full: {used_octets} of {limit_octets} octets are in use");
            if try_again {
                DeliveryResult::Deferred(over_quota(true, text))
            } else {
                DeliveryResult::Rejected(over_quota(false, text))
            }
        }
        StoreError::Unavailable(why) => {
            tracing::error!(error = %why, "a message can't be stored");
            deferred(451, 3, 0, "mailbox storage does not answer")
        }
        other => {
            tracing::error!(error = %other, "a message can't be stored");
            deferred(451, 2, 0, "mailbox can't take mail just now")
        }
    }
}

fn rejected(class: u8, subject: u16, detail: u16, text: &str) -> DeliveryResult {
    DeliveryResult::Rejected(Reply::new(550, EnhancedCode::new(class, subject, detail), text))
}

/// A step on the message's timeline, if it has one.
fn trace(
    context: &Context,
    envelope: &Envelope,
    name: &str,
    begin: Instant,
    fill: impl FnOnce(TraceEvent) -> TraceEvent,
) {
    let Some(trace_id) = envelope.trace_id else { return };
    let took = begin.elapsed();
    let now = u64::try_from(context.now()).unwrap_or_default();
    let at = now.saturating_sub(u64::try_from(took.as_micros()).unwrap_or_default());
    let event = TraceEvent::new(at, trace_id, name).queue_id(&envelope.queue_id).took(took);
    context.trace.record(fill(event));
}

#[cfg(test)]
mod tests;
