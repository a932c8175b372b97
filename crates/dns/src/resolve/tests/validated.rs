//! Validation over a little signed internet: what is secure, insecure or bogus, and what clients are told of it.

use super::sign::*;
use super::*;
use crate::front::{Engine, Outcome, Recursion, Settings, Transport};
use crate::resolve::security::Unsigned;
use crate::wire::options::extended;

pub const ZONE: &str = "@ NS ns\nns A 192.0.2.13\n@ MX 10 mx\nmx A 192.0.2.25\n*.wild A 192.0.2.30\nx.ent A 192.0.2.31\n\
                    alias CNAME mx\nfar CNAME mx.signed.hashed.\nout CNAME host.plain.test.\nsub DNAME wild\n\
                    cut NS ns.cut\nns.cut A 192.0.2.4\n";
const PLAIN: &str = "@ NS ns\nns A 192.0.2.14\nhost A 192.0.2.40\n";

/// `alpha.test` below `test` with NSEC; `signed.hashed` below `hashed` with NSEC3; `plain.test` and `plain.hashed` are not
/// signed.
pub struct Tree {
    pub scene: Scene,
    pub root: Signer,
    pub test: Signer,
    pub alpha: Signer,
}

pub fn test_text(alpha: &Signer) -> String {
    format!(
        "@ NS ns\nns A 192.0.2.12\nalpha NS ns.alpha\nns.alpha A 192.0.2.13\n{}plain NS ns.plain\nns.plain A 192.0.2.14\n",
        alpha.ds()
    )
}

/// What a test changes of the tree.
pub struct Plan {
    pub alpha: Signer,
    pub hashed: Signer,
    pub own: Zones,
    pub stale: Duration,
    pub anchors: fn(&mut Anchors),
    pub rules: fn(&mut Rules),
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            alpha: Signer::new("alpha.test.").sign(ZONE),
            hashed: Signer::new("hashed.").with(|it| it.denial = Denial::Nsec3(0, 1)),
            own: Zones::default(),
            stale: Duration::ZERO,
            anchors: |_| {},
            rules: |_| {},
        }
    }
}

pub fn tree() -> Tree {
    Plan::default().tree()
}

impl Plan {
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut plan = Self::default();
        change(&mut plan);
        plan
    }

    pub fn tree(self) -> Tree {
        let Self { alpha, hashed, own, stale, anchors: change, rules } = self;
        let test = Signer::new("test.").sign(&test_text(&alpha));
        let signed = Signer::new("signed.hashed.").with(|it| it.denial = Denial::Nsec3(0, 0)).sign(ZONE);
        let hashed = hashed.sign(&format!(
            "@ NS ns\nns A 192.0.2.15\nsigned NS ns.signed\nns.signed A 192.0.2.16\n{}plain NS ns.plain\n\
             ns.plain A 192.0.2.14\n*.w A 192.0.2.50\n",
            signed.ds()
        ));
        let root = Signer::new(".").sign(&format!(
            "@ NS a.root.\na.root. A 192.0.2.1\ntest. NS ns.test.\nns.test. A 192.0.2.12\n{}\
             hashed. NS ns.hashed.\nns.hashed. A 192.0.2.15\n{}",
            test.ds(),
            hashed.ds()
        ));
        let mut anchors = root.anchors();
        change(&mut anchors);
        let scene = scene_from(own, stale, anchors, rules);
        for (last, host) in [
            (1, root.host()),
            (12, test.host()),
            (13, alpha.host()),
            (14, Host::Serves(zones(&[("plain.test.", PLAIN), ("plain.hashed.", PLAIN)]))),
            (15, hashed.host()),
            (16, signed.host()),
        ] {
            scene.host([192, 0, 2, last], host);
        }
        Tree { scene, root, test, alpha }
    }
}

impl Tree {
    /// The response code, what validation says, and why there is no answer.
    pub async fn ask(&self, name: &str, rtype: Rtype) -> String {
        let explained = self.scene.explained(name, rtype).await;
        let answer = &explained.answer;
        match &answer.failure {
            Some(failure) => format!("{} {}", answer.rcode_name(), failure.extended_error),
            None => format!("{} {} {}", answer.rcode_name(), answer.security.word(), answer.records.len()),
        }
    }
}

#[tokio::test]
async fn a_cold_answer_costs_one_question_for_keys_per_zone() {
    let tree = tree();
    let explained = tree.scene.explained("mx.alpha.test", Rtype::A).await;
    assert_eq!(explained.answer.security, Security::Secure);
    assert_eq!(
        tree.scene.asked(),
        [
            "192.0.2.1 test. A",
            "192.0.2.1 . DNSKEY",
            "192.0.2.12 alpha.test. A",
            "192.0.2.12 test. DNSKEY",
            "192.0.2.13 mx.alpha.test. A",
            "192.0.2.13 alpha.test. DNSKEY",
        ]
    );
    let found: Vec<String> = explained
        .steps
        .iter()
        .filter(|step| step.source == Source::Validation)
        .map(|step| format!("{} {}: {}", step.name, step.rtype, step.outcome))
        .collect();
    let tag = |signer: &Signer| crate::dnssec::key_tag(&signer.dnskey());
    let (root, test, alpha) = (tag(&tree.root), tag(&tree.test), tag(&tree.alpha));
    assert_eq!(
        found,
        [
            format!(". DNSKEY: 1 keys, secure by trust anchor {root}"),
            "test. DS: 1 DS, secure, signed by .".to_owned(),
            format!("test. DNSKEY: 1 keys, secure by DS {test} of the zone above"),
            "alpha.test. DS: 1 DS, secure, signed by test.".to_owned(),
            format!("alpha.test. DNSKEY: 1 keys, secure by DS {alpha} of the zone above"),
            format!("mx.alpha.test. A: secure, signed by alpha.test. with key {alpha}"),
        ]
    );
    // Everything of the way is known now.
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "NOERROR secure 1");
    assert_eq!(tree.scene.asked(), [""; 0]);
    assert_eq!(tree.ask("alpha.test", Rtype::MX).await, "NOERROR secure 1");
    assert_eq!(tree.scene.asked().len(), 1);
}

#[tokio::test]
async fn all_kinds_of_answers_of_a_signed_zone() {
    let tree = tree();
    for zone in ["alpha.test", "signed.hashed"] {
        for (name, rtype, expected) in [
            ("", Rtype::SOA, "NOERROR secure 1"),
            ("", Rtype::DNSKEY, "NOERROR secure 1"),
            ("", Rtype::DS, "NOERROR secure 1"),
            ("", Rtype::AAAA, "NOERROR secure 0"),
            ("mx.", Rtype::A, "NOERROR secure 1"),
            ("mx.", Rtype::MX, "NOERROR secure 0"),
            ("none.", Rtype::A, "NXDOMAIN secure 0"),
            ("a.b.none.", Rtype::A, "NXDOMAIN secure 0"),
            ("any.wild.", Rtype::A, "NOERROR secure 1"),
            ("a.b.wild.", Rtype::A, "NOERROR secure 1"),
            ("any.wild.", Rtype::MX, "NOERROR secure 0"),
            ("*.wild.", Rtype::A, "NOERROR secure 1"),
            ("ent.", Rtype::A, "NOERROR secure 0"),
            ("alias.", Rtype::A, "NOERROR secure 2"),
            ("alias.", Rtype::CNAME, "NOERROR secure 1"),
            ("far.", Rtype::A, "NOERROR secure 2"),
            ("out.", Rtype::A, "NOERROR insecure 2"),
            ("any.sub.", Rtype::A, "NOERROR secure 3"),
            ("any.sub.", Rtype::CNAME, "NOERROR secure 2"),
            ("none.sub.", Rtype::MX, "NOERROR secure 2"),
            ("cut.", Rtype::DS, "NOERROR secure 0"),
            ("mx.", Rtype::DS, "NOERROR secure 0"),
        ] {
            let name = format!("{name}{zone}");
            for round in ["cold", "cached"] {
                assert_eq!(tree.ask(&name, rtype).await, expected, "{name} {rtype} {round}");
            }
        }
    }
}

#[tokio::test]
async fn below_a_delegation_without_ds_nothing_need_be_signed() {
    let tree = tree();
    for zone in ["plain.test", "plain.hashed"] {
        let explained = tree.scene.explained(&format!("host.{zone}"), Rtype::A).await;
        assert_eq!(explained.answer.security, Security::Insecure(Unsigned::NoDs), "{zone}");
        assert_eq!(tree.ask(&format!("none.{zone}"), Rtype::A).await, "NXDOMAIN insecure 0");
        assert!(!tree.scene.asked().iter().any(|ask| ask.contains(&format!("{zone}. DNSKEY"))));
    }
}

#[tokio::test]
async fn gaps_with_opt_out_are_not_secure() {
    let tree = Plan::with(|plan| plan.hashed.denial = Denial::Nsec3(1, 0)).tree();
    let explained = tree.scene.explained("host.plain.hashed", Rtype::A).await;
    assert_eq!(explained.answer.security, Security::Insecure(Unsigned::OptOut));
    assert_eq!(tree.ask("none.hashed", Rtype::A).await, "NXDOMAIN insecure 0");
    assert_eq!(tree.ask("any.w.hashed", Rtype::A).await, "NOERROR insecure 1");
    assert_eq!(tree.ask("mx.signed.hashed", Rtype::A).await, "NOERROR secure 1");
    assert_eq!(tree.ask("ns.hashed", Rtype::MX).await, "NOERROR secure 0");
}

#[tokio::test]
async fn zones_that_cannot_be_checked_here_are_as_if_not_signed() {
    let zone = || Signer::new("alpha.test.");
    for (alpha, why, code) in [
        (zone().with(|it| it.algorithm = 16), Unsigned::Algorithm, 1),
        (zone().with(|it| it.algorithm = 253), Unsigned::Algorithm, 1),
    ] {
        let tree = Plan::with(|plan| plan.alpha = alpha.sign(ZONE)).tree();
        let explained = tree.scene.explained("mx.alpha.test", Rtype::A).await;
        assert_eq!(explained.answer.security, Security::Insecure(why));
        assert_eq!(why.extended_error(), Some(code));
    }
    // A digest that is not known here.
    let tree = tree();
    let test = Signer::new("test.").sign(&test_text(&tree.alpha).replace(" 13 2 ", " 13 99 "));
    let scene = scene_from(Zones::default(), Duration::ZERO, test.anchors(), |_| {});
    scene.host([192, 0, 2, 1], tree.root.host());
    scene.host([192, 0, 2, 12], test.host());
    scene.host([192, 0, 2, 13], tree.alpha.host());
    let explained = scene.explained("mx.alpha.test", Rtype::A).await;
    assert_eq!(explained.answer.security, Security::Insecure(Unsigned::Digest));
    let above = scene.explained("a.root", Rtype::A).await;
    assert_eq!(above.answer.security, Security::Indeterminate, "the anchor is not above it");
}

#[tokio::test]
async fn too_many_iterations_are_as_if_not_signed() {
    let tree = Plan::with(|plan| plan.hashed.denial = Denial::Nsec3(0, 151)).tree();
    let explained = tree.scene.explained("none.hashed", Rtype::A).await;
    assert_eq!(explained.answer.security, Security::Insecure(Unsigned::Iterations));
    assert_eq!(tree.ask("host.plain.hashed", Rtype::A).await, "NOERROR insecure 1");
    assert_eq!(tree.ask("ns.hashed", Rtype::A).await, "NOERROR secure 1");
    let at_the_bound = Plan::with(|plan| plan.hashed.denial = Denial::Nsec3(0, 150)).tree();
    assert_eq!(at_the_bound.ask("none.hashed", Rtype::A).await, "NXDOMAIN secure 0");
}

#[tokio::test]
async fn settings_say_where_nothing_is_validated() {
    let broken = || Signer::new("alpha.test.").sign(ZONE).with(|it| it.unsign("mx.alpha.test.", Rtype::A));
    let tree = Plan::with(|plan| {
        plan.alpha = broken();
        plan.anchors = |anchors| anchors.add_insecure(name("alpha.test"));
    })
    .tree();
    let explained = tree.scene.explained("mx.alpha.test", Rtype::A).await;
    assert_eq!(explained.answer.security, Security::Insecure(Unsigned::Setting));
    assert_eq!(tree.ask("ns.test", Rtype::A).await, "NOERROR secure 1");
    let tree = Plan::with(|plan| {
        plan.alpha = broken();
        plan.own = zones(&[("test.", "@ NS ns\nns A 192.0.2.9\nalpha NS ns.alpha\nns.alpha A 192.0.2.13\n")]);
    })
    .tree();
    let explained = tree.scene.explained("mx.alpha.test", Rtype::A).await;
    assert_eq!(explained.answer.security, Security::Insecure(Unsigned::OwnZone));
    assert_eq!(
        tree.ask("ns.test", Rtype::A).await,
        "NOERROR indeterminate 1",
        "our own word is not validated"
    );
}

#[tokio::test]
async fn a_server_of_two_zones_shows_where_one_ends() {
    let tree = tree();
    let (alpha, plain) = (tree.alpha.zone(), zones(&[("plain.test.", PLAIN)]));
    tree.scene.host([192, 0, 2, 12], Host::Serves(plain.with([tree.test.zone(), alpha])));
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "NOERROR secure 1");
    assert_eq!(tree.ask("host.plain.test", Rtype::A).await, "NOERROR insecure 1");
    assert_eq!(tree.ask("none.alpha.test", Rtype::A).await, "NXDOMAIN secure 0");
    assert_eq!(tree.ask("none.plain.test", Rtype::A).await, "NXDOMAIN insecure 0");
    assert_eq!(tree.ask("none.test", Rtype::A).await, "NXDOMAIN secure 0");
    assert!(
        !tree.scene.asked().iter().any(|ask| ask.starts_with("192.0.2.13") || ask.starts_with("192.0.2.14"))
    );
}

#[tokio::test]
async fn what_is_kept_lasts_no_longer_than_its_signature() {
    let alpha = Signer::new("alpha.test.").with(|it| it.times.1 = BEGINNING + 100);
    let tree = Plan::with(|plan| plan.alpha = alpha.sign(ZONE)).tree();
    let explained = tree.scene.explained("mx.alpha.test", Rtype::A).await;
    assert_eq!(explained.answer.records[0].ttl, 100);
    tree.scene.clock.advance(Duration::from_secs(101));
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL 7");
}

#[tokio::test]
async fn bogus_is_forgotten_soon_and_never_answered_from_what_is_over() {
    let tree = Plan::with(|plan| plan.stale = Duration::from_secs(3600)).tree();
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "NOERROR secure 1");
    tree.scene.host(
        [192, 0, 2, 13],
        Host::Lies(Box::new(|ask| lie(ask, &[(&ask.name.to_string(), RecordType::A, "192.0.2.66")], &[]))),
    );
    tree.scene.clock.advance(Duration::from_secs(301));
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL 10");
    tree.scene.asked();
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "SERVFAIL 10");
    assert_eq!(tree.scene.asked(), [""; 0], "the failure is remembered");
    tree.scene.host([192, 0, 2, 13], tree.alpha.host());
    tree.scene.clock.advance(FAILURE_FIRST);
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "NOERROR secure 1");
    tree.scene.host([192, 0, 2, 13], Host::Dead);
    tree.scene.clock.advance(Duration::from_secs(301));
    let older = tree.scene.explained("mx.alpha.test", Rtype::A).await;
    assert!(older.answer.stale, "nobody lies, but nobody answers");
}

/// A client's question: AD, CD and DO, and what comes.
async fn client(tree: &Tree, name: &str, rtype: Rtype, flags: u8, dnssec_ok: bool) -> Message {
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    let recursion = Recursion {
        resolver: tree.scene.resolver.clone(),
        allow,
        waiting_max: 9,
        waiting_per_client: 9,
        per_second: 0,
    };
    let none = Arc::new(ArcSwap::from_pointee(Zones::default()));
    let engine = Engine::new(none, Some(recursion), Settings::default());
    let mut octets = vec![0, 7, 1, flags, 0, 1, 0, 0, 0, 0, 0, 1];
    octets.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
    octets.extend_from_slice(&rtype.0.to_be_bytes());
    octets.extend_from_slice(&[0, 1, 0, 0, 41, 4, 208, 0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    let mut buffer = Vec::new();
    let from = IpAddr::from([127, 0, 0, 1]);
    if let Outcome::Later(pending) = engine.answer(&octets, from, Transport::Tcp, &mut buffer) {
        buffer = engine.complete(pending).await.unwrap();
    }
    Message::from_vec(&buffer).unwrap()
}

const AD: u8 = 0x20;
const CD: u8 = 0x10;

fn shown(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| format!("{} {}", record.name, Rtype::from(record.record_type()))).collect()
}

fn extended_error(message: &Message) -> Option<u16> {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    match message.edns.as_ref()?.option(EdnsCode::Unknown(15))? {
        EdnsOption::Unknown(_, data) => data.first_chunk().map(|code| u16::from_be_bytes(*code)),
        _ => None,
    }
}

#[tokio::test]
async fn clients_are_told_by_ad_and_given_proofs_by_do() {
    let tree = tree();
    for round in ["cold", "cached"] {
        for (name, expected) in
            [("mx.alpha.test", true), ("host.plain.test", false), ("out.alpha.test", false)]
        {
            for (flags, dnssec_ok, told) in [(0, false, false), (AD, false, true), (0, true, true)] {
                let message = client(&tree, name, Rtype::A, flags, dnssec_ok).await;
                assert_eq!(
                    message.metadata.authentic_data,
                    told && expected,
                    "{name} {flags} {dnssec_ok} {round}"
                );
                let signed = shown(&message.answers).iter().any(|line| line.ends_with("RRSIG"));
                assert_eq!(signed, dnssec_ok && name.ends_with("alpha.test"), "{name} {round}");
            }
        }
        let wild = client(&tree, "any.wild.alpha.test", Rtype::A, 0, true).await;
        let name = "any.wild.alpha.test.";
        assert_eq!(shown(&wild.answers), [format!("{name} A"), format!("{name} RRSIG")], "{round}");
        assert!(shown(&wild.authorities).contains(&"*.wild.alpha.test. NSEC".to_owned()), "{round}");
        let none = client(&tree, "none.alpha.test", Rtype::A, 0, true).await;
        let authority = shown(&none.authorities);
        for wanted in ["alpha.test. SOA", "alpha.test. RRSIG", "mx.alpha.test. NSEC", "mx.alpha.test. RRSIG"]
        {
            assert!(authority.iter().any(|line| line == wanted), "{wanted} {authority:?} {round}");
        }
        let renamed = client(&tree, "any.sub.alpha.test", Rtype::A, 0, true).await;
        assert_eq!(
            shown(&renamed.answers),
            [
                "sub.alpha.test. DNAME",
                "sub.alpha.test. RRSIG",
                "any.sub.alpha.test. CNAME",
                "any.wild.alpha.test. A",
                "any.wild.alpha.test. RRSIG",
            ],
            "{round}"
        );
    }
}

#[tokio::test]
async fn clients_that_check_themselves_are_given_what_is_bogus() {
    let broken = Signer::new("alpha.test.").sign(ZONE).with(|it| it.unsign("mx.alpha.test.", Rtype::A));
    let tree = Plan::with(|plan| plan.alpha = broken).tree();
    for _ in 0..2 {
        let refused = client(&tree, "mx.alpha.test", Rtype::A, AD, true).await;
        assert_eq!(refused.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(extended_error(&refused), Some(extended::RRSIGS_MISSING));
        assert!(!refused.metadata.authentic_data && refused.answers.is_empty());
        let given = client(&tree, "mx.alpha.test", Rtype::A, AD | CD, true).await;
        assert_eq!(given.metadata.response_code, ResponseCode::NoError);
        assert_eq!(shown(&given.answers), ["mx.alpha.test. A"]);
        assert!(given.metadata.checking_disabled && !given.metadata.authentic_data);
    }
    let good = client(&tree, "ns.test", Rtype::A, AD | CD, true).await;
    assert!(good.metadata.authentic_data, "what is good is not asked for again");
}

#[tokio::test]
async fn what_a_rule_changed_is_no_longer_secure() {
    let tree = Plan::with(|plan| {
        plan.rules = |rules| rules.private = vec!["192.0.2.25/32".parse().unwrap()];
    })
    .tree();
    assert_eq!(tree.ask("mx.alpha.test", Rtype::A).await, "NOERROR indeterminate 0");
    assert_eq!(tree.ask("ns.alpha.test", Rtype::A).await, "NOERROR secure 1");
}

#[tokio::test]
async fn above_a_trust_anchor_nobody_speaks_for_what_is_below_it() {
    let alpha = Signer::new("alpha.test.").sign(ZONE);
    let asked = async |test: Host| {
        let scene = scene_from(Zones::default(), Duration::ZERO, alpha.anchors(), |_| {});
        scene.host([192, 0, 2, 2], test);
        scene.host([192, 0, 2, 3], alpha.host());
        let mut said = Vec::new();
        for (name, rtype) in [("mx.alpha.test", Rtype::A), ("gone.alpha.test", Rtype::A)] {
            let answer = &scene.explained(name, rtype).await.answer;
            said.push(format!("{} {}", answer.rcode_name(), answer.security));
        }
        said
    };
    let honest = asked(Host::Serves(zones(&[("test.", TEST)]))).await;
    assert_eq!(honest, ["NOERROR secure", "NXDOMAIN secure"]);
    // The zone above answers itself, as if there were no zone below: unsigned, and signed with keys that nobody vouches for.
    let lie = "@ NS ns\nns A 192.0.2.2\nmx.alpha A 192.0.2.66\n";
    let unsigned = asked(Host::Serves(zones(&[("test.", lie)]))).await;
    let signed = asked(Signer::new("test.").sign(lie).host()).await;
    for said in [unsigned, signed] {
        assert_eq!(said, ["SERVFAIL bogus", "SERVFAIL bogus"]);
    }
}
