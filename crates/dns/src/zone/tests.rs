//! The lookup against a zone with every structure, mostly that of RFC 4592 section 2.2.1.

use proptest::prelude::*;

use super::*;

const ZONE: &str = "
$TTL 3600
@                 SOA ns.example.com. hostmaster 1 1h 15m 1w 10m
@                 NS  ns.example.com.
@                 NS  ns.example.net.
*                 TXT \"this is a wildcard\"
*                 MX  10 host1
sub.*             TXT \"this is not a wildcard\"
host1             A   192.0.2.1
_ssh._tcp.host1   SRV 0 5 22 host1
_ssh._tcp.host2   SRV 0 5 22 host1
subdel            NS  ns.example.com.
subdel            NS  ns.subdel
ns.subdel         A   192.0.2.53
alias             DNAME other.test.
";

fn zone(text: &str) -> Zone {
    zone_from_text(&"example".parse().unwrap(), text).unwrap()
}

fn shown(zone: &Zone, name: &str, rtype: Rtype) -> String {
    let name: Name = name.parse().unwrap();
    match zone.lookup(&name.key(), rtype) {
        Lookup::Found(node) => format!("found {}", node.owner),
        Lookup::Wildcard(node) => format!("wildcard {}", node.owner),
        Lookup::Delegated(node) => format!("delegated {}", node.owner),
        Lookup::Dname(node) => format!("dname {}", node.owner),
        Lookup::Missing => "missing".to_owned(),
    }
}

#[test]
fn rfc_4592_names_are_found_as_its_section_2_2_1_says() {
    let zone = zone(ZONE);
    for (name, expected) in [
        ("host3.example", "wildcard *.example."),
        ("foo.bar.example", "wildcard *.example."),
        ("host1.example", "found host1.example."),
        ("HOST1.Example", "found host1.example."),
        ("sub.*.example", "found sub.*.example."),
        // host1 exists, so no wildcard below it; _tcp.host1 and host2 are empty non-terminals.
        ("_telnet._tcp.host1.example", "missing"),
        ("_tcp.host1.example", "found _tcp.host1.example."),
        ("host2.example", "found host2.example."),
        ("x.host2.example", "missing"),
        ("host.subdel.example", "delegated subdel.example."),
        ("ns.subdel.example", "delegated subdel.example."),
        ("ghost.*.example", "missing"),
        ("*.example", "found *.example."),
        ("example", "found example."),
        ("a.alias.example", "dname alias.example."),
        ("alias.example", "found alias.example."),
        ("other.test", "missing"),
    ] {
        assert_eq!(shown(&zone, name, Rtype::A), expected, "{name}");
    }
}

#[test]
fn ds_at_a_cut_belongs_to_the_upper_side() {
    let zone = zone(ZONE);
    assert_eq!(shown(&zone, "subdel.example", Rtype::DS), "found subdel.example.");
    assert_eq!(shown(&zone, "a.subdel.example", Rtype::DS), "delegated subdel.example.");
    assert_eq!(shown(&zone, "subdel.example", Rtype::A), "delegated subdel.example.");
}

#[test]
fn the_topmost_cut_wins_over_what_lies_below_it() {
    let zone = zone(
        "$TTL 1\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\ncut NS ns\ndeep.cut NS ns\nx.deep.cut A 192.0.2.2",
    );
    assert_eq!(shown(&zone, "x.deep.cut.example", Rtype::A), "delegated cut.example.");
    assert_eq!(shown(&zone, "cuts.example", Rtype::A), "missing");
    assert!(zone.glue(&"x.deep.cut.example".parse::<Name>().unwrap().key()).is_some());
}

#[test]
fn what_no_zone_may_hold_is_refused_with_its_place() {
    for (text, expected) in [
        ("@ NS ns.other.", "no SOA record"),
        ("@ SOA ns h 1 1 1 1 1", "no NS record"),
        ("@ SOA ns h 1 1 1 1 1\n@ SOA ns h 2 1 1 1 1\n@ NS ns.other.", "3:3: a second SOA"),
        ("@ SOA ns h 1 1 1 1 1\n@ NS ns.other.\nx.other. A 192.0.2.1", "4:10: x.other. is outside"),
        ("@ SOA ns h 1 1 1 1 1\n@ NS ns.other.\nx CNAME y\nx A 192.0.2.1", "5:3: A and CNAME at x.example."),
        (
            "@ SOA ns h 1 1 1 1 1\n@ NS ns.other.\nx DNAME y.\nz.x A 192.0.2.1",
            "5:5: z.x.example. is below x.example.",
        ),
        ("@ SOA ns h 1 1 1 1 1\n@ NS ns.other.\nx SOA ns h 1 1 1 1 1", "4:3: a SOA at x.example."),
    ] {
        let errors = zone_from_text(&"example".parse().unwrap(), &format!("$TTL 1\n{text}\n"))
            .unwrap_err()
            .to_string();
        assert!(errors.contains(expected), "{text}\n→ {errors}");
    }
}

#[test]
fn numbers_ttls_and_warnings_of_a_zone() {
    let zone = zone(
        "@ 60 SOA ns h 2026112001 1h 15m 1w 10m\n@ NS ns\n@ NS ns\n@ MX 5 mail\n@ MX 5 gone\nmail CNAME ns\n\
                     ns 300 A 192.0.2.1\nns 30 A 192.0.2.2\n",
    );
    assert_eq!((zone.serial(), zone.negative_ttl(), zone.records(), zone.names()), (2_026_112_001, 60, 7, 3));
    let key = "ns.example".parse::<Name>().unwrap().key();
    let node = zone.glue(&key).unwrap();
    assert_eq!(node.rrset(Rtype::A).map(|set| (set.count(), set.ttl)), Some((2, 30)));
    let warnings: Vec<String> = zone.warnings().iter().map(ToString::to_string).collect();
    assert!(warnings[0].contains("mail.example. is an alias"), "{warnings:?}");
    assert!(warnings[1].contains("gone.example. has no address"), "{warnings:?}");
}

#[test]
fn the_deepest_zone_answers() {
    let zone = |apex: &str| {
        let text = "$TTL 1\n@ SOA ns h 1 1 1 1 1\n@ NS ns.other.";
        std::sync::Arc::new(zone_from_text(&apex.parse().unwrap(), text).unwrap())
    };
    let zones = Zones::new([zone("test"), zone("alpha.test"), zone("example")]);
    let found = |name: &str, rtype| {
        zones.find(&name.parse::<Name>().unwrap().key(), rtype).map(|zone| zone.apex().to_string())
    };
    assert_eq!(found("mx.alpha.test", Rtype::A).as_deref(), Some("alpha.test."));
    assert_eq!(found("beta.test", Rtype::A).as_deref(), Some("test."));
    assert_eq!(found("alpha.test", Rtype::DS).as_deref(), Some("test."));
    assert_eq!(found("example", Rtype::DS).as_deref(), Some("example."));
    assert_eq!(found("xalpha.tests", Rtype::A), None);
    assert_eq!(found(".", Rtype::NS), None);
}

/// The definition, without any tree: RFC 1034 section 4.3.2 and RFC 4592 by hand over the list of owners.
fn by_definition(owners: &[(Name, Rtype)], apex: &Name, name: &Name) -> String {
    let ancestors: Vec<Name> = std::iter::successors(Some(name.clone()), Name::parent)
        .take_while(|name| name.is_at_or_below(apex))
        .collect();
    let owns =
        |name: &Name, rtype: Rtype| owners.iter().any(|(owner, other)| owner == name && *other == rtype);
    let exists = |name: &Name| owners.iter().any(|(owner, _)| owner.is_at_or_below(name));
    for ancestor in ancestors.iter().rev() {
        if ancestor != apex && owns(ancestor, Rtype::NS) {
            return format!("delegated {ancestor}").to_lowercase();
        }
    }
    if exists(name) {
        return format!("found {name}").to_lowercase();
    }
    let encloser = ancestors.iter().find(|ancestor| exists(ancestor)).unwrap();
    let wildcard = encloser.with_label(b"*").unwrap();
    if exists(&wildcard) { format!("wildcard {wildcard}").to_lowercase() } else { "missing".to_owned() }
}

proptest! {
    #[test]
    fn the_tree_agrees_with_the_definition(
        owners in proptest::collection::vec((proptest::collection::vec("[ab*]", 1..4), any::<bool>()), 0..12),
        asked in proptest::collection::vec("[ab*c]", 0..5),
    ) {
        let apex: Name = "example".parse().unwrap();
        let mut list = vec![(apex.clone(), Rtype::NS)];
        let mut text = "$TTL 1\n@ SOA ns.other. h 1 1 1 1 1\n@ NS ns.other.\n".to_owned();
        for (labels, cut) in &owners {
            let owner = labels.join(".");
            // A wildcard that delegates has no defined meaning (RFC 4592 section 4.2).
            let cut = *cut && !labels[0].starts_with('*');
            text.push_str(&if cut { format!("{owner} NS ns.other.\n") } else { format!("{owner} TXT x\n") });
            list.push((format!("{owner}.example").parse().unwrap(), if cut { Rtype::NS } else { Rtype::TXT }));
        }
        let zone = zone(&text);
        let asked: Name = asked.iter().map(|label| format!("{label}.")).chain(["example".to_owned()]).collect::<String>().parse().unwrap();
        prop_assert_eq!(shown(&zone, &asked.to_string(), Rtype::A), by_definition(&list, &apex, &asked));
    }
}

#[test]
fn what_two_versions_hold_takes_memory_once() {
    let text = "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\na.b TXT x\nc TXT y\n";
    let (old, new) = (zone(text), zone(&text.replace("TXT y", "TXT z")));
    let before: Vec<String> = new.nodes().map(|node| format!("{node:?}")).collect();
    let shared = new.sharing(&old);
    assert_eq!(shared.nodes().map(|node| format!("{node:?}")).collect::<Vec<_>>(), before);
    let differing: Vec<String> =
        old.tree().differences(shared.tree()).map(|(_, new)| new.unwrap().owner.to_string()).collect();
    assert_eq!(differing, ["c.example."]);
    assert_eq!(shown(&shared, "a.b.example", Rtype::TXT), "found a.b.example.");
}
