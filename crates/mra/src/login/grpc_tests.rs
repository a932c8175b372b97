//! The client against a scripted mda.

use postroad_rpc::v1::authenticate_failure::Reason;
use postroad_rpc::v1::{self, authenticate_reply, authenticate_request};
use postroad_types::AccountId;
use tonic::Status;

use super::{GrpcDirectory, Login, LoginAnswer, LoginClient, LoginStart, Refusal, SaslMessage};
use crate::testing::rpc::{Script, play};

fn start(initial: Option<&str>) -> LoginStart {
    LoginStart {
        mechanism: "SCRAM-SHA-256".to_owned(),
        initial: initial.map(said),
        service: "pop3",
        remote_ip: "192.0.2.7".parse().unwrap(),
    }
}

fn said(text: &str) -> SaslMessage {
    SaslMessage(text.as_bytes().to_vec())
}

fn reply(step: authenticate_reply::Step) -> Result<v1::AuthenticateReply, Status> {
    Ok(v1::AuthenticateReply { step: Some(step) })
}

#[tokio::test]
async fn messages_are_carried_both_ways() {
    let success = v1::AuthenticateSuccess {
        account_id: 7,
        address: "bob@beta.test".to_owned(),
        server_data: "v=proved".into(),
    };
    let login = vec![
        reply(authenticate_reply::Step::Challenge("salt".into())),
        reply(authenticate_reply::Step::Success(success)),
    ];
    let (channel, script, _mda) = play(Script { login, ..Script::default() });
    let (answer, mut exchange) = GrpcDirectory::new(channel).start(start(Some("first"))).await;
    assert_eq!(answer, LoginAnswer::Challenge(said("salt")));
    let login = Login {
        account: AccountId(7),
        address: "bob@beta.test".to_owned(),
        server_data: Some(said("v=proved")),
    };
    assert_eq!(exchange.respond(said("proof")).await, LoginAnswer::Success(login));

    let asked: Vec<_> =
        script.logins.lock().unwrap().drain(..).map(|request| request.step.unwrap()).collect();
    let started = v1::AuthenticateStart {
        mechanism: "SCRAM-SHA-256".to_owned(),
        initial: Some("first".into()),
        service: "pop3".to_owned(),
        remote_ip: "192.0.2.7".to_owned(),
        channel_binding: Default::default(),
    };
    assert_eq!(
        asked,
        [authenticate_request::Step::Start(started), authenticate_request::Step::Response("proof".into())]
    );
}

#[tokio::test]
async fn every_failure_is_a_refusal() {
    let failure = |reason: Reason| {
        reply(authenticate_reply::Step::Failure(v1::AuthenticateFailure { reason: reason.into() }))
    };
    for (login, refusal) in [
        (vec![failure(Reason::Credentials)], Refusal::Credentials),
        (vec![failure(Reason::MechanismUnknown)], Refusal::MechanismUnknown),
        (vec![failure(Reason::Protocol)], Refusal::Protocol),
        (vec![failure(Reason::Temporary)], Refusal::Temporary),
        // What is no answer must never be taken for a wrong password: programs would ask for it and lose it.
        (vec![Err(Status::permission_denied("mra may not"))], Refusal::Temporary),
        (vec![Ok(v1::AuthenticateReply::default())], Refusal::Temporary),
        (vec![], Refusal::Temporary),
    ] {
        let (channel, _script, _mda) = play(Script { login, ..Script::default() });
        let (answer, mut exchange) = GrpcDirectory::new(channel).start(start(None)).await;
        assert_eq!(answer, LoginAnswer::Refused(refusal));
        assert_eq!(exchange.respond(said("x")).await, LoginAnswer::Refused(Refusal::Temporary));
    }
}
