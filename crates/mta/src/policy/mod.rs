//! Policy: may this client do that? One pipeline with a stage per moment of the dialogue, a folder per stage and a
//! file per check. Each check gives a [`Verdict`](verdict::Verdict) with a reason; both stand in the message's
//! timeline (step `policy`) and in the metric `postroad_mta_policy_total`. The first refusal ends its stage.
//!
//! | stage | asked at | checks, in their order | of whom |
//! | --- | --- | --- | --- |
//! | connect | before the greeting | connection-rate: connections per address and network | all but trusted and exempt networks |
//! | | | early-talker: who talks before the greeting; dnsbl: block and allow lists; reverse-dns: the address has a name that leads back | strangers |
//! | helo | HELO, EHLO | helo-ours, helo-literal, helo-fqdn, helo-resolves: the name it gives itself | strangers |
//! | mail | MAIL | account-sender: the sender belongs to the account | accounts |
//! | | | own-sender: a sender of ours needs a login | who may not relay |
//! | | | sender-domain: the sender's domain exists and takes mail | strangers |
//! | | | message-rate | accounts, strangers |
//! | rcpt | RCPT | recipient: relaying, and whether the recipient exists and has room | all |
//! | | | recipient-rate: per hour and per message | accounts, strangers |
//! | | | score: all marks so far together; greylist; tarpit: a late answer to one refusal too many | strangers |
//! | data | the header section is here | loop: too many Received | all |
//! | | | author: From or Sender belongs to the account | accounts |
//! | | | header-fields, header-missing, header-duplicated | strangers |
//! | | the message is whole | mime-limits, attachment: parts and their names and types | strangers |
//! | | | rspamd: a content filter's verdict | strangers, accounts by setting |
//! | | | score: all marks together | strangers |
//!
//! A *stranger* is who has not logged in, on port 25, from neither `relay_networks` nor `exempt_networks`
//! ([`Client::is_stranger`]). Those for whom the lists of stage connect vouch skip reverse-dns, stage helo and
//! greylist. Postmaster is never greylisted. How many connections there may be at a time is decided before, by
//! the listener's gate.
//!
//! What can't be found out is not held against anyone: look-ups that fail or are late pass, and so does mail while
//! greylisting or rspamd is out of order, unless a setting says to defer it. The directory alone is never guessed:
//! without it clients are put off.
//!
//! VRFY and EXPN are answered as [`verify`](postroad_config::Verify) says. On submission the header section is then completed ([`data::submission`]), and addresses are rewritten before
//! they are looked at ([`rewrite`]).

mod client;
mod connect;
pub mod data;
#[cfg(test)]
pub mod fake;
mod helo;
mod lookup;
mod mail;
mod rate;
mod rcpt;
mod rewrite;
#[cfg(test)]
mod tests;
pub mod verdict;
mod verify;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use postroad_config::{Policy as Settings, Rewrite};
use postroad_service::{Clock, Drain};
use postroad_types::{Address, Domain, Reply, ReversePath};

use crate::consignment::reply;
use crate::directory::CachedDirectory;
use crate::route::{DnsLookup, OwnHost};
use connect::{ConnectionRates, Lists};
use data::Rspamd;
use lookup::Lookup;
use mail::MailRates;
use rcpt::greylist::Greylist;
use rewrite::Rewrites;
use verdict::Finding;

pub use client::Client;
pub use connect::EarlyTalk;
pub use rcpt::greylist::{GreylistStore, MemoryGreylist, SqliteGreylist};
pub use rcpt::{Accepted, Envelope};

/// Between two rounds in which greylisting forgets what is too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);

/// What policy is made of.
#[allow(missing_debug_implementations, reason = "the storage behind it has none")]
pub struct Parts {
    pub settings: Settings,
    pub rewrites: Vec<Rewrite>,
    /// Who may send to anyone.
    pub relay_networks: Vec<IpNet>,
    /// Whose mail is taken from anyone and passed on.
    pub relay_domains: Vec<Domain>,
    /// Who `<postmaster>` is.
    pub postmaster: Address,
    /// Our name and addresses.
    pub own: OwnHost,
    pub directory: Arc<CachedDirectory>,
    pub dns: Arc<dyn DnsLookup>,
    pub clock: Arc<dyn Clock>,
    pub greylist: Arc<dyn GreylistStore>,
    /// Where large messages lie while a content filter looks at them.
    pub scratch_dir: PathBuf,
}

/// The checks with what they keep in mind.
#[derive(Debug)]
pub struct Policy {
    shared: Shared,
    relay_networks: Vec<IpNet>,
    connection_rates: ConnectionRates,
    lists: Lists,
    mail_rates: MailRates,
    greylist: Greylist,
    rspamd: Option<Rspamd>,
    rewrites: Rewrites,
}

/// What several checks need.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    own: OwnHost,
    postmaster: Address,
    relay_domains: Vec<Domain>,
    directory: Arc<CachedDirectory>,
    lookup: Lookup,
    clock: Arc<dyn Clock>,
    scratch_dir: PathBuf,
}

impl Policy {
    pub fn new(parts: Parts) -> Self {
        let settings = &parts.settings;
        Policy {
            relay_networks: parts.relay_networks,
            connection_rates: ConnectionRates::new(&settings.rate),
            lists: Lists::new(&settings.dnsbl, settings.dnsbl_refuse_score),
            mail_rates: MailRates::new(&settings.rate),
            greylist: Greylist::new(settings.greylist.clone(), parts.greylist),
            rspamd: Rspamd::new(&settings.rspamd),
            rewrites: Rewrites::new(&parts.rewrites),
            shared: Shared {
                lookup: Lookup::new(parts.dns, settings.lookup_timeout),
                own: parts.own,
                postmaster: parts.postmaster,
                relay_domains: parts.relay_domains,
                directory: parts.directory,
                clock: parts.clock,
                scratch_dir: parts.scratch_dir,
                settings: parts.settings,
            },
        }
    }

    /// What is known of a client by its address alone.
    pub fn client(&self, peer: IpAddr, submits: bool) -> Client {
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&peer));
        Client {
            relays: is_in(&self.relay_networks),
            exempt: is_in(&self.shared.settings.exempt_networks),
            ..Client::new(peer, submits)
        }
    }

    /// The sender that stands for this one.
    pub fn sender(&self, sender: &ReversePath) -> ReversePath {
        self.rewrites.sender(sender)
    }

    /// Whether Received is not to tell where this client is.
    pub fn hides(&self, client: &Client) -> bool {
        let settings = &self.shared.settings;
        client.account.as_ref().is_some_and(|account| {
            let except = account.address.rsplit_once('@').is_some_and(|(_, domain)| {
                settings.hide_submitter_except.iter().any(|one| one.ascii().eq_ignore_ascii_case(domain))
            });
            settings.hide_submitter != except
        })
    }

    /// Keeps house until the drain's first step.
    pub async fn run(&self, drain: Drain) {
        loop {
            self.greylist.expire(&*self.shared.clock).await;
            tokio::select! {
                () = drain.stopping() => return,
                () = self.shared.clock.sleep(EXPIRE_EVERY) => {}
            }
        }
    }

    /// All marks together.
    fn score(&self, score: u32) -> Finding {
        const CHECK: &str = "score";
        let most = self.shared.settings.refuse_score;
        if most == 0 || score < most {
            return Finding::clean(CHECK);
        }
        let text = "too much speaks against your message; the postmaster here can see what";
        let finding = Finding::refuse(CHECK, reply(550, (5, 7, 1), text));
        Finding { reason: format!("score {score} of {most}"), ..finding }
    }
}

/// The directory could not be asked: the client keeps its mail and comes again.
fn try_later(error: &crate::directory::DirectoryError) -> Reply {
    tracing::warn!(%error, "a client is put off");
    reply(451, (4, 3, 0), "the directory does not answer, try again later")
}
