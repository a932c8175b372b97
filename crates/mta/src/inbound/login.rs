//! AUTH: carries a SASL exchange between the client's machine and the directory.

use std::net::IpAddr;

use postroad_wire_smtp::server::{AuthAnswer, AuthStep, SaslMessage};

use crate::consignment::reply;
use crate::directory::{Account, CachedDirectory, DirectoryError, SaslExchange, SaslReply, SaslStart};

/// Where a session's AUTH stands.
#[derive(Default)]
pub struct Login {
    /// Of the connection, where it has one.
    pub channel_binding: Vec<u8>,
    exchange: Option<Box<dyn SaslExchange>>,
    /// Proved, but SCRAM's last word to the client is not confirmed yet.
    proved: Option<Account>,
}

impl Login {
    /// The client gave up.
    pub fn abort(&mut self) {
        let channel_binding = std::mem::take(&mut self.channel_binding);
        *self = Login { channel_binding, ..Login::default() };
    }

    /// The answer to a step, and the account once it is proved.
    pub async fn step(
        &mut self,
        directory: &CachedDirectory,
        client: IpAddr,
        step: AuthStep,
    ) -> (AuthAnswer, Option<Account>) {
        let asked = match step {
            AuthStep::Start { mechanism, initial } => {
                self.abort();
                let initial = initial.map(|message| message.0);
                let channel_binding = self.channel_binding.clone();
                let start = SaslStart { mechanism: mechanism.name(), initial, client, channel_binding };
                directory.authenticate(start).await.map(|(exchange, reply)| {
                    self.exchange = Some(exchange);
                    reply
                })
            }
            AuthStep::Response(message) => match (self.proved.take(), &mut self.exchange) {
                // RFC 5802 §3: after the server's last word the client has nothing to say.
                (Some(account), _) if message.0.is_empty() => {
                    return (AuthAnswer::Success { account: account.address.clone() }, Some(account));
                }
                (Some(_), _) => Ok(SaslReply::Malformed),
                (None, Some(exchange)) => exchange.respond(message.0).await,
                (None, None) => Err(DirectoryError("the exchange is over".into())),
            },
        };
        let answer = match asked {
            Ok(SaslReply::Challenge(challenge)) => {
                return (AuthAnswer::Challenge(SaslMessage(challenge)), None);
            }
            Ok(SaslReply::Success { account, server_data }) => {
                self.exchange = None;
                if server_data.is_empty() {
                    return (AuthAnswer::Success { account: account.address.clone() }, Some(account));
                }
                self.proved = Some(account);
                return (AuthAnswer::Challenge(SaslMessage(server_data)), None);
            }
            Ok(SaslReply::WrongCredentials) => reply(535, (5, 7, 8), "authentication failed"),
            Ok(SaslReply::UnknownMechanism) => reply(504, (5, 5, 4), "this mechanism is not available"),
            Ok(SaslReply::Malformed) => reply(501, (5, 5, 2), "this does not follow the mechanism"),
            Ok(SaslReply::Unavailable) => {
                reply(454, (4, 7, 0), "passwords can not be checked now, try again later")
            }
            Err(error) => {
                tracing::warn!(%client, %error, "a client's password can not be checked");
                reply(454, (4, 7, 0), "passwords can not be checked now, try again later")
            }
        };
        self.abort();
        (AuthAnswer::Failure(answer), None)
    }
}
