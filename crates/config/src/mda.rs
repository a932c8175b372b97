//! `[mda]`: the directory of domains and accounts, and the mailboxes.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::{listen, size};

/// What a sender hears of a mailbox that is over its quota, at RCPT and at delivery alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FullMailbox {
    /// 552: the sender knows at once, and nothing piles up in queues.
    #[default]
    Refuse,
    /// 452: other hosts try again for days, in the hope that the owner makes room.
    Defer,
}

/// `[mda]`. Which domains and accounts there are is the directory's business: `postroad domain`, `postroad account`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mda {
    /// gRPC: Directory, Delivery, Mailbox, Trace.
    #[serde(with = "listen")]
    pub rpc_listen: Vec<SocketAddr>,
    /// HTTP: /metrics, /healthz, /readyz. It has no access control: keep it off the Internet.
    #[serde(with = "listen")]
    pub admin_listen: Vec<SocketAddr>,
    /// The accounts' Maildirs; without it `mail` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailbox_dir: Option<PathBuf>,
    /// The database of domains, accounts and aliases; without it `directory.sqlite` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory_file: Option<PathBuf>,
    /// Quota of an account that has none of its own; 0: no bound.
    #[serde(with = "size")]
    pub quota: u64,
    /// What a sender hears of a mailbox that is over its quota: `refuse` or `defer`.
    pub full_mailbox: FullMailbox,
    /// Separates the name from the detail in `user+detail`; empty: no details.
    pub recipient_delimiter: String,
    /// Password checks at a time. Each takes 19 MiB and a core for some tens of milliseconds.
    pub password_checks_max: usize,
}

impl Default for Mda {
    fn default() -> Self {
        Mda {
            rpc_listen: crate::loopback(7603),
            admin_listen: crate::loopback(7703),
            mailbox_dir: None,
            directory_file: None,
            quota: 1 << 30,
            full_mailbox: FullMailbox::Refuse,
            recipient_delimiter: "+".to_owned(),
            password_checks_max: 8,
        }
    }
}
