//! Our answers behind hickory's listeners: a `RequestHandler`, so that a `hickory_server::Server` can carry them over
//! its transports too.
//!
//! Not on the path of UDP and TCP: hickory decodes every request whole, starts a task for it and encodes the response
//! from records, where our own loops copy octets.

use std::sync::Arc;

use async_trait::async_trait;
use hickory_net::runtime::Time;
use hickory_net::xfer::Protocol;
use hickory_proto::op::{Header, HeaderCounts, Message, MessageType, Metadata, ResponseCode};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tracing::debug;

use super::{Engine, Outcome, Transport};

/// Hands hickory's requests to the engine.
#[derive(Debug, Clone)]
pub struct HickoryHandler(pub Arc<Engine>);

impl HickoryHandler {
    /// The response; `None` where nothing is to be answered.
    async fn respond(&self, request: &Request) -> Option<Message> {
        let transport = if request.protocol() == Protocol::Udp { Transport::Udp } else { Transport::Whole };
        let mut octets = Vec::new();
        match self.0.answer(request.as_slice(), request.src().ip(), transport, &mut octets) {
            Outcome::Reply(_) => {}
            Outcome::Drop | Outcome::Stream(_) => return None,
            Outcome::Later(pending) => octets = self.0.complete(pending).await?,
        }
        Message::from_vec(&octets).ok()
    }
}

/// What hickory's statistics hear of a request that got no response.
fn unanswered(request: &Request) -> ResponseInfo {
    let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    metadata.response_code = ResponseCode::ServFail;
    ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
}

#[async_trait]
impl RequestHandler for HickoryHandler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let Some(message) = self.respond(request).await else { return unanswered(request) };
        let builder = MessageResponseBuilder::new(&request.queries, message.edns.as_ref());
        let built =
            builder.build(message.metadata, &message.answers, &message.authorities, [], &message.additionals);
        match response.send_response(built).await {
            Ok(info) => info,
            Err(error) => {
                debug!(client = %request.src(), %error, "an answer could not be sent");
                unanswered(request)
            }
        }
    }
}
