//! Greylisting (RFC 6647): an unknown client, sender and recipient are asked to come again after a while. Mail
//! servers do; most programs that spread junk do not, and by then the others may be on a list.
//!
//! ```text
//!   unknown --first try--> waiting --again after `delay`, within `retry_within`--> known, for `keep` after each mail
//!      ^                     |  again too early: asked again, the clock is not set back
//!      +--too late-----------+
//! ```
//!
//! A large provider tries again from another of its hosts. So the client's key is what its hosts share: the
//! domain of its confirmed name (`mail-ed1.example.com` and `mail-pa2.example.com` are `example.com`), unless the
//! name holds its address, as those of customers' lines do; else its network, /24 or /64. Digits in the sender's
//! local part are blurred, since lists write a number of their own into each (VERP). A client of whom `auto_allow`
//! tuples are known is not asked any more.
//!
//! What is known is kept over restarts. If it can't be read or written, mail passes.

mod sqlite;
mod store;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use postroad_config::Greylist as Settings;
use postroad_service::Clock;
use postroad_types::{Address, ReversePath};

use crate::consignment::reply;
use crate::policy::client::{Client, network};
use crate::policy::verdict::Finding;

pub use sqlite::SqliteGreylist;
pub use store::{Fault, GreylistStore, MemoryGreylist, Seconds, Seen, Tuple};

const CHECK: &str = "greylist";

/// The check with its memory.
pub struct Greylist {
    settings: Settings,
    store: Arc<dyn GreylistStore>,
}

impl std::fmt::Debug for Greylist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Greylist").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What is to be done with a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Known: keeps it for `keep` from now on.
    Pass(Seen),
    /// Known from now on: `seconds` since the first try.
    PassFirst(Seen, Seconds),
    /// To come again in so many seconds.
    Wait(Seen, Seconds),
}

impl Greylist {
    pub fn new(settings: Settings, store: Arc<dyn GreylistStore>) -> Self {
        Greylist { settings, store }
    }

    pub(super) async fn check(
        &self,
        client: &Client,
        sender: &ReversePath,
        recipient: &Address,
        clock: &dyn Clock,
    ) -> Finding {
        if !self.settings.enabled {
            return Finding::clean(CHECK);
        }
        let since = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let tuple = Tuple {
            client: client_key(client.peer, client.name.as_deref()),
            sender: sender_key(sender),
            recipient: recipient.to_string().to_lowercase(),
        };
        match self.weigh(&tuple, now).await {
            Ok(finding) => finding,
            Err(error) => {
                tracing::error!(%error, "greylisting is out of order; mail passes without it");
                Finding::pass(CHECK, format!("not checked: {error}"))
            }
        }
    }

    async fn weigh(&self, tuple: &Tuple, now: Seconds) -> Result<Finding, Fault> {
        let keep_since = now.saturating_sub(seconds(self.settings.keep));
        if self.settings.auto_allow > 0 {
            let known = self.store.known(&tuple.client, keep_since).await?;
            if known >= u64::from(self.settings.auto_allow) {
                // What it brings is not kept, but that it comes is.
                self.store.touch(&tuple.client, now).await?;
                return Ok(Finding::pass(CHECK, format!("{} is known", tuple.client)));
            }
        }
        let decision = decide(self.store.get(tuple).await?, now, &self.settings);
        match decision {
            Decision::Pass(seen) => {
                self.store.put(tuple, seen).await?;
                Ok(Finding::clean(CHECK))
            }
            Decision::PassFirst(seen, after) => {
                self.store.put(tuple, seen).await?;
                Ok(Finding::pass(CHECK, format!("came again after {after} s")))
            }
            Decision::Wait(seen, wait) => {
                self.store.put(tuple, seen).await?;
                let text = format!("greylisted, come again in {wait} s");
                let mut finding = Finding::refuse(CHECK, reply(451, (4, 7, 1), text));
                finding.reason = format!("{} is unknown, to come again in {wait} s", tuple.client);
                Ok(finding)
            }
        }
    }

    /// Forgets what is too old. To be called now and then.
    pub async fn expire(&self, clock: &dyn Clock) {
        if !self.settings.enabled {
            return;
        }
        let since = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let waiting = now.saturating_sub(seconds(self.settings.retry_within));
        let known = now.saturating_sub(seconds(self.settings.keep));
        if let Err(error) = self.store.expire(waiting, known).await {
            tracing::error!(%error, "old greylist entries can not be removed");
        }
    }
}

fn decide(seen: Option<Seen>, now: Seconds, settings: &Settings) -> Decision {
    let delay = seconds(settings.delay);
    let anew = Decision::Wait(Seen { first: now, last: now, known: false }, delay);
    let Some(seen) = seen else { return anew };
    let age = now.saturating_sub(seen.first);
    if seen.known {
        let idle = now.saturating_sub(seen.last);
        return if idle <= seconds(settings.keep) {
            Decision::Pass(Seen { last: now, ..seen })
        } else {
            anew
        };
    }
    // A clock that was set back begins anew.
    if age < 0 || age > seconds(settings.retry_within) {
        anew
    } else if age < delay {
        Decision::Wait(Seen { last: now, ..seen }, delay - age)
    } else {
        Decision::PassFirst(Seen { last: now, known: true, ..seen }, age)
    }
}

fn seconds(duration: std::time::Duration) -> Seconds {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// What the hosts of one provider share.
fn client_key(peer: IpAddr, name: Option<&str>) -> String {
    let network = || match peer {
        IpAddr::V4(_) => format!("{}/24", network(peer)),
        IpAddr::V6(_) => format!("{}/64", network(peer)),
    };
    let Some(name) = name.filter(|name| !holds_address(name, peer)) else { return network() };
    match name.split_once('.') {
        Some((_, parent)) if parent.contains('.') => parent.to_owned(),
        _ => name.to_owned(),
    }
}

/// Whether a name is made from the address: `192-0-2-7.dyn.example.net`, `c0000207.example.net`.
fn holds_address(name: &str, peer: IpAddr) -> bool {
    let numbers: Vec<&str> =
        name.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty()).collect();
    match peer {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            let has = |octet: u8| numbers.iter().any(|number| number.parse() == Ok(octet));
            let hex = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
            (has(c) && has(d)) || name.contains(&hex)
        }
        IpAddr::V6(v6) => {
            let [.., last] = v6.segments();
            last != 0 && name.contains(&format!("{last:x}"))
        }
    }
}

/// The sender with the numbers in its local part blurred; `<>` stays as it is.
fn sender_key(sender: &ReversePath) -> String {
    let ReversePath::Address(address) = sender else { return "<>".to_owned() };
    let local = address.local.unquoted().to_lowercase();
    let mut blurred = String::with_capacity(local.len());
    for c in local.chars() {
        if !c.is_ascii_digit() {
            blurred.push(c);
        } else if !blurred.ends_with('#') {
            blurred.push('#');
        }
    }
    format!("{blurred}@{}", address.host.to_string().to_lowercase())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings() -> Settings {
        Settings {
            enabled: true,
            delay: Duration::from_secs(300),
            retry_within: Duration::from_secs(3600),
            keep: Duration::from_secs(86_400),
            auto_allow: 2,
        }
    }

    fn tuple(client: &str, sender: &str) -> Tuple {
        Tuple { client: client.into(), sender: sender.into(), recipient: "bob@beta.test".into() }
    }

    #[test]
    fn hosts_of_one_provider_are_one_client() {
        for (peer, name, key) in [
            ("192.0.2.7", None, "192.0.2.0/24"),
            ("2001:db8:1:2:3::7", None, "2001:db8:1:2::/64"),
            ("192.0.2.7", Some("mail-ed1-f41.example.com"), "example.com"),
            ("192.0.2.7", Some("mx.example.com"), "example.com"),
            ("192.0.2.7", Some("example.com"), "example.com"),
            ("192.0.2.7", Some("a.outbound.example.com"), "outbound.example.com"),
            ("192.0.2.7", Some("192-0-2-7.dyn.example.net"), "192.0.2.0/24"),
            ("192.0.2.7", Some("host7.2.example.net"), "192.0.2.0/24"),
            ("192.0.2.7", Some("c0000207.example.net"), "192.0.2.0/24"),
            ("2001:db8::ab:cd12", Some("2001-db8--ab-cd12.example.net"), "2001:db8::/64"),
        ] {
            assert_eq!(client_key(peer.parse().unwrap(), name), key, "{name:?}");
        }
    }

    #[test]
    fn numbers_in_senders_are_blurred() {
        let key = |sender: &str| sender_key(&sender.parse().unwrap());
        assert_eq!(key("List-1234-Bob=beta.test@Lists.test"), key("list-77-bob=beta.test@lists.test"));
        assert_eq!(key(""), "<>");
        assert_ne!(key("a@b.test"), key("b@b.test"));
    }

    async fn walks(store: Arc<dyn GreylistStore>) {
        let greylist = Greylist::new(settings(), store);
        let at = |now| greylist.weigh(&ONE, now);
        static ONE: std::sync::LazyLock<Tuple> = std::sync::LazyLock::new(|| tuple("example.com", "a@b"));
        for (now, verdict) in [
            (0, "defer"),
            (10, "defer"),
            (299, "defer"),
            (300, "pass"),
            (301, "pass"),
            (301 + 86_400, "pass"),
            (301 + 2 * 86_400 + 1, "defer"),
            // Too late.
            (301 + 3 * 86_400, "defer"),
        ] {
            assert_eq!(at(now).await.unwrap().verdict.name(), verdict, "at {now}");
        }
        // Two known tuples vouch for the client, whatever it sends then.
        for sender in ["c@d", "e@f"] {
            greylist.weigh(&tuple("good.test", sender), 0).await.unwrap();
            assert_eq!(
                greylist.weigh(&tuple("good.test", sender), 400).await.unwrap().verdict.name(),
                "pass"
            );
        }
        let new = greylist.weigh(&tuple("good.test", "new@g"), 86_000).await.unwrap();
        assert_eq!((new.verdict.name(), new.reason.as_str()), ("pass", "good.test is known"));
        // It comes every day and stays known.
        assert_eq!(greylist.weigh(&tuple("good.test", "x@g"), 172_000).await.unwrap().verdict.name(), "pass");
        assert_eq!(
            greylist.weigh(&tuple("good.test", "y@g"), 400_000).await.unwrap().verdict.name(),
            "defer"
        );
    }

    #[tokio::test]
    async fn a_client_comes_again_and_is_known_for_a_while() {
        walks(Arc::new(MemoryGreylist::default())).await;
        let dir = tempfile::tempdir().unwrap();
        walks(Arc::new(SqliteGreylist::open(&dir.path().join("greylist.sqlite")).unwrap())).await;
    }
}
