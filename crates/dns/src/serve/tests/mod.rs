//! Answers as a client sees them: the octets are read back by hickory.

use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::Record;

use super::*;
use crate::zone::zone_from_text;

mod signed;

const ALPHA: &str = "
$TTL 3600
@            300 SOA ns hostmaster 1 1h 15m 1w 10m
@            NS   ns
@            MX   10 mx1
@            MX   20 mx2
@            MX   20 mx1
ns           A    192.0.2.53
mx1          A    192.0.2.25
mx1          AAAA 2001:db8::25
mx2          A    192.0.2.26
www          CNAME web.beta.test.
out          CNAME www.example.com.
loop         CNAME pool
pool         CNAME loop
gone         CNAME nothing
_imap._tcp   SRV  0 1 993 mx1
many         A    192.0.2.1
many         A    192.0.2.2
many         A    192.0.2.3
old          DNAME new.beta.test.
child        NS   ns.child
child        NS   ns.beta.test.
child        NS   ns.example.com.
ns.child     A    192.0.2.99
*.wild       TXT  \"any\"
into         CNAME x.child
";

const BETA: &str = "
$TTL 60
@       SOA ns h 1 1h 15m 1w 10m
@       NS  ns
ns      A   192.0.2.54
web     A   192.0.2.80
x.new   A   192.0.2.81
";

fn zones() -> Zones {
    let zone = |apex: &str, text| Arc::new(zone_from_text(&apex.parse().unwrap(), text).unwrap());
    Zones::new([zone("alpha.test", ALPHA), zone("beta.test", BETA)])
}

fn query(name: &str, rtype: Rtype) -> Vec<u8> {
    let mut octets = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    octets.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
    octets.extend_from_slice(&rtype.0.to_be_bytes());
    octets.extend_from_slice(&[0, 1]);
    octets
}

fn ask_limited(zones: &Zones, name: &str, rtype: Rtype, limit: usize) -> (Served, Message) {
    ask_octets(zones, &query(name, rtype), limit)
}

fn ask_octets(zones: &Zones, octets: &[u8], limit: usize) -> (Served, Message) {
    let request = Request::parse(octets).unwrap();
    let mut buffer = Vec::new();
    let mut writer = Writer::new(&mut buffer, &request, limit);
    let served = answer(zones, &request, &mut writer, Rotation::Fixed);
    writer.finish(&request, 1232);
    assert!(buffer.len() <= limit);
    (served, Message::from_vec(&buffer).unwrap())
}

fn ask(name: &str, rtype: Rtype) -> (Served, Message) {
    ask_limited(&zones(), name, rtype, 512)
}

fn shown(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|r| format!("{} {} {} {}", r.name.to_ascii(), r.ttl, Rtype::from(r.record_type()), r.data))
        .collect()
}

#[test]
fn mail_hosts_come_with_their_addresses_once() {
    let (served, message) = ask("Alpha.test", Rtype::MX);
    assert_eq!(served, Served::Answered);
    assert!(message.metadata.authoritative);
    assert_eq!(message.answers.len(), 3);
    assert_eq!(
        shown(&message.additionals),
        [
            "mx1.alpha.test. 3600 A 192.0.2.25",
            "mx1.alpha.test. 3600 AAAA 2001:db8::25",
            "mx2.alpha.test. 3600 A 192.0.2.26"
        ]
    );
    assert_eq!(message.authorities.len(), 0);
    assert_eq!(ask("_imap._tcp.alpha.test", Rtype::SRV).1.additionals.len(), 2);
    assert_eq!(shown(&ask("alpha.test", Rtype::NS).1.additionals), ["ns.alpha.test. 3600 A 192.0.2.53"]);
}

#[test]
fn nothing_there_is_nxdomain_and_not_this_type_is_nodata() {
    let soa = "alpha.test. 300 SOA ns.alpha.test. hostmaster.alpha.test. 1 3600 900 604800 600";
    let (_, message) = ask("nothing.alpha.test", Rtype::A);
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    assert!(message.metadata.authoritative);
    assert_eq!(shown(&message.authorities), [soa]);
    for (name, rtype) in
        [("mx2.alpha.test", Rtype::AAAA), ("_tcp.alpha.test", Rtype::SRV), ("a.wild.alpha.test", Rtype::A)]
    {
        let (_, message) = ask(name, rtype);
        assert_eq!(message.metadata.response_code, ResponseCode::NoError, "{name}");
        assert_eq!((message.answers.len(), shown(&message.authorities)), (0, vec![soa.to_owned()]), "{name}");
    }
}

#[test]
fn a_wildcard_answers_under_the_name_asked_for() {
    let (_, message) = ask("a.b.wild.alpha.test", Rtype::TXT);
    assert_eq!(shown(&message.answers), ["a.b.wild.alpha.test. 3600 TXT any"]);
    assert_eq!(shown(&ask("*.wild.alpha.test", Rtype::TXT).1.answers), ["*.wild.alpha.test. 3600 TXT any"]);
}

#[test]
fn aliases_are_followed_within_the_zones_and_end_outside() {
    let (served, message) = ask("www.alpha.test", Rtype::A);
    assert_eq!(served, Served::Answered);
    assert_eq!(
        shown(&message.answers),
        ["www.alpha.test. 3600 CNAME web.beta.test.", "web.beta.test. 60 A 192.0.2.80"]
    );
    let (served, message) = ask("out.alpha.test", Rtype::A);
    assert_eq!((served, message.answers.len()), (Served::Incomplete, 1));
    assert_eq!(
        shown(&ask("www.alpha.test", Rtype::CNAME).1.answers),
        ["www.alpha.test. 3600 CNAME web.beta.test."]
    );
    let (_, message) = ask("gone.alpha.test", Rtype::A);
    assert_eq!((message.metadata.response_code, message.answers.len()), (ResponseCode::NXDomain, 1));
    assert_eq!(message.authorities.len(), 1);
    assert_eq!(ask("loop.alpha.test", Rtype::A).1.answers.len(), 2);
}

#[test]
fn a_dname_renames_everything_below_it() {
    let (_, message) = ask("x.old.alpha.test", Rtype::A);
    let answers = shown(&message.answers);
    assert!(answers[0].starts_with("old.alpha.test. 3600 DNAME"), "{answers:?}");
    assert_eq!(
        answers[1..],
        ["x.old.alpha.test. 3600 CNAME x.new.beta.test.", "x.new.beta.test. 60 A 192.0.2.81"]
    );
    let (_, message) = ask("old.alpha.test", Rtype::A);
    assert_eq!((message.metadata.response_code, message.answers.len()), (ResponseCode::NoError, 0));
    let long = format!("{0}.{0}.{0}.{1}.old.alpha.test", "a".repeat(63), "b".repeat(40));
    let longer = Zones::new([Arc::new(
        zone_from_text(
            &"alpha.test".parse().unwrap(),
            &format!("$TTL 1\n@ SOA ns.x. h 1 1 1 1 1\n@ NS ns.x.\nold DNAME {}.test.\n", "c".repeat(63)),
        )
        .unwrap(),
    )]);
    assert_eq!(ask_limited(&longer, &long, Rtype::A, 512).1.metadata.response_code, ResponseCode::YXDomain);
}

#[test]
fn a_referral_has_no_aa_and_glue_from_the_zones_here() {
    for name in ["child.alpha.test", "a.b.child.alpha.test"] {
        let (served, message) = ask(name, Rtype::A);
        assert_eq!(served, Served::Incomplete);
        assert!(!message.metadata.authoritative && message.answers.is_empty(), "{name}");
        assert_eq!(message.authorities.len(), 3);
        assert_eq!(message.authorities[0].name.to_ascii(), "child.alpha.test.");
        assert_eq!(
            shown(&message.additionals),
            ["ns.child.alpha.test. 3600 A 192.0.2.99", "ns.beta.test. 60 A 192.0.2.54"]
        );
    }
    let (served, message) = ask("into.alpha.test", Rtype::A);
    assert_eq!(served, Served::Incomplete);
    assert!(message.metadata.authoritative, "the alias itself is this zone's");
    assert_eq!((message.answers.len(), message.authorities.len()), (1, 3));
    let (served, message) = ask("child.alpha.test", Rtype::DS);
    assert_eq!((served, message.authorities.len()), (Served::Answered, 1));
    assert!(message.metadata.authoritative);
}

#[test]
fn any_gets_one_record_set() {
    let (_, message) = ask("mx1.alpha.test", Rtype::ANY);
    assert_eq!(shown(&message.answers), ["mx1.alpha.test. 3600 A 192.0.2.25"]);
    assert_eq!(
        shown(&ask("www.alpha.test", Rtype::ANY).1.answers),
        ["www.alpha.test. 3600 CNAME web.beta.test."]
    );
}

#[test]
fn names_of_others_are_not_hosted() {
    assert_eq!(ask("example.com", Rtype::A).0, Served::NotHosted);
    assert_eq!(ask("test", Rtype::NS).0, Served::NotHosted);
}

#[test]
fn an_answer_that_does_not_fit_is_truncated_whole_and_additional_data_is_just_left_out() {
    let (_, message) = ask_limited(&zones(), "many.alpha.test", Rtype::A, 70);
    assert!(message.metadata.truncation);
    assert_eq!(message.answers.len(), 0);
    let (_, message) = ask_limited(&zones(), "alpha.test", Rtype::MX, 110);
    assert!(!message.metadata.truncation);
    assert_eq!((message.answers.len(), message.additionals.len()), (3, 1));
    let (_, message) = ask_limited(&zones(), "x.child.alpha.test", Rtype::A, 110);
    assert!(message.metadata.truncation, "in-domain glue that does not fit");
}

#[test]
fn records_rotate_as_set() {
    let zones = zones();
    let octets = query("many.alpha.test", Rtype::A);
    let request = Request::parse(&octets).unwrap();
    let first_of = |rotation| {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, &request, 512);
        answer(&zones, &request, &mut writer, rotation);
        writer.finish(&request, 1232);
        let message = Message::from_vec(&buffer).unwrap();
        assert_eq!(message.answers.len(), 3);
        message.answers[0].data.to_string()
    };
    let cyclic: Vec<String> = (0..4).map(|_| first_of(Rotation::Cyclic)).collect();
    assert_eq!(cyclic, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"]);
    assert!((0..4).all(|_| first_of(Rotation::Fixed) == "192.0.2.1"));
    let random: std::collections::HashSet<String> = (0..200).map(|_| first_of(Rotation::Random)).collect();
    assert_eq!(random.len(), 3);
}
