//! A directory for tests: accounts with passwords, aliases, and a switch that takes it down.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use postroad_types::{AccountId, Address, RecipientVerdict, TraceId};

use super::{Account, DirectoryClient, DirectoryError, SaslExchange, SaslReply, SaslStart};

#[derive(Debug, Default)]
pub struct FakeDirectory {
    accounts: Mutex<HashMap<Address, (AccountId, String)>>,
    aliases: Mutex<HashMap<Address, Vec<Address>>>,
    down: AtomicBool,
    questions: AtomicUsize,
}

impl FakeDirectory {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn account(self: Arc<Self>, address: &str, password: &str) -> Arc<Self> {
        let mut accounts = self.accounts.lock().unwrap();
        let id = AccountId(accounts.len() as u64 + 1);
        accounts.insert(address.parse().unwrap(), (id, password.to_owned()));
        drop(accounts);
        self
    }

    pub fn alias(self: Arc<Self>, address: &str, targets: &[&str]) -> Arc<Self> {
        let targets = targets.iter().map(|t| t.parse().unwrap()).collect();
        self.aliases.lock().unwrap().insert(address.parse().unwrap(), targets);
        self
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Recipients that were asked about so far.
    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), DirectoryError> {
        if self.down.load(Ordering::SeqCst) {
            Err(DirectoryError("down for the test".into()))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl DirectoryClient for FakeDirectory {
    async fn resolve(&self, address: &Address, _: TraceId) -> Result<RecipientVerdict, DirectoryError> {
        self.check()?;
        self.questions.fetch_add(1, Ordering::SeqCst);
        let accounts = self.accounts.lock().unwrap();
        let aliases = self.aliases.lock().unwrap();
        if let Some((id, _)) = accounts.get(address) {
            return Ok(RecipientVerdict::Local { account: *id, detail: None });
        }
        if let Some(targets) = aliases.get(address) {
            return Ok(RecipientVerdict::Alias { targets: targets.clone() });
        }
        let ours = accounts.keys().chain(aliases.keys()).any(|known| known.host == address.host);
        Ok(if ours { RecipientVerdict::Unknown } else { RecipientVerdict::NotOurs })
    }

    async fn may_send(&self, account: AccountId, address: &Address) -> Result<bool, DirectoryError> {
        self.check()?;
        Ok(self.accounts.lock().unwrap().get(address).is_some_and(|(id, _)| *id == account))
    }

    /// PLAIN only, with or without an initial response.
    async fn authenticate(
        &self,
        start: SaslStart,
    ) -> Result<(Box<dyn SaslExchange>, SaslReply), DirectoryError> {
        self.check()?;
        let accounts = self.accounts.lock().unwrap().clone();
        let mut exchange = PlainExchange { accounts };
        if start.mechanism != "PLAIN" {
            return Ok((Box::new(exchange), SaslReply::UnknownMechanism));
        }
        let reply = match start.initial {
            Some(initial) => exchange.respond(initial).await?,
            None => SaslReply::Challenge(Vec::new()),
        };
        Ok((Box::new(exchange), reply))
    }
}

struct PlainExchange {
    accounts: HashMap<Address, (AccountId, String)>,
}

#[async_trait]
impl SaslExchange for PlainExchange {
    async fn respond(&mut self, response: Vec<u8>) -> Result<SaslReply, DirectoryError> {
        let parts: Vec<&[u8]> = response.split(|b| *b == 0).collect();
        let [_, name, password] = parts.as_slice() else {
            return Ok(SaslReply::Malformed);
        };
        let (name, password) = (String::from_utf8_lossy(name), String::from_utf8_lossy(password));
        let known = name.parse::<Address>().ok().and_then(|a| self.accounts.get(&a).cloned());
        Ok(match known {
            Some((id, secret)) if secret == password => {
                let account = Account { id, address: name.into_owned() };
                SaslReply::Success { account, server_data: Vec::new() }
            }
            _ => SaslReply::WrongCredentials,
        })
    }
}
