//! What is forged, replayed, stripped or costly about signatures and proofs: one case for each way that resolvers have
//! been fooled or kept busy.

use super::sign::*;
use super::validated::{Plan, Tree, ZONE, test_text, tree};
use super::*;

/// The tree whose `alpha.test` has something wrong.
fn tampered(change: impl FnOnce(&mut Signer)) -> Tree {
    let mut alpha = Signer::new("alpha.test.").sign(ZONE);
    change(&mut alpha);
    Plan::with(|plan| plan.alpha = alpha).tree()
}

const A: &str = "mx.alpha.test.";

#[tokio::test]
async fn what_is_wrong_with_a_signature_is_said() {
    type Change = fn(&mut Signer);
    let cases: [(&str, Change, &str); 8] = [
        ("none", |it| it.unsign(A, Rtype::A), "SERVFAIL 10"),
        ("its octets", |it| it.resign(A, Rtype::A, |rdata| *rdata.last_mut().unwrap() ^= 1), "SERVFAIL 6"),
        // Labels, more than the name has (RFC 4035 section 5.3.1).
        ("labels", |it| it.resign(A, Rtype::A, |rdata| rdata[3] = 4), "SERVFAIL 10"),
        ("fewer labels", |it| it.resign(A, Rtype::A, |rdata| rdata[3] = 2), "SERVFAIL 6"),
        ("expired", |it| it.resign(A, Rtype::A, |rdata| rdata[8..12].fill(1)), "SERVFAIL 7"),
        (
            "early",
            |it| it.resign(A, Rtype::A, |rdata| rdata[12..16].copy_from_slice(&[0x70, 0, 0, 0])),
            "SERVFAIL 8",
        ),
        ("key tag", |it| it.resign(A, Rtype::A, |rdata| rdata[17] ^= 1), "SERVFAIL 9"),
        ("algorithm", |it| it.resign(A, Rtype::A, |rdata| rdata[2] = 15), "SERVFAIL 9"),
    ];
    for (what, change, expected) in cases {
        let tree = tampered(change);
        assert_eq!(tree.ask(A, Rtype::A).await, expected, "{what}");
        assert_eq!(tree.ask("ns.alpha.test", Rtype::A).await, "NOERROR secure 1", "{what}");
    }
}

#[tokio::test]
async fn changed_data_is_bogus() {
    let tree = tampered(|it| {
        let record = it.records.iter_mut().find(|record| record.owner == name(A) && record.rtype == Rtype::A);
        record.unwrap().rdata = vec![192, 0, 2, 66];
    });
    assert_eq!(tree.ask(A, Rtype::A).await, "SERVFAIL 6");
}

#[tokio::test]
async fn only_the_zone_itself_signs_its_data() {
    // Signed by the zone above, whose keys are good.
    let above = Signer::new("test.");
    let tree = {
        let mut alpha = Signer::new("alpha.test.").sign(ZONE);
        let mut set = RrSetBuilder::new(Rtype::A, 300);
        set.push(&[192, 0, 2, 25]);
        let forged = above.rrsig(&name(A), &set.build().unwrap());
        alpha.resign(A, Rtype::A, |rdata| rdata.clone_from(&forged));
        let tree = Plan::with(|plan| plan.alpha = alpha).tree();
        let test = above.sign(&test_text(&tree.alpha));
        let scene = scene_from(Zones::default(), Duration::ZERO, test.anchors(), |_| {});
        scene.host([192, 0, 2, 1], tree.root.host());
        scene.host([192, 0, 2, 12], test.host());
        scene.host([192, 0, 2, 13], tree.alpha.host());
        Tree { scene, ..tree }
    };
    assert_eq!(tree.ask(A, Rtype::A).await, "SERVFAIL 10");
    assert_eq!(tree.ask("ns.alpha.test", Rtype::A).await, "NOERROR secure 1");
}

#[tokio::test]
async fn only_keys_for_zones_that_are_not_given_up_count() {
    // The DS names the key, but it is revoked (RFC 5011), or none for a zone.
    for flags in [257 | 128, 1] {
        let alpha = Signer::new("alpha.test.").with(|it| it.flags = flags).sign(ZONE);
        let tree = Plan::with(|plan| plan.alpha = alpha).tree();
        assert_eq!(tree.ask(A, Rtype::A).await, "SERVFAIL 11", "{flags}");
    }
    // The DS names another key.
    let tree = tree();
    tree.scene.host([192, 0, 2, 13], Signer::new("alpha.test.").sign(ZONE).host());
    assert_eq!(tree.ask(A, Rtype::A).await, "SERVFAIL 9");
    // There are no keys at all.
    let tree = self::tree();
    tree.scene.host([192, 0, 2, 13], Host::Serves(zones(&[("alpha.test.", ZONE)])));
    assert_eq!(tree.ask(A, Rtype::A).await, "SERVFAIL 10");
    assert_eq!(tree.ask("alpha.test", Rtype::DNSKEY).await, "SERVFAIL 12");
}

/// A server of `alpha.test` that changes its answers.
fn lying(tree: &Tree, change: impl Fn(&Ask, &mut Message, &Zones) + Send + Sync + 'static) {
    let zones = Zones::new([tree.alpha.zone()]);
    let lie = move |ask: &Ask| {
        let mut message = serve(&zones, ask);
        change(ask, &mut message, &zones);
        message
    };
    tree.scene.host([192, 0, 2, 13], Host::Lies(Box::new(lie)));
}

/// What the zone says of another name.
fn of(zones: &Zones, ask: &Ask, other: &str, rtype: Rtype) -> Message {
    serve(zones, &Ask { name: name(other), rtype, ..ask.clone() })
}

#[tokio::test]
async fn proofs_of_other_things_prove_nothing() {
    // That there is no such name, with the proof of another name, of another type, without the wildcard's, and with a
    // delegation's: RFC 6840 sections 4.1 and 4.4.
    for (asked, rtype, code, other, other_type, expected) in [
        (A, Rtype::A, ResponseCode::NXDomain, "zzz.alpha.test.", Rtype::A, "SERVFAIL 6"),
        (A, Rtype::A, ResponseCode::NoError, "ns.alpha.test.", Rtype::TXT, "SERVFAIL 6"),
        ("ent.alpha.test.", Rtype::A, ResponseCode::NXDomain, "ent.alpha.test.", Rtype::A, "SERVFAIL 6"),
        (
            "any.wild.alpha.test.",
            Rtype::A,
            ResponseCode::NXDomain,
            "any.wild.alpha.test.",
            Rtype::MX,
            "SERVFAIL 6",
        ),
        ("x.cut.alpha.test.", Rtype::A, ResponseCode::NXDomain, "cut.alpha.test.", Rtype::DS, "SERVFAIL 6"),
        ("cut.alpha.test.", Rtype::A, ResponseCode::NoError, "cut.alpha.test.", Rtype::DS, "SERVFAIL 6"),
        (
            "alias.alpha.test.",
            Rtype::A,
            ResponseCode::NoError,
            "alias.alpha.test.",
            Rtype::NSEC,
            "SERVFAIL 6",
        ),
    ] {
        let tree = tree();
        lying(&tree, move |ask, message, zones| {
            // Also where it is asked for a part of the name.
            if ask.rtype == rtype && name(asked).is_at_or_below(&ask.name) && ask.name.label_count() > 2 {
                let replayed = of(zones, ask, other, other_type);
                message.metadata.response_code = code;
                message.metadata.authoritative = true;
                let nsec = replayed.answers.into_iter().filter(|_| other_type == Rtype::NSEC);
                message.authorities = nsec.chain(replayed.authorities).collect();
                let soa = of(zones, ask, "zzz.alpha.test.", Rtype::A).authorities;
                message.authorities.extend(soa.into_iter().filter(|record| record.name.num_labels() == 2));
                (message.answers, message.additionals) = (Vec::new(), Vec::new());
            }
        });
        assert_eq!(tree.ask(asked, rtype).await, expected, "{asked} {code} by {other} {other_type}");
    }
}

#[tokio::test]
async fn a_missing_proof_is_missed() {
    let tree = tree();
    lying(&tree, |_, message, _| {
        message.authorities.retain(|record| {
            let rtype = Rtype::from(record.record_type());
            rtype == Rtype::SOA || (rtype == Rtype::RRSIG && record.name.num_labels() == 2)
        });
    });
    assert_eq!(tree.ask("none.alpha.test", Rtype::A).await, "SERVFAIL 12");
    assert_eq!(tree.ask(A, Rtype::TXT).await, "SERVFAIL 12");
    assert_eq!(tree.ask("any.wild.alpha.test", Rtype::A).await, "SERVFAIL 12");
    assert_eq!(tree.ask(A, Rtype::A).await, "NOERROR secure 1");
    // Nothing signed at all.
    lying(&tree, |ask, message, _| {
        if ask.rtype != Rtype::DNSKEY {
            message.authorities.retain(|record| record.record_type() == RecordType::SOA);
        }
    });
    assert_eq!(tree.ask("gone.alpha.test", Rtype::A).await, "SERVFAIL 12");
}

#[tokio::test]
async fn a_wildcard_is_not_replayed_over_a_name_that_exists() {
    let tree = tree();
    lying(&tree, |ask, message, zones| {
        if ask.name == name("x.ent.alpha.test.") || ask.name == name("b.x.wild.alpha.test") {
            let wild = of(zones, ask, "any.wild.alpha.test.", Rtype::A);
            message.answers = wild.answers;
            message.authorities = wild.authorities;
            message.answers.iter_mut().for_each(|record| record.name = ask.name.to_hickory());
        }
    });
    // The signature does not hold for a name that is not below the wildcard's parent.
    assert_eq!(tree.ask("x.ent.alpha.test", Rtype::A).await, "SERVFAIL 6");
    // And for one that is, the proof must be its own; here it is.
    assert_eq!(tree.ask("b.x.wild.alpha.test", Rtype::A).await, "NOERROR secure 1");
}

#[tokio::test]
async fn unsigned_records_beside_signed_ones_prove_nothing() {
    let tree = tree();
    lying(&tree, |ask, message, _| {
        if ask.name == name("forged.alpha.test") {
            let rdata = [name("alpha.test").as_wire(), &[0, 1, 0x40]].concat();
            let nsec =
                RData::Unknown { code: RecordType::NSEC, rdata: hickory_proto::rr::rdata::NULL::with(rdata) };
            let mut soa = message.authorities.clone();
            soa.retain(|record| record.name.num_labels() == 2 && record.record_type() != RecordType::NSEC);
            soa.push(Record::from_rdata("alpha.test.".parse().unwrap(), 60, nsec));
            message.authorities = soa;
        }
    });
    let answer = tree.ask("forged.alpha.test", Rtype::A).await;
    assert!(answer.starts_with("SERVFAIL"), "{answer}");
}

#[tokio::test]
async fn records_that_were_not_asked_for_are_no_answer() {
    let tree = tree();
    lying(&tree, |ask, message, zones| {
        if ask.name == name("wanted.alpha.test") {
            *message = of(zones, ask, A, Rtype::A);
        }
    });
    let answer = tree.ask("wanted.alpha.test", Rtype::A).await;
    assert!(answer.starts_with("SERVFAIL"), "{answer}");
}

#[tokio::test]
async fn a_referral_cannot_be_stripped_of_its_ds() {
    for with_denial in [false, true] {
        let tree = tree();
        let zones = Zones::new([tree.test.zone()]);
        let strip = move |ask: &Ask| {
            let mut message = serve(&zones, ask);
            if ask.rtype != Rtype::DNSKEY {
                message.answers.retain(|record| record.record_type() == RecordType::A);
                message.authorities.retain(|record| record.record_type() == RecordType::NS);
                if with_denial {
                    // The proof for another cut.
                    message.authorities.extend(
                        of(&zones, ask, "host.plain.test.", Rtype::A)
                            .authorities
                            .into_iter()
                            .filter(|record| record.record_type() != RecordType::NS),
                    );
                }
            }
            message
        };
        tree.scene.host([192, 0, 2, 12], Host::Lies(Box::new(strip)));
        tree.scene.host([192, 0, 2, 13], Host::Serves(super::zones(&[("alpha.test.", ZONE)])));
        let answer = tree.ask(A, Rtype::A).await;
        assert!(answer.starts_with("SERVFAIL"), "{with_denial}: {answer}");
    }
}

#[tokio::test]
async fn another_server_may_know_better() {
    let tree = tree();
    let both = test_text(&tree.alpha)
        .replace("alpha NS ns.alpha\n", "alpha NS ns.alpha\nalpha NS ns2.alpha\n")
        + "ns2.alpha A 192.0.2.17\n";
    let test = Signer::new("test.").sign(&both);
    for liar in [13, 17] {
        let scene = scene_from(Zones::default(), Duration::ZERO, test.anchors(), |_| {});
        scene.host([192, 0, 2, 1], tree.root.host());
        scene.host([192, 0, 2, 12], test.host());
        scene.host([192, 0, 2, 13], tree.alpha.host());
        scene.host([192, 0, 2, 17], tree.alpha.host());
        scene.host([192, 0, 2, liar], Host::Serves(zones(&[("alpha.test.", ZONE)])));
        for asked in [A, "ns.alpha.test", "alpha.test"] {
            let explained = scene.explained(asked, Rtype::A).await;
            assert_eq!(explained.answer.security, Security::Secure, "{asked} {liar}");
        }
    }
}

#[tokio::test]
async fn a_chain_that_goes_round_ends() {
    // The server answers every question for DS and DNSKEY with a referral to itself or with nothing.
    let tree = tree();
    tree.scene.host(
        [192, 0, 2, 12],
        Host::Lies(Box::new(|ask| {
            let mut message = lie(ask, &[], &[("test.", RecordType::NS, "ns.test.")]);
            message.metadata.authoritative = false;
            message
        })),
    );
    assert!(tree.ask("a.b.c.d.e.f.g.h.test", Rtype::A).await.starts_with("SERVFAIL"));
    assert!(tree.scene.asked().len() <= 16, "a server that refers to itself is lame");
    // Unsigned answers with many labels in a signed zone: each may be a zone of its own.
    let tree = self::tree();
    tree.scene.host(
        [192, 0, 2, 12],
        Host::Lies(Box::new(|ask| lie(ask, &[(&ask.name.to_string(), RecordType::A, "192.0.2.66")], &[]))),
    );
    let deep = format!("{}test", "a.".repeat(100));
    assert!(tree.ask(&deep, Rtype::A).await.starts_with("SERVFAIL"));
    assert!(tree.scene.asked().len() <= postroad_types::limits::DNS_ASKS_PER_QUESTION_MAX);
}
