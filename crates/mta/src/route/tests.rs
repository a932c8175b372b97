//! How a domain's hosts are found, each answer of DNS in its turn.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::*;

/// A little DNS: what is not in it does not exist.
#[derive(Default)]
struct Zone {
    mx: HashMap<&'static str, DnsAnswer<Mx>>,
    hosts: HashMap<&'static str, DnsAnswer<IpAddr>>,
}

fn records<T>(records: Vec<T>) -> DnsAnswer<T> {
    DnsAnswer::Records { records, ttl: Duration::from_secs(300), secure: false }
}

impl Zone {
    fn mx(mut self, domain: &'static str, list: &[(u16, &str)]) -> Self {
        let list = list.iter().map(|(p, e)| Mx { preference: *p, exchange: (*e).into() }).collect();
        self.mx.insert(domain, records(list));
        self
    }
    fn host(mut self, name: &'static str, address: &str) -> Self {
        self.hosts.insert(name, records(vec![address.parse().unwrap()]));
        self
    }
}

#[async_trait]
impl DnsLookup for Zone {
    async fn mx(&self, domain: &str) -> DnsAnswer<Mx> {
        match self.mx.get(domain) {
            Some(answer) => answer.clone(),
            None if self.hosts.contains_key(domain) => DnsAnswer::NoRecords,
            None => DnsAnswer::NoSuchDomain,
        }
    }
    async fn addresses(&self, host: &str, family: Family) -> DnsAnswer<IpAddr> {
        match self.hosts.get(host) {
            Some(DnsAnswer::Records { records: all, ttl, secure }) => {
                let fitting: Vec<IpAddr> =
                    all.iter().copied().filter(|ip| ip.is_ipv6() == (family == Family::Aaaa)).collect();
                if fitting.is_empty() {
                    DnsAnswer::NoRecords
                } else {
                    DnsAnswer::Records { records: fitting, ttl: *ttl, secure: *secure }
                }
            }
            Some(other) => other.clone(),
            None => DnsAnswer::NoSuchDomain,
        }
    }
    async fn names(&self, _: IpAddr) -> DnsAnswer<String> {
        DnsAnswer::NoSuchDomain
    }
    async fn texts(&self, _: &str) -> DnsAnswer<String> {
        DnsAnswer::NoSuchDomain
    }
}

fn router(zone: Zone) -> Router {
    let own =
        OwnHost { name: "mx.alpha.test".parse().unwrap(), addresses: vec!["192.0.2.100".parse().unwrap()] };
    Router::new(Arc::new(zone), own, 25, Rules::default())
}

/// By MX.
fn wanted(host: &str) -> Wanted {
    Rules::default().by_mx(host.parse().unwrap())
}

async fn route(zone: Zone, host: &str) -> Route {
    router(zone).find(&wanted(host)).await.routed.route.clone()
}

fn names(route: &Route) -> Vec<String> {
    match route {
        Route::Hosts(d) => d.hosts.iter().map(|h| h.name.to_string()).collect(),
        other => panic!("no hosts: {other:?}"),
    }
}

fn refusal(route: &Route) -> (u16, String) {
    match route {
        Route::Rejected(r) | Route::Deferred(r) => (r.code, r.enhanced.unwrap().to_string()),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn hosts_are_ordered_by_preference_and_those_without_address_left_out() {
    let zone = Zone::default()
        .mx("beta.test", &[(20, "b.beta.test"), (10, "a.beta.test"), (5, "gone.beta.test")])
        .host("a.beta.test", "192.0.2.1")
        .host("b.beta.test", "2001:db8::2");
    assert_eq!(names(&route(zone, "beta.test").await), ["a.beta.test", "b.beta.test"]);
}

#[tokio::test]
async fn a_null_mx_is_permanent_with_its_own_code() {
    let zone = Zone::default().mx("beta.test", &[(0, "")]).host("beta.test", "192.0.2.1");
    assert_eq!(refusal(&route(zone, "beta.test").await), (556, "5.1.10".into()));
}

#[tokio::test]
async fn without_mx_the_domain_itself_is_the_host() {
    let zone = Zone::default().host("beta.test", "192.0.2.1");
    assert_eq!(names(&route(zone, "beta.test").await), ["beta.test"]);
}

#[tokio::test]
async fn what_does_not_exist_is_permanent_and_what_cannot_be_asked_is_not() {
    assert_eq!(refusal(&route(Zone::default(), "beta.test").await), (550, "5.1.2".into()));
    let mut zone = Zone::default();
    zone.mx.insert("beta.test", DnsAnswer::Failed(Failure::ServFail));
    assert_eq!(refusal(&route(zone, "beta.test").await), (451, "4.4.3".into()));
    let zone = Zone::default().mx("beta.test", &[(10, "nowhere.beta.test")]);
    assert_eq!(refusal(&route(zone, "beta.test").await), (550, "5.4.4".into()));
    let mut zone = Zone::default().mx("beta.test", &[(10, "a.beta.test"), (20, "gone.beta.test")]);
    zone.hosts.insert("a.beta.test", DnsAnswer::Failed(Failure::Other("time-out".into())));
    assert_eq!(refusal(&route(zone, "beta.test").await), (451, "4.4.3".into()));
}

#[tokio::test]
async fn where_we_are_a_backup_only_better_hosts_are_used() {
    let zone = Zone::default()
        .mx(
            "beta.test",
            &[(10, "a.beta.test"), (20, "mx.alpha.test"), (20, "c.beta.test"), (30, "d.beta.test")],
        )
        .host("a.beta.test", "192.0.2.1")
        .host("mx.alpha.test", "192.0.2.100")
        .host("c.beta.test", "192.0.2.3")
        .host("d.beta.test", "192.0.2.4");
    assert_eq!(names(&route(zone, "beta.test").await), ["a.beta.test"]);
}

#[tokio::test]
async fn where_we_are_the_best_host_it_is_a_loop() {
    let by_name =
        Zone::default().mx("beta.test", &[(10, "mx.alpha.test")]).host("mx.alpha.test", "192.0.2.77");
    assert_eq!(refusal(&route(by_name, "beta.test").await), (554, "5.4.6".into()));
    let by_address =
        Zone::default().mx("beta.test", &[(10, "mail.beta.test")]).host("mail.beta.test", "192.0.2.100");
    assert_eq!(refusal(&route(by_address, "beta.test").await), (554, "5.4.6".into()));
    assert_eq!(refusal(&route(Zone::default(), "[192.0.2.100]").await), (554, "5.4.6".into()));
}

#[tokio::test]
async fn a_literal_is_its_own_host() {
    assert_eq!(names(&route(Zone::default(), "[192.0.2.9]").await), ["[192.0.2.9]"]);
}

#[tokio::test(start_paused = true)]
async fn a_route_is_kept_for_a_while_and_asked_again_after() {
    let router =
        router(Zone::default().mx("beta.test", &[(10, "a.beta.test")]).host("a.beta.test", "192.0.2.1"));
    let host = wanted("beta.test");
    let found = router.find(&host).await;
    assert_eq!((found.routed.questions.len(), found.known_for), (3, None), "MX, A and AAAA were asked");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(router.find(&host).await.known_for, Some(Duration::from_secs(2)));
    tokio::time::advance(Duration::from_secs(limits::ROUTE_CACHE_SECONDS_MAX + 1)).await;
    assert!(router.kept(&host).is_none());
    assert_eq!(router.find(&host).await.known_for, None, "asked again");
}

#[tokio::test]
async fn a_host_of_a_rule_is_found_without_its_mx_and_never_bounces_mail() {
    let zone = || Zone::default().mx("relay.test", &[(10, "wrong.test")]).host("relay.test", "192.0.2.7");
    let find = async |via: &str| {
        let router = router(zone());
        let to = "x@beta.test".parse().unwrap();
        let Some(Way::Out(wanted)) = router.rules().chosen(via, &to) else { panic!("{via}") };
        router.find(&wanted).await.routed.route.clone()
    };
    let Route::Hosts(found) = find("smtp://relay.test:587").await else { panic!() };
    let hop = &found.hops(&mut rand::rng())[0];
    assert_eq!((&*hop.name, hop.address), ("relay.test", "192.0.2.7:587".parse().unwrap()));
    let Route::Hosts(found) = find("lmtp://192.0.2.8").await else { panic!() };
    assert_eq!(found.hops(&mut rand::rng())[0].address, "192.0.2.8:24".parse().unwrap());
    assert_eq!(refusal(&find("smtp://gone.test").await), (451, "4.4.3".into()));
}

#[tokio::test]
async fn names_that_dnssec_vouches_for_are_known_as_such() {
    let vouched = async |mx_secure: bool, address_secure: bool| {
        let mut zone =
            Zone::default().mx("beta.test", &[(10, "a.beta.test")]).host("a.beta.test", "192.0.2.1");
        if let Some(DnsAnswer::Records { secure, .. }) = zone.mx.get_mut("beta.test") {
            *secure = mx_secure;
        }
        if let Some(DnsAnswer::Records { secure, .. }) = zone.hosts.get_mut("a.beta.test") {
            *secure = address_secure;
        }
        match route(zone, "beta.test").await {
            Route::Hosts(destination) => destination.secure,
            other => panic!("no hosts: {other:?}"),
        }
    };
    // Whoever changes addresses alone has no certificate for the name.
    assert!(vouched(true, false).await && vouched(true, true).await);
    assert!(!vouched(false, true).await && !vouched(false, false).await);
    // Without MX records the name is the domain's own, which nobody put there.
    let implicit = route(Zone::default().host("beta.test", "192.0.2.1"), "beta.test").await;
    assert!(matches!(implicit, Route::Hosts(destination) if destination.secure));
    let mut zone = Zone::default();
    zone.mx.insert("beta.test", DnsAnswer::Failed(Failure::Bogus));
    assert_eq!(
        refusal(&route(zone, "beta.test").await),
        (451, "4.4.3".into()),
        "bogus is as good as no answer"
    );
}
