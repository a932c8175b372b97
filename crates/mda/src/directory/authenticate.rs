//! SASL exchanges (RFC 4422): PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.
//!
//! Wrong password, unknown name and disabled account end alike: after the same work and the same wait.

use std::net::IpAddr;
use std::sync::Arc;

use metrics::counter;
use postroad_rpc::v1;
use postroad_rpc::v1::authenticate_failure::Reason;
use postroad_rpc::v1::authenticate_reply::Step;
use postroad_rpc::v1::authenticate_request;
use postroad_store::StoreError;
use postroad_store::directory::{AccountRecord, Credentials};
use postroad_store_local::directory::credentials::verify_scram;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use zeroize::Zeroizing;

use super::scram::{Binding, ClientFirst, Proof};
use crate::context::Context;

/// Why an exchange ends without a success.
enum End {
    Failure(Reason),
    /// The caller's stream ended or broke: nobody is there to be answered.
    Gone,
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a login can't be checked");
        End::Failure(Reason::Temporary)
    }
}

/// Both directions of one exchange.
struct Dialogue {
    requests: Streaming<v1::AuthenticateRequest>,
    replies: mpsc::Sender<Result<v1::AuthenticateReply, Status>>,
}

/// Who tries, and how.
struct Attempt {
    mechanism: String,
    initial: Option<Zeroizing<Vec<u8>>>,
    service: String,
    remote: Option<IpAddr>,
    /// Of the client's connection; empty where none was offered.
    channel_binding: Vec<u8>,
}

pub fn start(
    context: Arc<Context>,
    requests: Streaming<v1::AuthenticateRequest>,
) -> ReceiverStream<Result<v1::AuthenticateReply, Status>> {
    let (replies, stream) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut dialogue = Dialogue { requests, replies };
        let step = match exchange(&context, &mut dialogue).await {
            Ok(success) => Step::Success(success),
            Err(End::Failure(reason)) => Step::Failure(v1::AuthenticateFailure { reason: reason.into() }),
            Err(End::Gone) => return,
        };
        // A caller that is gone needs no answer.
        let _ = dialogue.replies.send(Ok(v1::AuthenticateReply { step: Some(step) })).await;
    });
    ReceiverStream::new(stream)
}

async fn exchange(context: &Context, dialogue: &mut Dialogue) -> Result<v1::AuthenticateSuccess, End> {
    let attempt = dialogue.start().await?;
    context.clock.sleep(context.throttle.before(attempt.remote, context.clock.monotonic())).await;
    let (name, outcome) = match attempt.mechanism.to_ascii_uppercase().as_str() {
        "PLAIN" => plain(context, dialogue, &attempt).await?,
        "LOGIN" => login(context, dialogue, &attempt).await?,
        "SCRAM-SHA-256" | "SCRAM-SHA-256-PLUS" => scram(context, dialogue, &attempt).await?,
        _ => return Err(End::Failure(Reason::MechanismUnknown)),
    };
    let mechanism = attempt.mechanism.to_ascii_uppercase();
    let (service, remote) = (&attempt.service, attempt.remote.map(|ip| ip.to_string()).unwrap_or_default());
    match outcome {
        Some((account, server_data)) => {
            context.throttle.succeeded(&name);
            counter!("postroad_mda_logins_total", "outcome" => "success").increment(1);
            tracing::info!(account = %account.address, service, remote, mechanism, "logged in");
            Ok(v1::AuthenticateSuccess {
                account_id: account.id.0,
                address: account.address.to_string(),
                server_data: server_data.into(),
            })
        }
        None => {
            let wait = context.throttle.failed(&name, attempt.remote, context.clock.monotonic());
            counter!("postroad_mda_logins_total", "outcome" => "failure").increment(1);
            // The name may be a password typed into the wrong field: it is not logged where nobody has it.
            let known = match name.parse() {
                Ok(address) => context.directory.credentials(&address).await.is_ok(),
                Err(_) => false,
            };
            let account = if known { name.as_str() } else { "(unknown)" };
            tracing::warn!(
                account,
                service,
                remote,
                mechanism,
                wait_ms = wait.as_millis() as u64,
                "login refused"
            );
            context.clock.sleep(wait).await;
            Err(End::Failure(Reason::Credentials))
        }
    }
}

/// The name that was tried; the account and the mechanism's last word if it is proven.
type Outcome = (String, Option<(AccountRecord, Vec<u8>)>);

async fn plain(context: &Context, dialogue: &mut Dialogue, attempt: &Attempt) -> Result<Outcome, End> {
    let message = match &attempt.initial {
        Some(initial) => initial.clone(),
        None => dialogue.challenge(Vec::new()).await?,
    };
    let malformed = End::Failure(Reason::Protocol);
    let mut fields = message.split(|&octet| octet == 0);
    let (Some(authzid), Some(authcid), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(malformed);
    };
    let (Ok(authzid), Ok(authcid), Ok(password)) =
        (std::str::from_utf8(authzid), std::str::from_utf8(authcid), std::str::from_utf8(password))
    else {
        return Err(malformed);
    };
    // Acting for another account is not offered; naming oneself is allowed.
    if authcid.is_empty()
        || password.is_empty()
        || !(authzid.is_empty() || authzid.eq_ignore_ascii_case(authcid))
    {
        return Err(malformed);
    }
    check(context, authcid, Zeroizing::new(password.to_owned())).await
}

async fn login(context: &Context, dialogue: &mut Dialogue, attempt: &Attempt) -> Result<Outcome, End> {
    let name = match &attempt.initial {
        Some(initial) if !initial.is_empty() => initial.clone(),
        _ => dialogue.challenge(b"Username:".to_vec()).await?,
    };
    let password = dialogue.challenge(b"Password:".to_vec()).await?;
    let (Ok(name), Ok(password)) = (std::str::from_utf8(&name), std::str::from_utf8(&password)) else {
        return Err(End::Failure(Reason::Protocol));
    };
    check(context, name, Zeroizing::new(password.to_owned())).await
}

async fn check(context: &Context, name: &str, password: Zeroizing<String>) -> Result<Outcome, End> {
    let found = find(context, name).await?;
    let hash = found.as_ref().map(|(_, credentials)| credentials.password_hash.clone());
    let right = context.passwords.check(password, hash).await?;
    let account = found.map(|(account, _)| account).filter(|account| right && account.enabled);
    Ok((name.to_owned(), account.map(|account| (account, Vec::new()))))
}

async fn scram(context: &Context, dialogue: &mut Dialogue, attempt: &Attempt) -> Result<Outcome, End> {
    let malformed = || End::Failure(Reason::Protocol);
    let message = match &attempt.initial {
        Some(initial) => initial.clone(),
        None => dialogue.challenge(Vec::new()).await?,
    };
    let binding = match attempt.mechanism.to_ascii_uppercase().as_str() {
        "SCRAM-SHA-256-PLUS" => Binding::Demanded(&attempt.channel_binding),
        _ if attempt.channel_binding.is_empty() => Binding::NotOffered,
        _ => Binding::Offered,
    };
    let first = ClientFirst::parse(&message, binding).ok_or_else(malformed)?;
    let name = first.user.clone();
    let found = find(context, &name).await?;
    let keys = match &found {
        Some((_, credentials)) => credentials.scram_sha_256.clone(),
        None => context.passwords.nobodys_scram_keys(&name.to_lowercase()),
    };
    let server_nonce = format!("{:032x}", rand::random::<u128>());
    let (challenge, expecting) = first.challenge(keys, &server_nonce);
    let last = dialogue.challenge(challenge.into_bytes()).await?;
    let account = found.map(|(account, _)| account).filter(|account| account.enabled);
    match (expecting.finish(&last, verify_scram), account) {
        (Proof::Malformed, _) => Err(malformed()),
        (Proof::Right(server_data), Some(account)) => Ok((name, Some((account, server_data.into_bytes())))),
        (Proof::Right(_) | Proof::Wrong, _) => Ok((name, None)),
    }
}

/// The account of a name, if there is one. Names are whole addresses.
async fn find(context: &Context, name: &str) -> Result<Option<(AccountRecord, Credentials)>, End> {
    let Ok(address) = name.parse() else { return Ok(None) };
    match context.directory.credentials(&address).await {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Dialogue {
    async fn start(&mut self) -> Result<Attempt, End> {
        match self.next().await? {
            authenticate_request::Step::Start(start) => Ok(Attempt {
                mechanism: start.mechanism,
                initial: start.initial.map(|octets| Zeroizing::new(octets.to_vec())),
                service: start.service,
                remote: start.remote_ip.parse().ok(),
                channel_binding: start.channel_binding.to_vec(),
            }),
            authenticate_request::Step::Response(_) => Err(End::Failure(Reason::Protocol)),
        }
    }

    /// Sends a challenge and waits for the client's response.
    async fn challenge(&mut self, challenge: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, End> {
        let reply = v1::AuthenticateReply { step: Some(Step::Challenge(challenge.into())) };
        self.replies.send(Ok(reply)).await.map_err(|_| End::Gone)?;
        match self.next().await? {
            authenticate_request::Step::Response(response) => Ok(Zeroizing::new(response.to_vec())),
            authenticate_request::Step::Start(_) => Err(End::Failure(Reason::Protocol)),
        }
    }

    async fn next(&mut self) -> Result<authenticate_request::Step, End> {
        match self.requests.message().await {
            Ok(Some(request)) => request.step.ok_or(End::Failure(Reason::Protocol)),
            Ok(None) | Err(_) => Err(End::Gone),
        }
    }
}
