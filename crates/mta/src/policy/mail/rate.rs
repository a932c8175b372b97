//! How many messages and recipients an account, its domain, or a stranger's address may bring.

use std::net::IpAddr;
use std::time::Duration;

use postroad_config::Rates;
use postroad_types::{AccountId, Reply};

use crate::consignment::reply;
use crate::policy::client::{Client, network};
use crate::policy::rate::RateLimiter;
use crate::policy::verdict::Finding;

/// The limits of stages mail and rcpt.
#[derive(Debug)]
pub struct MailRates {
    messages: Limits,
    recipients: Limits,
    account_recipients_max: usize,
}

#[derive(Debug)]
struct Limits {
    what: &'static str,
    account: RateLimiter<AccountId>,
    domain: RateLimiter<Box<str>>,
    address: RateLimiter<IpAddr>,
}

impl MailRates {
    pub fn new(rates: &Rates) -> Self {
        MailRates {
            messages: Limits {
                what: "messages",
                account: RateLimiter::new(rates.messages_per_account),
                domain: RateLimiter::new(rates.messages_per_domain),
                address: RateLimiter::new(rates.messages_per_address),
            },
            recipients: Limits {
                what: "recipients",
                account: RateLimiter::new(rates.recipients_per_account),
                domain: RateLimiter::new(rates.recipients_per_domain),
                address: RateLimiter::new(rates.recipients_per_address),
            },
            account_recipients_max: rates.account_recipients_max,
        }
    }

    /// One more message.
    pub fn message(&self, client: &Client, now: Duration) -> Finding {
        let late = |text| reply(450, (4, 7, 1), text);
        self.messages.check("message-rate", client, now, late)
    }

    /// One more recipient, behind `accepted` of the same message.
    pub fn recipient(&self, client: &Client, accepted: usize, now: Duration) -> Finding {
        const CHECK: &str = "recipient-rate";
        let max = self.account_recipients_max;
        if client.account.is_some() && max > 0 && accepted >= max {
            let text = format!("a message of yours has at most {max} recipients, send it to the others anew");
            return Finding::refuse(CHECK, reply(452, (4, 5, 3), text));
        }
        self.recipients.check(CHECK, client, now, |text| reply(452, (4, 7, 1), text))
    }
}

impl Limits {
    fn check(
        &self,
        check: &'static str,
        client: &Client,
        now: Duration,
        late: impl Fn(String) -> Reply,
    ) -> Finding {
        let refused = |whose: String, rate: postroad_config::Rate, wait: Duration| {
            let wait = wait.as_secs() + 1;
            let text = format!("{whose} sends more than {rate} {}, come back in {wait} s", self.what);
            Finding::refuse(check, late(text))
        };
        if let Some(account) = &client.account {
            if let Err(wait) = self.account.check(&account.id, now) {
                return refused(account.address.clone(), self.account.rate(), wait);
            }
            if let Some((_, domain)) = account.address.rsplit_once('@') {
                let domain: Box<str> = domain.to_ascii_lowercase().into();
                if let Err(wait) = self.domain.check(&domain, now) {
                    return refused(domain.into(), self.domain.rate(), wait);
                }
            }
        } else if client.is_stranger() {
            let key = if client.peer.is_ipv4() { client.peer } else { network(client.peer) };
            if let Err(wait) = self.address.check(&key, now) {
                return refused(client.peer.to_string(), self.address.rate(), wait);
            }
        }
        Finding::clean(check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Account;
    use postroad_config::Rate;

    fn account(id: u64, address: &str) -> Client {
        let account = Account { id: AccountId(id), address: address.into() };
        Client { account: Some(account), ..Client::new("192.0.2.7".parse().unwrap(), true) }
    }

    #[test]
    fn accounts_their_domains_and_strangers_have_their_limits() {
        let hour = Duration::from_secs(3600);
        let rates = MailRates::new(&Rates {
            messages_per_account: Rate::new(2, hour),
            messages_per_domain: Rate::new(3, hour),
            messages_per_address: Rate::new(1, hour),
            account_recipients_max: 2,
            ..Rates::default()
        });
        let (alice, bob, carol) =
            (account(1, "alice@a.test"), account(2, "bob@A.test"), account(3, "carol@b.test"));
        let stranger = Client::new("192.0.2.9".parse().unwrap(), false);
        let trusted = Client { relays: true, ..stranger.clone() };
        for (client, passes) in [
            (&alice, true),
            (&alice, true),
            (&alice, false),
            (&bob, true),
            (&bob, false),
            (&carol, true),
            (&stranger, true),
            (&stranger, false),
            (&trusted, true),
        ] {
            let finding = rates.message(client, hour);
            assert_eq!(finding.verdict.name(), if passes { "pass" } else { "defer" }, "{finding:?}");
        }
        assert_eq!(rates.recipient(&alice, 1, hour).verdict.name(), "pass");
        assert_eq!(rates.recipient(&alice, 2, hour).verdict.name(), "defer");
        assert_eq!(rates.recipient(&stranger, 2, hour).verdict.name(), "pass");
    }
}
