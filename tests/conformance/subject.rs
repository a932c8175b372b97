//! The server that is looked at, and what is there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::script::Door;

/// Any SMTP server.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: String,
    pub relay: SocketAddr,
    pub submission: Option<SocketAddr>,
    pub submissions: Option<SocketAddr>,
    /// Gets mail here.
    pub user: String,
    /// Another who does.
    pub other: String,
    /// Does not exist here.
    pub nobody: String,
    /// Logs in, and sends as this address.
    pub account: String,
    pub password: String,
    /// What we call ourselves.
    pub client: String,
}

impl Subject {
    pub fn door(&self, door: Door) -> Option<SocketAddr> {
        match door {
            Door::Relay => Some(self.relay),
            Door::Submission => self.submission,
            Door::Submissions => self.submissions,
        }
    }

    /// What stands for what in dialogues; a name before those that it begins with.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("$USER", self.user.clone()),
            ("$OTHER", self.other.clone()),
            ("$NOBODY", self.nobody.clone()),
            ("$ACCOUNT", self.account.clone()),
            ("$CLIENT", self.client.clone()),
            ("$FROM", "stranger@elsewhere.example".to_owned()),
            ("$FOREIGN", "someone@elsewhere.example".to_owned()),
        ]
    }

    /// From lines `key = value`.
    pub fn parse(text: &str) -> Result<Subject, String> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let pairs: BTreeMap<&str, &str> = pairs.map(|(key, value)| (key.trim(), value.trim())).collect();
        let text = |key: &str| pairs.get(key).map(|value| (*value).to_owned());
        let need = |key: &str| text(key).ok_or(format!("{key} is missing"));
        let address = |key: &str| match text(key) {
            None => Ok(None),
            Some(value) => {
                value.parse().map(Some).map_err(|_| format!("{key}: {value:?} is no address and port"))
            }
        };
        Ok(Subject {
            name: need("name")?,
            relay: address("relay")?.ok_or("relay is missing")?,
            submission: address("submission")?,
            submissions: address("submissions")?,
            user: need("user")?,
            other: need("other")?,
            nobody: need("nobody")?,
            account: text("account").unwrap_or_default(),
            password: text("password").unwrap_or_default(),
            client: text("client").unwrap_or_else(|| "client.example".to_owned()),
        })
    }
}
