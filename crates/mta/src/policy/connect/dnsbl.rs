//! Lists of addresses in DNS that speak against a client, or for it (RFC 5782).
//!
//! The address is asked for with its octets (IPv6: its nibbles) reversed under the list's zone; an A record in
//! 127.0.0.0/8 is a listing. Each list has a weight, and the sum decides: below zero the lists vouch for the
//! client, at `dnsbl_refuse_score` it is refused with the text (TXT) of the list that weighs most.
//!
//! Lists die, and some of the dead list the whole Internet. So each is looked at first, and every hour: 127.0.0.1
//! must not be listed and 127.0.0.2 must be (§5; for IPv6 ::FFFF:7F00:1 and ::FFFF:7F00:2). One that fails is
//! switched off with a line in the log, and on again when it has recovered. 127.255.255.0/24 are a list's errors
//! ("you ask through a public resolver") and never listings. A list that does not answer says nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use postroad_config::Dnsbl;
use postroad_types::limits::POLICY_TEXT_OCTETS_MAX;
use tokio::time::Instant;

use crate::consignment::reply;
use crate::policy::lookup::Questions;
use crate::policy::verdict::{Finding, Verdict};
use crate::route::{DnsAnswer, Family};

const CHECK: &str = "dnsbl";
/// Between two looks at a list that is well, or that is not.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// After a look that was not answered.
const LOOK_SOON: Duration = Duration::from_secs(60);

/// The lists of the configuration.
#[derive(Debug)]
pub struct Lists {
    lists: Vec<List>,
    refuse_score: i32,
}

#[derive(Debug)]
struct List {
    config: Dnsbl,
    /// As queries name it: no final dot, lower case.
    zone: String,
    v4: Mutex<Health>,
    v6: Mutex<Health>,
}

/// What the last look at a list showed, for one address family.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    usable: Option<bool>,
    until: Option<Instant>,
}

impl Lists {
    pub fn new(configs: &[Dnsbl], refuse_score: i32) -> Self {
        let list = |config: &Dnsbl| List {
            config: config.clone(),
            zone: config.zone.trim_end_matches('.').to_ascii_lowercase(),
            v4: Mutex::default(),
            v6: Mutex::default(),
        };
        Lists { lists: configs.iter().map(list).collect(), refuse_score }
    }

    /// The finding, and the sum of the weights.
    pub(super) async fn check(&self, peer: IpAddr, dns: &Questions<'_>) -> (Finding, i32) {
        let hits = join_all(self.lists.iter().map(|list| async move {
            let hit = list.is_usable(peer.is_ipv6(), dns).await && list.lists(peer, dns).await;
            hit.then_some(list)
        }))
        .await;
        let mut hits: Vec<&List> = hits.into_iter().flatten().collect();
        hits.sort_by_key(|list| std::cmp::Reverse(list.config.weight));
        let score = hits.iter().map(|list| list.config.weight).fold(0, i32::saturating_add);
        let zones = || hits.iter().map(|list| list.zone.as_str()).collect::<Vec<_>>().join(", ");
        let finding = match (score, hits.first()) {
            (_, None) => Finding::clean(CHECK),
            (score, Some(worst)) if score >= self.refuse_score => {
                let mut text = format!("{peer} is listed by {}", worst.zone);
                if let Some(why) = worst.text(peer, dns).await {
                    text.push_str(&format!(": {why}"));
                }
                let mut finding = Finding::refuse(CHECK, reply(554, (5, 7, 1), text));
                finding.reason.push_str(&format!(" (score {score}: {})", zones()));
                finding
            }
            (1.., _) => Finding {
                check: CHECK,
                verdict: Verdict::Mark(score.unsigned_abs()),
                reason: format!("{peer} is listed by {}", zones()),
            },
            _ => Finding::pass(CHECK, format!("score {score}: {}", zones())),
        };
        (finding, score)
    }
}

impl List {
    async fn lists(&self, address: IpAddr, dns: &Questions<'_>) -> bool {
        self.asked(address, dns).await == Some(true)
    }

    /// Whether the list has an address; nothing if it does not answer.
    async fn asked(&self, address: IpAddr, dns: &Questions<'_>) -> Option<bool> {
        match dns.addresses(&query(address, &self.zone), Family::A).await {
            DnsAnswer::Records { records, .. } => {
                let listing =
                    |ip: &IpAddr| !is_error(*ip) && self.config.codes.iter().any(|c| c.contains(ip));
                if let Some(error) = records.iter().find(|ip| is_error(**ip)) {
                    tracing::warn!(list = self.zone, answer = %error, "a block list answers with an error; see its documentation");
                }
                Some(records.iter().any(listing))
            }
            DnsAnswer::NoSuchDomain | DnsAnswer::NoRecords => Some(false),
            DnsAnswer::Failed(_) => None,
        }
    }

    /// The list's own words on an address, fit for a reply.
    async fn text(&self, address: IpAddr, dns: &Questions<'_>) -> Option<String> {
        let DnsAnswer::Records { records, .. } = dns.texts(&query(address, &self.zone)).await else {
            return None;
        };
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        records.first().map(|text| text.chars().map(plain).take(POLICY_TEXT_OCTETS_MAX).collect())
    }

    async fn is_usable(&self, v6: bool, dns: &Questions<'_>) -> bool {
        let health = if v6 { &self.v6 } else { &self.v4 };
        let known = health.lock().map(|health| *health).unwrap_or_default();
        if let Some(until) = known.until
            && Instant::now() < until
        {
            return known.usable.unwrap_or(true);
        }
        let (never, always) = test_points(v6);
        let (never, always) = tokio::join!(self.asked(never, dns), self.asked(always, dns));
        let (usable, again) = match (never, always) {
            (Some(true), _) => (Some(false), LOOK_AGAIN),
            (Some(false), Some(listed)) => (Some(listed), LOOK_AGAIN),
            // Not known: as it was.
            _ => (known.usable, LOOK_SOON),
        };
        if usable != known.usable {
            self.tell(v6, usable == Some(true), never == Some(true));
        }
        if let Ok(mut health) = health.lock() {
            *health = Health { usable, until: Some(Instant::now() + again) };
        }
        usable.unwrap_or(true)
    }

    fn tell(&self, v6: bool, usable: bool, lists_all: bool) {
        let list = self.zone.as_str();
        match (usable, v6) {
            (true, _) => tracing::info!(list, v6, "a block list is in use: its test entries are right"),
            (false, true) if !lists_all => tracing::info!(list, "a block list has no IPv6 addresses"),
            (false, _) => tracing::warn!(
                list,
                v6,
                lists_all,
                "a block list is switched off: its test entries (RFC 5782 section 5) are wrong; see whether it still exists"
            ),
        }
    }
}

/// What must never be listed, and what must always be.
fn test_points(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        let mapped = |last| IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, last));
        (mapped(1), mapped(2))
    } else {
        (Ipv4Addr::new(127, 0, 0, 1).into(), Ipv4Addr::new(127, 0, 0, 2).into())
    }
}

fn is_error(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.octets().starts_with(&[127, 255, 255]))
}

/// `2.0.0.127.zone`, or 32 nibbles for IPv6 (§2.1, §2.4).
fn query(address: IpAddr, zone: &str) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.{zone}")
        }
        IpAddr::V6(v6) => {
            let mut name = String::with_capacity(64 + zone.len());
            for octet in v6.octets().iter().rev() {
                name.push_str(&format!("{:x}.{:x}.", octet & 15, octet >> 4));
            }
            name + zone
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::fake::FakeDns;
    use crate::policy::lookup::Lookup;

    fn list(zone: &str, weight: i32) -> Dnsbl {
        let codes = vec!["127.0.0.0/8".parse().unwrap()];
        Dnsbl { zone: zone.into(), weight, codes }
    }

    fn lookup(dns: FakeDns) -> Lookup {
        Lookup::new(Arc::new(dns), Duration::from_secs(1))
    }

    async fn asked(lists: &[Dnsbl], dns: FakeDns, peer: &str) -> (&'static str, i32, String) {
        let (finding, score) = Lists::new(lists, 2).check(peer.parse().unwrap(), &lookup(dns).begin()).await;
        (finding.verdict.name(), score, finding.reason)
    }

    #[test]
    fn addresses_are_asked_for_backwards() {
        assert_eq!(query("192.0.2.99".parse().unwrap(), "bl.test"), "99.2.0.192.bl.test");
        let v6 = query("2001:db8:1:2:3:4:567:89ab".parse().unwrap(), "bl.test");
        assert_eq!(
            v6, "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.test",
            "the example of RFC 5782 section 2.4"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn weights_add_up_and_allow_lists_count_against_block_lists() {
        let lists = [list("one.test", 1), list("two.test", 1), list("good.test", -3)];
        let dns = || FakeDns::new().dnsbl("one.test").dnsbl("two.test").dnsbl("good.test");
        assert_eq!(asked(&lists, dns(), "192.0.2.7").await, ("pass", 0, String::new()));
        let one = dns().a("7.2.0.192.one.test", "127.0.0.3");
        assert_eq!(asked(&lists, one, "192.0.2.7").await.0, "mark");
        let both = || dns().a("7.2.0.192.one.test", "127.0.0.3").a("7.2.0.192.two.test", "127.0.0.2");
        let told = both().txt("7.2.0.192.one.test", "see https://one.test/?\r\n192.0.2.7");
        let (verdict, score, reason) = asked(&lists, told, "192.0.2.7").await;
        assert_eq!((verdict, score), ("refuse", 2));
        assert!(reason.contains("listed by one.test: see https://one.test/???192.0.2.7"), "{reason}");
        let good = both().a("7.2.0.192.good.test", "127.0.10.1");
        assert_eq!(asked(&lists, good, "192.0.2.7").await.1, -1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_fails_its_test_is_switched_off() {
        let hit = |dns: FakeDns| dns.a("7.2.0.192.bl.test", "127.0.0.2");
        for (what, dns, verdict) in [
            ("well", FakeDns::new().dnsbl("bl.test"), "refuse"),
            ("dead", FakeDns::new(), "pass"),
            ("lists all", FakeDns::new().dnsbl("bl.test").a("1.0.0.127.bl.test", "127.0.0.2"), "pass"),
            ("does not answer", FakeDns::new().fails("1.0.0.127.bl.test"), "refuse"),
        ] {
            assert_eq!(asked(&[list("bl.test", 2)], hit(dns), "192.0.2.7").await.0, verdict, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn errors_other_codes_and_silence_are_no_listing() {
        let well = || FakeDns::new().dnsbl("bl.test");
        let only = [Dnsbl { codes: vec!["127.0.0.2/31".parse().unwrap()], ..list("bl.test", 2) }];
        let name = "7.2.0.192.bl.test";
        for (dns, verdict) in [
            (well().a(name, "127.0.0.2"), "refuse"),
            (well().a(name, "127.0.0.10"), "pass"),
            (well().a(name, "127.255.255.254"), "pass"),
            (well().a(name, "192.0.2.1"), "pass"),
            (well().fails(name), "pass"),
            (well().hangs(name), "pass"),
        ] {
            assert_eq!(asked(&only, dns, "192.0.2.7").await.0, verdict);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ipv6_is_asked_only_where_the_list_has_it() {
        let (never, always) = test_points(true);
        assert_eq!(query(never, "bl.test").get(..16), Some("1.0.0.0.0.0.f.7."));
        let peer = "2001:db8::1";
        let listed = query(peer.parse().unwrap(), "bl.test");
        let without = FakeDns::new().dnsbl("bl.test").a(&listed, "127.0.0.2");
        assert_eq!(asked(&[list("bl.test", 2)], without, peer).await.0, "pass");
        let with = FakeDns::new().a(&query(always, "bl.test"), "127.0.0.2").a(&listed, "127.0.0.2");
        assert_eq!(asked(&[list("bl.test", 2)], with, peer).await.0, "refuse");
    }
}
