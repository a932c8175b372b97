//! Record data of every type: read, and shown again.

use super::*;
use crate::wire::display_rdata;

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        let quoted = index % 2 == 1;
        let parts: Vec<&str> = if quoted { vec![part] } else { part.split_whitespace().collect() };
        words.extend(parts.iter().map(|part| Word {
            text: part.as_bytes().to_vec(),
            quoted,
            line: 1,
            column: 1,
        }));
    }
    words
}

fn round_trip(rtype: &str, text: &str) -> String {
    let rtype: Rtype = rtype.parse().unwrap();
    let origin: Name = "alpha.test".parse().unwrap();
    display_rdata(rtype, &parse_rdata(rtype, &words(text), Some(&origin)).unwrap())
}

#[test]
fn data_of_every_known_type_is_read_and_shown_again() {
    for (rtype, text, shown) in [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:DB8:0::1", "2001:db8::1"),
        ("NS", "ns1", "ns1.alpha.test."),
        ("SOA", "ns1 host.other. 7 1h 15m 1w 1d", "ns1.alpha.test. host.other. 7 3600 900 604800 86400"),
        ("MX", "0 .", "0 ."),
        ("TXT", "\"v=spf1 -all\" plain \"a\\034b\\000\"", "\"v=spf1 -all\" \"plain\" \"a\\\"b\\000\""),
        ("SRV", "0 5 993 mail", "0 5 993 mail.alpha.test."),
        ("CAA", "128 issue \"ca.example; x=y\"", "128 issue \"ca.example; x=y\""),
        ("TLSA", "3 1 1 abCD 01", "3 1 1 ABCD01"),
        ("SSHFP", "4 2 00ff", "4 2 00FF"),
        ("NAPTR", "10 20 \"u\" \"E2U+sip\" \"!^.*$!sip:x!\" .", "10 20 \"u\" \"E2U+sip\" \"!^.*$!sip:x!\" ."),
        ("DNAME", "other.test.", "other.test."),
        ("HINFO", "PC Linux", "\"PC\" \"Linux\""),
        ("OPENPGPKEY", "AAEC Aw==", "AAECAw=="),
        ("URI", "1 2 \"https://x/\"", "1 2 \"https://x/\""),
        ("EUI48", "00-11-22-33-44-ff", "00-11-22-33-44-ff"),
        ("DS", "60485 5 1 2BB183AF", "60485 5 1 2BB183AF"),
        ("TYPE65280", "\\# 3 00 0102", "\\# 3 000102"),
        ("TYPE65280", "\\# 0", "\\# 0"),
        ("A", "\\# 4 C0000201", "192.0.2.1"),
    ] {
        assert_eq!(round_trip(rtype, text), shown, "{rtype} {text}");
    }
    assert_eq!(round_trip("HTTPS", "1 . alpn=h2,h3 port=8443"), "1 . alpn=\"h2,h3\" port=8443");
}

#[test]
fn wrong_data_is_refused_at_the_word_that_is_wrong() {
    for (rtype, text, word) in [
        ("A", "192.0.2.256", 0),
        ("A", "192.0.2.1 x", 1),
        ("MX", "10", 1),
        ("MX", "65536 mail", 0),
        ("MX", "+1 mail", 0),
        ("SOA", "ns1 host 7 1h 15x 1w 1d", 4),
        ("TLSA", "3 1 1 abc", 3),
        ("OPENPGPKEY", "AAE", 0),
        ("OPENPGPKEY", "AA==AAAA", 0),
        ("CAA", "0 is-sue \"x\"", 1),
        ("TYPE65280", "x", 0),
        ("TYPE65280", "\\# 2 00", 1),
        ("A", "\\# 3 000000", 2),
        ("EUI48", "00-11-22-33-44", 0),
        ("NS", "a..b", 0),
    ] {
        let rtype: Rtype = rtype.parse().unwrap();
        let error = parse_rdata(rtype, &words(text), Some(&Name::root())).unwrap_err();
        assert_eq!(error.word, word, "{rtype} {text}: {error}");
    }
}

#[test]
fn periods_of_time() {
    assert_eq!(parse_ttl(b"1w2d3h4m5s"), Some(604_800 + 2 * 86_400 + 3 * 3600 + 4 * 60 + 5));
    assert_eq!(parse_ttl(b"1h30"), Some(3630));
    assert_eq!(parse_ttl(b"2147483647"), Some(2_147_483_647));
    for wrong in [&b""[..], b"h", b"1x", b"2147483648", b"-1", b"99999w"] {
        assert_eq!(parse_ttl(wrong), None, "{}", wrong.escape_ascii());
    }
}
