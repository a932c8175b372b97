//! The stream to mda over a real channel within the process, with an mda that fails where it is told to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use postroad_rpc::v1::delivery_server::{Delivery, DeliveryServer};
use postroad_rpc::v1::{DeliverReply, Delivered};
use postroad_rpc::{ChannelOptions, InProcess, Incoming, Server};
use postroad_types::{Address, BodyKind, Role, TraceId};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::consignment::{Recipient, reply};
use crate::testing::content;

/// What the next call leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It breaks off in the middle of the stream, with nothing stored.
    InTheMiddle,
    /// Everything is stored, and the answer is lost.
    AnswerLost,
    /// One result too few.
    ResultMissing,
}

#[derive(Debug, Default)]
struct Mda {
    faults: Mutex<Vec<Fault>>,
    stored: Mutex<BTreeSet<(String, String)>>,
    bodies: Mutex<Vec<Vec<u8>>>,
    traces: Mutex<Vec<Option<TraceId>>>,
}

/// The foreign trait wants a type of ours.
#[derive(Debug)]
struct Served(Arc<Mda>);

#[tonic::async_trait]
impl Delivery for Served {
    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<DeliverReply>, Status> {
        self.0.traces.lock().unwrap().push(trace::trace_of(&request));
        let fault = self.0.faults.lock().unwrap().pop();
        let mut parts = request.into_inner();
        let Some(Part::Envelope(envelope)) = parts.message().await?.and_then(|part| part.part) else {
            return Err(Status::invalid_argument("no envelope first"));
        };
        let mut body = BytesMut::new();
        while let Some(part) = parts.message().await? {
            if let Some(Part::Chunk(chunk)) = part.part {
                assert!(chunk.len() <= limits::BODY_CHUNK_OCTETS);
                body.extend_from_slice(&chunk);
            }
            if fault == Some(Fault::InTheMiddle) {
                return Err(Status::unavailable("gone in the middle"));
            }
        }
        if body.len() as u64 != envelope.size {
            return Err(Status::invalid_argument("size differs"));
        }
        self.0.bodies.lock().unwrap().push(body.to_vec());
        let mut results = Vec::new();
        for to in &envelope.recipients {
            let fresh = self.0.stored.lock().unwrap().insert((envelope.queue_id.clone(), to.clone()));
            let delivered = Delivered { duplicate: !fresh, ..Default::default() };
            let result = DeliveryResult::Delivered(reply(250, (2, 1, 5), "stored"));
            results.push(convert::recipient_result(&to.parse().unwrap(), result, Some(delivered)));
        }
        match fault {
            Some(Fault::AnswerLost) => Err(Status::unavailable("gone before the answer")),
            Some(Fault::ResultMissing) => {
                results.pop();
                Ok(Response::new(DeliverReply { results }))
            }
            _ => Ok(Response::new(DeliverReply { results })),
        }
    }
}

fn consignment(to: &[&str], octets: &[u8]) -> Consignment {
    let content = content(octets);
    Consignment {
        id: content.id.clone(),
        trace: TraceId::random(),
        reverse_path: "alice@alpha.test".parse().unwrap(),
        recipients: to.iter().map(|to| Recipient::from(to.parse::<Address>().unwrap())).collect(),
        body: BodyKind::SevenBit,
        smtputf8: false,
        envelope_id: None,
        options: Default::default(),
        accepted_at: 7,
        content,
    }
}

/// An mda in this process with these faults ahead, the last one first.
fn mda(faults: &[Fault]) -> (GrpcDelivery, Arc<Mda>, CancellationToken) {
    let (way, end) = InProcess::new();
    let mda = Arc::new(Mda { faults: Mutex::new(faults.to_vec()), ..Mda::default() });
    let stop = CancellationToken::new();
    let server = Server::new(Role::Mda).add(DeliveryServer::new(Served(mda.clone())));
    tokio::spawn(server.serve(Incoming::new().in_process(end), stop.clone(), Duration::from_secs(5)));
    let channel = Channel::in_process(Role::Mda, way, Role::Mta, ChannelOptions::default());
    (GrpcDelivery::new(channel), mda, stop)
}

fn large() -> Vec<u8> {
    (0..300_000u32).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn the_message_arrives_to_the_octet_with_its_trace_id() {
    let (delivery, mda, _stop) = mda(&[]);
    let consignment = consignment(&["bob@beta.test", "\"o d\"@beta.test"], &large());
    let results = delivery.deliver(&consignment).await.unwrap();
    assert!(matches!(results.as_slice(), [DeliveryResult::Delivered(_), DeliveryResult::Delivered(_)]));
    assert!(mda.bodies.lock().unwrap()[0] == large());
    assert_eq!(*mda.traces.lock().unwrap(), [Some(consignment.trace)]);
}

#[tokio::test]
async fn a_call_that_breaks_is_made_again_and_each_recipient_has_it_once() {
    let (delivery, mda, _stop) = mda(&[Fault::AnswerLost, Fault::InTheMiddle]);
    let consignment = consignment(&["bob@beta.test"], &large());
    let results = delivery.deliver(&consignment).await.unwrap();
    assert!(matches!(results.as_slice(), [DeliveryResult::Delivered(_)]));
    assert_eq!(mda.traces.lock().unwrap().len(), 3, "two broken calls and a whole one");
    assert_eq!(mda.stored.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_mda_that_stays_away_is_unavailable_and_one_that_lies_is_not_believed() {
    let (delivery, _, _stop) = mda(&[Fault::InTheMiddle; 5]);
    let message = consignment(&["bob@beta.test"], &large());
    assert!(matches!(delivery.deliver(&message).await, Err(DeliveryError::Unavailable(_))));
    let (delivery, _, _stop) = mda(&[Fault::ResultMissing]);
    assert!(matches!(delivery.deliver(&message).await, Err(DeliveryError::Refused(_))));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_our_own_fault() {
    let (delivery, mda, _stop) = mda(&[]);
    let mut message = consignment(&["bob@beta.test"], &large());
    message.content.id = postroad_types::QueueId::new(1, 1);
    assert!(matches!(delivery.deliver(&message).await, Err(DeliveryError::Content(_))));
    assert!(mda.bodies.lock().unwrap().is_empty());
}
