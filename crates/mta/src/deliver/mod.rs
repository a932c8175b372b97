//! To mda over gRPC: the message as a stream, a result for each recipient.
//!
//! mda keeps (queue id, recipient) in mind, so that a call of which nothing is known is simply made again: here
//! a few times at once, because a replica that is just restarting is the usual reason; then by the queue.

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use postroad_rpc::convert;
use postroad_rpc::v1::delivery_client::DeliveryClient as Stub;
use postroad_rpc::v1::{DeliverRequest, DeliveryEnvelope, deliver_request::Part};
use postroad_rpc::{Channel, trace};
use postroad_store::StoreError;
use postroad_types::{DeliveryResult, limits};
use tokio::sync::oneshot;
use tonic::Code;

use crate::consignment::{Consignment, Content, DeliveryClient, DeliveryError};

/// Calls for one attempt.
const CALLS_MAX: u32 = 3;
/// Between them; doubled each time.
const CALL_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A call, without the time for the message's octets.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// For each MiB of the message so much is added.
const TIMEOUT_PER_MIB: Duration = Duration::from_secs(1);

/// mda behind a channel.
#[derive(Clone, Debug)]
pub struct GrpcDelivery {
    stub: Stub<Channel>,
}

impl GrpcDelivery {
    pub fn new(channel: Channel) -> Self {
        GrpcDelivery { stub: Stub::new(channel) }
    }

    async fn call(&self, consignment: &Consignment) -> Result<Vec<DeliveryResult>, DeliveryError> {
        let (failed, failure) = oneshot::channel();
        let mut request = tonic::Request::new(parts(consignment, failed));
        trace::attach(&mut request, consignment.trace);
        let mib = u32::try_from(consignment.content.size_octets >> 20).unwrap_or(u32::MAX);
        request.set_timeout(CALL_TIMEOUT + TIMEOUT_PER_MIB.saturating_mul(mib));
        let reply = match self.stub.clone().deliver(request).await {
            Ok(reply) => reply.into_inner(),
            Err(status) => {
                // A stream that we broke off ourselves: the reason is ours.
                if let Ok(error) = { failure }.try_recv() {
                    return Err(DeliveryError::Content(error));
                }
                let why = format!("{:?}: {}", status.code(), status.message());
                return Err(match status.code() {
                    Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented => {
                        DeliveryError::Refused(why)
                    }
                    _ => DeliveryError::Unavailable(why),
                });
            }
        };
        in_order(consignment, reply.results).map_err(DeliveryError::Refused)
    }
}

/// The results in the order of the recipients.
fn in_order(
    consignment: &Consignment,
    results: Vec<postroad_rpc::v1::RecipientResult>,
) -> Result<Vec<DeliveryResult>, String> {
    if results.len() != consignment.recipients.len() {
        let (asked, answered) = (consignment.recipients.len(), results.len());
        return Err(format!("{answered} results for {asked} recipients"));
    }
    let mut out = Vec::with_capacity(results.len());
    for (result, asked) in results.into_iter().zip(&consignment.recipients) {
        let (answered, result) = convert::delivery_result(result).map_err(|error| error.to_string())?;
        if answered != asked.address {
            return Err(format!("a result for {answered} where one for {} was due", asked.address));
        }
        out.push(result);
    }
    Ok(out)
}

/// The stream: the envelope, then the octets as they lie.
fn parts(
    consignment: &Consignment,
    failed: oneshot::Sender<StoreError>,
) -> impl Stream<Item = DeliverRequest> + Send + 'static {
    let envelope = DeliveryEnvelope {
        queue_id: consignment.id.to_string(),
        reverse_path: consignment.reverse_path.to_string(),
        recipients: consignment.recipients.iter().map(|to| to.address.to_string()).collect(),
        size: consignment.content.size_octets,
        received_us: consignment.accepted_at,
        trace_id: consignment.trace.to_string(),
    };
    let first = DeliverRequest { part: Some(Part::Envelope(envelope)) };
    let rest = stream::unfold(
        Octets { content: consignment.content.clone(), at: 0, held: Bytes::new(), failed: Some(failed) },
        |mut octets| async move {
            let chunk = octets.next().await?;
            Some((DeliverRequest { part: Some(Part::Chunk(chunk)) }, octets))
        },
    );
    stream::StreamExt::chain(stream::iter([first]), rest)
}

/// A message's octets in chunks that the contract allows.
struct Octets {
    content: Content,
    at: u64,
    held: Bytes,
    failed: Option<oneshot::Sender<StoreError>>,
}

impl Octets {
    /// The next chunk. After an error the stream ends early; mda sees that octets are missing and takes nothing.
    async fn next(&mut self) -> Option<Bytes> {
        if self.held.is_empty() {
            match self.content.chunk(self.at).await {
                Ok(chunk) => self.held = chunk,
                Err(error) => {
                    if let Some(failed) = self.failed.take() {
                        let _ = failed.send(error);
                    }
                    return None;
                }
            }
            self.at += self.held.len() as u64;
        }
        let length = self.held.len().min(limits::BODY_CHUNK_OCTETS);
        (length > 0).then(|| self.held.split_to(length))
    }
}

#[async_trait]
impl DeliveryClient for GrpcDelivery {
    async fn deliver(&self, consignment: &Consignment) -> Result<Vec<DeliveryResult>, DeliveryError> {
        let mut wait = CALL_AGAIN_AFTER;
        for _ in 1..CALLS_MAX {
            match self.call(consignment).await {
                Err(DeliveryError::Unavailable(why)) => {
                    tracing::debug!(queue_id = %consignment.id, %why, "mda did not answer, calling again");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                done => return done,
            }
        }
        self.call(consignment).await
    }
}
