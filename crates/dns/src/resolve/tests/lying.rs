//! Servers that lie, loop or bait without signatures being concerned: one test for each class of advisory, as
//! docs/dns-security.md lists them.

use super::routes::{Route, RouteKind, Routes};
use super::*;

/// The server of alpha.test answers so.
fn alpha_lies(scene: &Scene, lie: impl Fn(&Ask) -> Message + Send + Sync + 'static) {
    scene.host([192, 0, 2, 3], Host::Lies(Box::new(lie)));
}

#[tokio::test]
async fn a_server_that_always_truncates_is_left() {
    let scene = scene();
    alpha_lies(&scene, |ask| {
        let mut message = lie(ask, &[], &[]);
        message.metadata.truncation = true;
        message
    });
    assert_eq!(scene.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL");
    let asked = scene.asked();
    assert!(asked.len() <= 8, "{asked:?}");
}

#[tokio::test]
async fn a_referral_to_the_zone_itself_or_above_is_no_way_on() {
    for cut in ["alpha.test.", "test.", "."] {
        let scene = scene();
        alpha_lies(&scene, move |ask| {
            let mut message = lie(ask, &[], &[(cut, RecordType::NS, "ns.alpha.test.")]);
            message.metadata.authoritative = false;
            message
        });
        assert_eq!(scene.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL", "{cut}");
        let asked = scene.asked();
        assert!(asked.len() <= 8, "{asked:?}");
    }
}

#[tokio::test]
async fn aliases_that_never_end_are_bounded() {
    // CAMP: every alias leads to a longer name, each of which is asked for in parts.
    let scene = scene();
    alpha_lies(&scene, |ask| {
        let (name, chance) = (ask.name.to_string(), rand::random::<u32>());
        let target = format!("a.b.c.d.e.f.g.h{chance}.alpha.test.");
        lie(ask, &[(&name, RecordType::CNAME, &target)], &[])
    });
    assert_eq!(scene.ask("start.alpha.test", Rtype::A).await, "SERVFAIL");
    let asked = scene.asked().len();
    assert!(asked <= postroad_types::limits::DNS_ASKS_PER_QUESTION_MAX, "{asked}");
}

#[tokio::test]
async fn records_of_another_class_are_no_answer() {
    let scene = scene();
    alpha_lies(&scene, |ask| {
        let name = ask.name.to_string();
        let mut message = lie(ask, &[(&name, RecordType::A, "192.0.2.66")], &[]);
        message.answers[0].dns_class = hickory_proto::rr::DNSClass::CH;
        message
    });
    assert_eq!(scene.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL");
    assert!(
        scene
            .resolver
            .dump(&"mx.alpha.test".parse().unwrap())
            .iter()
            .all(|(_, hit)| { matches!(hit.entry, Entry::Failure(..)) })
    );
}

#[tokio::test]
async fn the_order_of_aliases_in_a_message_does_not_matter() {
    let scene = scene();
    alpha_lies(&scene, |ask| {
        let records = [
            ("end.alpha.test.", RecordType::A, "192.0.2.44"),
            ("two.alpha.test.", RecordType::CNAME, "end.alpha.test."),
            ("one.alpha.test.", RecordType::CNAME, "two.alpha.test."),
        ];
        lie(ask, &records, &[])
    });
    let expected = "NOERROR one.alpha.test. 86400 IN CNAME two.alpha.test. | \
                    two.alpha.test. 86400 IN CNAME end.alpha.test. | end.alpha.test. 86400 IN A 192.0.2.44";
    assert_eq!(scene.ask("one.alpha.test", Rtype::A).await, expected);
}

#[tokio::test]
async fn one_formerr_does_not_take_edns_from_a_server_for_long() {
    let scene = scene();
    scene.host([192, 0, 2, 3], Host::Old(zones(&[("alpha.test.", ALPHA)])));
    assert!(scene.ask("mx.alpha.test", Rtype::A).await.starts_with("NOERROR"));
    let server = IpAddr::from([192, 0, 2, 3]);
    assert!(!scene.resolver.servers.takes_edns(server, scene.clock.monotonic()));
    scene.clock.advance(Duration::from_secs(60));
    assert!(scene.resolver.servers.takes_edns(server, scene.clock.monotonic()));
}

#[tokio::test]
async fn a_heap_of_glue_is_looked_at_in_part() {
    let scene = scene();
    alpha_lies(&scene, |ask| {
        let glue: Vec<String> = (0..250).map(|last| format!("198.51.100.{last}")).collect();
        let cut = ask.name.to_string();
        let mut extra = vec![(cut.as_str(), RecordType::NS, "ns.x.alpha.test.")];
        extra.extend(glue.iter().map(|address| ("ns.x.alpha.test.", RecordType::A, address.as_str())));
        let mut message = lie(ask, &[], &extra);
        message.metadata.authoritative = false;
        message
    });
    assert_eq!(scene.ask("x.alpha.test", Rtype::A).await, "SERVFAIL");
    let asked = scene.asked().iter().filter(|ask| ask.starts_with("198.51.100.")).count();
    assert!(asked <= postroad_types::limits::DNS_ASKS_PER_ZONE_MAX, "{asked}");
}

#[tokio::test]
async fn servers_that_take_no_parts_of_names_are_shown_all() {
    // They deny, or refuse, names that have no records of their own.
    for code in [ResponseCode::NXDomain, ResponseCode::Refused, ResponseCode::ServFail] {
        let scene = scene();
        alpha_lies(&scene, move |ask| {
            let name = ask.name.to_string();
            if name == "a.ent.alpha.test." {
                return lie(ask, &[(&name, RecordType::A, "192.0.2.45")], &[]);
            }
            let mut message = lie(ask, &[], &[]);
            message.metadata.response_code = code;
            message
        });
        let expected = "NOERROR a.ent.alpha.test. 86400 IN A 192.0.2.45";
        assert_eq!(scene.ask("a.ent.alpha.test", Rtype::A).await, expected, "{code}");
    }
}

/// A resolver at 192.0.2.53 answers for all names; `kind` of way to it for `zone`.
fn routed(zone: &str, kind: RouteKind) -> Scene {
    let server = "192.0.2.53:5353".parse().unwrap();
    let route = Route::new(&zone.parse().unwrap(), kind, &[server]);
    let scene = scene_with(Zones::default(), |rules| {
        rules.routes = Routes::new([route]);
        rules.deny_servers = vec!["192.0.2.53/32".parse().unwrap()];
    });
    scene.host(
        [192, 0, 2, 53],
        Host::Lies(Box::new(|ask| {
            let name = ask.name.to_string();
            let mut message = lie(ask, &[(&name, RecordType::A, "192.0.2.99")], &[]);
            message.metadata.authoritative = !ask.recursion;
            message.metadata.recursion_available = true;
            message.answers.retain(|_| ask.rtype == Rtype::A);
            message
        })),
    );
    scene
}

#[tokio::test]
async fn forward_zones_are_asked_of_resolvers_and_nobody_else_when_so_set() {
    let scene = routed("alpha.test", RouteKind::ForwardOnly);
    assert_eq!(scene.ask("a.b.alpha.test", Rtype::A).await, "NOERROR a.b.alpha.test. 86400 IN A 192.0.2.99");
    assert_eq!(scene.ask("a.b.alpha.test", Rtype::MX).await, "NOERROR", "no data, without authority");
    assert_eq!(scene.asked(), ["192.0.2.53 a.b.alpha.test. A", "192.0.2.53 a.b.alpha.test. MX"]);
    assert!(scene.ask("web.beta.test", Rtype::A).await.ends_with("192.0.2.80"), "others are iterated");
    scene.host([192, 0, 2, 53], Host::Dead);
    assert_eq!(scene.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL");
}

#[tokio::test]
async fn forward_first_goes_on_from_the_root() {
    let scene = routed(".", RouteKind::ForwardFirst);
    assert!(scene.ask("mx.alpha.test", Rtype::A).await.ends_with("192.0.2.99"));
    scene.host([192, 0, 2, 53], Host::Dead);
    assert_eq!(scene.ask("mx.alpha.test", Rtype::AAAA).await, "NOERROR");
    assert!(scene.ask("web.beta.test", Rtype::A).await.ends_with("192.0.2.80"));
}

#[tokio::test]
async fn stub_zones_have_servers_of_their_own() {
    let scene = routed("corp.alpha.test", RouteKind::Stub);
    assert!(scene.ask("x.corp.alpha.test", Rtype::A).await.ends_with("192.0.2.99"));
    assert_eq!(scene.asked(), ["192.0.2.53 x.corp.alpha.test. A"], "nobody above it is asked");
}
