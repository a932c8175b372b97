//! Every type that a zone file may hold: its text becomes these octets, and what is shown of them reads back the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;

use postroad_dns::wire::{Name, Rtype, display_rdata, validate_rdata};
use postroad_dns::zone::{Zone, zone_from_text};

/// Type, data as a person writes it, data as it is shown, its octets (empty: not looked at).
const TYPES: &[(&str, &str, &str, &str)] = &[
    ("A", "192.0.2.1", "192.0.2.1", "C0000201"),
    ("AAAA", "2001:DB8:0:0::1", "2001:db8::1", "20010DB8000000000000000000000001"),
    ("NS", "ns", "ns.a.test.", "026E730161047465737400"),
    ("CNAME", "b", "b.a.test.", "01620161047465737400"),
    ("DNAME", "b.", "b.", "016200"),
    ("PTR", "b\\.c.", "b\\.c.", "03622E6300"),
    ("MX", "10 mx", "10 mx.a.test.", "000A026D780161047465737400"),
    ("TXT", "a \"b c\" \"\"", "\"a\" \"b c\" \"\"", "016103622063 00"),
    ("SPF", "\"v=spf1 -all\"", "\"v=spf1 -all\"", "0B763D73706631202D616C6C"),
    ("SRV", "0 5 993 mail.", "0 5 993 mail.", "0000000503E1046D61696C00"),
    ("RP", "me. .", "me. .", "026D650000"),
    ("HINFO", "PC \"Linux 6\"", "\"PC\" \"Linux 6\"", "025043074C696E75782036"),
    ("TLSA", "3 1 1 0123 4567", "3 1 1 01234567", "03010101234567"),
    ("SMIMEA", "3 0 0 ab", "3 0 0 AB", "030000AB"),
    ("OPENPGPKEY", "AQ ID", "AQID", "010203"),
    ("CAA", "0 issue ca.example", "0 issue \"ca.example\"", "0005697373756563612E6578616D706C65"),
    ("CAA", "128 iodef \"mailto:a@b\"", "128 iodef \"mailto:a@b\"", "8005696F6465666D61696C746F3A614062"),
    ("SSHFP", "4 2 ABCD", "4 2 ABCD", "0402ABCD"),
    (
        "NAPTR",
        "1 2 u E2U+sip !^.*$!sip:a@b! .",
        "1 2 \"u\" \"E2U+sip\" \"!^.*$!sip:a@b!\" .",
        "000100020175074532552B7369700E215E2E2A24217369703A6140622100",
    ),
    ("SVCB", "0 b", "0 b.a.test.", "000001620161047465737400"),
    (
        "HTTPS",
        "1 . port=8443 alpn=\"h2,h3\" ipv4hint=192.0.2.1 ech=AAEC",
        "1 . alpn=\"h2,h3\" port=8443 ipv4hint=192.0.2.1 ech=AAEC",
        "0001000001000602683202683300030002 20FB00040004C00002010005000300 0102",
    ),
    (
        "SVCB",
        "16 b. mandatory=alpn,port alpn=h2 port=53 key667=\"x y\"",
        "16 b. mandatory=alpn,port alpn=\"h2\" port=53 key667=\"x y\"",
        "0010016200000000040001000300010003026832000300020035029B0003782079",
    ),
    (
        "SVCB",
        "1 b. dohpath=/q{?dns} ohttp no-default-alpn alpn=h2",
        "1 b. alpn=\"h2\" no-default-alpn dohpath=\"/q{?dns}\" ohttp",
        "",
    ),
    (
        "LOC",
        "42 21 54 N 71 06 18 W -24m 30m",
        "42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m",
        "003316138917 2DD070BE15F000988D20",
    ),
    (
        "LOC",
        "0 N 0 E 0",
        "0 0 0.000 N 0 0 0.000 E 0.00m 1.00m 10000.00m 10.00m",
        "00121613800000008000000000989680",
    ),
    (
        "URI",
        "10 1 \"https://a.test/?q=\\\"\"",
        "10 1 \"https://a.test/?q=\\\"\"",
        "000A000168747470733A2F2F612E746573742F3F713D22",
    ),
    ("CERT", "PKIX 7 RSASHA256 AQID", "1 7 8 AQID", "0001000708010203"),
    ("CERT", "65000 0 0 AQID", "65000 0 0 AQID", "FDE8000000010203"),
    ("ZONEMD", "2018031500 1 1 FEBE3D4C", "2018031500 1 1 FEBE3D4C", "7848B78C 0101FEBE3D4C"),
    ("DS", "60485 RSASHA1 1 2BB1 83AF", "60485 5 1 2BB183AF", "EC4505012BB183AF"),
    ("CDS", "0 0 0 00", "0 0 0 00", "0000000000"),
    ("DNSKEY", "257 3 ECDSAP256SHA256 AQID", "257 3 13 AQID", "0101030D010203"),
    ("CDNSKEY", "0 3 0 AA==", "0 3 0 AA==", "0000030000"),
    ("KEY", "256 3 5 AQID", "256 3 5 AQID", "01000305010203"),
    (
        "RRSIG",
        "A 5 3 86400 20030322173103 1045675863 2642 example. AQID",
        "A 5 3 86400 20030322173103 20030219173103 2642 example. AQID",
        "0001050300015180 3E7C9DD7 3E53BF57 0A52 076578616D706C6500 010203",
    ),
    (
        "NSEC",
        "b A MX RRSIG NSEC TYPE1234",
        "b.a.test. A MX RRSIG NSEC TYPE1234",
        "016201610474657374000006400100000003041B000000000000000000000000000000000000000000000000000020",
    ),
    ("NSEC", "b. NSEC A", "b. A NSEC", "0162000006400000000001"),
    (
        "NSEC3",
        "1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX A",
        "1 1 12 AABBCCDD 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A MX",
        "0101000C04AABBCCDD14174EB2409FE28BCB4887A1836F957F0A8425E27B00024001",
    ),
    ("NSEC3", "1 0 0 - co", "1 0 0 - CO", "01000000000166"),
    ("NSEC3PARAM", "1 0 12 AABB", "1 0 12 AABB", "0100000C02AABB"),
    ("NSEC3PARAM", "1 0 0 -", "1 0 0 -", "0100000000"),
    ("CSYNC", "66 3 A NS AAAA", "66 3 A NS AAAA", "000000420003000460000008"),
    ("CSYNC", "66 0", "66 0", "000000420000"),
    (
        "APL",
        "1:192.168.32.0/21 !1:192.168.38.0/28",
        "1:192.168.32.0/21 !1:192.168.38.0/28",
        "00011503C0A8200001 1C83C0A826",
    ),
    ("APL", "2:FF00:0::/8", "2:ff00::/8", "00020801FF"),
    ("NID", "10 14:4fff:FF20:ee64", "10 0014:4fff:ff20:ee64", "000A00144FFFFF20EE64"),
    ("L64", "10 2001:0DB8:1140:1000", "10 2001:0db8:1140:1000", "000A20010DB811401000"),
    ("L32", "10 10.1.2.0", "10 10.1.2.0", "000A0A010200"),
    ("LP", "10 l64-subnet", "10 l64-subnet.a.test.", "000A0A6C36342D7375626E65740161047465737400"),
    ("IPSECKEY", "10 1 2 192.0.2.38 AQID", "10 1 2 192.0.2.38 AQID", "0A0102C0000226010203"),
    ("IPSECKEY", "10 0 2 . AQID", "10 0 2 . AQID", "0A0002010203"),
    ("IPSECKEY", "10 2 0 2001:db8::1", "10 2 0 2001:db8::1", "0A020020010DB8000000000000000000000001"),
    ("IPSECKEY", "10 3 2 gw AQID", "10 3 2 gw.a.test. AQID", "0A03020267770161047465737400010203"),
    ("EUI48", "00-00-5e-00-53-2a", "00-00-5e-00-53-2a", "00005E00532A"),
    ("EUI64", "00-00-5e-ef-10-00-00-2a", "00-00-5e-ef-10-00-00-2a", "00005EEF1000002A"),
    ("AFSDB", "1 b", "1 b.a.test.", "000101620161047465737400"),
    ("KX", "1 b", "1 b.a.test.", "000101620161047465737400"),
    ("MINFO", "b c", "b.a.test. c.a.test.", "0162016104746573740001630161047465737400"),
    ("DHCID", "AQID", "AQID", "010203"),
    ("TYPE65280", "\\# 3 01 0203", "\\# 3 010203", "010203"),
    ("TYPE1", "\\# 4 C0000201", "192.0.2.1", "C0000201"),
];

fn zone(records: &str) -> Zone {
    let text = format!("$TTL 5\n@ SOA ns h 1 2 3 4 5\n@ NS ns.b.\n{records}");
    zone_from_text(&"a.test".parse().unwrap(), &text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn data(zone: &Zone, owner: &str, rtype: Rtype) -> Vec<u8> {
    let node = zone.glue(&format!("{owner}.a.test").parse::<Name>().unwrap().key()).unwrap();
    let set = node.all_sets().map(|(_, set)| set).find(|set| set.rtype == rtype);
    set.unwrap().first().to_vec()
}

#[test]
fn text_becomes_octets_and_octets_the_same_text() {
    for (rtype, text, shown, octets) in TYPES {
        let number: Rtype = rtype.parse().unwrap();
        let written = data(&zone(&format!("x {rtype} {text}\n")), "x", number);
        let hex = written.iter().fold(String::new(), |mut hex, octet| {
            let _ = write!(hex, "{octet:02X}");
            hex
        });
        let expected = octets.replace(' ', "");
        assert!(expected.is_empty() || hex == expected, "{rtype} {text}: {hex}");
        assert!(validate_rdata(number, &written), "{rtype} {text}");
        assert_eq!(display_rdata(number, &written), *shown, "{rtype} {text}");
        let again = data(&zone(&format!("x {rtype} {shown}\n")), "x", number);
        assert_eq!(again, written, "{rtype} {shown}");
        // And in the form that needs no knowledge of the type (RFC 3597 section 5).
        let generic = data(&zone(&format!("x TYPE{} \\# {} {hex}\n", number.0, written.len())), "x", number);
        assert_eq!(generic, written, "{rtype} {hex}");
    }
}

#[test]
fn errors_name_the_word_that_is_wrong() {
    for (record, column, expected) in [
        ("x LOC 91 N 0 E 0m", 7, "a latitude"),
        ("x LOC 1 N 0 E", 14, "an altitude"),
        ("x RRSIG A 5 3 86400 20030332173103 0 1 b. AQID", 21, "YYYYMMDDHHmmSS"),
        ("x NSEC b A NOTYPE", 12, "a type"),
        ("x NSEC3 1 0 1 - 0 A", 17, "base32hex"),
        ("x NSEC3PARAM 1 0 1 abc", 20, "a salt"),
        ("x DS 1 NOALGORITHM 1 00", 8, "an algorithm"),
        ("x APL 1:192.0.2.0/33", 7, "an address prefix"),
        ("x NID 10 14:4fff", 10, "four groups"),
        ("x IPSECKEY 10 4 2 . AQID", 15, "from 0 to 3"),
        ("x IPSECKEY 10 1 2 :: AQID", 19, "a gateway"),
        ("x HTTPS 1 . alpn=h2 port=x", 21, "a port"),
        ("x HTTPS 1 . alpn=h2 alpn=h3", 21, "once only"),
    ] {
        let text = format!("@ 5 SOA ns h 1 2 3 4 5\n@ 5 NS ns.b.\n{record}\n");
        let errors = zone_from_text(&"a.test".parse().unwrap(), &text).unwrap_err().0;
        let [error] = errors.as_slice() else { panic!("{record}: {errors:?}") };
        assert_eq!((error.line, error.column), (3, column), "{record}: {error}");
        assert!(error.message.contains(expected), "{record}: {error}");
    }
}
