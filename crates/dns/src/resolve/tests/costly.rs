//! Answers that would take up time or memory: keys that are none, proofs by the hundred, names that look like others.

use std::time::Instant;

use hickory_proto::rr::rdata::NULL;

use super::sign::*;
use super::validated::tree;
use super::*;
use crate::dnssec::key_tag;
use crate::wire::options::extended;

/// A record of any data.
fn raw(owner: &str, rtype: Rtype, rdata: &[u8]) -> Record {
    let data = RData::Unknown { code: rtype.into(), rdata: NULL::with(rdata.to_vec()) };
    Record::from_rdata(name(owner).to_hickory(), 300, data)
}

#[tokio::test]
async fn keys_that_are_none_cost_nothing() {
    // Cut off, of unknown curves, points on none, and all of the tag that the DS names.
    let tree = tree();
    let (zones, right) = (Zones::new([tree.alpha.zone()]), tree.alpha.dnskey());
    let tag = key_tag(&right);
    let odd = (0..300u16).filter_map(|index| {
        let mut key = vec![1, 1, 3, 13];
        key.extend_from_slice(&vec![0; 2 * usize::from(index % 40)]);
        key.extend_from_slice(&index.to_be_bytes());
        // What is missing to the tag; its sum carries around the end, which is one more or not.
        let missing = tag.wrapping_sub(key_tag(&key));
        let whole = |missing: u16| [&key[..], &missing.to_be_bytes()].concat();
        [missing, missing.wrapping_sub(1)].map(whole).into_iter().find(|key| key_tag(key) == tag)
    });
    let odd: Vec<Vec<u8>> = odd.collect();
    assert!(odd.len() > 290, "{}", odd.len());
    tree.scene.host(
        [192, 0, 2, 13],
        Host::Lies(Box::new(move |ask| {
            let mut message = serve(&zones, ask);
            if ask.rtype == Rtype::DNSKEY {
                let odd = odd.iter().map(|key| raw("alpha.test.", Rtype::DNSKEY, key));
                message.answers = odd.chain(message.answers).collect();
            }
            message
        })),
    );
    let began = Instant::now();
    let explained = tree.scene.explained("mx.alpha.test", Rtype::A).await;
    let failure = explained.answer.failure.as_ref().unwrap();
    assert!(failure.is_bogus(), "{failure}");
    assert_ne!(failure.extended_error, extended::NSEC_MISSING);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(tree.scene.asked().len() <= 16);
}

#[tokio::test]
async fn a_denial_with_heaps_of_proofs_is_kept_in_part() {
    let tree = tree();
    tree.scene.host(
        [192, 0, 2, 14],
        Host::Lies(Box::new(|ask| {
            let mut message = lie(ask, &[], &[]);
            message.metadata.response_code = ResponseCode::NXDomain;
            let soa =
                [name("ns.plain.test").as_wire(), name("h.plain.test").as_wire(), &[0; 16], &[0, 0, 1, 0]]
                    .concat();
            message.authorities.push(raw("plain.test.", Rtype::SOA, &soa));
            for index in 0..500 {
                let owner = format!("n{index}.plain.test.");
                let next = [name(&format!("m{index}.plain.test")).as_wire(), &[0, 1, 0x40]].concat();
                message.authorities.push(raw(&owner, Rtype::NSEC, &next));
                message.authorities.push(raw(&owner, Rtype::RRSIG, &forged(index)));
            }
            message
        })),
    );
    assert_eq!(tree.ask("gone.plain.test", Rtype::A).await, "NXDOMAIN insecure 0");
    let kept = tree.scene.resolver.dump(&name("gone.plain.test"));
    let [(_, hit)] = &kept[..] else { panic!("{}", kept.len()) };
    let evidence = hit.evidence.as_ref().unwrap();
    assert!(evidence.proof.len() <= postroad_types::limits::DNS_PROOF_SETS_MAX, "{}", evidence.proof.len());
    assert!(evidence.octets() < 32 * 1024, "{}", evidence.octets());
}

/// A signature that nobody made, as record data.
fn forged(key_tag: u16) -> Vec<u8> {
    let head = [&[0, 47, 13, 3, 0, 0, 1, 44][..], &[0x7f; 4], &[0; 4], &key_tag.to_be_bytes()].concat();
    [&head[..], name("plain.test").as_wire(), &[1; 64]].concat()
}

#[tokio::test]
async fn a_dot_in_a_label_ends_none() {
    let scene = scene();
    let odd = format!("{ALPHA}odd\\.dot A 192.0.2.71\ndot A 192.0.2.72\n");
    scene.host([192, 0, 2, 3], Host::Serves(zones(&[("alpha.test.", &odd)])));
    for _ in 0..2 {
        assert!(scene.ask("odd\\.dot.alpha.test", Rtype::A).await.ends_with("192.0.2.71"));
        assert_eq!(scene.ask("odd.dot.alpha.test", Rtype::A).await, "NXDOMAIN");
        assert!(scene.ask("dot.alpha.test", Rtype::A).await.ends_with("192.0.2.72"));
    }
}
