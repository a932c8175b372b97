//! The directory over gRPC.

use async_trait::async_trait;
use postroad_rpc::v1::authenticate_reply::Step as ReplyStep;
use postroad_rpc::v1::authenticate_request::Step as RequestStep;
use postroad_rpc::v1::directory_client::DirectoryClient as Stub;
use postroad_rpc::v1::{
    AuthenticateReply, AuthenticateRequest, AuthenticateStart, MaySendRequest, ResolveRecipientRequest,
    authenticate_failure::Reason,
};
use postroad_rpc::{Channel, trace};
use postroad_types::{AccountId, Address, RecipientVerdict, TraceId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Account, DirectoryClient, DirectoryError, SaslExchange, SaslReply, SaslStart};

/// A whole SASL exchange: a client may be slow, and wrong passwords are answered later and later.
const EXCHANGE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

/// mda's directory behind a channel.
#[derive(Clone, Debug)]
pub struct GrpcDirectory {
    stub: Stub<Channel>,
}

impl GrpcDirectory {
    pub fn new(channel: Channel) -> Self {
        GrpcDirectory { stub: Stub::new(channel) }
    }
}

fn unavailable(status: &Status) -> DirectoryError {
    DirectoryError(format!("{:?}: {}", status.code(), status.message()))
}

#[async_trait]
impl DirectoryClient for GrpcDirectory {
    async fn resolve(&self, address: &Address, trace: TraceId) -> Result<RecipientVerdict, DirectoryError> {
        let request = trace::with_trace(ResolveRecipientRequest { address: address.to_string() }, trace);
        let reply = self.stub.clone().resolve_recipient(request).await.map_err(|s| unavailable(&s))?;
        reply
            .into_inner()
            .try_into()
            .map_err(|error: postroad_rpc::convert::ContractError| DirectoryError(error.to_string()))
    }

    async fn may_send(&self, account: AccountId, address: &Address) -> Result<bool, DirectoryError> {
        let request = MaySendRequest { account_id: account.0, address: address.to_string() };
        let reply = self.stub.clone().may_send(request).await.map_err(|s| unavailable(&s))?;
        Ok(reply.into_inner().allowed)
    }

    async fn authenticate(
        &self,
        start: SaslStart,
    ) -> Result<(Box<dyn SaslExchange>, SaslReply), DirectoryError> {
        let (requests, outgoing) = mpsc::channel(1);
        let first = AuthenticateStart {
            mechanism: start.mechanism.to_owned(),
            initial: start.initial.map(Into::into),
            service: "smtp".to_owned(),
            remote_ip: start.client.to_string(),
            channel_binding: start.channel_binding.into(),
        };
        let gone = |_| DirectoryError("the exchange was broken off".to_owned());
        let first = AuthenticateRequest { step: Some(RequestStep::Start(first)) };
        requests.send(first).await.map_err(gone)?;
        let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
        request.set_timeout(EXCHANGE_TIMEOUT);
        let replies =
            self.stub.clone().authenticate(request).await.map_err(|s| unavailable(&s))?.into_inner();
        let mut exchange = GrpcExchange { requests, replies };
        let reply = exchange.reply().await?;
        Ok((Box::new(exchange), reply))
    }
}

struct GrpcExchange {
    requests: mpsc::Sender<AuthenticateRequest>,
    replies: Streaming<AuthenticateReply>,
}

impl GrpcExchange {
    async fn reply(&mut self) -> Result<SaslReply, DirectoryError> {
        let reply = self.replies.message().await.map_err(|s| unavailable(&s))?;
        let step = reply.and_then(|reply| reply.step);
        Ok(match step.ok_or_else(|| DirectoryError("the exchange ended without an answer".to_owned()))? {
            ReplyStep::Challenge(challenge) => SaslReply::Challenge(challenge.to_vec()),
            ReplyStep::Success(success) => SaslReply::Success {
                account: Account { id: AccountId(success.account_id), address: success.address },
                server_data: success.server_data.to_vec(),
            },
            ReplyStep::Failure(failure) => match failure.reason() {
                Reason::Credentials => SaslReply::WrongCredentials,
                Reason::MechanismUnknown => SaslReply::UnknownMechanism,
                Reason::Protocol => SaslReply::Malformed,
                Reason::Temporary => SaslReply::Unavailable,
            },
        })
    }
}

#[async_trait]
impl SaslExchange for GrpcExchange {
    async fn respond(&mut self, response: Vec<u8>) -> Result<SaslReply, DirectoryError> {
        let request = AuthenticateRequest { step: Some(RequestStep::Response(response.into())) };
        let gone = |_| DirectoryError("the exchange was broken off".to_owned());
        self.requests.send(request).await.map_err(gone)?;
        self.reply().await
    }
}
