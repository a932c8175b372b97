//! Answers from signed zones: the examples of RFC 4035 appendix B and of RFC 5155 appendix B.

use super::*;

/// A zone text with a signature for each set that has one: all but delegations' NS and what is below them.
fn zone(lines: &[&str]) -> Zones {
    let mut text = String::from("$TTL 3600\n$ORIGIN example.\n");
    let mut signed = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let (owner, rtype) = (words.next().unwrap(), words.next().unwrap());
        text.push_str(&format!("{}\n", line.trim_start_matches('-')));
        let key = format!("{owner} RRSIG {rtype} ");
        if !owner.starts_with('-') && !signed.contains(&key) {
            let labels = if owner == "@" { 1 } else { owner.trim_start_matches("*.").split('.').count() + 1 };
            text.push_str(&format!("{key} 13 {labels} 3600 20380101000000 20200101000000 1 example. AAAA\n"));
            signed.push(key);
        }
    }
    Zones::new([Arc::new(zone_from_text(&"example".parse().unwrap(), &text).unwrap())])
}

/// RFC 4035 appendix A, abridged.
fn with_nsec() -> Zones {
    zone(&[
        "@ SOA ns1 bugs 1 3600 300 3600000 3600",
        "@ NS ns1",
        "@ MX 1 xx",
        "@ NSEC a NS SOA MX RRSIG NSEC DNSKEY",
        "-a NS ns1.a",
        "a DS 57855 5 1 B6DCD485719ADCA18E5F3D48A2331627FDD3636B",
        "a NSEC ai NS DS RRSIG NSEC",
        "-ns1.a A 192.0.2.5",
        "ai A 192.0.2.9",
        "ai NSEC b A RRSIG NSEC",
        "-b NS ns1.b",
        "b NSEC ns1 NS RRSIG NSEC",
        "-ns1.b A 192.0.2.7",
        "ns1 A 192.0.2.1",
        "ns1 NSEC *.w A RRSIG NSEC",
        "*.w MX 1 ai",
        "*.w NSEC x.w MX RRSIG NSEC",
        "x.w MX 1 xx",
        "x.w NSEC x.y.w MX RRSIG NSEC",
        "x.y.w MX 1 xx",
        "x.y.w NSEC xx MX RRSIG NSEC",
        "xx CNAME nothing.w",
        "xx NSEC example. CNAME RRSIG NSEC",
    ])
}

/// RFC 5155 appendix A, abridged; b.w.example is an alias within it.
fn with_nsec3() -> Zones {
    let mut lines: Vec<String> = [
        "@ SOA ns1 bugs 1 3600 300 3600000 3600",
        "@ NS ns1",
        "@ NSEC3PARAM 1 0 12 aabbccdd",
        "-a NS ns1.a",
        "a DS 58470 5 1 3079F1593EBAD6DC121E202A8B766A6A4837206C",
        "-ns1.a A 192.0.2.5",
        "ai A 192.0.2.9",
        "-c NS ns1.c",
        "-ns1.c A 192.0.2.7",
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr A 192.0.2.127",
        "ns1 A 192.0.2.1",
        "ns2 A 192.0.2.2",
        "*.w MX 1 ai",
        "x.w MX 1 xx",
        "x.y.w MX 1 xx",
        "xx A 192.0.2.10",
    ]
    .map(str::to_owned)
    .to_vec();
    let chain = [
        ("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", "NS SOA RRSIG NSEC3PARAM"),
        ("2t7b4g4vsa5smi47k61mv5bv1a22bojr", "A RRSIG"),
        ("2vptu5timamqttgl4luu9kg21e0aor3s", "MX RRSIG"),
        ("35mthgpgcu1qg68fab165klnsnk3dpvl", "NS DS RRSIG"),
        ("b4um86eghhds6nea196smvmlo4ors995", "MX RRSIG"),
        ("gjeqe526plbf1g8mklp59enfd789njgi", "A RRSIG"),
        ("ji6neoaepv8b5o6k4ev33abha8ht9fgc", ""),
        ("k8udemvp1j2f7eg6jebps17vp3n8i58h", ""),
        ("kohar7mbb8dc2ce8a9qvl8hon4k53uhi", "A RRSIG"),
        ("q04jkcevqvmu85r014c7dkba38o0ji5r", "A RRSIG"),
        ("r53bq7cc2uvmubfu5ocmm6pers9tk9en", "MX RRSIG"),
        ("t644ebqk9bibcna874givr6joj62mlhv", "A RRSIG"),
    ];
    for (index, (hash, types)) in chain.iter().enumerate() {
        let (next, _) = chain[(index + 1) % chain.len()];
        lines.push(format!("{hash} NSEC3 1 1 12 aabbccdd {next} {types}"));
    }
    zone(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn ask_with_do(zones: &Zones, name: &str, rtype: Rtype, limit: usize) -> Message {
    let mut octets = query(name, rtype);
    octets[11] = 1;
    octets.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0]);
    ask_octets(zones, &octets, limit).1
}

/// Owners and types of the records of answer and authority, `!` where the set's signature follows.
fn outline(message: &Message) -> [String; 2] {
    [&message.answers, &message.authorities].map(|records| {
        let mut shown: Vec<String> = Vec::new();
        for record in records {
            let owner = record.name.to_ascii();
            let owner = owner.trim_end_matches('.').trim_end_matches("example").trim_end_matches('.');
            let owner = if owner.len() == 32 { &owner[..4] } else { owner };
            let rtype = Rtype::from(record.record_type());
            let known = shown.last_mut().filter(|last| {
                rtype == Rtype::RRSIG
                    && last.split(' ').next() == Some(if owner.is_empty() { "@" } else { owner })
            });
            match known {
                Some(last) => last.push('!'),
                None => shown.push(format!("{} {rtype}", if owner.is_empty() { "@" } else { owner })),
            }
        }
        shown.join(", ")
    })
}

fn check(zones: &Zones, examples: &[(&str, Rtype, &str, &str)]) {
    for (name, rtype, answers, authorities) in examples {
        let message = ask_with_do(zones, name, *rtype, 4096);
        assert_eq!(outline(&message), [*answers, *authorities], "{name} {rtype}");
        assert!(!message.metadata.truncation);
        let plain = ask_octets(zones, &query(name, *rtype), 512).1;
        let kept = |records: &[Record]| {
            let dnssec = [Rtype::RRSIG, Rtype::NSEC, Rtype::NSEC3, Rtype::DS];
            records.iter().any(|record| dnssec.contains(&Rtype::from(record.record_type())))
        };
        assert!(!kept(&plain.answers) && !kept(&plain.authorities), "without DO: {name} {rtype}");
    }
}

#[test]
fn rfc_4035_appendix_b() {
    let zones = with_nsec();
    check(
        &zones,
        &[
            ("x.w.example", Rtype::MX, "x.w MX!", ""),
            ("ml.example", Rtype::A, "", "@ SOA!, b NSEC!, @ NSEC!"),
            ("ns1.example", Rtype::MX, "", "@ SOA!, ns1 NSEC!"),
            ("mc.a.example", Rtype::MX, "", "a NS, a DS!"),
            ("mc.b.example", Rtype::MX, "", "b NS, b NSEC!"),
            ("a.z.w.example", Rtype::MX, "a.z.w MX!", "x.y.w NSEC!"),
            ("a.z.w.example", Rtype::AAAA, "", "@ SOA!, *.w NSEC!, x.y.w NSEC!"),
            ("example", Rtype::DS, "", "@ SOA!, @ NSEC!"),
            // Delegations have their DS, and the lack of it, on this side.
            ("b.example", Rtype::DS, "", "@ SOA!, b NSEC!"),
            // An empty non-terminal has no NSEC of its own.
            ("y.w.example", Rtype::A, "", "@ SOA!, x.w NSEC!"),
            // An alias that ends in nothing: the wildcard's name exists, the one below it does not.
            ("xx.example", Rtype::MX, "xx CNAME!, nothing.w MX!", "*.w NSEC!"),
            ("xx.example", Rtype::A, "xx CNAME!", "@ SOA!, *.w NSEC!"),
        ],
    );
    let ds = ask_with_do(&zones, "a.example", Rtype::DS, 4096);
    assert_eq!(outline(&ds), ["a DS!", ""]);
    let additional = ask_with_do(&zones, "a.z.w.example", Rtype::MX, 4096).additionals;
    assert_eq!(shown(&additional).len(), 2, "{additional:?}");
    assert_eq!(outline(&ask_with_do(&zones, "ai.example", Rtype::RRSIG, 4096))[0], "ai RRSIG");
    assert_eq!(outline(&ask_with_do(&zones, "xx.example", Rtype::NSEC, 4096))[0], "xx NSEC!");
    assert_eq!(outline(&ask_with_do(&zones, "ai.example", Rtype::ANY, 4096))[0], "ai A!");
}

#[test]
fn rfc_5155_appendix_b() {
    let zones = with_nsec3();
    check(
        &zones,
        &[
            ("a.c.x.w.example", Rtype::A, "", "@ SOA!, b4um NSEC3!, 0p9m NSEC3!, 35mt NSEC3!"),
            ("ns1.example", Rtype::MX, "", "@ SOA!, 2t7b NSEC3!"),
            ("y.w.example", Rtype::A, "", "@ SOA!, ji6n NSEC3!"),
            ("mc.c.example", Rtype::MX, "", "c NS, 0p9m NSEC3!, 35mt NSEC3!"),
            ("mc.a.example", Rtype::MX, "", "a NS, a DS!"),
            ("a.z.w.example", Rtype::MX, "a.z.w MX!", "q04j NSEC3!"),
            ("a.z.w.example", Rtype::AAAA, "", "@ SOA!, k8ud NSEC3!, q04j NSEC3!, r53b NSEC3!"),
            ("example", Rtype::DS, "", "@ SOA!, 0p9m NSEC3!"),
            ("c.example", Rtype::DS, "", "@ SOA!, 0p9m NSEC3!, 35mt NSEC3!"),
            // RFC 5155 section 7.2.8: the owners of NSEC3 records are not names, unless they are so otherwise.
            (
                "2vptu5timamqttgl4luu9kg21e0aor3s.example",
                Rtype::NSEC3,
                "",
                "@ SOA!, 0p9m NSEC3!, koha NSEC3!, gjeq NSEC3!",
            ),
        ],
    );
    let both = ask_with_do(&zones, "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example", Rtype::A, 4096);
    assert_eq!(both.metadata.response_code, ResponseCode::NoError);
    let gone = ask_with_do(&zones, "2vptu5timamqttgl4luu9kg21e0aor3s.example", Rtype::NSEC3, 4096);
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn what_has_no_room_for_its_signature_is_cut() {
    for (zones, name, rtype) in [
        (with_nsec(), "x.w.example", Rtype::MX),
        (with_nsec(), "ml.example", Rtype::A),
        (with_nsec3(), "mc.c.example", Rtype::A),
    ] {
        let whole = ask_with_do(&zones, name, rtype, 4096);
        let octets = whole.to_vec().unwrap().len();
        let least = 60;
        let mut cut = 0;
        for limit in (least..octets).step_by(7) {
            cut += u32::from(ask_with_do(&zones, name, rtype, limit).metadata.truncation);
        }
        assert!(cut > 3, "{name}: {cut}");
    }
}
