//! A directory with one account: `bob@beta.test`, password `secret`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use postroad_types::AccountId;

use crate::login::{Login, LoginAnswer, LoginClient, LoginExchange, LoginStart, Refusal, SaslMessage};

/// Knows PLAIN and LOGIN as they are, and of SCRAM-SHA-256 only its order of messages: `first`, `challenge`,
/// `proof`, and `v=proved` with the success.
#[derive(Default)]
pub(crate) struct FakeLogins {
    pub(crate) is_down: AtomicBool,
    /// Every exchange that was started.
    pub(crate) started: Mutex<Vec<LoginStart>>,
}

impl FakeLogins {
    pub(crate) const ACCOUNT: AccountId = AccountId(7);
    pub(crate) const ADDRESS: &'static str = "bob@beta.test";
    pub(crate) const PASSWORD: &'static str = "secret";
}

struct FakeExchange {
    mechanism: String,
    heard: Vec<Vec<u8>>,
    is_down: bool,
}

#[async_trait]
impl LoginClient for FakeLogins {
    async fn start(&self, start: LoginStart) -> (LoginAnswer, Box<dyn LoginExchange>) {
        let is_down = self.is_down.load(Ordering::Relaxed);
        let mut exchange = FakeExchange { mechanism: start.mechanism.clone(), heard: Vec::new(), is_down };
        let initial = start.initial.clone();
        self.started.lock().unwrap().push(start);
        let answer = match initial {
            Some(message) => exchange.respond(message).await,
            None if exchange.mechanism == "LOGIN" => challenge("Username:"),
            None => challenge(""),
        };
        (answer, Box::new(exchange))
    }
}

#[async_trait]
impl LoginExchange for FakeExchange {
    async fn respond(&mut self, response: SaslMessage) -> LoginAnswer {
        if self.is_down {
            return LoginAnswer::Refused(Refusal::Temporary);
        }
        self.heard.push(response.0);
        let heard: Vec<_> = self.heard.iter().map(|m| String::from_utf8_lossy(m)).collect();
        let heard: Vec<&str> = heard.iter().map(|m| &**m).collect();
        match (self.mechanism.as_str(), heard.as_slice()) {
            ("PLAIN", ["\0bob@beta.test\0secret"]) => success(None),
            ("LOGIN", [_]) => challenge("Password:"),
            ("LOGIN", [FakeLogins::ADDRESS, FakeLogins::PASSWORD]) => success(None),
            ("SCRAM-SHA-256", ["first"]) => challenge("challenge"),
            ("SCRAM-SHA-256", ["first", "proof"]) => success(Some("v=proved")),
            _ => LoginAnswer::Refused(Refusal::Credentials),
        }
    }
}

fn challenge(text: &str) -> LoginAnswer {
    LoginAnswer::Challenge(SaslMessage(text.as_bytes().to_vec()))
}

fn success(server_data: Option<&str>) -> LoginAnswer {
    LoginAnswer::Success(Login {
        account: FakeLogins::ACCOUNT,
        address: FakeLogins::ADDRESS.to_owned(),
        server_data: server_data.map(|data| SaslMessage(data.as_bytes().to_vec())),
    })
}
