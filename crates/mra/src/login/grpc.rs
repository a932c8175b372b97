//! The directory of mda, over gRPC: an exchange is one call of Directory.Authenticate.

use std::time::Duration;

use async_trait::async_trait;
use postroad_rpc::v1::authenticate_failure::Reason;
use postroad_rpc::v1::{self, authenticate_reply, authenticate_request};
use postroad_rpc::{Channel, Fault};
use postroad_types::{AccountId, limits};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use super::{Login, LoginAnswer, LoginClient, LoginExchange, LoginStart, Refusal, SaslMessage};

const PATIENCE: Duration = Duration::from_secs(limits::LOGIN_ANSWER_SECONDS_MAX);

/// [`LoginClient`] over a channel to mda; clones share the channel.
#[derive(Clone, Debug)]
pub struct GrpcDirectory {
    stub: v1::directory_client::DirectoryClient<Channel>,
}

impl GrpcDirectory {
    pub fn new(channel: Channel) -> Self {
        GrpcDirectory { stub: v1::directory_client::DirectoryClient::new(channel) }
    }
}

#[async_trait]
impl LoginClient for GrpcDirectory {
    async fn start(&self, start: LoginStart) -> (LoginAnswer, Box<dyn LoginExchange>) {
        // One message is under way at a time: the other side waits for it.
        let (sender, requests) = mpsc::channel(1);
        let start = v1::AuthenticateStart {
            mechanism: start.mechanism,
            initial: start.initial.map(|message| message.0.into()),
            service: start.service.to_owned(),
            remote_ip: start.remote_ip.to_string(),
            channel_binding: Default::default(),
        };
        let mut exchange = GrpcExchange { sender, answers: None };
        exchange.send(authenticate_request::Step::Start(start)).await;
        let mut request = Request::new(ReceiverStream::new(requests));
        request.set_timeout(PATIENCE);
        let answer = match self.stub.clone().authenticate(request).await {
            Ok(answers) => {
                exchange.answers = Some(answers.into_inner());
                exchange.next().await
            }
            Err(status) => failed(status),
        };
        (answer, Box::new(exchange))
    }
}

struct GrpcExchange {
    sender: mpsc::Sender<v1::AuthenticateRequest>,
    /// None once the call has failed.
    answers: Option<Streaming<v1::AuthenticateReply>>,
}

#[async_trait]
impl LoginExchange for GrpcExchange {
    async fn respond(&mut self, response: SaslMessage) -> LoginAnswer {
        self.send(authenticate_request::Step::Response(response.0.into())).await;
        self.next().await
    }
}

impl GrpcExchange {
    /// If the call is over already, its end is what is read next, and says why.
    async fn send(&mut self, step: authenticate_request::Step) {
        let sent = self.sender.send(v1::AuthenticateRequest { step: Some(step) }).await;
        if sent.is_err() {
            tracing::debug!("the directory ended a login before the client's response");
        }
    }

    async fn next(&mut self) -> LoginAnswer {
        let Some(answers) = &mut self.answers else {
            return LoginAnswer::Refused(Refusal::Temporary);
        };
        let reply = match tokio::time::timeout(PATIENCE, answers.message()).await {
            Ok(Ok(Some(reply))) => reply,
            Ok(Ok(None)) => return failed(tonic::Status::internal("the answer ended before it was one")),
            Ok(Err(status)) => return failed(status),
            Err(_) => {
                return failed(tonic::Status::deadline_exceeded(format!("no answer within {PATIENCE:?}")));
            }
        };
        match reply.step {
            Some(authenticate_reply::Step::Challenge(challenge)) => {
                LoginAnswer::Challenge(SaslMessage(challenge.into()))
            }
            Some(authenticate_reply::Step::Success(success)) => LoginAnswer::Success(Login {
                account: AccountId(success.account_id),
                address: success.address,
                server_data: Some(success.server_data)
                    .filter(|data| !data.is_empty())
                    .map(|data| SaslMessage(data.into())),
            }),
            Some(authenticate_reply::Step::Failure(failure)) => {
                LoginAnswer::Refused(match failure.reason() {
                    Reason::Credentials => Refusal::Credentials,
                    Reason::MechanismUnknown => Refusal::MechanismUnknown,
                    Reason::Protocol => Refusal::Protocol,
                    Reason::Temporary => Refusal::Temporary,
                })
            }
            None => failed(tonic::Status::internal("an answer without a step")),
        }
    }
}

/// The login can't be checked: said to the operator here, and to the client as a reason to try later.
fn failed(status: tonic::Status) -> LoginAnswer {
    let fault = Fault::from(status);
    tracing::warn!(kind = ?fault.kind, error = %fault, "the directory of mda does not check logins");
    LoginAnswer::Refused(Refusal::Temporary)
}
