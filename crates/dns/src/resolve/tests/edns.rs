//! Servers that seem to understand no EDNS, and denials that lack what they should come with: what validation makes of
//! both.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::validated::{Tree, tree};
use super::*;

/// The server of alpha.test answers FORMERR to the `forged` next questions with EDNS, as somebody beside it might.
fn formerr(tree: &Tree, forged: usize) {
    let (zones, left) = (Zones::new([tree.alpha.zone()]), AtomicUsize::new(forged));
    let take = |left: usize| left.checked_sub(1);
    let answer = move |ask: &Ask| {
        if ask.edns && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let mut message = lie(ask, &[], &[]);
            message.metadata.response_code = ResponseCode::FormErr;
            return message;
        }
        serve(&zones, ask)
    };
    tree.scene.host([192, 0, 2, 13], Host::Lies(Box::new(answer)));
}

#[tokio::test]
async fn a_forged_formerr_makes_no_signed_zone_bogus() {
    let asked = [
        ("mx.alpha.test", Rtype::A, "NOERROR secure 1"),
        ("none.alpha.test", Rtype::A, "NXDOMAIN secure 0"),
        ("mx.alpha.test", Rtype::TXT, "NOERROR secure 0"),
        ("any.wild.alpha.test", Rtype::A, "NOERROR secure 1"),
        ("x.ent.alpha.test", Rtype::A, "NOERROR secure 1"),
        ("alpha.test", Rtype::DNSKEY, "NOERROR secure 1"),
    ];
    for (name, rtype, expected) in asked {
        // Of this moment, and of the one before.
        let tree = tree();
        formerr(&tree, 1);
        assert_eq!(tree.ask(name, rtype).await, expected, "{name} {rtype}");
        let tree = self::tree();
        let now = tree.scene.clock.monotonic();
        for last in [1, 12, 13] {
            tree.scene.resolver.servers.without_edns(IpAddr::from([192, 0, 2, last]), now);
        }
        assert_eq!(tree.ask(name, rtype).await, expected, "{name} {rtype} remembered");
        let server = IpAddr::from([192, 0, 2, 13]);
        assert!(tree.scene.resolver.servers.takes_edns(server, now), "it was not true");
    }
}

#[tokio::test]
async fn a_server_without_edns_is_asked_with_it_once_more_and_no_oftener() {
    let tree = tree();
    formerr(&tree, usize::MAX);
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL 10");
    let asked = tree.scene.asked().iter().filter(|ask| ask.starts_with("192.0.2.13 ")).count();
    assert!((3..=6).contains(&asked), "{asked}");
    // Where nothing need be signed it costs nothing.
    let plain = "@ NS ns\nns A 192.0.2.14\nhost A 192.0.2.40\nmore A 192.0.2.41\n";
    tree.scene.host([192, 0, 2, 14], Host::Old(zones(&[("plain.test.", plain)])));
    assert_eq!(tree.ask("host.plain.test", Rtype::A).await, "NOERROR insecure 1");
    tree.scene.asked();
    assert_eq!(tree.ask("more.plain.test", Rtype::A).await, "NOERROR insecure 1");
    assert_eq!(tree.scene.asked(), ["192.0.2.14 more.plain.test. A"]);
}

#[tokio::test]
async fn what_is_proven_without_a_soa_is_secure_and_not_kept() {
    // RFC 4035 section 3.2.3 asks for the records that deny, RFC 2308 section 5 does not let it be kept.
    let tree = tree();
    let zones = Zones::new([tree.alpha.zone()]);
    let answer = move |ask: &Ask| {
        let mut message = serve(&zones, ask);
        let is_soa = |record: &Record| {
            record.record_type() == RecordType::SOA
                || (record.record_type() == RecordType::RRSIG && record.name.num_labels() == 2)
        };
        let apex_denies =
            |record: &Record| record.record_type() == RecordType::NSEC && record.name.num_labels() == 2;
        if !message.authorities.iter().any(apex_denies) {
            message.authorities.retain(|record| !is_soa(record));
        }
        message
    };
    tree.scene.host([192, 0, 2, 13], Host::Lies(Box::new(answer)));
    for _ in 0..2 {
        assert_eq!(tree.ask("mx.alpha.test", Rtype::TXT).await, "NOERROR secure 0");
        assert!(tree.scene.asked().contains(&"192.0.2.13 mx.alpha.test. TXT".to_owned()), "it is not kept");
    }
    // Without a proof, it is bogus with or without a SOA.
    tree.scene.host([192, 0, 2, 13], Host::Lies(Box::new(|ask| lie(ask, &[], &[]))));
    assert_eq!(tree.ask("ns.alpha.test", Rtype::TXT).await, "SERVFAIL 12");
}

#[tokio::test]
async fn a_signed_answer_is_kept_no_longer_than_its_signature_says() {
    // RFC 4035 section 5.3.3 binds the least time of the settings too.
    let tree = tree();
    let bounds = TtlBounds { min: Duration::from_secs(3600), ..BOUNDS };
    let scene = scene_of(Zones::default(), bounds, tree.root.anchors(), |_| {});
    for (last, host) in [(1, tree.root.host()), (12, tree.test.host()), (13, tree.alpha.host())] {
        scene.host([192, 0, 2, last], host);
    }
    let plain = "@ NS ns\nns A 192.0.2.14\nhost A 192.0.2.40\n";
    scene.host([192, 0, 2, 14], Host::Serves(zones(&[("plain.test.", plain)])));
    for (name, kept) in [("mx.alpha.test", false), ("host.plain.test", true)] {
        assert!(scene.ask(name, Rtype::A).await.starts_with("NOERROR"));
        scene.clock.advance(Duration::from_secs(301));
        scene.asked();
        assert!(scene.ask(name, Rtype::A).await.starts_with("NOERROR"));
        assert_eq!(scene.asked().is_empty(), kept, "{name}");
    }
}
